"""Image files of every structure and field: what `hourglass denoise` gives back of each.

Used by tests/test_corpus.py, which sends them through a model that changes nothing, and by the page docs/formats.md.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from image_writers import (
    XMP,
    alpha,
    cv2_file,
    described,
    frames,
    geotiff,
    grey_bits,
    heic_file,
    icc_profile,
    mpo_file,
    npz_file,
    pages,
    palette,
    pillow_file,
    png_fields,
    pyramid,
    red_on_blue,
    scene,
    tiff_exif,
    tiff_file,
    transparent,
    vips_file,
    with_chunk,
    with_exiv2,
)


@dataclass(frozen=True)
class Entry:
    """A file of the corpus.

    Attributes
    ----------
    name : str
    writer : str
        The public program that makes it.
    what : str
        What is particular about it, for the page.
    make : callable
        Of the path to write.
    refused : str, optional
        What a refusal says; by default the file is processed.
    lossy : bool, default=False
        Whether pixels come back at 45 dB or more in each channel, and not exactly.
    """

    name: str
    writer: str
    what: str
    make: Callable[[Path], None]
    refused: str | None = None
    lossy: bool = False


DEEP = scene(largest=65535, dtype=np.uint16)
DEEP_FOUR = scene(channels=4, largest=65535, dtype=np.uint16)
DEEP_GREY = scene(channels=1, largest=65535, dtype=np.uint16)
TWELVE = scene(channels=1, largest=4095, dtype=np.uint16)
STACK = np.stack([np.roll(TWELVE, i, axis=0) for i in range(4)])
MICRO = {"spacing": 0.5, "unit": "um", "axes": "ZYX", "Info": "objective 20x"}

CORPUS = (
    Entry("bit1.png", "zlib", "grey, 1 bit", grey_bits(1)),
    Entry("bit2.png", "zlib", "grey, 2 bits", grey_bits(2)),
    Entry("bit4.png", "zlib", "grey, 4 bits", grey_bits(4)),
    Entry("grey.png", "Pillow", "grey, 8 bits", pillow_file(scene(channels=1), "PNG")),
    Entry("grey16.png", "OpenCV", "grey, 16 bits", cv2_file(DEEP_GREY)),
    Entry("greyalpha.png", "Pillow", "grey and alpha", pillow_file(scene(channels=2), "PNG")),
    Entry("rgb.png", "OpenCV", "RGB, 8 bits", cv2_file(scene())),
    Entry("rgba.png", "OpenCV", "RGB and alpha", cv2_file(alpha(4, ""))),
    Entry("rgb16.png", "OpenCV", "RGB, 16 bits", cv2_file(DEEP)),
    Entry("rgba16.png", "OpenCV", "RGB and alpha, 16 bits", cv2_file(DEEP_FOUR)),
    Entry("palette.png", "Pillow", "256 colours", palette(256)),
    Entry("palette4.png", "Pillow", "16 colours, 4 bits", palette(16, bits=4)),
    Entry("palettealpha.png", "Pillow", "palette with transparency", palette(64, alpha=True)),
    Entry("key.png", "Pillow", "grey with one transparent level", transparent),
    Entry("interlaced.png", "libvips", "interlaced", vips_file(scene(), interlace=True)),
    Entry("fields.png", "Pillow", "text, time, gamma, 300 dpi, ICC, EXIF, a private chunk", png_fields),
    Entry("exiv.png", "exiv2", "EXIF, IPTC, XMP", with_exiv2(pillow_file(scene(), "PNG"))),
    Entry("sbit.png", "OpenCV", "12 of 16 bits, declared by sBIT", with_chunk(cv2_file(TWELVE), b"sBIT", b"\x0c")),
    Entry("moving.png", "Pillow", "animated", frames("PNG"), refused="anim"),
    Entry("grey.jpg", "Pillow", "grey", pillow_file(scene(channels=1), "JPEG", quality=90), lossy=True),
    Entry("444.jpg", "Pillow", "4:4:4", pillow_file(scene(), "JPEG", quality=92, subsampling=0), lossy=True),
    Entry("422.jpeg", "Pillow", "4:2:2", pillow_file(scene(), "JPEG", quality=85, subsampling=1), lossy=True),
    Entry("420.jfif", "OpenCV", "4:2:0", cv2_file(scene()), lossy=True),
    Entry("progressive.jpe", "Pillow", "4:2:0, progressive",
          pillow_file(scene(), "JPEG", quality=80, progressive=True), lossy=True),
    Entry("text.jpg", "Pillow", "red on blue, 4:4:4",
          pillow_file(red_on_blue(), "JPEG", quality=90, subsampling=0), lossy=True),
    Entry("text420.jpg", "Pillow", "red on blue, 4:2:0",
          pillow_file(red_on_blue(), "JPEG", quality=90, subsampling=2), lossy=True),
    Entry("restart.jpg", "libvips", "restart markers", vips_file(scene(), Q=88, restart_interval=2), lossy=True),
    Entry("cmyk.jpg", "Pillow", "CMYK", pillow_file(scene(channels=4), "JPEG", "CMYK", quality=92), lossy=True),
    Entry("exiv.jpg", "exiv2", "EXIF, IPTC, XMP, a comment",
          with_exiv2(pillow_file(scene(), "JPEG", quality=90, dpi=(300, 300), icc_profile=icc_profile())), lossy=True),
    Entry("stereo.jpg", "Pillow", "two images (MPO)", mpo_file, lossy=True),
    Entry("strips.tif", "tifffile", "grey, strips", tiff_file(scene(channels=1), rowsperstrip=7)),
    Entry("scan.tif", "tifffile", "16 bits, LZW, predictor, 300 dpi, ICC, XMP, IPTC, private tag", described),
    Entry("tiles.tif", "tifffile", "tiles, deflate",
          tiff_file(scene(), photometric="rgb", tile=(16, 32), compression="zlib")),
    Entry("zstd.tif", "tifffile", "Zstandard", tiff_file(DEEP, photometric="rgb", compression="zstd", predictor=True)),
    Entry("packbits.tif", "tifffile", "PackBits", tiff_file(scene(channels=1), compression="packbits")),
    Entry("jpeg.tif", "tifffile", "JPEG inside",
          tiff_file(scene(), photometric="ycbcr", compression="jpeg", tile=(32, 32)), lossy=True),
    Entry("big.tif", "tifffile", "BigTIFF", tiff_file(DEEP_GREY, bigtiff=True, compression="lzw")),
    Entry("motorola.tif", "tifffile", "big-endian", tiff_file(DEEP, byteorder=">", photometric="rgb")),
    Entry("nir.tif", "tifffile", "red, green, blue, near infrared",
          tiff_file(scene(channels=4), photometric="rgb", extrasamples=["unspecified"])),
    Entry("nir16.tif", "tifffile", "the same, 16 bits",
          tiff_file(DEEP_FOUR, photometric="rgb", extrasamples=["unspecified"])),
    Entry("bands.tif", "tifffile", "six bands, each a plane of the file",
          tiff_file(np.moveaxis(scene(channels=6), 2, 0), photometric="minisblack", planarconfig="separate",
                extrasamples=["unspecified"] * 5)),
    Entry("straight.tif", "tifffile", "unassociated alpha",
          tiff_file(alpha(4, ""), photometric="rgb", extrasamples=["unassalpha"])),
    Entry("premultiplied.tif", "tifffile", "associated alpha",
          tiff_file(alpha(4, "assocalpha"), photometric="rgb", extrasamples=["assocalpha"])),
    Entry("inks.tif", "tifffile", "CMYK", tiff_file(scene(channels=4), photometric="separated")),
    Entry("pages.tif", "tifffile", "three pages of three types", pages),
    Entry("imagej.tif", "tifffile", "ImageJ stack", tiff_file(STACK, imagej=True, metadata=MICRO, resolution=(2, 2))),
    Entry("single.tif", "tifffile", "ImageJ stack, one directory",
          tiff_file(STACK, imagej=True, metadata=MICRO, contiguous=True)),
    Entry("ome.ome.tif", "tifffile", "OME stack",
          tiff_file(STACK, ome=True, metadata={"axes": "ZYX", "PhysicalSizeX": 0.5})),
    Entry("pyramid.tif", "tifffile", "pyramid in sub-directories", pyramid),
    Entry("geo.tif", "tifffile", "GeoTIFF, float, no data", geotiff),
    Entry("double.tif", "tifffile", "64-bit floating point",
          tiff_file(scene(channels=1, largest=1e6, dtype=np.float64))),
    Entry("signed.tif", "tifffile", "16 bits, signed",
          tiff_file(scene(channels=1, largest=900).astype(np.int16) - 400)),
    Entry("counts.tif", "tifffile", "32 bits", tiff_file(scene(channels=1, largest=2**30, dtype=np.uint32))),
    Entry("packed.tif", "tifffile", "12 bits, packed", tiff_file(TWELVE, bitspersample=12)),
    Entry("largest.tif", "tifffile", "MaxSampleValue", tiff_file(TWELVE, extratags=[(281, "H", 1, 4095, True)])),
    Entry("white.tif", "tifffile", "white is zero", tiff_file(scene(channels=1), photometric="miniswhite")),
    Entry("planar.tif", "tifffile", "a plane for each colour",
          tiff_file(np.moveaxis(scene(), 2, 0), photometric="rgb", planarconfig="separate")),
    Entry("palette.tif", "Pillow", "palette", palette(256, format="TIFF")),
    Entry("bilevel.tif", "Pillow", "1 bit", pillow_file(scene(channels=1), "TIFF", "1")),
    Entry("exif.tif", "Pillow", "EXIF and GPS directories", tiff_exif),
    Entry("fax.tif", "Pillow", "1 bit, Group 4",
          pillow_file(scene(channels=1), "TIFF", "1", compression="group4"), refused="CCITT"),
    Entry("lab.tif", "Pillow", "CIE L*a*b*", pillow_file(scene(), "TIFF", "LAB"), refused="L\\*a\\*b"),
    Entry("grey.bmp", "Pillow", "grey", pillow_file(scene(channels=1), "BMP", dpi=(300, 300))),
    Entry("rgb.bmp", "OpenCV", "RGB", cv2_file(scene())),
    Entry("bit.bmp", "Pillow", "1 bit", pillow_file(scene(channels=1), "BMP", "1")),
    Entry("lossy.webp", "Pillow", "lossy, EXIF, XMP, ICC",
          pillow_file(scene(), "WEBP", quality=90, icc_profile=icc_profile(), xmp=XMP), lossy=True),
    Entry("lossless.webp", "Pillow", "lossless, alpha", pillow_file(alpha(4, ""), "WEBP", lossless=True, exact=True)),
    Entry("moving.webp", "Pillow", "animated", frames("WEBP"), refused="anim"),
    Entry("picture.avif", "Pillow", "AVIF", pillow_file(scene(), "AVIF", quality=95, subsampling="4:4:4"), lossy=True),
    Entry("lossless.jp2", "Pillow", "JPEG 2000, reversible", pillow_file(scene(), "JPEG2000")),
    Entry("deep.jp2", "Pillow", "JPEG 2000, 16 bits", pillow_file(DEEP_GREY, "JPEG2000")),
    Entry("phone.heic", "pillow-heif", "HEIC", heic_file, lossy=True),
    Entry("image.npy", "NumPy", "floating point",
          lambda path: np.save(path, scene(channels=1, largest=9, dtype=np.float32))),
    Entry("stack.npy", "NumPy", "stack of 16 bits", lambda path: np.save(path, STACK)),
    Entry("two.npz", "NumPy", "two arrays", npz_file),
)  # fmt: skip
