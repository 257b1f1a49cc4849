"""Training data in a memory-mapped file, read batch by batch."""

import mmap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hourglass.persistence import fingerprint
from hourglass.training.rows import BLOCK, Batch
from hourglass.training.source import Source

# Bytes of mapped files that may be added to the memory of the process before they are given back.
_KEPT = 128 << 20
# Bytes around a row that a random read may bring into memory; an estimate for kernels that do not report the total.
_NEIGHBOURS = 2 << 20
# Number of rows that are read between two looks at the memory.
_AT_ONCE = 64
_STATM = Path("/proc/self/statm")


class MemmapSource(Source):
    """Rows of an array in a file, as :class:`numpy.memmap` or ``numpy.load(…, mmap_mode="r")`` opens it.

    Only the rows of a batch are read and converted to float32. The targets are the inputs; :meth:`paired` changes that.

    Parameters
    ----------
    array : numpy.memmap of shape (size, ...)
        Real numbers. Unsigned bytes are divided by 255; numbers of other dtypes keep their values.
    shape : tuple of int, optional
        Shape that each row gets; by default its own. Three numbers mean height, width and channels of an image, and a
        batch then has the shape ``(n, c, h, w)``.
    """

    def __init__(self, array: NDArray[Any], shape: tuple[int, ...] | None = None) -> None:
        self.array = array
        self.shape = array.shape[1:] if shape is None else shape
        self._mapping = _mapping(array)
        self._touched, self._at_first = 0, _file_bytes() or 0

    def __len__(self) -> int:
        return len(self.array)

    def take(self, index: Tensor, step: int) -> Batch:
        """Read some rows from the file.

        Parameters
        ----------
        index : torch.Tensor of shape (n,), int64
            Indices of the rows, in [0, size).
        step : int
            Number of the training step; ignored, since the rows are the same in every step.

        Returns
        -------
        inputs, targets : torch.Tensor of shape (n, ...), float32, on ``device``
            The rows, twice the same tensor. Images are ``(n, c, h, w)``, channels last in memory.
        """
        places = index.cpu().numpy()
        rows = np.empty((len(places), *self.array.shape[1:]), self.array.dtype)
        for start in range(0, len(places), _AT_ONCE):
            some = slice(start, start + _AT_ONCE)
            rows[some] = self.array[places[some]]
            self._release(_NEIGHBOURS * len(places[some]))
        batch = torch.from_numpy(_scaled(rows).reshape(len(rows), *self.shape)).to(self.device)
        batch = batch.permute(0, 3, 1, 2) if batch.dim() == 4 else batch
        return batch, batch

    @property
    def fingerprint(self) -> Mapping[str, str]:
        """Fingerprint of the array under the name ``images``; computing it reads the whole file."""
        return {"images": fingerprint(self.array, self.raw_blocks())}

    def raw_blocks(self) -> Iterator[NDArray[Any]]:
        """Iterate over all rows in order, with the values and the dtype of the file.

        Yields
        ------
        ndarray of shape (n, ...)
            The next rows, about 16 MB; valid until the next block is asked for.
        """
        size = max(1, BLOCK // max(1, self.array[:1].nbytes))
        for start in range(0, len(self.array), size):
            block = np.asarray(self.array[start : start + size])
            yield block
            self._release(block.nbytes)

    def value_range(self) -> tuple[float, float]:
        """Find the smallest and the largest value of the inputs; this reads the whole file.

        Returns
        -------
        low, high : float
            Smallest and largest value; of unsigned bytes, after the division by 255.
        """
        ends = [(block.min(), block.max()) for block in self.raw_blocks()]
        low, high = min(low for low, _ in ends), max(high for _, high in ends)
        if self.array.dtype == np.uint8:
            low, high = _scaled(np.array([low, high], dtype=np.uint8))
        return float(low), float(high)

    def _release(self, touched: int) -> None:
        """Give pages that were read back to the kernel when there are many of them; it can read them again."""
        self._touched += touched
        if self._mapping is None or self._touched < _KEPT:
            return
        there = _file_bytes()
        if there is None or there - self._at_first > _KEPT:
            self._mapping.madvise(mmap.MADV_DONTNEED)
            self._touched, self._at_first = 0, _file_bytes() or 0


def _scaled(rows: NDArray[Any]) -> NDArray[np.float32]:
    if rows.dtype == np.uint8:
        return np.asarray(np.divide(rows, np.float32(255), dtype=np.float32))
    return np.ascontiguousarray(rows, dtype=np.float32)


def _file_bytes() -> int | None:
    """Bytes of mapped files in the memory of this process; None where the kernel does not say."""
    try:
        return int(_STATM.read_text().split()[2]) * mmap.PAGESIZE
    except OSError:
        return None


def _mapping(array: NDArray[Any]) -> mmap.mmap | None:
    """The mapped file under an array; None where its pages must not be dropped, since changes exist in memory alone."""
    if getattr(array, "mode", "c") == "c" or not hasattr(mmap, "MADV_DONTNEED"):
        return None
    base: Any = array
    while base is not None and not isinstance(base, mmap.mmap):
        base = getattr(base, "base", None)
    return base
