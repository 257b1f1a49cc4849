"""Second derivatives of whole networks: penalties of gradients, curvature by code and by image."""

import contextlib
import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd import gradgradcheck
from torch.autograd.functional import hessian, hvp

import hourglass
from hourglass.nn import (
    NORMS,
    ConvCodec,
    ConvNet,
    DenseCodec,
    LSTMClassifier,
    SameConv2d,
    TransposedConv2d,
    UpsampleConv2d,
    create_norm,
    fast,
)
from hourglass.runtime import tricks

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script:DeprecationWarning")


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
    x = torch.randn(4, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
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
