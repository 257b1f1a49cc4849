"""An image file as a list of parts, so that the pixels can be replaced and every other part is kept.

PNG consists of chunks, JPEG of segments, WebP of RIFF chunks, and JPEG 2000, AVIF and HEIC of boxes. Each ``*_parts``
function returns parts whose ``raw`` bytes, joined in order, are the same file.
"""

import re
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# A marker is 0xFF, possibly repeated, and a byte that is neither a restart nor 0 (0xFF 0 is a 0xFF in the data).
_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]", re.DOTALL)
_JPEG_NAMES = {0xC4: "DHT", 0xC8: "JPG", 0xCC: "DAC", 0xD8: "SOI", 0xD9: "EOI", 0xDA: "SOS", 0xDB: "DQT", 0xDC: "DNL",
               0xDD: "DRI", 0xDE: "DHP", 0xDF: "EXP", 0xF7: "SOF55", 0xFE: "COM"}  # fmt: skip


class DamagedError(Exception):
    """Error when bytes do not have the structure of their format."""


@dataclass(frozen=True)
class Part:
    """A chunk, segment or box of a file.

    Parameters
    ----------
    name : str
        Name in the format, such as ``IDAT``, ``APP1`` or ``jp2c``. Bytes after the end of an image are called
        ``trailer``, and bytes between the segments of a JPEG, which decoders skip, are called ``junk``.
    raw : bytes
        All bytes of the part, including length, name and checksum.
    start : int, default=0
        Offset in ``raw`` at which the content begins.
    stop : int, default=0
        Offset in ``raw`` at which the content ends.
    """

    name: str
    raw: bytes
    start: int = 0
    stop: int = 0

    @property
    def body(self) -> bytes:
        """Content of the part, without length, name and checksum."""
        return self.raw[self.start : self.stop]


def joined(parts: Iterable[Part]) -> bytes:
    """Join parts to the content of a file.

    Parameters
    ----------
    parts : iterable of Part
        The parts, in order.

    Returns
    -------
    bytes
        Their raw bytes, one after another.
    """
    return b"".join(part.raw for part in parts)


# Boxes that a file can contain at its top level.
_FILE_BOXES = (
    b"jP  ", b"ftyp", b"jp2h", b"jp2c", b"jp2i", b"xml ", b"uuid", b"uinf", b"rreq", b"res ", b"asoc", b"meta", b"mdat",
    b"idat", b"moov", b"free", b"skip", b"pdin", b"mini",
)  # fmt: skip


def png_parts(content: bytes) -> list[Part]:
    """Divide a PNG into its chunks.

    Parameters
    ----------
    content : bytes
        Content of the file.

    Returns
    -------
    list of Part
        The signature, the chunks, and the bytes after the last chunk.

    Raises
    ------
    DamagedError
        When the bytes do not have the structure of the format, or a checksum is wrong.
    """
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
    """Make a PNG chunk.

    Parameters
    ----------
    name : str
        Name of the chunk, such as ``IDAT``.
    body : bytes
        Its content.

    Returns
    -------
    Part
        The chunk, with length and checksum.
    """
    named = name.encode() + body
    return Part(name, struct.pack(">I", len(body)) + named + struct.pack(">I", zlib.crc32(named)), 8, 8 + len(body))


def jpeg_parts(content: bytes) -> list[Part]:
    """Divide a JPEG into its segments.

    Parameters
    ----------
    content : bytes
        Content of the file.

    Returns
    -------
    list of Part
        The segments, and the bytes after the image. ``SOS`` is a whole scan: its header and its data.

    Raises
    ------
    DamagedError
        When the bytes do not have the structure of the format, or a checksum is wrong.
    """
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
    """Make a JPEG segment.

    Parameters
    ----------
    code : int
        Second byte of the marker, such as 0xDB for DQT.
    body : bytes
        Its content.

    Returns
    -------
    bytes
        The segment, with marker and length.
    """
    return struct.pack(">BBH", 0xFF, code, len(body) + 2) + body


def riff_parts(content: bytes) -> list[Part]:
    """Divide a RIFF file into its chunks, after the header of 12 bytes.

    Parameters
    ----------
    content : bytes
        Content of the file.

    Returns
    -------
    list of Part
        The chunks, with their padding, and the bytes after the last chunk.

    Raises
    ------
    DamagedError
        When the bytes do not have the structure of the format, or a checksum is wrong.
    """
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
    """Make a RIFF chunk.

    Parameters
    ----------
    name : str
        Name of the chunk, such as ``ICCP``.
    body : bytes
        Its content.

    Returns
    -------
    Part
        The chunk, with length and padding.
    """
    raw = struct.pack("<4sI", name.encode("latin-1"), len(body)) + body + b"\0" * (len(body) % 2)
    return Part(name, raw, 8, 8 + len(body))


def file_boxes(content: bytes) -> list[Part]:
    """Divide an ISO base media file (JPEG 2000, AVIF, HEIC) into its boxes.

    Parameters
    ----------
    content : bytes
        Content of the file.

    Returns
    -------
    list of Part
        The boxes, and the bytes after the last box as a ``trailer``.

    Raises
    ------
    DamagedError
        When the bytes do not have the structure of the format, or a checksum is wrong.
    """
    return box_parts(content, trailing=True)


def box_parts(content: bytes, *, trailing: bool = False) -> list[Part]:
    """Divide the content of a box, or of a file, into boxes.

    Parameters
    ----------
    content : bytes
        Content of the box or the file.
    trailing : bool, default=False
        Whether bytes that are no box of a file may follow the last box, as a ``trailer``. Otherwise they are an error.

    Returns
    -------
    list of Part
        The boxes.

    Raises
    ------
    DamagedError
        When a box is cut off.
    """
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
    """Make a box.

    Parameters
    ----------
    name : str
        Name of the box, four characters such as ``jp2c``.
    body : bytes
        Its content.

    Returns
    -------
    Part
        The box, with its length, which takes 8 bytes instead of 4 if the box has 4 GiB or more.
    """
    head = struct.pack(">I4s", len(body) + 8, name.encode("latin-1"))
    if len(body) + 8 >= 1 << 32:
        head = struct.pack(">I4sQ", 1, name.encode("latin-1"), len(body) + 16)
    return Part(name, head + body, len(head), len(head) + len(body))
