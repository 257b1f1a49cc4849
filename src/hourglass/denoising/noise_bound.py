"""How much noise an image can have at most, by its finest detail."""

import math
from collections.abc import Iterable
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.floating[Any]]
Window = tuple[slice, slice]

# Side of the tiles that are judged one by one, in pixels.
_TILE = 32
# Share of the pixels of a tile, and of the tiles, whose second differences are taken for noise, and not for texture.
_QUIETEST, _QUIETEST_TILES = 0.25, 0.1
# An image in which fewer tiles have noise has none: many of its tiles are even for the most part.
_NOISY_TILES = 0.5
# Below this level, as a fraction of the range, an image is free of noise; rounding to bytes alone has 0.29/255.
_FREE_OF_NOISE = 0.4 / 255
# Images have at least so many pixels each way, or nothing is known of their noise.
SMALLEST = 8
# Pixels that are looked at, and side of the windows into which a larger image is looked.
_LOOKED_AT = 1_600_000
_WINDOW = 256


def noise_bound(image: Image) -> float:
    """Bound the level of the noise of an image from above.

    The image goes through the filter (1, -2, 1) along both axes, which removes all that is even or changes linearly
    (Immerkær, "Fast Noise Variance Estimation", Computer Vision and Image Understanding, 1996). The level of a tile of
    32 × 32 pixels follows from the quartile of the absolute output, which edges hardly raise, and the bound is that of
    the quietest tenth of the tiles. Tiles whose output is 0 everywhere, such as borders, say nothing of the noise and
    are left out. The same at half the resolution finds noise with a grain, as cameras and compression leave it. In
    drawings and screenshots most tiles are even for the most part. If more than half of the tiles are so, the image has
    no noise.

    Parameters
    ----------
    image : ndarray of shape (h, w, c)
        The image, on any scale with a range of about 1.

    Returns
    -------
    float
        Standard deviation that normal noise has at most, about; texture raises it. 0 for an image without noise, and
        infinity for one of less than 8 pixels in height or width.
    """
    height, width = image.shape[:2]
    if min(height, width) < SMALLEST:
        return math.inf
    return bound_of_windows(image[window] for window in windows_of(height, width))


def bound_of_windows(windows: Iterable[Image]) -> float:
    """Bound the level of the noise of an image from some windows of it; see :func:`noise_bound`.

    Parameters
    ----------
    windows : iterable of ndarray of shape (rows, columns, c)
        At least one window, each of 8 pixels or more each way.

    Returns
    -------
    float
        Standard deviation that normal noise has at most, about, and 0 without noise.
    """
    fine, halved = [], []
    for window in windows:
        fine.append(_tile_levels(window))
        half = _halve(window)
        if min(half.shape[:2]) >= 3:
            halved.append(_tile_levels(half))
    levels = np.concatenate(fine) if fine else np.empty(0)
    noisy = levels >= _FREE_OF_NOISE
    if not len(levels) or noisy.mean() < _NOISY_TILES:
        return 0.0
    # Averages of four pixels have half the noise, if it is independent.
    every = [levels[noisy], 2 * np.concatenate(halved)] if halved else [levels[noisy]]
    return max(float(np.quantile(each, _QUIETEST_TILES)) for each in every if len(each))


def windows_of(height: int, width: int, pixels: int = _LOOKED_AT) -> list[Window]:
    """Choose windows by which an image is judged: all of a small one, and evenly spaced squares of a large one.

    Parameters
    ----------
    height, width : int
        Size of the image, in pixels.
    pixels : int, default=1,600,000
        About how many pixels are looked at.

    Returns
    -------
    list of (slice, slice)
        Rows and columns of each window.
    """
    if height * width <= pixels:
        return [(slice(0, height), slice(0, width))]
    tall, wide = min(_WINDOW, height), min(_WINDOW, width)
    count = max(1, pixels // (tall * wide))
    # About as many each way as the sides of the image have it.
    down = max(1, min(round(math.sqrt(count * height / width)), math.ceil(height / tall), count))
    across = max(1, min(count // down, math.ceil(width / wide)))
    return [
        (slice(top, top + tall), slice(left, left + wide))
        for top in _spaced(height - tall, down)
        for left in _spaced(width - wide, across)
    ]


def rms_in_detail(window: Image, change: Image) -> tuple[float, int]:
    """Sum the squared change over the tiles of a window that are not even.

    Parameters
    ----------
    window : ndarray of shape (h, w, c)
        The image before the change, of 3 pixels or more each way.
    change : ndarray of shape (h, w, c)
        The change.

    Returns
    -------
    total : float
        Sum of the squares.
    count : int
        Number of summands; 0 where all tiles are even.
    """
    detailed = _tiles(np.abs(_second_differences(window))).max(axis=2) > 0
    squares = _tiles(np.square(change[1:-1, 1:-1], dtype=np.float64))[detailed]
    return float(squares.sum()), squares.size


def _spaced(room: int, count: int) -> list[int]:
    """So many places from 0 to ``room``, evenly spaced; one alone is in the middle."""
    places = [room / 2] if count == 1 else np.linspace(0, room, count)
    return sorted({int(place) for place in places})


def _second_differences(image: Image) -> Image:
    down = image[2:] - 2 * image[1:-1] + image[:-2]
    both: Image = down[:, 2:] - 2 * down[:, 1:-1] + down[:, :-2]
    return both


def _tiles(values: Image) -> Image:
    """Tiles ``(down, across, numbers)`` of an array ``(h, w, c)``; what does not fill a tile is left out."""
    height, width, channels = values.shape
    tall, wide = min(_TILE, height), min(_TILE, width)
    down, across = height // tall, width // wide
    cut = values[: down * tall, : across * wide].reshape(down, tall, across, wide, channels)
    return cut.swapaxes(1, 2).reshape(down, across, -1)


def _tile_levels(image: Image) -> Image:
    """Level of the noise in each tile that is not even, in a row."""
    tiles = _tiles(np.abs(_second_differences(image)))
    detailed = tiles[tiles.max(axis=2) > 0]
    if not len(detailed):
        return np.empty(0)
    # The filter's coefficients have length 6.
    quartiles = np.quantile(detailed, _QUIETEST, axis=1)
    levels: Image = quartiles / 6 / NormalDist().inv_cdf((1 + _QUIETEST) / 2)
    return levels


def _halve(image: Image) -> Image:
    height, width = image.shape[0] // 2 * 2, image.shape[1] // 2 * 2
    blocks = image[:height, :width].reshape(height // 2, 2, width // 2, 2, -1)
    halved: Image = blocks.mean((1, 3))
    return halved
