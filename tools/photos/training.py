"""What the package's own training learns from noisy photographs alone."""

import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import hourglass as hg
from photos.crops import read_photographs
from photos.methods import Pixels, psnr

LEVEL = 25 / 255
METHODS: dict[str, dict[str, Any]] = {
    "neighbor2neighbor": {"begin_from": "scratch"},
    "noise2self": {"network": "conv"},
}


def self_supervised(photographs: Path, tested: Mapping[str, Pixels], steps: int | None = None) -> dict[str, Any]:
    """Learn from noisy photographs alone, by each method with its defaults.

    Parameters
    ----------
    photographs : Path
        Folder of clean photographs. Their noisy forms are written elsewhere, and learnt from.
    tested : mapping of str to ndarray of shape (h, w, 3)
        Clean images to test on.
    steps : int, optional
        Steps of training; by default as many as ``hourglass train`` does.

    Returns
    -------
    dict
        ``files``, and by method ``steps``, ``minutes`` and the mean ``psnr`` in dB.
    """
    found: dict[str, Any] = {"methods": {}}
    with tempfile.TemporaryDirectory() as temporary:
        noisy = Path(temporary) / "noisy"
        noisy.mkdir()
        random = np.random.default_rng(0)
        images = read_photographs(photographs)
        for name, image in images.items():
            with_noise = image + random.normal(0, 255 * LEVEL, image.shape)
            Image.fromarray(np.clip(np.rint(with_noise), 0, 255).astype(np.uint8)).save(noisy / f"{name}.png")
        found["files"] = len(images)
        for method, options in METHODS.items():
            started = time.perf_counter()
            out = Path(temporary) / method
            model = hg.train_on_images(noisy, out, self_supervised=method, n_steps=steps, verbose=1, **options)
            minutes = (time.perf_counter() - started) / 60
            quality = test(model, tested)
            found["methods"][method] = {
                "steps": model.n_steps_,
                "minutes": round(minutes, 1),
                "psnr": round(quality, 2),
            }
            print(f"  {method:20} {found['methods'][method]}", flush=True)
    return found


def test(model: Any, images: Mapping[str, Pixels]) -> float:
    """Mean PSNR in dB of a model on images with normal noise that is not clipped."""
    random = np.random.default_rng(0)
    scores = []
    for clean in images.values():
        noisy = (clean + random.normal(0, LEVEL, clean.shape)).astype(np.float32)
        scores.append(psnr(clean, model.reconstruct(noisy[None])[0]))
    return float(np.mean(scores))
