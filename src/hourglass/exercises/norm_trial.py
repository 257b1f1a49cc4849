"""A class of batch normalisation under trial: layers of it, batches for it, and what has been found out."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from hourglass.exercises.norm_error import BatchNormError
from hourglass.nn.norms import norm_name

CHANNELS = 3
MAPS, ROWS = (4, CHANNELS, 2, 5), (8, CHANNELS)
KINDS = {MAPS: "feature maps (n, c, h, w)", ROWS: "rows (n, c)"}
# Moments of the channels in most batches. Numbers of a channel differ clearly from those of the others.
MEANS, DEVIATIONS = (4.0, -2.0, 1.0), (3.0, 1.0, 0.5)
# Largest relative error that rounding explains, also where a layer computes in float32 whatever it is given.
TOLERANCE = 1e-4


@dataclass
class Trial:
    """A class of batch normalisation under trial, and what has been found out about it.

    Parameters
    ----------
    norm : callable
        Class or function of the number of channels.

    Attributes
    ----------
    part : str
        Part that is being tried.
    dtype : torch.dtype
        In which the layers are tried.
    shape : tuple of int
        Of the batches: ``MAPS``, or ``ROWS`` where the class takes rows alone.
    scale, shift : str
        Names of the parameters gamma and beta.
    eps : float
        What the class adds to the variance.
    shares : list of float
        Share of the new batch in the moving statistics, after each step.
    stored : {"biased", "unbiased"}
        Which batch variance is averaged.
    """

    norm: Callable[[int], nn.Module]
    part: str = "construction"
    dtype: torch.dtype = torch.float64
    shape: tuple[int, ...] = MAPS
    scale: str = ""
    shift: str = ""
    eps: float = 0.0
    shares: list[float] = field(default_factory=list)
    stored: str = "biased"

    @property
    def name(self) -> str:
        """Name of the class in sentences."""
        return norm_name(self.norm)

    def error(self, *, done: str, expected: str, found: str, mistake: str) -> BatchNormError:
        """Error of the part that is being tried."""
        return BatchNormError(self.part, done=done, expected=expected, found=found, mistake=mistake)

    def layer(self) -> nn.Module:
        """New layer in training mode; always the same one, also where it draws random numbers."""
        torch.default_generator.manual_seed(0)
        np.random.seed(0)  # noqa: NPY002  # a learner's class may draw from the global generator
        random.seed(0)
        return self.norm(CHANNELS).to(self.dtype).train()

    def shifted(self, gamma: Sequence[float], beta: Sequence[float]) -> nn.Module:
        """New layer with these numbers added to gamma and beta."""
        layer = self.layer()
        with torch.no_grad():
            for name, values in ((self.scale, gamma), (self.shift, beta)):
                parameter = layer.get_parameter(name)
                parameter.add_(torch.tensor(values, dtype=parameter.dtype).reshape(parameter.shape))
        return layer

    def batch(
        self,
        seed: int = 0,
        *,
        shape: tuple[int, ...] | None = None,
        means: Sequence[float] = MEANS,
        deviations: Sequence[float] = DEVIATIONS,
    ) -> Tensor:
        """Batch of numbers whose channels have about these moments."""
        generator = torch.Generator().manual_seed(seed)
        x = torch.randn(self.shape if shape is None else shape, dtype=torch.float64, generator=generator)
        return (x * along(deviations, x) + along(means, x)).to(self.dtype)

    def call(self, layer: nn.Module, x: Tensor, done: str) -> Tensor:
        """Output of a layer; what it raises is explained."""
        try:
            output = layer(x)
        except Exception as error:
            mode = "training" if layer.training else "inference"
            raise self.error(
                done=done,
                expected=f"in {mode} mode the layer takes {KINDS.get(tuple(self.shape), 'such a batch')} and returns a "
                f"tensor of the same shape; here {tuple(x.shape)}.",
                found=raised(error),
                mistake="the error's own words say where; the traceback above shows the line in your class.",
            ) from error
        if not isinstance(output, Tensor):
            raise self.error(
                done=done,
                expected="a tensor of the same shape as the input.",
                found=f"an object of type {type(output).__name__}.",
                mistake="forward has to end with `return`, and with the normalised tensor alone.",
            )
        return output

    def formula(self, x: Tensor, *, constant_mean: bool = False, constant_variance: bool = False) -> Tensor:
        """``(x - mean) / sqrt(variance + eps)``, computed by PyTorch; at choice with moments as constants."""
        mean = along(x.mean(others(x)), x)
        if constant_mean:
            mean = mean.detach()
        centred = x - mean
        variance = along(centred.square().mean(others(x)), x)
        if constant_variance:
            variance = variance.detach()
        return centred / (variance + self.eps).sqrt()


def raised(error: Exception) -> str:
    """What a layer raised, as a sentence."""
    said = f"{type(error).__name__}: {error}"
    return said if said.endswith(".") else f"{said}."


def others(x: Tensor) -> tuple[int, ...]:
    """Every axis but that of the channels."""
    return tuple(axis for axis in range(x.dim()) if axis != 1)


def along(values: Tensor | Sequence[float], x: Tensor) -> Tensor:
    """One number for each channel, in the shape in which it meets every value of x."""
    values = torch.as_tensor(values, dtype=x.dtype)
    return values.reshape([-1 if axis == 1 else 1 for axis in range(x.dim())])


def near(found: Tensor, expected: Tensor, tolerance: float = TOLERANCE) -> bool:
    """Whether numbers are equal but for rounding, measured by the largest of them."""
    expected = expected.to(found.dtype)
    bound = tolerance * max(float(expected.abs().max()), 1e-12)
    return bool(found.isfinite().all()) and float((found - expected).abs().max()) <= bound


def numbers(values: Tensor) -> str:
    """Numbers, one for each channel, in a sentence."""
    return ", ".join(f"{value:.4g}" for value in values.detach().flatten().tolist())
