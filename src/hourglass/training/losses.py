"""Losses by name: functions of output ``(n, …)`` without activation and target of the same shape, to a scalar mean.

Each raises ValueError where the shapes differ: PyTorch would repeat the smaller one or read it in another way.
"""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

Loss = Callable[[Tensor, Tensor], Tensor]


def bce(output: Tensor, target: Tensor) -> Tensor:
    """Sigmoid cross-entropy of logits against targets in [0, 1], mean over every output, in nats."""
    _check_shapes(output, target)
    return F.binary_cross_entropy_with_logits(output, target)


def mse(output: Tensor, target: Tensor) -> Tensor:
    """Squared error, mean over every output."""
    _check_shapes(output, target)
    return F.mse_loss(output, target)


def softmax(output: Tensor, target: Tensor) -> Tensor:
    """Softmax cross-entropy of logits against one-hot targets, mean over the rows, in nats."""
    _check_shapes(output, target)
    return F.cross_entropy(output, target)


def _check_shapes(output: Tensor, target: Tensor) -> None:
    if output.shape != target.shape:
        hint = "; labels go in one-hot form" if target.dim() == output.dim() - 1 else ""
        raise ValueError(
            f"the output has shape {tuple(output.shape)} and the target {tuple(target.shape)}; "
            f"expected the same shape, one target for each output{hint}"
        )


LOSSES: dict[str, Loss] = {"bce": bce, "mse": mse, "softmax": softmax}
