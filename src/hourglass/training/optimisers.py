"""Optimisers by name: Adam as TensorFlow computes it, and plain gradient descent."""

import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeGuard

import torch
from torch import Tensor

from hourglass.runtime import tricks


class Adam(torch.optim.Adam):
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
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        # One fused kernel for all parameters: +5% images/s for the convolutional nets, +30% for `dense`.
        super().__init__(params, lr, betas, eps, fused=True)
        self.steps = 0
        for group in self.param_groups:
            group["epsilon"] = group["eps"]

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        # PyTorch wraps it for its compiler, whose import takes a second and 70 MB, and which is not used here.
        inspect.unwrap(torch.optim.Optimizer.add_param_group)(self, param_group)

    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]  # torch overloads it
        self.steps += 1
        for group in self.param_groups:
            # PyTorch adds eps to sqrt(v / (1 - b2^t)); scaled so, it is TensorFlow's eps added to sqrt(v).
            group["eps"] = group["epsilon"] / math.sqrt(1 - group["betas"][1] ** self.steps)
        return super().step(closure)  # type: ignore[no-any-return]  # torch types calls as Any

    @property
    def in_words(self) -> str:
        """Name and constants, for people."""
        (beta1, beta2), eps = self.defaults["betas"], self.defaults["eps"]
        return f"Adam, β₁ = {beta1:g}, β₂ = {beta2:g}, ε = {eps:g} outside the bias correction, as TensorFlow"

    def __getstate__(self) -> dict[str, Any]:
        return super().__getstate__() | {"steps": self.steps}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        steps = {int(state["step"]) for state in self.state.values()}
        self.steps = steps.pop() if steps else 0


class SGD(torch.optim.SGD):
    """Plain stochastic gradient descent: ``w -= lr · gradient``.

    Parameters
    ----------
    params : iterable of torch.nn.Parameter or of parameter groups
    lr : float, default=0.001
    """

    def __init__(self, params: Iterable[Tensor] | Iterable[dict[str, Any]], lr: float = 1e-3) -> None:
        super().__init__(params, lr)

    add_param_group = Adam.add_param_group

    @property
    def in_words(self) -> str:
        """Name, for people."""
        return "plain stochastic gradient descent"


OPTIMISERS: dict[str, Callable[..., torch.optim.Optimizer]] = {"adam": Adam, "sgd": SGD}
"""Every optimiser by name; each takes parameters and a learning rate."""


class FlatParameters:
    """All parameters of an optimiser's group as views of one vector, for as long as training lasts.

    The 80 small parameters of the 20-layer network otherwise cost 80 calls a step, most of them overhead. The state
    of :class:`Adam` lies in vectors too; it, and the parameters, stay those that they were for whoever holds them.

    Parameters
    ----------
    optimiser : Adam
        With one group of parameters on the CPU, of one dtype.
    """

    def __init__(self, optimiser: Adam) -> None:
        self.optimiser = optimiser
        [self._group] = optimiser.param_groups
        self.parameters: list[Tensor] = self._group["params"]
        self._values = _flat(self.parameters)
        self._gradient = torch.zeros_like(self._values)
        self._views = [_like(self._gradient, at, p) for at, p in _places(self.parameters)]
        for p in self.parameters:
            state = optimiser.state[p]
            if not state:
                state["step"] = torch.zeros((), dtype=torch.float32)
                state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(p), torch.zeros_like(p)
        self._step = optimiser.state[self.parameters[0]]["step"].clone()
        self._moments = []
        for name in ("exp_avg", "exp_avg_sq"):
            vector = _flat([optimiser.state[p][name] for p in self.parameters])
            self._moments.append(vector)
            for at, p in _places(self.parameters):
                optimiser.state[p][name] = _like(vector, at, p)
        for at, p in _places(self.parameters):
            p.data, p.grad = _like(self._values, at, p), None

    @staticmethod
    def suits(optimiser: torch.optim.Optimizer) -> TypeGuard[Adam]:
        """Whether an optimiser's parameters can be laid into one vector."""
        if not tricks.uses("flat-adam") or type(optimiser) is not Adam or len(optimiser.param_groups) != 1:
            return False
        parameters = optimiser.param_groups[0]["params"]
        plain = len({(p.dtype, p.device.type) for p in parameters}) == 1 and parameters[0].device.type == "cpu"
        steps = {int(state["step"]) for state in optimiser.state.values()}
        return plain and len(steps) <= 1 and all(_is_dense(p) for p in parameters)

    @torch.no_grad()
    def step(self) -> None:
        """What ``optimiser.step()`` does."""
        for p, view in zip(self.parameters, self._views, strict=True):
            if p.grad is None:  # a parameter that had no part in the loss
                view.zero_()
            else:
                view.copy_(p.grad)
            p.grad = None
        group, optimiser = self._group, self.optimiser
        optimiser.steps += 1
        beta1, beta2 = group["betas"]
        torch._fused_adam_(
            [self._values],
            [self._gradient],
            [self._moments[0]],
            [self._moments[1]],
            [],
            [self._step.add_(1)],
            lr=group["lr"],
            beta1=beta1,
            beta2=beta2,
            weight_decay=0,
            eps=group["epsilon"] / math.sqrt(1 - beta2**optimiser.steps),
            amsgrad=False,
            maximize=False,
        )

    def count(self) -> None:
        """Let the optimiser's state know how many steps were done."""
        for p in self.parameters:
            self.optimiser.state[p]["step"] = self._step.clone()

    def release(self) -> None:
        """Give every parameter and its state memory of their own again."""
        self.count()
        for p in self.parameters:
            state = self.optimiser.state[p]
            p.data = p.data.clone(memory_format=torch.preserve_format)
            for name in ("exp_avg", "exp_avg_sq"):
                state[name] = state[name].clone(memory_format=torch.preserve_format)


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
        optimiser.steps = max((int(state["step"]) for state in optimiser.state.values() if state), default=0)


def _laid_out_as(p: Tensor, value: Tensor) -> Tensor:
    if value.shape == p.shape:
        return torch.empty_like(p, requires_grad=False).copy_(value)
    return value.to(p.device)


def _parameters(optimiser: torch.optim.Optimizer) -> list[Tensor]:
    return [p for group in optimiser.param_groups for p in group["params"]]


def _is_dense(p: Tensor) -> bool:
    return p.is_contiguous() or (p.dim() == 4 and p.is_contiguous(memory_format=torch.channels_last))


def _places(parameters: list[Tensor]) -> list[tuple[int, Tensor]]:
    """Each parameter and where it begins in the vector."""
    places, at = [], 0
    for p in parameters:
        places.append((at, p))
        at += p.numel()
    return places


def _like(vector: Tensor, at: int, p: Tensor) -> Tensor:
    """The part of a vector that begins at a place, laid out as a parameter is."""
    return vector.as_strided(p.shape, p.stride(), at)


def _flat(parameters: list[Tensor]) -> Tensor:
    vector = parameters[0].new_empty(sum(p.numel() for p in parameters))
    for at, p in _places(parameters):
        _like(vector, at, p).copy_(p.detach())
    return vector
