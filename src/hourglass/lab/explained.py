"""Batch normalisation of one small batch, number by number, for a lecture."""

import textwrap
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

# Two channels of unlike size and spread, in numbers that a blackboard can hold.
BATCH = np.array([[1.0, 10.0], [2.0, 30.0], [3.0, 20.0], [6.0, 40.0]])
GRADIENT = np.array([[1.0, 0.0], [0.0, 2.0], [-1.0, 0.0], [0.5, -1.0]])
WEIGHT, BIAS = np.array([1.0, 2.0]), np.array([0.0, 0.5])
EPS, MOMENTUM = 1e-3, 0.01
# Two images of 2 × 2 pixels with two channels, (n, h, w, c), whose means are 2 and 20 and whose variances 2 and 100.
MAPS = np.stack(
    [
        [[[1.0, 2.0], [3.0, 2.0]], [[0.0, 1.0], [2.0, 5.0]]],
        [[[10.0, 20.0], [30.0, 20.0]], [[40.0, 10.0], [20.0, 10.0]]],
    ],
    axis=-1,
)
NORMS_EXPLAINED = ("bn-layer", "bn-manual")
# Columns of a line, as a terminal has at least.
WIDTH = 80


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


def normalise(maps: Numbers, axes: tuple[int, ...]) -> tuple[Numbers, Numbers, Numbers]:
    """Return mean and biased variance of maps ``(n, h, w, c)`` over axes, and the maps normalised by them.

    Parameters
    ----------
    maps : ndarray of shape (n, h, w, c)
        Feature maps.
    axes : tuple of int
        Axes over which the moments are taken: ``(0, 1, 2)`` for moments of each channel.
    """
    count = np.prod([maps.shape[axis] for axis in axes])
    mean = maps.sum(axes, keepdims=True) / count
    variance = ((maps - mean) ** 2).sum(axes, keepdims=True) / count
    return mean.ravel(), variance.ravel(), (maps - mean) / np.sqrt(variance + EPS)


def explain_norm(name: str) -> str:
    """Write the forward and backward pass of one batch of four, in two channels, and the case of feature maps, as text.

    Parameters
    ----------
    name : {"bn-layer", "bn-manual"}
        The two differ in the batch variance that enters the moving variance.

    Returns
    -------
    str
        Lines of text.
    """
    bessel = name == "bn-layer"
    start = np.zeros(2), np.ones(2)
    found = steps(BATCH, GRADIENT, WEIGHT, BIAS, start, bessel=bessel)
    moving = found["moving_mean"], found["moving_variance"]
    inferred = (BATCH - moving[0]) / np.sqrt(moving[1] + EPS) * WEIGHT + BIAS
    what = "n / (n - 1) times it, n = 4" if bessel else "itself, biased"
    parts = [
        f"{name}: a batch of 4 values in 2 channels, eps {EPS:g}, momentum {MOMENTUM:g}",
        f"(TensorFlow's {1 - MOMENTUM:g})",
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
        "   Far from the y of training: after one step the initial values still make up",
        "   99% of the moving statistics.",
        "",
        *_scale_and_shift(),
        "",
        *_feature_maps(),
    ]
    return "\n".join(parts)


def _lines(label: str, rows: Sequence[Numbers] | Numbers) -> str:
    return "\n".join([f"  {label}", *("   " + "".join(f"{value:12.4f}" for value in row) for row in rows)])


def _scale_and_shift() -> list[str]:
    """What γ and β are for, and how the layer can return its input."""
    mean, variance, normalised = normalise(BATCH[:, None, None], (0, 1, 2))
    weight = np.sqrt(variance + EPS)
    again = normalised[:, 0, 0] * weight + mean
    return [
        "Scale γ (gamma) and shift β (beta)",
        *wrapped(
            "γ and β are two learnable numbers for each channel. Normalisation alone gives every channel the mean 0 "
            "and the variance 1. It would so forbid the layer the identity, and of a sigmoid that follows, little more "
            "than the nearly straight part would be used. With γ and β the network can choose another scale and "
            "another mean, and even undo the normalisation. They begin at γ = 1 and β = 0."
        ),
        _lines("γ = √(σ² + eps)   undoes the division", [weight]),
        _lines("β = µ             undoes the subtraction", [mean]),
        _lines("γ x̂ + β           is x again", again),
    ]


def _feature_maps() -> list[str]:
    """Moments of each channel of feature maps, beside those of the whole layer."""
    n, h, w, c = MAPS.shape
    mean, variance, by_channel = normalise(MAPS, (0, 1, 2))
    layer_mean, layer_variance, by_layer = normalise(MAPS, (0, 1, 2, 3))
    heads = "".join(f"{f'channel {i + 1}':>{9 * w}}" for i in range(c))
    return [
        f"Feature maps (n, h, w, c) = ({n}, {h}, {w}, {c}): {n} images of {h} × {w} pixels in {c} channels",
        *wrapped(
            "A convolution uses the same kernel at every pixel. So all pixels of all images are samples of one "
            f"channel, and the moments are taken over n, h and w: one mean and one variance of {n} · {h} · {w} = "
            f"{n * h * w} numbers for each channel. The layer has as many γ and β as channels."
        ),
        f"  x{'':9}{heads}",
        *_grid(MAPS),
        _lines("mean of each channel            µ = Σ x / (n h w)", [mean]),
        _lines("variance of each channel       σ² = Σ (x - µ)² / (n h w)", [variance]),
        f"  x̂{'':9}{heads}",
        *_grid(by_channel),
        "",
        *wrapped(
            f"With moments over the whole layer, n, h, w and c, there would be one mean, {layer_mean[0]:.4f}, and one "
            f"variance, {layer_variance[0]:.4f}, of {MAPS.size} numbers:"
        ),
        f"  x̂{'':9}{heads}",
        *_grid(by_layer),
        *wrapped(
            f"Then channel 1 is about {by_layer[..., 0].mean():.2f} everywhere and channel 2 about "
            f"{by_layer[..., 1].mean():.2f}: the numbers say which channel it is, and hardly what the image shows. In "
            f"channel 1 the deviation is {by_layer[..., 0].std():.2f}, and with moments of its own it is "
            f"{by_channel[..., 0].std():.2f}."
        ),
    ]


def _grid(maps: Numbers) -> list[str]:
    """A line for each row of pixels of each image, with the channels side by side."""
    lines = []
    for i, image in enumerate(maps):
        for j, row in enumerate(image):  # (w, c)
            place = f"image {i + 1}" if j == 0 else ""
            lines.append(f"   {place:<8}" + "".join(f"{value:9.4f}" for value in row.T.ravel()))
    return lines


def wrapped(text: str, indent: str = "   ") -> list[str]:
    """Lines of a paragraph.

    Parameters
    ----------
    text : str
        The paragraph.
    indent : str, default="   "
        What each line begins with.

    Returns
    -------
    list of str
    """
    return textwrap.wrap(text, WIDTH, initial_indent=indent, subsequent_indent=indent)
