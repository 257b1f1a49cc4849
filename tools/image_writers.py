"""Image files of every structure and field, made by public writers."""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

Array = NDArray[Any]


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


def icc_profile() -> bytes:
    """Colour profile of sRGB."""
    from PIL import ImageCms

    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def pillow_file(array: Array, kind: str, mode: str | None = None, **options: Any) -> Callable[[Path], None]:
    """A writer by Pillow."""

    def make(path: Path) -> None:
        image = Image.fromarray(array)
        image = image if mode is None else image.convert(mode)
        image.save(path, kind, **options)

    return make


def tiff_file(array: Array, **options: Any) -> Callable[[Path], None]:
    """A writer by tifffile, with nothing but the tags of the layout and what is given."""
    file_options = {name: options.pop(name) for name in ("bigtiff", "byteorder", "imagej", "ome") if name in options}
    options.setdefault("metadata", None if not file_options.keys() & {"imagej", "ome"} else {})

    def make(path: Path) -> None:
        with tifffile.TiffWriter(path, **file_options) as file:
            file.write(array, **options)

    return make


def cv2_file(array: Array, *parameters: int) -> Callable[[Path], None]:
    """A writer by OpenCV."""

    def make(path: Path) -> None:
        import cv2

        kind = ".jpg" if path.suffix == ".jfif" else path.suffix  # by whose names it chooses the format
        path.write_bytes(cv2.imencode(kind, array, list(parameters))[1].tobytes())

    return make


def vips_file(array: Array, **options: Any) -> Callable[[Path], None]:
    """A writer by libvips."""

    def make(path: Path) -> None:
        import pyvips

        pyvips.Image.new_from_array(array).write_to_file(str(path), **options)

    return make


def with_exiv2(make: Callable[[Path], None]) -> Callable[[Path], None]:
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


def png_fields(path: Path) -> None:
    """A PNG with every kind of field."""
    text = PngImagePlugin.PngInfo()
    text.add_text("Title", "Scene 12")
    text.add_text("Comment", "squeezed", zip=True)
    text.add_itxt("Author", "Ädä", lang="de")
    text.add(b"gAMA", struct.pack(">I", 45455))
    text.add(b"tIME", struct.pack(">HBBBBB", 2024, 5, 6, 7, 8, 9))
    text.add(b"prVt", b"private", after_idat=True)
    exif = Image.Exif()
    exif[0x010E] = "from a camera"
    Image.fromarray(scene()).save(path, "PNG", pnginfo=text, dpi=(300, 300), icc_profile=icc_profile(), exif=exif)


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


def grey_bits(bits: int) -> Callable[[Path], None]:
    """A writer of grey PNG files of few bits."""

    def make(path: Path) -> None:
        path.write_bytes(grey_png(scene(channels=1, largest=2**bits - 1), bits))

    return make


def with_chunk(make: Callable[[Path], None], name: bytes, body: bytes) -> Callable[[Path], None]:
    """A PNG with one chunk more, behind its header."""

    def with_chunk(path: Path) -> None:
        make(path)
        content = path.read_bytes()
        path.write_bytes(content[:33] + chunk(name, body) + content[33:])

    return with_chunk


def frames(kind: str, **options: Any) -> Callable[[Path], None]:
    """A writer of three frames."""

    def make(path: Path) -> None:
        frames = [Image.fromarray(np.roll(scene(), 5 * i, axis=0)) for i in range(3)]
        frames[0].save(path, kind, save_all=True, append_images=frames[1:], **options)

    return make


def pages(path: Path) -> None:
    """A TIFF of three pages of different size and type."""
    with tifffile.TiffWriter(path) as file:
        for i, (dtype, channels) in enumerate([("uint8", 3), ("uint16", 1), ("float32", 1)]):
            largest = {"uint8": 255, "uint16": 4095, "float32": 1}[dtype]
            array = scene(40 + i, 50 - i, channels, largest, dtype)
            file.write(
                array, photometric="rgb" if channels == 3 else "minisblack", description=f"page {i}", metadata=None
            )


def pyramid(path: Path) -> None:
    """A tiled TIFF with two smaller copies in sub-directories."""
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


def geotiff(path: Path) -> None:
    """A GeoTIFF of floating-point numbers with a hole."""
    array = scene(channels=1, largest=300, dtype=np.float32)
    array[10:14, 20:30] = -9999
    tifffile.imwrite(path, array, tile=(16, 16), compression="zlib", predictor=True, extratags=GEO_TAGS, metadata=None)


def described(path: Path) -> None:
    """A TIFF with the tags that scanners write."""
    tags = [
        (315, "s", 0, "Ada", True), (33432, "s", 0, "nobody's", True), (316, "s", 0, "scanner 7", True),
        (700, "B", 0, XMP, True), (33723, "B", 0, b"\x1c\x02\x78\0\4lake", True),
        (50000, "H", 2, (7, 9), True),
    ]  # fmt: skip
    tifffile.imwrite(
        path, scene(channels=1, largest=65535, dtype=np.uint16), compression="lzw", predictor=True,
        resolution=(300, 300), resolutionunit="INCH", description="a scan", software="ScanIt 3",
        datetime="2024:05:06 07:08:09", iccprofile=icc_profile(), extratags=tags, metadata=None,
    )  # fmt: skip


def tiff_exif(path: Path) -> None:
    """A TIFF with directories for EXIF and GPS."""
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    exif.get_ifd(0x8769)[0x829A] = 0.01
    exif.get_ifd(0x8825)[1] = "N"
    exif.get_ifd(0x8825)[2] = (52.0, 31.0, 12.0)
    Image.fromarray(scene()).save(path, "TIFF", exif=exif, compression="tiff_adobe_deflate")


def mpo_file(path: Path) -> None:
    """A JPEG of two pictures."""
    frames = [Image.fromarray(np.roll(scene(), 5 * i, axis=1)) for i in range(2)]
    frames[0].save(path, "MPO", save_all=True, append_images=frames[1:], quality=92)


def heic_file(path: Path) -> None:
    """An HEIC file."""
    import pillow_heif

    pillow_heif.from_pillow(Image.fromarray(scene())).save(path, quality=95)


def npz_file(path: Path) -> None:
    """An archive of two arrays."""
    np.savez_compressed(path, left=scene(channels=1), right=scene(channels=1, largest=1, dtype=np.float32))


def alpha(channels: int, kind: str) -> Array:
    """A picture with alpha in the last band, multiplied into the colours if it is associated."""
    array = scene(channels=channels)
    array[..., -1] = np.where(array[..., -1] > 110, 255, array[..., -1])
    if kind == "assocalpha":
        array[..., :-1] = np.rint(array[..., :-1] * (array[..., -1:] / 255))
    return array


def transparent(path: Path) -> None:
    """A grey PNG of which one level is transparent."""
    array = scene(channels=1)
    array[5:9, 5:20] = 77
    Image.fromarray(array).save(path, "PNG", transparency=77)


def palette(colours: int, alpha: bool = False, **options: Any) -> Callable[[Path], None]:
    """A writer of pictures with a palette."""

    def make(path: Path) -> None:
        image = Image.fromarray(scene()).quantize(colours)
        if alpha:
            options["transparency"] = bytes(range(0, 2 * colours, 2))
        image.save(path, **options)

    return make
