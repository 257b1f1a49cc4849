"""Pixels, structure and metadata of an image file as public readers see them, to compare two files by."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

Array = NDArray[Any]


def pixels(path: Path) -> list[Array]:
    """All planes of a file, decoded by a public reader other than this package's way."""
    suffix = path.suffix
    if suffix == ".tif":
        with tifffile.TiffFile(path) as file:
            pages = list(file.pages)
            series = file.series[0]
            if len(pages) == 1 and series.size != pages[0].size:  # a stack in one directory
                return [series.asarray()]
            levels = [page for top in pages for page in (top, *(top.pages or ()))]
            return [page.asarray() for page in levels]
    if suffix == ".npy":
        return [np.load(path)]
    if suffix == ".npz":
        with np.load(path) as archive:
            return [archive[name] for name in archive.files]
    if suffix == ".png":
        import imagecodecs

        if path.read_bytes()[24] == 16:
            return [np.asarray(imagecodecs.png_decode(path.read_bytes()))]
    if suffix == ".jp2":
        import imagecodecs

        return [np.asarray(imagecodecs.jpeg2k_decode(path.read_bytes()))]
    if suffix == ".heic":
        import pillow_heif

        return [np.asarray(pillow_heif.open_heif(path))]
    with Image.open(path) as image:
        found = []
        for frame in range(getattr(image, "n_frames", 1)):
            image.seek(frame)
            alpha = "transparency" in image.info or image.mode in ("LA", "PA", "RGBA")
            plain = image.mode in ("L", "RGB", "CMYK", "LA", "RGBA", "1") and "transparency" not in image.info
            found.append(np.asarray(image if plain else image.convert("RGBA" if alpha else "RGB")))
        return found


# Where a TIFF's segments lie, which depends on how well other numbers are compressed.
_PLACES = {273, 279, 324, 325, 330, 34665, 34853}


def fields(path: Path) -> dict[str, Any]:
    """Structure and metadata of a file, as public readers see them."""
    if path.suffix == ".tif":
        return _tiff_fields(path)
    if path.suffix in (".npy", ".npz"):
        return {"arrays": [(array.shape, array.dtype.str) for array in pixels(path)]}
    found = _exiv2_fields(path) if path.suffix != ".heic" else {}
    if path.suffix == ".heic":
        return found
    with Image.open(path) as image:
        found |= {"format": image.format, "mode": image.mode, "size": image.size}
        found |= {"frames": getattr(image, "n_frames", 1), "info": _plain(image.info)}
        if image.format in ("JPEG", "MPO"):
            import PIL.JpegImagePlugin

            found["tables"] = image.quantization  # type: ignore[attr-defined]  # of JPEG alone
            found["subsampling"] = PIL.JpegImagePlugin.get_sampling(image)
    if path.suffix == ".png":
        found["chunks"] = _chunks(path.read_bytes())
    return found


def _plain(info: dict[Any, Any]) -> dict[str, Any]:
    # The offsets of an MPO's pictures depend on their lengths.
    return {str(name): value for name, value in info.items() if name not in ("mp", "mpoffset")}


def _chunks(content: bytes) -> list[tuple[bytes, bytes]]:
    found, place = [], 8
    while place < len(content):
        (length,) = struct.unpack(">I", content[place : place + 4])
        name = content[place + 4 : place + 8]
        if name != b"IDAT":
            found.append((name, content[place + 8 : place + 8 + length]))
        place += 12 + length
    return found


def _exiv2_fields(path: Path) -> dict[str, Any]:
    import exiv2

    try:
        image = exiv2.ImageFactory.open(str(path))
        image.readMetadata()
    except exiv2.Exiv2Error:  # a format that it does not know
        return {}
    found: dict[str, Any] = {"comment": image.comment(), "icc": bytes(image.iccProfile().data())}
    for name, data in (("exif", image.exifData()), ("iptc", image.iptcData()), ("xmp", image.xmpData())):
        found[name] = {datum.key(): datum.toString() for datum in data}
    return found


def _tiff_fields(path: Path) -> dict[str, Any]:
    with tifffile.TiffFile(path) as file:
        found: dict[str, Any] = {"order": file.byteorder, "big": file.is_bigtiff, "pages": []}
        levels = [page for top in file.pages for page in (top, *(top.pages or ()))]
        for page in levels:
            tags = {tag.code: _comparable(tag.value) for tag in page.tags if tag.code not in _PLACES}
            inner = {tag.code: tag.value for tag in page.tags if tag.code in (34665, 34853)}
            found["pages"].append({"tags": tags, "directories": inner})
        found["imagej"] = file.imagej_metadata
        return found


def _comparable(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else value
