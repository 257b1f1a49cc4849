"""What a training step minimises: the loss of corrupted inputs, or of two halves of noisy images."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from hourglass.runtime import ranks

# Function that applies the network, in the precision of the training, to inputs and what else it takes.
Forward = Callable[..., Tensor]
# Function that returns the corrupted batch, alone or with a mask of the places at which the loss is computed, and with
# what the network takes after the images.
Corrupt = Callable[[Tensor], Any]


@dataclass(frozen=True)
class Drawn:
    """A batch for which everything random has been drawn.

    Parameters
    ----------
    inputs, targets : torch.Tensor of shape (n, ...)
        What the network is given, and what its output is compared with.
    weights : torch.Tensor of shape (n,) or None
        Weight of each row in the loss; None where all are equal.
    mask : torch.Tensor of bool or None, default=None
        Places at which outputs and targets are compared, in the shape of the targets; None for all.
    further : sequence of torch.Tensor, default=()
        Other tensors that were drawn. A tensor with as many rows as ``inputs`` has one row for each input; any other
        tensor belongs to the whole batch.
    """

    inputs: Tensor
    targets: Tensor
    weights: Tensor | None
    mask: Tensor | None = None
    further: Sequence[Tensor] = ()

    def part(self, rows: slice) -> "Drawn":
        """Select some of the rows.

        Parameters
        ----------
        rows : slice
            The rows.

        Returns
        -------
        Drawn
            Views of these rows.
        """
        inputs = self.inputs[rows]
        return replace(
            self,
            inputs=inputs,
            targets=inputs if self.targets is self.inputs else self.targets[rows],
            weights=None if self.weights is None else self.weights[rows],
            mask=None if self.mask is None else self.mask[rows],
            further=[part[rows] if part.dim() and len(part) == len(self.inputs) else part for part in self.further],
        )

    @property
    def terms(self) -> int:
        """Number of terms whose mean is the loss: places of the mask where there is one, otherwise rows."""
        return len(self.inputs) if self.mask is None else int(self.mask.sum())


class Objective(Protocol):
    """Function whose value for a batch a training step makes smaller.

    Drawing at random is separate from computing, so that several processes can draw the same for a batch and compute a
    part of it each.
    """

    @property
    def draws(self) -> bool:
        """Whether :meth:`draw` draws at random, and therefore needs the whole batch."""
        ...

    def draw(self, inputs: Tensor, targets: Tensor, weights: Tensor | None) -> Drawn:
        """Draw what is random about a step.

        Parameters
        ----------
        inputs, targets : torch.Tensor of shape (n, ...)
            Batch of the source.
        weights : torch.Tensor of shape (n,) or None
            Weight of each row; None where all are equal.

        Returns
        -------
        Drawn
            The batch, with what was drawn.
        """
        ...

    def __call__(self, forward: Forward, drawn: Drawn, progress: float) -> Tensor:
        """Compute the objective.

        Parameters
        ----------
        forward : callable
            Function that applies the network to inputs ``(n, ...)`` and further tensors that it takes.
        drawn : Drawn
            Batch, or some of its rows.
        progress : float
            Share of the steps that are done, in [0, 1).

        Returns
        -------
        torch.Tensor of shape ()
            Mean over the rows.
        """
        ...


class Supervised:
    """Loss between the network's output for corrupted inputs and the targets.

    Parameters
    ----------
    loss : callable
        Function of outputs, targets and, where there are some, weights.
    corrupt : callable, optional
        As for :class:`hourglass.training.Trainer`.
    """

    def __init__(self, loss: Callable[..., Tensor], corrupt: Corrupt | None = None) -> None:
        self.loss, self.corrupt = loss, corrupt

    @property
    def draws(self) -> bool:
        """Whether inputs are corrupted."""
        return self.corrupt is not None

    def draw(self, inputs: Tensor, targets: Tensor, weights: Tensor | None) -> Drawn:
        """Corrupt the inputs.

        Parameters
        ----------
        inputs, targets : torch.Tensor of shape (n, ...)
            Batch of the source.
        weights : torch.Tensor of shape (n,) or None
            Weight of each row.

        Returns
        -------
        Drawn
            The batch with corrupted inputs, and with the mask and what else the corruption returned.
        """
        if self.corrupt is None:
            return Drawn(inputs, targets, weights)
        if targets is inputs:  # a user's corruption might write into its argument
            targets = inputs.clone()
        corrupted = self.corrupt(inputs)
        inputs, mask, *further = corrupted if isinstance(corrupted, tuple) else (corrupted, None)
        return Drawn(inputs, targets, weights, mask, further)

    def __call__(self, forward: Forward, drawn: Drawn, progress: float) -> Tensor:
        """Compute the loss; see :class:`Objective`."""
        targets = drawn.targets
        output = forward(drawn.inputs, *drawn.further).to(targets.dtype)
        if drawn.mask is not None:
            if ranks.count() > 1 and not drawn.mask.any():  # another process has the masked places
                return output.sum() * 0
            output, targets = output[drawn.mask], targets[drawn.mask]
        return self.loss(output, targets, *(() if drawn.weights is None else (drawn.weights,)))


class NeighborToNeighbor:
    """Learning to denoise from noisy images alone, by two images of half the size made of neighbouring pixels.

    From each cell of 2 × 2 pixels two neighbours are drawn; the first ones make one image and the second ones another.
    The network restores the first, and is compared with the second, whose noise it cannot know. Neighbours differ
    without noise too. A second term subtracts this difference, measured on the network's output for the whole image.

    Source: Huang, Li, Jia, Lu and Liu, "Neighbor2Neighbor: Self-Supervised Denoising from Single Noisy Images", CVPR
    2021, equations 10 and 11; the noise has to be independent from pixel to pixel, with a mean of zero.

    Parameters
    ----------
    loss : callable
        Function of outputs, targets and, where there are some, weights.
    generator : torch.Generator
        Draws the neighbours, on the device of the images.
    strength : float, default=2.0
        Factor of the second term at the end of the training; at its beginning it is 0, and it rises evenly.
    """

    def __init__(self, loss: Callable[..., Tensor], generator: torch.Generator, strength: float = 2.0) -> None:
        self.loss, self.generator, self.strength = loss, generator, strength

    draws = True

    def draw(self, inputs: Tensor, targets: Tensor, weights: Tensor | None) -> Drawn:
        """Draw two neighbours of each cell.

        Parameters
        ----------
        inputs, targets : torch.Tensor of shape (n, ...)
            Batch of the source.
        weights : torch.Tensor of shape (n,) or None
            Weight of each row.

        Returns
        -------
        Drawn
            The batch, followed by the places of the two neighbours, as :meth:`neighbours` returns them.
        """
        return Drawn(inputs, targets, weights, further=self.neighbours(inputs))

    def __call__(self, forward: Forward, drawn: Drawn, progress: float) -> Tensor:
        """Compute the loss; see :class:`Objective`."""
        inputs, given = drawn.inputs, () if drawn.weights is None else (drawn.weights,)
        choice = drawn.further
        first, second = (halves(inputs, which) for which in choice)
        restored = forward(first).to(inputs.dtype)
        loss = self.loss(restored, second, *given)
        strength = self.strength * progress
        if strength == 0:
            return loss
        with torch.no_grad():
            whole = forward(inputs).to(inputs.dtype)
            difference = halves(whole, choice[1]) - halves(whole, choice[0])
        return loss + strength * self.loss(restored, second - difference, *given)

    def neighbours(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Draw two neighbours of each cell.

        Parameters
        ----------
        images : torch.Tensor of shape (n, c, h, w)
            Images of at least 2 × 2 pixels; a last odd row or column is left out.

        Returns
        -------
        first, second : torch.Tensor of shape (n, 1, h // 2, w // 2), int64
            Place of a pixel in its cell, 0 to 3, row by row. The two are side by side or one above the other.

        Raises
        ------
        ValueError
            When the images have fewer than 2 × 2 pixels.
        """
        n, _, h, w = images.shape
        if min(h, w) < 2:
            raise ValueError(f"the images have {h} × {w} pixels; neighbor2neighbor divides cells of 2 × 2 pixels")
        shape, device = (n, 1, h // 2, w // 2), images.device
        first = torch.randint(4, shape, generator=self.generator, device=device)
        # Two bits are row and column; a neighbour differs in one of them.
        flipped = 1 + torch.randint(2, shape, generator=self.generator, device=device)
        return first, first ^ flipped


def halves(images: Tensor, places: Tensor) -> Tensor:
    """Make images of half the size from one pixel of each cell of 2 × 2.

    Parameters
    ----------
    images : torch.Tensor of shape (n, c, h, w)
        Images of at least 2 × 2 pixels.
    places : torch.Tensor of shape (n, 1, h // 2, w // 2), int64
        Place of the pixel in its cell, 0 to 3, row by row.

    Returns
    -------
    torch.Tensor of shape (n, c, h // 2, w // 2)
        The pixels.
    """
    n, c, h, w = images.shape
    cells = F.pixel_unshuffle(images[..., : h // 2 * 2, : w // 2 * 2], 2).view(n, c, 4, h // 2, w // 2)
    picked = cells.gather(2, places.unsqueeze(2).expand(n, c, 1, h // 2, w // 2))
    return picked.squeeze(2)
