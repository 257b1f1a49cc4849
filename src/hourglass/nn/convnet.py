"""The deep classifier that hardly trains without batch normalisation."""

from collections.abc import Callable
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hourglass.nn.initialisation import KERNEL_INITS, reset_children_, reset_kernel_
from hourglass.nn.layers import Dense, SameConv2d
from hourglass.nn.norms import NormFactory, create_norm, for_rows, has_moving_statistics
from hourglass.nn.shapes import check_counts, check_images, to_height_width_channel
from hourglass.runtime.internals import OnlyTraced

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"relu": F.relu, "sigmoid": torch.sigmoid, "tanh": torch.tanh}
"""Every activation of ``ConvNet`` by name."""


class ConvNet(OnlyTraced, nn.Module):
    """Stack of 3×3 convolutions, one hidden dense layer, one output layer.

    Convolution *d* (counted from 1) has ``width · d`` channels and stride 2 where *d* is a multiple of 3,
    else 1. With depth 19 on 28×28 images the sizes run 28, 14, 7, 4, 2, 1.

    Parameters
    ----------
    image_shape : tuple of int
        Height, width and channels, each 1 or more.
    classes : int
        Number of outputs.
    depth : int, default=19
        Number of convolutions.
    width : int, default=4
        Channels that each convolution has more than the one before.
    hidden : int, default=100
        Units of the dense layer.
    norm : str or callable, default="none"
        Normalisation before each activation, one of ``NORMS``; with one, the layer before it has no bias. Instance
        normalisation needs several values a channel, which maps of one pixel and the dense layer do not have: there
        ``"instance"`` is ``"layer"``. A class or function of the number of channels makes layers of your own, which
        take maps ``(n, channels, h, w)`` and, after the dense layer, rows ``(n, channels)``; for rows,
        ``torch.nn.BatchNorm2d`` becomes ``BatchNorm1d``.
    norm_momentum : float in [0, 1] or None, default=0.01
        Share of the new batch in the moving statistics (PyTorch's convention; TensorFlow's 0.99); None averages all
        batches alike. Unused where the normalisation has no moving statistics, and by one of your own.
    norm_eps : float, default=1e-3
        Added to the variance; 0 or more. Unused without normalisation, and by one of your own.
    stored_variance : {"biased", "bessel"}, optional
        Which batch variance the moving one averages. None, the default, stores what TensorFlow stores: with
        ``norm="batch"`` Bessel-corrected in the convolutions (its fused kernel) and biased in the dense layer, with
        ``"batch-manual"``, ``"ghost"`` and ``"renorm"`` biased everywhere.
    kernel_init : {"glorot", "he", "truncated-normal"} or float, default="glorot"
        Start of the convolutions' weights: Glorot-uniform; He-normal; normal with deviation 0.05 cut at ±0.1; or
        normal with this deviation. Dense layers are Glorot-uniform.
    activation : {"relu", "sigmoid", "tanh"}, default="relu"
        Function after each normalisation.

    Raises
    ------
    ValueError
        When a size is below 1, a name is unknown, or ``stored_variance`` is given with a normalisation that does not
        take it; from the forward pass when the images are not ``(n, c, h, w)`` for ``image_shape``.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        classes: int,
        *,
        depth: int = 19,
        width: int = 4,
        hidden: int = 100,
        norm: str | NormFactory = "none",
        norm_momentum: float | None = 0.01,
        norm_eps: float = 1e-3,
        stored_variance: str | None = None,
        kernel_init: str | float = "glorot",
        activation: str = "relu",
    ) -> None:
        super().__init__()
        height, width_, channels = image_shape
        sizes = {"classes": classes, "depth": depth, "width": width, "hidden": hidden}
        check_counts(height=height, **{"image width": width_}, channels=channels, **sizes)
        if isinstance(kernel_init, str) and kernel_init not in KERNEL_INITS:
            raise ValueError(
                f"kernel_init={kernel_init!r} is unknown; choose one of {', '.join(KERNEL_INITS)}, or a deviation"
            )
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation={activation!r} is unknown; choose one of {', '.join(ACTIVATIONS)}")
        self.image_shape, self.norm = image_shape, norm
        self.kernel_init, self.activation = kernel_init, activation
        conv_variance, dense_variance = stored_variance, stored_variance
        if stored_variance is None and has_moving_statistics(norm):
            conv_variance, dense_variance = "bessel" if norm == "batch" else "biased", "biased"

        def normalisation(features: int, variance: str | None, pixels: int = 1) -> nn.Module:
            name = "layer" if norm == "instance" and pixels == 1 else norm
            return create_norm(name, features, eps=norm_eps, momentum=norm_momentum, stored_variance=variance)

        bias = norm == "none"
        self.convs, self.norms = nn.ModuleList(), nn.ModuleList()
        for d in range(1, depth + 1):
            stride = 2 if d % 3 == 0 else 1
            self.convs.append(SameConv2d(channels, width * d, stride=stride, bias=bias))
            height, width_, channels = -(-height // stride), -(-width_ // stride), width * d
            self.norms.append(normalisation(channels, conv_variance, height * width_))
        self.hidden = Dense(height * width_ * channels, hidden, bias=bias)
        self.hidden_norm = for_rows(normalisation(hidden, dense_variance))
        self.output = Dense(hidden, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Classify images.

        Parameters
        ----------
        images : torch.Tensor of shape (n, c, h, w)
            Of the network's own size.

        Returns
        -------
        torch.Tensor of shape (n, classes)
            Logits.

        Raises
        ------
        ValueError
            When the images have another shape than the network takes.
        """
        check_images(images, self.image_shape)
        x, activate = images, ACTIVATIONS[self.activation]
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = activate(norm(conv(x)))
        x = activate(self.hidden_norm(self.hidden(to_height_width_channel(x))))  # (n, hidden)
        output: Tensor = self.output(x)
        return output

    def rectified(self) -> dict[str, nn.Module]:
        """Name the modules whose output goes through a ReLU.

        Returns
        -------
        dict of str to torch.nn.Module
            Modules by the name of their layer; empty with another activation.
        """
        if self.activation != "relu":
            return {}
        return {f"convolution {i}": norm for i, norm in enumerate(self.norms, 1)} | {"hidden": self.hidden_norm}

    def normalised_layers(self) -> list[tuple[str, str]]:
        """Name each layer whose output is normalised, and its normalisation.

        Returns
        -------
        list of (str, str)
            Names of both, as ``get_submodule`` takes them; empty with ``norm="none"``.
        """
        if self.norm == "none":
            return []
        return [*((f"convs.{i}", f"norms.{i}") for i in range(len(self.convs))), ("hidden", "hidden_norm")]

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw every weight anew, and set the moving statistics to 0 and 1.

        A normalisation of your own is reset by its method ``reset_parameters``, if it has one.

        Parameters
        ----------
        generator : torch.Generator, optional
            Draws the weights; by default PyTorch's global one.
        """
        reset_children_(self, generator)
        if self.kernel_init != "glorot":
            for conv in self.convs:
                reset_kernel_(cast(SameConv2d, conv), self.kernel_init, generator)
