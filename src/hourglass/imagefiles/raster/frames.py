"""The structure of one JPEG image, and its pixels or components as Pillow decodes them."""

import struct
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hourglass.imagefiles.image import COLOURS, Numbers, Plane
from hourglass.imagefiles.raster.containers import Part, joined, jpeg_parts, jpeg_segment
from hourglass.imagefiles.raster.stills import exif_orientation, pillow_image
from hourglass.imagefiles.reading import UnservedError, check_size

LAYOUT = ("DHT", "DRI", "SOS", "DAC")
_UNSERVED = {
    "SOF3": "lossless JPEG", "SOF5": "hierarchical JPEG", "SOF6": "hierarchical JPEG", "SOF7": "hierarchical JPEG",
    "SOF9": "arithmetic-coded JPEG", "SOF10": "arithmetic-coded JPEG", "SOF11": "lossless, arithmetic-coded JPEG",
    "SOF13": "hierarchical JPEG", "SOF14": "hierarchical JPEG", "SOF15": "hierarchical JPEG", "SOF55": "JPEG-LS",
    "DHP": "hierarchical JPEG", "EXP": "hierarchical JPEG",
}  # fmt: skip
# Position in rows of each number of a quantisation table, which is stored in zigzag order.
NATURAL = np.array([
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14,
    21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60,
    61, 54, 47, 55, 62, 63,
])  # fmt: skip


class Component(NamedTuple):
    """A component of a JPEG frame.

    Parameters
    ----------
    name : int
        Identifier of the component in the file.
    across : int
        Horizontal sampling factor, 1 to 4.
    down : int
        Vertical sampling factor, 1 to 4.
    table : int
        Number of its quantisation table.
    """

    name: int
    across: int
    down: int
    table: int


@dataclass(frozen=True)
class Frame:
    """One JPEG image, from its SOI marker to the end of the bytes after its EOI marker.

    Parameters
    ----------
    parts : list of Part
        All segments, in order.
    width : int
        Width of the image, in pixels.
    height : int
        Height of the image, in pixels.
    components : list of Component
        The components: 1, 3 or 4.
    progressive : bool
        Whether the coding is progressive; otherwise it is sequential.
    restart : int
        Number of MCUs between restart markers; 0 when there are none.
    colour : {"grey", "RGB", "YCbCr", "CMYK", "YCCK"}
        Colour space of the components.
    inverted : bool
        Whether 255 means no ink, as in Adobe's files.
    tables : dict of int to list of int
        The 64 numbers of each quantisation table, row by row, by number of the table.
    """

    parts: list[Part]
    width: int
    height: int
    components: list[Component]
    progressive: bool
    restart: int
    colour: str
    inverted: bool
    tables: dict[int, list[int]]

    @property
    def orientation(self) -> int:
        """Orientation in the EXIF data, 1 to 8; 1 when there is none."""
        exif = next((part.body for part in self.parts if part.name == "APP1" and part.body[:6] == b"Exif\0\0"), None)
        return exif_orientation(exif) if exif else 1

    @property
    def roles(self) -> tuple[str, ...]:
        """Meaning of each band of the decoded image, as in :class:`Plane`."""
        return {1: ("grey",), 3: COLOURS, 4: ("ink",) * 4}[len(self.components)]

    def ratio(self, component: Component) -> tuple[int, int]:
        """Return how many pixels one number of a component represents.

        Parameters
        ----------
        component : Component
            A component of this frame.

        Returns
        -------
        across : int
            Number of pixels horizontally.
        down : int
            Number of pixels vertically.
        """
        most = [max(c[i] for c in self.components) for i in (1, 2)]
        return most[0] // component.across, most[1] // component.down


def read_frame(content: bytes) -> Frame:
    """Read the structure of a JPEG image, without decoding its pixels.

    Parameters
    ----------
    content : bytes
        Content of the file.

    Returns
    -------
    Frame
        The structure.

    Raises
    ------
    UnservedError
        When the coding is of a kind that is not supported.
    DamagedError, ValueError
        When the file is damaged.
    """
    parts = jpeg_parts(content)
    for part in parts:
        if part.name in _UNSERVED:
            raise UnservedError(
                f"is coded as {_UNSERVED[part.name]}, which is not served; save it as ordinary JPEG first"
            )
    if "DNL" in [part.name for part in parts]:
        raise UnservedError("gives its height behind the image (DNL); save it anew first")
    frames = [part for part in parts if part.name in ("SOF0", "SOF1", "SOF2")]
    if len(frames) != 1 or "SOS" not in [part.name for part in parts]:
        raise ValueError(f"it has {len(frames)} frame headers, or no scan")
    [frame] = frames
    bits, height, width, bands = struct.unpack_from(">BHHB", frame.body)
    if bits != 8:
        raise UnservedError(f"is a {bits}-bit JPEG, which is not served; convert it to 8 bits or to PNG first")
    check_size(width, height, bands)
    components = [Component(name, factors >> 4, factors & 15, table)
                  for name, factors, table in struct.iter_unpack("3B", frame.body[6:])]  # fmt: skip
    if bands not in (1, 3, 4) or len(components) != bands:
        raise UnservedError(f"is a JPEG of {bands} components, which is not served; save it as grey, RGB or CMYK first")
    blocks = 0
    for i in (1, 2):
        if any(c[i] < 1 or max(other[i] for other in components) % c[i] for c in components):
            raise UnservedError(
                "is a JPEG whose components have fractional sizes, which is not served; save it anew first"
            )
    size = sum(len(part.raw) for part in parts if part.name == "SOS")
    blocks = (width // 8) * (height // 8)
    if blocks > 8 * size:  # each block takes a bit at the least
        raise ValueError(f"it promises {width:,} × {height:,} pixels and holds {size:,} bytes of data")
    restart = next((struct.unpack(">H", part.body[:2])[0] for part in parts if part.name == "DRI"), 0)
    colour, inverted = _colour(parts, [c.name for c in components])
    tables = quantisation_tables(parts)
    if any(c.table not in tables for c in components):
        raise ValueError("a quantisation table is missing")
    return Frame(parts, width, height, components, frame.name == "SOF2", restart, colour, inverted, tables)


def _colour(parts: list[Part], names: list[int]) -> tuple[str, bool]:
    """Colour space by the rules of libjpeg, and whether the inks are inverted."""
    adobe = next((p.body[11] for p in parts if p.name == "APP14" and p.body[:5] == b"Adobe" and len(p.body) > 11), None)
    jfif = any(part.name == "APP0" and part.body[:5] == b"JFIF\0" for part in parts)
    if len(names) == 1:
        return "grey", False
    if len(names) == 4:
        return "YCCK" if adobe == 2 else "CMYK", adobe is not None
    if jfif:
        return "YCbCr", False
    rgb = adobe == 0 or (adobe is None and names == [82, 71, 66])
    return "RGB" if rgb else "YCbCr", False


def quantisation_tables(parts: list[Part]) -> dict[int, list[int]]:
    """Read the quantisation tables.

    Parameters
    ----------
    parts : list of Part
        Segments of the JPEG.

    Returns
    -------
    dict of int to list of int
        The 64 numbers of each table, row by row, by number of the table.

    Raises
    ------
    ValueError
        When a table is damaged.
    UnservedError
        When a table changes between two scans.
    """
    tables: dict[int, list[int]] = {}
    for part in parts:
        if part.name != "DQT":
            continue
        body, place = part.body, 0
        while place < len(body):
            wide, number = body[place] >> 4, body[place] & 15
            stored = np.frombuffer(body[place + 1 : place + 1 + 64 * (1 + wide)], ">u2" if wide else "u1")
            if len(stored) != 64 or wide > 1 or not stored.all():
                raise ValueError("a quantisation table is broken")
            table = np.empty(64, int)
            table[NATURAL] = stored
            if tables.get(number, table.tolist()) != table.tolist():
                raise UnservedError("is a JPEG that changes its quantisation tables between scans; save it anew first")
            tables[number] = table.tolist()
            place += 1 + 64 * (1 + wide)
    return tables


def decode(frame: Frame) -> Plane:
    """Decode the pixels of a frame.

    Parameters
    ----------
    frame : Frame
        The image.

    Returns
    -------
    Plane
        The pixels in uint8: grey, RGB, or four inks, where 0 means no ink.

    Raises
    ------
    ValueError
        When the decoded image has another size than the frame.
    """
    colour = (("APP0", b"JFIF\0"), ("APP14", b"Adobe"))
    plain = [
        p for p in frame.parts if (p.name, p.body[:5]) in colour or p.name in (*LAYOUT, "DQT") or p.name[:3] == "SOF"
    ]
    values: NDArray[np.uint8] = np.asarray(pillow_image(b"\xff\xd8" + joined(plain) + b"\xff\xd9", "JPEG"))
    if values.shape[:2] != (frame.height, frame.width):
        raise ValueError(f"it was decoded to {values.shape[1]} × {values.shape[0]} pixels")
    values = values.reshape(frame.height, frame.width, len(frame.components))
    if values.shape[2] == 4 and not frame.inverted:
        values = 255 - values  # Pillow treats every file as one of Adobe's
    return Plane(values, frame.roles, Numbers(values.dtype, 8))


def decode_components(frame: Frame, width: int, height: int) -> NDArray[np.uint16]:
    """Decode the stored components, enlarged to one size, without conversion to colours and without clipping.

    The components are decoded as if they had 12 bits, which moves 128 to 2048, and with quantisation tables whose
    numbers are four times as large. Two bits are then left for numbers outside 0 to 255, and two for fractions.

    Parameters
    ----------
    frame : Frame
        The image.
    width : int
        Width of the decoded area, in pixels. It may be larger than that of the image, up to the edge of its blocks.
    height : int
        Height of the decoded area, in pixels, up to the edge of the blocks.

    Returns
    -------
    ndarray of shape (height, width, components), uint16
        The components; :func:`as_levels` brings them to the scale of 8 bits.
    """
    from imagecodecs import jpeg8_decode

    stored = b"".join(struct.pack(">B64H", 16 + number, *(4 * np.array(table)[NATURAL]))
                      for number, table in frame.tables.items())  # fmt: skip
    content = [b"\xff\xd8", jpeg_segment(0xDB, stored)]
    for part in frame.parts:
        if part.name.startswith("SOF"):
            body = struct.pack(">BHH", 12, height, width) + part.body[5:]
            content.append(jpeg_segment(0xC2 if frame.progressive else 0xC1, body))
        elif part.name in LAYOUT:
            content.append(part.raw)
    bands = len(frame.components)
    space = {1: "GRAYSCALE", 3: "RGB", 4: "CMYK"}[bands]
    values = jpeg8_decode(b"".join([*content, b"\xff\xd9"]), colorspace=space, outcolorspace=space)
    found: NDArray[np.uint16] = values.reshape(height, width, bands)
    return found


def as_levels(stored: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Bring decoded components to the scale of 8 bits.

    Parameters
    ----------
    stored : ndarray of any shape, uint16
        Numbers that :func:`decode_components` returned.

    Returns
    -------
    ndarray of the same shape, float32
        Levels with fractions, which can lie outside 0 to 255.
    """
    return (stored.astype(np.float32) - np.float32(2048)) / np.float32(4) + np.float32(128)
