"""Pixels without data: where they are, and the values that a network sees instead."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from hourglass.imagefiles.image import Plane


def missing(plane: Plane) -> NDArray[np.bool_]:
    """Find the pixels without data: NaN, infinity, and the number that the file declares as missing.

    Parameters
    ----------
    plane : Plane
        The plane.

    Returns
    -------
    ndarray of shape (h, w, bands), bool
        True where the plane has no data. It may be read-only.
    """
    values = plane.values
    no_data = plane.numbers.no_data
    limits = plane.numbers.limits or (-math.inf, math.inf)
    marked = no_data is not None and limits[0] <= no_data <= limits[1]
    if values.dtype.kind != "f" and not marked:
        return np.broadcast_to(np.False_, values.shape)  # takes no memory
    where = ~np.isfinite(values) if values.dtype.kind == "f" else np.zeros(values.shape, dtype=bool)
    if no_data is not None and marked:
        where |= values == values.dtype.type(no_data)
    return where


def fill(pixels: NDArray[Any], where: NDArray[np.bool_]) -> None:
    """Fill missing pixels, in place, with the mirror image of what lies behind the nearest pixel that has data.

    Noise thus looks the same in a filled pixel as elsewhere. Where the mirror image has no data either, or would lie
    outside the image, a pixel gets the value of the nearest one. Each band is filled by itself.

    Parameters
    ----------
    pixels : ndarray of shape (h, w, c), integer or floating point
        The image, which is changed. A band without any data becomes 0.
    where : ndarray of shape (h, w, c), bool
        True where a pixel has no data.
    """
    for band in range(pixels.shape[2]):
        hole = where[..., band]
        if hole.all():
            pixels[..., band] = 0
        elif hole.any():
            nearest = distance_transform_edt(hole, return_distances=False, return_indices=True)
            for row in np.flatnonzero(hole.any(axis=1)):  # row by row, since indices take much memory
                columns = np.flatnonzero(hole[row])
                there = nearest[:, row, columns]
                mirrored = 2 * there - np.stack([np.full_like(columns, row), columns])
                usable = ((mirrored >= 0) & (mirrored < np.array(hole.shape)[:, None])).all(axis=0)
                usable[usable] = ~hole[mirrored[0, usable], mirrored[1, usable]]
                sources = np.where(usable, mirrored, there)
                pixels[row, columns, band] = pixels[sources[0], sources[1], band]
