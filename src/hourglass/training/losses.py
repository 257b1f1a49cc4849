"""Losses by name: of output ``(n, …)`` without activation and target of the same shape, to a scalar mean."""

from typing import Protocol

import torch.nn.functional as F
from torch import Tensor


class Loss(Protocol):
    """Mean over every output; with weights ``(n,)``, each row's part is multiplied by its weight before the mean."""

    def __call__(self, output: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor: ...


def bce(output: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
    """Sigmoid cross-entropy of logits against targets in [0, 1], mean over every output, in nats."""
    _check_shapes(output, target)
    return F.binary_cross_entropy_with_logits(output, target, None if weights is None else _by_row(weights, output))


def mse(output: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
    """Squared error, mean over every output."""
    _check_shapes(output, target)
    if weights is None:
        return F.mse_loss(output, target)
    return ((output - target).square() * _by_row(weights, output)).mean()


def softmax(output: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
    """Softmax cross-entropy of logits against one-hot targets, mean over the rows, in nats."""
    _check_shapes(output, target)
    if weights is None:
        return F.cross_entropy(output, target)
    return (F.cross_entropy(output, target, reduction="none") * weights).mean()


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


LOSSES: dict[str, Loss] = {"bce": bce, "mse": mse, "softmax": softmax}
