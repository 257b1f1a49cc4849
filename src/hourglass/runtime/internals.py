"""The private names of PyTorch that the package relies on, in one place; ``tests/test_internals.py`` watches them."""

import functools
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.utils._python_dispatch import TorchDispatchMode

Operations = TorchDispatchMode
"""Base of contexts that see every operation on tensors, with its numbers, as FlopCounterMode is one."""

BatchNorm = nn.modules.batchnorm._BatchNorm
"""Base of PyTorch's batch normalisations, by which its tools find them."""

AnyNorm = nn.modules.batchnorm._NormBase
"""Base of all of PyTorch's normalisations that may keep moving statistics."""


def has_native_bfloat16() -> bool:
    """Whether the processor has instructions for bfloat16, which PyTorch otherwise emulates slowly.

    Returns
    -------
    bool
        True on processors with AVX-512 BF16.
    """
    return bool(torch.cpu._is_avx512_bf16_supported())


def is_recorded() -> bool:
    """Whether TorchScript's tracing, ``torch.compile`` or ``torch.export`` records a graph of the operations.

    Returns
    -------
    bool
        True while one of them does.
    """
    return torch._C._get_tracing_state() is not None or bool(torch.compiler.is_compiling())


def is_transformed() -> bool:
    """Whether something other than PyTorch's ordinary autograd records what is computed.

    That is so under the transforms of ``torch.func`` (``vmap``, ``jvp``, ``grad``, …), forward-mode differentiation,
    TorchScript's tracing, ``torch.compile`` and ``torch.export``.

    Returns
    -------
    bool
        True while one of them is active.
    """
    return bool(torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0 or is_recorded())


def is_batched(x: Tensor) -> bool:
    """Whether x stands for many tensors, as a gradient does under ``torch.autograd.grad(…, is_grads_batched=True)``.

    Parameters
    ----------
    x : torch.Tensor
        Any tensor.

    Returns
    -------
    bool
        True under ``torch.func.vmap`` too.
    """
    functorch = torch._C._functorch
    return bool(functorch.is_batchedtensor(x) or functorch.is_legacy_batchedtensor(x))


def shape_of(x: Tensor) -> torch.Size:
    """Shape of a tensor as plain numbers.

    While TorchScript traces, ``x.shape`` holds tensors, and PyTorch warns of every decision that is taken by one.
    Padding and checks are of the traced size by their nature, and ask here. Sizes that a traced network may be given
    anew, such as the number of images, stay ``x.shape``.

    Parameters
    ----------
    x : torch.Tensor
        Any tensor.

    Returns
    -------
    torch.Size
        Shape of plain integers.
    """
    state = torch._C._get_tracing_state()
    if state is None:
        return x.shape
    torch._C._set_tracing_state(None)  # type: ignore[attr-defined]  # not in torch's stubs
    try:
        return torch.Size(x.shape)
    finally:
        torch._C._set_tracing_state(state)  # type: ignore[attr-defined]  # not in torch's stubs


def has_values(x: Tensor) -> bool:
    """Whether x is a tensor, whose shape can be checked, and not the stand-in that ``torch.fx`` passes instead.

    Parameters
    ----------
    x : torch.Tensor or torch.fx.Proxy
        Input that a module received.

    Returns
    -------
    bool
        False for the stand-in.
    """
    return isinstance(x, Tensor)


class NotForSyncBatchNorm:
    """Class attribute ``qconfig`` of a normalisation, which stops ``convert_sync_batchnorm`` where it would do harm.

    ``torch.nn.SyncBatchNorm.convert_sync_batchnorm`` and its copies in other libraries replace every subclass of
    PyTorch's batch normalisation, and offer no way to decline. They do ask each layer whether it has a ``qconfig``.
    To everybody else the layer has none, until one is assigned.
    """

    def __set__(self, layer: nn.Module, value: Any) -> None:
        """Keep what is assigned, as quantisation does, without hiding this attribute."""
        layer.__dict__["_qconfig"] = value

    def __delete__(self, layer: nn.Module) -> None:
        """Forget what was assigned."""
        if layer.__dict__.pop("_qconfig", self) is self:
            raise AttributeError("qconfig")

    def __get__(self, layer: nn.Module | None, owner: type) -> Any:
        why = getattr(layer, "why_not_synchronised", None)
        if why and sys._getframe(1).f_code.co_name == "convert_sync_batchnorm":
            raise TypeError(
                f"{owner.__name__} cannot become a SyncBatchNorm: {why}. Layers that come before it may have been "
                "converted already, so convert a copy of the network, without such layers"
            )
        if layer is None or "_qconfig" not in layer.__dict__:
            raise AttributeError("qconfig")
        return layer.__dict__["_qconfig"]


class OnlyTraced:
    """Base of modules that ``torch.jit.script`` cannot compile, and that say so."""

    def __prepare_scriptable__(self) -> nn.Module:
        """Raise TypeError: ``torch.jit.script`` calls this before it compiles a module."""
        raise TypeError(
            f"torch.jit.script cannot compile a {type(self).__name__}, whose forward pass is ordinary Python; "
            "use torch.export.export or torch.jit.trace, in eval mode"
        )


def fused_adam(
    parameters: list[Tensor], means: list[Tensor], squares: list[Tensor], steps: list[Tensor], group: dict[str, Any]
) -> None:
    """Do what :meth:`torch.optim.Adam.step` does once the steps are counted, without its 0.1 ms of Python.

    Parameters
    ----------
    parameters : list of torch.Tensor
        Parameters of one device and dtype, each with a gradient; they are changed in place.
    means, squares : list of torch.Tensor
        Moving averages of each gradient and of its square; they are changed in place.
    steps : list of torch.Tensor of shape (), float32
        Number of steps of each parameter, this one included.
    group : dict
        Settings by the names of :class:`torch.optim.Adam`: ``lr``, ``betas``, ``eps``, ``weight_decay``, ``maximize``.
    """
    gradients: Any = [p.grad for p in parameters]
    torch._fused_adam_(
        parameters,
        gradients,
        means,
        squares,
        [],
        steps,
        lr=group["lr"],
        beta1=group["betas"][0],
        beta2=group["betas"][1],
        weight_decay=group["weight_decay"],
        eps=group["eps"],
        amsgrad=False,
        maximize=group["maximize"],
    )


def hooked_if_needed(step: Callable[..., Any]) -> Callable[..., Any]:
    """Make a method ``step`` of an optimiser that PyTorch does not wrap for its profiler, which takes 15 µs a call.

    Where somebody has registered a hook for this optimiser or for all, PyTorch's own wrapper calls it.

    Parameters
    ----------
    step : callable
        The method.

    Returns
    -------
    callable
        A method with the same arguments.
    """
    wrapped = torch.optim.Optimizer.profile_hook_step(step)
    everywhere = sys.modules[torch.optim.Optimizer.__module__]

    @functools.wraps(step)
    def chosen(self: torch.optim.Optimizer, *args: Any, **options: Any) -> Any:
        hooks = (
            self._optimizer_step_pre_hooks
            or self._optimizer_step_post_hooks
            or everywhere._global_optimizer_pre_hooks
            or everywhere._global_optimizer_post_hooks
        )
        return (wrapped if hooks else step)(self, *args, **options)

    chosen.hooked = True  # type: ignore[attr-defined]  # by this PyTorch knows what it has wrapped already
    return chosen


def store_of_processes() -> Any:
    """Key-value store of the processes that ``torch.distributed`` has joined.

    Returns
    -------
    torch.distributed.Store
        The store by which they found each other. It answers as long as the process that holds it lives.
    """
    return torch.distributed.distributed_c10d._get_default_store()
