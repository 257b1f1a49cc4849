"""Gradients of gradients: every hand-written gradient, and every module that uses one, against plain operations."""

import contextlib
import copy
import importlib
import pkgutil

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd import forward_ad, gradcheck, gradgradcheck
from torch.autograd.functional import hessian, hvp

import hourglass
from hourglass.nn import (
    NORMS,
    ConvCodec,
    ConvNet,
    DenseCodec,
    LSTMClassifier,
    ManualBatchNorm,
    SameConv2d,
    TransposedConv2d,
    UpsampleConv2d,
    create_norm,
    fast,
)
from hourglass.nn.manual import _Normalise
from hourglass.nn.processes import _Total
from hourglass.runtime import tricks

# PyTorch compiles its own decompositions for forward-mode differentiation.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script:DeprecationWarning")


def drawn(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).to(dtype)


def leaf(*shape, seed=0):
    return drawn(*shape, seed=seed).requires_grad_()


def normalised(x, weight, bias):
    axes, count = [0, *range(2, x.dim())], x.numel() // x.shape[1]
    mean, variance = x.detach().mean(axes), x.detach().var(axes, unbiased=False)
    return _Normalise.apply(x, weight, bias, mean, variance, 1e-3, count, False)


FUNCTIONS = {
    _Normalise: (normalised, lambda: (leaf(4, 2, 2, 3), leaf(2, seed=1), leaf(2, seed=2))),
    _Total: (_Total.apply, lambda: (leaf(3),)),
    fast._Interleave: (fast._Interleave.apply, lambda: (leaf(2, 8, 3, 4),)),
    fast._Separate: (fast._Separate.apply, lambda: (leaf(2, 2, 4, 6),)),
    fast._FewOutputs: (fast._FewOutputs.apply, lambda: (leaf(2, 3, 4, 3), leaf(2, 3, 3, 3, seed=1), leaf(2, seed=2))),
}
"""Each hand-written gradient: the function as one of tensors, and inputs for it."""


def defined_functions():
    for module in pkgutil.walk_packages(hourglass.__path__, "hourglass."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    found, waiting = set(), [torch.autograd.Function]
    while waiting:
        below = waiting.pop().__subclasses__()
        waiting += below
        found |= {kind for kind in below if kind.__module__.startswith("hourglass")}
    return found


def test_every_gradient_by_hand_is_in_the_table():
    assert defined_functions() == set(FUNCTIONS)


@pytest.fixture
def two_processes(monkeypatch):
    """As if another process had the same values."""
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda values: values.mul_(2))


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__name__)
def test_derivatives_by_finite_differences(function, two_processes):
    call, inputs = FUNCTIONS[function]
    assert gradcheck(call, inputs(), check_batched_grad=True)
    assert gradgradcheck(call, inputs(), check_batched_grad=True)


@pytest.mark.parametrize("place", range(3))
def test_frozen_inputs_of_the_few_outputs_have_no_gradient(place):
    inputs = [x.detach() for x in FUNCTIONS[fast._FewOutputs][1]()]
    inputs[place].requires_grad_()

    def call(x):
        return fast.few_outputs_conv2d(*inputs[:place], x, *inputs[place + 1 :])

    assert gradcheck(call, (inputs[place],))
    assert gradgradcheck(call, (inputs[place],))


FAST = {
    "upsample": (fast.upsample_conv2d, lambda x, w, b: F.conv2d(F.interpolate(x, scale_factor=2.0), w, b, padding=1)),
    "few outputs": (fast.few_outputs_conv2d, lambda x, w, b: F.conv2d(x, w, b, padding=1)),
    "one pixel": (fast.one_pixel_conv2d, lambda x, w, b: F.conv2d(x, w, b, padding=1)),
}


@pytest.mark.parametrize("name", FAST)
def test_second_derivatives_of_fast_functions_are_those_of_the_plain_ones(name):
    function, plain = FAST[name]
    size = (1, 1) if name == "one pixel" else (3, 2)
    inputs = (leaf(2, 3, *size), leaf(2, 3, 3, 3, seed=1), leaf(2, seed=2))
    assert gradcheck(function, inputs)
    assert gradgradcheck(function, inputs)
    # Of a cubic function of the output, so that no second derivative is zero.
    found, expected = (hessian(lambda *x, f=f: f(*x).pow(3).sum(), inputs) for f in (function, plain))
    for row, other in zip(found, expected, strict=True):
        for value, plain_value in zip(row, other, strict=True):
            torch.testing.assert_close(value, plain_value)
    assert all(value.abs().max() > 0.1 for row in expected for value in row)


def batch_norm(x, norm):
    """Batch normalisation in training of plain operations."""
    axes, shape = [axis for axis in range(x.dim()) if axis != 1], [-1 if axis == 1 else 1 for axis in range(x.dim())]
    mean = x.mean(axes, keepdim=True)
    variance = (x - mean).square().mean(axes, keepdim=True)
    return (x - mean) / (variance + norm.eps).sqrt() * norm.weight.view(shape) + norm.bias.view(shape)


@pytest.mark.parametrize("shape", [(6, 3), (4, 3, 2, 3)])
def test_hessian_and_products_of_manual_batch_normalisation(shape):
    norm, x, v = ManualBatchNorm(3).double(), drawn(*shape), drawn(*shape, seed=1)
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([0.5, 1.5, -1.0]))

    def loss(normalise):
        return lambda x: normalise(x).pow(3).sum()

    ours, plain = loss(norm), loss(lambda x: batch_norm(x, norm))
    expected = hessian(plain, x)
    assert expected.abs().max() > 1
    torch.testing.assert_close(hessian(ours, x), expected)
    torch.testing.assert_close(hvp(ours, x, v)[1], hvp(plain, x, v)[1])
    func, moving = torch.func, dict(norm.named_buffers())
    with pytest.raises(RuntimeError, match="explicitly accept the mutated Tensor"):  # as with PyTorch's own
        func.hessian(ours)(x)

    def pure(x, moving):
        return func.functional_call(norm, moving, (x,)).pow(3).sum()

    torch.testing.assert_close(func.hessian(pure)(x, moving), expected)
    torch.testing.assert_close(func.jacrev(func.jacfwd(pure))(x, moving), expected)
    torch.testing.assert_close(func.jacrev(func.jacrev(pure))(x, moving), expected)
    torch.testing.assert_close(func.jacfwd(func.jacfwd(pure))(x, moving), expected)


@pytest.mark.parametrize("create_graph", [False, True])
def test_dual_numbers_through_the_gradient(create_graph):
    """Forward over reverse, where the gradient itself keeps no graph."""
    norm, x, v = ManualBatchNorm(3).double(), drawn(6, 3), drawn(6, 3, seed=1)
    results = []
    for normalise in (norm, lambda x: batch_norm(x, norm)):
        with forward_ad.dual_level():
            dual = forward_ad.make_dual(x.clone().requires_grad_(), v)
            [gradient] = torch.autograd.grad(normalise(dual).pow(3).sum(), dual, create_graph=create_graph)
            results.append(forward_ad.unpack_dual(gradient).tangent.detach())
    torch.testing.assert_close(*results)
    assert norm(x).isfinite().all()
    assert forward_ad._current_level < 0


def test_third_derivatives_too():
    norm, x = ManualBatchNorm(2).double(), drawn(4, 2).requires_grad_()
    results = []
    for normalise in (norm, lambda x: batch_norm(x, norm)):
        value = normalise(x).pow(3).sum()
        for _ in range(3):
            [gradient] = torch.autograd.grad(value, x, create_graph=True)
            value = gradient.pow(2).sum()
        results.append(gradient.detach())
    torch.testing.assert_close(*results)
    assert results[0].abs().max() > 1


@pytest.mark.parametrize("name", ["batch-manual", "upsample", "few outputs", "one pixel"])
def test_many_gradients_at_once(name):
    """``is_grads_batched`` and ``vectorize`` go backward with batches of gradients."""
    if name == "batch-manual":
        function, inputs = ManualBatchNorm(3).double(), (leaf(4, 3, 1, 1),)
    else:
        function, inputs = FAST[name][0], (leaf(2, 3, 1, 1), leaf(2, 3, 3, 3, seed=1), leaf(2, seed=2))
    one_by_one = torch.autograd.functional.jacobian(function, inputs)
    for found, expected in zip(
        torch.autograd.functional.jacobian(function, inputs, vectorize=True), one_by_one, strict=True
    ):
        torch.testing.assert_close(found, expected)
    output = function(*inputs)
    rows = torch.func.vmap(lambda v: torch.autograd.grad(output, inputs, v, retain_graph=True))(
        torch.eye(output.numel()).double().view(-1, *output.shape)
    )
    for found, expected in zip(rows, one_by_one, strict=True):
        torch.testing.assert_close(found.reshape(expected.shape), expected)

    def scalar(*x):
        return function(*x).pow(3).sum()

    found = hessian(scalar, inputs, vectorize=True)
    for row, other in zip(found, hessian(scalar, inputs), strict=True):
        torch.testing.assert_close(row, other)


@contextlib.contextmanager
def counting(monkeypatch):
    """Names of the fast functions that are called."""
    used = set()
    with monkeypatch.context() as patch:
        for name in ("upsample_conv2d", "few_outputs_conv2d", "one_pixel_conv2d"):
            function = getattr(fast, name)
            patch.setattr(fast, name, lambda *a, f=function, n=name: used.add(n) or f(*a))
        yield used


def in_float64_plain(module):
    return copy.deepcopy(module).double()


class Critic(nn.Module):
    """Judges images as a Wasserstein GAN's critic does, with every layer of ours that has a fast form."""

    def __init__(self, norm="batch-manual"):
        super().__init__()
        self.down = nn.Sequential(SameConv2d(1, 16, stride=2), create_norm(norm, 16))
        self.up, self.grown = UpsampleConv2d(16, 16), create_norm(norm, 16)
        self.transposed = TransposedConv2d(16, 4)
        self.few = SameConv2d(4, 2)
        self.score = nn.Sequential(SameConv2d(2, 3, stride=4), SameConv2d(3, 3, stride=4), nn.Tanh(), SameConv2d(3, 4))

    def forward(self, x):
        h, w = x.shape[2:]
        maps = torch.tanh(self.down(x))
        maps = torch.tanh(self.grown(self.up(maps, (h, w))))
        maps = torch.tanh(self.few(torch.tanh(self.transposed(maps, (2 * h, 2 * w)))))
        return self.score(maps).sum((1, 2, 3))  # the last convolution is of one pixel


def penalty_gradients(critic, images):
    """Gradient of WGAN-GP's penalty by every weight (Gulrajani et al., NeurIPS 2017)."""
    images = images.clone().requires_grad_()
    [slopes] = torch.autograd.grad(critic(images).sum(), images, create_graph=True)
    penalty = (slopes.flatten(1).norm(dim=1) - 1).square().mean()
    found = torch.autograd.grad(penalty, list(critic.parameters()), allow_unused=True)
    return [torch.zeros_like(p) if g is None else g for p, g in zip(critic.parameters(), found, strict=True)]


def assert_near(found, expected, bound=2e-3):
    """Equal as vectors, to a share of their length."""
    found, expected = (torch.cat([value.double().flatten() for value in values]) for values in (found, expected))
    assert expected.norm() > 0
    assert (found - expected).norm() <= bound * expected.norm()


@pytest.mark.parametrize("norm", [*NORMS])
def test_the_gradient_penalty_of_a_critic(norm, monkeypatch):
    torch.manual_seed(0)
    critic, images = Critic(norm), torch.rand(5, 1, 8, 8)
    plain = in_float64_plain(critic)
    with tricks.without():
        expected = penalty_gradients(plain, images.double())
    with counting(monkeypatch) as used:
        found = penalty_gradients(critic, images)
    assert used == {"upsample_conv2d", "few_outputs_conv2d", "one_pixel_conv2d"}
    assert_near(found, expected)
    if norm == "batch-manual":
        for name in ("down.1", "grown"):
            theirs = nn.BatchNorm2d(16).double()
            plain.set_submodule(name, theirs)
        assert_near(found, penalty_gradients(plain, images.double()))


CODECS = {
    "dense": lambda: DenseCodec((8, 8, 1), 6),
    "conv": lambda: ConvCodec((8, 8, 1), (16, 3)),
    "odd": lambda: ConvCodec((7, 5, 2), (4, 3)),
    "transposed": lambda: ConvCodec((8, 8, 1), (4, 3), "transposed"),
    "normalised": lambda: ConvCodec((8, 8, 1), (4, 16, 3), norm="batch-manual"),
}


def started(build):
    network = build()
    network.reset_parameters(torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return network


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", CODECS)
def test_the_curvature_of_a_reconstruction_by_its_code(name, training, monkeypatch):
    codec = started(CODECS[name]).train(training)
    height, width, channels = codec.image_shape
    image = torch.rand(2, channels, height, width)
    code = codec.encode(image).detach() + 0.1

    def loss(network, target):
        return lambda code: (torch.sigmoid(network.decode(code)) - target).square().sum()

    plain = loss(in_float64_plain(codec), image.double())
    with tricks.without():
        expected = hessian(plain, code.double())
        product = hvp(plain, code.double(), torch.ones_like(code).double())[1]
    with counting(monkeypatch) as used:
        found = hessian(loss(codec, image), code)
    assert bool(used) == (name != "dense")
    assert_near([found], [expected])
    assert_near([hvp(loss(codec, image), code, torch.ones_like(code))[1]], [product])


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", ["skip and residual", *NORMS])
def test_the_curvature_of_a_networks_loss_by_the_image(name, training):
    if name == "skip and residual":
        network = started(lambda: ConvCodec((8, 8, 1), (16, 3), skip=True, residual=True, norm="batch-manual"))
    else:
        network = started(lambda: ConvNet((6, 6, 1), 3, depth=3, norm=name, activation="tanh"))
    network.train(training)
    images = torch.rand(3, 1, *network.image_shape[:2])
    plain = in_float64_plain(network)
    with tricks.without():
        expected = hvp(lambda x: plain(x).square().sum(), images.double(), torch.ones_like(images).double())[1]
    found = hvp(lambda x: network(x).square().sum(), images, torch.ones_like(images))[1]
    assert_near([found], [expected])


@pytest.mark.parametrize("gamma", [None, 0.1])
@pytest.mark.parametrize("training", [False, True])
def test_the_curvature_of_a_recurrent_networks_loss(gamma, training):
    lstm = LSTMClassifier(3, 4, 2, steps=3, gamma=gamma, noise=0.0)
    lstm.reset_parameters(torch.Generator().manual_seed(0))
    lstm.double().train(training)
    x = drawn(4, 3, 3)
    expected = torch.func.hessian(lambda x, moving: torch.func.functional_call(lstm, moving, (x,)).square().sum())(
        x, dict(lstm.named_buffers())
    )
    torch.testing.assert_close(hessian(lambda x: lstm(x).square().sum(), x), expected)
    assert gradgradcheck(lstm, (x[:, :2].requires_grad_(),))


def test_the_curvature_of_a_fitted_estimators_reconstruction(few):
    """The case that was exactly 0: a user's Hessian by the code of a fitted model."""
    ae = hourglass.ConvAutoencoder(channels=(4, 2), n_steps=5, random_state=0).fit(few.train.images)
    image = torch.from_numpy(few.test.images[:1]).permute(0, 3, 1, 2)
    network = ae.network_
    code = network.encode(image).detach() + 0.05

    def loss(network, target):
        return lambda code: F.mse_loss(torch.sigmoid(network.decode(code)), target, reduction="sum")

    plain = in_float64_plain(network)
    with tricks.without():
        expected = hvp(loss(plain, image.double()), code.double(), torch.ones_like(code).double())[1]
    assert_near([hvp(loss(network, image), code, torch.ones_like(code))[1]], [expected])
