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
    """A range of numbers, which becomes [0, 1].

    Attributes
    ----------
    low, high : float
        What becomes 0, and what becomes 1.
    origin : str
        Where it comes from, in words, such as "declared by the file".
    bounded : bool
        Whether no number can lie outside, as with bytes; noise is clipped to such a range, and to no other.
    """

    low: float
    high: float
    origin: str
    bounded: bool = False

    @property
    def width(self) -> float:
        return self.high - self.low

    def normalise(self, values: Raw) -> Pixels:
        """Numbers of a file on the scale where the range is [0, 1]; those outside are not clipped."""
        pixels = np.empty(values.shape, np.float32)
        if self.low == 0 and values.dtype.itemsize <= 2 and values.dtype.kind != "f":
            return np.divide(values, np.float32(self.high), out=pixels, dtype=np.float32)
        for rows in _blocks(values):
            pixels[rows] = (values[rows].astype(np.float64) - self.low) / self.width
        return pixels

    def put_back(self, values: Raw, change: Pixels, numbers: Numbers) -> Raw:
        """A file's numbers after a change on the scale of [0, 1], rounded and kept within what the file can hold."""
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
    """Integers of 64 bits, which floating-point numbers do not hold to the last bit, moved within their type."""
    limits = np.iinfo(values.dtype)
    about = values.astype(np.float64) + step
    # Where nothing overflows, the sum modulo 2⁶⁴ is the sum, of unsigned numbers too.
    moved = (values.view(np.int64) + np.clip(np.rint(step), -(2.0**62), 2.0**62).astype(np.int64)).view(values.dtype)
    moved = np.where(about >= limits.max, limits.max, moved)
    return np.where(about <= limits.min, limits.min, moved).astype(values.dtype)


def _blocks(values: Raw) -> Iterator[slice]:
    """Rows that hold about a million numbers, which take little memory in double precision."""
    height = max(1, _BLOCK * len(values) // max(values.size, 1))
    yield from (slice(top, top + height) for top in range(0, len(values), height))


STRETCHED = ValueRange(0.0, 65535.0, "8 bits stretched to 16", bounded=True)
# Of a constant image, whose numbers say nothing.
UNKNOWN = ValueRange(0.0, 1.0, "of a constant image")
