"""Percentiles of the numbers of many planes, computed from samples that fit into memory."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hourglass.imagefiles.image import ALPHAS, Plane
from hourglass.imagefiles.missing import missing

# The range of an image lies between these percentiles when neither the file nor the model gives one, so that a few
# hot or dead pixels do not stretch it.
PERCENTILES = (0.1, 99.9)
# About how many numbers of one plane become its sample.
_SAMPLE = 1 << 20
# Upper bound for the numbers that are kept of all planes and files together.
_MOST_SAMPLES = 1 << 23


class Samples:
    """Evenly thinned numbers of many planes, at most ``_MOST_SAMPLES`` of them."""

    def __init__(self) -> None:
        self._parts: list[NDArray[Any]] = []
        self._step = 1

    def add(self, sample: NDArray[Any]) -> None:
        """Add numbers of one plane, thinned like those of the planes before it.

        Parameters
        ----------
        sample : ndarray of shape (n,), integer or floating point
            Numbers of the plane, as :func:`sample_of` returns them.
        """
        self._parts.append(sample[:: self._step].copy())
        while len(self._parts) > 1 and sum(map(len, self._parts)) > _MOST_SAMPLES:
            self._parts = [part[::2].copy() for part in self._parts]
            self._step *= 2

    def percentiles(self) -> tuple[float, float]:
        """Return the percentiles 0.1 and 99.9 of all numbers together.

        Returns
        -------
        tuple of (float, float)
            Lower and upper percentile; see the function :func:`percentiles`.
        """
        return percentiles(np.concatenate(self._parts))


def percentiles(values: NDArray[Any]) -> tuple[float, float]:
    """Return the percentiles 0.1 and 99.9, or the smallest and largest number if these percentiles are equal.

    Parameters
    ----------
    values : ndarray of any shape, integer or floating point
        The numbers, not all of which are equal.

    Returns
    -------
    tuple of (float, float)
        Lower and upper end, the first smaller than the second.
    """
    low, high = (float(end) for end in np.percentile(values.astype(np.float64), PERCENTILES))
    return (low, high) if low < high else (float(values.min()), float(values.max()))


def sample_of(plane: Plane) -> NDArray[Any] | None:
    """Return evenly spaced numbers of a plane, without alpha and missing values.

    Parameters
    ----------
    plane : Plane
        The plane.

    Returns
    -------
    ndarray of shape (n,), of the dtype of ``plane.values``, or None
        About a million numbers, or all of a smaller plane. None when all numbers are equal, or none is left.
    """
    bands = [band for band, role in enumerate(plane.roles) if role not in ALPHAS]
    step = max(1, math.ceil(math.sqrt(plane.values.shape[0] * plane.values.shape[1] * len(bands) / _SAMPLE)))
    part = Plane(plane.values[::step, ::step], plane.roles, plane.numbers)
    values = part.values[..., bands][~missing(part)[..., bands]]
    return values if len(values) and values.min() < values.max() else None
