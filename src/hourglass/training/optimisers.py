"""Optimisers by name: Adam as TensorFlow computes it, gradient descent with momentum and without, and AdamW.

To add one, write a class that takes parameters and a learning rate and has ``in_words``, and name it in ``OPTIMISERS``.
"""

import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

Parameters = Iterable[Tensor] | Iterable[dict[str, Any]]


class Optimiser(torch.optim.Optimizer):
    """Base of the optimisers: PyTorch's without what it wraps for its compiler.

    The compiler's import takes a second and 70 MB, and it is not used here.
    """

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        inspect.unwrap(torch.optim.Optimizer.add_param_group)(self, param_group)

    def zero_grad(self, set_to_none: bool = True) -> None:
        inspect.unwrap(torch.optim.Optimizer.zero_grad)(self, set_to_none)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]  # torch overloads it
        return inspect.unwrap(super().step)(self, closure)  # type: ignore[no-any-return]  # torch types calls as Any

    def in_words(self) -> str:
        """Name and constants of the optimiser."""
        raise NotImplementedError  # abstract base class


class Adam(Optimiser, torch.optim.Adam):
    """Adam with epsilon outside the bias correction, as in TensorFlow.

    ``w -= lr · sqrt(1 - b2^t) / (1 - b1^t) · m / (sqrt(v) + eps)``: the form that precedes algorithm 1's end
    in Kingma and Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015, section 2. PyTorch divides
    ``sqrt(v)`` by ``sqrt(1 - b2^t)`` before it adds ``eps``; with very small gradients the two differ.

    Parameters
    ----------
    params : iterable of torch.nn.Parameter or of parameter groups
    lr : float, default=0.001
    betas : tuple of float, default=(0.9, 0.999)
    eps : float, default=1e-8
    """

    def __init__(
        self, params: Parameters, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8
    ) -> None:
        # One fused kernel for all parameters: +5% images/s for the convolutional nets, +30% for `dense`.
        super().__init__(params, lr, betas, eps, fused=True)
        self.steps = 0
        for group in self.param_groups:
            group["epsilon"] = group["eps"]

    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]  # torch overloads it
        self.steps += 1
        for group in self.param_groups:
            # PyTorch adds eps to sqrt(v / (1 - b2^t)); scaled so, it is TensorFlow's eps added to sqrt(v).
            group["eps"] = group["epsilon"] / math.sqrt(1 - group["betas"][1] ** self.steps)
        return super().step(closure)

    def __getstate__(self) -> dict[str, Any]:
        return super().__getstate__() | {"steps": self.steps}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self.count_steps()

    def count_steps(self) -> None:
        """Take the number of steps from the state of the parameters."""
        self.steps = max((int(state["step"]) for state in self.state.values() if state), default=0)

    def in_words(self) -> str:
        return f"Adam, {_constants(self)} outside the bias correction, as TensorFlow"


class AdamW(Optimiser, torch.optim.AdamW):
    """Adam with decoupled weight decay, as PyTorch computes it: epsilon is added after the bias correction.

    Source: Loshchilov and Hutter, "Decoupled Weight Decay Regularization", ICLR 2019.

    Parameters
    ----------
    params : iterable of torch.nn.Parameter or of parameter groups
    lr : float, default=0.001
    weight_decay : float, default=0.01
        Share of each weight, multiplied by the learning rate, that a step subtracts; biases included.
    """

    def __init__(self, params: Parameters, lr: float = 1e-3, weight_decay: float = 0.01) -> None:
        super().__init__(params, lr, weight_decay=weight_decay, fused=True)

    def in_words(self) -> str:
        return f"AdamW, {_constants(self)}, weight decay = {self.defaults['weight_decay']:g}"


class SGD(Optimiser, torch.optim.SGD):
    """Plain stochastic gradient descent: ``w -= lr · gradient``.

    Parameters
    ----------
    params : iterable of torch.nn.Parameter or of parameter groups
    lr : float, default=0.001
    """

    def __init__(self, params: Parameters, lr: float = 1e-3) -> None:
        super().__init__(params, lr)

    def in_words(self) -> str:
        return "plain stochastic gradient descent"


class MomentumSGD(Optimiser, torch.optim.SGD):
    """Stochastic gradient descent with momentum: ``v = momentum · v + gradient``, ``w -= lr · v``.

    Parameters
    ----------
    params : iterable of torch.nn.Parameter or of parameter groups
    lr : float, default=0.001
    momentum : float, default=0.9
    """

    def __init__(self, params: Parameters, lr: float = 1e-3, momentum: float = 0.9) -> None:
        super().__init__(params, lr, momentum)

    def in_words(self) -> str:
        return f"stochastic gradient descent, momentum = {self.defaults['momentum']:g}"


OPTIMISERS: dict[str, type[Any]] = {"adam": Adam, "sgd": SGD, "sgd-momentum": MomentumSGD, "adamw": AdamW}
"""Every optimiser by name: classes that take parameters and a learning rate."""


def optimiser_in_words(name: str) -> str:
    """Name and constants of an optimiser, one of ``OPTIMISERS``, as they are built for a training."""
    optimiser = OPTIMISERS[name]([torch.zeros(1, requires_grad=True)], 1.0)
    if isinstance(optimiser, Optimiser):
        return optimiser.in_words()
    constants = {key: value for key, value in optimiser.defaults.items() if type(value) in (int, float, tuple)}
    return ", ".join([type(optimiser).__name__, *(f"{key} = {constants[key]}" for key in constants if key != "lr")])


def optimiser_tensors(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Every tensor of an optimiser's state, by the place of its parameter and its name."""
    return {
        f"{i}.{name}": value
        for i, p in enumerate(_parameters(optimiser))
        for name, value in optimiser.state.get(p, {}).items()
        if isinstance(value, Tensor)
    }


def restore_optimiser(optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put back what :func:`optimiser_tensors` gave, laid out in memory as the parameters are."""
    for i, p in enumerate(_parameters(optimiser)):
        mine = {key.partition(".")[2]: value for key, value in tensors.items() if key.partition(".")[0] == str(i)}
        optimiser.state[p] = {name: _laid_out_as(p, value) for name, value in mine.items()}
    if isinstance(optimiser, Adam):
        optimiser.count_steps()


def _laid_out_as(p: Tensor, value: Tensor) -> Tensor:
    if value.shape == p.shape:
        return torch.empty_like(p, requires_grad=False).copy_(value)
    return value.to(p.device)


def _parameters(optimiser: torch.optim.Optimizer) -> list[Tensor]:
    return [p for group in optimiser.param_groups for p in group["params"]]


def _constants(optimiser: torch.optim.Optimizer) -> str:
    (beta1, beta2), eps = optimiser.defaults["betas"], optimiser.defaults["eps"]
    return f"β₁ = {beta1:g}, β₂ = {beta2:g}, ε = {eps:g}"
