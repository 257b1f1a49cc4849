"""Formats of files, identified by their first bytes."""

import re
import struct

from hourglass.imagefiles.raster.containers import PNG_SIGNATURE


def sniff(head: bytes) -> str | None:
    """Identify the format of a file by its first bytes.

    Parameters
    ----------
    head : bytes
        The first 600 bytes of the file, or all bytes of a shorter file.

    Returns
    -------
    str or None
        Name of the format. :func:`~hourglass.imagefiles.raster.rasters.open_raster` reads ``PNG``, ``JPEG``, ``BMP``,
        ``WebP``, ``AVIF``, ``JPEG 2000`` and ``HEIC``; other modules read ``TIFF``, ``NumPy`` and ``zip`` (an
        ``.npz``); other names are those of formats that are not supported. None when the format is unknown.
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
_BRANDS = {b"avif": "AVIF", b"avis": "AVIF", b"crx ": "Canon camera raw", b"jxl ": "JPEG XL"} | dict.fromkeys(
    (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"hevm", b"hevs", b"mif1", b"msf1"), "HEIC"
)
