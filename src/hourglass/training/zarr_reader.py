"""Blocks of a Zarr of images, each read as a whole and compared with its checksum."""

import hashlib
import math
import mmap
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hourglass.training.block_cache import Block


@dataclass(frozen=True, eq=False)
class BlockReader:
    """Function that reads a block.

    Parameters
    ----------
    images : zarr.Array of shape (n, h, w, c), uint8 or uint16
        The images.
    checksums : ndarray of shape (n_blocks, 32), uint8
        SHA-256 of each block.
    size : int
        Images in a block; the last one may have fewer.
    location : str
        Place of the store, for messages.
    """

    images: Any
    checksums: NDArray[np.uint8]
    size: int
    location: str

    def __call__(self, number: int) -> Block:
        """Read a block.

        Parameters
        ----------
        number : int
            Number of the block, from 0.

        Returns
        -------
        ndarray of shape (n, h, w, c), uint8 or uint16
            Its images.

        Raises
        ------
        OSError
            When it cannot be read.
        ValueError
            When it cannot be decoded, or its checksum does not match, as that of a missing block.
        """
        from zarr.core.buffer import default_buffer_prototype

        start, end = number * self.size, min((number + 1) * self.size, self.images.shape[0])
        rows: Any = _own_pages((end - start, *self.images.shape[1:]), self.images.dtype)
        out = default_buffer_prototype().nd_buffer.from_ndarray_like(rows)
        damaged = f"{self.location}: block {number} of {len(self.checksums)} is damaged or missing"
        try:
            self.images.get_basic_selection(slice(start, end), out=out)
        except MemoryError:
            raise
        except Exception as error:  # codecs and file systems have errors of their own
            what = f"{type(error).__name__}: {error}"
            # The codecs of zarr raise ValueError, and those of numcodecs RuntimeError, as clients of networks do too.
            if isinstance(error, ValueError) or "decompression" in str(error):
                raise ValueError(f"{damaged} ({what}); pack the images again") from error
            raise OSError(f"{self.location}: block {number} cannot be read ({what})") from error
        if checksum(rows) != self.checksums[number].tobytes():
            raise ValueError(f"{damaged} (its checksum does not match); pack the images again")
        return np.asarray(rows)


def checksum(rows: Block) -> bytes:
    """SHA-256 of numbers, those of several bytes in little-endian order.

    Parameters
    ----------
    rows : ndarray of uint8 or uint16
        The numbers.

    Returns
    -------
    bytes
        32 bytes.
    """
    little = np.ascontiguousarray(rows, dtype=rows.dtype.newbyteorder("<"))
    return hashlib.sha256(little.reshape(-1).view(np.uint8).data).digest()


def _own_pages(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """An array in pages of its own, which the system gets back at once when the array is deleted.

    Blocks from the heap would leave gaps there: the memory of a training grew from pass to pass.
    """
    pages = mmap.mmap(-1, math.prod(shape) * dtype.itemsize)
    return np.ndarray(shape, dtype, buffer=pages)
