"""Ways of halving maps: by maxima, and by a convolution with stride 2."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hourglass.nn.initialisation import reset_glorot_
from hourglass.nn.shapes import check_channels
from hourglass.runtime.internals import OnlyTraced

DOWNSAMPLES = ("max-pool", "strided")
"""Names of the ways to halve feature maps: the maximum of 2 × 2 values, or a convolution with stride 2."""


class StridedConv2d(OnlyTraced, nn.Conv2d):
    """3×3 convolution with stride 2, centred on every second pixel, and with Glorot-uniform weights.

    It halves maps and learns how (Springenberg et al., "Striving for Simplicity: The All Convolutional Net", 2015).
    Both ends of an axis are padded by one pixel. So the kernels' places do not depend on the size of the image, as they
    do in TensorFlow's 'same' padding, and a part of an image gives the same numbers as the whole.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels of the input and of the output.

    Raises
    ------
    ValueError
        From the forward pass when the input is not ``(n, in_channels, h, w)``.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve and halve maps.

        Parameters
        ----------
        x : torch.Tensor of shape (n, in_channels, h, w)
            Feature maps.

        Returns
        -------
        torch.Tensor of shape (n, out_channels, ceil(h / 2), ceil(w / 2))

        Raises
        ------
        ValueError
            When the input has another shape.
        """
        height, width = check_channels(x, self.in_channels)
        if height == width == 1 and torch.is_autocast_enabled(x.device.type):
            # Of one pixel, every stride gives one. With a stride of 2 and in bfloat16, PyTorch 2.13 leaves parts of the
            # gradient unwritten on some processors.
            return F.conv2d(x, self.weight, self.bias, padding=1)
        return super().forward(x)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw Glorot-uniform weights, and set the bias to zero.

        Parameters
        ----------
        generator : torch.Generator, optional
            Draws the weights; by default PyTorch's global one.
        """
        reset_glorot_(self, generator)
