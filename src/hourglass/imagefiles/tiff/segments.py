"""Strips and tiles of a TIFF file: numbers to bytes and back, by the compression and predictor of the file."""

import io
import math
import struct
from typing import Any, Literal

import numpy as np

from hourglass.imagefiles.image import Raw
from hourglass.imagefiles.raster import jpegs
from hourglass.imagefiles.raster.containers import joined
from hourglass.imagefiles.raster.frames import read_frame
from hourglass.imagefiles.reading import UnservedError

_NONE, _LZW, _JPEG, _DEFLATE, _PACKBITS, _LERC, _LERC_PARAMETERS = 1, 5, 7, 8, 32773, 34887, 50674
_BYTES = (_NONE, _LZW, _DEFLATE, 32946, 50013, _PACKBITS, 34925, 50000, 34926)
_PNG, _WEBP, _JPEG2000 = (34933,), (50001, 34927), (33003, 33004, 33005, 34712)
_IMAGES = (*_PNG, *_WEBP, *_JPEG2000, _LERC)
_NAMES = {
    2: "CCITT run lengths", 3: "CCITT fax (group 3)", 4: "CCITT fax (group 4)", 6: "JPEG of the old style",
    22610: "JPEG XR", 34934: "JPEG XR", 50002: "JPEG XL", 52546: "JPEG XL", 34892: "lossy JPEG of DNG",
    48124: "Jetraw", 32809: "ThunderScan",
    34676: "SGI LogLuv", 34677: "SGI LogLuv", 34661: "JBIG", 65000: "EER", 65001: "EER", 65002: "EER",
}  # fmt: skip
_PREDICTORS = {1: "", 2: "iu", 3: "f"}
# A lossy compression of unknown quality is replaced by the lossless one of the same format below this PSNR in dB.
_FAITHFUL = 45.0
# PSNR in dB that JPEG 2000 aims at; more than its irreversible transform can reach with 8 bits.
_IRREVERSIBLE = 60
# Pillow's numbers for the sampling factors of luma, when those of chroma are 1 × 1.
_SAMPLING = {(1, 1): 0, (2, 1): 1, (2, 2): 2}


def check_coding(page: Any, first: tuple[int, int] | None) -> None:
    """Check that the numbers of a directory can be encoded again with its compression and predictor.

    Parameters
    ----------
    page : tifffile.TiffPage
        The directory.
    first : tuple of (int, int) or None
        Offset and number of bytes of the first strip or tile that exists; None if none does.
    """
    compression, predictor, bits = int(page.compression), int(page.predictor), page.bitspersample
    if compression not in (*_BYTES, _JPEG, *_IMAGES):
        name = _NAMES.get(compression, f"compression {compression}")
        raise UnservedError(f"is compressed as {name}, which is not written; save it with LZW, or as PNG, first")
    if compression in _BYTES:
        if predictor not in _PREDICTORS:
            raise UnservedError(f"uses predictor {predictor}, which is not served; save it without first")
        if predictor != 1 and (bits not in (8, 16, 32, 64) or (predictor == 3 and page.dtype.kind != "f")):
            raise UnservedError(f"uses predictor {predictor} on {page.dtype} of {bits} bits; save it without first")
        return
    if bits not in (8, 16, 32, 64):
        raise UnservedError(f"holds numbers of {bits} bits in a compression of images; save it with LZW first")
    if compression == _LERC and (predictor != 1 or (page.parent.byteorder == ">" and bits > 8)):
        raise UnservedError("is compressed as LERC in big-endian order or with a predictor; save it with Deflate first")
    if first is None:
        raise UnservedError("holds no data at all; save it uncompressed first")
    if compression == _JPEG:
        page.parent.filehandle.seek(first[0])
        _check_jpeg(page, jpeg_stream(page.parent.filehandle.read(first[1]), page.jpegtables))
        return
    bands = page.samplesperpixel if page.planarconfig == 1 else 1
    page.parent.filehandle.seek(first[0])
    old = page.parent.filehandle.read(first[1])
    height, width = (page.tilelength, page.tilewidth) if page.is_tiled else (page.rowsperstrip, page.imagewidth)
    sample = np.zeros((min(height, 64), min(width, 64), bands), page.dtype)
    try:
        encode(page, sample, old)
    except Exception as error:  # encoders raise errors of any type
        name = getattr(page.compression, "name", str(compression))
        raise UnservedError(
            f"is compressed as {name} with {bands} bands of {page.dtype}, which is not written ({error}); "
            "save it with LZW or Deflate first"
        ) from error


def decode(page: Any, data: bytes | None, index: int) -> tuple[Raw, tuple[int, int, int]]:
    """Decode a strip or tile, at its full size.

    Parameters
    ----------
    page : tifffile.TiffPage
        The directory.
    data : bytes or None
        Bytes of the strip or tile; None if the file leaves it out.
    index : int
        Number of the strip or tile.

    Returns
    -------
    values : ndarray of shape (rows, columns, bands)
        The numbers.
    where : tuple of (int, int, int)
        First row, column and band in the image.
    """
    if data is not None and page.compression in (_JPEG, *_IMAGES):
        _check_frame(page, data)
    keywords = {"jpegtables": page.jpegtables, "jpegheader": page.jpegheader} if page.compression == _JPEG else {}
    values, (band, _, row, column, _), shape = page.decode(data, index, _fullsize=page.is_tiled, **keywords)
    if values is None:
        values = np.full(shape, page.nodata, page.dtype)
    if values.dtype != page.dtype:
        raise ValueError(f"a strip or tile holds {values.dtype}, not {page.dtype}")
    values = values.reshape(shape)[0]
    return values.view(np.uint8) if values.dtype.kind == "b" else values, (row, column, band)


def completed(page: Any, new: Raw, old: Raw) -> Raw:
    """Extend the new numbers of a strip or tile to the size of ``old``, beyond the edge of the image.

    With lossless compression, the old numbers stay there. With lossy compression, the edge is repeated, since a step
    would be visible in the image.
    """
    if new.shape == old.shape:
        return new
    if int(page.compression) in (_JPEG, *_WEBP, *_JPEG2000):
        beyond = [(0, there - here) for here, there in zip(new.shape, old.shape, strict=True)]
        return np.pad(new, beyond, "edge")
    out = old.copy()
    out[: len(new), : new.shape[1]] = new
    return out


def encode(page: Any, values: Raw, old: bytes | None) -> bytes:
    """Encode a strip or tile.

    Parameters
    ----------
    page : tifffile.TiffPage
        The directory.
    values : ndarray of shape (rows, columns, bands)
        The numbers.
    old : bytes or None
        A strip or tile of the same directory, whose settings are used again.
    """
    compression = int(page.compression)
    if compression in _BYTES:
        content = _compressed(page, values)
        return _mirrored(content) if page.fillorder == 2 else content
    if old is None:
        raise ValueError("it has no strip or tile whose form could be followed")
    if compression == _JPEG:
        return _jpeg(page, values, jpeg_stream(old, page.jpegtables))
    image = np.ascontiguousarray(values[..., 0] if values.shape[2] == 1 else values)
    return _image(page, image, old)


def _compressed(page: Any, values: Raw) -> bytes:
    from imagecodecs import packbits_encode, packints_encode
    from tifffile import TIFF

    rows, columns, bands = values.shape
    bits = page.bitspersample
    if bits in (8, 16, 32, 64):
        if page.predictor != 1:
            values = TIFF.PREDICTORS[int(page.predictor)](np.ascontiguousarray(values), axis=-2)
        if page.predictor != 3:  # its bytes are already in order
            values = values.astype(values.dtype.newbyteorder(page.parent.byteorder), copy=False)
        content = values.tobytes()
    else:
        content = bytes(packints_encode(np.ascontiguousarray(values), bits, runlen=columns * bands))
    if page.compression == _NONE:
        return content
    if page.compression == _PACKBITS:  # no run goes from one row into the next
        return bytes(packbits_encode(np.frombuffer(content, np.uint8).reshape(rows, -1), axis=-1))
    return bytes(TIFF.COMPRESSORS[int(page.compression)](content))


def _mirrored(content: bytes) -> bytes:
    from imagecodecs import bitorder_encode

    return bytes(bitorder_encode(content))


def _image(page: Any, image: Raw, old: bytes) -> bytes:
    import imagecodecs as codecs

    compression = int(page.compression)
    if compression == _LERC:
        return bytes(codecs.lerc_encode(image, level=0, compression=_lerc_packing(page)))
    if compression in _PNG:
        return bytes(codecs.png_encode(image))
    if compression in _WEBP:
        if b"VP8L" not in old[:4096]:
            lossy = bytes(codecs.webp_encode(image, level=95, lossless=False))
            if _is_faithful(codecs.webp_decode(lossy, hasalpha=image.shape[2] == 4), image, 8):
                return lossy
        return bytes(codecs.webp_encode(image, lossless=True))
    boxed, bits, reversible, mixed = _jpeg2000_form(old)
    bits = max(bits, int(image.max()).bit_length()) if image.dtype.kind == "u" else 8 * image.dtype.itemsize
    options: dict[str, Any] = {"codecformat": "jp2" if boxed else "j2k", "bitspersample": bits, "mct": mixed}
    if not reversible:
        lossy = bytes(codecs.jpeg2k_encode(image, level=_IRREVERSIBLE, reversible=False, **options))
        if _is_faithful(codecs.jpeg2k_decode(lossy), image, bits):
            return lossy
    return bytes(codecs.jpeg2k_encode(image, level=0, reversible=True, **options))


def _jpeg2000_form(old: bytes) -> tuple[bool, int, bool, bool]:
    """Whether a JPEG 2000 stream is boxed, its bits, whether it is reversible, and whether it mixes its bands."""
    size, style = old.find(b"\xff\x4f\xff\x51"), old.find(b"\xff\x52")
    if size < 0 or style < 0:
        raise ValueError("it is not JPEG 2000")
    bits = (old[size + 42] & 127) + 1
    return size > 0, bits, old[style + 13] == 1, old[style + 8] == 1


def _is_faithful(decoded: Raw, image: Raw, bits: int) -> bool:
    """Whether the error of each band is hardly visible."""
    if decoded.shape != image.shape:
        return False
    error = (decoded.astype(np.float64) - image).reshape(*image.shape[:2], -1)
    worst = float((error**2).mean(axis=(0, 1)).max())
    return worst == 0 or 10 * math.log10((2**bits - 1) ** 2 / worst) >= _FAITHFUL


def jpeg_stream(data: bytes, tables: bytes | None) -> bytes:
    """A complete JPEG stream, including the tables that the directory stores once for all strips or tiles."""
    return tables[:-2] + data[2:] if tables and data[:2] == b"\xff\xd8" else data


def _check_jpeg(page: Any, stream: bytes) -> None:
    """Check that Pillow can write a JPEG with these settings."""
    bands = page.samplesperpixel if page.planarconfig == 1 else 1
    code, bits, _, _, factors, adobe = _jpeg_header(stream)
    if bands == len(factors) == 4 and adobe == 2:
        raise UnservedError("holds inks as JPEG in YCCK colours; save it with LZW first")
    if code > 0xC2 or bits != 8 or page.bitspersample != 8:
        raise UnservedError(f"is compressed as lossless or {bits}-bit JPEG; save it with LZW first")
    luma = factors[0] if len(factors) == 3 else (1, 1)
    even = len(factors) == 1 or (luma in _SAMPLING and all(factor == (1, 1) for factor in factors[1:]))
    if len(factors) != bands or bands not in (1, 3, 4) or not even or (bands == 4 and factors[0] != luma):
        raise UnservedError(f"is a JPEG of {len(factors)} components sampled {factors}; save it with LZW first")


def _jpeg_header(stream: bytes) -> tuple[int, int, int, int, list[tuple[int, int]], int | None]:
    """Code of the frame, bits, height, width, sampling factors of the components, and Adobe's number of the colours."""
    place, adobe = 2, None
    while place + 10 < len(stream):
        marker, code, length = struct.unpack_from(">BBH", stream, place)
        if marker != 0xFF or code == 0xDA:
            break
        if code == 0xEE and stream[place + 4 : place + 9] == b"Adobe":
            adobe = stream[place + 15]
        if 0xC0 <= code <= 0xCF and code not in (0xC4, 0xC8, 0xCC):
            bits, height, width, count = struct.unpack_from(">BHHB", stream, place + 4)
            factors = [(byte >> 4, byte & 15) for byte in stream[place + 11 : place + 10 + 3 * count : 3]]
            if len(factors) != count or not count:
                break
            return code, bits, height, width, factors, adobe
        place += 2 + length
    raise ValueError("a strip or tile is not JPEG")


def _check_frame(page: Any, data: bytes) -> None:
    """Check the size of an encoded image in a strip or tile, before its decoder allocates memory."""
    compression = int(page.compression)
    bands = page.samplesperpixel if page.planarconfig == 1 else 1
    if compression == _JPEG:
        _, _, height, width, factors, _ = _jpeg_header(jpeg_stream(data, page.jpegtables))
        found = len(factors)
    elif compression in _JPEG2000:
        size = data.find(b"\xff\x4f\xff\x51")
        right, bottom, left, top, *_, found = (
            struct.unpack_from(">8IH", data, size + 8) if size >= 0 else (0, 0, 1, 1, 0)
        )
        height, width = bottom - top, right - left
    elif compression in _PNG:
        width, height, found = *struct.unpack_from(">II", data, 16), bands
    elif compression in _WEBP:
        return  # whose sides have 14 bits
    else:
        height, width, found = _lerc_header(page, data)
    rows, columns = (page.tilelength, page.tilewidth) if page.is_tiled else (page.rowsperstrip, page.imagewidth)
    # Some programs round sizes up.
    if not (0 < height <= 2 * rows + 64 and 0 < width <= 2 * columns + 64) or found != bands:
        raise ValueError(f"a strip or tile of {columns} × {rows} holds an image of {width} × {height} × {found}")


def _lerc_packing(page: Any) -> Literal["deflate", "zstd"] | None:
    """The second compression, of LERC's output; None if there is none."""
    parameters = np.atleast_1d(page.tags.valueof(_LERC_PARAMETERS, (0, 0)))
    packings: tuple[Literal["deflate", "zstd"] | None, ...] = (None, "deflate", "zstd")
    return packings[int(parameters[1])] if len(parameters) > 1 else None


def _lerc_header(page: Any, data: bytes) -> tuple[int, int, int]:
    """Height, width and bands of a LERC image, which may be compressed once more."""
    packing = _lerc_packing(page)
    if packing:
        import imagecodecs

        unpack = imagecodecs.zlib_decode if packing == "deflate" else imagecodecs.zstd_decode
        rows, columns = (page.tilelength, page.tilewidth) if page.is_tiled else (page.rowsperstrip, page.imagewidth)
        data = bytes(unpack(data, out=2 * rows * columns * page.samplesperpixel * page.dtype.itemsize + 4096))
    mark, version = struct.unpack_from("<6si", data)
    if mark != b"Lerc2 " or not 1 <= version <= 6:
        raise ValueError("a strip or tile is not LERC of version 2")
    numbers = struct.unpack_from("<4i", data, 10 if version < 3 else 14)
    height, width, bands, valid = numbers if version > 3 else (numbers[0], numbers[1], 1, numbers[2])
    if valid != height * width:
        raise UnservedError("is compressed as LERC with a mask of valid pixels; save it with Deflate first")
    return height, width, bands


def _jpeg(page: Any, values: Raw, old: bytes) -> bytes:
    """Encode as JPEG with the quantisation tables, the sampling and the size of another strip or tile."""
    from PIL import Image

    frame = read_frame(old)
    if page.photometric == 6 and frame.colour == "YCbCr" and values.shape == (frame.height, frame.width, 3):
        return joined(jpegs.encode(frame, values))
    with Image.open(io.BytesIO(old), formats=["JPEG"]) as image:
        tables, layers = image.quantization, image.layer  # type: ignore[attr-defined]  # only Pillow's class of JPEG images has it, and `formats` allows no other
        width, height = image.size
        progressive = bool(image.info.get("progressive"))
    # The last strip is often encoded with the height of the others, and tiles extend beyond the edge of the image.
    values = np.pad(values, ((0, max(0, height - len(values))), (0, max(0, width - values.shape[1])), (0, 0)), "edge")
    raw = values.shape[2] > 1 and not (page.photometric == 6 or (page.is_jfif and values.shape[2] == 3))
    used = [tables[layer[3]] for layer in layers]
    if raw or len(used) == 1:  # libjpeg has one table for all such bands
        used = [np.min(used, axis=0).tolist()]
    # Pillow writes inks inverted, as Adobe's are.
    values = 255 - values if values.shape[2] == 4 else values
    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(values[..., 0] if values.shape[2] == 1 else values), _mode(values)).save(
        out,
        "JPEG",
        qtables=used[:2],
        subsampling=0 if values.shape[2] != 3 else _SAMPLING[layers[0][1], layers[0][2]],
        progressive=progressive,
        keep_rgb=raw and values.shape[2] == 3,
    )
    return out.getvalue()


def _mode(values: Raw) -> str:
    return {1: "L", 3: "RGB", 4: "CMYK"}[values.shape[2]]
