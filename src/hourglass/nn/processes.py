"""Sums over the processes of data-parallel training that can be differentiated."""

from typing import Any

import torch
from torch import Tensor

from hourglass.runtime import ranks


def total_of_processes(values: Tensor) -> Tensor:
    """Sum of a tensor over all processes, which can be differentiated any number of times."""
    total: Tensor = _Total.apply(values)  # type: ignore[no-untyped-call]  # torch leaves apply untyped
    return total


def moments_of_processes(count: int, mean: Tensor, squares: Tensor) -> tuple[int, Tensor, Tensor]:
    """Moments of each channel over the values of all processes, which exchange theirs at once.

    Source: Chan, Golub and LeVeque, "Updating Formulae and a Pairwise Algorithm for Computing Sample Variances",
    Stanford University, STAN-CS-79-773, 1979, formulas 1.5.

    Parameters
    ----------
    count : int
        Number of values of each channel in this process; 0 or more.
    mean : torch.Tensor of shape (channels,)
        Their mean; 0 without values.
    squares : torch.Tensor of shape (channels,)
        Sum of their squared differences from this mean.

    Returns
    -------
    count : int
        Number of values of each channel in all processes.
    mean, variance : torch.Tensor of shape (channels,)
        Their mean and biased variance; 0 without values.
    """
    # In float64, which counts exactly. Each process fills a row of its own, so that the sum is all rows.
    own = torch.cat([mean.new_tensor([count], dtype=torch.float64), mean.double(), squares.double()])
    others = own.new_zeros(len(own))
    rows = total_of_processes(torch.stack([own if rank == ranks.rank() else others for rank in range(ranks.count())]))
    counts, means, every = rows[:, :1].detach(), *rows[:, 1:].chunk(2, dim=1)
    total = int(counts.sum())
    whole_mean = (counts * means).sum(0) / (total or 1)
    whole_squares = (every + counts * (means - whole_mean).square()).sum(0)
    return total, whole_mean.to(mean.dtype), (whole_squares / (total or 1)).to(mean.dtype)


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
