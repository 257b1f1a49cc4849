"""Pixels without data: where they are, and what a network sees in their place."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from hourglass.imagefiles.image import Plane


def missing(plane: Plane) -> NDArray[np.bool_]:
    """Where a plane has no data ``(h, w, bands)``: NaN, infinity, and the number that the file names."""
    values = plane.values
    where = ~np.isfinite(values) if values.dtype.kind == "f" else np.zeros(values.shape, dtype=bool)
    no_data = plane.numbers.no_data
    limits = plane.numbers.limits or (-math.inf, math.inf)
    if no_data is not None and limits[0] <= no_data <= limits[1]:
        where |= values == values.dtype.type(no_data)
    return where


def fill(pixels: NDArray[Any], where: NDArray[np.bool_]) -> None:
    """Give pixels ``(h, w, c)`` without data, in place, the value of the nearest that has some; 0 where none has."""
    for band in range(pixels.shape[2]):
        hole = where[..., band]
        if hole.all():
            pixels[..., band] = 0
        elif hole.any():
            rows, columns = distance_transform_edt(hole, return_distances=False, return_indices=True)
            pixels[..., band] = pixels[rows, columns, band]
