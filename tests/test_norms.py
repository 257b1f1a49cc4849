"""Every normalisation against PyTorch's own or the paper's formula: value, gradient, statistics, inference."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from hourglass.nn import (
    NORMS,
    BatchRenorm,
    ConvCodec,
    ConvNet,
    GhostBatchNorm,
    GroupNorm,
    InstanceNorm,
    LayerNorm,
    create_norm,
)

SHAPES = [(12, 8), (12, 8, 3, 5)]
BY_IMAGE = ("layer", "group", "instance")
MOVING = ("batch", "batch-manual", "ghost", "renorm")


def batch(shape, seed=0):
    return 3 * torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) + 2


def axes(x):
    return tuple(axis for axis in range(x.ndim) if axis != 1)


def view(values, x):
    return values.reshape([-1 if axis == 1 else 1 for axis in range(x.ndim)])


def with_random_affine(norm):
    with torch.no_grad():
        norm.weight.uniform_(0.5, 2)
        norm.bias.uniform_(-1, 1)
    return norm.double()


@pytest.mark.parametrize("shape", SHAPES)
def test_layer_normalisation_is_pytorchs(shape):
    norm, x = with_random_affine(LayerNorm(8)), batch(shape)
    expected = F.layer_norm(x, shape[1:], eps=1e-5) * view(norm.weight, x) + view(norm.bias, x)
    torch.testing.assert_close(norm(x), expected)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("channels", "groups", "used"), [(8, 4, 4), (8, 3, 1), (8, 6, 2), (8, 8, 8)])
def test_group_is_the_papers_formula(shape, channels, groups, used):
    if used == channels and len(shape) == 2:
        return
    norm, x = with_random_affine(GroupNorm(channels, groups=groups)), batch(shape)
    assert norm.num_groups == used
    parts = x.reshape(len(x), used, -1)
    centred = parts - parts.mean(2, keepdim=True)
    normalised = (centred / (centred.square().mean(2, keepdim=True) + 1e-5).sqrt()).reshape(shape)
    torch.testing.assert_close(norm(x), normalised * view(norm.weight, x) + view(norm.bias, x))


def test_instance_is_pytorchs():
    norm, x = with_random_affine(InstanceNorm(8)), batch(SHAPES[1])
    torch.testing.assert_close(norm(x), F.instance_norm(x, weight=norm.weight, bias=norm.bias))


@pytest.mark.parametrize("shape", [(1, 4), (1, 4, 1, 1)])
def test_one_value_per_group_is_refused(shape):
    with pytest.raises(ValueError, match="one value per group"):
        InstanceNorm(4).eval()(torch.ones(shape))
    assert LayerNorm(4)(torch.ones(shape)).shape == shape


@pytest.mark.parametrize("stored", ["biased", "bessel"])
@pytest.mark.parametrize("shape", SHAPES)
def test_ghost_normalises_parts_and_averages_them_one_after_another(shape, stored):
    norm = with_random_affine(GhostBatchNorm(8, momentum=0.2, ghost_size=5, stored_variance=stored))
    x = batch(shape)
    parts = np.array_split(x.numpy(), 3)
    assert [len(part) for part in parts] == [4, 4, 4]
    mean, variance, outputs = np.zeros(8), np.ones(8), []
    for part in parts:
        moments = part.mean(axes(part)), part.var(axes(part))
        outputs.append((part - view(moments[0], part)) / np.sqrt(view(moments[1], part) + 1e-5))
        mean = 0.8 * mean + 0.2 * moments[0]
        variance = 0.8 * variance + 0.2 * part.var(axes(part), ddof=int(stored == "bessel"))
    expected = torch.from_numpy(np.concatenate(outputs)) * view(norm.weight, x) + view(norm.bias, x)
    torch.testing.assert_close(norm(x), expected)
    np.testing.assert_allclose(norm.running_mean, mean)
    np.testing.assert_allclose(norm.running_var, variance)
    assert norm.num_batches_tracked == 3


@pytest.mark.parametrize("shape", SHAPES)
def test_renorm_is_the_papers_algorithm(shape):
    norm = with_random_affine(BatchRenorm(8, momentum=0.3, scale_limit=2.0, shift_limit=1.0, ramp=(1, 5)))
    mean, deviation = np.zeros(8), np.sqrt(np.ones(8) + 1e-5)
    for step in range(8):
        x = batch(shape, step)
        given = x.numpy()
        share = min(max((step - 1) / 4, 0), 1)
        batch_mean = given.mean(axes(given))
        batch_deviation = np.sqrt(given.var(axes(given)) + 1e-5)
        r = np.clip(batch_deviation / deviation, 1 / (1 + share), 1 + share)
        d = np.clip((batch_mean - mean) / deviation, -share, share)
        expected = (given - view(batch_mean, given)) / view(batch_deviation, given) * view(r, given) + view(d, given)
        expected = torch.from_numpy(expected) * view(norm.weight, x) + view(norm.bias, x)
        torch.testing.assert_close(norm(x), expected)
        mean, deviation = 0.7 * mean + 0.3 * batch_mean, 0.7 * deviation + 0.3 * batch_deviation
        np.testing.assert_allclose(norm.running_mean, mean)
        np.testing.assert_allclose((norm.running_var + 1e-5).sqrt(), deviation)


def test_renorm_that_is_open_computes_in_training_what_inference_does():
    norm = BatchRenorm(4, momentum=1e-9, scale_limit=1e6, shift_limit=1e6, ramp=(0, 1)).double()
    norm.num_batches_tracked.fill_(1)
    x = batch((12, 4, 3, 3))
    torch.testing.assert_close(norm(x), norm.eval()(x))


@pytest.mark.parametrize("shape", [(6, 8), (4, 8, 2, 2)])
@pytest.mark.parametrize("name", [name for name in NORMS if name != "none"])
def test_gradient_by_finite_differences(name, shape):
    if name == "instance" and len(shape) == 2:
        return
    x = batch(shape).requires_grad_()
    weight = torch.tensor([0.7, 1.9, -0.4, 1.1] * 2).double().requires_grad_()
    bias = torch.tensor([0.1, -2.0, 0.3, 0.0] * 2).double().requires_grad_()

    def normalise(x, weight, bias):
        norm = create_norm(name, 8, eps=1e-3).double()
        return torch.func.functional_call(norm, {"weight": weight, "bias": bias}, (x,))

    assert torch.autograd.gradcheck(normalise, (x, weight, bias))


def test_renorms_corrections_are_constants_to_the_gradient():
    def gradient(limits):
        norm = BatchRenorm(4, scale_limit=limits[0], shift_limit=limits[1], ramp=(0, 1)).double()
        norm.num_batches_tracked.fill_(1)
        norm.running_var.fill_(4)
        x = batch((6, 4)).requires_grad_()
        out = norm(x)
        (out * batch((6, 4), 1)).sum().backward()
        return x.grad, x.detach()

    corrected, x = gradient((1e6, 1e6))
    plain, _ = gradient((1.0, 0.0))
    r = torch.sqrt(x.var(0, unbiased=False) + 1e-5) / np.sqrt(4 + 1e-5)
    torch.testing.assert_close(corrected, plain * r)


@pytest.mark.parametrize("name", MOVING)
@pytest.mark.parametrize("shape", SHAPES)
def test_inference_is_by_the_moving_statistics_alone(name, shape):
    norm = with_random_affine(create_norm(name, 8, eps=1e-3, momentum=0.3))
    for seed in range(3):
        norm(batch(shape, seed))
    before = {key: value.clone() for key, value in norm.state_dict().items()}
    norm.eval()
    x = batch(shape, 9)
    scale = view(norm.weight / (norm.running_var + 1e-3).sqrt(), x)
    expected = (x - view(norm.running_mean, x)) * scale + view(norm.bias, x)
    torch.testing.assert_close(norm(x), expected)
    torch.testing.assert_close(torch.cat([norm(row[None]) for row in x]), expected)
    assert all(torch.equal(before[key], value) for key, value in norm.state_dict().items())


@pytest.mark.parametrize("name", BY_IMAGE)
def test_an_image_by_itself_does_not_know_its_batch(name):
    norm, x = create_norm(name, 8), batch((5, 8, 3, 3)).float()
    together = norm(x)
    torch.testing.assert_close(torch.cat([norm.eval()(row[None]) for row in x]), together)


@pytest.mark.parametrize("name", MOVING)
@pytest.mark.parametrize("shape", [(1, 3), (1, 3, 1, 1)])
def test_one_value_per_channel_is_refused_in_training_only(name, shape):
    norm = create_norm(name, 3)
    before = norm.running_var.clone()
    with pytest.raises(ValueError, match="one value per channel"):
        norm(torch.ones(shape))
    assert torch.equal(norm.running_var, before)
    assert norm.eval()(torch.ones(shape)).shape == shape


@pytest.mark.parametrize("name", [name for name in NORMS if name != "none"])
def test_wrong_shapes_are_refused(name):
    for shape in [(4, 2), (4, 3, 5), (4, 2, 5, 5)]:
        with pytest.raises(ValueError, match="expected"):
            create_norm(name, 3)(torch.zeros(shape))


@pytest.mark.parametrize("name", ["ghost", "renorm", "group"])
def test_half_precision_is_widened_for_the_moments(name):
    x = torch.randn(48, 4, 4, 4, generator=torch.Generator().manual_seed(0)) * 0.01 + 5
    wide, half = (create_norm(name, 4) for _ in range(2))
    expected = wide(x.bfloat16().float())
    with torch.autocast("cpu", torch.bfloat16):
        found = half(x.bfloat16())
    torch.testing.assert_close(found.float(), expected, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("name", list(NORMS))
def test_every_network_takes_every_normalisation(name):
    images = torch.rand(8, 1, 28, 28).to(memory_format=torch.channels_last)
    net = ConvNet((28, 28, 1), 10, norm=name)
    codec = ConvCodec((28, 28, 1), (4, 4), norm=name)
    for network, shape in ((net, (8, 10)), (codec, images.shape)):
        network.reset_parameters(torch.Generator().manual_seed(0))
        output = network.train()(images)
        assert output.shape == shape
        output.square().mean().backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
        assert network.eval()(images[:1]).shape[0] == 1


def test_normalised_codecs_start_from_the_same_weights():
    states = []
    for name in ("none", "group"):
        codec = ConvCodec((8, 8, 1), (4, 4), norm=name)
        codec.reset_parameters(torch.Generator().manual_seed(0))
        states.append(codec.state_dict())
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: GroupNorm(8, groups=0), "groups=0; expected 1 or more"),
        (lambda: GhostBatchNorm(8, ghost_size=0), "ghost_size=0; expected 1 image or more"),
        (lambda: BatchRenorm(8, scale_limit=0.5), "scale_limit=0.5"),
        (lambda: BatchRenorm(8, shift_limit=-1), "shift_limit=-1"),
        (lambda: create_norm("batch", 8)(torch.zeros(0, 8)), "no value in x of shape"),
        (lambda: create_norm("batch-manual", 8)(torch.zeros(0, 8)), "no value in x of shape"),
    ],
)
def test_options_that_mean_nothing_are_refused(make, said):
    with pytest.raises(ValueError, match=said):
        make()


def test_a_part_that_is_refused_leaves_the_moving_statistics():
    norm = GhostBatchNorm(8, ghost_size=2)
    with pytest.raises(ValueError, match="one value per channel"):
        norm(torch.ones(3, 8))
    assert not norm.running_mean.any()


def test_the_default_variance_is_each_classes_own():
    assert create_norm("renorm", 8).stored_variance == BatchRenorm(8).stored_variance == "biased"
    assert create_norm("ghost", 8).stored_variance == "bessel"
