"""Sums over the processes of data-parallel training that can be differentiated."""

from typing import Any

import torch
from torch import Tensor


def total_of_processes(values: Tensor) -> Tensor:
    """Sum of a tensor over all processes, which can be differentiated any number of times."""
    total: Tensor = _Total.apply(values)  # type: ignore[no-untyped-call]  # torch leaves apply untyped
    return total


class _Total(torch.autograd.Function):
    """The sum over processes is its own adjoint.

    Every process's loss depends on the sum, so that the gradient by each summand is the sum of all gradients.
    """

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        total = values.clone()
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return total_of_processes(grad)
