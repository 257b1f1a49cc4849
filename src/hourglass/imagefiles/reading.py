"""What the readers of all formats share: one kind of error for each kind of trouble, limits, and upright images."""

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

import numpy as np

from hourglass.imagefiles.image import Plane, Raw

# Pillow's limit for one image, by which it recognises decompression bombs.
MOST_PIXELS = 178_956_970
# Upper bound for the memory of one decoded plane.
MOST_BYTES = 2 << 30

# How the orientations 2 to 8 of EXIF and TIFF are turned upright, and how they are turned back.
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
# tifffile logs what is wrong with a file; here it is raised or passed over.
logging.getLogger("tifffile").addFilter(lambda record: not _quiet.get())


class UnservedError(ValueError):
    """The file is sound, but of a kind that is not served; the message goes on where its path ends."""


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Say of every error in the block whether the file is damaged or of a kind that is not served.

    Raises
    ------
    OSError
        When the file is damaged.
    ValueError
        When it is sound and not served.
    """
    from PIL import Image

    token = _quiet.set(True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except UnservedError as error:
        raise ValueError(f"{path} {error}") from error
    except Image.DecompressionBombError as error:
        raise ValueError(f"{path} is too large, perhaps a decompression bomb ({error}); divide it first") from error
    except (MemoryError, ImportError):
        raise
    except Exception as error:  # broken files make decoders raise anything
        raise OSError(f"{path} is damaged ({str(error) or type(error).__name__})") from error
    finally:
        _quiet.reset(token)


def check_size(width: int, height: int, bytes_per_pixel: int = 1) -> None:
    """Raise unless an image has pixels, and no more than the memory may be asked for."""
    if width < 1 or height < 1:
        raise ValueError(f"it has {width} × {height} pixels")
    if width * height > MOST_PIXELS or width * height * bytes_per_pixel > MOST_BYTES:
        raise UnservedError(
            f"has {width:,} × {height:,} pixels of {bytes_per_pixel} bytes, more than {MOST_PIXELS:,} pixels or "
            f"{MOST_BYTES >> 30} GiB; it may be a decompression bomb. Divide it into parts first"
        )


def turned(plane: Plane, orientation: int) -> Plane:
    """A plane that was decoded as stored, upright."""
    turn = _TURNS.get(orientation, (np.asarray, np.asarray))[0]
    keep = None if plane.keep is None else np.ascontiguousarray(turn(plane.keep))
    values = np.ascontiguousarray(turn(plane.values))
    if not values.flags.writeable:  # a library's own memory
        values = values.copy()
    return Plane(values, plane.roles, plane.numbers, keep)


def turned_back(upright: Raw, orientation: int) -> Raw:
    """An upright array as the file stores it."""
    return np.ascontiguousarray(_TURNS.get(orientation, (np.asarray, np.asarray))[1](upright))


def orientation_of(places: Raw) -> int:
    """The EXIF orientation that turns ``[[0, 1], [2, 3]]`` to these places."""
    stored = np.arange(4).reshape(2, 2)
    return next((number for number, (turn, _) in _TURNS.items() if np.array_equal(turn(stored), places)), 1)
