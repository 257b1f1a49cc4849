"""State of an optimiser as named tensors, as checkpoints and models keep it."""

from collections.abc import Mapping

import torch
from torch import Tensor


def optimiser_tensors(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Collect every tensor of an optimiser's state.

    Parameters
    ----------
    optimiser : torch.optim.Optimizer
        Optimiser whose state is collected. Before its first step it has no state, and the result is empty.

    Returns
    -------
    dict of str to torch.Tensor
        Tensors by the position of their parameter and their name, such as ``"0.exp_avg"``; they are not copied.
    """
    return {
        f"{i}.{name}": value
        for i, p in enumerate(_parameters(optimiser))
        for name, value in optimiser.state.get(p, {}).items()
        if isinstance(value, Tensor)
    }


def restore_optimiser(optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Restore the state that :func:`optimiser_tensors` collected.

    The tensors are copied, and laid out in memory as the parameters are.

    Parameters
    ----------
    optimiser : torch.optim.Optimizer
        Optimiser of the same parameters in the same order; its state is replaced.
    tensors : mapping of str to torch.Tensor
        Tensors by the position of their parameter and their name, on any device.
    """
    for i, p in enumerate(_parameters(optimiser)):
        mine = {key.partition(".")[2]: value for key, value in tensors.items() if key.partition(".")[0] == str(i)}
        optimiser.state[p] = {name: _laid_out_as(p, value) for name, value in mine.items()}
    if hasattr(optimiser, "count_steps"):
        optimiser.count_steps()


def _laid_out_as(p: Tensor, value: Tensor) -> Tensor:
    if value.shape == p.shape:
        return torch.empty_like(p, requires_grad=False).copy_(value)
    return value.to(p.device)


def _parameters(optimiser: torch.optim.Optimizer) -> list[Tensor]:
    return [p for group in optimiser.param_groups for p in group["params"]]
