"""PNG: the image data and the palette are written anew, every other chunk is kept where it stands."""

import struct
import zlib
from collections.abc import Iterator
from math import ceil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hourglass.imagefiles.image import COLOURS, Numbers, Plane, Raw
from hourglass.imagefiles.palettes import Palette, looked_up, rebuilt
from hourglass.imagefiles.raster.containers import PNG_SIGNATURE, Part, joined, png_chunk, png_parts
from hourglass.imagefiles.raster.stills import Still, exif_orientation
from hourglass.imagefiles.reading import UnservedError, check_size, reading

_GREY, _RGB, _PALETTE, _GREY_ALPHA, _RGB_ALPHA = 0, 2, 3, 4, 6
_DEPTHS = {_GREY: (1, 2, 4, 8, 16), _RGB: (8, 16), _PALETTE: (1, 2, 4, 8), _GREY_ALPHA: (8, 16), _RGB_ALPHA: (8, 16)}
_BANDS = {_GREY: 1, _RGB: 3, _PALETTE: 1, _GREY_ALPHA: 2, _RGB_ALPHA: 4}
_ROLES: dict[int, tuple[str, ...]] = {
    _GREY: ("grey",), _RGB: COLOURS, _GREY_ALPHA: ("grey", "alpha"), _RGB_ALPHA: (*COLOURS, "alpha"),
}  # fmt: skip
# Adam7: the first column and row of each pass, and its steps.
_PASSES = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
# Deflate makes at most 1,032 bytes of one.
_DEFLATE = 1032


class _Header(NamedTuple):
    width: int
    height: int
    depth: int
    colour: int
    compression: int
    filter: int
    interlace: int

    @property
    def packed(self) -> bytes:
        return struct.pack(">IIBBBBB", *self)


class Png(Still):
    """A PNG of any colour type and depth, interlaced or not; not an animated one."""

    format = "PNG"

    def __init__(self, path: Path, content: bytes) -> None:
        super().__init__(path, b"")  # the parts hold all of it
        with reading(path):
            self.parts = png_parts(content)
            self._look()

    def _look(self) -> None:
        names = [part.name for part in self.parts]
        known = ("IHDR", "PLTE", "IDAT", "IEND", "signature", "trailer")
        for name in names:
            if name[0].isupper() and name not in known:
                raise UnservedError(
                    f"has the critical chunk {name}, which is not part of the PNG standard; save it anew"
                )
        if "acTL" in names:
            raise UnservedError("is an animated PNG (APNG); save its frames as single images first")
        if len(self._body("IHDR") or b"") != 13 or names[1] != "IHDR":
            raise ValueError("its header is missing or broken")
        self.header = header = _Header(*struct.unpack(">IIBBBBB", self._body("IHDR") or b""))
        check_size(header.width, header.height, _BANDS.get(header.colour, 1))
        if header.depth not in _DEPTHS.get(header.colour, ()) or header[4:6] != (0, 0) or header.interlace > 1:
            raise ValueError(f"its header gives colour type {header.colour} and {header.depth} bits")
        size = sum(len(part.raw) - 12 for part in self.parts if part.name == "IDAT")
        promised = header.height * (header.width * _BANDS[header.colour] * header.depth // 8)
        if promised > _DEFLATE * size + 1024:
            raise ValueError(
                f"it promises {header.width:,} × {header.height:,} pixels and holds {size:,} bytes of data"
            )
        exif = self._body("eXIf")
        self.orientation = exif_orientation(exif) if exif else 1
        self.palette = self._palette() if header.colour == _PALETTE else None
        self.key = self._key() if header.colour in (_GREY, _RGB) else None

    def _body(self, name: str) -> bytes | None:
        return next((part.body for part in self.parts if part.name == name), None)

    def _palette(self) -> Palette:
        colours = np.frombuffer(self._body("PLTE") or b"", np.uint8)
        if len(colours) % 3 or not 0 < len(colours) <= 768:
            raise ValueError("its palette is missing or broken")
        transparency = np.frombuffer(self._body("tRNS") or b"", np.uint8)
        return Palette(colours.reshape(-1, 3), transparency if len(transparency) else None)

    def _key(self) -> tuple[int, ...] | None:
        """The colour that stands for transparent."""
        body, bands = self._body("tRNS"), _BANDS[self.header.colour]
        if body is None:
            return None
        if len(body) != 2 * bands:
            raise ValueError("its chunk tRNS is broken")
        return tuple(value & (2**self.header.depth - 1) for value in struct.unpack(f">{bands}H", body))

    def _stored(self) -> Raw:
        """The numbers of the image data, indices of a palette among them, of shape (h, w, bands)."""
        # Decoders read the numbers of a palette's image as a grey one, and without other chunks do nothing to them.
        header = self.header._replace(colour=_GREY if self.palette else self.header.colour)
        data = b"".join(part.body for part in self.parts if part.name == "IDAT")
        if not header.interlace:
            return _decoded(header, data)
        values = np.empty((header.height, header.width, _BANDS[header.colour]), _dtype(header))
        for (left, top, right, down), size, rows in _pass_rows(header, data):
            one = header._replace(width=size[0], height=size[1], interlace=0)
            values[top::down, left::right] = _decoded(one, zlib.compress(rows, 0))
        return values

    def decode(self) -> Plane:
        stored = self._stored()
        if self.palette:
            values, roles = looked_up(self.palette, stored[..., 0])
            return Plane(values, roles, Numbers(values.dtype, 8))
        keep = None if self.key is None else (stored == np.array(self.key)).all(axis=2)
        numbers = Numbers(stored.dtype, self.header.depth, self._declared(stored))
        return Plane(stored, _ROLES[self.header.colour], numbers, keep)

    def _declared(self, values: Raw) -> tuple[float, float] | None:
        """Range of the numbers by sBIT, the bits that were significant in the original."""
        body, colours = self._body("sBIT"), 1 if self.header.colour in (_GREY, _GREY_ALPHA) else 3
        if self.header.depth != 16 or body is None or len(body) < colours:
            return None
        bits = max(body[:colours])
        if not 0 < bits < 16:
            return None
        seen = values[..., :colours]
        # The specification scales them up to 16 bits; cameras' software often writes them as they are.
        scaled = seen.max() >= 2**bits or not (seen % 2 ** (16 - bits)).any()
        return (0.0, 65535.0) if scaled else (0.0, 2.0**bits - 1)

    def encode(self, values: Raw) -> bytes:
        changed = {}
        if self.palette:
            old = self._stored()[..., 0]
            indices, palette = rebuilt(self.palette, old, values, 2**self.header.depth)
            values = indices[..., None]
            if palette is not self.palette:
                changed = self._palette_chunks(palette)
        elif self.key is not None:
            values = _without_key(values, (self._stored() == np.array(self.key)).all(axis=2), self.key)
        out: list[Part] = []
        data = False
        for part in self.parts:
            if part.name == "IDAT":
                if not data:
                    out.append(png_chunk("IDAT", _image_data(values, self.header)))
                data = True
            elif part.name not in changed:
                out.append(part)
            elif changed[part.name] is not None:
                out.append(png_chunk(part.name, changed[part.name] or b""))
        return joined(out)

    def _palette_chunks(self, palette: Palette) -> dict[str, bytes | None]:
        """Bodies of the chunks that speak of the palette; None for one that goes."""
        changed = {"PLTE": palette.colours.tobytes(), "hIST": None}
        if palette.alpha is not None:
            changed["tRNS"] = palette.alpha.tobytes()
        background = self._body("bKGD")
        if background and self.palette and background[0] < len(self.palette.colours):
            apart = np.abs(palette.colours.astype(int) - self.palette.colours[background[0]]).sum(axis=1)
            changed["bKGD"] = bytes([int(apart.argmin())])
        return changed


def _dtype(header: _Header) -> type[np.unsignedinteger[Any]]:
    return np.uint16 if header.depth == 16 else np.uint8


def _decoded(header: _Header, data: bytes) -> Raw:
    """Numbers of an image that is not interlaced; Pillow would not notice missing rows, libpng does."""
    from imagecodecs import png_decode

    content = PNG_SIGNATURE + joined(
        [png_chunk("IHDR", header.packed), png_chunk("IDAT", data), png_chunk("IEND", b"")]
    )
    values: Raw = np.asarray(png_decode(content)).reshape(header.height, header.width, _BANDS[header.colour])
    if values.dtype != _dtype(header):
        raise ValueError(f"it was decoded as {values.dtype}")
    # libpng scales numbers of few bits to 255.
    return values if header.depth >= 8 else values // (255 // (2**header.depth - 1))


def _pass_rows(header: _Header, data: bytes) -> Iterator[tuple[tuple[int, int, int, int], tuple[int, int], bytes]]:
    """The passes of an interlaced image that hold pixels: steps, size, and filtered rows, as of an image of its own."""
    sizes = [(ceil((header.width - left) / right), ceil((header.height - top) / down))
             for left, top, right, down in _PASSES]  # fmt: skip
    bits = _BANDS[header.colour] * header.depth
    lengths = [rows * (1 + ceil(columns * bits / 8)) if columns > 0 and rows > 0 else 0 for columns, rows in sizes]
    stored = zlib.decompressobj().decompress(data, sum(lengths))
    if len(stored) < sum(lengths):
        raise ValueError(f"its image data have {len(stored):,} of {sum(lengths):,} bytes")
    place = 0
    for steps, size, length in zip(_PASSES, sizes, lengths, strict=True):
        if length:
            yield steps, size, stored[place : place + length]
        place += length


def _without_key(values: Raw, keep: NDArray[np.bool_], key: tuple[int, ...]) -> Raw:
    """Pixels of which exactly those of ``keep`` have the colour that stands for transparent."""
    values = values.copy()
    values[keep] = key
    other = (values == np.array(key)).all(axis=2) & ~keep
    values[other, -1] = key[-1] - 1 if key[-1] else 1
    return values


def _image_data(values: Raw, header: _Header) -> bytes:
    """The compressed body of IDAT."""
    if header.depth >= 8 and not header.interlace and header.colour != _PALETTE:
        from imagecodecs import PNG, png_encode

        encoded = bytes(png_encode(values, strategy=PNG.STRATEGY.FILTERED))
        return b"".join(part.body for part in png_parts(encoded) if part.name == "IDAT")
    bytes_apart = max(1, values.shape[2] * header.depth // 8)
    passes = _PASSES if header.interlace else [(0, 0, 1, 1)]
    compressor = zlib.compressobj()
    out: list[bytes] = []
    for left, top, right, down in passes:
        part = values[top::down, left::right]
        if not part.size:
            continue
        filtered = header.depth >= 8 and header.colour != _PALETTE
        out += map(compressor.compress, _rows(part, header.depth, bytes_apart if filtered else 0))
    return b"".join([*out, compressor.flush()])


def _rows(values: Raw, depth: int, bytes_apart: int) -> Iterator[bytes]:
    """Rows of bytes, each with its filter's number, in blocks; unfiltered where ``bytes_apart`` is 0."""
    height, width, bands = values.shape
    step = max(1, (1 << 20) // (width * bands))
    above = None
    for top in range(0, height, step):
        rows = _packed(values[top : top + step], depth)
        if not bytes_apart:
            yield np.pad(rows, ((0, 0), (1, 0))).tobytes()
            continue
        before = np.concatenate([np.zeros_like(rows[:1]) if above is None else above, rows[:-1]])
        above = rows[-1:]
        left = np.pad(rows, ((0, 0), (bytes_apart, 0)))[:, : rows.shape[1]]
        # Of the five filters none, sub and up do nearly as well as all (the specification, section 12.7).
        choices = np.stack([rows, rows - left, rows - before])
        cost = np.minimum(choices, -choices).sum(axis=2, dtype=np.int64)
        best = cost.argmin(axis=0)
        chosen = choices[best, np.arange(len(rows))]
        yield np.concatenate([best[:, None].astype(np.uint8), chosen], axis=1).tobytes()


def _packed(values: Raw, depth: int) -> NDArray[np.uint8]:
    """Rows as PNG stores them: the first pixel in the highest bits, 16-bit numbers with the high byte first."""
    rows = values.reshape(len(values), -1)
    if depth == 16:
        return np.frombuffer(rows.astype(">u2").tobytes(), np.uint8).reshape(len(rows), -1)
    if depth == 8:
        return np.ascontiguousarray(rows, np.uint8)
    bits = (rows[..., None].astype(np.uint8) >> np.arange(depth - 1, -1, -1, dtype=np.uint8)) & 1
    return np.packbits(bits.reshape(len(rows), -1), axis=1)
