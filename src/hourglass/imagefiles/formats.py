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
        "Grey with 1, 2, 4, 8 and 16 bits, RGB with 8 and 16 bits, with and without alpha; palettes; one transparent "
        "level or colour; interlaced files.",
        "Bit depth, colour type, palette, interlacing, and every chunk without pixels, in its place: text, time, "
        "gamma, profiles, EXIF, XMP, resolution, private chunks.",
        "The palette gets other colours if the new pixels need them. A new value that equals the transparent level or "
        "colour is changed by one level.",
        "Animations (APNG).",
    ),
    Format(
        "JPEG",
        (".jpg", ".jpeg", ".jpe", ".jfif"),
        "Images with 8 bits: grey, YCbCr and RGB with every chroma subsampling, CMYK and YCCK (each of the four inks "
        "as a grey image); baseline and progressive; several images in one file (MPO).",
        "Quantisation tables, subsampling, progressive scans, restart intervals, and every segment: EXIF with its "
        "maker notes, XMP, IPTC, ICC, comments; and all bytes after the image. Blocks that did not change keep their "
        "coefficients, and an unchanged image keeps its bytes. Gain maps and depth maps are kept unchanged.",
        "Thumbnails inside EXIF are not updated and show the old image.",
        "12 bits, arithmetic coding, lossless coding.",
    ),
    Format(
        "TIFF",
        (".tif", ".tiff"),
        "Classic TIFF and BigTIFF in either byte order; strips and tiles; signed and unsigned integers of 1 to 32 "
        "bits, packed 10, 12 and 14 bits, floating-point numbers of 16, 32 and 64 bits; grey (zero is black or white), "
        "RGB, inks, palettes, each further band as a grey image; pages, ImageJ and OME stacks (also those with a "
        "single directory), pyramids and overviews. Compression by LZW, Deflate, PackBits, Zstandard, LZMA, JPEG, "
        "WebP, JPEG 2000, PNG and LERC.",
        "Every tag and directory, because a copy of the file is edited: GeoTIFF, GDAL, ImageJ, OME, EXIF, GPS, XMP, "
        "IPTC; compression, predictor, tiling, byte order. Alpha is not changed; colours that are premultiplied by "
        "alpha are divided by it before the network sees them. Pixels without data (GDAL's tag, NaN) and masks are not "
        "changed.",
        "Where strips became shorter, the file may contain unused bytes. Strips compressed by WebP or irreversible "
        "JPEG 2000 become lossless if a channel would otherwise come back at less than 45 dB.",
        "CCITT fax, old-style JPEG, JPEG XL and XR; YCbCr without JPEG, L*a*b*, LogLuv; camera raw files and DNG; LSM, "
        "STK, NDPI; Photoshop layers; complex numbers and 64-bit integers.",
    ),
    Format(
        "BMP",
        (".bmp",),
        "1, 4 and 8 bits with a palette, 16, 24 and 32 bits, run-length encoding.",
        "Header, resolution, profile, direction of the rows, run-length encoding.",
        "The palette gets other colours if the new pixels need them.",
        "Embedded JPEG and PNG.",
    ),
    Format(
        "WebP",
        (".webp",),
        "Lossy and lossless, with alpha.",
        "Lossless compression; ICC, EXIF, XMP and unknown chunks. An unchanged image keeps its bytes.",
        "A changed lossy image is encoded at quality 100. Its PSNR to the computed pixels is about 40 dB, because the "
        "format stores colours at half the resolution.",
        "Animations.",
    ),
    Format(
        "AVIF",
        (".avif",),
        "8, 10 and 12 bits, with alpha.",
        "EXIF, XMP, profiles, thumbnails, gain maps and depth maps. An unchanged image keeps its bytes.",
        "A changed image is encoded at quality 100, which makes the file larger.",
        "Image sequences, grids of tiles that the decoder does not return as one image.",
    ),
    Format(
        "JPEG 2000",
        (".jp2", ".j2k"),
        "8 to 16 bits, grey and RGB, with alpha; files and bare code streams.",
        "Reversible compression; every box, such as XMP, GeoJP2 and resolution.",
        "Layers and precincts are not kept. The PSNR of an irreversible image to the computed pixels is about 60 dB.",
        "HTJ2K, palettes, YCC, components of different sizes.",
    ),
    Format(
        "HEIC",
        (".heic", ".heif"),
        "8 bits, with alpha; needs the extra `heif`.",
        "EXIF, XMP, profiles, thumbnails, gain maps and depth maps. An unchanged image keeps its bytes.",
        "A changed image is encoded at quality 100, which makes the file larger.",
        "10 bits, image sequences.",
        module="pillow_heif",
    ),
    Format(
        "NPY",
        (".npy",),
        "Real numbers of up to 64 bits and booleans, in arrays of shape (h, w), (h, w, 3), (n, h, w) or (n, h, w, c).",
        "Type, shape, byte order, order of the axes.",
        "Nothing.",
        "Complex numbers, objects. Tables of codes that `hourglass encode` wrote are skipped.",
    ),
    Format(
        "NPZ",
        (".npz",),
        "Several arrays, each like an .npy file.",
        "Names, types, shapes, compression.",
        "Nothing.",
        "Archives that contain other files.",
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
