"""Optimisers by name: Adam as TensorFlow computes it, gradient descent with and without momentum, and AdamW.

To add one, write a subclass of ``torch.optim.Optimizer`` that takes parameters and a learning rate, and add it to
``OPTIMISERS``. Two methods are optional: ``in_words`` returns the optimiser's name and constants as text, and
``count_steps`` is called after the state of the parameters has been restored.
"""

import inspect
import math
import operator
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hourglass.runtime.internals import fused_adam, hooked_if_needed

Parameters = Iterable[Tensor] | Iterable[dict[str, Any]]


class Optimiser(torch.optim.Optimizer):
    """Base class of the optimisers: PyTorch's, without the wrappers for PyTorch's compiler.

    Importing the compiler takes a second and 70 MB, and it is not used here.
    """

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters to be optimised.

        Parameters
        ----------
        param_group : dict
            ``params``, the parameters of the group, and optionally its own constants, such as ``lr``.
        """
        inspect.unwrap(torch.optim.Optimizer.add_param_group)(self, param_group)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Remove the gradients of all parameters.

        Parameters
        ----------
        set_to_none : bool, default=True
            Whether gradients become None; otherwise they are filled with zeros.
        """
        for group in self.param_groups:
            for p in group["params"]:
                if set_to_none or p.grad is None:
                    p.grad = None
                else:
                    p.grad = torch.zeros_like(p.grad)

    @hooked_if_needed
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Change the parameters once, from their gradients.

        Parameters
        ----------
        closure : callable, optional
            Function that computes the gradients and returns the loss; by default the present gradients are used.

        Returns
        -------
        float or None
            What ``closure`` returned; None without it.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        with torch.no_grad():
            self._update()
        return loss

    def _update(self) -> None:
        """Change the parameters from their present gradients."""
        inspect.unwrap(super().step)(self)


class Adam(Optimiser, torch.optim.Adam):
    r"""Adam with epsilon outside the bias correction, as in TensorFlow.

    PyTorch adds epsilon after the correction; the two forms differ where gradients are very small.

    Parameters
    ----------
    params : iterable of torch.nn.Parameter or of dict
        Parameters to optimise, or groups of them with constants of their own.
    lr : float, default=0.001
        Learning rate, from 0.
    betas : tuple of float, default=(0.9, 0.999)
        Decay rates of the moving averages of the gradient and of its square, each in [0, 1).
    eps : float, default=1e-8
        Constant from 0, added to the root of the moving average of the squared gradient.

    Notes
    -----
    In step :math:`t` the gradient :math:`g_t` changes a weight as follows, with ``lr`` for :math:`\alpha`, ``betas``
    for :math:`\beta_1, \beta_2` and ``eps`` for :math:`\varepsilon`:

    .. math::

        m_t &= \beta_1 m_{t-1} + (1 - \beta_1) \, g_t, \\
        v_t &= \beta_2 v_{t-1} + (1 - \beta_2) \, g_t^2, \\
        w_t &= w_{t-1} - \alpha \frac{\sqrt{1 - \beta_2^t}}{1 - \beta_1^t} \frac{m_t}{\sqrt{v_t} + \varepsilon}.

    PyTorch divides :math:`\sqrt{v_t}` by :math:`\sqrt{1 - \beta_2^t}` before it adds :math:`\varepsilon`.
    Source: Kingma and Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015, the form at the end of section 2.
    """

    def __init__(
        self, params: Parameters, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8
    ) -> None:
        # One fused kernel for all parameters: +5% images/s for the convolutional nets, +30% for `dense`.
        super().__init__(params, lr, betas, eps, fused=True)
        self.steps = 0
        self._changed: dict[int, list[_Alike]] = {}
        for group in self.param_groups:
            group["epsilon"] = group["eps"]

    def _update(self) -> None:
        self.steps += 1
        for number, group in enumerate(self.param_groups):
            # PyTorch adds eps to sqrt(v / (1 - b2^t)). Scaled like this, it equals TensorFlow's eps added to sqrt(v).
            group["eps"] = group["epsilon"] / math.sqrt(1 - group["betas"][1] ** self.steps)
            changed = [p for p in group["params"] if p.grad is not None]
            if not changed:
                continue
            parts = self._changed.get(number)
            if parts is None or not self._are_current(parts, changed):
                parts = self._changed[number] = self._by_kind(changed)
            for part in parts:
                part.counts.add_(1)
                fused_adam(part.parameters, part.means, part.squares, part.steps, group)

    def _are_current(self, parts: list["_Alike"], changed: list[Tensor]) -> bool:
        """Whether the parts are of these parameters, and of their present state."""
        if len(parts) > 1:  # rare: the parameters are no longer in their order
            return False
        [part] = parts
        if len(part.parameters) != len(changed) or any(map(operator.is_not, part.parameters, changed)):
            return False
        return self.state[changed[0]].get("exp_avg") is part.means[0]

    def _by_kind(self, parameters: Sequence[Tensor]) -> list["_Alike"]:
        """Parameters and their states in parts of one device and dtype; the steps of a part become one tensor."""
        found = []
        for kind in dict.fromkeys((p.device, p.dtype) for p in parameters):
            alike = [p for p in parameters if (p.device, p.dtype) == kind]
            for p in alike:
                if not self.state[p]:
                    zeros = [torch.zeros_like(p, memory_format=torch.preserve_format) for _ in range(2)]
                    self.state[p] = {"step": torch.zeros(()), "exp_avg": zeros[0], "exp_avg_sq": zeros[1]}
            states = [self.state[p] for p in alike]
            counts = torch.stack([state["step"].to(kind[0], torch.float32) for state in states])
            for state, count in zip(states, counts.unbind(), strict=True):
                state["step"] = count
            means, squares, steps = ([state[name] for state in states] for name in ("exp_avg", "exp_avg_sq", "step"))
            found.append(_Alike(alike, means, squares, steps, counts))
        return found

    def __getstate__(self) -> dict[str, Any]:
        return super().__getstate__() | {"steps": self.steps, "_changed": {}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state, and take the number of steps from it.

        Parameters
        ----------
        state_dict : dict
            State, as ``state_dict()`` returns it.

        Raises
        ------
        ValueError
            When the state belongs to other groups of parameters.
        """
        super().load_state_dict(state_dict)
        self.count_steps()

    def count_steps(self) -> None:
        """Take the number of steps from the state of the parameters."""
        self._changed.clear()
        self.steps = max((int(state["step"]) for state in self.state.values() if state), default=0)

    def in_words(self) -> str:
        """Describe the optimiser by its name and its constants.

        Returns
        -------
        str
            Name, both decay rates, epsilon, and where epsilon is added.
        """
        return f"Adam, {_constants(self)} outside the bias correction, as TensorFlow"


@dataclass(frozen=True)
class _Alike:
    """Parameters of one device and dtype with their state, and their steps as one tensor."""

    parameters: list[Tensor]
    means: list[Tensor]
    squares: list[Tensor]
    steps: list[Tensor]
    counts: Tensor


class AdamW(Optimiser, torch.optim.AdamW):
    """Adam with decoupled weight decay, as PyTorch computes it: epsilon is added after the bias correction.

    Source: Loshchilov and Hutter, "Decoupled Weight Decay Regularization", ICLR 2019.

    Parameters
    ----------
    params : iterable of torch.nn.Parameter or of dict
        Parameters to optimise, or groups of them with constants of their own.
    lr : float, default=0.001
        Learning rate, from 0.
    weight_decay : float, default=0.01
        Factor from 0; each step subtracts from each weight, biases included, this factor times the learning rate times
        the weight.
    """

    def __init__(self, params: Parameters, lr: float = 1e-3, weight_decay: float = 0.01) -> None:
        super().__init__(params, lr, weight_decay=weight_decay, fused=True)

    def in_words(self) -> str:
        """Describe the optimiser by its name and its constants.

        Returns
        -------
        str
            Name, both decay rates, epsilon and weight decay.
        """
        return f"AdamW, {_constants(self)}, weight decay = {self.defaults['weight_decay']:g}"


class SGD(Optimiser, torch.optim.SGD):
    """Plain stochastic gradient descent: ``w -= lr · gradient``.

    Parameters
    ----------
    params : iterable of torch.nn.Parameter or of dict
        Parameters to optimise, or groups of them with constants of their own.
    lr : float, default=0.001
        Learning rate, from 0.
    """

    def __init__(self, params: Parameters, lr: float = 1e-3) -> None:
        super().__init__(params, lr)

    def in_words(self) -> str:
        """Describe the optimiser by its name; it has no constants.

        Returns
        -------
        str
            The name.
        """
        return "plain stochastic gradient descent"


class MomentumSGD(Optimiser, torch.optim.SGD):
    """Stochastic gradient descent with momentum: ``v = momentum · v + gradient``, ``w -= lr · v``.

    Parameters
    ----------
    params : iterable of torch.nn.Parameter or of dict
        Parameters to optimise, or groups of them with constants of their own.
    lr : float, default=0.001
        Learning rate, from 0.
    momentum : float, default=0.9
        Factor from 0 by which the velocity ``v`` is kept in each step.
    """

    def __init__(self, params: Parameters, lr: float = 1e-3, momentum: float = 0.9) -> None:
        super().__init__(params, lr, momentum)

    def in_words(self) -> str:
        """Describe the optimiser by its name and its momentum.

        Returns
        -------
        str
            Name and momentum.
        """
        return f"stochastic gradient descent, momentum = {self.defaults['momentum']:g}"


OPTIMISERS: dict[str, type[Any]] = {"adam": Adam, "sgd": SGD, "sgd-momentum": MomentumSGD, "adamw": AdamW}
"""Every optimiser by name: classes that take parameters and a learning rate."""


def optimiser_in_words(name: str) -> str:
    """Describe an optimiser by its name and its constants, as a training uses it.

    Parameters
    ----------
    name : str
        Name in ``OPTIMISERS``.

    Returns
    -------
    str
        What the optimiser's method ``in_words`` returns; without this method, the name of its class and those of its
        constants that are numbers, except for the learning rate.

    Raises
    ------
    KeyError
        When no optimiser has this name.
    """
    optimiser = OPTIMISERS[name]([torch.zeros(1, requires_grad=True)], 1.0)
    if hasattr(optimiser, "in_words"):
        return str(optimiser.in_words())
    constants = {key: value for key, value in optimiser.defaults.items() if type(value) in (int, float, tuple)}
    return ", ".join([type(optimiser).__name__, *(f"{key} = {constants[key]}" for key in constants if key != "lr")])


def _constants(optimiser: torch.optim.Optimizer) -> str:
    (beta1, beta2), eps = optimiser.defaults["betas"], optimiser.defaults["eps"]
    return f"β₁ = {beta1:g}, β₂ = {beta2:g}, ε = {eps:g}"
