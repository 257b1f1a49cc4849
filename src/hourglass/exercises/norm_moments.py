"""Parts of batch normalisation in training mode: mean, variance, epsilon, gamma and beta."""

import torch
from torch import Tensor

from hourglass.exercises.norm_layer import FORMULA
from hourglass.exercises.norm_trial import (
    CHANNELS,
    DEVIATIONS,
    MEANS,
    TOLERANCE,
    Trial,
    along,
    near,
    numbers,
    others,
)

# Deviations so small that epsilon shows; the means are small too, so that float32 keeps the digits.
SMALL = (1.0, 0.01, 0.001)
SMALL_MEANS = (0.3, 0.002, -0.0003)
# A larger epsilon is no mere guard against division by zero.
LARGEST_EPS = 0.05
# Axes over which moments are taken by mistake, and what is normalised then.
_WRONG_AXES = {
    4: {
        (0, 1, 2, 3): "over the whole layer: all feature maps share one mean and one variance",
        (1, 2, 3): "over each image by itself, which is layer normalisation",
        (2, 3): "over each feature map of each image by itself, which is instance normalisation",
        (0,): "over the batch alone, so that every pixel has its own mean and variance",
        (0, 1, 2): "over the axes (0, 1, 2), which is right for (n, h, w, c), where the channels come last",
        (0, 3): "over the batch and the width, without the height",
        (0, 2): "over the batch and the height, without the width",
        (1,): "over the channels, separately at every pixel",
    },
    2: {
        (0, 1): "over the whole layer: all features share one mean and one variance",
        (1,): "over each row by itself, which is layer normalisation",
    },
}


def normalised(trial: Trial, x: Tensor) -> Tensor:
    """What gamma multiplies: the change of the output when 1 is added to gamma."""
    done = "A batch went through the layer, with gamma as it starts and 1 larger."
    zeros = [0.0] * CHANNELS
    larger = trial.call(trial.shifted([1.0] * CHANNELS, zeros), x, done)
    return (larger - trial.call(trial.layer(), x, done)).detach()


def _lines(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Slope and root of the straight line through each channel's pairs (x, y), and the largest distance from it."""
    x, y = x.double(), y.double()
    centred = x - along(x.mean(others(x)), x)
    slope = (centred * y).sum(others(x)) / centred.square().sum(others(x))
    offset = y.mean(others(x)) - slope * x.mean(others(x))
    distance = (y - x * along(slope, x) - along(offset, x)).abs().max()
    return slope, -offset / slope, distance


def check_mean(trial: Trial) -> None:
    """Every feature map is normalised as one, and by its own mean."""
    x = trial.batch()
    found = normalised(trial, x)
    slope, root, distance = _lines(x, found)
    axes = "(0, 2, 3)" if x.dim() == 4 else "(0,)"
    done = (
        f"A batch of shape {trial.shape}, whose channels have means of about {numbers(torch.tensor(MEANS))} and "
        f"deviations of about {numbers(torch.tensor(DEVIATIONS))}, was normalised in training mode."
    )
    expected = (
        f"that each channel is normalised by its own mean, over all images and pixels of the batch (axes {axes}), so "
        "that each has a mean of 0."
    )
    if float(distance) > TOLERANCE * float(found.abs().max()):
        raise trial.error(
            done=done,
            expected=expected,
            found="numbers of one channel that were equal before are not equal afterwards: its images or pixels are "
            "normalised by different moments.",
            mistake=f"the moments are taken {_axes_in_words(x, found)}. Take them over the axes {axes}.",
        )
    mean, overall = x.mean(others(x)).double(), x.mean().double()
    if near(root, mean, 0.01):
        return
    if near(root, torch.zeros_like(root) + overall, 0.01):
        mistake = f"the mean is taken {_WRONG_AXES[x.dim()][tuple(range(x.dim()))]}. Take it over the axes {axes}."
    elif float(root.abs().max()) < 0.05 and near(slope, torch.ones_like(slope), 0.03):
        mistake = (
            "the moving statistics, which start at 0 and 1, are used in training mode. In training mode use the "
            "batch's own moments, and the moving ones only where self.training is False."
        )
    elif float(root.abs().max()) < 0.05:
        mistake = "the mean is not subtracted."
    else:
        mistake = "the mean is computed otherwise, or moving averages are used in training mode."
    raise trial.error(
        done=done,
        expected=expected,
        found=f"the numbers that become 0 are {numbers(root)}; the means of the channels are {numbers(mean)}.",
        mistake=mistake,
    )


def _axes_in_words(x: Tensor, found: Tensor) -> str:
    for axes, words in _WRONG_AXES[x.dim()].items():
        variance, mean = torch.var_mean(x, axes, correction=0, keepdim=True)
        if near(found, (x - mean) / (variance + 1e-5).sqrt(), 0.03):
            return words
    return "over other axes than those of a feature map"


def check_variance(trial: Trial) -> None:
    """Every feature map is divided by the root of its own biased variance."""
    x = trial.batch()
    slope, _, _ = _lines(x, normalised(trial, x))
    count, found = x.numel() // CHANNELS, 1 / slope.square()
    variance, whole = x.var(others(x), correction=0).double(), x.var(correction=0).double()
    # A small number that is added to all, to the variances or to the deviations, is left to the next part.
    for added in (found - variance, 1 / slope - variance.sqrt()):
        if float(added.max() - added.min()) < 0.002 * float(variance.min()) and float(added.min()) > -1e-3:
            return
    ratio = found / variance
    ones = torch.ones_like(ratio)
    if near(ratio, ones * count / (count - 1), 0.005):
        mistake = (
            f"the unbiased variance, divided by {count - 1} in place of {count}, which torch.var gives by default; "
            "write x.var(dims, correction=0). The unbiased one belongs in the moving variance at most."
        )
    elif near(found, variance.square(), 0.05):
        mistake = "the root is missing: divide by sqrt(variance + eps), not by the variance."
    elif near(slope, ones, 0.03):
        mistake = "the feature maps are not divided by their deviations."
    elif near(slope, variance.sqrt(), 0.05):
        mistake = "the feature maps are multiplied by their deviations; divide by them."
    elif near(found, torch.zeros_like(found) + whole, 0.02):
        mistake = f"the variance is taken {_WRONG_AXES[x.dim()][tuple(range(x.dim()))]}."
    elif near(ratio, ones * count, 0.02):
        mistake = "the squares are summed and not averaged."
    elif near(found, x.square().mean(others(x)).double(), 0.02):
        mistake = "the mean of the squares of x is used; subtract the mean before squaring."
    else:
        mistake = "the variance is computed otherwise. It is the mean of the squares (x - mean)² of each channel."
    raise trial.error(
        done=f"A batch of shape {trial.shape} was normalised in training mode.",
        expected="that each channel is divided by the root of its own variance, the mean of (x - mean)² over the "
        f"{count} numbers of the channel (the biased variance), so that each has a variance of 1.",
        found=f"the channels are divided by the roots of {numbers(found)}; their variances are {numbers(variance)}.",
        mistake=mistake,
    )


def check_epsilon(trial: Trial) -> None:
    """A small number is added to the variance, under the root."""
    x = trial.batch(means=SMALL_MEANS, deviations=SMALL)
    slope, _, _ = _lines(x, normalised(trial, x))
    variance = x.double().var(others(x), correction=0)
    added, outside = 1 / slope.square() - variance, 1 / slope - variance.sqrt()
    eps = float(added[variance.argmin()])
    tolerance = TOLERANCE * variance + 0.01 * abs(eps)
    done = f"Channels with the variances {numbers(variance)} were normalised; in the small ones epsilon shows."
    expected = (
        "that the same small number, epsilon, is added to each variance, under the root: sqrt(variance + eps). It is "
        "1e-5 or 1e-3 in most libraries, and keeps a channel without variance from a division by zero."
    )
    if bool(((added - eps).abs() > tolerance).any()):
        same = float(outside.max() - outside.min()) < 0.02 * float(outside.abs().max())
        raise trial.error(
            done=done,
            expected=expected,
            found=f"what is added to the variances is {numbers(added)}, which is not the same for all.",
            mistake=f"epsilon, {float(outside.mean()):.3g}, is added to the deviation outside the root, as in "
            "sqrt(variance) + eps; add it to the variance."
            if same
            else "epsilon is not simply added to the variance, but perhaps a lower limit for it.",
        )
    if eps > LARGEST_EPS:
        raise trial.error(
            done=done,
            expected=expected,
            found=f"{eps:.3g} is added to each variance.",
            mistake="so large an epsilon flattens channels of small variance; take 1e-5 or 1e-3.",
        )
    trial.eps = max(eps, 0.0)
    flat = x.clone()
    flat[:, 1] = 0.25
    y = trial.call(trial.layer(), flat, "A batch with one constant channel was normalised.")
    if not y.isfinite().all():
        raise trial.error(
            done="A batch with one constant channel, of variance 0, was normalised.",
            expected=f"finite numbers: {expected}",
            found="NaN or infinite numbers: 0 / 0.",
            mistake="epsilon is missing; divide by sqrt(variance + eps).",
        )


def check_start(trial: Trial) -> None:
    """Gamma starts at 1 and beta at 0."""
    x = trial.batch()
    y = trial.call(trial.layer(), x, "A batch went through a new layer.").detach()
    gamma, _, _ = _lines(trial.formula(x), y)
    beta = y.double().mean(others(x))
    for symbol, found, start in (("gamma", gamma, 1.0), ("beta", beta, 0.0)):
        if float((found - start).abs().max()) > 1e-3:
            raise trial.error(
                done="A batch went through a new layer, before any training step.",
                expected="that gamma starts at 1 and beta at 0, so that the layer begins by normalising alone.",
                found=f"{symbol} starts at {numbers(found)}.",
                mistake=f"the initial value; write nn.Parameter(torch.{'ones' if start else 'zeros'}(channels)).",
            )


def check_affine(trial: Trial) -> None:
    """Gamma multiplies and beta is added, in this order, each channel by its own."""
    x, gamma, beta = trial.batch(), (0.5, 2.0, -1.5), (1.0, -2.0, 0.25)
    layer = trial.shifted([value - 1 for value in gamma], beta)
    done = f"Gamma was set to {numbers(torch.tensor(gamma))} and beta to {numbers(torch.tensor(beta))}."
    y = trial.call(layer, x, done).detach()
    scaled = trial.formula(x) * along(gamma, x)
    if near(y, scaled + along(beta, x)):
        return
    raise trial.error(
        done=done,
        expected=f"{FORMULA}, with the gamma and the beta of each channel.",
        found=f"numbers that differ from it by up to {float((y - scaled - along(beta, x)).abs().max()):.3g}.",
        mistake="beta is added before gamma multiplies; multiply first, then add."
        if near(y, scaled + along(gamma, x) * along(beta, x))
        else "gamma and beta meet other channels than their own; reshape them to (1, channels, 1, 1) for maps.",
    )
