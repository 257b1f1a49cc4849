"""Layers that double maps: by resizing, and by a transposed convolution."""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hourglass.nn import fast
from hourglass.nn.initialisation import reset_glorot_
from hourglass.nn.layers import SameConv2d
from hourglass.nn.shapes import check_channels
from hourglass.runtime.internals import OnlyTraced, is_recorded


class UpsampleConv2d(OnlyTraced, nn.Module):
    """Every pixel doubled both ways, then a 3×3 convolution: free of checkerboards.

    An odd size leaves out the last row or column, which is what a nearest-neighbour resize to it does.
    See Odena, Dumoulin and Olah, "Deconvolution and Checkerboard Artifacts", Distill, 2016.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels of the input and of the output.

    Attributes
    ----------
    reach : tuple of int
        (1, 1): how many output pixels the kernel reaches before and after its own.

    Raises
    ------
    ValueError
        From the forward pass when the input is not ``(n, in_channels, h, w)`` or the size not about twice its own.
    """

    reach = (1, 1)

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = SameConv2d(in_channels, out_channels)

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """Double maps and convolve them.

        Parameters
        ----------
        x : torch.Tensor of shape (n, in_channels, ceil(h / 2), ceil(w / 2))
            Feature maps.
        size : tuple of int
            Height and width of the output, ``(h, w)``.

        Returns
        -------
        torch.Tensor of shape (n, out_channels, h, w)

        Raises
        ------
        ValueError
            When the input has another shape, or the size is not about twice its own.
        """
        check_channels(x, self.conv.in_channels)
        check_doubled(x, size)
        # It pays in training, and not for narrow maps: -3% for 8 channels, +3% for 16 to 32.
        wide = self.conv.in_channels >= 16 and torch.is_grad_enabled()
        if wide and fast.applies("upsample-phases", x) and size == (2 * x.shape[2], 2 * x.shape[3]):
            return fast.upsample_conv2d(x, self.conv.weight, self.conv.get_parameter("bias"))
        doubled = F.interpolate(x, scale_factor=2.0, mode="nearest")
        output: Tensor = self.conv(crop(doubled, size))
        return output

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw Glorot-uniform weights, and set the bias to zero.

        Parameters
        ----------
        generator : torch.Generator, optional
            Draws the weights; by default PyTorch's global one.
        """
        self.conv.reset_parameters(generator)

    def extra_repr(self) -> str:
        """Describe the layer, as ``repr`` shows it.

        Returns
        -------
        str
        """
        return "scale_factor=2, mode=nearest, cropped to the size asked for"


class TransposedConv2d(OnlyTraced, nn.ConvTranspose2d):
    """Transposed convolution with stride 2.

    A kernel of 3 × 3 overlaps with its neighbours unevenly: an output pixel sums 1, 2 or 4 contributions, depending on
    its position, which draws a checkerboard. It is here to show that. A kernel of 2 × 2, as large as the stride, makes
    a patch of 2 × 2 pixels of every pixel: patches do not overlap, and every output pixel has one contribution. See
    Odena, Dumoulin and Olah, "Deconvolution and Checkerboard Artifacts", Distill, 2016.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels of the input and of the output.
    kernel_size : {2, 3}, default=3
        Side of the kernel in pixels.

    Attributes
    ----------
    reach : tuple of int
        How many output pixels the kernel reaches before and after its own: (0, 1), or (0, 0) for a kernel of 2 × 2.

    Raises
    ------
    ValueError
        When the kernel has another size; from the forward pass when the input is not ``(n, in_channels, h, w)`` or the
        size not about twice its own.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int = 3) -> None:
        if kernel_size not in (2, 3):
            raise ValueError(f"kernel_size={kernel_size}; a transposed convolution that doubles maps takes 2 or 3")
        cut = kernel_size - 2  # so that the output is twice as large
        super().__init__(in_channels, out_channels, kernel_size, stride=2, padding=cut, output_padding=cut)
        self.reach = (0, cut)

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:  # type: ignore[override]  # a size is what it needs
        """Double maps by a transposed convolution.

        Parameters
        ----------
        x : torch.Tensor of shape (n, in_channels, ceil(h / 2), ceil(w / 2))
            Feature maps.
        size : tuple of int
            Height and width of the output, ``(h, w)``.

        Returns
        -------
        torch.Tensor of shape (n, out_channels, h, w)

        Raises
        ------
        ValueError
            When the input has another shape, or the size is not about twice its own.
        """
        check_channels(x, self.in_channels)
        check_doubled(x, size)
        return crop(super().forward(x), size)

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
        said: str = super().extra_repr()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        return f"{said}, cropped to the size asked for"


def check_doubled(x: Tensor, size: tuple[int, int]) -> None:
    """Raise ValueError unless maps of ``size``, halved and rounded up, are as large as x."""
    if is_recorded():  # a graph may be made for many sizes, and the comparison would fix them
        return
    if (x.shape[2], x.shape[3]) != (-(-size[0] // 2), -(-size[1] // 2)):
        raise ValueError(
            f"size={tuple(size)} does not fit x of shape {tuple(x.shape)}: doubled, x has {2 * x.shape[2]} rows and "
            f"{2 * x.shape[3]} columns, of which the last may be left out"
        )


def crop(x: Tensor, size: tuple[int, int]) -> Tensor:
    """The first ``size`` rows and columns of maps ``(n, c, h, w)``."""
    if torch.compiler.is_exporting():
        # A slice that leaves the example as it is would be left out of the exported graph; indices stay.
        rows, columns = (torch.arange(length, device=x.device) for length in size)
        return x.index_select(2, rows).index_select(3, columns)
    return x[:, :, : size[0], : size[1]]


UPSAMPLES: dict[str, Callable[[int, int], UpsampleConv2d | TransposedConv2d]] = {
    "nearest": UpsampleConv2d,
    "transposed": TransposedConv2d,
    "transposed-2x2": partial(TransposedConv2d, kernel_size=2),
}
"""Every layer that doubles the size of feature maps, by name."""
