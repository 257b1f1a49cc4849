"""Changing a TIFF file in place: new strips and tiles go where the old ones were, and nothing else is touched."""

import errno
import os
import struct
from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from hourglass.imagefiles.reading import UnservedError
from hourglass.imagefiles.tiff.directories import Directory

_SHORT, _LONG, _LONG8 = 3, 4, 16
_WIDTHS = {_SHORT: 2, _LONG: 4, 13: 4, _LONG8: 8, 18: 8}
# What GDAL writes behind the header of a cloud-optimised GeoTIFF, and what makes it trust the order of tiles no more.
_GHOST, _GHOST_SIZE = b"GDAL_STRUCTURAL_METADATA_SIZE=", 1024
_UNEDITED, _EDITED = b"KNOWN_INCOMPATIBLE_EDITION=NO\n ", b"KNOWN_INCOMPATIBLE_EDITION=YES\n"


class Room:
    """Free parts of a file.

    Parameters
    ----------
    end : int
        Size of the file, behind which there is room without end.
    """

    def __init__(self, end: int) -> None:
        self.end = end
        self._parts: list[tuple[int, int]] = []  # size and begin, the smallest first

    def free(self, places: Iterable[tuple[int, int]]) -> None:
        """Give back parts of the file, each an offset and a number of bytes; neighbours become one."""
        merged: list[list[int]] = []
        for begin, size in sorted([*((begin, size) for size, begin in self._parts), *places]):
            if merged and sum(merged[-1]) == begin:
                merged[-1][1] += size
            else:
                merged.append([begin, size])
        if merged and sum(merged[-1]) == self.end:  # the file becomes shorter
            self.end = merged.pop()[0]
        self._parts = sorted((size, begin) for begin, size in merged)

    def take(self, size: int) -> int:
        """Where so many bytes may be written: the smallest part that is large enough, else the end of the file."""
        i = bisect_left(self._parts, (size, 0))
        if i == len(self._parts):
            begin = self.end + self.end % 2
            self.end = begin + size
            return begin
        found, begin = self._parts.pop(i)
        if found > size:
            insort(self._parts, (found - size, begin + size))
        return begin


class Editor:
    """A copy of a TIFF file that is open for writing.

    Parameters
    ----------
    file : binary file
        The copy.
    tiff : tifffile.TiffFormat
        Byte order and kind of the file.
    directories : list of Directory
        All that there are.
    """

    def __init__(self, file: BinaryIO, tiff: Any, directories: Sequence[Directory]) -> None:
        self._file, self._tiff = file, tiff
        self._room = Room(file.seek(0, os.SEEK_END))
        self._shared = _overlapping(directories)
        self._changed = False

    def overwrite(self, offset: int, content: bytes) -> None:
        """Write bytes into a part of the file that belongs to one directory alone."""
        self._file.seek(offset)
        self._file.write(content)

    def store(self, directory: Directory, page: Any, segments: Iterable[tuple[int, bytes]]) -> None:
        """Put strips or tiles in the place of others, and name their new places and sizes in the directory.

        Parameters
        ----------
        directory : Directory
        page : tifffile.TiffPage
            Of the directory, in the file that was copied.
        segments : iterable of pair
            Number and bytes of each strip or tile that changed.
        """
        places = directory.places.copy()
        moving: dict[int, bytes] = {}
        for index, content in segments:
            offset, count = map(int, places[index])
            if (offset, count) not in self._shared and count == len(content):
                self._file.seek(offset)
                self._file.write(content)
                self._changed = True
            else:
                moving[index] = content
        if not moving:
            return
        self._changed = True
        old = [(int(places[i, 0]), int(places[i, 1])) for i in moving]
        self._room.free(place for place in old if place[1] and place not in self._shared)
        for index, content in moving.items():
            places[index] = self._write(content), len(content)
        for column, codes in enumerate(((324, 273), (325, 279))):
            if (places[:, column] != directory.places[:, column]).any():
                tag = next(page.tags[code] for code in codes if code in page.tags)
                rest = np.atleast_1d(np.asarray(tag.value, np.uint64))[len(places) :].tolist()
                self.put(tag, [*places[:, column].tolist(), *rest])

    def put(self, tag: Any, values: Sequence[int]) -> None:
        """Give a tag other whole numbers."""
        dtype = int(tag.dtype)
        if max(values) >= 1 << 8 * _WIDTHS[dtype]:
            dtype = _LONG if max(values) < 1 << 32 else _LONG8
        packed = np.asarray(values, f"{self._tiff.byteorder}u{_WIDTHS[dtype]}").tobytes()
        big = self._tiff.offsetsize == 8
        counting, inline = f"{self._tiff.byteorder}HH{'Q' if big else 'I'}", 8 if big else 4
        if len(packed) <= inline:
            field = packed.ljust(inline, b"\0")
        else:
            old = int(tag.valueoffset), int(tag.valuebytecount)
            fits = inline < len(packed) <= old[1] and old not in self._shared
            place = old[0] if fits else self._write(packed)
            if fits:
                self._file.seek(place)
                self._file.write(packed)
            field = struct.pack(self._tiff.offsetformat, place)
        self._file.seek(tag.offset)
        self._file.write(struct.pack(counting, tag.code, dtype, len(values)) + field)

    def finish(self) -> None:
        """Cut off what is no longer used at the end, and tell GDAL that its file was changed."""
        self._file.truncate(self._room.end)
        if not self._changed:
            return
        header = 16 if self._tiff.offsetsize == 8 else 8
        self._file.seek(header)
        ghost = self._file.read(_GHOST_SIZE)
        place = ghost.find(_UNEDITED)
        if ghost.startswith(_GHOST) and place >= 0:
            self._file.seek(header + place)
            self._file.write(_EDITED)

    def _write(self, content: bytes) -> int:
        place = self._room.take(len(content))
        if self._tiff.offsetsize == 4 and place + len(content) >= 1 << 32:
            raise OSError(errno.EFBIG, "it would grow beyond the 4 GiB of a classic TIFF; convert it to BigTIFF first")
        self._file.seek(place)
        self._file.write(content)
        return place


def _overlapping(directories: Sequence[Directory]) -> set[tuple[int, int]]:
    """Parts of a file, each an offset and a number of bytes, of which others use the same bytes."""
    parts: list[NDArray[np.int64]] = [np.zeros((0, 2), np.int64)]
    for directory in directories:
        if directory.planes > 1:
            parts.append(np.array([stack_place(directory)], np.int64))
        else:
            parts.append(directory.places[directory.places[:, 1] > 0])
        parts.append(np.array(directory.structure, np.int64).reshape(-1, 2))
    ranges = np.concatenate(parts)
    ranges = ranges[np.argsort(ranges[:, 0], kind="stable")]
    ends = ranges.sum(axis=1)
    touched = np.zeros(len(ranges), bool)
    if len(ranges) > 1:
        touched[1:] = ranges[1:, 0] < np.maximum.accumulate(ends)[:-1]
        touched[:-1] |= ranges[1:, 0] < ends[:-1]
    return {(int(offset), int(count)) for offset, count in ranges[touched]}


def check_stacks(directories: Sequence[Directory]) -> None:
    """Raise when another directory uses the bytes of a stack, whose planes cannot be moved.

    Raises
    ------
    UnservedError
    """
    stacks = [stack_place(directory) for directory in directories if directory.planes > 1]
    if stacks and not _overlapping(directories).isdisjoint(stacks):
        raise UnservedError("holds directories that share their data with a stack; save its planes as pages first")


def stack_place(directory: Directory) -> tuple[int, int]:
    """Offset and number of bytes of a stack whose planes follow one another."""
    return int(directory.places[0, 0]), directory.planes * directory.plane_bytes
