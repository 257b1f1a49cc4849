"""Measures what docs/denoising.md says of photographs, as the papers do.

Usage: scripts/denoise-bench FOLDER [PART ...]

FOLDER contains `set12` and `kodak24` with their PNG files, and `photos`, from whose noisy forms models learn. Nothing
is copied from there. The parts are papers, camera, page, others, speed, folders, self-supervised and figure, by default
all: an hour on two cores. Writes docs/results/photographs.json and the figures beside it.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import skimage.data
import torch
from PIL import Image

from hourglass import plots
from hourglass.denoising import NoiseLevel
from hourglass.runtime.hardware import has_bfloat16
from photos import methods, noise
from photos.crops import LUMINANCE
from photos.folders import overheads
from photos.methods import BLIND, BLOCK_MATCHING, COMMAND, TOLD, Method, Pixels, psnr
from photos.others import others
from photos.training import self_supervised

OUT = Path(__file__).parents[1] / "docs" / "results" / "photographs.json"
SETS = {"set12": 1, "kodak24": 3}
LEVELS = (15, 25, 50)
CHOOSING = 4  # images on which the strengths of scikit-image's methods are chosen
ROUNDS = 5
LARGE = 1000  # pixels, each way, of the image whose time and memory are measured
SPEED_SIDE = 512
SPEED_PAIRS = 20


def main() -> None:
    """Measure the parts that are named, by default all, and put them in place of what was there."""
    folder, *wanted = sys.argv[1:]
    torch.set_num_threads(2)
    document = json.loads(OUT.read_text(encoding="utf-8")) if OUT.exists() else {}
    for name in wanted or PARTS:
        document[name] = PARTS[name](Path(folder))
        OUT.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def images_of(folder: Path, channels: int) -> dict[str, Pixels]:
    """Images of a set by name, in [0, 1]."""
    mode = "L" if channels == 1 else "RGB"
    return {path.stem: as_pixels(Image.open(path).convert(mode)) for path in sorted(folder.glob("*.png"))}


def as_pixels(image: Any) -> Pixels:
    """Bytes as float32 in [0, 1], of shape (h, w, c)."""
    pixels = np.asarray(image, np.float32) / np.float32(255)
    return pixels if pixels.ndim == 3 else pixels[..., None]


def score(pairs: dict[str, tuple[Pixels, Pixels]], named: dict[str, Method], level: Callable[[str], float]) -> Any:
    """PSNR in dB of each method for each image, from noisy and clean images."""
    found: dict[str, dict[str, float]] = {"noisy": {key: psnr(clean, noisy) for key, (noisy, clean) in pairs.items()}}
    for title, method in named.items():
        found[title] = {key: psnr(clean, method(noisy, level(key))) for key, (noisy, clean) in pairs.items()}
        print(f"  {title:32} {statistics.mean(found[title].values()):.2f}", flush=True)
    return {title: {key: round(value, 3) for key, value in row.items()} for title, row in found.items()}


def papers(folder: Path) -> dict[str, Any]:
    """Normal noise that is not clipped, on the sets and levels of the papers."""
    bm3d = methods.BlockMatching()
    found: dict[str, Any] = {}
    for name, channels in SETS.items():
        random = np.random.default_rng(0)
        clean = images_of(folder / name, channels)
        for sigma in LEVELS:
            print(name, sigma, flush=True)
            pairs = {
                key: ((image + random.normal(0, sigma / 255, image.shape)).astype(np.float32), image)
                for key, image in clean.items()
            }
            named: dict[str, Method] = {TOLD: methods.told, BLIND: methods.blind, COMMAND: methods.as_the_command}
            named |= methods.others(list(pairs.values())[:CHOOSING], sigma / 255) | {BLOCK_MATCHING: bm3d}
            found.setdefault(name, {})[str(sigma)] = score(pairs, named, lambda key, s=sigma: s / 255)  # type: ignore[misc]  # the default is the level of this turn of the loop
    bm3d.close()
    return found


def camera(folder: Path) -> dict[str, Any]:
    """Noise as a camera's, of photons and with a grain, on the colour images; the methods are told its deviation."""
    bm3d = methods.BlockMatching()
    found: dict[str, Any] = {}
    for kind in ("photons", "camera"):
        print(kind, flush=True)
        torch.manual_seed(0)
        pairs, levels = {}, {}
        for key, image in images_of(folder / "kodak24", 3).items():
            image = image[:496, :496]  # whole blocks of JPEG
            noisy, _ = getattr(noise, kind)(torch.from_numpy(image).permute(2, 0, 1)[None])
            pairs[key] = (np.ascontiguousarray(noisy[0].permute(1, 2, 0).numpy()), image)
            levels[key] = float(np.sqrt(np.mean(np.square(pairs[key][0] - image))))
        named: dict[str, Method] = {TOLD: methods.told, BLIND: methods.blind, COMMAND: methods.as_the_command}
        named |= methods.others(list(pairs.values())[:CHOOSING], statistics.mean(levels.values()))
        found[kind] = score(pairs, named | {BLOCK_MATCHING: bm3d}, levels.__getitem__)
    bm3d.close()
    return found


def shown() -> dict[str, dict[str, Pixels]]:
    """scikit-image's photographs that no model was trained on, grey and in colour."""
    colour = {"chelsea": as_pixels(skimage.data.chelsea()), "coffee": as_pixels(skimage.data.coffee())}
    grey = {name: (image @ np.array(LUMINANCE, np.float32))[..., None] for name, image in colour.items()}
    return {"grey": {"camera": as_pixels(skimage.data.camera())} | grey, "colour": colour}


def page(folder: Path) -> dict[str, Any]:
    """scikit-image's photographs with noise of 25/255 that is clipped and rounded to bytes."""
    found = {}
    bm3d = methods.BlockMatching()
    for kind, images in shown().items():
        print(kind, flush=True)
        random = np.random.default_rng(0)
        pairs = {}
        for key, image in images.items():
            noisy = np.clip(image + random.normal(0, 25 / 255, image.shape), 0, 1)
            pairs[key] = ((np.rint(255 * noisy) / 255).astype(np.float32), image)
        named: dict[str, Method] = {COMMAND: methods.as_the_command, TOLD: methods.told}
        named |= methods.others(list(pairs.values()), 25 / 255) | {BLOCK_MATCHING: bm3d}
        found[kind] = score(pairs, named, lambda key: 25 / 255)
    bm3d.close()
    return found


def no_photographs(folder: Path) -> dict[str, Any]:
    """Images that are no photographs, through the command: PSNR to what they should be, and the level that is found."""
    found = {}
    for name, (given, wanted) in others().items():
        pixels = as_pixels(given)
        restored, level = methods.model(pixels.shape[2]).denoise_image(pixels, NoiseLevel())
        as_bytes = np.rint(np.clip(restored, 0, 1) * 255) / 255
        equal = np.array_equal(as_bytes, as_pixels(wanted))
        found[name] = {
            "noisy": given is not wanted,
            "given": None if given is wanted else round(psnr(as_pixels(wanted), pixels), 2),
            "psnr": None if equal else round(psnr(as_pixels(wanted), as_bytes.astype(np.float32)), 2),
            "level": round(level, 4),
        }
        print(f"  {name:28} {found[name]}", flush=True)
    return found


def speed(folder: Path) -> dict[str, Any]:
    """Seconds and memory for one megapixel, and the times of the models for 512 × 512 pixels."""
    found: dict[str, Any] = {"processor": processor(), "megapixel": {}, "small": {}}
    for kind, channels in (("grey", 1), ("colour", 3)):
        rows: dict[str, list[tuple[float, float]]] = {}
        with tempfile.TemporaryDirectory() as temporary:
            path = f"{temporary}/noisy.npy"
            np.save(path, noisy_photograph(LARGE, channels))
            names = (COMMAND, "non-local means", "total variation", "wavelet")
            for _ in range(ROUNDS):
                for name in names:
                    words = [sys.executable, methods.__file__, name, path, str(25 / 255)]
                    output = subprocess.run(
                        words, check=True, capture_output=True, text=True, cwd=Path(__file__).parent
                    )
                    rows.setdefault(name, []).append(tuple(json.loads(output.stdout)))
                rows.setdefault(BLOCK_MATCHING, []).append(of_block_matching(path))
        found["megapixel"][kind] = {
            name: {
                "seconds": [round(seconds, 3) for seconds, _ in row],
                "megabytes": round(max(m for _, m in row) / 1e6),
            }
            for name, row in rows.items()
        }
        print(kind, found["megapixel"][kind], flush=True)
        found["small"][kind] = dict(small(channels))
        print(kind, {name: statistics.median(row) for name, row in found["small"][kind].items()}, flush=True)
    return found


def of_block_matching(path: str) -> tuple[float, float]:
    """Seconds and bytes of BM3D for an image in a file."""
    bm3d = methods.BlockMatching()
    noisy = np.load(path)
    bm3d(noisy[:64, :64], 25 / 255)
    before = bm3d.peak_memory()
    bm3d(noisy, 25 / 255)
    result = bm3d.seconds, bm3d.peak_memory() - before
    bm3d.close()
    return result


def small(channels: int) -> Iterator[tuple[str, list[float]]]:
    """Milliseconds for 512 × 512 pixels, in float32 and, where the processor has it, in bfloat16, in turn."""
    image = noisy_photograph(SPEED_SIDE, channels)[None]
    precisions = ["float32", *(["bfloat16"] if has_bfloat16(torch.device("cpu")) else [])]
    found: dict[str, list[float]] = {precision: [] for precision in precisions}
    for number in range(SPEED_PAIRS + 2):
        for precision in precisions:
            denoiser = methods.model(channels, precision)
            started = time.perf_counter()
            denoiser.reconstruct(image)
            if number >= 2:
                found[precision].append(round(1000 * (time.perf_counter() - started), 2))
    yield from found.items()


def noisy_photograph(side: int, channels: int) -> Pixels:
    """A photograph, repeated to a size, with noise of 25/255."""
    image = as_pixels(skimage.data.coffee())
    image = image if channels == 3 else (image @ np.array(LUMINANCE, np.float32))[..., None]
    tiled = np.tile(image, (-(-side // len(image)), -(-side // image.shape[1]), 1))[:side, :side]
    return (tiled + np.random.default_rng(0).normal(0, 25 / 255, tiled.shape)).astype(np.float32)


def processor() -> str:
    """Name of the processor and the number of its cores that are used."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    name = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "unknown")
    return f"{name}, two cores"


def figure(folder: Path) -> dict[str, Any]:
    """Parts of two photographs at twice their size: noisy, BM3D, this package, clean."""
    bm3d = methods.BlockMatching()
    for name, (top, left) in {"coffee": (90, 200), "chelsea": (60, 130)}.items():
        clean = shown()["colour"][name]
        noisy = np.clip(clean + np.random.default_rng(0).normal(0, 25 / 255, clean.shape), 0, 1).astype(np.float32)
        pieces = {
            "noisy": noisy,
            "BM3D": bm3d(noisy, 25 / 255),
            "this package": methods.as_the_command(noisy, 0.0),
            "clean": clean,
        }
        window = slice(top, top + 130), slice(left, left + 150)
        twice: dict[str, Any] = {
            title: np.kron(np.clip(piece[window], 0, 1), np.ones((2, 2, 1))) for title, piece in pieces.items()
        }
        plots.save_figure(plots.side_by_side(twice), OUT.with_name(f"photographs-{name}.png"))
    bm3d.close()
    return {}


PARTS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "papers": papers,
    "camera": camera,
    "page": page,
    "others": no_photographs,
    "speed": speed,
    "folders": lambda folder: overheads(),
    "self-supervised": lambda folder: self_supervised(folder / "photos", images_of(folder / "kodak24", 3)),
    "figure": figure,
}

if __name__ == "__main__":
    main()
