"""An image file, independent of its format: planes of numbers, and the meaning of each band."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.float32]
Raw = NDArray[Any]

# The meanings that a band can have. Red, green and blue are consecutive, in this order, and form one colour image.
# The two kinds of alpha are never changed; "premultiplied" means that the file's colours are already multiplied by
# alpha. Each band of another role is a grey image of its own.
COLOURS = ("red", "green", "blue")
ALPHAS = ("alpha", "premultiplied")
ROLES = ("grey", *COLOURS, "ink", "extra", *ALPHAS)


@dataclass(frozen=True)
class Numbers:
    """Type and meaning of the numbers of a plane.

    Parameters
    ----------
    dtype : numpy.dtype
        Type of the decoded array, in the machine's byte order: an integer or floating-point type.
    bits : int
        Bits of a number in the file, which can be fewer than those of ``dtype``: 1, 2, 4, 8, 10, 12, 14, 16, 32 or
        64.
    declared : tuple of (float, float), optional
        Smallest and largest number in use according to the file itself, for example PNG's sBIT chunk or TIFF's
        MaxSampleValue tag. None, the default, when the file declares nothing.
    no_data : float, optional
        Number that marks a missing value, for example from GDAL's tag. None, the default, when there is no such
        number.
    """

    dtype: np.dtype[Any]
    bits: int
    declared: tuple[float, float] | None = None
    no_data: float | None = None

    @property
    def kind(self) -> str:
        """Name of the type, such as ``uint16``; in training, planes of the same type share a range."""
        return self.dtype.name

    @property
    def limits(self) -> tuple[float, float] | None:
        """Smallest and largest number that the file can store; None for floating-point numbers."""
        if self.dtype.kind == "f":
            return None
        if self.dtype.kind == "i":
            return -(2.0 ** (self.bits - 1)), 2.0 ** (self.bits - 1) - 1
        return 0.0, 2.0**self.bits - 1


@dataclass(frozen=True)
class Plane:
    """One image of a file: a page of a TIFF, a slice of a stack, or a whole photograph.

    Parameters
    ----------
    values : ndarray of shape (h, w, bands), integer or floating point
        The numbers as the file stores them, upright, with black as the smallest number.
    roles : tuple of str
        Meaning of each band: "grey", "red", "green", "blue", "ink", "extra", "alpha" or "premultiplied".
    numbers : Numbers
        Type and meaning of the numbers in ``values``.
    keep : ndarray of shape (h, w), bool, optional
        Pixels that must not change, for example those of a colour that stands for transparent. None, the default,
        when every pixel may change.

    Raises
    ------
    ValueError
        When ``values`` does not have one band for each role.
    """

    values: Raw
    roles: tuple[str, ...]
    numbers: Numbers
    keep: NDArray[np.bool_] | None = field(default=None)

    def __post_init__(self) -> None:
        if self.values.ndim != 3 or self.values.shape[2] != len(self.roles):
            raise ValueError(f"values has shape {self.values.shape}; expected (h, w, {len(self.roles)})")

    @property
    def groups(self) -> list[slice]:
        """Slices of bands that form one image each, one band (grey) or three (RGB); alpha is in none of them."""
        found, band = [], 0
        while band < len(self.roles):
            width = 3 if self.roles[band : band + 3] == COLOURS else 1
            if self.roles[band] not in ALPHAS:
                found.append(slice(band, band + width))
            band += width
        return found


class ImageFile(Protocol):
    """Protocol of an open image file, whose planes are decoded one by one on request.

    Parameters
    ----------
    *args, **kwargs : Any
        Each format defines its own parameters; :func:`open_image` chooses the class and creates the object.

    Attributes
    ----------
    path : Path
        The file itself.
    format : str
        Name of the format, such as ``PNG``.
    """

    path: Path
    format: str

    def __len__(self) -> int:
        """Return the number of planes, at least 1."""
        ...

    def planes(self) -> Iterator[Plane]:
        """Decode the planes, in order; each call starts again at the first one.

        Yields
        ------
        Plane
            The next plane. Only this one has to be in memory.

        Raises
        ------
        OSError
            When the file cannot be read or is damaged.
        ValueError
            When a plane is valid, but of a kind that is not supported.
        """
        ...

    def write(self, target: Path, values: Iterable[Raw]) -> None:
        """Write a file of the same format and structure with other numbers, completely or not at all.

        Parameters
        ----------
        target : Path
            Path of the new file, in a folder that exists. It may be ``path`` itself.
        values : iterable of ndarray of shape (h, w, bands)
            The new numbers of each plane, in order, with the shape and dtype of that plane's ``values``.

        Raises
        ------
        OSError
            When the file cannot be written.
        """
        ...

    def close(self) -> None:
        """Close the file, after which no plane can be decoded."""
        ...
