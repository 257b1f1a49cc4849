"""The gradient of batch normalisation: through the moments too, and to gamma and beta."""

import torch
from torch import Tensor

from hourglass.exercises.norm_trial import CHANNELS, Trial, along, near, numbers, others, raised

GAMMA, BETA = (0.5, 2.0, -1.5), (1.0, -2.0, 0.25)


def check_gradient(trial: Trial) -> None:
    """The gradient reaches the input also through mean and variance, and reaches gamma and beta."""
    x = trial.batch().requires_grad_()
    direction = trial.batch(1, means=(0.5, 0.0, -0.3), deviations=(1.0, 1.0, 1.0))
    layer = trial.shifted([value - 1 for value in GAMMA], BETA)
    done = (
        f"A batch went through the layer with gamma {numbers(torch.tensor(GAMMA))}, and a gradient came back "
        "(y.backward(g))."
    )
    output = trial.call(layer, x, done)
    try:
        output.backward(direction.to(output.dtype))
    except Exception as error:
        raise trial.error(
            done=done,
            expected="gradients for the input, gamma and beta.",
            found=raised(error),
            mistake="something in forward cuts the graph that autograd records: .item(), .numpy(), .data, "
            "torch.no_grad(), or a backward of your own that raises.",
        ) from error
    _check_input(trial, x, direction, done)
    values = trial.formula(x).detach()
    for name, symbol, expected in (
        (trial.scale, "gamma", (direction * values).sum(others(x))),
        (trial.shift, "beta", direction.sum(others(x))),
    ):
        _check_parameter(trial, layer.get_parameter(name).grad, symbol, expected, x.numel() // CHANNELS, done)


def _by_formula(trial: Trial, x: Tensor, direction: Tensor, *, mean: bool, variance: bool) -> Tensor:
    """Gradient of the input, by autograd through the formula, with moments as constants where they are named."""
    x = x.detach().requires_grad_()
    y = trial.formula(x, constant_mean=mean, constant_variance=variance) * along(GAMMA, x)
    return torch.autograd.grad(y, x, direction)[0]


def _check_input(trial: Trial, x: Tensor, direction: Tensor, done: str) -> None:
    expected = _by_formula(trial, x, direction, mean=False, variance=False)
    found = torch.zeros_like(expected) if x.grad is None else x.grad
    if near(found, expected, 1e-3):
        return
    why = (
        "the gradient of the whole formula. A value of x moves the mean and the variance of its channel too, and "
        "through them all outputs of the channel: dx = gamma / sqrt(variance + eps) * (g - mean(g) - "
        "x̂ * mean(g * x̂))."
    )
    detached = {
        "mean and variance are": {"mean": True, "variance": True},
        "the variance is": {"mean": False, "variance": True},
        "the mean is": {"mean": True, "variance": False},
    }
    mistake = "a backward of your own computes something else; compare it term by term with the formula above."
    if x.grad is None or not x.grad.any():
        mistake = "no gradient reaches the input: the output is detached from it, by .detach(), .data or no_grad()."
    elif near(found * along(GAMMA, x), expected, 1e-3):
        mistake = "the gradient lacks the factor gamma."
    else:
        for what, constants in detached.items():
            if near(found, _by_formula(trial, x, direction, **constants), 1e-3):
                mistake = (
                    f"{what} taken for constant (detached), so that no gradient flows through; leave .detach() and "
                    "torch.no_grad() out where the moments are computed, and use them for the moving averages alone."
                )
                break
    largest = float((found - expected).abs().max() / expected.abs().max())
    raise trial.error(
        done=done,
        expected=why,
        found=f"a gradient of the input that differs by up to {largest:.1%} of its largest number; its sum over each "
        f"channel, which should be 0, is {numbers(found.sum(others(x)))}.",
        mistake=mistake,
    )


def _check_parameter(
    trial: Trial, gradient: Tensor | None, symbol: str, expected: Tensor, count: int, done: str
) -> None:
    found = None if gradient is None else gradient.flatten().to(expected.dtype)
    if found is not None and near(found, expected, 1e-3):
        return
    formula = "sum(g * x̂)" if symbol == "gamma" else "sum(g)"
    if found is None:
        mistake = f"{symbol} is used through .data or .detach(), or a backward of your own returns None for it."
    elif near(found * count, expected, 1e-3):
        mistake = "the mean is taken in place of the sum."
    else:
        mistake = "a backward of your own computes something else, or in another order of the arguments."
    raise trial.error(
        done=done,
        expected=f"that the gradient of {symbol} is {formula} over all images and pixels of each channel: "
        f"{numbers(expected)}.",
        found="none." if found is None else f"{numbers(found)}.",
        mistake=mistake,
    )
