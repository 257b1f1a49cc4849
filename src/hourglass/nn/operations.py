"""What operations on tensors say of a layer: its kind, kernel, stride and padding, and how often it multiplies.

Operations are known by PyTorch's names for them in ATen, ``torch.ops.aten``. Only those that are listed here are known.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

ACTIVATIONS = {
    "elu": "ELU", "gelu": "GELU", "hardtanh": "hard tanh", "leaky_relu": "leaky ReLU", "mish": "Mish", "relu": "ReLU",
    "sigmoid": "sigmoid", "silu": "SiLU", "softplus": "softplus", "tanh": "tanh", "_softmax": "softmax",
}  # fmt: skip
"""Elementwise functions by the names of their operations; one in place has an underscore after it."""

# Kind of operations that change the size of maps without a kernel, and the name of a layer that is nothing else.
_RESIZED = {
    "upsample_nearest2d": ("nearest", "upsample"),
    "_upsample_nearest_exact2d": ("nearest", "upsample"),
    "upsample_bilinear2d": ("bilinear", "upsample"),
    "upsample_bicubic2d": ("bicubic", "upsample"),
    "pixel_shuffle": ("channels to pixels", "shuffle"),
    "pixel_unshuffle": ("pixels to channels", "unshuffle"),
    "_adaptive_avg_pool2d": ("mean pool", "pool"),
}
_POOLS = {"max_pool2d_with_indices": "max pool", "avg_pool2d": "mean pool"}
# Where the factors of a matrix product stand among the arguments.
_PRODUCTS = {"mm": 0, "bmm": 0, "addmm": 1, "baddbmm": 1}

Pair = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One operation that makes maps or rows of others, with weights or with another size.

    Parameters
    ----------
    kind : str
        Name for people, such as "convolution".
    name : str
        Name of a layer that consists of nothing else.
    kernel, stride : tuple of int, default=()
        Along height and width, of convolutions and pools.
    padding : tuple of pair of int, default=()
        Rows of zeros before and after each axis. Of a transposed convolution they are negative: as many rows are cut
        off its output.
    multiplications : int, default=0
        Products of numbers.
    """

    kind: str
    name: str
    kernel: tuple[int, ...] = ()
    stride: tuple[int, ...] = ()
    padding: tuple[Pair, ...] = ()
    multiplications: int = 0


def understand(name: str, args: Sequence[Any], output: Tensor, padded: Sequence[Pair] = ()) -> Operation | None:
    """Say what an operation does.

    Parameters
    ----------
    name : str
        ATen's name of the operation.
    args : sequence
        Positional arguments of the operation.
    output : torch.Tensor
        Its output, or the first of several.
    padded : sequence of pair of int, default=()
        Zeros that were put before and after each axis of the input already.

    Returns
    -------
    Operation or None
        None for an operation that is not listed, such as an addition.
    """
    if name == "convolution":
        return _convolution(args, output, padded)
    if name in _POOLS:
        return _pool(name, args, output)
    if name in _PRODUCTS:
        left, right = args[_PRODUCTS[name] :][:2]
        work = left.numel() * right.shape[-1]
        return Operation(kind="matrix product", name="product", multiplications=work)
    if name in _RESIZED:
        kind, layer = _RESIZED[name]
        return Operation(kind=kind, name=layer)
    return None


def _convolution(args: Sequence[Any], output: Tensor, padded: Sequence[Pair]) -> Operation:
    x, weight, _, stride, padding, dilation, transposed, _, groups = args
    axes = range(weight.dim() - 2)
    reach = [dilation[i] * (weight.shape[2 + i] - 1) + 1 for i in axes]
    if transposed:
        full = [(x.shape[2 + i] - 1) * stride[i] + reach[i] for i in axes]
        pads = [(-padding[i], output.shape[2 + i] - full[i] + padding[i]) for i in axes]
    else:
        given = padded or [(0, 0) for _ in axes]
        pads = [(padding[i] + given[i][0], padding[i] + given[i][1]) for i in axes]
    kind = "transposed convolution" if transposed else "convolution"
    kind += f" in {groups} groups" if groups > 1 else ""
    kind += f", dilation {dilation[0]}" if dilation[0] > 1 else ""
    # Each number of the smaller-strided side meets every weight of its channel.
    places = x if transposed else output
    return Operation(
        kind=kind,
        name="convolution",
        kernel=tuple(weight.shape[2:]),
        stride=tuple(stride),
        padding=tuple(pads),
        multiplications=places.numel() * math.prod(weight.shape[1:]),
    )


def _pool(name: str, args: Sequence[Any], output: Tensor) -> Operation:
    x, kernel = args[:2]
    stride = args[2] if len(args) > 2 and args[2] else kernel
    padding = args[3] if len(args) > 3 else [0] * len(kernel)
    pads = []
    for i, size in enumerate(kernel):
        needed = (output.shape[2 + i] - 1) * stride[i] + size - x.shape[2 + i] - padding[i]
        pads.append((padding[i], max(padding[i], needed)))
    return Operation(kind=_POOLS[name], name="pool", kernel=tuple(kernel), stride=tuple(stride), padding=tuple(pads))
