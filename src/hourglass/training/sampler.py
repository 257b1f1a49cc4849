"""Which images make each batch."""

from collections.abc import Iterator, Mapping
from typing import Protocol

import torch
from torch import Tensor


class Order(Protocol):
    """Endless iterator of index batches, each a tensor ``(batch_size,)`` of int64.

    Attributes
    ----------
    state : dict of str to torch.Tensor
        Everything that the next batch depends on; a checkpoint keeps it, and assigning it resumes the order.
    """

    state: Mapping[str, Tensor]

    def __next__(self) -> Tensor: ...


class ShuffledSampler(Iterator[Tensor]):
    """Endless batches of indices: permutations of the data, one after another, cut into equal pieces.

    A piece may end one permutation and begin the next, so that every batch is full and every image is seen
    equally often; TensorFlow's ``next_batch`` of the MNIST tutorials does the same.

    Parameters
    ----------
    size : int
        Number of images.
    batch_size : int
        Indices in a batch; more than ``size`` counts as ``size``.
    generator : torch.Generator
        Of the CPU; draws the permutations.
    device : torch.device, default=cpu
        Where the indices are needed.
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
        """Rest of the permutation (``left``) and state of the generator (``generator``)."""
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
