"""Losses by name, each with what it asks of the targets and does to the network's output."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

# Pixels that are black (or white) in every image would have an infinite logit.
SMALLEST_MEAN = 1e-3


class LossFunction(Protocol):
    """Mean over every output; with weights ``(n,)``, each row's part is multiplied by its weight before the mean."""

    def __call__(self, output: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor: ...


def _as_it_is(values: Tensor) -> Tensor:
    return values


@dataclass(frozen=True, kw_only=True)
class Loss:
    """A loss function with all that estimators, figures and exported files need to know of it.

    Parameters
    ----------
    function : callable
        Takes the network's output ``(n, …)``, before any activation, the target of the same shape, and optionally
        weights ``(n,)``; returns the mean loss as a scalar tensor.
    label : str
        Name and unit, as on the axis of a figure.
    activation : callable, optional
        What turns an output into an image, elementwise; takes ``out=``, as :func:`torch.sigmoid`. By default the
        output is the image.
    unit_range : bool, default=False
        Whether targets have to be in [0, 1].
    output_range : pair of float, optional
        Lowest and highest value after the activation; by default unbounded.
    starting_bias : callable, optional
        Takes the mean of the targets and returns the output whose activation is about that mean, at which the last
        layer's bias starts; by default the mean itself.
    compares_images : bool, default=True
        Whether an autoencoder can be trained with it: every output is then compared with its own target.
    log_scores : callable, optional
        Takes outputs ``(n, classes)`` and returns logarithms of scores of the classes, whose probabilities are the
        scores divided by their sum. By default no classifier can be trained with this loss.
    """

    function: LossFunction
    label: str
    activation: Callable[..., Tensor] | None = None
    unit_range: bool = False
    output_range: tuple[float, float] | None = None
    starting_bias: Callable[[Tensor], Tensor] | None = None
    compares_images: bool = True
    log_scores: Callable[[Tensor], Tensor] | None = None

    def __call__(self, output: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
        """Compute the loss.

        Parameters
        ----------
        output : torch.Tensor of shape (n, ...)
            The network's output, before any activation.
        target : torch.Tensor of the same shape
        weights : torch.Tensor of shape (n,), optional
            Weight of each row; by default all weigh alike.

        Returns
        -------
        torch.Tensor
            The mean loss, a scalar.

        Raises
        ------
        ValueError
            When output and target differ in shape.
        """
        _check_shapes(output, target)
        return self.function(output, target, weights)


def bce(output: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
    """Sigmoid cross-entropy of logits against targets in [0, 1], mean over every output, in nats."""
    return F.binary_cross_entropy_with_logits(output, target, None if weights is None else _by_row(weights, output))


def mse(output: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
    """Squared error, mean over every output."""
    if weights is None:
        return F.mse_loss(output, target)
    return ((output - target).square() * _by_row(weights, output)).mean()


def softmax(output: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
    """Softmax cross-entropy of logits against one-hot targets, mean over the rows, in nats."""
    if weights is None:
        return F.cross_entropy(output, target)
    return (F.cross_entropy(output, target, reduction="none") * weights).mean()


def _logit(mean: Tensor) -> Tensor:
    return mean.clamp(SMALLEST_MEAN, 1 - SMALLEST_MEAN).logit()


def _by_row(weights: Tensor, output: Tensor) -> Tensor:
    return weights.view(-1, *[1] * (output.dim() - 1))


def _check_shapes(output: Tensor, target: Tensor) -> None:
    """Raise ValueError where PyTorch would repeat one target for all outputs, or read labels in another way."""
    if output.shape != target.shape:
        hint = "; labels go in one-hot form" if target.dim() == output.dim() - 1 else ""
        raise ValueError(
            f"the output has shape {tuple(output.shape)} and the target {tuple(target.shape)}; "
            f"expected the same shape, one target for each output{hint}"
        )


LOSSES: dict[str, Loss] = {
    "mse": Loss(function=mse, label="mean squared error"),
    "softmax": Loss(
        function=softmax, label="cross-entropy (nats)", unit_range=True, compares_images=False, log_scores=_as_it_is
    ),
    "bce": Loss(
        function=bce,
        label="binary cross-entropy (nats a pixel)",
        activation=torch.sigmoid,
        unit_range=True,
        output_range=(0, 1),
        starting_bias=_logit,
        log_scores=F.logsigmoid,
    ),
}
"""Every loss by its name; a loss from elsewhere is added by ``LOSSES["name"] = Loss(…)``."""


def image_losses() -> tuple[str, ...]:
    """List the losses with which autoencoders can be trained.

    Returns
    -------
    tuple of str
        Names, in the order of ``LOSSES``.
    """
    return tuple(name for name, loss in LOSSES.items() if loss.compares_images)


def class_losses() -> tuple[str, ...]:
    """List the losses with which classifiers can be trained.

    Returns
    -------
    tuple of str
        Names, in the order of ``LOSSES``.
    """
    return tuple(name for name, loss in LOSSES.items() if loss.log_scores is not None)
