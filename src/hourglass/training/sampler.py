"""Choice of the rows that make each batch."""

from collections.abc import Iterator, Mapping
from typing import Protocol

import torch
from torch import Tensor


class Order(Protocol):
    """Protocol of an endless iterator of index batches, each a tensor ``(batch_size,)`` of int64.

    Attributes
    ----------
    state : mapping of str to torch.Tensor
        Everything that the next batch depends on. A checkpoint keeps it; assigning it resumes the order.
    """

    state: Mapping[str, Tensor]

    def __next__(self) -> Tensor: ...


class ShuffledSampler(Iterator[Tensor]):
    """Endless batches of indices, taken from one random permutation of the data after another.

    A batch may contain the end of one permutation and the beginning of the next. So every batch is full, and every row
    is seen equally often. ``next_batch`` in TensorFlow's MNIST tutorials does the same.

    Parameters
    ----------
    size : int
        Number of rows, from 1.
    batch_size : int
        Indices in a batch, from 1; a number above ``size`` counts as ``size``.
    generator : torch.Generator
        Random generator on the CPU that draws the permutations.
    device : torch.device or str, default="cpu"
        Device of the indices.
    """

    def __init__(
        self, size: int, batch_size: int, generator: torch.Generator, device: torch.device | str = "cpu"
    ) -> None:
        self.size = size
        self.batch_size = min(batch_size, size)
        self.generator = generator
        self.device = torch.device(device)
        self._left = torch.empty(0, dtype=torch.int64, device=self.device)

    @property
    def state(self) -> Mapping[str, Tensor]:
        """Rest of the permutation (``left``) and state of the random generator (``generator``)."""
        return {"left": self._left, "generator": self.generator.get_state()}

    @state.setter
    def state(self, state: Mapping[str, Tensor]) -> None:
        self._left = state["left"].to(self.device)
        self.generator.set_state(state["generator"])

    def __next__(self) -> Tensor:
        if len(self._left) < self.batch_size:
            permutation = torch.randperm(self.size, generator=self.generator).to(self.device)
            self._left = torch.cat([self._left, permutation])
        batch, self._left = self._left[: self.batch_size], self._left[self.batch_size :]
        return batch
