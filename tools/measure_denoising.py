"""Measures what docs/denoising.md says: denoisers with and without clean images, on digits and on photographs.

Usage: python tools/measure_denoising.py FOLDER_OF_MNIST

Twenty minutes on two cores. Writes docs/results/denoising.json, and the figure beside it.
"""

import io
import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import skimage
from skimage.color import rgb2gray
from skimage.io import imread, imsave
from skimage.util import img_as_ubyte

import hourglass as hg
from hourglass import cli, metrics, plots
from hourglass.denoising import TotalVariation, corrupt, undo_clipping
from hourglass.experiments.baselines import TEST_NOISE_SEED, TOTAL_VARIATION_WEIGHTS
from hourglass.imagefiles import ImageRestorer, Ranges, read_images
from hourglass.renames import FORMAT

OUT = Path(__file__).parents[1] / "docs" / "results"
LEVEL = 0.5
TESTED = 2000
PHOTOGRAPHS = 25 / 255
COLOUR = ("astronaut.png", "motorcycle_left.png", "motorcycle_right.png", "rocket.jpg", "ihc.png", "retina.jpg")
GREY = ("brick.png", "grass.png", "gravel.png", "coins.png", "moon.png")
TESTED_COLOUR = ("chelsea.png", "coffee.png")
TESTED_GREY = ("camera.png", *TESTED_COLOUR)


def main() -> None:
    """Measure both and write them down."""
    document = {"digits": digits(Path(sys.argv[1])), "photographs": photographs()}
    (OUT / "denoising.json").write_text(json.dumps({"format": FORMAT} | document, indent=2) + "\n", encoding="utf-8")


def digits(folder: Path) -> dict[str, Any]:
    """Self-supervision beside total variation, raw and with the clipping undone, on the same noise."""
    data = hg.load("mnist", folder)
    train = corrupt(data.train.images, LEVEL, 1)
    clean = data.test.images[:TESTED]
    noisy = corrupt(clean, LEVEL, TEST_NOISE_SEED)
    parameters: dict[str, Any] = {"channels": (32, 64, 64), "loss": "bce", "n_steps": 2000, "learning_rate": 0.006}
    ae = hg.ConvAutoencoder(self_supervised=True, random_state=0, verbose=1, report_every=500, **parameters).fit(train)

    # The strength is chosen on clean training images: an advantage over the network, which sees none.
    known, corrupted = data.train.images[:200], corrupt(data.train.images[:200], LEVEL, 2)

    found: dict[str, Any] = {"parameters": parameters, "seconds": ae.train_seconds_, "images": TESTED}
    found["noisy"] = float(metrics.psnr(clean, noisy))
    for name, finish in (("raw", lambda x: np.clip(x, 0, 1)), ("undone", lambda x: undo_clipping(x, LEVEL))):
        weights = (*TOTAL_VARIATION_WEIGHTS, 0.8, 1.0)
        best = max(weights, key=lambda weight: float(metrics.psnr(known, finish(TotalVariation(weight)(corrupted)))))
        found[name] = {
            "self_supervised": float(metrics.psnr(clean, finish(ae.reconstruct(noisy)))),
            "total_variation": float(metrics.psnr(clean, finish(TotalVariation(best)(noisy)))),
            "weight": best,
        }
        print(name, found[name], flush=True)
    return found


def photographs() -> dict[str, Any]:
    """What `hourglass train` and `hourglass evaluate` make of scikit-image's photographs, grey and in colour."""
    source = Path(skimage.__file__).parent / "data"
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        for kind, trained, tested in (("grey", COLOUR + GREY, TESTED_GREY), ("colour", COLOUR, TESTED_COLOUR)):
            folder = Path(temporary) / kind
            for part, names in (("train", trained), ("test", tested)):
                (folder / part).mkdir(parents=True)
                for name in names:
                    copy(source / name, folder / part / f"{Path(name).stem}.png", grey=kind == "grey")
            model = folder / "model"
            run("train", folder / "train", "--noise", PHOTOGRAPHS, "--out", model)
            rows = json.loads(run("evaluate", folder / "test", "--model", model, "--format", "json"))
            found[kind] = [row for row in rows if row["file"] != "mean"] + [
                row for row in rows if row["file"] == "mean"
            ]
            for row in found[kind]:
                print(kind, row, flush=True)
            if kind == "colour":
                draw(folder / "test" / "chelsea.png", model)
    return found


def copy(source: Path, target: Path, *, grey: bool) -> None:
    """An image as PNG, grey where that is wanted."""
    pixels = imread(source)
    if grey and pixels.ndim == 3:
        imsave(target, img_as_ubyte(rgb2gray(pixels[..., :3])), check_contrast=False)
    elif source.suffix == ".png":
        shutil.copy(source, target)
    else:
        imsave(target, pixels, check_contrast=False)


def run(*words: object) -> str:
    """Output of a command line, which has to succeed."""
    output = io.StringIO()
    with redirect_stdout(output):
        code = cli.main([str(word) for word in words])
    if code:
        raise SystemExit(code)
    return output.getvalue()


def draw(path: Path, model: Path) -> None:
    """A piece of a photograph: noisy, restored, clean."""
    [image] = read_images(path, Ranges())
    clean = image.pixels[60:190, 100:300]
    noisy = np.clip(clean + PHOTOGRAPHS * np.random.default_rng(0).standard_normal(clean.shape), 0, 1).astype(
        np.float32
    )
    estimator: Any = hg.load_model(model)
    pieces: Sequence[Any] = (noisy, np.clip(ImageRestorer(estimator)(noisy), 0, 1), clean)
    figure = plots.side_by_side(dict(zip(("noisy", "restored", "clean"), pieces, strict=True)))
    plots.save_figure(figure, OUT / "denoising.png")


if __name__ == "__main__":
    main()
