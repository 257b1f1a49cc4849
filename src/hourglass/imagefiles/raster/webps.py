"""WebP: a new bitstream in the file's own container; lossy stays lossy, lossless stays lossless."""

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hourglass.imagefiles.image import COLOURS, Numbers, Plane, Raw
from hourglass.imagefiles.raster.containers import Part, joined, riff_chunk, riff_parts
from hourglass.imagefiles.raster.stills import LossyStill, closest, exif_orientation, pillow_image
from hourglass.imagefiles.reading import UnservedError, check_size, reading

_BITSTREAM = ("VP8 ", "VP8L", "ALPH")
_ANIMATED, _ALPHA = 0x02, 0x10
_ALPHA_IN_VP8L = 1 << 28


class WebP(LossyStill):
    """A WebP image, not an animation.

    The finest quantisation of lossy WebP shows a photograph at about 40 dB, and saturated colours beside each other at
    less, since their chroma is stored at half the size. An image that did not change is therefore not encoded again.
    """

    format = "WebP"

    def __init__(self, path: Path, content: bytes) -> None:
        super().__init__(path, content)
        with reading(path):
            self.parts = riff_parts(content)
            self._look()

    def _look(self) -> None:
        names = [part.name for part in self.parts]
        extended = self._body("VP8X")
        if "ANIM" in names or "ANMF" in names or (extended and extended[0] & _ANIMATED):
            raise UnservedError("is an animated WebP; save its frames as single images first")
        if sum(name in ("VP8 ", "VP8L") for name in names) != 1:
            raise ValueError("it does not hold one image")
        self.lossy = "VP8 " in names
        if self.lossy:
            body = self._body("VP8 ") or b""
            if body[3:6] != b"\x9d\x01\x2a":
                raise ValueError("its image has no start code")
            self.width, self.height = (n & 0x3FFF for n in struct.unpack_from("<HH", body, 6))
            self.alpha = "ALPH" in names
        else:
            body = self._body("VP8L") or b""
            bits = struct.unpack_from("<I", body, 1)[0]
            self.width, self.height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
            self.alpha = bool(bits & _ALPHA_IN_VP8L)
        check_size(self.width, self.height, 3 + self.alpha)
        exif = self._body("EXIF")
        self.orientation = exif_orientation(exif.removeprefix(b"Exif\0\0")) if exif else 1

    def _body(self, name: str) -> bytes | None:
        return next((part.body for part in self.parts if part.name == name), None)

    def decode(self) -> Plane:
        values = self._decoded([part for part in self.parts if part.name in _BITSTREAM])
        return Plane(values, (*COLOURS, "alpha") if self.alpha else COLOURS, Numbers(values.dtype, 8))

    def _decoded(self, bitstream: list[Part]) -> NDArray[np.uint8]:
        if any(part.name == "ALPH" for part in bitstream):
            size = b"".join(struct.pack("<I", n - 1)[:3] for n in (self.width, self.height))
            bitstream = [riff_chunk("VP8X", bytes([_ALPHA, 0, 0, 0]) + size), *bitstream]
        image = pillow_image(_riff(joined(bitstream)), "WEBP")
        values: NDArray[np.uint8] = np.asarray(image.convert("RGBA" if self.alpha else "RGB"))
        if values.shape[:2] != (self.height, self.width):
            raise ValueError(f"it was decoded to {values.shape[1]} × {values.shape[0]} pixels")
        return values

    def encode(self, values: Raw) -> bytes:
        if self.lossy:
            new, _ = closest(values[..., :3], self._lossy, self._shown, rounds=2)
            kept = [part for part in self.parts if part.name == "ALPH"]
            if self.alpha and not np.array_equal(values[..., 3], self._decoded([*kept, *new])[..., 3]):
                kept = [part for part in _bitstream(values, quality=100) if part.name == "ALPH"]
            new = [*kept, *new]
        else:
            new = [self._with_hint(part) for part in _bitstream(values, lossless=True, exact=True)]
        out: list[Part] = []
        written = False
        for part in self.parts:
            if part.name not in _BITSTREAM:
                out.append(part)
            elif not written:
                out += new
                written = True
        # Bytes behind the RIFF file are not counted in its size.
        *chunks, trailer = out
        return _riff(joined(chunks)) + trailer.raw

    @staticmethod
    def _lossy(colours: Raw) -> list[Part]:
        return [part for part in _bitstream(colours, quality=100) if part.name == "VP8 "]

    def _shown(self, bitstream: list[Part]) -> Raw:
        return self._decoded(bitstream)[..., :3]

    def _with_hint(self, part: Part) -> Part:
        """The lossless bitstream, saying of alpha what the file's said, also where all is opaque."""
        body = bytearray(part.body)
        bits = struct.unpack_from("<I", body, 1)[0] & ~_ALPHA_IN_VP8L
        struct.pack_into("<I", body, 1, bits | (_ALPHA_IN_VP8L if self.alpha else 0))
        return riff_chunk(part.name, bytes(body))


def _riff(chunks: bytes) -> bytes:
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WEBP" + chunks


def _bitstream(values: Raw, **options: Any) -> list[Part]:
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(values)).save(out, "WEBP", **options)
    return [part for part in riff_parts(out.getvalue()) if part.name in _BITSTREAM]
