"""Losses by name, each with its requirements on the targets and its treatment of the network's output."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

# A pixel that is black (or white) in every image would have an infinite logit.
SMALLEST_MEAN = 1e-3


class LossFunction(Protocol):
    """Function that computes a mean loss; weights ``(n,)`` multiply the loss of each row before the mean."""

    def __call__(self, output: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor: ...


def _as_it_is(values: Tensor) -> Tensor:
    return values


@dataclass(frozen=True, kw_only=True)
class Loss:
    """A loss function with all that estimators, figures and exported files need to know about it.

    Parameters
    ----------
    function : callable
        Function that takes the network's output ``(n, …)``, before any activation, the target of the same shape, and
        optionally weights ``(n,)``; it returns the mean loss as a scalar tensor.
    label : str
        Name and unit for the axis of a figure.
    activation : callable, optional
        Elementwise function that turns an output into an image; it accepts ``out=``, as :func:`torch.sigmoid` does. By
        default the output is the image.
    unit_range : bool, default=False
        Whether targets have to be in [0, 1].
    output_range : pair of float, optional
        Lowest and highest value after the activation; by default unbounded.
    starting_bias : callable, optional
        Function that takes the mean of the targets and returns the output whose activation is about that mean; the bias
        of the last layer starts there. By default it starts at the mean itself.
    compares_images : bool, default=True
        Whether an autoencoder can be trained with this loss: every output is then compared with its own target.
    log_scores : callable, optional
        Function that takes outputs ``(n, classes)`` and returns logarithms of the classes' scores. A probability is a
        score divided by the sum of the scores. By default no classifier can be trained with this loss.
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
        target : torch.Tensor of shape (n, ...)
            What the output is compared with, of the same shape; classes are one-hot.
        weights : torch.Tensor of shape (n,), optional
            Weight of each row; by default all rows have the same weight.

        Returns
        -------
        torch.Tensor of shape ()
            The mean loss.

        Raises
        ------
        ValueError
            When output and target differ in shape.
        """
        _check_shapes(output, target)
        return self.function(output, target, weights)


def bce(output: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
    """Compute the sigmoid cross-entropy of logits against targets in [0, 1].

    Parameters
    ----------
    output : torch.Tensor of shape (n, ...)
        Logits.
    target : torch.Tensor of shape (n, ...)
        Targets in [0, 1].
    weights : torch.Tensor of shape (n,), optional
        Weight of each row; by default all rows have the same weight.

    Returns
    -------
    torch.Tensor of shape ()
        Mean over every output, in nats.
    """
    return F.binary_cross_entropy_with_logits(output, target, None if weights is None else _by_row(weights, output))


def mse(output: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
    """Compute the squared error.

    Parameters
    ----------
    output : torch.Tensor of shape (n, ...)
        The network's output.
    target : torch.Tensor of shape (n, ...)
        What the output is compared with.
    weights : torch.Tensor of shape (n,), optional
        Weight of each row; by default all rows have the same weight.

    Returns
    -------
    torch.Tensor of shape ()
        Mean over every output.
    """
    if weights is None:
        return F.mse_loss(output, target)
    return ((output - target).square() * _by_row(weights, output)).mean()


def mae(output: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
    """Compute the absolute error.

    Parameters
    ----------
    output : torch.Tensor of shape (n, ...)
        The network's output.
    target : torch.Tensor of shape (n, ...)
        What the output is compared with.
    weights : torch.Tensor of shape (n,), optional
        Weight of each row; by default all rows have the same weight.

    Returns
    -------
    torch.Tensor of shape ()
        Mean over every output.
    """
    if weights is None:
        return F.l1_loss(output, target)
    return ((output - target).abs() * _by_row(weights, output)).mean()


def softmax(output: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
    """Compute the softmax cross-entropy of logits against one-hot targets.

    Parameters
    ----------
    output : torch.Tensor of shape (n, classes)
        Logits.
    target : torch.Tensor of shape (n, classes)
        One-hot targets.
    weights : torch.Tensor of shape (n,), optional
        Weight of each row; by default all rows have the same weight.

    Returns
    -------
    torch.Tensor of shape ()
        Mean over the rows, in nats.
    """
    if weights is None:
        return F.cross_entropy(output, target)
    return (F.cross_entropy(output, target, reduction="none") * weights).mean()


def _logit(mean: Tensor) -> Tensor:
    return mean.clamp(SMALLEST_MEAN, 1 - SMALLEST_MEAN).logit()


def _by_row(weights: Tensor, output: Tensor) -> Tensor:
    return weights.view(-1, *[1] * (output.dim() - 1))


def _check_shapes(output: Tensor, target: Tensor) -> None:
    """Raise ValueError where PyTorch would broadcast the target, or would read integers as class labels."""
    if output.shape != target.shape:
        hint = "; labels go in one-hot form" if target.dim() == output.dim() - 1 else ""
        raise ValueError(
            f"the output has shape {tuple(output.shape)} and the target {tuple(target.shape)}; "
            f"expected the same shape, one target for each output{hint}"
        )


LOSSES: dict[str, Loss] = {
    "mse": Loss(function=mse, label="mean squared error"),
    "mae": Loss(function=mae, label="mean absolute error"),
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
