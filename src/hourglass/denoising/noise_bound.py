"""How much noise an image can have at most, by its finest detail."""

import math
from collections.abc import Iterable
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Share of the pixels whose second differences are taken for noise alone, and not for edges and texture.
_QUIETEST = 0.25
# Below this level, as a fraction of the range, an image is free of noise; rounding to bytes alone has 0.29/255.
_FREE_OF_NOISE = 0.4 / 255
# Images have at least so many pixels each way, or nothing is known of their noise.
SMALLEST = 8
# Pixels that are looked at; of a larger image, strips of rows that are evenly spaced.
_LOOKED_AT = 2_000_000
_STRIP = 64


def noise_bound(image: NDArray[np.floating[Any]]) -> float:
    """Bound the level of the noise of an image from above.

    The image goes through the filter (1, -2, 1) along both axes, which removes all that is even or changes linearly
    (Immerkær, "Fast Noise Variance Estimation", Computer Vision and Image Understanding, 1996). Of its absolute output
    not the mean but the quartile is taken, which edges and texture hardly reach. The same at half the resolution finds
    noise with a grain, as cameras and compression leave it. Where a quarter of the image has no detail at all, as in
    drawings and screenshots, there is no noise anywhere.

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
    return bound_of_strips(image[rows] for rows in rows_to_look_at(height, width))


def bound_of_strips(strips: Iterable[NDArray[np.floating[Any]]]) -> float:
    """Bound the level of the noise of an image of which some strips of rows are given; see :func:`noise_bound`.

    Parameters
    ----------
    strips : iterable of ndarray of shape (rows, w, c)
        At least one strip, each of 8 rows or more and at least 8 pixels wide.

    Returns
    -------
    float
        Standard deviation that normal noise has at most, about, and 0 without noise.
    """
    fine, halved = [], []
    for strip in strips:
        fine.append(np.abs(_second_differences(strip)).ravel())
        half = _halve(strip)
        if min(half.shape[:2]) >= 3:
            halved.append(np.abs(_second_differences(half)).ravel())
    level = _level(fine)
    if level < _FREE_OF_NOISE:
        return 0.0
    # Averages of four pixels have half the noise, if it is independent.
    return max(level, 2 * _level(halved)) if halved else level


def rows_to_look_at(height: int, width: int, pixels: int = _LOOKED_AT) -> list[slice]:
    """Choose strips of rows by which an image is judged: all rows of a small one, and evenly spaced ones otherwise.

    Parameters
    ----------
    height, width : int
        Of the image, in pixels.
    pixels : int, default=2,000,000
        About how many pixels are looked at; at least one strip.

    Returns
    -------
    list of slice
        Rows of each strip.
    """
    count = max(1, min(-(-height // _STRIP), round(pixels / (_STRIP * width))))
    if count * _STRIP >= height:
        return [slice(0, height)]
    tops = np.linspace(0, height - _STRIP, count).astype(int)
    return [slice(top, top + _STRIP) for top in tops]


def _second_differences(image: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    down = image[2:] - 2 * image[1:-1] + image[:-2]
    both: NDArray[np.floating[Any]] = down[:, 2:] - 2 * down[:, 1:-1] + down[:, :-2]
    return both


def _halve(image: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    height, width = image.shape[0] // 2 * 2, image.shape[1] // 2 * 2
    blocks = image[:height, :width].reshape(height // 2, 2, width // 2, 2, -1)
    halved: NDArray[np.floating[Any]] = blocks.mean((1, 3))
    return halved


def _level(outputs: list[NDArray[np.floating[Any]]]) -> float:
    """Standard deviation of normal noise behind absolute outputs of the filter, whose coefficients have length 6."""
    quartile = float(np.quantile(np.concatenate(outputs), _QUIETEST))
    return quartile / 6 / NormalDist().inv_cdf((1 + _QUIETEST) / 2)
