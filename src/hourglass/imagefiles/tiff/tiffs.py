"""TIFF files: pages, stacks and pyramids. A copy of the file is changed, so that everything but the pixels stays."""

import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from hourglass.atomic import written_whole
from hourglass.imagefiles.image import ALPHAS, Numbers, Plane, Raw
from hourglass.imagefiles.reading import reading, turned, turned_back
from hourglass.imagefiles.tiff.color_maps import color_map, colours_of, indices_for
from hourglass.imagefiles.tiff.directories import Directory, page_at, read_directories
from hourglass.imagefiles.tiff.editing import Editor, check_stacks, stack_place
from hourglass.imagefiles.tiff.meanings import COLOUR_MAP, NO_DATA, inversion, parse_no_data
from hourglass.imagefiles.tiff.segments import completed, decode, encode

# With these flags, tifffile would read more than the chain of directories, which no supported file needs.
_PLAIN: dict[str, Any] = {"is_lsm": False, "is_ndpi": False, "is_scanimage": False}


def open_tiff(path: Path) -> "TiffImage":
    """Open a TIFF or BigTIFF file and read all its directories.

    Parameters
    ----------
    path : Path
        Path of the file.

    Returns
    -------
    TiffImage
        The open file, which the caller has to close.

    Raises
    ------
    OSError
        When the file cannot be read or is damaged.
    ValueError
        When an image in the file is of a kind that is not supported; the message names the kind and the remedy.
    """
    return TiffImage(path)


class TiffImage:
    """A TIFF file; see :class:`hourglass.imagefiles.image.ImageFile`.

    Its planes are the images of its directories in order; those of sub-directories follow those of their directory.

    Parameters
    ----------
    path : Path
        Path of the file.

    Attributes
    ----------
    path : Path
        Path of the file, as given.
    format : str
        Name of the format, ``TIFF``.
    directories : list of Directory
        All directories with images.

    Raises
    ------
    OSError
        When the file cannot be read or is damaged.
    ValueError
        When an image in the file is of a kind that is not supported.
    """

    format = "TIFF"

    def __init__(self, path: Path) -> None:
        from tifffile import TiffFile

        self.path = path
        self._stream = path.open("rb")
        try:
            with reading(path):
                self._file: Any = TiffFile(self._stream, **_PLAIN)
                self.directories = read_directories(self._file)
                if not len(self):
                    raise ValueError("it holds no image")
                check_stacks(self.directories)
        except BaseException:
            self._stream.close()
            raise

    def __len__(self) -> int:
        """Return the number of planes."""
        return sum(directory.planes for directory in self.directories)

    def planes(self) -> Iterator[Plane]:
        """Decode the planes, in order; each call starts again at the first one.

        Yields
        ------
        Plane
            The next plane. Only this one has to be in memory.

        Raises
        ------
        OSError
            When the file is damaged.
        """
        for directory, number in self._numbered():
            with reading(self.path):
                plane = self._plane(directory, number)
            yield plane

    def write(self, target: Path, values: Iterable[Raw]) -> None:
        """Write a copy of the file with other numbers, completely or not at all.

        Strips and tiles whose numbers did not change are copied. The others are compressed in the same way as before.

        Parameters
        ----------
        target : Path
            Path of the new file, in a folder that exists. It may be ``path`` itself.
        values : iterable of ndarray of shape (h, w, bands)
            The new numbers of each plane, in order, with the shape and dtype of that plane's ``values``.

        Raises
        ------
        OSError
            When the file cannot be written, or the source is damaged.
        ValueError
            When the number, shape or dtype of the arrays is not that of the planes.
        """
        with written_whole(target) as part:
            shutil.copyfile(self.path, part)
            with part.open("r+b") as file:
                editor = Editor(file, self._file.tiff, self.directories)
                for (directory, number), plane in zip(self._numbered(), values, strict=True):
                    self._check(directory, plane)
                    self._store(directory, number, plane, editor)
                editor.finish()

    def close(self) -> None:
        """Close the file, after which no plane can be decoded."""
        self._file.close()
        self._stream.close()

    def _numbered(self) -> Iterator[tuple[Directory, int]]:
        """The directory of each plane, and the number of the plane within the directory."""
        for directory in self.directories:
            for number in range(directory.planes):
                yield directory, number

    def _check(self, directory: Directory, values: Raw) -> None:
        height, width, _ = directory.shape
        expected = *((width, height) if directory.orientation > 4 else (height, width)), len(directory.roles)
        dtype = directory.numbers.dtype
        if values.shape != expected or values.dtype != dtype:
            raise ValueError(f"values are {values.dtype} of shape {values.shape}; expected {dtype} of shape {expected}")

    def _plane(self, directory: Directory, number: int) -> Plane:
        page = page_at(self._file, directory.offset, directory.index)
        keep = None
        values = self._of_stack(directory, page, number) if directory.planes > 1 else self._decoded(directory, page)
        if directory.palette:
            colours, _ = colours_of(page.tags.valueof(COLOUR_MAP))
            reserved = _reserved(page)
            keep = None if reserved is None else values[..., 0] == reserved
            values = colours[values[..., 0]]
        elif directory.inverted:
            values = _inverted(directory, values)
        return turned(Plane(values, directory.roles, directory.numbers, keep), directory.orientation)

    def _of_stack(self, directory: Directory, page: Any, number: int) -> Raw:
        height, width, bands = directory.shape
        self._stream.seek(stack_place(directory)[0] + number * directory.plane_bytes)
        dtype = directory.numbers.dtype
        values = np.frombuffer(self._stream.read(directory.plane_bytes), dtype.newbyteorder(self._file.byteorder))
        if page.planarconfig == 2:
            values = np.moveaxis(values.reshape(bands, height, width), 0, -1)
        return np.ascontiguousarray(values.reshape(directory.shape), dtype)

    def _decoded(self, directory: Directory, page: Any) -> Raw:
        """The numbers of a directory as the file stores them."""
        height, width, _ = directory.shape
        values = np.zeros(directory.shape, np.uint8 if page.dtype.kind == "b" else page.dtype)
        for index in range(len(directory.places)):
            part, (row, column, band) = decode(page, self._segment(directory, index), index)
            rows, columns = min(len(part), height - row), min(part.shape[1], width - column)
            values[row : row + rows, column : column + columns, band : band + part.shape[2]] = part[:rows, :columns]
        return values

    def _segment(self, directory: Directory, index: int) -> bytes | None:
        """Bytes of a strip or tile; None if the file leaves it out."""
        offset, count = map(int, directory.places[index])
        if not count:
            return None
        self._stream.seek(offset)
        return self._stream.read(count)

    def _store(self, directory: Directory, number: int, upright: Raw, editor: Editor) -> None:
        with reading(self.path):
            page = page_at(self._file, directory.offset, directory.index)
        values = turned_back(upright, directory.orientation)
        if directory.inverted:
            values = _inverted(directory, values)
        if directory.planes > 1:
            values = np.moveaxis(values, -1, 0) if page.planarconfig == 2 else values
            content = values.astype(values.dtype.newbyteorder(self._file.byteorder), copy=False).tobytes()
            editor.overwrite(stack_place(directory)[0] + number * directory.plane_bytes, content)
            return
        if directory.palette:
            values = self._indices(directory, page, values, editor)
        editor.store(directory, page, self._changes(directory, page, values))

    def _indices(self, directory: Directory, page: Any, values: Raw, editor: Editor) -> Raw:
        tag = page.tags[COLOUR_MAP]
        colours, deep = colours_of(tag.value)
        with reading(self.path):
            old = self._decoded(directory, page)[..., 0]
        indices, new = indices_for(colours, old, values, _reserved(page))
        if new is not None:
            editor.put(tag, color_map(new, deep=deep))
        return indices[..., None]

    def _changes(self, directory: Directory, page: Any, values: Raw) -> Iterator[tuple[int, bytes]]:
        """Index and new bytes of each strip or tile whose numbers changed."""
        template = next((i for i, (_, count) in enumerate(directory.places) if count), None)
        for index in range(len(directory.places)):
            with reading(self.path):
                data = self._segment(directory, index)
                old, (row, column, band) = decode(page, data, index)
                new = values[row : row + len(old), column : column + old.shape[1], band : band + old.shape[2]]
                if _is_same(new, old[: len(new), : new.shape[1]]):
                    continue
                if data is None and template is not None:
                    data = self._segment(directory, template)
                content = encode(page, completed(page, new, old), data)
            yield index, content


def _inverted(directory: Directory, values: Raw) -> Raw:
    """Invert the numbers, so that white and black change places; alpha stays."""
    out = values.copy()
    for band, role in enumerate(directory.roles):
        if role not in ALPHAS:
            out[..., band] = inversion(values[..., band], directory.numbers)
    return out


def _reserved(page: Any) -> int | None:
    """The palette index that stands for missing data, or None if there is none."""
    found = parse_no_data(page.tags.valueof(NO_DATA), Numbers(np.dtype(np.uint16), page.bitspersample))
    return None if found is None else int(found)


def _is_same(one: Raw, other: Raw) -> bool:
    """Whether two arrays are equal bit by bit, including NaN."""
    kind = f"u{one.dtype.itemsize}"
    return bool(np.array_equal(one.view(kind), other.view(kind)))
