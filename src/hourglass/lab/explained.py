"""Batch normalisation of one small batch, number by number, for a lecture."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

# Two channels of unlike size and spread, in numbers that a blackboard can hold.
BATCH = np.array([[1.0, 10.0], [2.0, 30.0], [3.0, 20.0], [6.0, 40.0]])
GRADIENT = np.array([[1.0, 0.0], [0.0, 2.0], [-1.0, 0.0], [0.5, -1.0]])
WEIGHT, BIAS = np.array([1.0, 2.0]), np.array([0.0, 0.5])
EPS, MOMENTUM = 1e-3, 0.01

EXPLAINED = ("bn-layer", "bn-manual")


def steps(
    x: Numbers, grad: Numbers, weight: Numbers, bias: Numbers, moving: tuple[Numbers, Numbers], *, bessel: bool
) -> dict[str, Numbers]:
    """Return every number of one training step of batch normalisation, forward and backward, by name.

    Parameters
    ----------
    x, grad : ndarray of shape (n, channels)
        The batch, and the gradient of the loss with respect to the output.
    weight, bias : ndarray of shape (channels,)
        Scale and shift.
    moving : pair of ndarray of shape (channels,)
        Moving mean and variance before the step.
    bessel : bool
        Whether the stored variance is Bessel-corrected.
    """
    n = len(x)
    mean = x.sum(0) / n
    variance = ((x - mean) ** 2).sum(0) / n
    normalised = (x - mean) / np.sqrt(variance + EPS)
    stored = variance * n / (n - 1) if bessel else variance
    by_normalised = grad * weight
    by_input = (by_normalised - by_normalised.mean(0) - normalised * (by_normalised * normalised).mean(0)) / np.sqrt(
        variance + EPS
    )
    moving_mean, moving_variance = moving
    return {
        "mean": mean,
        "variance": variance,
        "normalised": normalised,
        "output": normalised * weight + bias,
        "moving_mean": (1 - MOMENTUM) * moving_mean + MOMENTUM * mean,
        "moving_variance": (1 - MOMENTUM) * moving_variance + MOMENTUM * stored,
        "grad_bias": grad.sum(0),
        "grad_weight": (grad * normalised).sum(0),
        "grad_input": by_input,
    }


def explain(name: str) -> str:
    """Write the forward and backward pass of one batch of four, in two channels, as text.

    Parameters
    ----------
    name : {"bn-layer", "bn-manual"}
        The two differ in the batch variance that enters the moving variance.

    Returns
    -------
    str
        Lines of text.

    Raises
    ------
    ValueError
        When the name is unknown.
    """
    if name not in EXPLAINED:
        raise ValueError(f"{name!r} is not explained; choose one of {', '.join(EXPLAINED)}")
    bessel = name == "bn-layer"
    start = np.zeros(2), np.ones(2)
    found = steps(BATCH, GRADIENT, WEIGHT, BIAS, start, bessel=bessel)
    moving = found["moving_mean"], found["moving_variance"]
    inferred = (BATCH - moving[0]) / np.sqrt(moving[1] + EPS) * WEIGHT + BIAS
    what = "n / (n - 1) times it, n = 4" if bessel else "itself, biased"
    parts = [
        f"{name}: a batch of 4 values in 2 channels, eps {EPS:g}, momentum {MOMENTUM:g} (TensorFlow's "
        f"{1 - MOMENTUM:g})",
        "",
        "Forward, training mode",
        _lines("x", BATCH),
        _lines("mean of each channel            µ = Σ x / n", [found["mean"]]),
        _lines("variance, biased               σ² = Σ (x - µ)² / n", [found["variance"]]),
        _lines("normalised                      x̂ = (x - µ) / √(σ² + eps)", found["normalised"]),
        _lines("scaled and shifted, γ = (1, 2), β = (0, 0.5)   y = γ x̂ + β", found["output"]),
        "",
        "Moving statistics: (1 - momentum) · before + momentum · this batch's",
        _lines("mean, before", [start[0]]),
        _lines("mean, after", [moving[0]]),
        _lines("variance, before", [start[1]]),
        _lines(f"variance, after (of the batch's variance: {what})", [moving[1]]),
        "",
        "Backward",
        _lines("gradient of the loss by y, given   g", GRADIENT),
        _lines("by β   Σ g", [found["grad_bias"]]),
        _lines("by γ   Σ g x̂", [found["grad_weight"]]),
        _lines("by x   γ / √(σ² + eps) · (g - mean(g) - x̂ · mean(g x̂))", found["grad_input"]),
        "   It sums to 0 in each channel: a shift of the whole batch changes nothing.",
        "",
        "Inference, with the moving statistics after this one batch",
        _lines("y", inferred),
        "   Far from the y of training: after one step the initial values still make up 99% of the moving statistics.",
    ]
    return "\n".join(parts)


def _lines(label: str, rows: Sequence[Numbers] | Numbers) -> str:
    return "\n".join([f"  {label}", *("   " + "".join(f"{value:12.4f}" for value in row) for row in rows)])
