"""JPEG files: of one image, or of several with an index of them (MPO, CIPA DC-007)."""

import re
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from hourglass.atomic import written_whole
from hourglass.imagefiles.image import Plane, Raw
from hourglass.imagefiles.raster.containers import joined
from hourglass.imagefiles.raster.frames import Frame, decode, read_frame
from hourglass.imagefiles.raster.jpegs import encode
from hourglass.imagefiles.raster.stills import Raster, encoding
from hourglass.imagefiles.reading import UnservedError, reading, turned, turned_back

_ENTRIES, _ENTRY = 0xB002, 16
# What images of MPF's type "undefined" are when they are no images of their own.
_AUXILIARY = re.compile(
    rb"hdrgm:|ns\.adobe\.com/hdr-gain-map|urn:iso:std:iso:ts:21496|AuxiliaryImageType|HDRGainMap|GDepth|ns\.google\.com/photos"
)


@dataclass
class _Region:
    """A range of bytes in the file: an image of the index, or bytes between images."""

    start: int
    stop: int
    entry: int | None = None
    frame: Frame | None = None


class Jpeg(Raster):
    """A JPEG or MPO file. Each of its images is a plane, except gain maps and depth maps, which do not change.

    Parameters
    ----------
    path : Path
        Path of the file, for errors.
    content : bytes
        The whole content of the file.

    Raises
    ------
    OSError
        When the file is damaged.
    ValueError
        When the file is of a kind that is not supported.
    """

    format = "JPEG"

    def __init__(self, path: Path, content: bytes) -> None:
        super().__init__(path, content)
        with reading(path):
            self.regions = self._regions()

    def _regions(self) -> list[_Region]:
        index = _mpf(self.content)
        if index is None:
            return [_Region(0, len(self.content), None, read_frame(self.content))]
        _, order, table, header = index
        spans = []
        for number in range(len(table) // _ENTRY):
            kind, size, offset = struct.unpack_from(order + "III", table, number * _ENTRY)
            start = offset + header if offset else 0
            spans.append((start, start + size, number, kind & 0xFFFFFF))
        regions: list[_Region] = []
        place = 0
        for start, stop, number, kind in sorted(spans):
            if stop > len(self.content):
                raise ValueError(f"its index names an image that ends at byte {stop:,}, behind the end of the file")
            sound = place <= start < stop and self.content[start : start + 2] == b"\xff\xd8"
            if not sound or (not regions and start):
                raise UnservedError("has a broken index of its images (MPF); extract the images to single files first")
            if start > place:
                regions.append(_Region(place, start))
            body = self.content[start:stop]
            region = _Region(start, stop, number)
            if not regions or kind or not _AUXILIARY.search(body):
                region.frame = read_frame(body)
                first = next((other.frame for other in regions if other.frame), region.frame)
                shape = [(f.width, f.height, len(f.components)) for f in (first, region.frame)]
                if kind == 0 and shape[0] != shape[1]:
                    region.frame = None
            regions.append(region)
            place = stop
        if place < len(self.content):
            regions.append(_Region(place, len(self.content)))
        return regions

    @property
    def frames(self) -> list[Frame]:
        """JPEG images of the file that are planes, in order."""
        return [region.frame for region in self.regions if region.frame is not None]

    def __len__(self) -> int:
        """Return the number of planes."""
        return len(self.frames)

    def planes(self) -> Iterator[Plane]:
        """Decode the images and turn them upright, in order; each call starts again at the first one.

        Yields
        ------
        Plane
            The next image.

        Raises
        ------
        OSError
            When the file is damaged.
        """
        for frame in self.frames:
            with reading(self.path):
                plane = turned(decode(frame), frame.orientation)
            yield plane

    def write(self, target: Path, values: Iterable[Raw]) -> None:
        """Write a file of the same structure with other numbers, completely or not at all.

        Parameters
        ----------
        target : Path
            Path of the new file, in a folder that exists. It may be ``path`` itself.
        values : iterable of ndarray of shape (h, w, bands), uint8
            The new numbers of each plane, in order, with the shape of that plane's ``values``.

        Raises
        ------
        OSError
            When the file cannot be written, or an image cannot be encoded.
        """
        new = iter(values)
        spans: dict[int, tuple[int, int]] = {}
        index = _mpf(self.content)
        with written_whole(target) as path, path.open("wb") as file:
            for region in self.regions:
                start = file.tell()
                content = self.content[region.start : region.stop]
                if (frame := region.frame) is not None:
                    upright = next(new)
                    with encoding(self.path):
                        content = joined(encode(frame, turned_back(upright, frame.orientation)))
                file.write(content)
                if region.entry is not None:
                    spans[region.entry] = (start, file.tell() - start)
            if index is not None:
                file.flush()
                _patch(path, index, spans)


def _patch(path: Path, index: tuple[int, str, bytes, int], spans: dict[int, tuple[int, int]]) -> None:
    """Write the new sizes and offsets of the images into the index of a file."""
    found = _mpf(path.read_bytes())
    if found is None:
        raise RuntimeError("the index of the images was lost")
    place, order, _, header = found
    table = bytearray(index[2])
    for number, (start, size) in spans.items():
        struct.pack_into(order + "II", table, number * _ENTRY + 4, size, start - header if start else 0)
    with path.open("r+b") as file:
        file.seek(place)
        file.write(table)


def _mpf(content: bytes) -> tuple[int, str, bytes, int] | None:
    """Read the index of a file: offset of its entries, byte order, the entries, and the origin of their offsets."""
    place = 2
    while content[place : place + 1] == b"\xff" and place + 4 <= len(content):
        marker, length = struct.unpack_from(">BH", content, place + 1)
        if marker in (0xDA, 0xD9):
            return None
        if marker == 0xE2 and content[place + 4 : place + 8] == b"MPF\0":
            header = place + 8
            return _entries(content[header : place + 2 + length], header)
        place += 2 + length
    return None


def _entries(body: bytes, header: int) -> tuple[int, str, bytes, int] | None:
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(body[:4])
    try:
        if order is None:
            raise ValueError
        directory = struct.unpack_from(order + "I", body, 4)[0]
        count = struct.unpack_from(order + "H", body, directory)[0]
        for i in range(count):
            tag, _, length, offset = struct.unpack_from(order + "HHII", body, directory + 2 + 12 * i)
            if tag == _ENTRIES:
                table = body[offset : offset + length]
                if len(table) != length or not length or length % _ENTRY:
                    raise ValueError
                return header + offset, order, table, header
    except (struct.error, ValueError) as error:
        raise UnservedError(
            "has a broken index of its images (MPF); extract the images to single files first"
        ) from error
    return None
