"""Solutions of the exercises. Nothing imports this module: read it after you have tried.

Each function has the name of its exercise and the signature that the task gives.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

Numbers = NDArray[np.float64]
Sizes = list[tuple[int, int]]


def pyramid(height: int, width: int, stages: int) -> tuple[Sizes, Sizes]:
    """Sizes after each stage of the encoder, which rounds halves up, and of the decoder, which doubles."""
    encoder: Sizes = []
    for _ in range(stages):
        height, width = -(-height // 2), -(-width // 2)
        encoder.append((height, width))
    decoder: Sizes = []
    for _ in range(stages):
        height, width = 2 * height, 2 * width
        decoder.append((height, width))
    return encoder, decoder


def cross_entropy(logits: Numbers, targets: Numbers) -> Numbers:
    """``log(1 + exp(z)) - t z``, in which no exponential is above 1."""
    loss: Numbers = np.maximum(logits, 0) + np.log1p(np.exp(-np.abs(logits))) - targets * logits
    return loss


def moments(x: Numbers) -> tuple[Numbers, Numbers]:
    """Mean and biased variance of each feature map ``(c,)``."""
    return x.mean(axis=(0, 2, 3)), x.var(axis=(0, 2, 3))


def normalised(x: Numbers, mean: Numbers, variance: Numbers, eps: float) -> Numbers:
    """Feature maps ``(n, c, h, w)`` without a mean ``(c,)``, divided by the root of a variance ``(c,)``."""
    result: Numbers = (x - mean[:, None, None]) / np.sqrt(variance + eps)[:, None, None]
    return result


def forward(x: Numbers, gamma: Numbers, beta: Numbers, eps: float = 1e-5) -> Numbers:
    """Batch normalisation in training mode."""
    return normalised(x, *moments(x), eps) * gamma[:, None, None] + beta[:, None, None]


def inference(
    batches: Sequence[Numbers], x: Numbers, gamma: Numbers, beta: Numbers, momentum: float = 0.1, eps: float = 1e-5
) -> Numbers:
    """Batch normalisation by moving averages."""
    moving_mean, moving_variance = np.zeros(len(gamma)), np.ones(len(gamma))
    for batch in batches:
        mean, variance = moments(batch)
        moving_mean = (1 - momentum) * moving_mean + momentum * mean
        moving_variance = (1 - momentum) * moving_variance + momentum * variance
    return normalised(x, moving_mean, moving_variance, eps) * gamma[:, None, None] + beta[:, None, None]


def fold(
    weight: Numbers,
    bias: Numbers,
    mean: Numbers,
    variance: Numbers,
    gamma: Numbers,
    beta: Numbers,
    eps: float = 1e-5,
) -> tuple[Numbers, Numbers]:
    """Kernel and bias of the convolution that contains the normalisation after it."""
    scale = gamma / np.sqrt(variance + eps)
    return weight * scale[:, None, None, None], (bias - mean) * scale + beta


def clipping(x: Numbers, sigma: float) -> Numbers:
    """Mean of a pixel with normal noise, clipped to [0, 1]: the integral in three parts, below, inside and above."""
    a, b = -x / sigma, (1 - x) / sigma
    inside = x * (norm.cdf(b) - norm.cdf(a)) + sigma * (norm.pdf(a) - norm.pdf(b))
    result: Numbers = inside + norm.sf(b)
    return result


def backward(g: Numbers, x: Numbers, gamma: Numbers, eps: float = 1e-5) -> tuple[Numbers, Numbers, Numbers]:
    """Gradients of the input, of gamma and of beta."""
    mean, variance = moments(x)
    plain = normalised(x, mean, variance, eps)
    dbeta = g.sum(axis=(0, 2, 3))
    dgamma = (g * plain).sum(axis=(0, 2, 3))
    count = x.size // len(gamma)
    through_mean, through_variance = dbeta / count, dgamma / count
    scale = gamma / np.sqrt(variance + eps)
    dx = scale[:, None, None] * (g - through_mean[:, None, None] - plain * through_variance[:, None, None])
    return dx, dgamma, dbeta
