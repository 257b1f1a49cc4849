"""Convolutions and maxima in forms that suit a processor's vector units; see :mod:`hourglass.runtime.tricks`.

Maps are ``(n, c, h, w)``, channels last in memory, so that pixels are rows of channels without a copy.
"""

from collections.abc import Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.grad import conv2d_input, conv2d_weight

from hourglass.runtime import tricks
from hourglass.runtime.internals import is_batched, is_transformed

# oneDNN computes 16 output channels at a time: with so few, matrix products waste less.
FEW_OUTPUTS = 3


def applies(trick: str, x: Tensor) -> bool:
    """Whether a trick is switched on and made for this tensor.

    It has to be on the CPU and in single or half precision, and nothing but PyTorch's ordinary autograd may look on:
    under ``torch.func``, forward-mode differentiation, tracing, compilation and export the plain form is computed.
    """
    return (
        tricks.uses(trick)
        and x.device.type == "cpu"
        and x.dtype in (torch.float32, torch.bfloat16)
        and not is_transformed()
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
        taps = weight.reshape(-1, 9) @ _DOUBLED.to(weight.dtype)
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
        taps = out_weight.reshape(-1, 9) @ _REREAD_BOTH.to(out_weight.dtype)
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
        phases = maps.permute(0, 2, 3, 1).reshape(n, height + 1, width + 1, 2, 2, channels)
        out = _empty_maps(maps, n, channels, 2 * height, 2 * width)
        rows = out.permute(0, 2, 3, 1)
        for a in (0, 1):
            for b in (0, 1):
                rows[:, a::2, b::2] = phases[:, a : a + height, b : b + width, a, b]
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        if is_batched(grad):  # which cannot be written into a tensor that is not
            phases = [F.pad(grad[:, :, a::2, b::2], (b, 1 - b, a, 1 - a)) for a in (0, 1) for b in (0, 1)]
            return torch.cat(phases, dim=1)
        return cast(Tensor, _Separate.apply(grad))  # type: ignore[no-untyped-call]  # torch leaves apply untyped


class _Separate(torch.autograd.Function):
    """Adjoint of :class:`_Interleave`, and so each one's gradient is the other."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor) -> Tensor:
        n, channels, height, width = maps.shape[0], maps.shape[1], maps.shape[2] // 2, maps.shape[3] // 2
        rows = maps.permute(0, 2, 3, 1)
        phases = maps.new_zeros(n, height + 1, width + 1, 2, 2, channels)
        for a in (0, 1):
            for b in (0, 1):
                phases[:, a : a + height, b : b + width, a, b] = rows[:, a::2, b::2]
        return phases.reshape(n, height + 1, width + 1, 4 * channels).permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        if is_batched(grad):
            height, width = grad.shape[2] - 1, grad.shape[3] - 1
            parts = [
                phase[:, :, a : a + height, b : b + width]
                for phase, (a, b) in zip(grad.chunk(4, dim=1), ((0, 0), (0, 1), (1, 0), (1, 1)), strict=True)
            ]
            return F.pixel_shuffle(torch.stack(parts, dim=2).reshape(len(grad), -1, height, width), 2)
        return cast(Tensor, _Interleave.apply(grad))  # type: ignore[no-untyped-call]  # torch leaves apply untyped


def _empty_maps(like: Tensor, *shape: int) -> Tensor:
    """Maps laid out channels last that are no view of anything, so that an activation may write into them."""
    return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=torch.channels_last)


def few_outputs_conv2d(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """3×3 'same' convolution with stride 1 to few channels.

    One matrix product takes each pixel's channels to nine taps; the taps, shifted, are summed in float32 at least.

    Parameters
    ----------
    x : torch.Tensor of shape (n, c, h, w)
    weight : torch.Tensor of shape (c', c, 3, 3)
    bias : torch.Tensor of shape (c',)

    Returns
    -------
    torch.Tensor of shape (n, c', h, w), float32; float64 where x is
    """
    out: Tensor = _FewOutputs.apply(x, weight, bias)  # type: ignore[no-untyped-call]  # torch leaves apply untyped
    return out


class _FewOutputs(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        n, _, height, width = x.shape
        few = len(weight)
        rows, taps = _rows_and_taps(x, weight)
        ctx.save_for_backward(x, weight)
        # Taps before pixels, so that each is a contiguous map; one product an image, which is what fits the cache.
        parts = torch.bmm(taps.expand(n, *taps.shape), rows.transpose(1, 2)).view(n, 9, few, height, width)
        parts, out = parts.to(_wide(x)), bias.to(_wide(x)).view(1, few, 1, 1).expand(n, few, height, width).contiguous()
        for tap in range(9):
            target, source = _shifted(tap, height, width)
            out[(..., *target)] += parts[:, tap][(..., *source)]
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        if torch.is_grad_enabled() or is_batched(grad):  # the gradient's own gradient is wanted, or many at once
            return _plain_gradients(x, weight, grad, ctx.needs_input_grad)
        n, channels, height, width = x.shape
        few = grad.shape[1]
        rows, taps = _rows_and_taps(x, weight)
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
        grad_weight = torch.bmm(flat, rows).sum(0, dtype=_wide(x))
        return grad_x, grad_weight.view(3, 3, few, channels).permute(2, 3, 0, 1), grad.sum((0, 2, 3))


def _wide(x: Tensor) -> torch.dtype:
    """Type in which products of x are summed: float32 for half precision, else that of x."""
    return torch.promote_types(x.dtype, torch.float32)


def _rows_and_taps(x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Pixels ``(n, h·w, c)`` and the kernel's taps ``(9·c', c)``."""
    n, channels, height, width = x.shape
    rows = x.permute(0, 2, 3, 1).reshape(n, height * width, channels)
    return rows, weight.to(x.dtype).permute(2, 3, 0, 1).reshape(9 * len(weight), channels)


def _plain_gradients(x: Tensor, weight: Tensor, grad: Tensor, needed: Sequence[bool]) -> tuple[Tensor | None, ...]:
    """Gradients of the convolution by image, kernel and bias, as functions that can be differentiated again."""
    low = grad.to(x.dtype)
    return (
        conv2d_input(x.shape, weight.to(x.dtype), low, padding=1) if needed[0] else None,
        conv2d_weight(x, weight.shape, low, padding=1).to(weight.dtype) if needed[1] else None,
        grad.sum((0, 2, 3)) if needed[2] else None,
    )


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
