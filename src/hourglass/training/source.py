"""Training data addressed by index, the only interface to the data that the trainer uses."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hourglass.persistence import fingerprint
from hourglass.training.block_order import BlockOrder
from hourglass.training.row_blocks import RowBlocks
from hourglass.training.rows import BLOCK, Batch, channels_last, check_lengths, mean_of, row_indices, select
from hourglass.training.sampler import Order, ShuffledSampler


class Source(ABC):
    """Abstract base class of training data addressed by index.

    A subclass defines ``__len__``, :meth:`take` and :attr:`fingerprint`. What :meth:`take` reads depends only on the
    indices and the step, so that a training can be resumed bit for bit.

    Attributes
    ----------
    device : torch.device
        Device of the batches, by default the CPU.
    has_common_range : bool
        Whether any subset has the range of all numbers, which then need not be found anew; by default not.
    """

    device: torch.device = torch.device("cpu")
    has_common_range: bool = False

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of rows, which make one epoch."""

    @abstractmethod
    def take(self, index: Tensor, step: int) -> Batch:
        """Read inputs and targets of some rows.

        Parameters
        ----------
        index : torch.Tensor of shape (n,), int64
            Indices of the rows, in [0, size), on ``device``.
        step : int
            Number of the training step, from 1; 0 outside training. Only sources that draw at random use it.

        Returns
        -------
        inputs, targets : torch.Tensor of shape (n, ...), on ``device``
            Both may be the same tensor. Images are ``(n, c, h, w)``, channels last in memory.
        """

    @property
    @abstractmethod
    def fingerprint(self) -> Mapping[str, str]:
        """Texts that are equal only for equal data, by the name of the part of the data; checkpoints keep them."""

    @property
    def has_targets(self) -> bool:
        """Whether the targets are other data than the inputs."""
        return False

    @property
    def groups(self) -> NDArray[np.int64] | None:
        """Group of each row ``(size,)``, int64; rows of a group are held out together. None where there are none."""
        return None

    @property
    def row_blocks(self) -> RowBlocks | None:
        """Blocks in which the rows are stored, for a source that reads block by block; by default None."""
        return None

    def weights(self, index: Tensor) -> Tensor | None:
        """Return the weights of some rows in the loss.

        Parameters
        ----------
        index : torch.Tensor of shape (n,), int64
            Indices of the rows, in [0, size), on ``device``.

        Returns
        -------
        torch.Tensor of shape (n,) or None
            Weights, whose mean over the source is 1; None where all rows have the same weight.
        """
        return None

    def order(self, batch_size: int, generator: torch.Generator) -> Order:
        """Make the endless sequence of index batches for a training.

        Parameters
        ----------
        batch_size : int
            Rows in a batch, from 1.
        generator : torch.Generator
            Random generator on the CPU that draws the order.

        Returns
        -------
        Order
            Iterator of index batches: a :class:`ShuffledSampler`, or a :class:`BlockOrder` of ``row_blocks``.
        """
        if (blocks := self.row_blocks) is not None:
            return BlockOrder(blocks, batch_size, generator, self.device)
        return ShuffledSampler(len(self), batch_size, generator, self.device)

    def blocks(self) -> Iterator[Batch]:
        """Iterate over all rows once, in order.

        Yields
        ------
        inputs, targets : torch.Tensor of shape (n, ...), on ``device``
            The next rows, whose inputs take about 16 MB.
        """
        inputs, _ = self.take(self._rows(0, 1), 0)
        size = max(1, BLOCK // (inputs.numel() * inputs.element_size()))
        for start in range(0, len(self), size):
            yield self.take(self._rows(start, start + size), 0)

    def first(self, count: int) -> Tensor:
        """Read the inputs of the first rows.

        Parameters
        ----------
        count : int
            Number of rows, from 1.

        Returns
        -------
        torch.Tensor of shape (min(count, size), ...), on ``device``
            Inputs.
        """
        return self.take(self._rows(0, count), 0)[0]

    def mean_target(self, rows: Tensor | None = None) -> NDArray[np.float64]:
        """Compute the mean of the targets.

        Parameters
        ----------
        rows : torch.Tensor of shape (n,), int64, optional
            Indices of the rows, at least one, on ``device``; by default all rows.

        Returns
        -------
        ndarray of the shape of one target, float64
            Mean; the mean of images has the shape ``(h, w, c)``.
        """
        source = self if rows is None else Subset(self, rows.cpu().numpy())
        return mean_of(targets for _, targets in source.blocks())

    def value_range(self) -> tuple[float, float]:
        """Find the smallest and the largest value of the inputs.

        Returns
        -------
        low, high : float
            Smallest and largest value.
        """
        ends = [torch.aminmax(inputs) for inputs, _ in self.blocks()]
        return min(float(low) for low, _ in ends), max(float(high) for _, high in ends)

    def subset(self, rows: NDArray[Any]) -> "Source":
        """Select some of the rows; rows that are not in memory are not copied.

        Parameters
        ----------
        rows : ndarray of shape (n,), int64, or of shape (size,), bool
            Indices of the rows, or a mask of all rows.

        Returns
        -------
        Source
            Source of these rows alone.
        """
        return Subset(self, rows)

    def paired(self, targets: "Tensor | Source | None" = None, weights: Tensor | None = None) -> "Source":
        """Combine the inputs with other targets or weights.

        Parameters
        ----------
        targets : torch.Tensor of shape (size, ...) or Source, optional
            New targets; the inputs of a source serve as targets. By default the targets stay.
        weights : torch.Tensor of shape (size,), optional
            New weights, of mean 1. By default the weights stay.

        Returns
        -------
        Source
            Source of the same inputs.

        Raises
        ------
        ValueError
            When the number of targets or weights is not that of the inputs.
        """
        return Paired(self, targets, weights)

    def to(self, device: torch.device) -> "Source":
        """Return a source that has its batches on another device.

        Parameters
        ----------
        device : torch.device
            Device of the batches.

        Returns
        -------
        Source
            Source of the same rows; this one stays as it is.
        """
        other = copy.copy(self)
        other.device = device
        return other

    def _rows(self, start: int, end: int) -> Tensor:
        return torch.arange(start, min(end, len(self)), device=self.device)


class Subset(Source):
    """Some rows of a source.

    Parameters
    ----------
    source : Source
        Source of all rows.
    rows : ndarray of shape (n,), int64, or of shape (size,), bool
        Indices of the rows, or a mask of all rows.
    """

    def __init__(self, source: Source, rows: NDArray[Any]) -> None:
        self.source, self.device = source, source.device
        self.rows = row_indices(rows, self.device)

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, index: Tensor, step: int) -> Batch:
        return self.source.take(self.rows[index], step)

    def weights(self, index: Tensor) -> Tensor | None:
        return self.source.weights(self.rows[index])

    def mean_target(self, rows: Tensor | None = None) -> NDArray[np.float64]:
        return self.source.mean_target(self.rows if rows is None else self.rows[rows])

    @property
    def has_targets(self) -> bool:
        return self.source.has_targets

    @property
    def groups(self) -> NDArray[np.int64] | None:
        """Group of each of these rows, or None where the source has no groups."""
        groups = self.source.groups
        return None if groups is None else groups[self.rows.cpu().numpy()]

    def value_range(self) -> tuple[float, float]:
        """Find the smallest and the largest value of these rows, or of all where the source has a common range."""
        return self.source.value_range() if self.source.has_common_range else super().value_range()

    @property
    def row_blocks(self) -> RowBlocks | None:
        """Blocks of the source with these rows alone, or None where the source has no blocks."""
        blocks = self.source.row_blocks
        return None if blocks is None else blocks.select(self.rows.cpu().numpy())

    @property
    def fingerprint(self) -> Mapping[str, str]:
        """Fingerprints of the source, and of the indices under the name ``rows``."""
        prints, rows = dict(self.source.fingerprint), fingerprint(self.rows.cpu().numpy())
        return prints | {"rows": f"{prints['rows']}; {rows}" if "rows" in prints else rows}

    def to(self, device: torch.device) -> "Subset":
        """Return the same rows with their batches on another device."""
        return Subset(self.source.to(device), self.rows.cpu().numpy())


class Paired(Source):
    """A source with other targets or weights; see :meth:`Source.paired`.

    Parameters
    ----------
    source : Source
        Source of the inputs.
    targets : torch.Tensor of shape (size, ...) or Source or None
        New targets; None keeps those of ``source``.
    weights : torch.Tensor of shape (size,) or None
        New weights; None keeps those of ``source``.
    """

    def __init__(self, source: Source, targets: Tensor | Source | None, weights: Tensor | None) -> None:
        self.source, self.targets, self._weights, self.device = source, targets, weights, source.device
        check_lengths(source, targets, weights)

    def __len__(self) -> int:
        return len(self.source)

    def take(self, index: Tensor, step: int) -> Batch:
        """Read inputs of some rows with their new targets."""
        inputs, targets = self.source.take(index, step)
        if isinstance(self.targets, Source):
            targets, _ = self.targets.take(index, step)
        elif self.targets is not None:
            targets = select(self.targets, index)
        return inputs, targets

    def weights(self, index: Tensor) -> Tensor | None:
        """Return the new weights of some rows, or those of the source."""
        return self.source.weights(index) if self._weights is None else self._weights[index]

    def mean_target(self, rows: Tensor | None = None) -> NDArray[np.float64]:
        return self.source.mean_target(rows) if self.targets is None else super().mean_target(rows)

    def order(self, batch_size: int, generator: torch.Generator) -> Order:
        return self.source.order(batch_size, generator)

    @property
    def row_blocks(self) -> RowBlocks | None:
        return self.source.row_blocks

    @property
    def has_targets(self) -> bool:
        """Whether there are new targets, or the source has some."""
        return self.targets is not None or self.source.has_targets

    @property
    def groups(self) -> NDArray[np.int64] | None:
        return self.source.groups

    @property
    def fingerprint(self) -> Mapping[str, str]:
        """Fingerprints of the source, and of the new ``targets`` and ``weights``; those of a source: ``targets.…``."""
        prints = dict(self.source.fingerprint)
        if isinstance(self.targets, Source):
            prints |= {f"targets.{name}": value for name, value in self.targets.fingerprint.items()}
        elif self.targets is not None:
            prints["targets"] = fingerprint(channels_last(self.targets).cpu().numpy())
        if self._weights is not None:
            prints["weights"] = fingerprint(self._weights.cpu().numpy())
        return prints

    def to(self, device: torch.device) -> "Paired":
        """Return the same pairs with their batches on another device."""
        targets, weights = (None if part is None else part.to(device) for part in (self.targets, self._weights))
        return Paired(self.source.to(device), targets, weights)  # type: ignore[arg-type]  # weights are a tensor
