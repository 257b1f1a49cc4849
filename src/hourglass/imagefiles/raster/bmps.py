"""BMP: new pixels in a copy of the file, whose headers, colour profile and unused bits stay as they are."""

import struct
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hourglass.imagefiles.image import COLOURS, Numbers, Plane, Raw
from hourglass.imagefiles.palettes import Palette, looked_up, rebuilt
from hourglass.imagefiles.raster.stills import Still
from hourglass.imagefiles.reading import UnservedError, check_size, reading

_RGB, _RLE8, _RLE4, _MASKS, _JPEG, _PNG, _ALPHA_MASKS = range(7)
_CODINGS = {_RGB: (1, 4, 8, 16, 24, 32), _RLE8: (8,), _RLE4: (4,), _MASKS: (16, 32), _ALPHA_MASKS: (16, 32)}
_HEADERS = (12, 40, 52, 56, 64, 108, 124)
_USUAL_MASKS = {16: (0x7C00, 0x3E0, 0x1F), 32: (0xFF0000, 0xFF00, 0xFF)}


class Bmp(Still):
    """A BMP of 1 to 32 bits, with a palette, masks or run lengths, stored from the bottom or from the top."""

    format = "BMP"

    def __init__(self, path: Path, content: bytes) -> None:
        super().__init__(path, content)
        with reading(path):
            self._look()

    def _look(self) -> None:
        content = self.content
        self.offset, header = struct.unpack_from("<II", content, 10)
        if header not in _HEADERS:
            raise ValueError(f"its header has {header} bytes")
        self.header = header
        if header == 12:
            self.width, height, _, self.bits = struct.unpack_from("<HHHH", content, 18)
            self.coding, size, used = _RGB, 0, 0
        else:
            self.width, height, _, self.bits, self.coding, size = struct.unpack_from("<iiHHII", content, 18)
            used = struct.unpack_from("<I", content, 46)[0]
        self.from_top, self.height = height < 0, abs(height)
        check_size(self.width, self.height, 3 if self.bits > 8 else 1)
        if self.coding in (_JPEG, _PNG):
            raise UnservedError("is a BMP that contains a JPEG or PNG image; save it anew first")
        if self.bits not in _CODINGS.get(self.coding, ()):
            raise UnservedError(f"is a BMP of {self.bits} bits and compression {self.coding}; save it anew first")
        self.stride = (self.width * self.bits + 31) // 32 * 4
        self.size = self.stride * self.height
        if self.coding in (_RLE8, _RLE4):
            self.size = size or len(content) - self.offset
            if self.width * self.height > 128 * self.size + 65536:
                raise ValueError(f"it promises {self.width:,} × {self.height:,} pixels and holds {self.size:,} bytes")
        if not 14 + header <= self.offset <= self.offset + self.size <= len(content):
            raise ValueError(f"its pixels end behind byte {len(content):,}, at which the file ends")
        if header == 124:
            kind, profile = content[70:74], struct.unpack_from("<II", content, 126)
            if kind == b"DEBM" and 14 + sum(profile) > len(content):
                raise ValueError("its colour profile ends behind the end of the file")
        self.entry = 3 if header == 12 else 4
        self.palette_start = 14 + header
        room = (self.offset - self.palette_start) // self.entry
        self.palette_count = min(used or 1 << self.bits, 1 << self.bits, room) if self.bits <= 8 else 0
        self.palette = self._palette() if self.bits <= 8 else None
        self.masks = self._masks() if self.bits in (16, 32) else ()

    def _palette(self) -> Palette | None:
        """The colours; None where they are all the greys of so many bits, from black to white."""
        if not self.palette_count:
            raise ValueError("it has no palette")
        stored = np.frombuffer(self.content, np.uint8, self.palette_count * self.entry, self.palette_start)
        colours = stored.reshape(-1, self.entry)[:, 2::-1]
        greys = np.arange(1 << self.bits)[:, None] * 255 // ((1 << self.bits) - 1)
        return None if np.array_equal(colours, np.repeat(greys, 3, axis=1)) else Palette(colours)

    def _masks(self) -> tuple[int, ...]:
        """Bits of red, green, blue and, if there are any, alpha."""
        if self.coding == _RGB:
            return _USUAL_MASKS[self.bits]
        count = 4 if self.header >= 56 or self.coding == _ALPHA_MASKS else 3
        masks = struct.unpack_from(f"<{count}I", self.content, 54)
        for mask in masks:
            bits = bin(mask)[2:].strip("0")
            if "0" in bits or len(bits) > 8 or mask >> self.bits:
                raise UnservedError(
                    f"is a BMP with the bit mask {mask:#x}, which is not served; save it with 8 bits a channel"
                )
        if not all(masks[:3]):
            raise UnservedError("is a BMP without bit masks for red, green and blue; save it anew first")
        return masks if masks[-1] else masks[:3]

    def _rows(self) -> NDArray[np.uint8]:
        """Rows of bytes, padding included, from the top."""
        rows = np.frombuffer(self.content, np.uint8, self.size, self.offset).reshape(self.height, self.stride)
        return rows if self.from_top else rows[::-1]

    def _indices(self) -> NDArray[np.uint8]:
        if self.coding in (_RLE8, _RLE4):
            indices = _expanded(self.content[self.offset : self.offset + self.size], self.width, self.height, self.bits)
            return indices if self.from_top else indices[::-1]
        bits = np.unpackbits(self._rows(), axis=1)[:, : self.width * self.bits]
        weights = 1 << np.arange(self.bits - 1, -1, -1)
        if self.bits == 8:
            return self._rows()[:, : self.width]
        grouped: NDArray[np.uint8] = bits.reshape(self.height, self.width, self.bits) @ weights.astype(np.uint8)
        return grouped

    def _words(self) -> NDArray[np.uint32]:
        """Pixels of 16 or 32 bits as numbers."""
        kind = "<u2" if self.bits == 16 else "<u4"
        return np.ascontiguousarray(self._rows()).view(kind)[:, : self.width].astype(np.uint32)

    def decode(self) -> Plane:
        if self.bits <= 8:
            indices = self._indices()
            if self.palette is None:
                return Plane(indices[..., None].copy(), ("grey",), Numbers(indices.dtype, self.bits))
            values, roles = looked_up(self.palette, indices)
        elif self.bits == 24:
            values = self._rows()[:, : 3 * self.width].reshape(self.height, self.width, 3)[..., ::-1]
            roles = COLOURS
        else:
            words = self._words()
            values = np.stack([_scaled(words, mask) for mask in self.masks], axis=2)
            roles = (*COLOURS, "alpha")[: len(self.masks)]
        return Plane(np.ascontiguousarray(values), roles, Numbers(values.dtype, 8))

    def encode(self, values: Raw) -> bytes:
        if self.bits > 8:
            return self._joined(self._true_colour(values), None)
        palette = None
        indices: NDArray[np.uint8] = values[..., 0]
        if self.palette is not None:
            indices, palette = rebuilt(self.palette, self._indices(), values, 1 << self.bits)
        ordered = indices if self.from_top else indices[::-1]
        if self.coding in (_RLE8, _RLE4):
            pixels = _run_lengths(ordered, self.bits)
        else:
            bits = (ordered[..., None] >> np.arange(self.bits - 1, -1, -1, dtype=np.uint8)) & 1
            packed = np.packbits(bits.reshape(self.height, -1), axis=1)
            pixels = np.pad(packed, ((0, 0), (0, self.stride - packed.shape[1]))).tobytes()
        return self._joined(pixels, None if palette is self.palette else palette)

    def _true_colour(self, values: Raw) -> bytes:
        rows = self._rows().copy()
        if self.bits == 24:
            rows[:, : 3 * self.width] = values[..., ::-1].reshape(self.height, -1)
        else:
            words = self._words()
            for band, mask in enumerate(self.masks):
                shift, most = _place(mask)
                number = (values[..., band].astype(np.uint32) * most + 127) // 255
                words = words & np.uint32(~mask & 0xFFFFFFFF) | number << np.uint32(shift)
            kind = "<u2" if self.bits == 16 else "<u4"
            rows[:, : self.width * self.bits // 8] = words.astype(kind).view(np.uint8).reshape(self.height, -1)
        return (rows if self.from_top else rows[::-1]).tobytes()

    def _joined(self, pixels: bytes, palette: Palette | None) -> bytes:
        """The file with other pixels, and places and sizes that fit them."""
        end = self.palette_start + self.palette_count * self.entry
        colours = self.content[self.palette_start : end]
        if palette is not None:
            count = max(self.palette_count, len(palette.colours))
            table = np.zeros((count, self.entry), np.uint8)
            table[: len(palette.colours), 2::-1] = palette.colours
            colours = table.tobytes()
        longer = len(colours) - (end - self.palette_start)
        head, gap = bytearray(self.content[: self.palette_start]), self.content[end : self.offset]
        tail = self.content[self.offset + self.size :]
        growth = longer + len(pixels) - self.size
        size = struct.unpack_from("<I", head, 2)[0]
        struct.pack_into("<I", head, 2, max(0, size + growth) if size else 0)
        struct.pack_into("<I", head, 10, self.offset + longer)
        if self.header > 12:
            if longer:
                struct.pack_into("<I", head, 46, len(colours) // self.entry)
            if self.coding in (_RLE8, _RLE4):
                struct.pack_into("<I", head, 34, len(pixels))
        if self.header == 124:
            profile = struct.unpack_from("<I", head, 126)[0]  # counted from the header, at byte 14
            if profile:
                struct.pack_into("<I", head, 126, profile + (growth if profile + 14 > self.offset else longer))
        return bytes(head) + colours + gap + pixels + tail


def _place(mask: int) -> tuple[int, int]:
    """By how many bits a channel is shifted, and its largest number."""
    shift = (mask & -mask).bit_length() - 1
    return shift, mask >> shift


def _scaled(words: NDArray[np.uint32], mask: int) -> NDArray[np.uint8]:
    """A channel in 0 to 255."""
    shift, most = _place(mask)
    return (((words >> np.uint32(shift) & np.uint32(most)) * 255 + most // 2) // most).astype(np.uint8)


def _expanded(data: bytes, width: int, height: int, bits: int) -> NDArray[np.uint8]:
    """Indices from run lengths, from the bottom row; pixels that are skipped are 0."""
    out = np.zeros((height, width), np.uint8)
    place = x = y = 0
    while place + 2 <= len(data) and y <= height:
        count, code = data[place], data[place + 1]
        place += 2
        if count == 0 and code == 1:
            return out
        if count == 0 and code == 0:
            x, y = 0, y + 1
            continue
        if count == 0 and code == 2:
            if place + 2 > len(data):
                break
            x, y, place = x + data[place], y + data[place + 1], place + 2
            continue
        run = np.frombuffer(bytes([code]), np.uint8)
        if count == 0:
            count, length = code, (code * bits + 7) // 8
            run = np.frombuffer(data, np.uint8, min(length, len(data) - place), place)
            place += length + length % 2
        if bits == 4:
            run = np.stack([run >> 4, run & 15], axis=1).reshape(-1)
        if y < height:
            numbers = np.resize(run, count)[: max(0, width - x)]
            out[y, x : x + len(numbers)] = numbers
        x += count
    raise ValueError("its run lengths end before the end of the image")


def _run_lengths(indices: NDArray[np.uint8], bits: int) -> bytes:
    """Indices, from the bottom row, as runs of up to 255."""
    out = bytearray()
    for row in indices:
        starts = np.concatenate([[0], np.flatnonzero(np.diff(row)) + 1, [len(row)]]).tolist()
        for start, stop in pairwise(starts):
            code = int(row[start]) * (17 if bits == 4 else 1)
            for place in range(start, stop, 255):
                out += bytes([min(255, stop - place), code])
        out += b"\0\0"
    out[-2:] = b"\0\1"
    return bytes(out)
