"""Compression in bytes and decibels: quantised codes of an autoencoder, and image formats on the same images.

A stream of codes contains the numbers of the code alone. The weights of the decoder are not counted.
"""

import io
import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from hourglass import metrics

Stack = NDArray[np.float32]
Levels = NDArray[np.uint8]

FORMATS: dict[str, dict[str, Any]] = {
    "JPEG": {"optimize": True},
    "WebP": {"method": 6},
    "PNG": {"optimize": True},
}
"""Image formats by name, each with the options of Pillow's ``save`` that make its files small."""

LOSSLESS = ("PNG",)
"""Formats without a quality."""


class Coder(Protocol):
    """Fitted transformer that turns images into codes and back: an autoencoder of this package, or PCA."""

    def transform(self, X: Any) -> Any:
        """Encode images.

        Parameters
        ----------
        X : ndarray of shape (n, features), float32
            Flat images.

        Returns
        -------
        ndarray of shape (n, code_size)
            Codes.
        """

    def inverse_transform(self, X: Any) -> Any:
        """Decode codes.

        Parameters
        ----------
        X : ndarray of shape (n, code_size), float32
            Codes.

        Returns
        -------
        ndarray of shape (n, features) or (n, h, w, c)
            Images.
        """


@dataclass(frozen=True)
class Compression:
    """Size and quality of compressed images.

    Parameters
    ----------
    bytes_per_image : float
        Mean size in bytes, all included.
    payload_per_image : float
        Mean size in bytes without what every stream or file has in common: header, tables and checksum.
    decoded : ndarray of shape (n, h, w, c), float32
        The decoded images, in [0, 1].
    psnr_db : float
        Peak signal-to-noise ratio in dB, averaged over the images; infinite where one is decoded exactly.
    ssim : float
        Structural similarity, averaged over the images.
    """

    bytes_per_image: float
    payload_per_image: float
    decoded: Stack = field(repr=False)
    psnr_db: float
    ssim: float


@dataclass(frozen=True)
class CodeQuantiser:
    """Uniform quantiser: whole numbers of a few bits for the numbers of a code.

    Use :meth:`fit` to make one from the codes of training images.

    Parameters
    ----------
    low, high : ndarray of shape (k,), float32
        Values of the lowest and of the highest level. Number ``i`` of a code uses entry ``i % k``: ``k`` is the
        number of feature maps, or the length of a code.
    bits : int from 1 to 8
        Bits of a number, which has ``2 ** bits`` levels.

    Raises
    ------
    ValueError
        When ``bits`` is not a whole number from 1 to 8.
    """

    low: NDArray[np.float32]
    high: NDArray[np.float32]
    bits: int

    def __post_init__(self) -> None:
        if self.bits not in range(1, 9):
            raise ValueError(f"bits={self.bits!r}; expected a whole number from 1 to 8")

    @classmethod
    def fit(cls, codes: NDArray[Any], bits: int = 8, *, maps: int | None = None) -> Self:
        """Find the range of each number of a code, or of each feature map.

        Parameters
        ----------
        codes : ndarray of shape (n, code_size)
            Codes of training images; those of a convolutional autoencoder are flattened in the order height, width,
            channel, as its ``transform`` returns them.
        bits : int from 1 to 8, default=8
            Bits of a quantised number.
        maps : int, optional
            Number of feature maps. All numbers of a map then share one range, so that codes of images of another size
            can be quantised too. By default each number has its own range.

        Returns
        -------
        CodeQuantiser
            Quantiser from the smallest to the largest value of each range.

        Raises
        ------
        ValueError
            When ``bits`` is not a whole number from 1 to 8, there are no codes, or the length of a code is no multiple
            of ``maps``.
        """
        codes = np.asarray(codes, dtype=np.float32)
        if codes.ndim != 2 or not codes.size:
            raise ValueError(f"codes have shape {codes.shape}; expected one row of numbers for each training image")
        rows = _rows(codes, codes.shape[1] if maps is None else maps)
        return cls(rows.min(0), rows.max(0), bits)

    @property
    def step(self) -> NDArray[np.float32]:
        """Distance between neighbouring levels, of shape (k,); 1 for a range of one value."""
        width = self.high - self.low
        return np.where(width > 0, width / np.float32(2**self.bits - 1), np.float32(1))

    def quantise(self, codes: NDArray[Any]) -> Levels:
        """Round each number of a code to the nearest level.

        Parameters
        ----------
        codes : ndarray of shape (n, code_size)
            Codes. Values outside the range become its lowest or highest level.

        Returns
        -------
        ndarray of shape (n, code_size), uint8
            Levels, from 0 to ``2 ** bits - 1``.

        Raises
        ------
        ValueError
            When the length of a code is no multiple of the number of ranges.
        """
        codes = np.asarray(codes, dtype=np.float32)
        levels = np.rint((_rows(codes, len(self.low)) - self.low) / self.step)
        return levels.clip(0, 2**self.bits - 1).astype(np.uint8).reshape(codes.shape)

    def restore(self, levels: Levels) -> NDArray[np.float32]:
        """Return the values of levels.

        Parameters
        ----------
        levels : ndarray of shape (n, code_size), uint8
            Levels, as :meth:`quantise` returns them.

        Returns
        -------
        ndarray of shape (n, code_size), float32
            Codes. Within its range, a number differs from the original by at most half a step.

        Raises
        ------
        ValueError
            When the length of a code is no multiple of the number of ranges.
        """
        values = self.low + _rows(levels, len(self.low)) * self.step
        return values.astype(np.float32).reshape(levels.shape)


def pack(levels: Levels, bits: int) -> bytes:
    """Write levels one behind the other, without gaps between their bits.

    Parameters
    ----------
    levels : ndarray of any shape, uint8
        Levels below ``2 ** bits``.
    bits : int from 1 to 8
        Bits of a level.

    Returns
    -------
    bytes
        ``ceil(levels.size * bits / 8)`` bytes; the last one is filled up with zeros.
    """
    return np.packbits(np.unpackbits(levels.reshape(-1, 1), axis=1)[:, 8 - bits :]).tobytes()


def unpack(packed: bytes, bits: int, count: int) -> Levels:
    """Read levels that :func:`pack` wrote.

    Parameters
    ----------
    packed : bytes
        Bytes of at least ``count`` levels.
    bits : int from 1 to 8
        Bits of a level.
    count : int
        Number of levels.

    Returns
    -------
    ndarray of shape (count,), uint8
        The levels.
    """
    planes = np.unpackbits(np.frombuffer(packed, dtype=np.uint8), count=count * bits).reshape(count, bits)
    return np.packbits(np.pad(planes, ((0, 0), (8 - bits, 0))), axis=1)[:, 0]


def compress_codes(coder: Coder, images: Stack, quantiser: CodeQuantiser, *, images_per_stream: int = 1) -> Compression:
    """Compress images to quantised codes, packed and then compressed by zlib, and decode them again.

    Parameters
    ----------
    coder : Coder
        Fitted autoencoder or PCA.
    images : ndarray of shape (n, h, w, c), float32
        Images, in [0, 1].
    quantiser : CodeQuantiser
        Quantiser that was fitted to the codes of training images.
    images_per_stream : int, default=1
        Number of images whose codes share one stream of bytes; the last stream may have fewer.

    Returns
    -------
    Compression
        Sizes and quality. The payload is the stream without zlib's header and checksum, 6 bytes. The weights of the
        decoder and the ranges of the quantiser are not counted.

    Raises
    ------
    ValueError
        When there are no images, ``images_per_stream`` is below 1, or the codes do not suit the quantiser.
    """
    _check_groups(len(images), images_per_stream)
    flat = images.reshape(len(images), math.prod(images.shape[1:]))
    levels = quantiser.quantise(coder.transform(flat))
    read, sizes, payloads = [], 0, 0
    for group in _groups(levels, images_per_stream):
        packed = pack(group, quantiser.bits)
        stream = zlib.compress(packed, 9)
        sizes += len(stream)
        payloads += len(zlib.compress(packed, 9, wbits=-zlib.MAX_WBITS))
        read.append(unpack(zlib.decompress(stream), quantiser.bits, group.size).reshape(group.shape))
    decoded = coder.inverse_transform(quantiser.restore(np.concatenate(read)))
    return _compression(images, np.asarray(decoded, dtype=np.float32).reshape(images.shape), sizes, payloads)


def compress_files(
    images: Stack, image_format: str, quality: int | None = None, *, images_per_file: int = 1
) -> Compression:
    """Compress images to files of an image format, as Pillow writes them, and decode them again.

    Parameters
    ----------
    images : ndarray of shape (n, h, w, c), float32
        Images, in [0, 1], with 1 or 3 channels; they are rounded to 8 bits.
    image_format : {"JPEG", "WebP", "PNG"}
        Format of the files.
    quality : int from 0 to 100, optional
        Pillow's ``quality``; by default its own, 75 for JPEG and 80 for WebP. PNG has none.
    images_per_file : int, default=1
        Number of images that share one file, side by side in rows of ``ceil(sqrt(images_per_file))`` images; the last
        file may have fewer, and black in their place.

    Returns
    -------
    Compression
        Sizes and quality. The payload is the size of a file less that of a file of one grey pixel; for JPEG, both
        are then written with the standard Huffman tables instead of optimised ones, since these are part of the header.

    Raises
    ------
    ValueError
        When the format is unknown, ``quality`` is given for a lossless one, there are no images, or
        ``images_per_file`` is below 1.
    """
    if image_format not in FORMATS:
        raise ValueError(f"image_format={image_format!r} is unknown; choose one of {', '.join(FORMATS)}")
    if quality is not None and image_format in LOSSLESS:
        raise ValueError(f"quality={quality!r} with {image_format}, which is lossless; leave it out")
    _check_groups(len(images), images_per_file)
    options = FORMATS[image_format] | ({} if quality is None else {"quality": quality})
    common = options | ({"optimize": False} if image_format == "JPEG" else {})
    pixels = np.rint(np.clip(images, 0, 1) * 255).astype(np.uint8)
    header = len(_write(np.full((1, 1, pixels.shape[-1]), 128, np.uint8), image_format, common))
    decoded, sizes, payloads = [], 0, 0
    for group in _groups(pixels, images_per_file):
        sheet = _mosaic(group, images_per_file)
        content = _write(sheet, image_format, options)
        sizes += len(content)
        payloads += len(_write(sheet, image_format, common)) - header
        decoded.append(_cut(_read(content, sheet.shape[2]), group.shape))
    return _compression(images, (np.concatenate(decoded) / np.float32(255)), sizes, payloads)


def _rows(codes: NDArray[Any], ranges: int) -> NDArray[Any]:
    """Numbers of codes in rows of one number for each range."""
    if codes.shape[-1] % ranges:
        raise ValueError(f"codes have {codes.shape[-1]} numbers, which is no multiple of {ranges} ranges")
    return codes.reshape(-1, ranges)


def _check_groups(images: int, count: int) -> None:
    if count < 1 or not images:
        raise ValueError(f"{images} images in groups of {count}; expected at least one of each")


def _groups(rows: NDArray[Any], count: int) -> Iterator[NDArray[Any]]:
    return (rows[start : start + count] for start in range(0, len(rows), count))


def _compression(images: Stack, decoded: Stack, sizes: int, payloads: int) -> Compression:
    decoded = decoded.clip(0, 1)
    psnr, ssim = (float(measure(images, decoded)) for measure in (metrics.psnr, metrics.ssim))
    return Compression(sizes / len(images), payloads / len(images), decoded, psnr, ssim)


def _mosaic(group: NDArray[np.uint8], count: int) -> NDArray[np.uint8]:
    """Up to ``count`` images ``(n, h, w, c)`` side by side on one sheet."""
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(len(group) / columns)
    columns = min(columns, len(group))
    _, height, width, channels = group.shape
    filled = np.zeros((rows * columns, height, width, channels), np.uint8)
    filled[: len(group)] = group
    sheet = filled.reshape(rows, columns, height, width, channels).swapaxes(1, 2)
    return sheet.reshape(rows * height, columns * width, channels)


def _cut(sheet: NDArray[np.uint8], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """The images of a sheet, of which there are ``shape[0]``: the inverse of :func:`_mosaic`."""
    count, height, width, channels = shape
    rows, columns = sheet.shape[0] // height, sheet.shape[1] // width
    tiles = sheet.reshape(rows, height, columns, width, channels).swapaxes(1, 2)
    return tiles.reshape(-1, height, width, channels)[:count]


def _write(image: NDArray[np.uint8], image_format: str, options: dict[str, Any]) -> bytes:
    from PIL import Image

    with io.BytesIO() as file:
        Image.fromarray(image[..., 0] if image.shape[2] == 1 else image).save(file, image_format, **options)
        return file.getvalue()


def _read(content: bytes, channels: int) -> NDArray[np.uint8]:
    from PIL import Image

    # WebP has no grey images; Pillow writes three equal channels.
    with Image.open(io.BytesIO(content)) as image:
        pixels = np.asarray(image.convert("L" if channels == 1 else "RGB"))
    return pixels.reshape(*pixels.shape[:2], channels)
