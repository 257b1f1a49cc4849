"""What the formats of photographs share: the file is in memory, and its pixels are decoded when they are needed."""

import io
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from hourglass.atomic import write_whole
from hourglass.imagefiles.image import Plane, Raw
from hourglass.imagefiles.reading import UnservedError, reading, turned, turned_back

_E = TypeVar("_E")
_ORIENTATION = 0x0112


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
