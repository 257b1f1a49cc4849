"""Losses by name: functions of output ``(n, …)`` without activation and target of the same shape, to a scalar mean."""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

Loss = Callable[[Tensor, Tensor], Tensor]


def bce(output: Tensor, target: Tensor) -> Tensor:
    """Sigmoid cross-entropy of logits against targets in [0, 1], mean over every output, in nats."""
    return F.binary_cross_entropy_with_logits(output, target)


def mse(output: Tensor, target: Tensor) -> Tensor:
    """Squared error, mean over every output."""
    return F.mse_loss(output, target)


def softmax(output: Tensor, target: Tensor) -> Tensor:
    """Softmax cross-entropy of logits against one-hot targets, mean over the rows, in nats."""
    return F.cross_entropy(output, target)


LOSSES: dict[str, Loss] = {"bce": bce, "mse": mse, "softmax": softmax}
