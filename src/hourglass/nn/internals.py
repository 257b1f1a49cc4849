"""The private names of PyTorch that the networks rely on, in one place; ``tests/test_internals.py`` watches them."""

import torch
from torch import nn
from torch.autograd import forward_ad

BatchNorm = nn.modules.batchnorm._BatchNorm
"""Base of PyTorch's batch normalisations, by which its tools find them."""

AnyNorm = nn.modules.batchnorm._NormBase
"""Base of all of PyTorch's normalisations that may keep moving statistics."""


def is_recorded() -> bool:
    """Whether TorchScript's tracing, ``torch.compile`` or ``torch.export`` records a graph of the operations."""
    return bool(torch.jit.is_tracing() or torch.compiler.is_compiling())


def is_transformed() -> bool:
    """Whether something other than PyTorch's ordinary autograd records what is computed.

    That is so under the transforms of ``torch.func`` (``vmap``, ``jvp``, ``grad``, …), forward-mode differentiation,
    TorchScript's tracing, ``torch.compile`` and ``torch.export``.
    """
    return bool(torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0 or is_recorded())
