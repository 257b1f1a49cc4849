"""Image files to pixels and back, without loss of size, depth, mode or orientation."""

import contextlib
import io
import logging
import math
import os
import stat
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hourglass.persistence import write_whole

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp")
FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP")
JPEG_QUALITY = 95
LARGEST_FILE = 2 << 30

Pixels = NDArray[np.float32]
Raw = NDArray[Any]

_DEEP_GREY = ("I;16", "I;16B", "I;16L", "I;16N")
_ORIENTATION = 0x0112
# What EXIF's orientations 2 to 8 ask of a viewer, and how that is undone.
_TURNS: dict[int, tuple[Callable[[Raw], Raw], Callable[[Raw], Raw]]] = {
    2: (lambda a: a[:, ::-1], lambda a: a[:, ::-1]),
    3: (lambda a: a[::-1, ::-1], lambda a: a[::-1, ::-1]),
    4: (lambda a: a[::-1], lambda a: a[::-1]),
    5: (lambda a: a.swapaxes(0, 1), lambda a: a.swapaxes(0, 1)),
    6: (lambda a: np.rot90(a, -1), lambda a: np.rot90(a, 1)),
    7: (lambda a: a[::-1, ::-1].swapaxes(0, 1), lambda a: a[::-1, ::-1].swapaxes(0, 1)),
    8: (lambda a: np.rot90(a, 1), lambda a: np.rot90(a, -1)),
}


@dataclass(frozen=True)
class Picture:
    """An image file's content.

    Attributes
    ----------
    pixels : ndarray of shape (h, w, 1) or (h, w, 3), float32
        Upright, in [0, 1] (of a floating-point file, as they are); grey or RGB.
    mode : str
        Pillow's, of the file: ``L``, ``RGB``, ``RGBA``, ``P``, ``CMYK``, ``I;16``, …
    depth : {8, 16, 32}
        Bits of a channel in the file; 32 is floating point.
    """

    pixels: Pixels
    mode: str
    depth: int
    format: str
    orientation: int = 1
    alpha: Raw | None = None
    saving: dict[str, Any] = field(default_factory=dict)


def read_picture(path: str | os.PathLike[str]) -> Picture:
    """Read an image file.

    Parameters
    ----------
    path : path-like
        PNG, JPEG, TIFF, BMP or WebP, of 8 or 16 bits, or a floating-point grey TIFF; of up to 178 million pixels,
        for each of which reading takes at most 36 bytes of memory.

    Raises
    ------
    OSError
        When it cannot be read, is damaged or is no image.
    ValueError
        When it is an image of a kind that is not served, such as an animation or 32-bit whole numbers.
    """
    from PIL import Image, UnidentifiedImageError

    path = Path(path)
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):  # a pipe would be waited for
        raise OSError(f"{path} is not a file")
    if status.st_size > LARGEST_FILE:
        raise ValueError(f"{path} has {status.st_size:,} bytes; files of up to {LARGEST_FILE >> 30} GiB are read")
    content = path.read_bytes()
    try:
        with warnings.catch_warnings():
            # Pillow warns from 89 million pixels on, and refuses twice as many, which is where harm begins.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            warnings.filterwarnings("ignore", module="PIL.TiffImagePlugin")
            with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                # A camera's MPO is a JPEG with previews behind it.
                frames = getattr(image, "n_frames", 1)
                if frames > 1 and image.format != "MPO":
                    raise ValueError(f"{path} holds {frames} images; split it, since one file is one image")
                if image.format == "TIFF":
                    _check_tiff(content, path)
                # Pillow cuts 16-bit colour to 8 bits, and takes white for black where a 16-bit TIFF counts from white.
                picture = _deep(content, image, path) if _is_deep(content, image) else _ordinary(image, content)
                if picture.depth == 32 and not np.isfinite(picture.pixels).all():
                    raise ValueError(f"{path} holds NaN or infinite pixels; replace them first")
                return picture
    except UnidentifiedImageError as error:
        raise OSError(f"{path} is not an image, or of a format that is not read") from error
    except Image.DecompressionBombError as error:
        raise ValueError(f"{path} is too large, perhaps a decompression bomb ({error}); divide it first") from error
    except (ValueError, MemoryError):
        raise
    except Exception as error:  # broken files make decoders raise anything
        raise OSError(f"{path} is damaged ({error or type(error).__name__})") from error


def write_picture(path: str | os.PathLike[str], picture: Picture, pixels: Pixels) -> None:
    """Write other pixels in the form of a picture's file, whole or not at all.

    Parameters
    ----------
    path : path-like
        Its folder exists.
    picture : Picture
        As :func:`read_picture` gave it.
    pixels : ndarray of the shape of ``picture.pixels``
        Cut to [0, 1] unless the file is of floating point, and rounded to its depth.

    Raises
    ------
    OSError
        When the file cannot be written.
    """
    if pixels.shape != picture.pixels.shape:
        raise ValueError(f"pixels has shape {pixels.shape}; the picture's are {picture.pixels.shape}")
    raw = _TURNS[picture.orientation][1](pixels) if picture.orientation in _TURNS else pixels
    if picture.depth != 32:
        largest = 2**picture.depth - 1
        raw = np.round(np.clip(raw, 0, 1) * largest).astype(np.uint8 if picture.depth == 8 else np.uint16)
    if picture.alpha is not None:
        raw = np.concatenate([raw, picture.alpha], axis=2)
    encode = _encode_deep_colour if picture.depth == 16 and raw.shape[2] > 1 else _encode
    write_whole(Path(path), encode(raw, picture))


@contextlib.contextmanager
def _tiff(content: bytes) -> Iterator[Any]:
    """A TIFF as tifffile sees it, which logs what is wrong with it; here that is raised or passed over."""
    import tifffile

    log = logging.getLogger("tifffile")
    disabled, log.disabled = log.disabled, True
    try:
        with tifffile.TiffFile(io.BytesIO(content)) as file:
            yield file
    finally:
        log.disabled = disabled


def _check_tiff(content: bytes, path: Path) -> None:
    """Raise ValueError for a TIFF whose numbers Pillow would read as others, OSError where a part of it is missing."""
    try:
        with _tiff(content) as file:
            page = file.pages.first
            kind, bits = int(page.sampleformat), int(page.bitspersample)
            expected, found = math.prod(page.chunked), len(page.dataoffsets)
    except Exception:  # what it cannot read, Pillow may, or names what is wrong
        return
    # Pillow fills with black what no strip holds.
    if found < expected:
        raise OSError(f"{found:,} of {expected:,} strips are there")
    unsigned, real = 1, 3
    if not (kind == unsigned and bits <= 16) and not (kind == real and bits == 32):
        names = {1: "unsigned", 2: "signed", 3: "floating-point"}
        raise ValueError(
            f"{path} holds {names.get(kind, 'unusual')} numbers of {bits} bits; save it with 8 or 16 bits unsigned, "
            "or 32 floating-point"
        )


def _is_deep(content: bytes, image: Any) -> bool:
    """Whether an image has 16 bits and more than one channel, or white at zero: what Pillow does not keep."""
    if image.format == "TIFF":
        bits, white_is_zero = image.tag_v2.get(258, (1,)), image.tag_v2.get(262) == 0
        return max(bits if isinstance(bits, tuple) else (bits,)) == 16 and (
            image.mode not in _DEEP_GREY or white_is_zero
        )
    return image.mode not in _DEEP_GREY and any(";16" in str(tile[3]) for tile in image.tile)


def _is_lossless(content: bytes) -> bool:
    """Whether a WebP file's picture is stored in the lossless form: the first of its chunks that holds pixels."""
    place = 12
    while place + 8 <= len(content):
        name, length = struct.unpack("<4sI", content[place : place + 8])
        if name in (b"VP8 ", b"VP8L"):
            return bool(name == b"VP8L")
        place += 8 + length + length % 2
    return False


def _ordinary(image: Any, content: bytes) -> Picture:
    image.load()
    mode, depth = image.mode, 8
    raw: Raw
    format_ = "JPEG" if image.format == "MPO" else str(image.format)
    exif = image.getexif()
    saving = {name: image.info[name] for name in ("icc_profile", "dpi", "exif") if image.info.get(name)}
    if image.format == "TIFF" and image.info.get("compression"):
        saving["compression"] = image.info["compression"]
    if image.format == "WEBP" and _is_lossless(content):
        saving["lossless"] = True
    if mode in _DEEP_GREY or mode == "I":
        depth = 16
        raw = np.asarray(image).astype(np.uint16)[..., None]
    elif mode == "F":
        depth = 32
        raw = np.asarray(image, dtype=np.float32)[..., None]
    else:
        raw = np.asarray(image.convert(_working_mode(image)))
        raw = raw[..., None] if raw.ndim == 2 else raw
        if mode in ("L", "RGB") and raw.shape[2] in (2, 4):  # one colour was declared transparent
            mode = {2: "LA", 4: "RGBA"}[raw.shape[2]]
    return _picture(raw, mode, depth, format_, exif.get(_ORIENTATION, 1), saving)


def _working_mode(image: Any) -> str:
    """The plainest mode that holds what the file holds."""
    grey = image.mode in ("1", "L", "LA", "La")
    alpha = image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info
    if grey:
        return "LA" if alpha else "L"
    return "RGBA" if alpha else "RGB"


def _deep(content: bytes, image: Any, path: Path) -> Picture:
    from imagecodecs import png_decode

    exif = image.getexif()
    try:
        raw = png_decode(content) if image.format == "PNG" else _first_page(content, image)
    except (ValueError, RuntimeError) as error:
        raise OSError(str(error)) from error
    raw = np.asarray(raw)
    if image.format == "TIFF":
        raw = _tiff_channels(raw, image, path)
    if raw.dtype != np.uint16 or raw.ndim != 3 or raw.shape[2] not in (1, 2, 3, 4):
        raise ValueError(f"{path} holds {raw.dtype} pixels of shape {raw.shape}, which is not served")
    mode = {1: "I;16", 2: "LA", 3: "RGB", 4: "RGBA"}[raw.shape[2]]
    saving = {name: image.info[name] for name in ("icc_profile", "exif") if image.info.get(name)}
    return _picture(raw, mode, 16, str(image.format), exif.get(_ORIENTATION, 1), saving)


def _first_page(content: bytes, image: Any) -> Raw:
    """Pixels of a TIFF as tifffile reads them, which trusts more tags than Pillow has checked."""
    with _tiff(content) as file:
        page = file.pages.first
        if page.imagedepth != 1 or (page.imagewidth, page.imagelength) != image.size or page.samplesperpixel > 4:
            raise ValueError(
                f"its tags promise {page.imagedepth} × {page.imagelength} × {page.imagewidth} × {page.samplesperpixel}"
            )
        return np.asarray(page.asarray())


def _tiff_channels(raw: Raw, image: Any, path: Path) -> Raw:
    """16-bit pixels ``(h, w, c)`` of a TIFF, black at zero."""
    white_is_zero, black_is_zero, rgb = 0, 1, 2
    photometric, planar = image.tag_v2.get(262), image.tag_v2.get(284) == 2
    if photometric not in (white_is_zero, black_is_zero, rgb):
        raise ValueError(f"{path} has 16 bits and colours that are neither grey nor RGB; convert it to RGB first")
    if raw.ndim == 2:
        raw = raw[..., None]
    elif planar:
        raw = np.moveaxis(raw, 0, -1)
    if photometric == white_is_zero:
        raw = raw.copy()
        raw[..., 0] = np.uint16(65535) - raw[..., 0]
    return raw


def _picture(raw: Raw, mode: str, depth: int, format_: str, orientation: int, saving: dict[str, Any]) -> Picture:
    alpha = None
    if raw.shape[2] in (2, 4):
        raw, alpha = raw[..., :-1], raw[..., -1:]
    pixels = raw.astype(np.float32)
    if depth != 32:
        pixels /= np.float32(2**depth - 1)
    if orientation in _TURNS:
        pixels = _TURNS[orientation][0](pixels)
    return Picture(np.ascontiguousarray(pixels), mode, depth, format_, orientation, alpha, saving)


def _encode(raw: Raw, picture: Picture) -> bytes:
    from PIL import Image

    image = Image.fromarray(raw[..., 0] if raw.shape[2] == 1 else raw)
    if picture.mode == "P":
        image = _with_palette(image, raw)
    elif picture.depth == 8 and image.mode != picture.mode:
        image = image.convert(picture.mode, dither=Image.Dither.NONE)
    options = dict(picture.saving)
    if picture.format in ("JPEG", "WEBP"):
        options["quality"] = JPEG_QUALITY
    if picture.format == "TIFF" and options.get("compression") == "jpeg":
        options["compression"] = "tiff_deflate"  # one loss is enough
    out = io.BytesIO()
    image.save(out, picture.format, **options)
    return out.getvalue()


def _with_palette(image: Any, raw: Raw) -> Any:
    """An image of at most 256 colours: exact where it has no more, which greys never have."""
    from PIL import Image

    colours, places = np.unique(raw.reshape(-1, raw.shape[2]), axis=0, return_inverse=True)
    if len(colours) > 256:
        # The old palette lacks the colours between. Only the octree serves transparency.
        octree = raw.shape[2] == 4
        return image.quantize(256, method=Image.Quantize.FASTOCTREE if octree else Image.Quantize.MEDIANCUT)
    exact = Image.fromarray(places.reshape(raw.shape[:2]).astype(np.uint8), "L")
    exact = Image.frombytes("P", exact.size, exact.tobytes())
    exact.putpalette(colours.tobytes(), "RGBA" if raw.shape[2] == 4 else "RGB")
    return exact


def _encode_deep_colour(raw: Raw, picture: Picture) -> bytes:
    import tifffile
    from imagecodecs import png_encode

    raw = np.ascontiguousarray(raw)
    if picture.format == "PNG":
        return _with_metadata(bytes(png_encode(raw)), picture.saving)
    out = io.BytesIO()
    extra = ["unassalpha"] if raw.shape[2] in (2, 4) else None
    tifffile.imwrite(
        out,
        raw,
        photometric="rgb" if raw.shape[2] > 2 else "minisblack",
        extrasamples=extra,
        extratags=[(_ORIENTATION, 3, 1, picture.orientation, True)] if picture.orientation in _TURNS else (),
        iccprofile=picture.saving.get("icc_profile"),
    )
    return out.getvalue()


def _with_metadata(png: bytes, saving: dict[str, Any]) -> bytes:
    """A PNG with colour profile and EXIF, which its encoder leaves out, behind its first chunk."""
    chunks = b""
    if "icc_profile" in saving:
        chunks += _chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(saving["icc_profile"]))
    if "exif" in saving:
        chunks += _chunk(b"eXIf", saving["exif"].removeprefix(b"Exif\0\0"))
    end = 8 + 12 + 13  # signature, frame of the chunk, header
    return png[:end] + chunks + png[end:]


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
