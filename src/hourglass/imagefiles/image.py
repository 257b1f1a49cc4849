"""What an image file holds, whatever its format: planes of numbers, and what each band of them means."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.float32]
Raw = NDArray[Any]

# What a band may mean. Red, green and blue stand together, in this order, and are one colour image; the
# two kinds of alpha (premultiplied: the colours are multiplied by it already) are kept as they are; each of the others
# is a grey image of its own.
COLOURS = ("red", "green", "blue")
ALPHAS = ("alpha", "premultiplied")
ROLES = ("grey", *COLOURS, "ink", "extra", *ALPHAS)


@dataclass(frozen=True)
class Numbers:
    """What the numbers of a plane are.

    Attributes
    ----------
    dtype : numpy.dtype
        Of the decoded array, in the machine's byte order: an integer or floating-point type.
    bits : int
        Bits of a number in the file, which can be fewer than the array's: 1, 2, 4, 8, 10, 12, 14, 16, 32 or 64.
    declared : pair of float, optional
        Smallest and largest number that the file says to be used, as by PNG's sBIT or TIFF's MaxSampleValue.
    no_data : float, optional
        Number that stands for a missing value, as GDAL's tag says.
    """

    dtype: np.dtype[Any]
    bits: int
    declared: tuple[float, float] | None = None
    no_data: float | None = None

    @property
    def kind(self) -> str:
        """Name of the type, as ``uint16``, by which files are told apart that a range is shared among."""
        return self.dtype.name

    @property
    def limits(self) -> tuple[float, float] | None:
        """Smallest and largest number that the file can hold; None of floating-point numbers."""
        if self.dtype.kind == "f":
            return None
        if self.dtype.kind == "i":
            return -(2.0 ** (self.bits - 1)), 2.0 ** (self.bits - 1) - 1
        return 0.0, 2.0**self.bits - 1


@dataclass(frozen=True)
class Plane:
    """One image of a file: a page of a TIFF, a slice of a stack, or all that a photograph is.

    Attributes
    ----------
    values : ndarray of shape (h, w, bands)
        The numbers as they are in the file, upright, black at the smallest.
    roles : tuple of str
        What each band means, of ``ROLES``.
    numbers : Numbers
    """

    values: Raw
    roles: tuple[str, ...]
    numbers: Numbers
    keep: NDArray[np.bool_] | None = field(default=None)
    """Pixels ``(h, w)`` that stay as they are, such as those of a colour that stands for transparent."""

    def __post_init__(self) -> None:
        if self.values.ndim != 3 or self.values.shape[2] != len(self.roles):
            raise ValueError(f"values has shape {self.values.shape}; expected (h, w, {len(self.roles)})")

    @property
    def groups(self) -> list[slice]:
        """Bands that make one image, grey or RGB; alpha is in none."""
        found, band = [], 0
        while band < len(self.roles):
            width = 3 if self.roles[band : band + 3] == COLOURS else 1
            if self.roles[band] not in ALPHAS:
                found.append(slice(band, band + width))
            band += width
        return found


class ImageFile(Protocol):
    """An image file that was looked at, and whose planes are decoded one by one when they are asked for."""

    path: Path
    format: str
    """Name of the format, as ``PNG``."""

    def __len__(self) -> int:
        """Number of planes."""
        ...

    def planes(self) -> Iterator[Plane]:
        """Decode the planes, in order; each call begins anew."""
        ...

    def write(self, target: Path, values: Iterable[Raw]) -> None:
        """Write a file of the same form with other numbers, whole or not at all.

        Parameters
        ----------
        target : Path
            Its folder exists.
        values : iterable of ndarray
            For each plane in order an array of the shape and dtype of its ``values``.

        Raises
        ------
        OSError
            When the file cannot be written.
        """
        ...

    def close(self) -> None:
        """Let go of the file."""
        ...
