"""Rows of tensors: selected by index, seen with their channels last, counted."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# Size of a block in bytes, when all rows are read one after another.
BLOCK = 16 << 20

Batch = tuple[Tensor, Tensor]


def select(rows: Tensor, index: Tensor) -> Tensor:
    """Select rows by index and keep their memory layout; on the CPU several times as fast as ``rows[index]``."""
    if rows.dim() == 4 and rows.is_contiguous(memory_format=torch.channels_last):
        return rows.permute(0, 2, 3, 1).index_select(0, index).permute(0, 3, 1, 2)
    return rows.index_select(0, index)


def channels_last(rows: Tensor) -> Tensor:
    """View images ``(n, c, h, w)`` as ``(n, h, w, c)``; rows of another shape stay as they are."""
    return rows.permute(0, 2, 3, 1) if rows.dim() == 4 else rows


def mean_of(parts: Iterable[Tensor]) -> NDArray[np.float64]:
    """Compute the mean of all rows of some tensors, one for each pixel and channel."""
    total: NDArray[Any] | None = None
    count = 0
    for part in parts:
        block = channels_last(part).cpu().numpy()
        count += len(block)
        if total is not None:  # added row by row, so that the size of the parts does not change the last digits
            block = np.concatenate([total[None], block])
        total = np.add.reduce(block, 0, dtype=np.float64)
    return np.asarray(total) / count


def row_indices(rows: NDArray[Any], device: torch.device) -> Tensor:
    """Convert indices, or a mask of all rows, to indices on a device."""
    rows = np.flatnonzero(rows) if rows.dtype == bool else rows
    return torch.from_numpy(np.ascontiguousarray(rows, dtype=np.int64)).to(device)


def check_lengths(inputs: Any, targets: Any, weights: Any) -> None:
    """Raise ValueError unless inputs, targets and weights, where they are given, have the same number of rows."""
    if len({len(part) for part in (inputs, targets, weights) if part is not None}) > 1:
        raise ValueError(f"{len(inputs)} inputs, but another number of targets or weights; give one an input")
