"""Directories of a TIFF file: where its numbers are stored, and what they mean."""

import json
import math
import re
import struct
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hourglass.imagefiles.image import COLOURS, Numbers
from hourglass.imagefiles.reading import UnservedError, check_size
from hourglass.imagefiles.tiff.meanings import MASK, PALETTE, WHITE_IS_ZERO, is_ramp, numbers_of, roles_of
from hourglass.imagefiles.tiff.segments import check_coding

# Tags of files whose structure is not defined by TIFF alone.
_FLAVOURS = {
    34412: "a Zeiss LSM file; save it as OME-TIFF", 33628: "a MetaMorph STK file; save it as OME-TIFF",
    65420: "a Hamamatsu NDPI slide; export the region you need as TIFF",
    50706: "a camera's DNG file; develop it to an ordinary TIFF",
}  # fmt: skip
_VERSIONS = {0x55: "Panasonic", 0x4F52: "Olympus", 0x5352: "Olympus"}
_FORMATS = {1: "unsigned", 2: "signed", 3: "floating-point", 4: "undefined", 5: "complex", 6: "complex"}
# Largest number of bytes that one compressed byte can represent.
_EXPANSION = {1: 1, 5: 1500, 8: 1040, 32773: 65, 32946: 1040}
_PHOTOMETRIC, _ORIENTATION, _LAYERS = 262, 274, 37724
_BYTES = Numbers(np.dtype(np.uint8), 8)


@dataclass(frozen=True)
class Directory:
    """One directory (IFD) of a TIFF file.

    Parameters
    ----------
    offset : int
        Offset of the directory in the file, in bytes.
    index : tuple of int
        Number of the directory in the file's chain, followed by the numbers of sub-directories that lead to it.
    places : ndarray of shape (n, 2), int64
        Offset and number of bytes of each strip or tile; zeros if the file leaves it out (sparse).
    structure : list of tuple of (int, int)
        Offset and number of bytes of the directory itself, and of each of its values that is stored elsewhere.
    shape : tuple of (int, int, int), default=(0, 0, 0)
        Height, width and bands, as stored.
    numbers : Numbers, optional
        Type and meaning of the numbers; by default bytes.
    roles : tuple of str, default=()
        Meaning of each band of a plane; with a palette, of each band of its colours.
    orientation : int, default=1
        Orientation as TIFF numbers it, 1 to 8.
    inverted : bool, default=False
        Whether white is the smallest number.
    palette : bool, default=False
        Whether the numbers are indices of colours.
    planes : int, default=0
        Number of planes: 0 if the directory has no image, or a transparency mask, which does not change; more than 1
        if it stands for a stack, whose planes are stored one after another without directories of their own.
    promised : int, default=1
        Number of planes according to the description.
    contiguous : bool, default=False
        Whether the numbers are stored one after another, neither compressed nor packed.
    reduced : bool, default=False
        Whether the image is an overview of another one.
    """

    offset: int
    index: tuple[int, ...]
    places: NDArray[np.int64]
    structure: list[tuple[int, int]]
    shape: tuple[int, int, int] = (0, 0, 0)
    numbers: Numbers = _BYTES
    roles: tuple[str, ...] = ()
    orientation: int = 1
    inverted: bool = False
    palette: bool = False
    planes: int = 0
    promised: int = 1
    contiguous: bool = False
    reduced: bool = False

    @property
    def plane_bytes(self) -> int:
        """Number of bytes of one uncompressed plane."""
        return math.prod(self.shape) * self.numbers.dtype.itemsize


def read_directories(file: Any) -> list[Directory]:
    """Look at all directories of a file that tifffile has opened.

    Raises
    ------
    UnservedError
        When an image is of a kind that is not served.
    Exception
        Of any kind when the file is damaged.
    """
    header = _at(file, 0, 16)
    version = struct.unpack(f"{file.byteorder}H", header[2:4])[0]
    if version not in (42, 43) or header[8:10] == b"CR":
        raise UnservedError(
            f"is a raw file of a {_VERSIONS.get(version, 'camera')}; develop it to an ordinary TIFF first"
        )
    found: list[Directory] = []
    for page in pages(file):
        directory = _directory(page, file.filehandle.size)
        found.append(_as_overview(directory, found[0]) if directory.reduced and found else directory)
    return _with_stacks(found, file.filehandle.size)


def _as_overview(directory: Directory, first: Directory) -> Directory:
    """An overview with the range and the missing value of the first directory, if its own directory lacks them."""
    numbers, full = directory.numbers, first.numbers
    if (numbers.dtype, numbers.bits, directory.palette) != (full.dtype, full.bits, first.palette):
        return directory
    no_data = full.no_data if numbers.no_data is None else numbers.no_data
    return replace(directory, numbers=replace(numbers, declared=numbers.declared or full.declared, no_data=no_data))


def pages(file: Any) -> Iterator[Any]:
    """All directories as tifffile's pages; sub-directories follow their directory."""
    tiff = file.tiff
    first = struct.unpack(tiff.offsetformat, _at(file, 8 if file.is_bigtiff else 4, tiff.offsetsize))[0]
    waiting: list[tuple[int, tuple[int, ...]]] = [(first, (0,))]
    seen: set[int] = set()
    while waiting:
        offset, index = waiting.pop()
        if offset in seen:
            if len(index) > 1:  # shared by two directories
                continue
            raise ValueError("its directories form a loop")
        if not 8 <= offset < file.filehandle.size:
            raise ValueError(f"directory {'.'.join(map(str, index))} would begin at byte {offset:,}")
        seen.add(offset)
        page = page_at(file, offset, index)
        yield page
        following = _following(file, offset)
        if following:
            waiting.append((following, (*index[:-1], index[-1] + 1)))
        children = [int(child) for child in page.subifds or () if child]
        # Sub-directories in the chain of another one have numbers after all that the tag lists.
        waiting += [(child, (*index, 1000 * i)) for i, child in reversed(list(enumerate(children)))]


def page_at(file: Any, offset: int, index: tuple[int, ...]) -> Any:
    """One directory as tifffile's page, which tifffile itself does not keep in memory."""
    from tifffile import TiffPage

    file.filehandle.seek(offset)
    page = TiffPage(file, index=index)
    if _PHOTOMETRIC not in page.tags:  # libtiff's guess
        page.photometric = 2 if page.samplesperpixel >= 3 else 1
    return page


def _at(file: Any, offset: int, size: int) -> bytes:
    file.filehandle.seek(offset)
    content: bytes = file.filehandle.read(size)
    return content


def _following(file: Any, offset: int) -> int:
    """Offset of the next directory; 0 after the last."""
    tiff = file.tiff
    count = struct.unpack(tiff.tagnoformat, _at(file, offset, tiff.tagnosize))[0]
    pointer = _at(file, offset + tiff.tagnosize + count * tiff.tagsize, tiff.offsetsize)
    return int(struct.unpack(tiff.offsetformat, pointer)[0]) if len(pointer) == tiff.offsetsize else 0


def _directory(page: Any, size: int) -> Directory:
    tags = page.tags
    structure = [(page.offset, page.parent.tiff.tagnosize + len(tags) * page.parent.tiff.tagsize)]
    structure += [
        (tag.valueoffset, tag.valuebytecount)
        for tag in tags
        if tag.valuebytecount > page.parent.tiff.tagoffsetthreshold and tag.valueoffset >= 8
    ]
    if not {256, 257} & {tag.code for tag in tags} and not page.dataoffsets:  # one that describes, and has no image
        return Directory(page.offset, page.treeindex, np.zeros((0, 2), np.int64), structure)
    for code, flavour in _FLAVOURS.items():
        if code in tags:
            raise UnservedError(f"is {flavour} first")
    if page.is_philips:
        raise UnservedError("is a slide of a Philips scanner; export the region you need as TIFF first")
    _check_form(page)
    places = _places(page, size)
    if page.is_mask or page.photometric == MASK:
        return Directory(page.offset, page.treeindex, places, structure)
    if page.index == 0 and _has_layers(page):
        raise UnservedError("holds Photoshop's layers beside the image; flatten it, or save it without layers, first")
    roles = roles_of(page)
    check_coding(page, next(((int(o), int(n)) for o, n in places if n), None))
    palette = page.photometric == PALETTE and not is_ramp(page)
    inverted = page.photometric == WHITE_IS_ZERO
    numbers = _BYTES if palette else numbers_of(page, inverted=inverted)
    orientation = page.tags.valueof(_ORIENTATION, 1)
    return Directory(
        page.offset,
        page.treeindex,
        places,
        structure,
        (page.imagelength, page.imagewidth, page.samplesperpixel),
        numbers,
        COLOURS if palette else roles,
        orientation if orientation in range(1, 9) else 1,
        inverted,
        palette,
        planes=1,
        promised=_promised(page) if page.is_final and not palette else 1,
        contiguous=bool(page.is_final) and page.bitspersample in (8, 16, 32, 64),
        reduced=page.is_reduced or len(page.treeindex) > 1,
    )


def _check_form(page: Any) -> None:
    """Check that the image is flat, that its numbers are supported, and that its memory is bounded."""
    if page.imagedepth != 1 or page.tiledepth != 1:
        raise UnservedError(f"is volumetric (an image depth of {page.imagedepth}); save its slices as pages first")
    bits, kind = page.bitspersample, int(page.sampleformat)
    if isinstance(bits, tuple):
        raise UnservedError(f"has bands of different depths ({bits} bits); give all of them the same depth first")
    depths = {1: (*range(1, 17), 32), 2: (8, 16, 32), 3: (16, 32, 64), 4: (*range(1, 17), 32)}
    if page.dtype is None or bits not in depths.get(kind, ()):
        raise UnservedError(
            f"holds {_FORMATS.get(kind, 'unusual')} numbers of {bits} bits; save it as integers of 8, 16 or 32 bits or "
            "floating-point numbers of 16, 32 or 64 first"
        )
    height, width, bands = page.imagelength, page.imagewidth, page.samplesperpixel
    check_size(width, height, bands, page.dtype.itemsize)
    rows, columns = (page.tilelength, page.tilewidth) if page.is_tiled else (page.rowsperstrip, width)
    if rows < 1 or columns < 1:
        raise ValueError(f"its tiles have {columns} × {rows} pixels")
    check_size(-(-width // columns) * columns, -(-height // rows) * rows, bands, page.dtype.itemsize)
    if page.planarconfig not in (1, 2):
        raise ValueError(f"its planar configuration is {page.planarconfig}")


def _places(page: Any, size: int) -> NDArray[np.int64]:
    expected = math.prod(page.chunked)
    found = min(len(page.dataoffsets), len(page.databytecounts))
    # tifffile fills missing strips with zeros.
    if found < expected:
        raise ValueError(f"{found:,} of {expected:,} {'tiles' if page.is_tiled else 'strips'} are there")
    places = np.array([page.dataoffsets[:expected], page.databytecounts[:expected]], np.int64).T
    sparse = ~places.any(axis=1)
    if not (places[~sparse] > 0).all():
        raise ValueError("a strip or tile has no place or no bytes")
    if (places > size).any() or (places.sum(axis=1) > size).any():
        raise ValueError(f"a strip or tile would end at byte {places.sum(axis=1).max():,} of {size:,}")
    stored = places[:, 1].sum() * _EXPANSION.get(int(page.compression), 1 << 40)
    needed = math.prod(page.shape) * page.bitspersample // 8
    if not sparse.any() and needed > stored + 8:
        raise ValueError(f"it promises {needed:,} bytes of numbers and holds {places[:, 1].sum():,}")
    return np.ascontiguousarray(places)


def _has_layers(page: Any) -> bool:
    """Whether Photoshop's tag ImageSourceData has layers, which are images of their own."""
    tag = page.tags.get(_LAYERS)
    if tag is None:
        return False
    place, end = tag.valueoffset + 36, tag.valueoffset + tag.valuebytecount
    while place + 12 <= end:
        block = _at(page.parent, place, 12)
        order = {b"8BIM": ">", b"MIB8": "<"}.get(block[:4])
        if order is None or len(block) < 12:
            return False
        key = block[4:8] if order == ">" else block[7:3:-1]
        length = struct.unpack(f"{order}I", block[8:])[0]
        if key in (b"Layr", b"Lr16", b"Lr32") and length:
            return True
        place += 12 + length + -length % 4
    return False


def _promised(page: Any) -> int:
    """Number of planes according to the description, for a directory that may stand for a stack."""
    text, bands = str(page.description), int(page.samplesperpixel)
    if text.startswith(('{"shape":', "shape=(")):
        try:
            shape = json.loads(text)["shape"] if text[0] == "{" else re.findall(r"\d+", text.partition(")")[0])
            return max(1, math.prod(map(int, shape)) // int(math.prod(page.shape)))
        except (ValueError, TypeError, KeyError):  # a text that only looks like tifffile's
            return 1
    if page.treeindex != (0,):
        return 1
    if text.startswith(("ImageJ=", "SCIFIO=")):
        counts = {key: int(n) for key, n in re.findall(r"(?m)^(images|channels|slices|frames)=(\d{1,9})\b", text)}
        channels = counts.get("channels", 1)
        planes = counts.get("slices", 1) * counts.get("frames", 1) * (1 if channels == bands else channels)
        return max(1, planes if planes > 1 else counts.get("images", 1))
    found = re.search(r"<(?:\w{1,20}:)?Pixels\b", text) if page.is_ome and 'FileName="' not in text else None
    if found:
        sizes = re.findall(r'\bSize[ZCT]="(\d{1,9})"', text[found.end() : text.find(">", found.end())])
        return max(1, math.prod(map(int, sizes)) // bands)
    return 1


def _with_stacks(found: list[Directory], size: int) -> list[Directory]:
    """The directories, each stack with the number of its planes."""
    if all(directory.promised == 1 or not directory.contiguous for directory in found):
        return found
    starts = [int(offset) for directory in found for offset, count in directory.places if count]
    starts = sorted([*starts, *(offset for directory in found for offset, _ in directory.structure), size])
    out = []
    for i, directory in enumerate(found):
        if directory.promised > 1 and directory.contiguous:
            begin, step = int(directory.places[0, 0]), directory.plane_bytes
            # Other data after the first plane end the stack.
            room = starts[bisect_left(starts, begin + step)] - begin
            if room >= directory.promised * step:
                directory = replace(directory, planes=directory.promised)
            elif room >= 2 * step and not any(len(other.index) == 1 for other in islice(found, i + 1, None)):
                raise ValueError(
                    f"its description promises {directory.promised:,} planes, and it holds {room // step:,}"
                )
        out.append(directory)
    return out
