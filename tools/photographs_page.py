"""The part of docs/denoising.md on photographs, from docs/results/photographs.json."""

import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hourglass.lab.study import markdown

RESULTS = Path(__file__).parents[1] / "docs" / "results"
SETS = {"set12": "Set12, grey", "kodak24": "Kodak24, 24 crops of 500 × 500, colour"}
# Mean PSNR in dB as the papers report it, at levels 15, 25 and 50.
PAPERS: dict[str, dict[str, tuple[float, float, float]]] = {
    "set12": {
        "DnCNN": (32.86, 30.44, 27.18),
        "FFDNet": (32.75, 30.43, 27.32),
        "DRUNet": (33.25, 30.94, 27.90),
        "SwinIR": (33.36, 31.01, 27.91),
    },
    "kodak24": {
        "DnCNN": (34.60, 32.14, 28.95),
        "FFDNet": (34.63, 32.13, 28.98),
        "DRUNet": (35.31, 32.89, 29.86),
        "SwinIR": (35.34, 32.89, 29.79),
    },
}
KINDS = {"photons": "photon and read noise (Poisson and normal)", "camera": "demosaicing and JPEG (correlated)"}


def photographs() -> list[str]:
    """Paragraphs and tables on photographs.

    Returns
    -------
    list of str
        Parts of the page, in order.
    """
    document = json.loads((RESULTS / "photographs.json").read_text(encoding="utf-8"))
    return [
        "## Photographs\n",
        "`hourglass denoise` and `hourglass.denoise` use the models `photo` and `photo-grey` unless another one is "
        "named. `scripts/denoise-bench FOLDER` measured what follows, with the folder of the images, which are not "
        "part of this repository. No model was trained on an image that it is tested on here.\n",
        *(f"![Parts of {what} at twice their size: with noise of 25/255, restored by BM3D, restored by this package, "
          f"clean](results/photographs-{name}.png)\n" for name, what in (("coffee", "a cup"), ("chelsea", "a cat"))),
        *(part for name, write in SECTIONS.items() if name in document for part in write(document[name])),
    ]  # fmt: skip


def papers(sets: Mapping[str, Any]) -> list[str]:
    """Normal noise that is not clipped, beside the papers' figures."""
    parts = [
        "### As the papers measure\n",
        "The noise is normal and is not clipped, the output is clipped, and PSNR is the mean over the images. 'Level "
        "told' gives the level to the model, 'level unknown' does not. 'As the command' is `hourglass denoise` with "
        "its defaults: it finds the level of each image, leaves an image without noise unchanged, and limits the "
        "change by an estimate of the most noise that the image can have. BM3D (the package bm3d) and the wavelets "
        "know the level. The strengths of non-local means and total variation are those that are best on the first "
        "four images with their noise. The last rows are the figures of the papers: Zhang et al. 2017 (DnCNN), 2018 "
        "(FFDNet) and 2021 (DRUNet), Liang et al. 2021 (SwinIR).\n",
    ]
    for name, levels in sets.items():
        lines = [[SETS[name], *(f"σ = {level}/255" for level in levels)]]
        lines += [
            [method, *(f"{statistics.fmean(row[method].values()):.2f}" for row in levels.values())]
            for method in next(iter(levels.values()))
        ]
        lines += [[f"{method} (paper)", *map("{:.2f}".format, numbers)] for method, numbers in PAPERS[name].items()]
        parts.append(table(lines))
    return parts


def camera(kinds: Mapping[str, Any]) -> list[str]:
    """Noise as a camera's."""
    return [
        "### Camera noise\n",
        "The upper left 496 × 496 pixels of each crop of Kodak24 (whole blocks of JPEG), with noise whose strength "
        "depends on the brightness, and with correlated noise as demosaicing and JPEG leave it "
        "(`tools/photos/noise.py`). 'Level told' and BM3D are given the standard deviation of each image's noise, and "
        "the wavelets its mean over the images. The strengths of non-local means and total variation are those that "
        "are best on the first four images.\n",
        comparison({KINDS[kind]: rows for kind, rows in kinds.items()}),
    ]


def page(kinds: Mapping[str, Any]) -> list[str]:
    """scikit-image's photographs."""
    parts = [
        "### scikit-image's photographs\n",
        "camera, chelsea and coffee with noise of level 25/255, clipped and rounded to 8 bits. All methods but 'as the "
        "command' are told the level, or have the strength that is best on these images.\n",
    ]
    for kind, rows in kinds.items():
        names = list(rows["noisy"])
        lines = [[kind, *names, "mean"]]
        for method, scores in rows.items():
            values = [scores[name] for name in names]
            lines.append([method, *(f"{value:.2f}" for value in (*values, statistics.fmean(values)))])
        parts.append(table(lines))
    return parts


def self_supervised(found: Mapping[str, Any]) -> list[str]:
    """Learning from noisy photographs alone."""
    rows = found["methods"]
    return [
        "### Learnt from noisy photographs alone\n",
        f"{found['files']} photographs got normal noise of level 25/255 and were stored in 8 bits; no clean image was "
        "read. `hourglass train --self-supervised` learnt from them, for neighbor2neighbor with `--from scratch`, and "
        "for noise2self with `--method noise2self --network conv`. The models were tested on the crops of Kodak24, "
        "whose noise of the same level is not clipped. PSNR is in dB.\n",
        table([
            ["method", "steps", "minutes", "PSNR"],
            *([name, f"{row['steps']:,}", f"{row['minutes']:.0f}", f"{row['psnr']:.2f}"] for name, row in rows.items()),
        ]),
    ]  # fmt: skip


def others(images: Mapping[str, Any]) -> list[str]:
    """Images that are no photographs."""
    lines = [["image", "given", "restored", "level found"]]
    for name, row in images.items():
        given = "clean" if row["given"] is None else f"{row['given']:.1f} dB"
        restored = "unchanged" if row["psnr"] is None else f"{row['psnr']:.1f} dB"
        lines.append([name, given, restored, f"{row['level']:.3f}"])
    return [
        "### Images that are no photographs\n",
        "Drawn by code, or among scikit-image's images (`tools/photos/others.py`). PSNR is that to the image without "
        "noise: an image that is given clean should come back as it is.\n",
        table(lines),
    ]


def speed(found: Mapping[str, Any]) -> list[str]:
    """Seconds and memory."""
    parts = [
        "### Speed and memory\n",
        f"One image of 1,000 × 1,000 pixels on {found['processor']}. Seconds are the median of five rounds, in which "
        "the methods take turns. Memory is the largest amount by which a process grew during the call, after a first "
        "call on a small image. `hourglass denoise` computes in bfloat16 where the processor has it; this table is in "
        "float32, and the next one in both.\n",
    ]
    lines = [["method", "grey, seconds", "colour, seconds", "grey, MB", "colour, MB"]]
    rows = found["megapixel"]
    for method in rows["grey"]:
        seconds = [f"{statistics.median(rows[kind][method]['seconds']):.2f}" for kind in ("grey", "colour")]
        lines.append([method, *seconds, *(f"{rows[kind][method]['megabytes']:,}" for kind in ("grey", "colour"))])
    parts.append(table(lines))
    lines = [["512 × 512 pixels", *found["small"]["grey"]]]
    for kind, times in found["small"].items():
        lines.append([kind, *(f"{statistics.median(row):.0f} ms" for row in times.values())])
    return [*parts, "The models alone, medians of twenty rounds:\n", table(lines)]


def folders(found: Mapping[str, Sequence[float]]) -> list[str]:
    """Reading and writing beside computing."""
    said = " and ".join(
        f"{statistics.median(ratios):.2f} times as long ({min(ratios):.2f} to {max(ratios):.2f}, {len(ratios)} rounds) "
        f"for {style}"
        for style, ratios in found.items()
    )
    return [
        f"To process a folder of 100 colour files of 512 × 512 pixels takes {said} as the network alone needs for the "
        "same images in memory, one after another: the median and the range.\n"
    ]


def table(lines: list[list[str]]) -> str:
    """Lines of cells as a Markdown table, and the empty line behind it."""
    return markdown(lines) + "\n"


def comparison(columns: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    """Mean PSNR of each method, one column for each kind of noise."""
    methods = list(next(iter(columns.values())))
    lines = [["", *columns]]
    lines += [
        [method, *(f"{statistics.fmean(rows[method].values()):.2f}" for rows in columns.values())] for method in methods
    ]
    return table(lines)


# By the names of what scripts/denoise-bench measures, in the order of the page.
SECTIONS: dict[str, Callable[[Any], list[str]]] = {
    "papers": papers,
    "camera": camera,
    "page": page,
    "self-supervised": self_supervised,
    "others": others,
    "speed": speed,
    "folders": folders,
}
