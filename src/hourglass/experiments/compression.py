"""Compression in bytes and decibels: quantised codes of an autoencoder, and image formats on the same images.

A stream of codes contains the numbers of the code alone. The weights of the decoder are not counted.
"""

import io
import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hourglass import metrics
from hourglass.experiments.quantisation import CodeQuantiser, pack, unpack

Stack = NDArray[np.float32]

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
    restored = np.concatenate(decoded).astype(np.float32) / np.float32(255)
    return _compression(images, restored, sizes, payloads)


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
