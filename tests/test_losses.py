"""Losses against their formulas, and targets that are not of the output's shape."""

import numpy as np
import pytest
import torch

from hourglass.training import LOSSES, class_losses, image_losses

SHAPES = [(4, 1), (4, 10), (3, 2, 5, 4)]


def drawn(*shape, seed=0):
    return torch.rand(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


FORMULAS = {
    "mse": lambda x, t: ((x - t) ** 2).mean(),
    "mae": lambda x, t: abs(x - t).mean(),
    "bce": lambda x, t: -(t * np.log(1 / (1 + np.exp(-x))) + (1 - t) * np.log(1 / (1 + np.exp(x)))).mean(),
    "softmax": lambda x, t: -(t * (x - np.log(np.exp(x).sum(1, keepdims=True)))).sum(1).mean(),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", LOSSES)
def test_the_formula(name, shape):
    output, target = 4 * drawn(*shape) - 2, drawn(*shape, seed=1)
    expected = FORMULAS[name](output.numpy(), target.numpy())
    assert LOSSES[name](output, target).item() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("output", "target"),
    [
        ((50, 1), (1, 1)), ((50, 10), (1, 10)), ((50, 10), (50, 1)), ((50, 10), (10,)), ((1, 10), (50, 10)),
        ((50, 1), (50,)), ((50, 10), ()), ((2, 1, 4, 4), (2, 4, 4, 1)), ((2, 1, 4, 4), (2, 16)), ((2, 10), (2,)),
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", LOSSES)
def test_another_shape_is_refused(name, output, target):
    with pytest.raises(ValueError, match=r"the output has shape \(.*\) and the target \(.*\); expected the same shape"):
        LOSSES[name](drawn(*output), drawn(*target))


def test_labels_are_to_be_one_hot():
    with pytest.raises(ValueError, match="labels go in one-hot form"):
        LOSSES["softmax"](drawn(4, 10), torch.tensor([1, 2, 3, 4]))


@pytest.mark.parametrize("name", image_losses())
def test_the_starting_bias_gives_the_mean_of_the_targets(name):
    loss, mean = LOSSES[name], torch.tensor([0.2, 0.5, 0.9])
    assert (loss.starting_bias is None) == (loss.activation is None)
    if loss.starting_bias is not None:
        torch.testing.assert_close(loss.activation(loss.starting_bias(mean)), mean)
        assert torch.isfinite(loss.starting_bias(torch.tensor([0.0, 1.0]))).all()


@pytest.mark.parametrize("name", image_losses())
def test_outputs_are_in_their_range(name):
    loss, far = LOSSES[name], torch.tensor([-100.0, 100.0])
    found = far if loss.activation is None else loss.activation(far)
    assert tuple(found.tolist()) == (loss.output_range or (-100, 100))


def test_probabilities_of_classes_are_scores_divided_by_their_sum():
    logits = 4 * drawn(5, 3) - 2
    odds = logits.sigmoid()
    expected = {"softmax": logits.softmax(1), "bce": odds / odds.sum(1, keepdim=True)}
    assert expected.keys() == set(class_losses())
    for name, probabilities in expected.items():
        torch.testing.assert_close(LOSSES[name].log_scores(logits).softmax(1), probabilities)
