"""Training data addressed by index: the one thing that the trainer knows of it."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hourglass.persistence import fingerprint
from hourglass.training.sampler import Order, ShuffledSampler

# Bytes of one block when all rows are read one after another.
BLOCK = 16 << 20

Batch = tuple[Tensor, Tensor]


class Source(ABC):
    """Training data addressed by index.

    A subclass defines :meth:`__len__`, :meth:`take` and :attr:`fingerprint`. Batches are indices until :meth:`take`
    reads them, which depends on nothing but the index and the step, so that a training can be resumed bit for bit.

    Attributes
    ----------
    device : torch.device
        Where the batches are, by default the CPU.
    """

    device: torch.device = torch.device("cpu")

    @abstractmethod
    def __len__(self) -> int:
        """Number of rows that count as an epoch."""

    @abstractmethod
    def take(self, index: Tensor, step: int) -> Batch:
        """Inputs and targets of some rows.

        Parameters
        ----------
        index : torch.Tensor of shape (n,), int64
        step : int
            Number of the training step, from 1; 0 outside of training. Only sources that draw at random look at it.

        Returns
        -------
        inputs, targets : torch.Tensor of shape (n, ...), on ``device``
            Both may be the same tensor. Images are ``(n, c, h, w)``, channels last in memory.
        """

    @property
    @abstractmethod
    def fingerprint(self) -> Mapping[str, str]:
        """Texts that are equal for equal data alone, by the name of the part; a checkpoint keeps them."""

    @property
    def groups(self) -> NDArray[np.int64] | None:
        """Number of each row's group ``(size,)``; rows of one group are held out together. None where each is alone."""
        return None

    def weights(self, index: Tensor) -> Tensor | None:
        """Weight of each row in the loss ``(n,)``, of mean 1 over the source; None where all weigh alike."""
        return None

    def order(self, batch_size: int, generator: torch.Generator) -> Order:
        """Index batches of a training, by default those of :class:`ShuffledSampler`.

        Parameters
        ----------
        batch_size : int
        generator : torch.Generator
            Of the CPU.
        """
        return ShuffledSampler(len(self), batch_size, generator, self.device)

    def blocks(self) -> Iterator[Batch]:
        """Every row once, in order: inputs and targets, in blocks of about 16 MB."""
        inputs, _ = self.take(self._rows(0, 1), 0)
        size = max(1, BLOCK // (inputs.numel() * inputs.element_size()))
        for start in range(0, len(self), size):
            yield self.take(self._rows(start, start + size), 0)

    def first(self, count: int) -> Tensor:
        """Inputs of the first rows, or of all where there are fewer."""
        return self.take(self._rows(0, count), 0)[0]

    def mean_target(self) -> NDArray[np.float64]:
        """Mean of the targets over the rows, in float64; of images ``(h, w, c)``."""
        total: NDArray[Any] | None = None
        for _, targets in self.blocks():
            block = _channels_last(targets).cpu().numpy()
            if total is not None:  # added up row by row, so that the blocks do not change the last digits
                block = np.concatenate([total[None], block])
            total = np.add.reduce(block, 0, dtype=np.float64)
        return np.asarray(total) / len(self)

    def value_range(self) -> tuple[float, float]:
        """Smallest and largest number of the inputs."""
        ends = [torch.aminmax(inputs) for inputs, _ in self.blocks()]
        return min(float(low) for low, _ in ends), max(float(high) for _, high in ends)

    def subset(self, rows: NDArray[Any]) -> "Source":
        """Some of the rows, without copying them where they are not in memory.

        Parameters
        ----------
        rows : ndarray of shape (n,)
            Their indices, or a mask of all rows.
        """
        return Subset(self, rows)

    def paired(self, targets: "Tensor | Source | None" = None, weights: Tensor | None = None) -> "Source":
        """The same inputs with other targets, or with weights.

        Parameters
        ----------
        targets : torch.Tensor of shape (size, ...) or Source, optional
            By default those that there are. Of a source the inputs are the targets.
        weights : torch.Tensor of shape (size,), optional
            By default those that there are.

        Raises
        ------
        ValueError
            When their number is not that of the inputs.
        """
        return Paired(self, targets, weights)

    def to(self, device: torch.device) -> "Source":
        """The source with its batches on another device."""
        other = copy.copy(self)
        other.device = device
        return other

    def _rows(self, start: int, end: int) -> Tensor:
        return torch.arange(start, min(end, len(self)), device=self.device)


class ResidentSource(Source):
    """Rows in memory, as tensors on the device.

    Parameters
    ----------
    inputs : torch.Tensor of shape (size, ...)
    targets : torch.Tensor of shape (size, ...), optional
        What the output is compared with; by default the inputs themselves.
    weights : torch.Tensor of shape (size,), optional
        Of each row in the loss; by default all weigh alike. Their mean should be 1.

    Raises
    ------
    ValueError
        When there is another number of targets or weights.
    """

    def __init__(self, inputs: Tensor, targets: Tensor | None = None, weights: Tensor | None = None) -> None:
        self.inputs = inputs
        self.targets = inputs if targets is None else targets
        self._weights = weights
        self.device = inputs.device
        _check_lengths(inputs, self.targets, weights)

    def __len__(self) -> int:
        return len(self.inputs)

    def take(self, index: Tensor, step: int) -> Batch:
        inputs = select(self.inputs, index)
        return inputs, inputs if self.targets is self.inputs else select(self.targets, index)

    def weights(self, index: Tensor) -> Tensor | None:
        return None if self._weights is None else self._weights[index]

    @property
    def fingerprint(self) -> Mapping[str, str]:
        parts = {"images": self.inputs, "targets": self.targets, "weights": self._weights}
        if self.targets is self.inputs:
            del parts["targets"]
        return {
            name: fingerprint(_channels_last(part).cpu().numpy()) for name, part in parts.items() if part is not None
        }

    def blocks(self) -> Iterator[Batch]:
        yield self.inputs, self.targets

    def first(self, count: int) -> Tensor:
        return self.inputs[:count]

    def subset(self, rows: NDArray[Any]) -> "ResidentSource":
        index = _indices(rows, self.device)
        return (
            ResidentSource(*self.take(index, 0), self.weights(index))
            if self.targets is not self.inputs
            else (ResidentSource(select(self.inputs, index), None, self.weights(index)))
        )

    def paired(self, targets: "Tensor | Source | None" = None, weights: Tensor | None = None) -> Source:
        if isinstance(targets, ResidentSource):
            targets = targets.inputs
        if isinstance(targets, Source):
            return super().paired(targets, weights)
        return ResidentSource(
            self.inputs,
            (None if self.targets is self.inputs else self.targets) if targets is None else targets,
            self._weights if weights is None else weights,
        )

    def to(self, device: torch.device) -> Self:
        other = copy.copy(self)
        other.device, other.inputs = device, self.inputs.to(device)
        other.targets = other.inputs if self.targets is self.inputs else self.targets.to(device)
        other._weights = None if self._weights is None else self._weights.to(device)
        return other


class Subset(Source):
    """Some rows of a source.

    Parameters
    ----------
    source : Source
    rows : ndarray of shape (n,)
        Their indices, or a mask of all rows.
    """

    def __init__(self, source: Source, rows: NDArray[Any]) -> None:
        self.source, self.device = source, source.device
        self.rows = _indices(rows, self.device)

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, index: Tensor, step: int) -> Batch:
        return self.source.take(self.rows[index], step)

    def weights(self, index: Tensor) -> Tensor | None:
        return self.source.weights(self.rows[index])

    @property
    def groups(self) -> NDArray[np.int64] | None:
        groups = self.source.groups
        return None if groups is None else groups[self.rows.cpu().numpy()]

    @property
    def fingerprint(self) -> Mapping[str, str]:
        return {**self.source.fingerprint, "rows": fingerprint(self.rows.cpu().numpy())}

    def to(self, device: torch.device) -> "Subset":
        return Subset(self.source.to(device), self.rows.cpu().numpy())


class Paired(Source):
    """A source's inputs with other targets, or with weights; see :meth:`Source.paired`."""

    def __init__(self, source: Source, targets: Tensor | Source | None, weights: Tensor | None) -> None:
        self.source, self.targets, self._weights, self.device = source, targets, weights, source.device
        _check_lengths(source, targets, weights)

    def __len__(self) -> int:
        return len(self.source)

    def take(self, index: Tensor, step: int) -> Batch:
        inputs, targets = self.source.take(index, step)
        if isinstance(self.targets, Source):
            targets, _ = self.targets.take(index, step)
        elif self.targets is not None:
            targets = select(self.targets, index)
        return inputs, targets

    def weights(self, index: Tensor) -> Tensor | None:
        return self.source.weights(index) if self._weights is None else self._weights[index]

    @property
    def groups(self) -> NDArray[np.int64] | None:
        return self.source.groups

    @property
    def fingerprint(self) -> Mapping[str, str]:
        prints = dict(self.source.fingerprint)
        if isinstance(self.targets, Source):
            prints["targets"] = self.targets.fingerprint["images"]
        elif self.targets is not None:
            prints["targets"] = fingerprint(_channels_last(self.targets).cpu().numpy())
        if self._weights is not None:
            prints["weights"] = fingerprint(self._weights.cpu().numpy())
        return prints

    def to(self, device: torch.device) -> "Paired":
        targets, weights = (None if part is None else part.to(device) for part in (self.targets, self._weights))
        return Paired(self.source.to(device), targets, weights)  # type: ignore[arg-type]  # weights are a tensor


def select(rows: Tensor, index: Tensor) -> Tensor:
    """Rows by index, laid out in memory as they were; several times as fast as ``rows[index]`` on the CPU."""
    if rows.dim() == 4 and rows.is_contiguous(memory_format=torch.channels_last):
        return rows.permute(0, 2, 3, 1).index_select(0, index).permute(0, 3, 1, 2)
    return rows.index_select(0, index)


def _channels_last(rows: Tensor) -> Tensor:
    return rows.permute(0, 2, 3, 1) if rows.dim() == 4 else rows


def _indices(rows: NDArray[Any], device: torch.device) -> Tensor:
    rows = np.flatnonzero(rows) if rows.dtype == bool else rows
    return torch.from_numpy(np.ascontiguousarray(rows, dtype=np.int64)).to(device)


def _check_lengths(inputs: Any, targets: Any, weights: Any) -> None:
    if len({len(part) for part in (inputs, targets, weights) if part is not None}) > 1:
        raise ValueError(f"{len(inputs)} inputs, but another number of targets or weights; give one an input")
