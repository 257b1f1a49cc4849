"""Convolutions and batch normalisation in forms that suit a processor's vector units; see :mod:`hourglass.tricks`.

Maps are ``(n, c, h, w)``, channels last in memory, so that pixels are rows of channels without a copy.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from hourglass import tricks

# oneDNN computes 16 output channels at a time: with so few, matrix products waste less.
FEW_OUTPUTS = 3
# Numbers in a row that the vector units are busy with, and maps for which wider rows pay.
_ROW, _LARGE = 64, 100_000


def applies(trick: str, x: Tensor) -> bool:
    """Whether a trick is switched on and made for this tensor: on the CPU, and not while a graph is exported."""
    return (
        tricks.uses(trick)
        and x.device.type == "cpu"
        and x.dtype in (torch.float32, torch.bfloat16)
        and not torch.compiler.is_exporting()
    )


def upsample_conv2d(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Every pixel doubled both ways, then a 3×3 'same' convolution: maps of twice the height and width.

    An output pixel sees two input pixels each way, of which the three taps of the kernel read one twice: four phases,
    by the parity of row and column, each a 2×2 convolution of the small map with taps summed. They are computed as one
    with four times the channels, 16 multiplications where there were 36.

    Parameters
    ----------
    x : torch.Tensor of shape (n, c, h, w)
    weight : torch.Tensor of shape (c', c, 3, 3)
    bias : torch.Tensor of shape (c',)

    Returns
    -------
    torch.Tensor of shape (n, c', 2h, 2w)
    """
    interleaved: Tensor = _Interleave.apply(_phases(x, weight, bias))  # type: ignore[no-untyped-call]  # torch leaves apply untyped
    return interleaved


def _phases(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The four phases of :func:`upsample_conv2d`, ``(n, 4c', h + 1, w + 1)``: row's parity, column's, channel."""
    out_channels, in_channels = weight.shape[:2]
    with _whole_precision():
        taps = weight.reshape(-1, 9) @ _DOUBLED
    phases = taps.view(out_channels, in_channels, 2, 2, 2, 2).permute(2, 4, 0, 3, 5, 1)
    kernel = phases.reshape(4 * out_channels, 2, 2, in_channels).permute(0, 3, 1, 2)
    return F.conv2d(x, kernel, bias.repeat(4), padding=1)


# One axis: the 2×2 kernel's two taps of the even phase, then of the odd one, from the 3×3 kernel's; then both axes.
_ONE_AXIS = torch.tensor([[1.0, 0, 0], [0, 1, 1], [1, 1, 0], [0, 0, 1]])
_DOUBLED = torch.kron(_ONE_AXIS, _ONE_AXIS).t().contiguous()
# One axis, for a 3×3 kernel that reads phases and writes phases: [phase written, read, place read, tap]; then both.
_REREAD = torch.tensor(
    [[[[0.0, 1, 0], [0, 0, 0]], [[1, 0, 0], [0, 0, 1]]], [[[1, 0, 0], [0, 0, 1]], [[0, 0, 0], [0, 1, 0]]]]
)
_REREAD_BOTH = torch.einsum("apud,bqve->deabpquv", _REREAD, _REREAD).reshape(9, 64)


def upsample_output_conv2d(x: Tensor, weight: Tensor, bias: Tensor, out_weight: Tensor, out_bias: Tensor) -> Tensor:
    """:func:`upsample_conv2d`, ReLU, and one more 3×3 'same' convolution; without gradient.

    The second convolution reads the first's phases and writes phases of its own, again as a 2×2 convolution, so that
    the large map with many channels is never put together.

    Parameters
    ----------
    x : torch.Tensor of shape (n, c, h, w)
    weight, bias : torch.Tensor of shapes (c', c, 3, 3) and (c',)
    out_weight, out_bias : torch.Tensor of shapes (c'', c', 3, 3) and (c'',)

    Returns
    -------
    torch.Tensor of shape (n, c'', 2h, 2w)
    """
    outputs, channels = out_weight.shape[:2]
    with _whole_precision():
        taps = out_weight.reshape(-1, 9) @ _REREAD_BOTH
    taps = taps.view(outputs, channels, 2, 2, 2, 2, 2, 2).permute(2, 3, 0, 6, 7, 4, 5, 1)
    kernel = taps.reshape(4 * outputs, 2, 2, 4 * channels).permute(0, 3, 1, 2)
    maps = F.relu_(_phases(x, weight, bias))
    n, _, height, width = maps.shape
    rows = maps.permute(0, 2, 3, 1).view(n, height, width, 2, 2, channels)
    # Beyond the border the second convolution reads zeros: odd phases begin there, even ones end there.
    rows[:, 0, :, 1] = rows[:, -1, :, 0] = rows[:, :, 0, :, 1] = rows[:, :, -1, :, 0] = 0
    phases = F.conv2d(maps, kernel, out_bias.repeat(4))
    parts = phases.view(n, 2, 2, outputs, height - 1, width - 1).permute(0, 3, 4, 1, 5, 2)
    return parts.reshape(n, outputs, 2 * (height - 1), 2 * (width - 1))


def _whole_precision() -> torch.autocast:
    """Sums of weights, and moments, stay in float32 where convolutions are cast to half of it."""
    return torch.autocast("cpu", enabled=False)


class _Interleave(torch.autograd.Function):
    """Four phases ``(n, 4c, h + 1, w + 1)`` to one map ``(n, c, 2h, 2w)``: the odd phases begin one pixel later."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor) -> Tensor:
        n, channels, height, width = maps.shape[0], maps.shape[1] // 4, maps.shape[2] - 1, maps.shape[3] - 1
        ctx.shape = (n, height, width, channels)
        phases = maps.permute(0, 2, 3, 1).reshape(n, height + 1, width + 1, 2, 2, channels)
        out = _empty_maps(maps, n, channels, 2 * height, 2 * width)
        rows = out.permute(0, 2, 3, 1)
        for a in (0, 1):
            for b in (0, 1):
                rows[:, a::2, b::2] = phases[:, a : a + height, b : b + width, a, b]
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        n, height, width, channels = ctx.shape
        grad = grad.permute(0, 2, 3, 1)
        phases = grad.new_zeros(n, height + 1, width + 1, 2, 2, channels)
        for a in (0, 1):
            for b in (0, 1):
                phases[:, a : a + height, b : b + width, a, b] = grad[:, a::2, b::2]
        return phases.reshape(n, height + 1, width + 1, 4 * channels).permute(0, 3, 1, 2)


def _empty_maps(like: Tensor, *shape: int) -> Tensor:
    """Maps laid out channels last that are no view of anything, so that an activation may write into them."""
    return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=torch.channels_last)


def few_outputs_conv2d(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """3×3 'same' convolution with stride 1 to few channels.

    One matrix product takes each pixel's channels to nine taps; the taps, shifted, are summed in float32.

    Parameters
    ----------
    x : torch.Tensor of shape (n, c, h, w)
    weight : torch.Tensor of shape (c', c, 3, 3)
    bias : torch.Tensor of shape (c',)

    Returns
    -------
    torch.Tensor of shape (n, c', h, w), float32
    """
    out: Tensor = _FewOutputs.apply(x, weight, bias)  # type: ignore[no-untyped-call]  # torch leaves apply untyped
    return out


class _FewOutputs(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        n, channels, height, width = x.shape
        few = len(weight)
        rows = x.permute(0, 2, 3, 1).reshape(n, height * width, channels)
        taps = weight.to(x.dtype).permute(2, 3, 0, 1).reshape(9 * few, channels)
        ctx.save_for_backward(rows, taps)
        ctx.shape = x.shape
        # Taps before pixels, so that each is a contiguous map; one product an image, which is what fits the cache.
        parts = torch.bmm(taps.expand(n, *taps.shape), rows.transpose(1, 2)).float().view(n, 9, few, height, width)
        out = bias.float().view(1, few, 1, 1).expand(n, few, height, width).contiguous()
        for tap in range(9):
            target, source = _shifted(tap, height, width)
            out[(..., *target)] += parts[:, tap][(..., *source)]
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        rows, taps = ctx.saved_tensors
        n, channels, height, width = ctx.shape
        few = grad.shape[1]
        parts, low = taps.new_zeros(n, 9, few, height, width), grad.to(taps.dtype)
        for tap in range(9):
            target, source = _shifted(tap, height, width)
            parts[:, tap][(..., *source)] = low[(..., *target)]
        flat = parts.view(n, 9 * few, height * width)
        grad_x = (
            torch.bmm(flat.transpose(1, 2), taps.expand(n, *taps.shape))
            .view(n, height, width, channels)
            .permute(0, 3, 1, 2)
        )
        grad_weight = torch.bmm(flat, rows).sum(0, dtype=torch.float32)
        return grad_x, grad_weight.view(3, 3, few, channels).permute(2, 3, 0, 1), grad.sum((0, 2, 3))


def _shifted(tap: int, height: int, width: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Which pixels of the output a tap reaches, and from which of the input."""
    pairs = []
    for shift, length in ((tap // 3 - 1, height), (tap % 3 - 1, width)):
        pairs.append((slice(max(-shift, 0), length - max(shift, 0)), slice(max(shift, 0), length - max(-shift, 0))))
    (rows_out, rows_in), (columns_out, columns_in) = pairs
    return (rows_out, columns_out), (rows_in, columns_in)


def max_pool2d(x: Tensor) -> Tensor:
    """2×2 maxima with stride 2, without the places of them that PyTorch keeps for a gradient; there is none here.

    Parameters
    ----------
    x : torch.Tensor of shape (n, c, h, w)
        Channels last in memory, of even height and width.

    Returns
    -------
    torch.Tensor of shape (n, c, h / 2, w / 2)
    """
    n, channels, height, width = x.shape
    pairs = x.permute(0, 2, 3, 1).view(n, height, width // 2, 2 * channels)
    wider = torch.maximum(*pairs.split(channels, 3))
    return torch.maximum(wider[:, 0::2], wider[:, 1::2]).permute(0, 3, 1, 2)


def one_pixel_conv2d(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """3×3 'same' convolution, of any stride, of maps of one pixel: only the middle of the kernel meets it."""
    return F.linear(x[:, :, 0, 0], weight[:, :, 1, 1], bias)[:, :, None, None]


def batch_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """Batch normalisation by the batch's own moments, in float32.

    Parameters
    ----------
    x : torch.Tensor of shape (n, c) or (n, c, h, w)
    weight, bias : torch.Tensor of shape (c,)
    eps : float

    Returns
    -------
    normalised : torch.Tensor of the shape of x
    mean, variance : torch.Tensor of shape (c,)
        Of the batch, the variance biased; without gradient.
    """
    with _whole_precision():
        normalised, mean, variance = _BatchNorm.apply(x, weight, bias, eps)  # type: ignore[no-untyped-call]  # torch leaves apply untyped
    return normalised, mean, variance


class _BatchNorm(torch.autograd.Function):
    """Sums over rows as products with a row of ones, which is fast for any number of channels.

    PyTorch's kernel for channels-last maps is slow where their number is no multiple of 16. Narrow rows are read
    several at a time.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
        channels = x.shape[1]
        rows = x.permute(0, 2, 3, 1).reshape(-1, channels) if x.dim() == 4 else x
        count = len(rows)
        together = _rows_together(count, channels)
        rows = rows.reshape(count // together, together * channels)
        ones = rows.new_full((1, len(rows)), 1 / count)
        mean = _per_channel(ones @ rows, together)
        centred = rows - _tiled(mean, together)
        variance = _per_channel(ones @ centred.square(), together)
        inverse = torch.rsqrt(variance + eps)
        out = torch.addcmul(_tiled(bias, together), centred, _tiled(inverse * weight, together))
        ctx.save_for_backward(centred, inverse, weight, ones)
        ctx.together, ctx.shape = together, x.shape
        ctx.mark_non_differentiable(mean, variance)
        return _as_maps(out, x.shape), mean, variance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, *_: Any) -> tuple[Tensor, Tensor, Tensor, None]:
        centred, inverse, weight, ones = ctx.saved_tensors
        together, shape = ctx.together, ctx.shape
        rows = (grad.permute(0, 2, 3, 1) if len(shape) == 4 else grad).reshape(centred.shape)
        # Means over the batch of the gradient, and of it times the centred values.
        mean = _per_channel(ones @ rows, together)
        product = _per_channel(ones @ (rows * centred), together)
        scale = inverse * weight
        constant, slope = -scale * mean, -scale * inverse.square() * product
        out = torch.addcmul(_tiled(constant, together), centred, _tiled(slope, together))
        out.addcmul_(rows, _tiled(scale, together))
        count = centred.numel() // len(mean)
        return _as_maps(out, shape), product * inverse * count, mean * count, None


def _rows_together(count: int, channels: int) -> int:
    """How many rows to read as one."""
    together = 1
    while count * channels >= _LARGE and count % (2 * together) == 0 and 2 * together * channels <= _ROW:
        together *= 2
    return together


def _per_channel(sums: Tensor, together: int) -> Tensor:
    return sums[0] if together == 1 else sums.view(together, -1).sum(0)


def _tiled(values: Tensor, together: int) -> Tensor:
    return values if together == 1 else values.repeat(together)


def _as_maps(rows: Tensor, shape: torch.Size) -> Tensor:
    if len(shape) == 2:
        return rows.view(shape)
    n, channels, height, width = shape
    return rows.view(n, height, width, channels).permute(0, 3, 1, 2)
