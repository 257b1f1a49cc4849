"""Image files of every structure and field, made by public writers: what `hourglass denoise` gives back of each.

Used by tests/test_corpus.py, which sends them through a model that changes nothing, and by the page docs/formats.md.
"""

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

Array = NDArray[Any]


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


def scene(height: int = 48, width: int = 64, channels: int = 3, largest: float = 255, dtype: Any = np.uint8) -> Array:
    """A picture with gradients, edges and a little texture, of ``(h, w, c)`` or ``(h, w)`` for one channel."""
    y, x, c = np.mgrid[:height, :width, :channels].astype(np.float64)
    values = 0.5 + 0.3 * np.sin(x / 9 + c) * np.cos(y / 7) + 0.15 * ((x + y) % 32 > 16) * (c != 1)
    values += np.random.default_rng(0).normal(0, 0.01, values.shape)
    array = np.clip(values, 0, 1) * largest
    array = array if np.dtype(dtype).kind == "f" else np.rint(array)
    return np.asarray(array[..., 0] if channels == 1 else array).astype(dtype)


def red_on_blue(height: int = 64, width: int = 96) -> Array:
    """Red bars on blue, as of coloured writing."""
    picture = np.zeros((height, width, 3), np.uint8)
    picture[...] = (20, 30, 200)
    picture[12:-12, 8:-8:12] = picture[12:-12, 9:-8:12] = picture[12:-12, 10:-8:12] = (220, 20, 30)
    return picture


def _icc() -> bytes:
    from PIL import ImageCms

    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def _pillow(array: Array, kind: str, mode: str | None = None, **options: Any) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        image = Image.fromarray(array)
        image = image if mode is None else image.convert(mode)
        image.save(path, kind, **options)

    return make


def _tiff(array: Array, **options: Any) -> Callable[[Path], None]:
    file_options = {name: options.pop(name) for name in ("bigtiff", "byteorder", "imagej", "ome") if name in options}
    options.setdefault("metadata", None if not file_options.keys() & {"imagej", "ome"} else {})

    def make(path: Path) -> None:
        with tifffile.TiffWriter(path, **file_options) as file:
            file.write(array, **options)

    return make


def _cv2(array: Array, *parameters: int) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        import cv2

        if not cv2.imwrite(str(path), array, list(parameters)):
            raise OSError(f"OpenCV cannot write {path}")

    return make


def _vips(array: Array, **options: Any) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        import pyvips

        pyvips.Image.new_from_array(array).write_to_file(str(path), **options)

    return make


def _exiv2(make: Callable[[Path], None]) -> Callable[[Path], None]:
    """The same file with EXIF, IPTC, XMP and a comment, as exiv2 writes them, wherever the format has a place."""

    def with_fields(path: Path) -> None:
        import exiv2

        make(path)
        image = exiv2.ImageFactory.open(str(path))
        image.readMetadata()
        exif, iptc, xmp = image.exifData(), image.iptcData(), image.xmpData()
        exif["Exif.Image.Artist"] = "Ada"
        exif["Exif.Image.ImageDescription"] = "Scene 12"
        exif["Exif.Photo.DateTimeOriginal"] = "2024:05:06 07:08:09"
        exif["Exif.GPSInfo.GPSLatitude"] = "52/1 31/1 12/1"
        exif["Exif.GPSInfo.GPSLatitudeRef"] = "N"
        iptc["Iptc.Application2.Caption"] = "A caption"
        iptc["Iptc.Application2.Keywords"] = "lake"
        xmp["Xmp.dc.creator"] = "Ada"
        xmp["Xmp.xmp.Rating"] = "4"
        image.setExifData(exif)
        for set_, value in ((image.setIptcData, iptc), (image.setXmpData, xmp), (image.setComment, "made by hand")):
            try:
                set_(value)
            except exiv2.Exiv2Error:  # the format has no place for it
                continue
        image.writeMetadata()

    return with_fields


def _png_fields(path: Path) -> None:
    text = PngImagePlugin.PngInfo()
    text.add_text("Title", "Scene 12")
    text.add_text("Comment", "squeezed", zip=True)
    text.add_itxt("Author", "Ädä", lang="de")
    text.add(b"gAMA", struct.pack(">I", 45455))
    text.add(b"tIME", struct.pack(">HBBBBB", 2024, 5, 6, 7, 8, 9))
    text.add(b"prVt", b"private", after_idat=True)
    exif = Image.Exif()
    exif[0x010E] = "from a camera"
    Image.fromarray(scene()).save(path, "PNG", pnginfo=text, dpi=(300, 300), icc_profile=_icc(), exif=exif)


def chunk(name: bytes, body: bytes) -> bytes:
    """A PNG chunk."""
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def grey_png(array: Array, bits: int) -> bytes:
    """A grey PNG of 1, 2 or 4 bits."""
    packed = np.packbits(
        np.unpackbits(array[..., None].astype(np.uint8), axis=2)[..., 8 - bits :].reshape(len(array), -1), axis=1
    )
    rows = b"".join(b"\0" + row.tobytes() for row in packed)
    header = struct.pack(">IIBBBBB", array.shape[1], array.shape[0], bits, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def _grey_png(bits: int) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(grey_png(scene(channels=1, largest=2**bits - 1), bits)) and None


def _with_chunk(make: Callable[[Path], None], name: bytes, body: bytes) -> Callable[[Path], None]:
    """A PNG with one chunk more, behind its header."""

    def with_chunk(path: Path) -> None:
        make(path)
        content = path.read_bytes()
        path.write_bytes(content[:33] + chunk(name, body) + content[33:])

    return with_chunk


def _frames(kind: str, **options: Any) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        frames = [Image.fromarray(np.roll(scene(), 5 * i, axis=0)) for i in range(3)]
        frames[0].save(path, kind, save_all=True, append_images=frames[1:], **options)

    return make


def _pages(path: Path) -> None:
    with tifffile.TiffWriter(path) as file:
        for i, (dtype, channels) in enumerate([("uint8", 3), ("uint16", 1), ("float32", 1)]):
            largest = {"uint8": 255, "uint16": 4095, "float32": 1}[dtype]
            array = scene(40 + i, 50 - i, channels, largest, dtype)
            file.write(
                array, photometric="rgb" if channels == 3 else "minisblack", description=f"page {i}", metadata=None
            )


def _pyramid(path: Path) -> None:
    array = scene(128, 160)
    with tifffile.TiffWriter(path) as file:
        file.write(array, photometric="rgb", tile=(32, 32), compression="zlib", subifds=2, metadata=None)
        for i in (2, 4):
            file.write(
                array[::i, ::i], photometric="rgb", tile=(32, 32), compression="zlib", subfiletype=1, metadata=None
            )


XMP = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>"
GEO_TAGS = [
    (33550, "d", 3, (0.5, 0.5, 0.0), True),
    (33922, "d", 6, (0.0, 0.0, 0.0, 440720.0, 3751320.0, 0.0), True),
    (34735, "H", 16, (1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, 32611), True),
    (34737, "s", 0, "UTM zone 11N|", True),
    (42113, "s", 0, "-9999", True),
]


def _geotiff(path: Path) -> None:
    array = scene(channels=1, largest=300, dtype=np.float32)
    array[10:14, 20:30] = -9999
    tifffile.imwrite(path, array, tile=(16, 16), compression="zlib", predictor=True, extratags=GEO_TAGS, metadata=None)


def _described(path: Path) -> None:
    tags = [
        (315, "s", 0, "Ada", True), (33432, "s", 0, "nobody's", True), (316, "s", 0, "scanner 7", True),
        (700, "B", 0, XMP, True), (33723, "B", 0, b"\x1c\x02\x78\0\4lake", True),
        (50000, "H", 2, (7, 9), True),
    ]  # fmt: skip
    tifffile.imwrite(
        path, scene(channels=1, largest=65535, dtype=np.uint16), compression="lzw", predictor=True,
        resolution=(300, 300), resolutionunit="INCH", description="a scan", software="ScanIt 3",
        datetime="2024:05:06 07:08:09", iccprofile=_icc(), extratags=tags, metadata=None,
    )  # fmt: skip


def _tiff_exif(path: Path) -> None:
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    exif.get_ifd(0x8769)[0x829A] = 0.01
    exif.get_ifd(0x8825)[1] = "N"
    exif.get_ifd(0x8825)[2] = (52.0, 31.0, 12.0)
    Image.fromarray(scene()).save(path, "TIFF", exif=exif, compression="tiff_adobe_deflate")


def _mpo(path: Path) -> None:
    frames = [Image.fromarray(np.roll(scene(), 5 * i, axis=1)) for i in range(2)]
    frames[0].save(path, "MPO", save_all=True, append_images=frames[1:], quality=92)


def _heic(path: Path) -> None:
    import pillow_heif

    pillow_heif.from_pillow(Image.fromarray(scene())).save(path, quality=95)


def _npz(path: Path) -> None:
    np.savez_compressed(path, left=scene(channels=1), right=scene(channels=1, largest=1, dtype=np.float32))


def _alpha(channels: int, kind: str) -> Array:
    array = scene(channels=channels)
    array[..., -1] = np.where(array[..., -1] > 110, 255, array[..., -1])
    if kind == "assocalpha":
        array[..., :-1] = np.rint(array[..., :-1] * (array[..., -1:] / 255))
    return array


def _transparent(path: Path) -> None:
    array = scene(channels=1)
    array[5:9, 5:20] = 77
    Image.fromarray(array).save(path, "PNG", transparency=77)


def _palette(colours: int, alpha: bool = False, **options: Any) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        image = Image.fromarray(scene()).quantize(colours)
        image.save(path, **({"transparency": bytes(range(0, 2 * colours, 2))} if alpha else {}), **options)

    return make


DEEP = scene(largest=65535, dtype=np.uint16)
DEEP_GREY = scene(channels=1, largest=65535, dtype=np.uint16)
TWELVE = scene(channels=1, largest=4095, dtype=np.uint16)
STACK = np.stack([np.roll(TWELVE, i, axis=0) for i in range(4)])
MICRO = {"spacing": 0.5, "unit": "um", "axes": "ZYX", "Info": "objective 20x"}

CORPUS = (
    Entry("bit1.png", "zlib", "grey, 1 bit", _grey_png(1)),
    Entry("bit2.png", "zlib", "grey, 2 bits", _grey_png(2)),
    Entry("bit4.png", "zlib", "grey, 4 bits", _grey_png(4)),
    Entry("grey.png", "Pillow", "grey, 8 bits", _pillow(scene(channels=1), "PNG")),
    Entry("grey16.png", "OpenCV", "grey, 16 bits", _cv2(DEEP_GREY)),
    Entry("greyalpha.png", "Pillow", "grey and alpha", _pillow(scene(channels=2), "PNG")),
    Entry("rgb.png", "OpenCV", "RGB, 8 bits", _cv2(scene())),
    Entry("rgba.png", "OpenCV", "RGB and alpha", _cv2(_alpha(4, ""))),
    Entry("rgb16.png", "OpenCV", "RGB, 16 bits", _cv2(DEEP)),
    Entry("rgba16.png", "OpenCV", "RGB and alpha, 16 bits", _cv2(scene(channels=4, largest=65535, dtype=np.uint16))),
    Entry("palette.png", "Pillow", "256 colours", _palette(256)),
    Entry("palette4.png", "Pillow", "16 colours, 4 bits", _palette(16, bits=4)),
    Entry("palettealpha.png", "Pillow", "palette with transparency", _palette(64, alpha=True)),
    Entry("key.png", "Pillow", "grey with one transparent level", _transparent),
    Entry("interlaced.png", "libvips", "interlaced", _vips(scene(), interlace=True)),
    Entry("fields.png", "Pillow", "text, time, gamma, 300 dpi, ICC, EXIF, a private chunk", _png_fields),
    Entry("exiv.png", "exiv2", "EXIF, IPTC, XMP", _exiv2(_pillow(scene(), "PNG"))),
    Entry("sbit.png", "OpenCV", "12 of 16 bits, as sBIT says", _with_chunk(_cv2(TWELVE), b"sBIT", b"\x0c")),
    Entry("moving.png", "Pillow", "animated", _frames("PNG"), refused="anim"),
    Entry("grey.jpg", "Pillow", "grey", _pillow(scene(channels=1), "JPEG", quality=90), lossy=True),
    Entry("444.jpg", "Pillow", "4:4:4", _pillow(scene(), "JPEG", quality=92, subsampling=0), lossy=True),
    Entry("422.jpeg", "Pillow", "4:2:2", _pillow(scene(), "JPEG", quality=85, subsampling=1), lossy=True),
    Entry("420.jfif", "OpenCV", "4:2:0", _cv2(scene()), lossy=True),
    Entry("progressive.jpe", "Pillow", "4:2:0, progressive",
          _pillow(scene(), "JPEG", quality=80, progressive=True), lossy=True),
    Entry("text.jpg", "Pillow", "red on blue, 4:4:4", 
          _pillow(red_on_blue(), "JPEG", quality=90, subsampling=0), lossy=True),
    Entry("text420.jpg", "Pillow", "red on blue, 4:2:0",
          _pillow(red_on_blue(), "JPEG", quality=90, subsampling=2), lossy=True),
    Entry("restart.jpg", "libvips", "restart markers", _vips(scene(), Q=88, restart_interval=2), lossy=True),
    Entry("cmyk.jpg", "Pillow", "CMYK", _pillow(scene(channels=4), "JPEG", "CMYK", quality=92), lossy=True),
    Entry("exiv.jpg", "exiv2", "EXIF, IPTC, XMP, a comment",
          _exiv2(_pillow(scene(), "JPEG", quality=90, dpi=(300, 300), icc_profile=_icc())), lossy=True),
    Entry("stereo.jpg", "Pillow", "two pictures (MPO)", _mpo, lossy=True),
    Entry("strips.tif", "tifffile", "grey, strips", _tiff(scene(channels=1), rowsperstrip=7)),
    Entry("scan.tif", "tifffile", "16 bits, LZW, predictor, 300 dpi, ICC, XMP, IPTC, private tag", _described),
    Entry("tiles.tif", "tifffile", "tiles, deflate",
          _tiff(scene(), photometric="rgb", tile=(16, 32), compression="zlib")),
    Entry("zstd.tif", "tifffile", "Zstandard", _tiff(DEEP, photometric="rgb", compression="zstd", predictor=True)),
    Entry("packbits.tif", "tifffile", "PackBits", _tiff(scene(channels=1), compression="packbits")),
    Entry("jpeg.tif", "tifffile", "JPEG inside",
          _tiff(scene(), photometric="ycbcr", compression="jpeg", tile=(32, 32)), lossy=True),
    Entry("big.tif", "tifffile", "BigTIFF", _tiff(DEEP_GREY, bigtiff=True, compression="lzw")),
    Entry("motorola.tif", "tifffile", "big-endian", _tiff(DEEP, byteorder=">", photometric="rgb")),
    Entry("nir.tif", "tifffile", "red, green, blue, near infrared",
          _tiff(scene(channels=4), photometric="rgb", extrasamples=["unspecified"])),
    Entry("nir16.tif", "tifffile", "the same, 16 bits",
          _tiff(scene(channels=4, largest=65535, dtype=np.uint16), photometric="rgb", extrasamples=["unspecified"])),
    Entry("bands.tif", "tifffile", "six bands, each a plane of the file",
          _tiff(np.moveaxis(scene(channels=6), 2, 0), photometric="minisblack", planarconfig="separate",
                extrasamples=["unspecified"] * 5)),
    Entry("straight.tif", "tifffile", "unassociated alpha",
          _tiff(_alpha(4, ""), photometric="rgb", extrasamples=["unassalpha"])),
    Entry("premultiplied.tif", "tifffile", "associated alpha",
          _tiff(_alpha(4, "assocalpha"), photometric="rgb", extrasamples=["assocalpha"])),
    Entry("inks.tif", "tifffile", "CMYK", _tiff(scene(channels=4), photometric="separated")),
    Entry("pages.tif", "tifffile", "three pages of three types", _pages),
    Entry("imagej.tif", "tifffile", "ImageJ stack", _tiff(STACK, imagej=True, metadata=MICRO, resolution=(2, 2))),
    Entry("single.tif", "tifffile", "ImageJ stack, one directory",
          _tiff(STACK, imagej=True, metadata=MICRO, contiguous=True)),
    Entry("ome.ome.tif", "tifffile", "OME stack",
          _tiff(STACK, ome=True, metadata={"axes": "ZYX", "PhysicalSizeX": 0.5})),
    Entry("pyramid.tif", "tifffile", "pyramid in sub-directories", _pyramid),
    Entry("geo.tif", "tifffile", "GeoTIFF, float, no data", _geotiff),
    Entry("double.tif", "tifffile", "64-bit floating point", _tiff(scene(channels=1, largest=1e6, dtype=np.float64))),
    Entry("signed.tif", "tifffile", "16 bits, signed", _tiff(scene(channels=1, largest=900).astype(np.int16) - 400)),
    Entry("counts.tif", "tifffile", "32 bits", _tiff(scene(channels=1, largest=2**30, dtype=np.uint32))),
    Entry("packed.tif", "tifffile", "12 bits, packed", _tiff(TWELVE, bitspersample=12)),
    Entry("largest.tif", "tifffile", "MaxSampleValue", _tiff(TWELVE, extratags=[(281, "H", 1, 4095, True)])),
    Entry("white.tif", "tifffile", "white is zero", _tiff(scene(channels=1), photometric="miniswhite")),
    Entry("planar.tif", "tifffile", "a plane for each colour",
          _tiff(np.moveaxis(scene(), 2, 0), photometric="rgb", planarconfig="separate")),
    Entry("palette.tif", "Pillow", "palette", _palette(256, format="TIFF")),
    Entry("bilevel.tif", "Pillow", "1 bit", _pillow(scene(channels=1), "TIFF", "1")),
    Entry("exif.tif", "Pillow", "EXIF and GPS directories", _tiff_exif),
    Entry("fax.tif", "Pillow", "1 bit, Group 4",
          _pillow(scene(channels=1), "TIFF", "1", compression="group4"), refused="CCITT"),
    Entry("lab.tif", "Pillow", "CIE L*a*b*", _pillow(scene(), "TIFF", "LAB"), refused="L\\*a\\*b"),
    Entry("grey.bmp", "Pillow", "grey", _pillow(scene(channels=1), "BMP", dpi=(300, 300))),
    Entry("rgb.bmp", "OpenCV", "RGB", _cv2(scene())),
    Entry("bit.bmp", "Pillow", "1 bit", _pillow(scene(channels=1), "BMP", "1")),
    Entry("lossy.webp", "Pillow", "lossy, EXIF, XMP, ICC",
          _pillow(scene(), "WEBP", quality=90, icc_profile=_icc(), xmp=XMP), lossy=True),
    Entry("lossless.webp", "Pillow", "lossless, alpha", _pillow(_alpha(4, ""), "WEBP", lossless=True, exact=True)),
    Entry("moving.webp", "Pillow", "animated", _frames("WEBP"), refused="anim"),
    Entry("picture.avif", "Pillow", "AVIF", _pillow(scene(), "AVIF", quality=95, subsampling="4:4:4"), lossy=True),
    Entry("lossless.jp2", "Pillow", "JPEG 2000, reversible", _pillow(scene(), "JPEG2000")),
    Entry("deep.jp2", "Pillow", "JPEG 2000, 16 bits", _pillow(DEEP_GREY, "JPEG2000")),
    Entry("phone.heic", "pillow-heif", "HEIC", _heic, lossy=True),
    Entry("image.npy", "NumPy", "floating point",
          lambda path: np.save(path, scene(channels=1, largest=9, dtype=np.float32))),
    Entry("stack.npy", "NumPy", "stack of 16 bits", lambda path: np.save(path, STACK)),
    Entry("two.npz", "NumPy", "two arrays", _npz),
)  # fmt: skip
