"""What the formats of photographs share: the file is in memory, and its pixels are decoded when they are needed."""

import io
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from hourglass.persistence import write_whole
from hourglass.pictures.image import Plane, Raw

_E = TypeVar("_E")
# Pillow's limit for one image, by which it recognises decompression bombs.
MOST_PIXELS = 178_956_970
_ORIENTATION = 0x0112
# How the EXIF orientations 2 to 8 are turned upright, and how they are turned back.
_TURNS: dict[int, tuple[Callable[[Raw], Raw], Callable[[Raw], Raw]]] = {
    2: (lambda a: a[:, ::-1], lambda a: a[:, ::-1]),
    3: (lambda a: a[::-1, ::-1], lambda a: a[::-1, ::-1]),
    4: (lambda a: a[::-1], lambda a: a[::-1]),
    5: (lambda a: a.swapaxes(0, 1), lambda a: a.swapaxes(0, 1)),
    6: (lambda a: np.rot90(a, -1), lambda a: np.rot90(a, 1)),
    7: (lambda a: a[::-1, ::-1].swapaxes(0, 1), lambda a: a[::-1, ::-1].swapaxes(0, 1)),
    8: (lambda a: np.rot90(a, 1), lambda a: np.rot90(a, -1)),
}


class UnservedError(ValueError):
    """The file is sound, but of a kind that is not served. Its message follows the file's path in a sentence."""


class Still:
    """Base class of image files whose content is in memory, with one plane unless a format says otherwise.

    Subclasses look at the file's structure in ``__init__`` and implement ``decode`` and ``encode``, both of which work
    on arrays as the file stores them, not turned.

    Parameters
    ----------
    path : Path
        Named in errors.
    content : bytes
        All of the file.
    """

    format: str
    orientation = 1

    def __init__(self, path: Path, content: bytes) -> None:
        self.path, self.content = path, content

    def __len__(self) -> int:
        return 1

    def decode(self) -> Plane:
        """The numbers as stored."""
        raise NotImplementedError

    def encode(self, values: Raw) -> bytes:
        """A file of the same form with other numbers."""
        raise NotImplementedError

    def planes(self) -> Iterator[Plane]:
        """Decode the file's image."""
        with reading(self.path):
            plane = turned(self.decode(), self.orientation)
        yield plane

    def write(self, target: Path, values: Iterable[Raw]) -> None:
        """Write a file of the same form with other numbers, whole or not at all."""
        [upright] = values
        with encoding(self.path):
            content = self.encode(turned_back(upright, self.orientation))
        write_whole(target, content)

    def close(self) -> None:
        """Let go of the file's content."""
        self.content = b""


class LossyStill(Still):
    """A file whose coding may lose something; without any change of the numbers it is given back as it is."""

    lossy = True

    def write(self, target: Path, values: Iterable[Raw]) -> None:
        [upright] = values
        if self.lossy and np.array_equal(upright, next(self.planes()).values):
            write_whole(target, self.content)
        else:
            super().write(target, [upright])


def closest(values: Raw, encode: Callable[[Raw], _E], decode: Callable[[_E], Raw], *, rounds: int) -> tuple[_E, float]:
    """The encoding that shows an image best.

    Encoders smooth chroma before they store it at half the size, and decoders smooth it once more. To make up for some
    of that, the image is encoded again with what the last attempt missed added to it.

    Parameters
    ----------
    values : ndarray of unsigned integers
    encode, decode : callable
    rounds : int
        Further attempts.

    Returns
    -------
    encoded : what ``encode`` returned
    error : float
        Mean squared error of the worst band.
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
        raise OSError(f"{path} is damaged ({error or type(error).__name__})") from error


@contextmanager
def encoding(path: Path) -> Iterator[None]:
    """Keep back the warnings of libraries, and name the file in what they raise.

    Raises
    ------
    ValueError
        When an encoder cannot write the form of the file.
    OSError
        When it fails otherwise.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except UnservedError as error:
        raise ValueError(f"{path} {error}") from error
    except MemoryError:
        raise
    except Exception as error:  # libraries raise anything
        raise OSError(f"{path} could not be encoded again ({error or type(error).__name__})") from error


def check_size(width: int, height: int) -> None:
    """Raise unless an image has pixels, and no more than the memory may be asked for."""
    if width < 1 or height < 1:
        raise ValueError(f"it has {width} × {height} pixels")
    if width * height > MOST_PIXELS:
        raise UnservedError(
            f"has {width:,} × {height:,} pixels, more than {MOST_PIXELS:,}; it may be a decompression bomb. "
            "Divide it into parts first"
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


def exif_orientation(exif: bytes) -> int:
    """The orientation, 1 to 8, that EXIF data name; 1 where they are damaged or name none."""
    from PIL import Image

    found = Image.Exif()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found.load(exif)
            value = found.get(_ORIENTATION, 1)
    except Exception:  # damaged EXIF data are carried over as they are, and are no reason to refuse the pixels
        return 1
    return value if isinstance(value, int) and value in range(1, 9) else 1


def pillow_image(content: bytes, format_: str) -> Any:
    """An image that Pillow decoded whole."""
    from PIL import Image

    with Image.open(io.BytesIO(content), formats=[format_]) as image:
        image.load()
        return image
