"""Shared parts of the readers of all formats: errors, limits of size, and upright images."""

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

import numpy as np

from hourglass.imagefiles.image import Plane, Raw
from hourglass.runtime.silence import libraries_silenced

# Upper bound for the pixels of one image: Pillow's limit, above which it suspects a decompression bomb.
MOST_PIXELS = 178_956_970
# Upper bound for the memory of one decoded plane.
MOST_BYTES = 2 << 30

# For each of the EXIF and TIFF orientations 2 to 8: the function that turns an image upright, and its inverse.
_TURNS: dict[int, tuple[Callable[[Raw], Raw], Callable[[Raw], Raw]]] = {
    2: (lambda a: a[:, ::-1], lambda a: a[:, ::-1]),
    3: (lambda a: a[::-1, ::-1], lambda a: a[::-1, ::-1]),
    4: (lambda a: a[::-1], lambda a: a[::-1]),
    5: (lambda a: a.swapaxes(0, 1), lambda a: a.swapaxes(0, 1)),
    6: (lambda a: np.rot90(a, -1), lambda a: np.rot90(a, 1)),
    7: (lambda a: a[::-1, ::-1].swapaxes(0, 1), lambda a: a[::-1, ::-1].swapaxes(0, 1)),
    8: (lambda a: np.rot90(a, 1), lambda a: np.rot90(a, -1)),
}
_quiet: ContextVar[bool] = ContextVar("quiet", default=False)
_most_numbers: ContextVar[float] = ContextVar("most_numbers", default=math.inf)
# tifffile logs the faults of a file. Here they are raised as errors or ignored, so its log is silenced while reading.
logging.getLogger("tifffile").addFilter(lambda record: not _quiet.get())


class UnservedError(ValueError):
    """A valid file of a kind that is not supported; the message is the predicate of a sentence about the path."""


class LargerThanWantedError(Exception):
    """An image has more numbers than the caller wants to decode now; its file is sound."""


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Context in which every error becomes one of two: the file is damaged, or it is not supported.

    Parameters
    ----------
    path : Path
        The file that is read; the messages begin with it.

    Yields
    ------
    None
        Nothing; the block reads the file.

    Raises
    ------
    OSError
        When the file is damaged.
    ValueError
        When the file is valid, but of a kind that is not supported, or too large.
    MemoryError
        When the block raises it.
    ImportError
        When the block raises it, because an optional package is not installed.
    LargerThanWantedError
        When an image has more numbers than :func:`up_to` allows.
    """
    from PIL import Image

    token = _quiet.set(True)
    try:
        with libraries_silenced:
            yield
    except UnservedError as error:
        raise ValueError(f"{path} {error}") from error
    except Image.DecompressionBombError as error:
        raise ValueError(f"{path} is too large, perhaps a decompression bomb ({error}); divide it first") from error
    except (MemoryError, ImportError, LargerThanWantedError):
        raise
    except Exception as error:  # decoders raise errors of any type for damaged files
        raise OSError(f"{path} is damaged ({str(error) or type(error).__name__})") from error
    finally:
        _quiet.reset(token)


def check_size(width: int, height: int, bands: int, bytes_per_number: int = 1) -> None:
    """Check that an image has at least one pixel and is not too large; every reader does so before it decodes one.

    Parameters
    ----------
    width : int
        Width in pixels.
    height : int
        Height in pixels.
    bands : int
        Numbers of one pixel.
    bytes_per_number : int, default=1
        Bytes of one decoded number.

    Raises
    ------
    ValueError
        When the image has no pixels.
    UnservedError
        When it has more than 178,956,970 pixels or takes more than 2 GiB.
    LargerThanWantedError
        When it has more numbers than :func:`up_to` allows.
    """
    if width < 1 or height < 1:
        raise ValueError(f"it has {width} × {height} pixels")
    bytes_per_pixel = bands * bytes_per_number
    if width * height > MOST_PIXELS or width * height * bytes_per_pixel > MOST_BYTES:
        raise UnservedError(
            f"has {width:,} × {height:,} pixels of {bytes_per_pixel} bytes, more than {MOST_PIXELS:,} pixels or "
            f"{MOST_BYTES >> 30} GiB; it may be a decompression bomb. Divide it into parts first"
        )
    check_wanted(width * height * bands)


def check_wanted(numbers: int) -> None:
    """Check that the caller wants to decode an image of this size now.

    Parameters
    ----------
    numbers : int
        Numbers of the image, in all bands together.

    Raises
    ------
    LargerThanWantedError
        When they are more than :func:`up_to` allows.
    """
    if numbers > _most_numbers.get():
        raise LargerThanWantedError


@contextmanager
def up_to(numbers: float) -> Iterator[None]:
    """Context in which images of more numbers are not decoded.

    Parameters
    ----------
    numbers : float
        Most numbers of an image, in all bands together.

    Yields
    ------
    None
        Nothing; the block opens and reads files.

    Raises
    ------
    LargerThanWantedError
        When an image has more numbers.
    """
    token = _most_numbers.set(numbers)
    try:
        yield
    finally:
        _most_numbers.reset(token)


def turned(plane: Plane, orientation: int) -> Plane:
    """Turn a decoded plane upright.

    Parameters
    ----------
    plane : Plane
        The plane as the file stores it.
    orientation : int
        Orientation as EXIF and TIFF number it, 1 to 8. Other numbers count as 1, which means upright.

    Returns
    -------
    Plane
        The upright plane, whose values are contiguous and writeable.
    """
    turn = _TURNS.get(orientation, (np.asarray, np.asarray))[0]
    keep = None if plane.keep is None else np.ascontiguousarray(turn(plane.keep))
    values = np.ascontiguousarray(turn(plane.values))
    if not values.flags.writeable:  # it is the memory of a library
        values = values.copy()
    return Plane(values, plane.roles, plane.numbers, keep)


def turned_back(upright: Raw, orientation: int) -> Raw:
    """Turn an upright array into the orientation in which the file stores it; the inverse of :func:`turned`.

    Parameters
    ----------
    upright : ndarray of shape (h, w, ...)
        Upright pixels.
    orientation : int
        Orientation as EXIF and TIFF number it, 1 to 8. Other numbers count as 1, which means upright.

    Returns
    -------
    ndarray of shape (h, w, ...) or (w, h, ...)
        The pixels in the stored orientation, contiguous.
    """
    return np.ascontiguousarray(_TURNS.get(orientation, (np.asarray, np.asarray))[1](upright))


def orientation_of(places: Raw) -> int:
    """Find the EXIF orientation that turns ``[[0, 1], [2, 3]]`` into a given array.

    Parameters
    ----------
    places : ndarray of shape (2, 2), integer
        The array after turning.

    Returns
    -------
    int
        Orientation, 1 to 8; 1 when none matches.
    """
    stored = np.arange(4).reshape(2, 2)
    return next((number for number, (turn, _) in _TURNS.items() if np.array_equal(turn(stored), places)), 1)
