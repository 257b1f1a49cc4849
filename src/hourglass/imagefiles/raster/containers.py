"""An image file as a list of parts, so that the pixels can be replaced and everything else be kept as it is.

PNG consists of chunks, JPEG of segments, WebP of RIFF chunks, JPEG 2000, AVIF and HEIC of boxes. Each ``*_parts``
function returns parts whose ``raw`` bytes, joined, are the file again.
"""

import re
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# A marker is 0xFF (repeated at will) and a byte that is neither 0, which stands for 0xFF in the data, nor a restart.
_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]", re.DOTALL)
_JPEG_NAMES = {0xC4: "DHT", 0xC8: "JPG", 0xCC: "DAC", 0xD8: "SOI", 0xD9: "EOI", 0xDA: "SOS", 0xDB: "DQT", 0xDC: "DNL",
               0xDD: "DRI", 0xDE: "DHP", 0xDF: "EXP", 0xF7: "SOF55", 0xFE: "COM"}  # fmt: skip


class DamagedError(Exception):
    """The bytes do not have the structure that the format prescribes."""


@dataclass(frozen=True)
class Part:
    """A chunk, segment or box.

    Attributes
    ----------
    name : str
        As the format calls it: ``IDAT``, ``APP1``, ``jp2c``. Bytes behind the end of an image are a ``trailer``, and
        bytes between JPEG's segments, which decoders skip, are ``junk``.
    raw : bytes
        All of it, with length, name and checksum.
    start, stop : int
        Where the content begins and ends in ``raw``.
    """

    name: str
    raw: bytes
    start: int = 0
    stop: int = 0

    @property
    def body(self) -> bytes:
        """The content."""
        return self.raw[self.start : self.stop]


def joined(parts: Iterable[Part]) -> bytes:
    """The file that parts make."""
    return b"".join(part.raw for part in parts)


def sniff(head: bytes) -> str | None:
    """Name a file's format by its first bytes.

    Parameters
    ----------
    head : bytes
        The first 600 bytes; fewer where the file is shorter.

    Returns
    -------
    str or None
        ``PNG``, ``JPEG``, ``BMP``, ``WebP``, ``AVIF``, ``JPEG 2000`` and ``HEIC``, which
        :func:`~hourglass.imagefiles.raster.rasters.open_raster` reads; ``TIFF``, ``NumPy`` and ``zip`` (an ``.npz``),
        which other modules read; or the name of a format that is not read. None for anything else.
    """
    for name, place, pattern in _SIGNATURES:
        if head.startswith(pattern, place):
            return name
    if head[4:8] == b"ftyp":
        length = min(max(struct.unpack(">I", head[:4])[0], 16), len(head))
        brands = [head[8:12], *(head[i : i + 4] for i in range(16, length - 3, 4))]
        return next((name for brand, name in _BRANDS.items() if brand in brands), "MP4 video")
    if re.match(rb"(\xef\xbb\xbf)?\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*|<!DOCTYPE[^>]*>\s*)*<svg", head, re.DOTALL):
        return "SVG"
    return None


_SIGNATURES = [
    ("PNG", 0, PNG_SIGNATURE), ("JPEG", 0, b"\xff\xd8\xff"), ("WebP", 8, b"WEBP"), ("JPEG 2000", 0, b"\xffO\xffQ"),
    ("JPEG 2000", 0, b"\0\0\0\x0cjP  \r\n\x87\n"), ("BMP", 0, b"BM"), ("GIF", 0, b"GIF8"), ("NumPy", 0, b"\x93NUMPY"),
    ("Panasonic camera raw", 0, b"IIU\0"), ("Olympus camera raw", 0, b"IIRO"), ("Olympus camera raw", 0, b"IIRS"),
    ("Canon camera raw", 6, b"HEAPCCDR"), ("Canon camera raw", 8, b"CR\x02"),
    ("Fujifilm camera raw", 0, b"FUJIFILMCCD"), ("Minolta camera raw", 0, b"\0MRM"), ("Sigma camera raw", 0, b"FOVb"),
    ("TIFF", 0, b"II*\0"), ("TIFF", 0, b"MM\0*"), ("TIFF", 0, b"II+\0"), ("TIFF", 0, b"MM\0+"),
    ("JPEG XL", 0, b"\xff\n"), ("JPEG XL", 0, b"\0\0\0\x0cJXL \r\n\x87\n"), ("JPEG XR", 0, b"II\xbc"),
    ("DICOM", 128, b"DICM"), ("Photoshop (PSD)", 0, b"8BPS"), ("PDF", 0, b"%PDF"), ("PostScript", 0, b"%!PS"),
    ("gzip", 0, b"\x1f\x8b"), ("HDF5", 0, b"\x89HDF\r\n\x1a\n"), ("zip", 0, b"PK\x03\x04"), ("zip", 0, b"PK\x05\x06"),
    ("FITS", 0, b"SIMPLE  ="), ("OpenEXR", 0, b"v/1\x01"), ("Radiance HDR", 0, b"#?RADIANCE"),
    ("GIMP (XCF)", 0, b"gimp xcf"), ("DjVu", 0, b"AT&TFORM"), ("QOI", 0, b"qoif"), ("DDS", 0, b"DDS "),
    ("icon", 0, b"\0\0\x01\0"), ("NIfTI", 344, b"n+1\0"), ("NIfTI", 344, b"ni1\0"), ("netCDF", 0, b"CDF\x01"),
    ("netCDF", 0, b"CDF\x02"), ("Matlab", 0, b"MATLAB 5.0 MAT-file"), ("Nikon ND2", 0, b"\xda\xce\xbe\n"),
    ("Zeiss CZI", 0, b"ZISRAWFILE"), ("Portable anymap", 0, b"P5\n"), ("Portable anymap", 0, b"P6\n"),
    ("Portable anymap", 0, b"P4\n"), ("AVI video", 8, b"AVI "),
]  # fmt: skip
# Boxes that may stand in a file outside of others.
_FILE_BOXES = (
    b"jP  ", b"ftyp", b"jp2h", b"jp2c", b"jp2i", b"xml ", b"uuid", b"uinf", b"rreq", b"res ", b"asoc", b"meta", b"mdat",
    b"idat", b"moov", b"free", b"skip", b"pdin", b"mini",
)  # fmt: skip
_BRANDS = {b"avif": "AVIF", b"avis": "AVIF", b"crx ": "Canon camera raw", b"jxl ": "JPEG XL"} | dict.fromkeys(
    (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"hevm", b"hevs", b"mif1", b"msf1"), "HEIC"
)


def png_parts(content: bytes) -> list[Part]:
    """Chunks of a PNG, signature first."""
    if not content.startswith(PNG_SIGNATURE):
        raise DamagedError("it has no PNG signature")
    parts, place = [Part("signature", PNG_SIGNATURE)], len(PNG_SIGNATURE)
    while place + 12 <= len(content):
        length, name = struct.unpack_from(">I4s", content, place)
        raw = content[place : place + 12 + length]
        if len(raw) < 12 + length or not name.isalpha():
            break
        if name[:1].isupper() and zlib.crc32(raw[4:-4]) != struct.unpack(">I", raw[-4:])[0]:
            raise DamagedError(f"the checksum of its chunk {name.decode()} is wrong")
        parts.append(Part(name.decode(), raw, 8, 8 + length))
        place += 12 + length
        if name == b"IEND":
            return [*parts, Part("trailer", content[place:])]
    raise DamagedError(f"it is cut off behind byte {place:,}")


def png_chunk(name: str, body: bytes) -> Part:
    """A PNG chunk with its length and checksum."""
    named = name.encode() + body
    return Part(name, struct.pack(">I", len(body)) + named + struct.pack(">I", zlib.crc32(named)), 8, 8 + len(body))


def jpeg_parts(content: bytes) -> list[Part]:
    """Segments of a JPEG; SOS stands for a scan, its header and its data."""
    parts: list[Part] = []
    place = 0
    while match := _MARKER.search(content, place):
        if match.start() > place and content[place : match.start()].strip(b"\xff"):
            parts.append(Part("junk", content[place : match.start()]))
            place = match.start()
        code = content[match.end() - 1]
        name = _JPEG_NAMES.get(code) or (f"SOF{code - 0xC0}" if 0xC0 <= code < 0xD0 else f"APP{code - 0xE0}")
        if not 0xE0 <= code < 0xF0 and name.startswith("APP"):
            raise DamagedError(f"it has the unknown marker FF {code:02X}")
        if name in ("SOI", "EOI"):
            parts.append(Part(name, content[place : match.end()]))
            place = match.end()
            if name == "EOI":
                return [*parts, Part("trailer", content[place:])]
            continue
        if len(content) < match.end() + 2:
            break
        stop = match.end() + struct.unpack_from(">H", content, match.end())[0]
        begin, end = match.end() + 2 - place, stop - place
        if stop > len(content) or end < begin:
            break
        if name == "SOS":
            following = _MARKER.search(content, stop)
            if not following:
                break
            stop = following.start()
        parts.append(Part(name, content[place:stop], begin, end))
        place = stop
    raise DamagedError(f"it is cut off behind byte {place:,}")


def jpeg_segment(code: int, body: bytes) -> bytes:
    """A JPEG segment with marker and length."""
    return struct.pack(">BBH", 0xFF, code, len(body) + 2) + body


def riff_parts(content: bytes) -> list[Part]:
    """Chunks of a RIFF file behind its header of 12 bytes, padding included."""
    if len(content) < 12:
        raise DamagedError("it is cut off in its header")
    end = 8 + struct.unpack_from("<I", content, 4)[0]
    if end > len(content):
        raise DamagedError(f"it promises {end:,} bytes and has {len(content):,}")
    parts, place = [], 12
    while place + 8 <= end:
        name, length = struct.unpack_from("<4sI", content, place)
        if place + 8 + length > end:
            raise DamagedError(f"its chunk {name.decode('latin-1')} is cut off")
        stop = min(place + 8 + length + length % 2, end)
        parts.append(Part(name.decode("latin-1"), content[place:stop], 8, 8 + length))
        place = stop
    return [*parts, Part("trailer", content[place:])]


def riff_chunk(name: str, body: bytes) -> Part:
    """A RIFF chunk with its length and padding."""
    raw = struct.pack("<4sI", name.encode("latin-1"), len(body)) + body + b"\0" * (len(body) % 2)
    return Part(name, raw, 8, 8 + len(body))


def file_boxes(content: bytes) -> list[Part]:
    """Boxes of an ISO base media file (JPEG 2000, AVIF, HEIC); bytes behind the last one are a trailer."""
    return box_parts(content, trailing=True)


def box_parts(content: bytes, *, trailing: bool = False) -> list[Part]:
    """Boxes that make the content of a box; with ``trailing``, what begins no box of a file ends them."""
    parts: list[Part] = []
    place = 0
    while place + 8 <= len(content):
        length, name = struct.unpack_from(">I4s", content, place)
        head = 8
        if length == 1 and place + 16 <= len(content):
            length, head = struct.unpack_from(">Q", content, place + 8)[0], 16
        elif length == 0:
            length = len(content) - place
        if length < head or place + length > len(content):
            if trailing and parts and name not in _FILE_BOXES:
                break
            raise DamagedError(f"its box {name.decode('latin-1')} is cut off")
        parts.append(Part(name.decode("latin-1"), content[place : place + length], head, length))
        place += length
    if place < len(content):
        parts.append(Part("trailer", content[place:]))
    return parts


def box(name: str, body: bytes) -> Part:
    """A box with its length, which takes 8 bytes in place of 4 when the box is larger than 4 GiB."""
    head = struct.pack(">I4s", len(body) + 8, name.encode("latin-1"))
    if len(body) + 8 >= 1 << 32:
        head = struct.pack(">I4sQ", 1, name.encode("latin-1"), len(body) + 16)
    return Part(name, head + body, len(head), len(head) + len(body))
