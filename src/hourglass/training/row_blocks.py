"""Blocks in which the rows of a source are stored, each of which is read as a whole."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Function that takes the numbers of the blocks that are in use, and of those that are needed next.
Announce = Callable[[Sequence[int], Sequence[int]], None]


@dataclass(frozen=True, eq=False)
class RowBlocks:
    """Blocks in which the rows of a source are stored, and how many of them fit into memory.

    Parameters
    ----------
    starts : ndarray of shape (n_blocks + 1,), int64
        Number of the first row of each block, then the number of all rows; every block has a row.
    window : int
        Number of blocks, from 1, whose rows may be mixed, since so many fit into memory.
    rows : ndarray of shape (size,), int64, optional
        Indices of the rows in the order in which they are stored. By default they are stored in their own order.
    numbers : ndarray of shape (n_blocks,), int64, optional
        Numbers by which the storage knows the blocks; by default 0, 1, 2, ….
    announce : callable, optional
        Function that takes the numbers of the blocks that are in use and the numbers of those that are needed next,
        and may read the latter ahead. By default no function is called.
    """

    starts: NDArray[np.int64]
    window: int
    rows: NDArray[np.int64] | None = None
    numbers: NDArray[np.int64] | None = None
    announce: Announce | None = None

    def __len__(self) -> int:
        """Return the number of blocks."""
        return len(self.starts) - 1

    def rows_of(self, block: int) -> NDArray[np.int64]:
        """Indices of the rows of a block.

        Parameters
        ----------
        block : int
            The block, in [0, n_blocks).

        Returns
        -------
        ndarray of shape (n,), int64
            Indices.
        """
        start, end = self.starts[block : block + 2]
        return np.arange(start, end) if self.rows is None else self.rows[start:end]

    def size_of(self, block: int) -> int:
        """Count the rows of a block.

        Parameters
        ----------
        block : int
            The block, in [0, n_blocks).

        Returns
        -------
        int
            Number of rows, from 1.
        """
        return int(self.starts[block + 1] - self.starts[block])

    def tell(self, in_use: Sequence[int], coming: Sequence[int]) -> None:
        """Announce blocks by the numbers by which the storage knows them.

        Parameters
        ----------
        in_use : sequence of int
            Blocks whose rows are in use, in [0, n_blocks).
        coming : sequence of int
            Blocks that are needed next, in this order.
        """
        if self.announce is None:
            return
        if self.numbers is not None:
            in_use, coming = self.numbers[list(in_use)].tolist(), self.numbers[list(coming)].tolist()
        self.announce(in_use, coming)

    def select(self, rows: NDArray[np.int64]) -> "RowBlocks":
        """Keep some of the rows, and the blocks that have any of them.

        Parameters
        ----------
        rows : ndarray of shape (n,), int64
            Indices of the rows, at least one. The row ``rows[i]`` becomes row i.

        Returns
        -------
        RowBlocks
            The blocks with these rows alone.
        """
        places = rows
        if self.rows is not None:
            place_of = np.empty(len(self.rows), np.int64)
            place_of[self.rows] = np.arange(len(self.rows))
            places = place_of[rows]
        blocks = np.searchsorted(self.starts, places, side="right") - 1
        present, counts = np.unique(blocks, return_counts=True)
        return RowBlocks(
            starts=np.concatenate([[0], np.cumsum(counts)]),
            window=self.window,
            rows=np.argsort(blocks, kind="stable"),
            numbers=present if self.numbers is None else self.numbers[present],
            announce=self.announce,
        )
