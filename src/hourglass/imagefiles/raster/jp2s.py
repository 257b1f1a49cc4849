"""JPEG 2000: a new codestream in the file's own boxes, or in place of a bare codestream."""

import io
import struct
from math import ceil
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hourglass.imagefiles.image import COLOURS, Numbers, Plane, Raw
from hourglass.imagefiles.raster.containers import Part, box, box_parts, file_boxes, joined
from hourglass.imagefiles.raster.stills import LossyStill
from hourglass.imagefiles.reading import UnservedError, check_size, reading

_SIGNATURE = b"\xff\x4f\xff\x51"
_SIZ, _COD, _COM, _CAP, _SOT = 0xFF51, 0xFF52, 0xFF64, 0xFF50, 0xFF90
# Numbers of colour spaces in the box colr (ISO 15444-1, table I.10, and 15444-2).
_SPACES = {12: "CMYK", 16: "RGB", 17: "grey"}
_UNSERVED_SPACES = {
    0: "bilevel", 1: "YCbCr", 3: "YCbCr", 4: "YCbCr", 9: "PhotoYCC", 11: "CMY", 13: "YCCK", 14: "CIE L*a*b*",
    15: "bilevel", 18: "YCC", 19: "CIEJab", 20: "e-sRGB", 21: "ROMM-RGB", 24: "e-sYCC",
}  # fmt: skip
_PROFILES = {b"GRAY": "grey", b"RGB ": "RGB", b"CMYK": "CMYK"}
_PROGRESSIONS = ("LRCP", "RLCP", "RPCL", "PCRL", "CPRL")
_ROLES: dict[str, tuple[str, ...]] = {"grey": ("grey",), "RGB": COLOURS, "CMYK": ("ink",) * 4}


class _Coding(NamedTuple):
    """What a codestream's header says."""

    width: int
    height: int
    tile: tuple[int, int]
    components: int
    bits: int
    progression: int
    mixed: bool
    levels: int
    block: tuple[int, int]
    reversible: bool

    @property
    def tiled(self) -> bool:
        return self.tile[0] < self.height or self.tile[1] < self.width


class Jp2(LossyStill):
    """A JPEG 2000 file, in boxes or bare, of up to four components of up to 16 bits."""

    format = "JPEG 2000"

    def __init__(self, path: Path, content: bytes) -> None:
        super().__init__(path, content)
        with reading(path):
            self.boxes = [] if content.startswith(_SIGNATURE) else file_boxes(content)
            streams = [part.body for part in self.boxes if part.name == "jp2c"] if self.boxes else [content]
            if len(streams) != 1:
                raise UnservedError(f"holds {len(streams)} JPEG 2000 images; save each as a file of its own first")
            self.stream = streams[0]
            self.coding = _coding(self.stream)
            _check_tiles(self.stream, self.coding)
            self.lossy = not self.coding.reversible
            self.roles = self._roles()

    def _roles(self) -> tuple[str, ...]:
        count = self.coding.components
        header = next((box_parts(part.body) for part in self.boxes if part.name == "jp2h"), [])
        if any(part.name in ("pclr", "cmap") for part in header):
            raise UnservedError("holds a JPEG 2000 image with a palette, which is not served; convert it to RGB first")
        colours = _ROLES[_space(header, count)]
        if len(colours) > count:
            raise ValueError(f"it has {count} components and a colour space of {len(colours)}")
        roles = [*colours, *["extra"] * (count - len(colours))]
        for part in header:
            if part.name == "cdef":
                for channel, kind, place in struct.iter_unpack(">3H", part.body[2:]):
                    if channel >= count or (kind == 0 and place != channel + 1):
                        raise UnservedError("has its colours in an unusual order (box cdef); save it as RGB first")
                    if kind in (1, 2) and channel >= len(colours):
                        roles[channel] = "alpha" if kind == 1 else "premultiplied"
        return tuple(roles)

    def decode(self) -> Plane:
        values = self._decoded(self.stream)
        bits = self.coding.bits
        return Plane(values, self.roles, Numbers(values.dtype, bits, None if bits in (8, 16) else (0.0, 2.0**bits - 1)))

    def _decoded(self, stream: bytes) -> Raw:
        from imagecodecs import jpeg2k_decode

        values = np.asarray(jpeg2k_decode(stream))
        values = values.reshape(self.coding.height, self.coding.width, self.coding.components)
        if values.dtype != (np.uint8 if self.coding.bits <= 8 else np.uint16):
            raise ValueError(f"it was decoded as {values.dtype}")
        return values

    def encode(self, values: Raw) -> bytes:
        encoded = self._with_pillow(values) if self.coding.bits == 8 else self._with_imagecodecs(values)
        stream = _with_comments(encoded, _comments(self.stream))
        if not self.boxes:
            return stream
        return joined(box("jp2c", stream) if part.name == "jp2c" else part for part in self.boxes)

    def _with_pillow(self, values: Raw) -> bytes:
        from PIL import Image

        coding, out = self.coding, io.BytesIO()
        Image.fromarray(values[..., 0] if values.shape[2] == 1 else values).save(
            out,
            "JPEG2000",
            no_jp2=True,
            tile_size=coding.tile[::-1] if coding.tiled else None,
            num_resolutions=coding.levels + 1,
            codeblock_size=coding.block,
            progression=_PROGRESSIONS[coding.progression],
            irreversible=not coding.reversible,
            mct=int(coding.mixed),
        )
        return out.getvalue()

    def _with_imagecodecs(self, values: Raw) -> bytes:
        from imagecodecs import jpeg2k_encode

        coding = self.coding
        return bytes(
            jpeg2k_encode(
                values[..., 0] if values.shape[2] == 1 else values,
                level=0,
                codecformat="j2k",
                bitspersample=coding.bits,
                resolutions=coding.levels + 1,
                reversible=coding.reversible,
                mct=coding.mixed,
            )
        )


def _space(header: list[Part], count: int) -> str:
    """The colour space that the box colr names; by the number of components where it names none."""
    for part in header:
        if part.name != "colr":
            continue
        method, profile = part.body[0], part.body[3:]
        if method == 1:
            number = struct.unpack_from(">I", profile)[0]
            if number not in _SPACES:
                name = _UNSERVED_SPACES.get(number, f"of colour space {number}")
                raise UnservedError(f"holds {name} colours, which are not served; convert it to RGB first")
            return _SPACES[number]
        if method in (2, 3):
            space = profile[16:20]
            if space not in _PROFILES:
                raise UnservedError(f"holds {space.decode('latin-1').strip()} colours; convert it to RGB first")
            return _PROFILES[space]
    return "RGB" if count >= 3 else "grey"


def _segments(stream: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """Marker segments of a codestream's main header, and the rest."""
    if not stream.startswith(_SIGNATURE):
        raise ValueError("its codestream has no beginning")
    segments: list[tuple[int, bytes]] = []
    place = 2
    while True:
        marker, length = struct.unpack_from(">HH", stream, place)
        if marker == _SOT:
            return segments, stream[place:]
        if marker < 0xFF4F or length < 2 or place + 2 + length > len(stream):
            raise ValueError("the header of its codestream is broken")
        segments.append((marker, stream[place : place + 2 + length]))
        place += 2 + length


def _coding(stream: bytes) -> _Coding:
    segments = _segments(stream)[0]
    header = {marker: raw[4:] for marker, raw in reversed(segments)}
    if _CAP in header:
        raise UnservedError("is high-throughput JPEG 2000 (HTJ2K), which is not served; save it as JPEG 2000 first")
    siz, cod = header[_SIZ], header[_COD]
    right, bottom, left, top, across, down, _, _, count = struct.unpack_from(">8IH", siz, 2)
    check_size(right - left, bottom - top, count)
    components = [siz[36 + 3 * i : 39 + 3 * i] for i in range(count)]
    if not 1 <= count <= 4:
        raise UnservedError(
            f"is JPEG 2000 of {count} components, which is not served; save up to four of them at a time"
        )
    if any(c[1:] != b"\1\1" for c in components):
        raise UnservedError(
            "is JPEG 2000 with components of a smaller size, which is not served; save it without subsampling"
        )
    if any(c[0] & 0x80 for c in components):
        raise UnservedError("is JPEG 2000 of signed numbers, which is not served; shift them to unsigned ones first")
    bits = {c[0] + 1 for c in components}
    if len(bits) > 1 or max(bits) > 16:
        raise UnservedError(
            f"is JPEG 2000 of {sorted(bits)} bits; up to 16 bits, the same for all components, are served"
        )
    if cod[1] >= len(_PROGRESSIONS) or cod[9] > 1:
        raise UnservedError("is JPEG 2000 with extensions of its second part, which are not served; save it anew first")
    block = (4 << (cod[6] & 15), 4 << (cod[7] & 15))
    size, tile = (right - left, bottom - top), (down, across)
    found = _Coding(*size, tile, count, bits.pop(), cod[1], bool(cod[4]), cod[5], block, cod[9] == 1)
    if found.tiled and found.bits != 8:
        raise UnservedError(
            f"is JPEG 2000 in tiles, of {found.bits} bits, which is not served; save it without tiles first"
        )
    return found


def _check_tiles(stream: bytes, coding: _Coding) -> None:
    """Raise unless every tile is there: decoders leave what is missing black."""
    rest = _segments(stream)[1]
    found, place = set(), 0
    while rest[place : place + 2] == _SOT.to_bytes(2, "big"):
        tile, length = struct.unpack_from(">HI", rest, place + 4)
        found.add(tile)
        length = length or len(rest) - place
        if length < 12 or place + length > len(rest):
            raise ValueError(f"its tile {tile} is cut off")
        place += length
    expected = ceil(coding.height / coding.tile[0]) * ceil(coding.width / coding.tile[1])
    if found != set(range(expected)):
        raise ValueError(f"it has {len(found)} of {expected:,} tiles")


def _comments(stream: bytes) -> list[bytes]:
    return [raw for marker, raw in _segments(stream)[0] if marker == _COM]


def _with_comments(stream: bytes, comments: list[bytes]) -> bytes:
    """A codestream with these comments in place of its encoder's."""
    segments, rest = _segments(stream)
    kept = [raw for marker, raw in segments if marker != _COM]
    return b"".join([stream[:2], *kept, *comments, rest])
