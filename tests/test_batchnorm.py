"""Batch normalisation: the formula, the moving statistics, inference, the gradient."""

import pytest
import torch
from torch import nn

from hourglass.nn import FrameworkBatchNorm, ManualBatchNorm, create_norm

SHAPES = [(8, 3), (4, 3, 5, 6)]


def batch(shape, seed=0):
    return 3 * torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) + 2


def axes(x):
    return [axis for axis in range(x.dim()) if axis != 1]


def view(values, x):
    return values.view([-1 if axis == 1 else 1 for axis in range(x.dim())])


def with_random_affine(norm):
    with torch.no_grad():
        norm.weight.uniform_(0.5, 2)
        norm.bias.uniform_(-1, 1)
    return norm.double()


@pytest.mark.parametrize("kind", [ManualBatchNorm, FrameworkBatchNorm])
@pytest.mark.parametrize("shape", SHAPES)
def test_training_output_is_the_papers_formula(kind, shape):
    norm, x = with_random_affine(kind(3, eps=1e-3)), batch(shape)
    mean, variance = x.mean(axes(x)), x.var(axes(x), unbiased=False)
    expected = (x - view(mean, x)) / (view(variance, x) + 1e-3).sqrt() * view(norm.weight, x) + view(norm.bias, x)
    torch.testing.assert_close(norm(x), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", [ManualBatchNorm, FrameworkBatchNorm])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("stored", ["biased", "bessel"])
def test_moving_statistics_average_the_stated_variance(kind, shape, stored):
    norm = kind(3, momentum=0.01, stored_variance=stored).double()
    mean, variance = torch.zeros(3, dtype=torch.float64), torch.ones(3, dtype=torch.float64)
    for seed in range(5):
        x = batch(shape, seed)
        norm(x)
        mean = 0.99 * mean + 0.01 * x.mean(axes(x))
        variance = 0.99 * variance + 0.01 * x.var(axes(x), unbiased=stored == "bessel")
    torch.testing.assert_close(norm.running_mean, mean, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(norm.running_var, variance, rtol=1e-12, atol=1e-12)
    assert norm.num_batches_tracked == 5


@pytest.mark.parametrize("kind", [ManualBatchNorm, FrameworkBatchNorm])
@pytest.mark.parametrize("shape", SHAPES)
def test_inference_uses_the_moving_statistics_and_keeps_them(kind, shape):
    norm = with_random_affine(kind(3, eps=1e-3, momentum=0.3))
    for seed in range(3):
        norm(batch(shape, seed))
    mean, variance = norm.running_mean.clone(), norm.running_var.clone()
    x = batch(shape, 9)
    scale = view(norm.weight / (variance + 1e-3).sqrt(), x)
    expected = (x - view(mean, x)) * scale + view(norm.bias, x)
    norm.eval()
    torch.testing.assert_close(norm(x), expected, rtol=1e-12, atol=1e-12)
    rows = torch.cat([norm(row[None]) for row in x])
    torch.testing.assert_close(rows, norm(x), rtol=1e-12, atol=1e-12)
    assert torch.equal(norm.running_mean, mean)
    assert torch.equal(norm.running_var, variance)


@pytest.mark.parametrize("kind", [ManualBatchNorm, FrameworkBatchNorm])
@pytest.mark.parametrize("shape", [(5, 2), (3, 2, 2, 3)])
@pytest.mark.parametrize("stored", ["biased", "bessel"])
def test_gradient_by_finite_differences(kind, shape, stored):
    x = batch(shape).requires_grad_()
    weight, bias = (
        torch.tensor([0.7, 1.9]).double().requires_grad_(),
        torch.tensor([0.1, -2.0]).double().requires_grad_(),
    )

    def normalise(x, weight, bias):
        norm = kind(2, eps=1e-3, stored_variance=stored).double()
        return torch.func.functional_call(norm, {"weight": weight, "bias": bias}, (x,))

    assert torch.autograd.gradcheck(normalise, (x, weight, bias))


@pytest.mark.parametrize("shape", SHAPES)
def test_manual_equals_pytorchs(shape):
    manual = with_random_affine(ManualBatchNorm(3))
    theirs = (nn.BatchNorm1d if len(shape) == 2 else nn.BatchNorm2d)(3).double()
    theirs.load_state_dict(manual.state_dict())
    for seed in range(3):
        a, b = batch(shape, seed).requires_grad_(), batch(shape, seed).requires_grad_()
        out, expected = manual(a), theirs(b)
        torch.testing.assert_close(out, expected)
        out.square().sum().backward()
        expected.square().sum().backward()
        torch.testing.assert_close(a.grad, b.grad)
    for mine, other in zip(manual.state_dict().values(), theirs.state_dict().values(), strict=True):
        torch.testing.assert_close(mine, other)


@pytest.mark.parametrize("kind", [ManualBatchNorm, FrameworkBatchNorm])
@pytest.mark.parametrize("shape", [(1, 3), (1, 3, 1, 1)])
@pytest.mark.parametrize("stored", ["biased", "bessel"])
def test_one_value_per_channel_is_refused_in_training_only(kind, shape, stored):
    norm = kind(3, stored_variance=stored)
    before = norm.running_var.clone()
    with pytest.raises(ValueError, match="one value per channel"):
        norm(torch.ones(shape))
    assert torch.equal(norm.running_var, before)
    assert norm.eval()(torch.ones(shape)).shape == shape


@pytest.mark.parametrize("kind", [ManualBatchNorm, FrameworkBatchNorm])
def test_wrong_shapes_are_refused(kind):
    for shape in [(4, 2), (4, 3, 5), (4, 2, 5, 5)]:
        with pytest.raises(ValueError, match="expected"):
            kind(3)(torch.zeros(shape))


def test_parameters_are_checked():
    with pytest.raises(ValueError, match=r"TensorFlow's 0\.99 is 0\.01"):
        ManualBatchNorm(3, momentum=1.5)
    with pytest.raises(ValueError, match="biased, bessel"):
        FrameworkBatchNorm(3, stored_variance="unbiased")
    with pytest.raises(ValueError, match="none, batch, batch-manual, layer"):
        create_norm("batchnorm", 3)


def test_none_changes_nothing():
    x = torch.randn(2, 3)
    assert create_norm("none", 3)(x) is x


def test_reset_returns_to_the_start():
    norm = ManualBatchNorm(3)
    norm(torch.randn(8, 3))
    norm.reset_parameters()
    assert torch.equal(norm.running_mean, torch.zeros(3))
    assert torch.equal(norm.running_var, torch.ones(3))


def test_its_state_fits_pytorchs():
    assert set(ManualBatchNorm(3).state_dict()) == set(nn.BatchNorm2d(3).state_dict())


@pytest.mark.parametrize("norm", ["batch", "batch-manual"])
def test_half_precision_is_widened_for_the_moments(norm):
    x = torch.randn(50, 3, 4, 4, generator=torch.Generator().manual_seed(0)) * 0.01 + 5
    wide, half = (create_norm(norm, 3) for _ in range(2))
    expected = wide(x.bfloat16().float())
    with torch.autocast("cpu", torch.bfloat16):
        found = half(x.bfloat16())
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), expected, rtol=0.02, atol=0.02)
    torch.testing.assert_close(half.running_var, wide.running_var, rtol=1e-3, atol=1e-6)
