"""Reading IDX files, the format of MNIST and its kin.

Format: two zero bytes, a type byte, the number of axes, each axis as a big-endian 32-bit integer, then the
values (Y. LeCun, C. Cortes, C. J. C. Burges, "The MNIST database of handwritten digits").
"""

import gzip
import hashlib
import io
import math
import os
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_UNSIGNED_BYTE = 0x08
_GZIP_MAGIC = b"\x1f\x8b"
# Deflate cannot shrink by more than 1,032 to 1; a header that promises more is lying.
_LARGEST_DEFLATE_RATIO = 1032
_CHUNK = 1 << 20


def read_idx(path: str | os.PathLike[str], *, axes: int, sha256: str | None = None) -> NDArray[np.uint8]:
    """Read an IDX file of unsigned bytes, gzipped or not.

    The header is held against the file's size before anything is allocated for the values.

    Parameters
    ----------
    path : path-like
        The file.
    axes : int
        Expected number of axes: 3 for images, 1 for labels.
    sha256 : str, optional
        Expected checksum of the decompressed file, in hexadecimal.

    Returns
    -------
    ndarray of uint8 with ``axes`` axes
        Read-only.

    Raises
    ------
    OSError
        When the file cannot be read.
    ValueError
        When it is not what was expected; names the file, what was found, and what it may be.
    """
    path = Path(path)
    with path.open("rb") as raw:
        stored = os.fstat(raw.fileno()).st_size
        compressed = raw.read(2) == _GZIP_MAGIC
        raw.seek(0)
        largest = stored * _LARGEST_DEFLATE_RATIO if compressed else stored
        if not compressed:
            return _read(raw, path, axes, largest, sha256)
        try:
            with gzip.GzipFile(fileobj=raw) as unzipped:
                return _read(unzipped, path, axes, largest, sha256)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ValueError(
                f"{path}: broken gzip stream ({error}); the file is damaged or its copy was cut short, fetch it again"
            ) from error


def _read(file: io.BufferedIOBase, path: Path, axes: int, largest: int, sha256: str | None) -> NDArray[np.uint8]:
    header = file.read(4)
    if len(header) < 4:
        raise ValueError(f"{path}: {len(header)} bytes are no IDX file; its header alone has {4 + 4 * axes}")
    magic = int.from_bytes(header)
    expected = _UNSIGNED_BYTE << 8 | axes
    if magic != expected:
        raise ValueError(
            f"{path}: wrong magic number 0x{magic:08x}, expected 0x{expected:08x} ({axes} axes of unsigned bytes); "
            "it is not an IDX file, or images and labels are exchanged"
        )
    lengths = file.read(4 * axes)
    if len(lengths) < 4 * axes:
        raise ValueError(f"{path}: truncated inside its header; fetch it again")
    shape = struct.unpack(f">{axes}I", lengths)
    promised = math.prod(shape)
    if len(header) + len(lengths) + promised > largest:
        raise ValueError(
            f"{path}: the header promises {' × '.join(map(str, shape))} = {promised:,} bytes, more than the file can "
            "hold; it is truncated or damaged, fetch it again"
        )
    body = _read_exactly(file, promised, path)
    if sha256 is not None:
        found = hashlib.sha256(header + lengths)
        found.update(body)
        if found.hexdigest() != sha256:
            raise ChecksumError(path, found.hexdigest(), sha256, "decompressed content, SHA-256")
    values = np.frombuffer(body, np.uint8).reshape(shape)
    values.flags.writeable = False
    return values


def _read_exactly(file: io.BufferedIOBase, count: int, path: Path) -> bytearray:
    body = bytearray()
    while len(body) < count:
        chunk = file.read(min(_CHUNK, count - len(body)))
        if not chunk:
            raise ValueError(
                f"{path}: truncated, {len(body):,} of the {count:,} bytes that its header promises; fetch it again"
            )
        body += chunk
    if file.read(1):
        raise ValueError(f"{path}: over-long, goes on after the {count:,} bytes that its header promises")
    return body


class ChecksumError(ValueError):
    """A file is whole but not the one that was expected."""

    def __init__(self, path: Path, found: str, expected: str, of: str) -> None:
        super().__init__(
            f"{path}: checksum {found[:12]}… is not the expected {expected[:12]}… ({of}); "
            "it is another data set's file or damaged"
        )


def file_md5(path: Path) -> str:
    """MD5 of a file as it is stored, in hexadecimal: a check of identity, not of trust."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, _md5).hexdigest()


def _md5() -> "hashlib._Hash":
    return hashlib.md5(usedforsecurity=False)


def images_and_labels(
    images: NDArray[np.uint8], labels: NDArray[np.uint8], images_path: Path, labels_path: Path, *, classes: int = 10
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Pixels scaled to [0, 1] with a channel axis, and labels checked.

    Raises
    ------
    ValueError
        When images and labels differ in number, or a label is not in 0 … ``classes`` - 1.
    """
    if len(images) != len(labels):
        raise ValueError(
            f"{images_path} holds {len(images):,} images but {labels_path} {len(labels):,} labels; "
            "they belong to different sets"
        )
    if len(labels) and labels.max() >= classes:
        place = int(np.argmax(labels >= classes))
        raise ValueError(
            f"{labels_path}: label {labels[place]} at place {place} is outside 0–{classes - 1}; the file is damaged"
        )
    return (images[..., None] / np.float32(255)).astype(np.float32, copy=False), labels.astype(np.int64)
