"""One image on its way through an autoencoder, with its numbers, for a lecture."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from hourglass.estimators import NetworkEstimator
from hourglass.inspection import percent
from hourglass.lab.explained import Numbers, wrapped
from hourglass.nn.recording import INPUT, Layer, record_layers
from hourglass.training import LOSSES

# Rows and columns of the image that are shown, and numbers of a line.
PIECE, PER_LINE = (4, 8), 8
Place = tuple[slice, slice]
BY_HAND: dict[str, tuple[str, Callable[[Numbers, Numbers], Numbers]]] = {
    "bce": ("-(x log p + (1 - x) log(1 - p))", lambda x, p: -(x * np.log(p) + (1 - x) * np.log1p(-p))),
    "mae": ("|p - x|", lambda x, p: np.abs(p - x)),
    "mse": ("(p - x)²", lambda x, p: (p - x) ** 2),
}
"""Term of one pixel in each loss, in words and as a function of the target and the output after its activation."""


def follow(
    estimator: NetworkEstimator,
    image: NDArray[np.floating[Any]],
    *,
    given: NDArray[np.floating[Any]] | None = None,
    about: str = "",
) -> str:
    """Write what an autoencoder computes of one image, layer by layer, as text.

    Parameters
    ----------
    estimator : DenseAutoencoder or ConvAutoencoder
        Fitted, or not: its network then has the weights that seed 0 draws.
    image : ndarray of shape (h, w, c)
        The image, with pixels in [0, 1].
    given : ndarray of shape (h, w, c), optional
        What the network is given in place of the image, such as the image with noise. By default the image.
    about : str, default=""
        Words on the image and the network, for the first line.

    Returns
    -------
    str
        Lines of text of at most 80 columns: for each layer the size of its output and its numbers at one place of the
        image, the code, the output before and after its activation, the loss from its definition beside the
        framework's, and the size of the code.

    Raises
    ------
    ValueError
        When the network has no code, or does not take the image.
    """
    shape = (image.shape[0], image.shape[1], image.shape[2])
    network = getattr(estimator, "network_", None)
    network = estimator.untrained_network(shape) if network is None else network
    x = torch.from_numpy(np.ascontiguousarray(image if given is None else given, np.float32))
    layers = record_layers(network, x.permute(2, 0, 1)[None], keep=True)
    code = next((layer for layer in layers if layer.is_code), None)
    if code is None:
        raise ValueError(f"a {type(network).__name__} has no code; only autoencoders that have one are followed")
    loss_name = str(estimator.get_params()["loss"])
    loss = LOSSES[loss_name]
    output = _values(layers[-1])
    shown = output if loss.activation is None else _array(loss.activation(torch.from_numpy(output)))
    activation = "" if loss.activation is None else loss.activation.__name__
    place = _place(layers[0].output, layers[0].output)
    parts = [
        *wrapped(about, indent=""),
        "",
        f"input: {_by(layers[0].output)} numbers, here {_where(place)}",
        *_piece(_values(layers[0]), place, 0),
    ]
    channel = 0
    for before, layer in pairwise(layers):
        if layer.is_code:
            parts += ["", *_code(layer)]
            continue
        if layer.parameters or layer.output[-1] != before.output[-1]:
            channel = _strongest(layer)
        parts += ["", *_layer(layer, channel, layers[0], activation if layer is layers[-1] else "")]
        if before.kind == INPUT and layer.module:
            parts += _first_number(network.get_submodule(layer.module), before, layer, channel)
    if activation:
        parts += ["", f"{activation} of the output, at the same place:", *_piece(shown, place, 0)]
    parts += ["", *_loss(loss_name, image.astype(np.float64), shown, output, place)]
    numbers, ratio = math.prod(code.output), math.prod(code.output) / image.size
    parts += [
        "",
        f"The code has {numbers} of {image.size} numbers, {percent(ratio)}.",
        *wrapped(
            f"That compares numbers. In memory the difference is smaller: the image has {image.size} bytes, and the "
            f"code as float32 has {4 * numbers}. Rounded to bytes, the code would have {numbers}."
        ),
    ]
    return "\n".join(parts)


def _values(layer: Layer) -> Numbers:
    """Values of a layer as ``(h, w, c)`` or as ``(numbers,)``."""
    assert layer.values is not None  # noqa: S101  # the recorder keeps them
    values = _array(layer.values[0])
    return values.transpose(1, 2, 0) if values.ndim == 3 else values


def _array(x: torch.Tensor) -> Numbers:
    return x.detach().double().numpy()


def _strongest(layer: Layer) -> int:
    """Map, or number, that is largest over all pixels."""
    values = _values(layer)
    return int(values.reshape(-1, values.shape[-1]).sum(0).argmax())


def _layer(layer: Layer, channel: int, image: Layer, activation: str) -> list[str]:
    """What a layer does, and a piece of its output; ``activation`` is what is applied to the last one in the loss."""
    kind = layer.kind + (f" of {_by(layer.kernel)}" if layer.kernel else "")
    kind += f" with stride {layer.stride[0]}" if layer.stride and layer.stride[0] > 1 else ""
    kind += f", then {layer.activation}" if layer.activation else ""
    values, head = _values(layer), f"{layer.name}: {kind}; {_by(layer.output)}"
    if values.ndim == 1:
        low = (len(values) - PER_LINE) // 2 if len(values) > 4 * PER_LINE else 0
        some = slice(low, min(low + PER_LINE, len(values)))
        return [f"{head} numbers, here {_span(some)}", *_lines(values[some])]
    place = _place(layer.output, image.output)
    logits = "the logits, " if activation == "sigmoid" else ""
    which = f", {logits}before {activation}" if activation else ""
    if layer.output[-1] > 1:
        which += f", here of map {channel + 1}" + (", which has the largest sum" if layer.parameters else "")
    return [*wrapped(f"{head}{which}, {_where(place)}", indent=""), *_piece(values, place, channel)]


def _code(code: Layer) -> list[str]:
    """All numbers of the code."""
    values = _values(code)
    on = f"{int((values > 0).sum())} of {values.size} are above 0"
    if values.ndim == 1:
        return [f"code: {len(values)} numbers; {on}", *_lines(values)]
    height, width, maps = values.shape
    per_line = max(1, 72 // (8 * width + 3))
    lines = [f"code: {_by(values.shape)} = {values.size} numbers, as {maps} maps; {on}"]
    for first in range(0, maps, per_line):
        some = range(first, min(first + per_line, maps))
        lines.append("   " + "   ".join(f"{f'map {i + 1}':<{8 * width}}" for i in some).rstrip())
        rows = ((values[row, :, i] for i in some) for row in range(height))
        lines.extend("   " + "   ".join("".join(f"{v:8.3f}" for v in part) for part in row) for row in rows)
    return lines


def _first_number(module: nn.Module, before: Layer, layer: Layer, channel: int) -> list[str]:
    """One number of the first layer, computed from its inputs and weights."""
    if not isinstance(module, nn.Conv2d | nn.Linear):
        return []
    x, y, weights = _values(before), _values(layer), _array(module.weight)
    bias = 0.0 if module.bias is None else float(_array(module.bias)[channel])
    if y.ndim == 1:
        products, found = weights[channel] * x.ravel(), y[channel]
        said = f"Number {channel + 1}, the largest, is the sum of {x.size} products of a pixel and a weight"
    else:
        rows, columns = _place(layer.output, before.output)
        top, left = rows.start * layer.stride[0], columns.start * layer.stride[1]
        padded = np.pad(x, [*layer.padding, (0, 0)])
        patch = padded[top : top + layer.kernel[0], left : left + layer.kernel[1]].transpose(2, 0, 1)
        products, found = weights[channel] * patch, y[rows.start, columns.start, channel]
        said = f"The first of these is the sum of {patch.size} products of a pixel under the kernel and a weight"
    total = float(products.sum()) + bias
    after = f", and {max(total, 0.0):.4f} after ReLU" if layer.activation == "ReLU" else ""
    return wrapped(f"{said}, plus a bias. Computed so, it is {total:.4f}{after}; the network has {found:.4f}.")


def _loss(name: str, target: Numbers, shown: Numbers, output: Numbers, place: Place) -> list[str]:
    """The loss by its definition for each pixel, and by the framework."""
    framework = float(LOSSES[name](torch.from_numpy(output)[None], torch.from_numpy(target)[None]))
    if name not in BY_HAND:
        return [f"loss {name}: {framework:.6f}"]
    formula, term = BY_HAND[name]
    terms = term(target, shown.clip(1e-300, 1 - 1e-16) if LOSSES[name].unit_range else shown)
    return [
        f"loss {name}: the mean over all {target.size} numbers of {formula},",
        "where x is the pixel that is wanted and p the output after its activation;",
        "the terms at the same place are",
        *_piece(terms, place, 0),
        f"   their sum over all pixels   {terms.sum():.4f}",
        f"   divided by {target.size:<16} {terms.sum() / target.size:.6f}",
        f"   the framework's number      {framework:.6f}",
    ]


def _place(output: Sequence[int], image: Sequence[int]) -> Place:
    """Rows and columns of maps in the middle of the image, where the same pixels are at every size."""
    parts = []
    for length, whole, size in zip(output, image, PIECE, strict=False):
        low = max(0, (whole - size) // 4 * 2)  # an even number, so that pairs of pixels stay together
        high = min(whole, low + size)
        parts.append(slice(low * length // whole, -(-high * length // whole)))
    return parts[0], parts[1]


def _piece(values: Numbers, place: Place, channel: int) -> list[str]:
    return ["   " + "".join(map(_number, row)) for row in values[(*place, channel)]]


def _lines(values: Numbers) -> list[str]:
    lines = [values[i : i + PER_LINE] for i in range(0, len(values), PER_LINE)]
    return ["   " + "".join(map(_number, line)) for line in lines]


def _number(value: float) -> str:
    return f"{round(value, 4) + 0.0:9.4f}"  # no -0.0000


def _where(place: Place) -> str:
    spans = zip(("row", "column"), place, strict=True)
    return ", ".join(f"{name}{'s' * (part.stop - part.start > 1)} {_span(part)}" for name, part in spans)


def _span(part: slice) -> str:
    return f"{part.start + 1} to {part.stop}" if part.stop - part.start > 1 else str(part.stop)


def _by(sizes: Sequence[int]) -> str:
    return " × ".join(map(str, sizes))
