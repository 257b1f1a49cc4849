"""Base classes of the formats of photographs: the file is in memory, and its pixels are decoded on request."""

import io
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from hourglass.atomic import write_whole
from hourglass.imagefiles.image import Plane, Raw
from hourglass.imagefiles.reading import UnservedError, reading, turned, turned_back
from hourglass.runtime.silence import libraries_silenced

_E = TypeVar("_E")
_ORIENTATION = 0x0112


class Raster(ABC):
    """Base class of image files whose content is in memory.

    A subclass reads the file's structure in ``__init__``.

    Parameters
    ----------
    path : Path
        Path of the file, for errors.
    content : bytes
        The whole content of the file.

    Attributes
    ----------
    format : str
        Name of the format, such as ``PNG``.
    """

    format: str

    def __init__(self, path: Path, content: bytes) -> None:
        self.path, self.content = path, content

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of planes."""

    @abstractmethod
    def planes(self) -> Iterator[Plane]:
        """Decode the planes and turn them upright, in order; each call starts again at the first one.

        Yields
        ------
        Plane
            The next plane.

        Raises
        ------
        OSError
            When the file is damaged.
        ValueError
            When the image is of a kind that is not supported.
        """

    @abstractmethod
    def write(self, target: Path, values: Iterable[Raw]) -> None:
        """Write a file of the same structure with other numbers, completely or not at all.

        Parameters
        ----------
        target : Path
            Path of the new file, in a folder that exists. It may be ``path`` itself.
        values : iterable of ndarray of shape (h, w, bands)
            The new numbers of each plane, in order, with the shape and dtype of that plane's ``values``.

        Raises
        ------
        OSError
            When the file cannot be written, or an image cannot be encoded.
        """

    def close(self) -> None:
        """Release the memory of the file's content, after which no plane can be decoded."""
        self.content = b""


class Still(Raster):
    """Base class of image files with one plane.

    A subclass reads the file's structure in ``__init__`` and implements ``decode`` and ``encode``, both for arrays in
    the stored orientation.

    Parameters
    ----------
    path : Path
        Path of the file, for errors.
    content : bytes
        The whole content of the file.

    Attributes
    ----------
    orientation : int
        Orientation as EXIF numbers it, 1 to 8; 1, the default, is upright.
    """

    orientation = 1

    def __len__(self) -> int:
        """Return the number of planes, which is 1."""
        return 1

    @abstractmethod
    def decode(self) -> Plane:
        """Decode the image, in the stored orientation.

        Returns
        -------
        Plane
            The image.
        """

    @abstractmethod
    def encode(self, values: Raw) -> bytes:
        """Encode a file of the same structure with other numbers.

        Parameters
        ----------
        values : ndarray of shape (h, w, bands)
            The new numbers in the stored orientation, with the shape and dtype of the decoded ``values``.

        Returns
        -------
        bytes
            Content of the file.
        """

    def planes(self) -> Iterator[Plane]:
        """Decode the image and turn it upright.

        Yields
        ------
        Plane
            The only plane.

        Raises
        ------
        OSError
            When the file is damaged.
        ValueError
            When the image is of a kind that is not supported.
        """
        with reading(self.path):
            plane = turned(self.decode(), self.orientation)
        yield plane

    def write(self, target: Path, values: Iterable[Raw]) -> None:
        """Write a file of the same structure with other numbers, completely or not at all.

        Parameters
        ----------
        target : Path
            Path of the new file, in a folder that exists. It may be ``path`` itself.
        values : iterable of ndarray of shape (h, w, bands)
            The new numbers of each plane, in order, with the shape and dtype of that plane's ``values``.

        Raises
        ------
        OSError
            When the file cannot be written, or the image cannot be encoded.
        """
        [upright] = values
        with encoding(self.path):
            content = self.encode(turned_back(upright, self.orientation))
        write_whole(target, content)


class LossyStill(Still):
    """Base class of files with lossy compression; the file is copied if no number changed.

    Parameters
    ----------
    path : Path
        Path of the file, for errors.
    content : bytes
        The whole content of the file.

    Attributes
    ----------
    lossy : bool
        Whether the compression of this file is lossy; True by default.
    """

    lossy = True

    def write(self, target: Path, values: Iterable[Raw]) -> None:
        """Write a file with other numbers, or a copy of the file if the compression is lossy and no number changed.

        Parameters
        ----------
        target : Path
            Path of the new file, in a folder that exists. It may be ``path`` itself.
        values : iterable of ndarray of shape (h, w, bands)
            The new numbers of each plane, in order, with the shape and dtype of that plane's ``values``.

        Raises
        ------
        OSError
            When the file cannot be written, or the image cannot be encoded.
        """
        [upright] = values
        if self.lossy and np.array_equal(upright, next(self.planes()).values):
            write_whole(target, self.content)
        else:
            super().write(target, [upright])


def closest(values: Raw, encode: Callable[[Raw], _E], decode: Callable[[_E], Raw], *, rounds: int) -> tuple[_E, float]:
    """Encode an image several times, and choose the encoding that is closest to it.

    Encoders smooth chroma before they store it at half the size, and decoders smooth it once more. To compensate for
    some of this loss, the error of each attempt is added to the image before the next attempt.

    Parameters
    ----------
    values : ndarray of shape (h, w, bands), unsigned integer
        The image.
    encode : callable
        Function that takes an image like ``values`` and returns its encoding.
    decode : callable
        Function that takes an encoding and returns the decoded image.
    rounds : int
        Number of attempts after the first one, at least 0.

    Returns
    -------
    encoded : Any
        The best encoding that ``encode`` returned.
    error : float
        Its mean squared error, of the band with the largest error.

    Raises
    ------
    ValueError
        When ``rounds`` is negative.
    """
    most = np.iinfo(values.dtype).max
    asked: Raw = values
    best: tuple[_E, float] | None = None
    for _ in range(rounds + 1):
        encoded = encode(asked)
        missed = values.astype(np.float32) - decode(encoded)
        error = float(np.square(missed).mean(axis=(0, 1)).max())
        if best is None or error < best[1]:
            best = encoded, error
        asked = np.clip(np.rint(asked + missed), 0, most).astype(values.dtype)
    if best is None:
        raise ValueError("rounds is negative")
    return best


@contextmanager
def encoding(path: Path) -> Iterator[None]:
    """Context that suppresses the warnings of encoders, and names the file in their errors.

    Parameters
    ----------
    path : Path
        Path of the file, for errors.

    Yields
    ------
    None
        Nothing; the block encodes the file.

    Raises
    ------
    ValueError
        When an encoder does not support the structure of the file.
    OSError
        When an encoder fails for another reason.
    MemoryError
        When the block raises it.
    """
    try:
        with libraries_silenced:
            yield
    except UnservedError as error:
        raise ValueError(f"{path} {error}") from error
    except MemoryError:
        raise
    except Exception as error:  # libraries raise errors of any type
        raise OSError(f"{path} could not be encoded again ({error or type(error).__name__})") from error


def exif_orientation(exif: bytes) -> int:
    """Read the orientation from EXIF data.

    Parameters
    ----------
    exif : bytes
        The EXIF data.

    Returns
    -------
    int
        The orientation, 1 to 8; 1, which means upright, if the data are damaged or contain no orientation.
    """
    from PIL import Image

    found = Image.Exif()
    try:
        with libraries_silenced:
            found.load(exif)
            value = found.get(_ORIENTATION, 1)
    except Exception:  # damaged EXIF data are copied as they are; the pixels can still be read
        return 1
    return value if isinstance(value, int) and value in range(1, 9) else 1


def pillow_image(content: bytes, format_: str) -> Any:
    """Decode an image with Pillow.

    Parameters
    ----------
    content : bytes
        Content of the file.
    format_ : str
        Pillow's name of the format.

    Returns
    -------
    PIL.Image.Image
        The decoded image.
    """
    from PIL import Image

    with Image.open(io.BytesIO(content), formats=[format_]) as image:
        image.load()
        return image
