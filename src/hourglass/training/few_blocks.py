"""Rows to hold out that lie in few blocks, so that measuring on them does not read the whole storage."""

import numpy as np
from numpy.typing import NDArray

from hourglass.training.row_blocks import RowBlocks

# Number of blocks from which rows are held out, where there are as many.
BLOCKS = 16


def held_in_few_blocks(
    blocks: RowBlocks,
    files: NDArray[np.int64],
    count: int,
    generator: np.random.Generator,
    *,
    most: int | None = None,
    among: int = BLOCKS,
    taken: NDArray[np.int64] | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Choose files to hold out, and those of their rows that lie in few blocks.

    The blocks are divided into equal parts, and one block is drawn from each part. From each of these blocks about
    equally many files are drawn.

    Parameters
    ----------
    blocks : RowBlocks
        The blocks of all rows.
    files : ndarray of shape (size,), int64
        Number of the file of each row, from 0. All rows of a file are held out together.
    count : int
        Number of files to hold out at most, from 1.
    generator : numpy.random.Generator
        Draws the blocks and the files.
    most : int, optional
        Number of rows, from 1, at most; files are held out until there are as many rows. By default all rows of
        ``count`` files.
    among : int, default=16
        Number of blocks from which files are drawn, from 1, or all blocks if there are fewer.
    taken : ndarray of int64, optional
        Numbers of files that may not be held out; there are others.

    Returns
    -------
    held : ndarray of int64
        Numbers of the files that are held out, sorted; at least one. There are fewer than ``count`` if ``most`` rows
        are reached, or if the blocks that were drawn have no more files.
    rows : ndarray of int64
        Indices of rows of these files, sorted: those in the blocks that were drawn.
    """
    parts = np.array_split(np.arange(len(blocks)), min(among, len(blocks)))
    found = [blocks.rows_of(int(generator.choice(part))) for part in parts]
    taken = np.empty(0, np.int64) if taken is None else taken
    found = [rows[np.isin(files[rows], taken, invert=True)] for rows in found]
    if not sum(map(len, found)):  # all of these blocks belong to files that are taken
        free = np.flatnonzero(np.isin(files, taken, invert=True))
        found = [free[files[free] == files[free[0]]]]
    rows = np.concatenate(found)
    # The order in which files are taken: the first one of each block, the second one of each block, ….
    drawn = [generator.permutation(np.unique(files[of_block])) for of_block in found]
    turns = np.concatenate([np.arange(len(each)) for each in drawn])
    every = np.concatenate(drawn)[np.argsort(turns, kind="stable")]
    order = every[np.sort(np.unique(every, return_index=True)[1])]
    if most is not None:
        present, sizes = np.unique(files[rows], return_counts=True)
        reached = np.cumsum(sizes[np.searchsorted(present, order)])
        count = min(count, int(np.searchsorted(reached, most)) + 1)
    held = np.sort(order[:count])
    rows = np.sort(rows[np.isin(files[rows], held)])
    if most is not None and len(rows) > most:
        rows = rows[np.linspace(0, len(rows) - 1, most).astype(np.int64)]
    return held, rows
