"""Losses by name: functions of output ``(n, …)`` without activation and target of the same shape, to a scalar mean."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from hourglass import tricks

Loss = Callable[[Tensor, Tensor], Tensor]
# Outputs from which the fused form pays, and probabilities that are multiplied before one logarithm of the product.
_LARGE, _TOGETHER = 10_000, 64


def bce(output: Tensor, target: Tensor) -> Tensor:
    """Sigmoid cross-entropy of logits against targets in [0, 1], mean over every output, in nats."""
    large = output.dtype == torch.float32 and output.device.type == "cpu" and output.numel() >= _LARGE
    if large and output.requires_grad and tricks.uses("fused-bce"):
        loss: Tensor = _FusedBce.apply(output, target)  # type: ignore[no-untyped-call]  # torch leaves apply untyped
        return loss
    return F.binary_cross_entropy_with_logits(output, target)


class _FusedBce(torch.autograd.Function):
    """One sigmoid for the loss and its gradient.

    ``-t log p - (1 - t) log(1 - p) = max(z, 0) - z t - log max(p, 1 - p)``, and the last factor is at least ½, so that
    64 of them can be multiplied before the logarithm is taken.
    """

    @staticmethod
    def forward(ctx: Any, output: Tensor, target: Tensor) -> Tensor:
        p = output.sigmoid()
        ctx.save_for_backward(p, target)
        likelier = torch.maximum(p, 1 - p).view(-1)
        even = len(likelier) // _TOGETHER * _TOGETHER
        logs = likelier[:even].view(_TOGETHER, -1).prod(0).log_().sum() + likelier[even:].log().sum()
        linear = output.clamp(min=0).sum() - torch.dot(output.reshape(-1), target.reshape(-1))
        return (linear - logs) / output.numel()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        p, target = ctx.saved_tensors
        return (p - target).mul_(grad / p.numel()), None


def mse(output: Tensor, target: Tensor) -> Tensor:
    """Squared error, mean over every output."""
    return F.mse_loss(output, target)


def softmax(output: Tensor, target: Tensor) -> Tensor:
    """Softmax cross-entropy of logits against one-hot targets, mean over the rows, in nats."""
    return F.cross_entropy(output, target)


LOSSES: dict[str, Loss] = {"bce": bce, "mse": mse, "softmax": softmax}
