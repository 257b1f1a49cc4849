"""The deep classifier that hardly trains without batch normalisation."""

from collections.abc import Callable
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hourglass.nn.layers import (
    KERNEL_INITS,
    Dense,
    SameConv2d,
    reset_children_,
    reset_kernel_,
    to_height_width_channel,
)
from hourglass.nn.norms import create_norm

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"relu": F.relu, "sigmoid": torch.sigmoid, "tanh": torch.tanh}


class ConvNet(nn.Module):
    """Stack of 3×3 convolutions, one hidden dense layer, one output layer.

    Convolution *d* (counted from 1) has ``width · d`` channels and stride 2 where *d* is a multiple of 3,
    else 1. With depth 19 on 28×28 images the sizes run 28, 14, 7, 4, 2, 1.

    Parameters
    ----------
    image_shape : tuple of int
        Height, width and channels.
    classes : int
        Outputs.
    depth : int, default=19
        Number of convolutions.
    width : int, default=4
        Channels that each convolution has more than the one before.
    hidden : int, default=100
        Units of the dense layer.
    norm : str, default="none"
        Normalisation before each activation, one of ``NORMS``; with one, the layer before it has no bias. Maps of one
        pixel and the dense layer leave an instance one value a channel: there ``"instance"`` is ``"layernorm"``.
    norm_momentum : float, default=0.01
        Share of the new batch in the moving statistics (PyTorch's convention; TensorFlow's 0.99).
    norm_eps : float, default=1e-3
    stored_variance : {None, "biased", "bessel"}, default=None
        None stores what TensorFlow stores: for ``layer`` Bessel-corrected in the convolutions (its fused
        kernel) and biased in the dense layer, for ``manual`` biased everywhere.
    kernel_init : {"glorot", "he", "truncated-normal"} or float, default="glorot"
        Of the convolutions: Glorot-uniform; He-normal; normal with deviation 0.05 cut at ±0.1; or normal with this
        deviation. Dense layers are Glorot-uniform.
    activation : {"relu", "sigmoid", "tanh"}, default="relu"
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        classes: int,
        *,
        depth: int = 19,
        width: int = 4,
        hidden: int = 100,
        norm: str = "none",
        norm_momentum: float = 0.01,
        norm_eps: float = 1e-3,
        stored_variance: str | None = None,
        kernel_init: str | float = "glorot",
        activation: str = "relu",
    ) -> None:
        super().__init__()
        if isinstance(kernel_init, str) and kernel_init not in KERNEL_INITS:
            raise ValueError(
                f"kernel_init={kernel_init!r} is unknown; choose one of {', '.join(KERNEL_INITS)}, or a deviation"
            )
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation={activation!r} is unknown; choose one of {', '.join(ACTIVATIONS)}")
        self.kernel_init, self.activation = kernel_init, activation
        conv_variance = stored_variance or ("bessel" if norm == "layer" else "biased")

        def normalisation(features: int, variance: str, pixels: int = 1) -> nn.Module:
            name = "layernorm" if norm == "instance" and pixels == 1 else norm
            return create_norm(name, features, eps=norm_eps, momentum=norm_momentum, stored_variance=variance)

        bias = norm == "none"
        height, width_, channels = image_shape
        self.convs, self.norms = nn.ModuleList(), nn.ModuleList()
        for d in range(1, depth + 1):
            stride = 2 if d % 3 == 0 else 1
            self.convs.append(SameConv2d(channels, width * d, stride=stride, bias=bias))
            height, width_, channels = -(-height // stride), -(-width_ // stride), width * d
            self.norms.append(normalisation(channels, conv_variance, height * width_))
        self.hidden = Dense(height * width_ * channels, hidden, bias=bias)
        self.hidden_norm = normalisation(hidden, stored_variance or "biased")
        self.output = Dense(hidden, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Images ``(n, c, h, w)`` to logits ``(n, classes)``."""
        x, activate = images, ACTIVATIONS[self.activation]
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = activate(norm(conv(x)))
        x = activate(self.hidden_norm(self.hidden(to_height_width_channel(x))))  # (n, hidden)
        return self.output(x)  # type: ignore[no-any-return]  # torch types calls as Any

    def rectified(self) -> dict[str, nn.Module]:
        """Modules whose output a ReLU is given, by the layer's name; none with another activation."""
        if self.activation != "relu":
            return {}
        return {f"convolution {i}": norm for i, norm in enumerate(self.norms, 1)} | {"hidden": self.hidden_norm}

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw every weight anew and set the moving statistics to 0 and 1."""
        reset_children_(self, generator)
        if self.kernel_init != "glorot":
            for conv in self.convs:
                reset_kernel_(cast(SameConv2d, conv), self.kernel_init, generator)
