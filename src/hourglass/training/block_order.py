"""Random order of rows that are stored in blocks, in which every block is read once an epoch."""

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hourglass.training.row_blocks import RowBlocks

# Number of blocks that are announced before they are needed.
AHEAD = 3
# What random numbers are drawn for: the first number after the seed and the epoch.
_BLOCKS, _STAGES, _ROWS = range(3)


class BlockOrder(Iterator[Tensor]):
    """Endless batches of indices of rows that are stored in blocks, of which only a window has to be in memory.

    In each epoch the blocks are put into a random order, and a window of W blocks moves over it, one block at a time.
    Each place of the window is a stage. Every row is assigned at random to one of the stages in which its block is in
    the window, all with equal probability, and the rows of a stage are put into a random order. So every row occurs
    once an epoch, and every block is read once. A batch may contain the end of one stage, or epoch, and the beginning
    of the next, so that every batch is full.

    A batch is drawn from W blocks: in the middle of the epoch about equally, at its ends (the first and last W - 1
    stages) with larger shares of the first and last blocks. Over many epochs, a row is equally likely to be early and
    late, but two rows of the same block are never further apart than the rows of W stages. The order is as good as a
    full shuffle if the blocks are alike, or if many of them are in the window. If all blocks fit into the window, it is
    a full shuffle: one random permutation of all rows.

    The order depends on the blocks, the batch size, the window and the seed alone.

    Parameters
    ----------
    blocks : RowBlocks
        The blocks and the size of the window.
    batch_size : int
        Indices in a batch, from 1; a number above that of all rows counts as this.
    generator : torch.Generator
        Random generator on the CPU from which the seed of the order is drawn.
    device : torch.device or str, default="cpu"
        Device of the indices.
    """

    def __init__(
        self, blocks: RowBlocks, batch_size: int, generator: torch.Generator, device: torch.device | str = "cpu"
    ) -> None:
        self.blocks = blocks
        self.batch_size = min(batch_size, int(blocks.starts[-1]))
        self.device = torch.device(device)
        self._seed = int(torch.randint(2**62, (1,), generator=generator))
        self._window = min(blocks.window, len(blocks))
        self._epoch = -1
        self._begin(0, 0)

    @property
    def state(self) -> Mapping[str, Tensor]:
        """Seed of the order, its window in blocks, and the place in it: epoch, stage, and rows used of the stage."""
        names = ("seed", "window", "epoch", "stage", "used")
        return {name: torch.tensor(getattr(self, f"_{name}")) for name in names}

    @state.setter
    def state(self, state: Mapping[str, Tensor]) -> None:
        self._seed, self._window, self._epoch = int(state["seed"]), int(state["window"]), -1
        self._begin(int(state["epoch"]), int(state["stage"]), int(state["used"]))

    def __next__(self) -> Tensor:
        parts: list[NDArray[np.int64]] = []
        wanted = self.batch_size
        while wanted:
            if self._used == len(self._rows):
                at_end = self._stage == self._stages - 1
                self._begin(self._epoch + at_end, 0 if at_end else self._stage + 1)
            part = self._rows[self._used : self._used + wanted]
            self._used += len(part)
            wanted -= len(part)
            parts.append(part)
        self._announce()
        return torch.from_numpy(np.concatenate(parts)).to(self.device)

    @property
    def _stages(self) -> int:
        return len(self.blocks) - self._window + 1

    def _begin(self, epoch: int, stage: int, used: int = 0) -> None:
        """Go to a place in the order."""
        if epoch != self._epoch:
            self._epoch = epoch
            self._blocks = self._random(_BLOCKS).permutation(len(self.blocks))
        self._stage, self._used = stage, used
        chosen = [self._rows_at(place, stage) for place in range(stage, stage + self._window)]
        self._rows = self._random(_ROWS, stage).permutation(np.concatenate(chosen))

    def _rows_at(self, place: int, stage: int) -> NDArray[np.int64]:
        """Rows of the block at a place of the epoch that are assigned to a stage."""
        block = int(self._blocks[place])
        first, last = max(0, place - self._window + 1), min(place, self._stages - 1)
        stages = self._random(_STAGES, place).integers(first, last + 1, self.blocks.size_of(block))
        rows: NDArray[np.int64] = self.blocks.rows_of(block)[stages == stage]
        return rows

    def _random(self, *what: int) -> np.random.Generator:
        return np.random.default_rng((self._seed, self._epoch, *what))

    def _announce(self) -> None:
        end = self._stage + self._window
        self.blocks.tell(self._blocks[self._stage : end].tolist(), self._blocks[end : end + AHEAD].tolist())
