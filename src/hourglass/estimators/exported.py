"""Parts of fitted estimators as PyTorch modules, which exported files hold."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hourglass.denoising.clipping import expected_clipped, undo_clipping
from hourglass.training import Loss

_TABLE = 4096


@dataclass(frozen=True, kw_only=True)
class ExportedPart:
    """What an exported file holds of an estimator, and how it is checked.

    Parameters
    ----------
    module : torch.nn.Module
        Takes images ``(n, c, h, w)`` on the scale of training, or codes ``(n, code_size)``; returns a tensor for each
        name in ``outputs``.
    outputs : tuple of str
        Names of the outputs.
    expected : callable
        The estimator's own method, which gives the first output for the same input as an array, and takes ``options``
        by name.
    shapes : sequence of tuple of int
        Shapes of the inputs to trace with, the first, and to compare with, all: images ``(n, h, w, c)`` or codes.
    inputs : {"images", "codes"}, default="images"
    any_size : bool, default=False
        Whether height and width of the images are free.
    notes : dict of str to str
        What the file says of it besides.
    options : dict of str to float
        Further inputs of the module, each one number, with the values that they have where they are not given.
    """

    module: nn.Module
    outputs: tuple[str, ...]
    expected: Callable[..., NDArray[Any]]
    shapes: list[tuple[int, ...]]
    inputs: Literal["images", "codes"] = "images"
    any_size: bool = False
    notes: dict[str, str] = field(default_factory=dict)
    options: dict[str, float] = field(default_factory=dict)


class ExportedCodec(nn.Module):
    """An autoencoder's network, or a half of it, with the activation of its output and, at choice, clipping undone.

    Parameters
    ----------
    network : Codec
        Copied.
    part : {"whole", "encoder", "decoder"}
    loss : Loss
    unclipped : float, optional
        Level of clipped noise that is undone.
    """

    def __init__(self, network: nn.Module, part: str, loss: Loss, unclipped: float | None) -> None:
        super().__init__()
        self.network: Any = copy.deepcopy(network)
        self.part, self.activation = part, loss.activation
        self.unclipped = unclipped is not None
        if unclipped is not None:
            self.low, self.high = (float(value) for value in expected_clipped([0.0, 1.0], unclipped))
            table = undo_clipping(np.linspace(self.low, self.high, _TABLE + 1), unclipped)
            self.register_buffer("table", torch.from_numpy(table).float())

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Codes, or restored images ``(n, h, w, c)`` as float32 and as bytes."""
        if self.part == "encoder":
            codes: Tensor = self.network.encode(x)
            return codes
        output = self.network.decode(x) if self.part == "decoder" else self.network(x)
        output = output.permute(0, 2, 3, 1)
        if self.activation is not None:
            output = self.activation(output)
        if self.unclipped:
            output = self._undo_clipping(output)
        return output, (output.clamp(0, 1) * 255).round().to(torch.uint8)

    def _undo_clipping(self, output: Tensor) -> Tensor:
        place = ((output - self.low) / (self.high - self.low)).clamp(0, 1) * _TABLE
        index = place.floor().clamp(max=_TABLE - 1)
        table = self.get_buffer("table")
        left, right = table[index.long()], table[index.long() + 1]
        return left + (place - index) * (right - left)


class ExportedRestorer(nn.Module):
    """A denoiser's network, with the level of the noise as a second input.

    Parameters
    ----------
    network : RestorationNet
        Copied.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network: Any = copy.deepcopy(network)

    def forward(self, x: Tensor, noise_level: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Restored images ``(n, h, w, c)`` as float32 and as bytes, of images and one level, ``(1,)``."""
        output = self.network(x, noise_level).permute(0, 2, 3, 1)
        return output, (output.clamp(0, 1) * 255).round().to(torch.uint8)


class ExportedClassifier(nn.Module):
    """A classifier's network, with probabilities for its logits.

    Parameters
    ----------
    network : torch.nn.Module
        Copied.
    log_scores : callable
        As in :class:`hourglass.training.Loss`.
    """

    def __init__(self, network: nn.Module, log_scores: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.network: Any = copy.deepcopy(network)
        self.log_scores = log_scores

    def forward(self, x: Tensor) -> Tensor:
        """Probabilities ``(n, classes)``."""
        return torch.softmax(self.log_scores(self.network(x)), 1)


def image_shapes(image_shape: tuple[int, int, int], stride: int | None = None) -> list[tuple[int, ...]]:
    """Shapes of images to trace and to compare an exported file with.

    Parameters
    ----------
    image_shape : tuple of int
        Height, width, channels.
    stride : int, optional
        Of a network that takes any size; by default it takes this one.
    """
    own = [(2, *image_shape), (5, *image_shape)]
    if stride is None:
        return [*own]
    channels = image_shape[2]
    # Odd at every stage, so that the trace meets every case; then the others.
    return [
        (2, stride + 1, 2 * stride + 1, channels),
        (1, 2 * stride, 3 * stride, channels),
        (3, 2 * stride + 3, stride + 2, channels),
        *own,
    ]
