"""Layers with TensorFlow's padding and initialisation, on PyTorch's layout ``(n, c, h, w)``."""

import math
from numbers import Integral

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hourglass.nn import fast
from hourglass.nn.internals import AnyNorm, OnlyTraced, has_values, is_recorded, shape_of

KERNEL_INITS = ("glorot", "he", "truncated-normal")
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
        kernel, stride = self.kernel_size[0], self.stride[0]
        height, width = check_channels(x, self.in_channels)
        if kernel == 3 and fast.applies("one-pixel", x) and height == width == 1:
            return fast.one_pixel_conv2d(x, self.weight, self.bias)
        if stride == 1:
            few = kernel == 3 and self.out_channels <= fast.FEW_OUTPUTS
            if few and self.bias is not None and fast.applies("few-outputs", x):
                return fast.few_outputs_conv2d(x, self.weight, self.bias)
            return super().forward(x)
        top, bottom = same_padding(height, kernel, stride)
        left, right = same_padding(width, kernel, stride)
        if top == bottom == left == right == kernel // 2:
            return super().forward(x)
        return F.conv2d(F.pad(x, (left, right, top, bottom)), self.weight, self.bias, stride)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        reset_glorot_(self, generator)

    def extra_repr(self) -> str:
        # The attribute `padding` holds only where both ends of every axis are padded alike.
        said = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}, "
        said += "padding='same'" if self.stride == (1, 1) else SAME_PADDING
        return said if self.bias is not None else f"{said}, bias=False"


class Dense(nn.Linear):
    """Fully connected layer with Glorot-uniform weights and zero biases."""

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        reset_glorot_(self, generator)


class UpsampleConv2d(OnlyTraced, nn.Module):
    """Every pixel doubled both ways, then a 3×3 convolution: free of checkerboards.

    An odd size leaves out the last row or column, which is what a nearest-neighbour resize to it does.
    See Odena, Dumoulin and Olah, "Deconvolution and Checkerboard Artifacts", Distill, 2016.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels of the input and of the output.

    Raises
    ------
    ValueError
        From the forward pass when the input is not ``(n, in_channels, h, w)`` or the size not about twice its own.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = SameConv2d(in_channels, out_channels)

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """Maps ``(n, c, ceil(h / 2), ceil(w / 2))`` to ``(n, c', h, w)`` for ``size = (h, w)``."""
        check_channels(x, self.conv.in_channels)
        check_doubled(x, size)
        # With a gradient, narrow maps lose more to the copies than they gain: -3% for 8 channels, +3% for 16 to 32.
        wide = self.conv.in_channels >= 16 or not torch.is_grad_enabled()
        if wide and fast.applies("upsample-phases", x) and size == (2 * x.shape[2], 2 * x.shape[3]):
            return fast.upsample_conv2d(x, self.conv.weight, self.conv.get_parameter("bias"))
        doubled = F.interpolate(x, scale_factor=2.0, mode="nearest")
        return self.conv(crop(doubled, size))  # type: ignore[no-any-return]  # torch types calls as Any

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        self.conv.reset_parameters(generator)

    def extra_repr(self) -> str:
        return "scale_factor=2, mode=nearest, cropped to the size asked for"


class TransposedConv2d(OnlyTraced, nn.ConvTranspose2d):
    """Transposed 3×3 convolution with stride 2.

    Kernel and stride overlap unevenly: an output pixel sums 1, 2 or 4 contributions by its position,
    which draws a checkerboard. It is here to show that.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels of the input and of the output.

    Raises
    ------
    ValueError
        From the forward pass when the input is not ``(n, in_channels, h, w)`` or the size not about twice its own.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 3, stride=2, padding=1, output_padding=1)

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:  # type: ignore[override]  # a size is what it needs
        """Maps ``(n, c, ceil(h / 2), ceil(w / 2))`` to ``(n, c', h, w)`` for ``size = (h, w)``."""
        check_channels(x, self.in_channels)
        check_doubled(x, size)
        return crop(super().forward(x), size)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        reset_glorot_(self, generator)

    def extra_repr(self) -> str:
        said: str = super().extra_repr()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        return f"{said}, cropped to the size asked for"


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
        height, width = check_channels(x)
        if (
            fast.applies("pool-pairs", x)
            and height % 2 == width % 2 == 0
            and not (x.requires_grad and torch.is_grad_enabled())
            and x.is_contiguous(memory_format=torch.channels_last)
        ):
            return fast.max_pool2d(x)
        return super().forward(x)  # type: ignore[no-any-return]  # torch types calls as Any

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, {SAME_PADDING}"


def check_channels(x: Tensor, channels: int | None = None) -> tuple[int, int]:
    """Height and width of maps ``(n, channels, h, w)``; ValueError for another shape, as of one image alone."""
    shape = shape_of(x)
    if has_values(x) and (len(shape) != 4 or channels not in (None, shape[1])):
        wanted = "channels" if channels is None else channels
        raise ValueError(f"x has shape {tuple(shape)}; expected (n, {wanted}, height, width)")
    return shape[2], shape[3]


def check_images(images: Tensor, image_shape: tuple[int, int, int]) -> None:
    """Raise ValueError unless images are ``(n, c, h, w)`` for ``image_shape = (h, w, c)``."""
    if not has_values(images):
        return
    height, width, channels = image_shape
    shape = shape_of(images)
    if len(shape) != 4 or tuple(shape[1:]) != (channels, height, width):
        hint = "; channels come before height and width" if tuple(shape[1:]) == tuple(image_shape) else ""
        raise ValueError(f"images have shape {tuple(shape)}; expected (n, {channels}, {height}, {width}){hint}")


def check_counts(**counts: int) -> None:
    """Raise ValueError unless each argument is a whole number, 1 or more."""
    for name, count in counts.items():
        if not isinstance(count, Integral) or isinstance(count, bool) or count < 1:
            raise ValueError(f"{name}={count!r}; expected a whole number, 1 or more")


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
    """Call ``reset_parameters`` of every child that has parameters, in order of definition.

    Layers of ours take the generator; PyTorch's normalisation layers draw nothing.
    """
    for child in module.children():
        reset = getattr(child, "reset_parameters", None)
        if reset is None:
            reset_children_(child, generator)
        elif isinstance(child, AnyNorm | nn.GroupNorm):
            reset()
        else:
            reset(generator)


def to_height_width_channel(x: Tensor) -> Tensor:
    """Flatten ``(n, c, h, w)`` to ``(n, h·w·c)``, channels varying fastest, as TensorFlow lays images out."""
    return x.permute(0, 2, 3, 1).flatten(1)


def from_height_width_channel(x: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Undo :func:`to_height_width_channel`: ``(n, h·w·c)`` to ``(n, c, h, w)`` for ``shape = (h, w, c)``."""
    return x.reshape(-1, *shape).permute(0, 3, 1, 2)
