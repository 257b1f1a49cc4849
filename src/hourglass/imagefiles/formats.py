"""Table of the supported image formats, from which docs/formats.md is generated."""

import importlib.util
from dataclasses import dataclass


@dataclass(frozen=True)
class Format:
    """A format of image files, described for users.

    Parameters
    ----------
    name : str
        Name of the format, equal to ``ImageFile.format``.
    suffixes : tuple of str
        Suffixes by which files of this format are found in folders, in lower case. The first bytes of a file decide
        on its format.
    read : str
        Depths, colours and structures that are processed.
    kept : str
        What is preserved besides the pixels.
    changed : str
        What is not preserved.
    refused : str
        What is valid, but not supported.
    module : str, optional
        Name of the optional module that the format needs. None, the default, when it needs none.
    """

    name: str
    suffixes: tuple[str, ...]
    read: str
    kept: str
    changed: str
    refused: str
    module: str | None = None


FORMATS = (
    Format(
        "PNG",
        (".png",),
        "Grey of 1, 2, 4, 8 and 16 bits; RGB of 8 and 16; with alpha; palettes; one transparent level or colour; "
        "interlaced.",
        "Depth, colour type, palette, interlacing, and every chunk that does not hold pixels, in its place: text,"
        " time, gamma, profiles, EXIF, XMP, resolution, private ones.",
        "A palette gets other colours where the new pixels need them. A pixel whose new value would be that of "
        "the transparent one moves by one level.",
        "Animations (APNG).",
    ),
    Format(
        "JPEG",
        (".jpg", ".jpeg", ".jpe", ".jfif"),
        "8 bits: grey, YCbCr and RGB with every sampling, CMYK and YCCK (the four inks each as a grey image); "
        "baseline and progressive; several images in one file (MPO).",
        "Quantisation tables, sampling, progressive scans, restart intervals, and every segment: EXIF with its "
        "maker notes, XMP, IPTC, ICC, comments, what stands behind the image. Blocks that did not change keep "
        "their coefficients, and an unchanged image its bytes. Gain maps and depth maps stay as they are.",
        "Thumbnails inside EXIF show the image as it was.",
        "12 bits, arithmetic coding, lossless coding.",
    ),
    Format(
        "TIFF",
        (".tif", ".tiff"),
        "Classic and BigTIFF, either byte order; strips and tiles; integers of 1 to 32 bits, signed and unsigned,"
        " packed 10, 12 and 14 bits, floating point of 16, 32 and 64; grey (black or white at zero), RGB, inks, "
        "palettes, further bands each as a grey image; pages, stacks of ImageJ and OME (of one directory too), "
        "pyramids and overviews. Compressed by LZW, Deflate, PackBits, Zstandard, LZMA, JPEG, WebP, JPEG 2000, "
        "PNG, LERC.",
        "Every tag and directory, since the file is changed in a copy: GeoTIFF, GDAL, ImageJ, OME, EXIF, GPS, "
        "XMP, IPTC; compression, predictor, tiling, byte order. Alpha stays as it is; colours that were "
        "multiplied by it are processed straight. Pixels without data (GDAL's tag, NaN) stay, and masks.",
        "A file may keep room where its strips became shorter. WebP and irreversible JPEG 2000 inside become "
        "lossless where a channel would come back at less than 45 dB.",
        "CCITT fax, JPEG of the old style, JPEG XL and XR; YCbCr without JPEG, L*a*b*, LogLuv; camera raws and "
        "DNG; LSM, STK, NDPI; Photoshop layers; complex numbers and integers of 64 bits.",
    ),
    Format(
        "BMP",
        (".bmp",),
        "1, 4 and 8 bits with a palette, 16, 24 and 32 bits, run lengths.",
        "Header, resolution, profile, direction of the rows, run lengths.",
        "As of PNG's palettes.",
        "Embedded JPEG and PNG.",
    ),
    Format(
        "WebP",
        (".webp",),
        "Lossy and lossless, with alpha.",
        "Lossless stays lossless; ICC, EXIF, XMP and unknown chunks. An unchanged image keeps its bytes.",
        "A changed lossy image is coded at quality 100, and is about 40 dB from what was computed: its colours "
        "have half the resolution.",
        "Animations.",
    ),
    Format(
        "AVIF",
        (".avif",),
        "8, 10 and 12 bits, with alpha.",
        "EXIF, XMP, profiles, thumbnails, gain and depth maps. An unchanged image keeps its bytes.",
        "A changed image is coded at quality 100, and its file grows.",
        "Sequences, grids that the decoder does not give back whole.",
    ),
    Format(
        "JPEG 2000",
        (".jp2", ".j2k"),
        "8 to 16 bits, grey and RGB, with alpha; files and bare code streams.",
        "Reversible stays reversible; every box, such as XMP, GeoJP2 and resolution.",
        "Layers and precincts; an irreversible image is about 60 dB from what was computed.",
        "HTJ2K, palettes, YCC, components of different size.",
    ),
    Format(
        "HEIC",
        (".heic", ".heif"),
        "8 bits, with alpha; needs the extra `heif`.",
        "EXIF, XMP, profiles, thumbnails, gain and depth maps. An unchanged image keeps its bytes.",
        "A changed image is coded at quality 100, and its file grows.",
        "10 bits, sequences.",
        module="pillow_heif",
    ),
    Format(
        "NPY",
        (".npy",),
        "Real numbers of up to 64 bits and booleans: (h, w), (h, w, 3), (n, h, w), (n, h, w, c).",
        "Type, shape, byte order, order of the axes.",
        "Nothing.",
        "Complex numbers, objects; codes that `hourglass encode` wrote are left out.",
    ),
    Format(
        "NPZ",
        (".npz",),
        "Several arrays, each as an .npy file.",
        "Names, types, shapes, whether they are compressed.",
        "Nothing.",
        "Archives with other files.",
    ),
)  # fmt: skip


def suffixes() -> tuple[str, ...]:
    """Return the suffixes of the supported image files.

    Returns
    -------
    tuple of str
        Suffixes in lower case with the dot, such as ``.png``. Formats whose optional package is not installed are
        left out.
    """
    there = [each for each in FORMATS if each.module is None or importlib.util.find_spec(each.module)]
    return tuple(suffix for each in there for suffix in each.suffixes)
