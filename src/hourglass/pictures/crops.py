"""Training images of one size, from pictures of many."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hourglass.pictures.files import Pixels, read_picture
from hourglass.pictures.folders import FILE_ERRORS, Outcome

COLOURS = ("auto", "grey", "rgb")
# Weights of red, green and blue in brightness: ITU-R BT.601, as Pillow's "L".
LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)


def to_channels(pixels: Pixels, channels: int) -> Pixels:
    """Pixels ``(h, w, 1 or 3)`` as grey (their brightness) or RGB (three equal channels)."""
    if pixels.shape[2] == channels:
        return pixels
    return (pixels @ LUMA)[..., None] if channels == 1 else np.repeat(pixels, 3, axis=2)


def resize(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    """Pixels resized to a height and width, smoothed first where that shrinks them."""
    from skimage.transform import resize as skimage_resize

    if pixels.shape[:2] == size:
        return pixels
    resized: Pixels = skimage_resize(pixels, size, anti_aliasing=True).astype(np.float32)
    return resized


def read_sized(path: Path, image_shape: tuple[int, int, int], *, resizing: bool) -> Pixels:
    """Pixels of a file as ``image_shape``: its channels made to fit, its size too with ``resizing``.

    Raises
    ------
    ValueError
        When the size is another and must not be changed.
    """
    height, width, channels = image_shape
    pixels = to_channels(read_picture(path).pixels, channels)
    if pixels.shape[:2] != (height, width) and not resizing:
        raise ValueError(
            f"{path} has {pixels.shape[0]} × {pixels.shape[1]} pixels, the model's images {height} × {width}, "
            "and a code has one length; --resize makes them fit"
        )
    return resize(pixels, (height, width))


def training_images(
    paths: Sequence[str | os.PathLike[str]],
    *,
    size: tuple[int, int],
    whole: bool = False,
    count: int = 4096,
    colour: str = "auto",
    random_state: int = 0,
    on_outcome: Callable[[Outcome], None] | None = None,
) -> NDArray[np.float32]:
    """Images of one size from picture files.

    Parameters
    ----------
    paths : sequence of path-like
    size : tuple of int
        Height and width of the images.
    whole : bool, default=False
        Resize each picture to that size, instead of cutting random places out of it; a picture that is smaller
        than the cut is continued at its edge by reflection.
    count : int, default=4096
        Cuts from all pictures together, equally many from each; at least one.
    colour : {"auto", "grey", "rgb"}, default="auto"
        ``auto`` is RGB where any picture has colour.
    random_state : int, default=0
    on_outcome : callable, optional
        Called with the :class:`Outcome` of each file; by default the error of one that cannot be read is raised.

    Returns
    -------
    ndarray of shape (n, h, w, c), float32
        In [0, 1].

    Raises
    ------
    ValueError
        When no file could be read.
    """
    random = np.random.default_rng(random_state)
    each = -(-count // len(paths))
    images: list[Pixels] = []
    for path in paths:
        try:
            pixels = read_picture(path).pixels
        except FILE_ERRORS as error:
            if on_outcome is None:
                raise
            on_outcome(Outcome(Path(path), error=error))
            continue
        if on_outcome is not None:
            on_outcome(Outcome(Path(path)))
        if colour != "auto":
            pixels = to_channels(pixels, 1 if colour == "grey" else 3)
        images += [resize(pixels, size)] if whole else [_cut(pixels, size, random) for _ in range(each)]
    if not images:
        raise ValueError("no picture could be read, so that there is nothing to train on")
    channels = max(image.shape[2] for image in images)
    return np.stack([to_channels(image, channels) for image in images])


def _cut(pixels: Pixels, size: tuple[int, int], random: np.random.Generator) -> Pixels:
    height, width = size
    missing = [(0, max(wanted - there, 0)) for wanted, there in zip(size, pixels.shape, strict=False)]
    if any(after for _, after in missing):
        pixels = np.pad(pixels, [*missing, (0, 0)], mode="symmetric")
    top = random.integers(pixels.shape[0] - height + 1)
    left = random.integers(pixels.shape[1] - width + 1)
    return pixels[top : top + height, left : left + width].copy()
