"""Editing of a TIFF file in place: new strips and tiles replace old ones, and all other bytes stay."""

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
# Text that GDAL writes after the header of a cloud-optimised GeoTIFF, and the change after which GDAL no longer relies
# on the order of the tiles.
_GHOST, _GHOST_SIZE = b"GDAL_STRUCTURAL_METADATA_SIZE=", 1024
_UNEDITED, _EDITED = b"KNOWN_INCOMPATIBLE_EDITION=NO\n ", b"KNOWN_INCOMPATIBLE_EDITION=YES\n"


class Room:
    """The free parts of a file.

    Parameters
    ----------
    end : int
        Size of the file in bytes. Everything after it is free.
    """

    def __init__(self, end: int) -> None:
        self.end = end
        self._parts: list[tuple[int, int]] = []  # size and offset, the smallest first

    def free(self, places: Iterable[tuple[int, int]]) -> None:
        """Mark parts of the file as free, and merge neighbours.

        Parameters
        ----------
        places : iterable of tuple of (int, int)
            Offset and number of bytes of each part.
        """
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
        """Reserve bytes in the smallest free part that is large enough, or else at the end of the file.

        Parameters
        ----------
        size : int
            Number of bytes.

        Returns
        -------
        int
            Offset of the reserved bytes.
        """
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
        The copy, open for reading and writing.
    tiff : tifffile.TiffFormat
        Byte order and variant (classic or BigTIFF) of the file.
    directories : sequence of Directory
        All directories of the file.
    """

    def __init__(self, file: BinaryIO, tiff: Any, directories: Sequence[Directory]) -> None:
        self._file, self._tiff = file, tiff
        self._room = Room(file.seek(0, os.SEEK_END))
        self._shared = _overlapping(directories)
        self._changed = False

    def overwrite(self, offset: int, content: bytes) -> None:
        """Write bytes into a part of the file that only one directory uses.

        Parameters
        ----------
        offset : int
            Offset of the first byte.
        content : bytes
            The bytes.
        """
        self._file.seek(offset)
        self._file.write(content)

    def store(self, directory: Directory, page: Any, segments: Iterable[tuple[int, bytes]]) -> None:
        """Replace strips or tiles, and write their new offsets and sizes into the directory.

        Parameters
        ----------
        directory : Directory
            The directory.
        page : tifffile.TiffPage
            The same directory as tifffile's page, in the original file.
        segments : iterable of tuple of (int, bytes)
            Index and new bytes of each strip or tile that changed.

        Raises
        ------
        OSError
            When the file would become larger than its variant of TIFF allows, or cannot be written.
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
        """Write other integers into a tag.

        Parameters
        ----------
        tag : tifffile.TiffTag
            The tag, in the original file.
        values : sequence of int
            The new integers, not negative. If they are too large for the type of the tag, the type becomes larger.

        Raises
        ------
        OSError
            When the file would become larger than its variant of TIFF allows, or cannot be written.
        """
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
        """Truncate the file after its last used byte, and mark a file of GDAL as changed."""
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
    """Parts of a file (offset and number of bytes) that overlap with other parts."""
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
    """Check that no other directory uses the bytes of a stack, since the planes of a stack cannot be moved.

    Parameters
    ----------
    directories : sequence of Directory
        All directories of the file.

    Raises
    ------
    UnservedError
        When another directory uses the bytes of a stack.
    """
    stacks = [stack_place(directory) for directory in directories if directory.planes > 1]
    if stacks and not _overlapping(directories).isdisjoint(stacks):
        raise UnservedError("holds directories that share their data with a stack; save its planes as pages first")


def stack_place(directory: Directory) -> tuple[int, int]:
    """Return the place of a stack whose planes are stored one after another.

    Parameters
    ----------
    directory : Directory
        The directory of the stack.

    Returns
    -------
    offset : int
        Offset of the first plane, in bytes.
    count : int
        Number of bytes of all planes.
    """
    return int(directory.places[0, 0]), directory.planes * directory.plane_bytes
