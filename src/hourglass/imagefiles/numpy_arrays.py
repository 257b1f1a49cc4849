"""NumPy's files, .npy and .npz, whose arrays are images or stacks of images."""

import math
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hourglass.atomic import written_whole
from hourglass.data.arrays import is_one_image
from hourglass.imagefiles.image import COLOURS, Numbers, Plane, Raw
from hourglass.imagefiles.reading import MOST_PIXELS, UnservedError, check_wanted, reading

# First bytes of the two kinds of file.
NPY, NPZ = b"\x93NUMPY", b"PK\x03\x04"
_KINDS, _LARGEST_NUMBER = "biuf", 8


class ArrayFile:
    """A file of one or several arrays; see :class:`hourglass.imagefiles.image.ImageFile`.

    An array of shape ``(h, w)`` is a grey image, and one of shape ``(h, w, c)``, with c at most 4, an image with c
    bands. An array of shape ``(n, h, w)`` is a stack of n grey images, and one of shape ``(n, h, w, c)`` a stack of n
    images with c bands. Three bands are RGB; with any other number, each band is a grey image.

    Parameters
    ----------
    path : Path
        Path of the file.

    Attributes
    ----------
    path : Path
        Path of the file, as given.
    format : {"NPY", "NPZ"}
        Name of the format.

    Raises
    ------
    OSError
        When the file cannot be read or is damaged.
    ValueError
        When an array is not an image or a stack of images.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with path.open("rb") as file:
            self.format = "NPY" if file.read(len(NPY)) == NPY else "NPZ"
        with reading(path):  # NumPy raises errors of any type for damaged headers
            self._arrays = {name: _checked(array, name) for name, array in self._open().items()}

    def _open(self) -> dict[str, Any]:
        if self.format == "NPY":
            array = np.load(self.path, mmap_mode="r", allow_pickle=False)
            if array.offset + array.nbytes != self.path.stat().st_size:
                raise UnservedError("holds more than one array; save several as .npz")
            return {"": array}
        with zipfile.ZipFile(self.path) as archive:
            headers = {}
            for entry in archive.infolist():
                if not entry.filename.endswith(".npy"):
                    raise UnservedError(f"is a ZIP archive with {entry.filename}, and no .npz of arrays")
                with archive.open(entry) as file:
                    headers[entry.filename] = header = _header(file)
                if header.count * header.dtype.itemsize > entry.file_size:
                    raise ValueError(f"{entry.filename} promises {header.count:,} numbers and has fewer")
        if not headers:
            raise UnservedError("holds no array")
        return headers

    def __len__(self) -> int:
        """Return the number of planes."""
        return sum(len(_places(array.shape)) for array in self._arrays.values())

    def planes(self) -> Iterator[Plane]:
        """Read the planes, in order; each call starts again at the first one.

        Yields
        ------
        Plane
            The next plane. Booleans are 0 and 1, of 1 bit.

        Raises
        ------
        OSError
            When the file is damaged.
        """
        for name, array in self._arrays.items():
            numbers = _numbers(array.dtype)
            for stored in self._stored(name):
                values = np.array(stored, dtype=numbers.dtype)
                values = values[..., None] if values.ndim == 2 else values
                roles = COLOURS if values.shape[2] == len(COLOURS) else ("grey",) * values.shape[2]
                yield Plane(values, roles, numbers)

    def write(self, target: Path, values: Iterable[Raw]) -> None:
        """Write arrays with the same names, shapes, types and compression, but other numbers.

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
        planes = iter(values)
        with written_whole(target) as part:
            if self.format == "NPY":
                old = self._arrays[""]
                by_columns = old.flags.f_contiguous and not old.flags.c_contiguous
                new = np.lib.format.open_memmap(part, "w+", old.dtype, old.shape, fortran_order=by_columns)
                _fill(new, planes)
                new.flush()
                return
            with zipfile.ZipFile(self.path) as source, zipfile.ZipFile(part, "w", allowZip64=True) as archive:
                for name, header in self._arrays.items():
                    entry = zipfile.ZipInfo(name)
                    entry.compress_type = source.getinfo(name).compress_type
                    with archive.open(entry, "w", force_zip64=True) as file:
                        _write(file, header, planes)

    def close(self) -> None:
        """Close the file, after which no plane can be read."""
        self._arrays = {}

    def _stored(self, name: str) -> Iterator[Any]:
        """The images of an array as the file stores them; only one image of an archive is in memory at a time."""
        if self.format == "NPY":
            array = self._arrays[name]
            yield from (array[place] for place in _places(array.shape))
            return
        with zipfile.ZipFile(self.path) as archive, archive.open(name) as file:
            with reading(self.path):
                header = _header(file)
                # In column-major order, the numbers of an image are not contiguous.
                whole = _numbers_of(file, header, header.shape) if header.by_columns else None
            for place in _places(header.shape):
                with reading(self.path):
                    stored = _numbers_of(file, header, _plane_shape(header.shape)) if whole is None else whole[place]
                yield stored


@dataclass(frozen=True)
class _Header:
    """Shape, type and memory order of an array in an archive."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    by_columns: bool

    @property
    def count(self) -> int:
        """Number of elements of the array."""
        return math.prod(self.shape)


def _header(file: Any) -> _Header:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, by_columns, dtype = read(file)
    return _Header(tuple(shape), dtype, by_columns)


def _numbers_of(file: Any, header: _Header, shape: tuple[int, ...]) -> Raw:
    """Read the next numbers of an array in an archive, in the given shape."""
    size = math.prod(shape) * header.dtype.itemsize
    content = file.read(size)
    if len(content) < size:
        raise ValueError(f"an array is cut off: {len(content):,} bytes are left of {size:,}")
    return np.frombuffer(content, header.dtype).reshape(shape, order="F" if header.by_columns else "C")


def _write(file: Any, header: _Header, planes: Iterator[Raw]) -> None:
    """Write an array into an archive, image by image if its memory order allows it."""
    described = {
        "descr": np.lib.format.dtype_to_descr(header.dtype),
        "fortran_order": header.by_columns,
        "shape": header.shape,
    }
    np.lib.format.write_array_header_1_0(file, described)
    if header.by_columns:
        array = np.empty(header.shape, header.dtype, order="F")
        _fill(array, planes)
        file.write(array.tobytes(order="F"))
        return
    for _ in _places(header.shape):
        file.write(np.ascontiguousarray(next(planes), header.dtype).tobytes())


def _checked(array: Any, name: str) -> Any:
    what = f"holds {f'an array {name} of' if name else ''} {array.dtype} numbers of shape {array.shape}"
    if array.dtype.kind not in _KINDS or array.dtype.itemsize > _LARGEST_NUMBER:
        raise UnservedError(f"{what}; expected real numbers of up to 64 bits")
    if len(array.shape) not in (2, 3, 4) or min(array.shape) < 1:
        raise UnservedError(f"{what}; expected images as (h, w), (h, w, 3), (n, h, w) or (n, h, w, c)")
    numbers = math.prod(_plane_shape(array.shape))
    if numbers > MOST_PIXELS * len(COLOURS):
        raise UnservedError(f"{what}, each image of which is too large, perhaps a decompression bomb; divide it first")
    check_wanted(numbers)
    return array


def _places(shape: tuple[int, ...]) -> list[Any]:
    return [...] if len(_plane_shape(shape)) == len(shape) else list(range(shape[0]))


def _plane_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of one image of an array; an array of three axes is one image if its last axis is short, else a stack."""
    one = len(shape) == 2 or (len(shape) == 3 and is_one_image(shape))
    return shape if one else shape[1:]


def _numbers(dtype: np.dtype[Any]) -> Numbers:
    if dtype.kind == "b":
        return Numbers(np.dtype(np.uint8), 1)
    native = dtype.newbyteorder("=")
    return Numbers(native, native.itemsize * 8)


def _fill(array: Any, planes: Iterator[Raw]) -> None:
    for place in _places(array.shape):
        array[place] = next(planes).reshape(array[place].shape)
