"""Rows of an array in a file, read batch by batch."""

import mmap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hourglass.persistence import fingerprint
from hourglass.training.source import BLOCK, Batch, Source

# Bytes of files that may lie in the memory of the process, beyond those at first, before they are given back.
_KEPT = 128 << 20
# Where the kernel does not say how many they are: a random read may bring in as many bytes as this around a row.
_NEIGHBOURS = 2 << 20
# Rows that are read before this is looked at.
_AT_ONCE = 64
_STATM = Path("/proc/self/statm")


class MemmapSource(Source):
    """Rows of an array in a file, as :class:`numpy.memmap` or ``numpy.load(…, mmap_mode="r")`` opens it.

    Only the rows of a batch are read and converted. The inputs are the targets; :meth:`paired` gives others.

    Parameters
    ----------
    array : numpy.memmap of shape (size, ...)
        Real numbers. Unsigned bytes are scaled by 1/255, other numbers are taken as they are.
    shape : tuple of int, optional
        Shape that each row gets; by default its own. Three numbers are height, width and channels of an image, which a
        batch has as ``(n, c, h, w)``.
    """

    def __init__(self, array: NDArray[Any], shape: tuple[int, ...] | None = None) -> None:
        self.array = array
        self.shape = array.shape[1:] if shape is None else shape
        self._mapping = _mapping(array)
        self._touched, self._at_first = 0, _file_bytes() or 0

    def __len__(self) -> int:
        return len(self.array)

    def take(self, index: Tensor, step: int) -> Batch:
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
        return {"images": fingerprint(self.array, self.raw_blocks())}

    def raw_blocks(self) -> Iterator[NDArray[Any]]:
        """Every row once, in order, with the file's own numbers, in blocks of about 16 MB."""
        size = max(1, BLOCK // max(1, self.array[:1].nbytes))
        for start in range(0, len(self.array), size):
            block = np.asarray(self.array[start : start + size])
            yield block
            self._release(block.nbytes)

    def value_range(self) -> tuple[float, float]:
        ends = [(block.min(), block.max()) for block in self.raw_blocks()]
        low, high = min(low for low, _ in ends), max(high for _, high in ends)
        if self.array.dtype == np.uint8:
            low, high = _scaled(np.array([low, high], dtype=np.uint8))
        return float(low), float(high)

    def _release(self, touched: int) -> None:
        """Now and then, give pages that were read back to the kernel, which can read them again."""
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
    """Bytes of files in the memory of this process; None where the kernel does not say."""
    try:
        return int(_STATM.read_text().split()[2]) * mmap.PAGESIZE
    except OSError:
        return None


def _mapping(array: NDArray[Any]) -> mmap.mmap | None:
    """The mapped file under an array, where its pages may be dropped: not where changes live in memory alone."""
    if getattr(array, "mode", "c") == "c" or not hasattr(mmap, "MADV_DONTNEED"):
        return None
    base: Any = array
    while base is not None and not isinstance(base, mmap.mmap):
        base = getattr(base, "base", None)
    return base
