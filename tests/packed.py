"""Small folders of images, and Zarrs of them, for tests."""

import numpy as np
from PIL import Image

import hourglass as hg

SIDE = 12


def write_images(folder, count=10, side=SIDE, seed=0, channels=1, labels=()):
    """Write images of noise, below folders that are named like labels, and return them in the order of their paths."""
    rng = np.random.default_rng(seed)
    images = []
    for i in range(count):
        below = folder / (labels[i * len(labels) // count] if labels else "")
        below.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (side, side, channels), dtype=np.uint8)
        Image.fromarray(pixels[..., 0] if channels == 1 else pixels).save(below / f"{i:03}.png")
        images.append(pixels)
    return np.stack(images)


def packed(folder, count=40, per_block=4, **options):
    """Images, and a source of a Zarr that has some in each block."""
    images = write_images(folder / "images", count, **options)
    block_bytes = per_block * images[0].nbytes
    hg.pack_images(folder / "images", folder / "images.zarr", block_bytes=block_bytes)
    return images, folder / "images.zarr", block_bytes
