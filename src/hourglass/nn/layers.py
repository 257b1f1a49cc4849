"""Layers with TensorFlow's padding and initialisation, on PyTorch's layout ``(n, c, h, w)``."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hourglass.nn import fast
from hourglass.nn.initialisation import reset_glorot_
from hourglass.nn.shapes import check_channels, check_counts
from hourglass.runtime.internals import OnlyTraced

# How a layer with stride 2 describes its padding: an axis of 28 is padded by (0, 1) for 3×3, one of 7 by (1, 1).
SAME_PADDING = "padding='same' as in TensorFlow, which depends on the input's size"


def same_padding(size: int, kernel_size: int, stride: int) -> tuple[int, int]:
    """Padding before and after an axis that TensorFlow's ``padding="same"`` adds.

    Parameters
    ----------
    size : int
        Length of the axis, at least 1.
    kernel_size, stride : int
        Taps of the convolution along that axis, and the step between its places.

    Returns
    -------
    before, after : int
        Differ by at most one; the larger is after. The output then has ``ceil(size / stride)`` places.
    """
    total = max((math.ceil(size / stride) - 1) * stride + kernel_size - size, 0)
    return total // 2, total - total // 2


class SameConv2d(OnlyTraced, nn.Conv2d):
    """Convolution with TensorFlow's 'same' padding and Glorot-uniform weights.

    PyTorch's ``padding=1`` pads both sides alike; TensorFlow's stride-2 convolution of an even-sized image
    pads only after it, so that the two sample different pixels.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels of the input and of the output.
    kernel_size : int, default=3
        Taps in both directions; an odd number, so that the kernel has a middle.
    stride : int, default=1
        Step between the places of the kernel, the same in both directions.
    bias : bool, default=True
        Whether each output channel has a bias.

    Raises
    ------
    ValueError
        When the kernel size is not odd or the stride below 1; from the forward pass when the input is not
        ``(n, in_channels, h, w)``.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int = 3, *, stride: int = 1, bias: bool = True
    ) -> None:
        check_counts(in_channels=in_channels, out_channels=out_channels, kernel_size=kernel_size, stride=stride)
        if kernel_size % 2 == 0:
            raise ValueError(f"kernel_size={kernel_size} has no middle, which 'same' padding needs; give an odd number")
        super().__init__(in_channels, out_channels, kernel_size, stride, padding=kernel_size // 2, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve maps.

        Parameters
        ----------
        x : torch.Tensor of shape (n, in_channels, h, w)
            Feature maps.

        Returns
        -------
        torch.Tensor of shape (n, out_channels, ceil(h / stride), ceil(w / stride))

        Raises
        ------
        ValueError
            When the input has another shape.
        """
        kernel, stride = self.kernel_size[0], self.stride[0]
        height, width = check_channels(x, self.in_channels)
        if height == width == 1 and kernel == 3 and fast.applies("one-pixel", x):
            return fast.one_pixel_conv2d(x, self.weight, self.bias)
        if height == width == 1 and stride > 1 and torch.is_autocast_enabled(x.device.type):
            # Of one pixel, every stride gives one. With a stride of 2 and in bfloat16, PyTorch 2.13 leaves parts of the
            # gradient unwritten on some processors.
            return F.conv2d(x, self.weight, self.bias, padding=kernel // 2)
        if stride == 1:
            few = kernel == 3 and self.out_channels <= fast.FEW_OUTPUTS and torch.is_grad_enabled()
            if few and self.bias is not None and fast.applies("few-outputs", x):
                return fast.few_outputs_conv2d(x, self.weight, self.bias)
            return super().forward(x)
        top, bottom = same_padding(height, kernel, stride)
        left, right = same_padding(width, kernel, stride)
        if top == bottom == left == right == kernel // 2:
            return super().forward(x)
        return F.conv2d(F.pad(x, (left, right, top, bottom)), self.weight, self.bias, stride)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw Glorot-uniform weights, and set the bias to zero.

        Parameters
        ----------
        generator : torch.Generator, optional
            Draws the weights; by default PyTorch's global one.
        """
        reset_glorot_(self, generator)

    def extra_repr(self) -> str:
        """Describe the layer, as ``repr`` shows it.

        Returns
        -------
        str
        """
        # The attribute `padding` holds only where both ends of every axis are padded alike.
        said = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}, "
        said += "padding='same'" if self.stride == (1, 1) else SAME_PADDING
        return said if self.bias is not None else f"{said}, bias=False"


class Dense(nn.Linear):
    """Fully connected layer with Glorot-uniform weights and zero biases.

    Parameters
    ----------
    in_features, out_features : int
        Numbers of an input row and of an output row.
    bias : bool, default=True
        Whether each output has a bias.
    device : torch.device or str, optional
        Where the weights lie; by default PyTorch's current device.
    dtype : torch.dtype, optional
        Of the weights; by default PyTorch's current one, float32.
    """

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw Glorot-uniform weights, and set the bias to zero.

        Parameters
        ----------
        generator : torch.Generator, optional
            Draws the weights; by default PyTorch's global one.
        """
        reset_glorot_(self, generator)


class SamePool2d(OnlyTraced, nn.MaxPool2d):
    """2×2 maximum with stride 2 that keeps an odd last row or column: 7 → 4, as TensorFlow's 'same'.

    Raises
    ------
    ValueError
        From the forward pass when the input is not ``(n, c, h, w)``.
    """

    def __init__(self) -> None:
        super().__init__(2, ceil_mode=True)

    def forward(self, x: Tensor) -> Tensor:
        """Take maxima of 2 × 2 places.

        Parameters
        ----------
        x : torch.Tensor of shape (n, c, h, w)
            Feature maps.

        Returns
        -------
        torch.Tensor of shape (n, c, ceil(h / 2), ceil(w / 2))

        Raises
        ------
        ValueError
            When the input has another number of axes.
        """
        height, width = check_channels(x)
        if (
            fast.applies("pool-pairs", x)
            and height % 2 == width % 2 == 0
            and not (x.requires_grad and torch.is_grad_enabled())
            and x.is_contiguous(memory_format=torch.channels_last)
        ):
            return fast.max_pool2d(x)
        output: Tensor = super().forward(x)
        return output

    def extra_repr(self) -> str:
        """Describe the layer, as ``repr`` shows it.

        Returns
        -------
        str
        """
        return f"kernel_size={self.kernel_size}, stride={self.stride}, {SAME_PADDING}"
