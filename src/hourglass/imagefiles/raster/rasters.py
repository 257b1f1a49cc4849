"""Photographs' formats: PNG, JPEG and MPO, BMP, WebP, AVIF, JPEG 2000, and HEIC with an extra package."""

from pathlib import Path

from hourglass.imagefiles.image import ImageFile
from hourglass.imagefiles.raster.bmps import Bmp
from hourglass.imagefiles.raster.heifs import Avif, Heic
from hourglass.imagefiles.raster.jp2s import Jp2
from hourglass.imagefiles.raster.mpos import Jpeg
from hourglass.imagefiles.raster.pngs import Png
from hourglass.imagefiles.raster.signatures import sniff
from hourglass.imagefiles.raster.stills import Raster
from hourglass.imagefiles.raster.webps import WebP

LARGEST_FILE = 2 << 30
_HEAD = 600

RASTERS: dict[str, type[Raster]] = {kind.format: kind for kind in (Png, Jpeg, Bmp, WebP, Avif, Jp2, Heic)}
"""Formats by the names that :func:`~hourglass.imagefiles.raster.signatures.sniff` gives them."""


def open_raster(path: Path) -> ImageFile:
    """Open an image file, whose format its first bytes identify, without decoding its pixels.

    Parameters
    ----------
    path : Path
        Path of the file. The supported formats are:
        PNG (1 to 16 bits, grey, RGB, palette, alpha, interlaced), JPEG and MPO (8 bits, grey, RGB, YCbCr, CMYK, YCCK,
        baseline and progressive), BMP, WebP (lossy and lossless), AVIF (8 to 12 bits), JPEG 2000 (up to 16 bits), or
        HEIC (8 bits, with the package pillow-heif); of up to 178,956,970 pixels and 2 GiB.

    Returns
    -------
    ImageFile
        The open file, which the caller has to close. Its ``write`` replaces only the pixels.

    Raises
    ------
    OSError
        When the file cannot be read or is damaged.
    ValueError
        When the file is valid, but of a kind that is not supported, such as an animation.
    ImportError
        When the file is a HEIC file and pillow-heif is not installed.
    """
    path = Path(path)
    size = path.stat().st_size
    if size > LARGEST_FILE:
        raise ValueError(f"{path} has {size:,} bytes; files of up to {LARGEST_FILE >> 30} GiB are read, except TIFF")
    content = path.read_bytes()
    name = sniff(content[:_HEAD])
    if name not in RASTERS:
        raise ValueError(f"{path} {_what_else(content[:_HEAD], name)}")
    return RASTERS[name](path, content)


def _what_else(head: bytes, name: str | None) -> str:
    """Predicate of a sentence about an unsupported file, with the remedy."""
    if name is not None:
        return f"is a {name} file, which is not read; save it as PNG or TIFF first"
    if all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in head):
        return "is a text file and not an image"
    if not any(head):
        return "holds nothing but zeros; copy it again from where it came"
    begins = head[:4].hex(" ").upper()
    return f"is not an image of a known format: it begins with {begins}; it may be damaged, or encrypted"
