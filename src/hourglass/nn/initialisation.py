"""How weights start."""

import inspect

import torch
from torch import nn

KERNEL_INITS = ("glorot", "he", "truncated-normal")
"""Names of the initialisations of a convolution's kernel."""


def reset_glorot_(layer: nn.Conv2d | nn.ConvTranspose2d | nn.Linear, generator: torch.Generator | None) -> None:
    """Draw Glorot-uniform weights and set the bias to zero, in place.

    Source: Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks",
    AISTATS 2010, eq. 16: U(-a, a) with a = sqrt(6 / (fan_in + fan_out)).
    """
    nn.init.xavier_uniform_(layer.weight, generator=generator)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def reset_kernel_(layer: nn.Conv2d, init: str | float, generator: torch.Generator | None) -> None:
    """Draw a convolution's weights, one of ``KERNEL_INITS`` or normal with a deviation, and zero its bias.

    ``"he"`` is He et al., "Delving Deep into Rectifiers", ICCV 2015, eq. 10: N(0, 2 / fan_in);
    ``"truncated-normal"`` is N(0, 0.05²) cut at two deviations, as ``tf.truncated_normal``.
    """
    if init == "glorot":
        nn.init.xavier_uniform_(layer.weight, generator=generator)
    elif init == "he":
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
    elif init == "truncated-normal":
        # torch's bounds are absolute, TensorFlow's are counted in deviations.
        nn.init.trunc_normal_(layer.weight, std=0.05, a=-0.1, b=0.1, generator=generator)
    else:
        nn.init.normal_(layer.weight, std=float(init), generator=generator)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def reset_children_(module: nn.Module, generator: torch.Generator | None) -> None:
    """Call ``reset_parameters`` of every child that has it, in order of definition.

    Layers of ours that draw weights take the generator; normalisation layers draw nothing, and take no argument.
    """
    for child in module.children():
        reset = getattr(child, "reset_parameters", None)
        if reset is None:
            reset_children_(child, generator)
        elif "generator" in inspect.signature(reset).parameters:
            reset(generator=generator)
        else:
            reset()
