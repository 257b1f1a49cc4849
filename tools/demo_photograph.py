"""Writes the noisy photograph of the demo: python tools/demo_photograph.py FILE."""

import sys
from pathlib import Path

import numpy as np
import skimage.data
from PIL import Image

LEVEL = 25 / 255


def noisy_photograph() -> Image.Image:
    """Return scikit-image's cup of coffee with normal noise of level 25/255, clipped and rounded to bytes."""
    clean = skimage.data.coffee() / 255
    noisy = clean + np.random.default_rng(0).normal(0, LEVEL, clean.shape)
    return Image.fromarray(np.rint(255 * np.clip(noisy, 0, 1)).astype(np.uint8))


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.parent.mkdir(parents=True, exist_ok=True)
    noisy_photograph().save(target)
