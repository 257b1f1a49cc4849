"""A normalisation of one's own in networks and estimators: what works, and what is refused in words."""

import functools

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from torch import nn

import hourglass as hg
from hourglass.nn import NORMS, ConvCodec, ConvNet, ManualBatchNorm, create_norm, fold, recompute_statistics
from hourglass.nn.norms import norm_name
from learners_norms import Right, changed, with_batch_moments_in_inference

SMALL = {"depth": 3, "width": 4, "n_steps": 4, "batch_size": 40, "random_state": 0}
NETWORKS = {
    "net": lambda norm: ConvNet((12, 12, 1), 3, depth=4, norm=norm),
    "codec": lambda norm: ConvCodec((12, 12, 1), (5, 3), norm=norm),
    "transposed": lambda norm: ConvCodec((11, 13, 1), (5, 3), "transposed", norm=norm),
    "skipping": lambda norm: ConvCodec((12, 12, 1), (4, 3), skip=True, residual=True, norm=norm),
}


class Derived(nn.BatchNorm2d):
    """PyTorch's, with a forward pass of its own, for maps and rows."""

    def forward(self, x):
        if not self.training:
            shape = (1, -1) + (1,) * (x.dim() - 2)
            values = self.running_mean, self.running_var, self.weight, self.bias
            mean, var, weight, bias = (value.reshape(shape) for value in values)
            return (x - mean) / (var + self.eps).sqrt() * weight + bias
        return nn.functional.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, True, self.momentum, self.eps
        )


class KeepsItsOutput(torch.autograd.Function):
    """The identity, whose backward pass needs the output again."""

    @staticmethod
    def forward(ctx, x):
        output = x.clone()
        ctx.save_for_backward(output)
        return output

    @staticmethod
    def backward(ctx, gradient):
        return gradient + 0 * ctx.saved_tensors[0]


class RunningMean(Right):
    """With a name of PyTorch's that may mean something else."""

    def __init__(self, channels):
        super().__init__(channels)
        self.register_buffer("running_mean", torch.zeros(channels))


def trained(network, steps=6):
    network.reset_parameters(torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith(("gamma", "beta", "norm.weight")):
                parameter.uniform_(-1, 2, generator=generator)
    images = torch.rand(20 * steps, 1, *network.image_shape[:2], generator=generator)
    for batch in images.split(20):
        network.train()(batch)
    return network.eval(), images[:20]


@pytest.mark.parametrize("build", NETWORKS.values(), ids=NETWORKS)
@pytest.mark.parametrize("norm", [Right, lambda channels: Right(channels), functools.partial(Right)])
def test_a_network_takes_a_class_or_a_function(build, norm):
    network = build(norm)
    pairs = network.normalised_layers()
    assert pairs
    for layer, name in pairs:
        assert isinstance(network.get_submodule(name), Right)
        assert network.get_submodule(layer).bias is None or isinstance(network, ConvCodec)
    images = torch.rand(6, 1, *network.image_shape[:2]).to(memory_format=torch.channels_last)
    network.train()(images).square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


def test_it_computes_what_ours_computes(few):
    def ours(channels):
        return ManualBatchNorm(channels, 1e-5, 0.1, stored_variance="biased")

    images, labels = few.train.images, few.train.labels
    found, expected = (
        hg.ConvClassifier(norm=norm, **SMALL).fit(images, labels).decision_function(images) for norm in (Right, ours)
    )
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)


def test_it_trains_the_twenty_layers(sample):
    images, labels = sample.train.images[:1000], sample.train.labels[:1000]
    clf = hg.ConvClassifier(norm=Right, depth=19, width=4, n_steps=90, batch_size=32, random_state=0)
    clf.fit(images, labels)
    assert clf.score(images[:300], labels[:300]) > 0.3  # guessing: 0.1; without normalisation it does not train
    assert clf.title == "20-layer classifier with Right"
    assert clf.describe()["normalisation"] == "Right, ε = 1e-05, momentum = 0.1"
    assert clf.describe()["parameters"]["norm"] == "Right"
    assert clf.dead_units_["hidden"][1] == 100


def test_scikit_learns_tools(few):
    clf = hg.ConvClassifier(norm=Right, **SMALL)
    again = clone(clf)
    assert again.get_params()["norm"] is Right
    assert again.set_params(norm="batch").norm == "batch"
    assert "norm=<class 'learners_norms.Right'>" in repr(clf)
    grid = GridSearchCV(clf, {"norm": ["batch", Right]}, cv=2).fit(few.train.images, few.train.labels)
    assert grid.best_params_["norm"] in ("batch", Right)
    clf.fit(few.train.images, few.train.labels)
    clf.partial_fit(few.train.images, few.train.labels)
    with pytest.raises(ValueError, match="parameters were changed after fit"):
        clf.set_params(norm=Derived).partial_fit(few.train.images, few.train.labels)


def test_an_autoencoder(few):
    ae = hg.ConvAutoencoder(channels=(4,), norm=Right, n_steps=3, random_state=0).fit(few.train.images)
    assert ae.title == "Convolutional autoencoder, 4 feature maps, with Right"
    assert ae.reconstruct(few.test.images[:3]).shape == (3, 28, 28, 1)
    assert ae.network_.halo is not None
    whole = type("Whole", (Right,), {"looks_at_whole_image": True})
    assert ConvCodec((8, 8, 1), (4,), norm=whole).halo is None
    unnamed = hg.ConvAutoencoder(channels=(4,), norm=lambda channels: Right(channels))
    assert unnamed.title.endswith("with a normalisation of its own")


def test_a_layer_may_need_its_output_again():
    norm = changed(forward=lambda self, x: KeepsItsOutput.apply(Right.forward(self, x)))
    ConvCodec((8, 8, 1), (4, 3), norm=norm)(torch.rand(3, 1, 8, 8)).sum().backward()


def test_random_initial_values_come_of_the_random_state(few):
    class Drawn(Right):
        def __init__(self, channels):
            super().__init__(channels)
            with torch.no_grad():
                self.beta.normal_(0, 0.1)

        def reset_parameters(self):
            with torch.no_grad():
                self.gamma.uniform_(0.9, 1.1)

    before = torch.get_rng_state()
    states = []
    for seed in (0, 0, 1):
        torch.rand(3)
        clf = hg.ConvClassifier(norm=Drawn, **(SMALL | {"random_state": seed, "n_steps": 1}))
        states.append(clf.fit(few.train.images, few.train.labels).network_.state_dict())
        torch.set_rng_state(before)
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    for name in ("hidden_norm.gamma", "hidden_norm.beta"):
        assert not torch.equal(states[0][name], states[2][name])


def test_torchs_batch_norm_of_maps_becomes_that_of_rows():
    for norm in (nn.BatchNorm2d, lambda channels: nn.BatchNorm2d(channels, 1e-3, None, affine=False)):
        network = ConvNet((8, 8, 1), 3, depth=2, norm=norm)
        made = norm(5)
        assert type(network.norms[0]) is nn.BatchNorm2d
        assert type(network.hidden_norm) is nn.BatchNorm1d
        for name in ("eps", "momentum", "affine", "track_running_stats"):
            assert getattr(network.hidden_norm, name) == getattr(made, name)
        network(torch.rand(4, 1, 8, 8)).sum().backward()


@pytest.mark.parametrize("norm", [Right, Derived, changed(eps=1e-3), nn.BatchNorm2d], ids=norm_name)
@pytest.mark.parametrize("build", NETWORKS.values(), ids=NETWORKS)
def test_folding_changes_nothing(build, norm):
    network, images = trained(build(norm))
    expected = network(images)
    folded = fold(network)
    assert (folded(images) - expected).abs().max() <= 1e-4 * expected.abs().max()
    assert folded.norm == "none"
    assert not any("norm" in name for name, _ in folded.named_parameters())


@pytest.mark.parametrize(
    "norm", [changed(forward=with_batch_moments_in_inference), lambda channels: hg.nn.GroupNorm(channels, groups=1)]
)
def test_what_is_not_affine_in_inference_is_not_folded(norm):
    network, _ = trained(NETWORKS["net"](norm))
    with pytest.raises(ValueError, match=r"norms\.0 is a \w+ without moving statistics that it uses in inference"):
        fold(network)


def test_precise_statistics_of_classes_derived_from_pytorchs():
    for norm in (Derived, nn.BatchNorm2d):
        network, images = trained(NETWORKS["net"](norm))
        recompute_statistics(network, [images])
        first = network.convs[0](images)
        torch.testing.assert_close(network.norms[0].running_mean, first.mean((0, 2, 3)))
        torch.testing.assert_close(network.norms[0].running_var, first.var((0, 2, 3), correction=0))


def test_precise_statistics_under_unknown_names_are_refused():
    network, images = trained(NETWORKS["net"](Right))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(ValueError, match="moving statistics that are known here"):
        recompute_statistics(network, [images])
    with pytest.raises(ValueError, match=r"RunningMean, .* derive a class of your own from torch\.nn\.BatchNorm2d"):
        recompute_statistics(NETWORKS["net"](RunningMean), [images])
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_an_entry_of_the_table_gets_the_settings_that_it_names(monkeypatch):
    given = {}

    def named(channels, momentum=0.5):
        given["momentum"] = momentum
        return Right(channels)

    monkeypatch.setitem(NORMS, "named", named)
    monkeypatch.setitem(NORMS, "plain", Right)
    assert isinstance(create_norm("named", 4, eps=1e-3, momentum=0.25), Right)
    assert given == {"momentum": 0.25}
    assert isinstance(create_norm("plain", 4, eps=1e-3, momentum=0.25), Right)
    with pytest.raises(ValueError, match="norm='plain' has no moving statistics"):
        create_norm("plain", 4, stored_variance="biased")


@pytest.mark.parametrize(
    ("norm", "error", "said"),
    [
        (Right(4), ValueError, r"norm=Right\(…\) is one layer, but each place .* norm=Right, or a function such as"),
        ("bacth", ValueError, "norm='bacth' is unknown; choose one of none, batch, .* a class or a function of"),
        (3, ValueError, "norm=3 is unknown"),
        (None, ValueError, "norm=None is unknown"),
        (lambda channels: None, TypeError, "returned a NoneType for 4 channels; expected a layer"),
    ],
)
def test_what_makes_no_layer_is_refused(norm, error, said):
    with pytest.raises(error, match=said):
        create_norm(norm, 4)
    with pytest.raises(error, match=said.replace("4 channels", r"\d channels")):
        ConvCodec((8, 8, 1), (4,), norm=norm)
    if error is ValueError:
        with pytest.raises(error, match=said):
            hg.ConvClassifier(norm=norm).check_parameters()
        with pytest.raises(error, match=said):
            hg.ConvAutoencoder(norm=norm).check_parameters()


def test_an_error_of_the_class_says_how_it_was_called():
    class NoArgument(nn.Module):
        def __init__(self):
            super().__init__()

    with pytest.raises(TypeError, match="positional argument") as caught:
        create_norm(NoArgument, 4)
    assert "NoArgument, which was called with the number of channels, 4" in caught.value.__notes__[0]


def test_the_variance_that_a_class_stores_is_its_own_affair():
    with pytest.raises(ValueError, match="norm=Right chooses itself which variance it stores"):
        ConvNet((8, 8, 1), 3, depth=2, norm=Right, stored_variance="biased")
