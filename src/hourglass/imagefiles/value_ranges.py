"""A range of numbers that a network sees as [0, 1]: numbers brought to it, and changes taken back from it."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hourglass.imagefiles.image import Numbers, Pixels, Raw

# Numbers that are converted to double precision at a time, so that the conversion takes little memory.
_BLOCK = 1 << 20


@dataclass(frozen=True)
class ValueRange:
    """A range of a file's numbers, which a network sees as [0, 1].

    Parameters
    ----------
    low : float
        Number of the file that becomes 0.
    high : float
        Number of the file that becomes 1; larger than ``low``.
    origin : str
        Where the range comes from, in words, such as "declared by the file".
    bounded : bool, default=False
        Whether no number of the file can lie outside the range, as with bytes. Noise is clipped only to bounded
        ranges.
    """

    low: float
    high: float
    origin: str
    bounded: bool = False

    @property
    def width(self) -> float:
        """Difference between ``high`` and ``low``, in the file's numbers."""
        return self.high - self.low

    def normalise(self, values: Raw) -> Pixels:
        """Scale the numbers of a file so that the range becomes [0, 1]; nothing is clipped.

        Parameters
        ----------
        values : ndarray of shape (h, w, bands), integer or floating point
            Numbers as the file stores them.

        Returns
        -------
        ndarray of shape (h, w, bands), float32
            The scaled numbers, in a new array. Numbers outside the range are below 0 or above 1.
        """
        pixels = np.empty(values.shape, np.float32)
        if self.low == 0 and values.dtype.itemsize <= 2 and values.dtype.kind != "f":
            return np.divide(values, np.float32(self.high), out=pixels, dtype=np.float32)
        for rows in _blocks(values):
            pixels[rows] = (values[rows].astype(np.float64) - self.low) / self.width
        return pixels

    def put_back(self, values: Raw, change: Pixels, numbers: Numbers) -> Raw:
        """Add a change, computed on the scale of [0, 1], to a file's numbers.

        Parameters
        ----------
        values : ndarray of shape (h, w, bands), integer or floating point
            Numbers as the file stores them.
        change : ndarray of shape (h, w, bands), float32
            The change on the scale where this range is [0, 1].
        numbers : Numbers
            Type of the file's numbers.

        Returns
        -------
        ndarray of shape (h, w, bands), of the dtype of ``values``
            The changed numbers, in a new array. Integers are rounded and clipped to what the file can store.
        """
        changed = np.empty_like(values)
        for rows in _blocks(values):
            step = change[rows].astype(np.float64) * self.width
            if numbers.limits is None:
                changed[rows] = np.where(step == 0, values[rows], values[rows] + step)  # -0.0 stays
            elif numbers.bits == 64:
                changed[rows] = _moved(values[rows], step)
            else:
                changed[rows] = np.clip(np.rint(values[rows] + step), *numbers.limits)
        return changed

    def __str__(self) -> str:
        return f"{self.low:,.6g} to {self.high:,.6g} ({self.origin})"


def _moved(values: Raw, step: NDArray[np.float64]) -> Raw:
    """Add steps to 64-bit integers, which float64 cannot represent exactly, and clip the sums to their type."""
    limits = np.iinfo(values.dtype)
    about = values.astype(np.float64) + step
    # The sum modulo 2⁶⁴ is exact wherever nothing overflows, for unsigned numbers as well.
    moved = (values.view(np.int64) + np.clip(np.rint(step), -(2.0**62), 2.0**62).astype(np.int64)).view(values.dtype)
    moved = np.where(about >= limits.max, limits.max, moved)
    return np.where(about <= limits.min, limits.min, moved).astype(values.dtype)


def _blocks(values: Raw) -> Iterator[slice]:
    """Slices of rows with about a million numbers each, which take little memory in double precision."""
    height = max(1, _BLOCK * len(values) // max(values.size, 1))
    yield from (slice(top, top + height) for top in range(0, len(values), height))


STRETCHED = ValueRange(0.0, 65535.0, "8 bits stretched to 16", bounded=True)
# The range of a constant image, from whose numbers no range can be computed.
UNKNOWN = ValueRange(0.0, 1.0, "of a constant image")
