"""Training data in memory."""

import copy
from collections.abc import Iterator, Mapping
from typing import Any, Self

import torch
from numpy.typing import NDArray
from torch import Tensor

from hourglass.persistence import fingerprint
from hourglass.training.rows import Batch, channels_last, check_lengths, row_indices, select
from hourglass.training.source import Source


class ResidentSource(Source):
    """Rows in memory, as tensors on one device.

    Parameters
    ----------
    inputs : torch.Tensor of shape (size, ...)
        Inputs of the network; images are ``(size, c, h, w)``.
    targets : torch.Tensor of shape (size, ...), optional
        What the network's output is compared with; by default the inputs themselves.
    weights : torch.Tensor of shape (size,), optional
        Weight of each row in the loss, of mean 1; by default all rows have the same weight.

    Raises
    ------
    ValueError
        When the number of targets or weights is not that of the inputs.
    """

    def __init__(self, inputs: Tensor, targets: Tensor | None = None, weights: Tensor | None = None) -> None:
        self.inputs = inputs
        self.targets = inputs if targets is None else targets
        self._weights = weights
        self.device = inputs.device
        check_lengths(inputs, self.targets, weights)

    def __len__(self) -> int:
        return len(self.inputs)

    def take(self, index: Tensor, step: int) -> Batch:
        """Copy inputs and targets of some rows.

        Parameters
        ----------
        index : torch.Tensor of shape (n,), int64
            Indices of the rows, in [0, size), on ``device``.
        step : int
            Number of the training step; ignored, since the rows are the same in every step.

        Returns
        -------
        inputs, targets : torch.Tensor of shape (n, ...), on ``device``
            The rows, in the memory layout of the whole; one tensor where the inputs are the targets.
        """
        inputs = select(self.inputs, index)
        return inputs, inputs if self.targets is self.inputs else select(self.targets, index)

    def weights(self, index: Tensor) -> Tensor | None:
        """Return the weights of some rows in the loss.

        Parameters
        ----------
        index : torch.Tensor of shape (n,), int64
            Indices of the rows, in [0, size), on ``device``.

        Returns
        -------
        torch.Tensor of shape (n,) or None
            Weights of the rows; None where all rows have the same weight.
        """
        return None if self._weights is None else self._weights[index]

    @property
    def fingerprint(self) -> Mapping[str, str]:
        """Fingerprints by name: ``images``, ``targets`` where they are not the inputs, ``weights`` where given."""
        parts = {"images": self.inputs, "targets": self.targets, "weights": self._weights}
        if self.targets is self.inputs:
            del parts["targets"]
        return {
            name: fingerprint(channels_last(part).cpu().numpy()) for name, part in parts.items() if part is not None
        }

    def blocks(self) -> Iterator[Batch]:
        """Iterate over all rows in one block, since they are in memory already.

        Yields
        ------
        inputs, targets : torch.Tensor of shape (size, ...), on ``device``
            All rows, not copied.
        """
        yield self.inputs, self.targets

    def first(self, count: int) -> Tensor:
        """Return the inputs of the first rows.

        Parameters
        ----------
        count : int
            Number of rows, from 0.

        Returns
        -------
        torch.Tensor of shape (min(count, size), ...), on ``device``
            Inputs, not copied.
        """
        return self.inputs[:count]

    def subset(self, rows: NDArray[Any]) -> "ResidentSource":
        """Copy some of the rows.

        Parameters
        ----------
        rows : ndarray of shape (n,), int64, or of shape (size,), bool
            Indices of the rows, or a mask of all rows.

        Returns
        -------
        ResidentSource
            Source of these rows alone, with their targets and weights.
        """
        index = row_indices(rows, self.device)
        return (
            ResidentSource(*self.take(index, 0), self.weights(index))
            if self.targets is not self.inputs
            else (ResidentSource(select(self.inputs, index), None, self.weights(index)))
        )

    def paired(self, targets: "Tensor | Source | None" = None, weights: Tensor | None = None) -> Source:
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
            Source of the same inputs, in memory unless the targets are a source that is not.

        Raises
        ------
        ValueError
            When the number of targets or weights is not that of the inputs.
        """
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
        """Copy the rows to another device.

        Parameters
        ----------
        device : torch.device
            Device of the copy.

        Returns
        -------
        ResidentSource
            Source on that device; this one stays as it is. Tensors that are there already are shared.
        """
        other = copy.copy(self)
        other.device, other.inputs = device, self.inputs.to(device)
        other.targets = other.inputs if self.targets is self.inputs else self.targets.to(device)
        other._weights = None if self._weights is None else self._weights.to(device)
        return other
