"""Population moments, and the recurrent network."""

import copy

import numpy as np
import pytest
import torch
from torch import nn as torch_nn

from hourglass.nn import (
    ConvNet,
    LSTMClassifier,
    ManualBatchNorm,
    batch_statistics,
    create_norm,
    recompute_statistics,
)


def network(norm="batch", **options):
    net = ConvNet((12, 12, 1), 3, depth=4, norm=norm, norm_momentum=0.2, **options)
    net.reset_parameters(torch.Generator().manual_seed(0))
    for module in net.modules():
        if hasattr(module, "running_mean"):
            torch_nn.init.uniform_(module.weight, -1, 2)
            torch_nn.init.normal_(module.bias)
    images = torch.rand(60, 1, 12, 12, generator=torch.Generator().manual_seed(1))
    for part in images.split(20):
        net.train()(part)
    return net.eval(), images


@pytest.mark.parametrize("norm", ["batch", "batch-manual", "ghost", "renorm"])
def test_population_moments_of_the_first_layer_are_those_of_all_images(norm):
    net, images = network(norm)
    # Batches of unlike size, that weigh as they should.
    recompute_statistics(net, [images[:10], images[10:35], images[35:]])
    maps = net.convs[0](images).detach().numpy()
    np.testing.assert_allclose(net.norms[0].running_mean, maps.mean((0, 2, 3)), atol=1e-6)
    np.testing.assert_allclose(net.norms[0].running_var, maps.var((0, 2, 3)), rtol=1e-5)


@pytest.mark.parametrize("norm", ["batch", "renorm"])
def test_population_moments_do_not_know_the_moving_statistics(norm):
    net, images = network(norm)
    other = copy.deepcopy(net)
    for layer in (*other.norms, other.hidden_norm):
        layer.running_mean += 3
        layer.num_batches_tracked += 1000
    for each in (net, other):
        recompute_statistics(each, images.split(20))
    torch.testing.assert_close(net.hidden_norm.running_mean, other.hidden_norm.running_mean)
    torch.testing.assert_close(net.hidden_norm.running_var, other.hidden_norm.running_var)


def test_population_moments_of_one_batch_give_what_training_gives():
    net, images = network()
    recompute_statistics(net, [images])
    torch.testing.assert_close(net(images), batch_statistics(net)(images), rtol=1e-4, atol=1e-4)
    assert not net.training


def test_population_moments_need_a_batch():
    with pytest.raises(ValueError, match="at least one"):
        recompute_statistics(network()[0], [])
    with pytest.raises(ValueError, match="nothing to recompute"):
        recompute_statistics(network("none")[0], [torch.zeros(1, 1, 12, 12)])


def test_batch_statistics_leave_the_network_as_it_was():
    net, images = network()
    before = copy.deepcopy(net.state_dict())
    twin = batch_statistics(net)
    twin(images)
    assert not net.training
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    moving = [name for name in before if "running" in name]
    assert all(torch.equal(before[name], twin.state_dict()[name]) for name in moving)


class Mixed(torch_nn.Module):
    """Layers of PyTorch's and of ours, one of them called by keyword, and one of a kind that keeps no statistics."""

    def __init__(self):
        super().__init__()
        self.first, self.second = torch_nn.BatchNorm2d(1), ManualBatchNorm(1, momentum=None)
        self.third = torch_nn.BatchNorm2d(1, momentum=None, affine=False)
        self.free, self.unused = torch_nn.BatchNorm2d(1, track_running_stats=False), torch_nn.BatchNorm2d(1)

    def forward(self, x):
        return self.free(self.third(input=self.second(x=self.first(x))))


def rows_of(*shape):
    return 2 * torch.randn(*shape, generator=torch.Generator().manual_seed(0)) + 1


POPULATIONS = {
    "BatchNorm1d rows": (lambda: torch_nn.Sequential(torch_nn.BatchNorm1d(3)), rows_of(24, 3)),
    "BatchNorm1d sequences": (lambda: torch_nn.BatchNorm1d(3), rows_of(24, 3, 5)),
    "BatchNorm2d": (lambda: torch_nn.Sequential(torch_nn.BatchNorm2d(3)), rows_of(24, 3, 4, 2)),
    "BatchNorm2d, cumulative": (lambda: torch_nn.BatchNorm2d(3, momentum=None), rows_of(24, 3, 4, 2)),
    "BatchNorm3d": (lambda: torch_nn.BatchNorm3d(3), rows_of(24, 3, 2, 2, 2)),
    "SyncBatchNorm": (lambda: torch_nn.SyncBatchNorm(3), rows_of(24, 3, 4, 2)),
    "mixed": (Mixed, rows_of(24, 1, 4, 2)),
    **{
        f"{name}, cumulative": (lambda name=name: create_norm(name, 3, momentum=None), rows_of(24, 3, 4, 2))
        for name in ("batch", "batch-manual", "ghost", "renorm")
    },
}


def biased(x):
    return x.double().mean([0, *range(2, x.dim())]), x.double().var([0, *range(2, x.dim())], unbiased=False)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", POPULATIONS)
def test_population_moments_of_any_batch_normalisation(name, training):
    build, x = POPULATIONS[name]
    module = build().train(training)
    momenta = [getattr(layer, "momentum", None) for layer in module.modules()]
    batches = [x[:4], x[4:14], x[14:]]
    recompute_statistics(module, iter(batches))
    first = next(layer for layer in module.modules() if getattr(layer, "running_mean", None) is not None)
    mean, variance = biased(x)
    torch.testing.assert_close(first.running_mean.double(), mean, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(first.running_var.double(), variance, rtol=1e-5, atol=1e-6)
    assert [getattr(layer, "momentum", None) for layer in module.modules()] == momenta
    assert module.training == training
    assert not first._forward_pre_hooks
    # Pairs, as data loaders give them.
    other = build()
    recompute_statistics(other, [(batch, None) for batch in batches])
    for key, value in other.named_buffers():
        if "running" in key:
            assert torch.equal(value, module.get_buffer(key))


def test_later_layers_see_batches_normalised_by_themselves():
    net, x = Mixed(), rows_of(24, 1, 4, 2)
    batches = [x[:8], x[8:]]
    recompute_statistics(net, batches)
    inputs = []
    for batch in batches:
        mean, variance = biased(batch)
        inputs.append((batch - mean) / (variance + 1e-5).sqrt())
    mean, variance = biased(torch.cat(inputs))
    torch.testing.assert_close(net.second.running_mean.double(), mean, rtol=0, atol=1e-6)
    torch.testing.assert_close(net.second.running_var.double(), variance, rtol=1e-5, atol=1e-6)
    assert torch.equal(net.unused.running_var, torch.ones(1))  # no batch reaches it


def test_population_moments_of_equal_batches_are_near_those_of_update_bn():
    """PyTorch's averages Bessel-corrected variances and leaves the spread of the means out."""
    theirs = torch_nn.BatchNorm2d(3)
    ours, batches = copy.deepcopy(theirs), rows_of(600, 3, 4, 4).split(200)
    torch.optim.swa_utils.update_bn(batches, theirs)
    recompute_statistics(ours, batches)
    torch.testing.assert_close(ours.running_mean, theirs.running_mean)
    torch.testing.assert_close(ours.running_var, theirs.running_var, rtol=2e-3, atol=0)


def test_population_moments_of_every_step_of_an_lstm():
    lstm = LSTMClassifier(5, 7, 3, steps=6, noise=0)
    lstm.reset_parameters(torch.Generator().manual_seed(0))
    x = sequences()
    recompute_statistics(lstm, x.split(10))
    inputs = x @ lstm.from_input.t().detach()
    torch.testing.assert_close(moving(lstm.norm_input, "mean"), inputs.mean(0), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(moving(lstm.norm_input, "var"), inputs.var(0, unbiased=False), rtol=1e-4, atol=1e-6)
    for norm in (lstm.norm_hidden, lstm.norm_cell):
        assert (moving(norm, "var")[1:] != 1).all()


def lazy():
    return torch_nn.Sequential(torch_nn.LazyBatchNorm2d())


REFUSED = {
    "instance normalisation": (
        lambda: torch_nn.Sequential(torch_nn.InstanceNorm2d(1, track_running_stats=True)),
        ValueError, "0 is a InstanceNorm2d, which is no batch normalisation",
    ),
    "beside batch normalisation": (
        lambda: torch_nn.Sequential(torch_nn.BatchNorm2d(1), torch_nn.InstanceNorm2d(1, track_running_stats=True)),
        ValueError, "1 is a InstanceNorm2d",
    ),
    "lazy": (lazy, ValueError, "has not seen an input"),
    "no module": (lambda: [torch_nn.BatchNorm2d(1)], TypeError, "expected a torch.nn.Module; this is a list"),
}  # fmt: skip
NOTHING = {
    "no layer": lambda: torch_nn.Conv2d(1, 1, 1),
    "layers without statistics": lambda: torch_nn.Sequential(torch_nn.BatchNorm2d(1, track_running_stats=False)),
    "plain instance normalisation": lambda: torch_nn.InstanceNorm2d(1),
    "group normalisation": lambda: create_norm("group", 4),
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize(
    "function", [batch_statistics, lambda module: recompute_statistics(module, [rows_of(4, 1, 2, 2)])]
)
def test_layers_whose_statistics_are_not_a_batchs_are_refused(case, function):
    build, error, said = REFUSED[case]
    module = build()
    before = copy.deepcopy(list(module.named_buffers())) if case not in ("lazy", "no module") else None
    with pytest.raises(error, match=said):
        function(module)
    for key, value in before or []:
        assert torch.equal(module.get_buffer(key), value)


@pytest.mark.parametrize("case", NOTHING)
def test_a_module_without_moving_statistics_has_nothing_to_recompute(case):
    with pytest.raises(ValueError, match="nothing to recompute"):
        recompute_statistics(NOTHING[case](), [torch.zeros(2, 4, 2, 2)])
    batch_statistics(NOTHING[case]())


@pytest.mark.parametrize(
    ("batches", "error", "said"),
    [
        (torch.zeros(4, 1, 2, 2), TypeError, r"batches is one tensor; give an iterable of batches, such as \[x\]"),
        ([{"x": torch.zeros(4, 1, 2, 2)}], TypeError, "a batch is a dict; expected a tensor"),
        ([np.zeros((4, 1, 2, 2))], TypeError, "a batch is a ndarray"),
        (iter(()), ValueError, "give at least one"),
        ([rows_of(4, 1, 2, 2), rows_of(4, 2, 2, 2)], ValueError, "expected"),
    ],
)
def test_batches_that_are_none_leave_the_module_as_it_was(batches, error, said):
    module = torch_nn.Sequential(ManualBatchNorm(1))
    before = copy.deepcopy(module.state_dict())
    with pytest.raises(error, match=said):
        recompute_statistics(module, batches)
    assert all(torch.equal(value, module.state_dict()[key]) for key, value in before.items())


def sequences(steps=6):
    return torch.randn(20, steps, 5, generator=torch.Generator().manual_seed(0))


def test_the_plain_lstm_is_pytorchs():
    ours = LSTMClassifier(5, 7, 3, gamma=None)
    ours.reset_parameters(torch.Generator().manual_seed(0))
    theirs = torch_nn.LSTM(5, 7, batch_first=True)
    # Ours are forget, input, output, candidate; PyTorch's input, forget, candidate, output.
    order = torch.cat([torch.arange(7) + 7 * place for place in (1, 0, 3, 2)])
    with torch.no_grad():
        ours.bias.normal_()
        theirs.weight_ih_l0.copy_(ours.from_input[order])
        theirs.weight_hh_l0.copy_(ours.from_hidden[order])
        theirs.bias_ih_l0.copy_(ours.bias[order])
        theirs.bias_hh_l0.zero_()
    x = sequences()
    torch.testing.assert_close(ours(x), ours.output(theirs(x)[0][:, -1]))


def moving(norm, what):
    return torch.stack([getattr(step, f"running_{what}") for step in norm.steps])


def test_recurrent_normalisation_has_statistics_for_each_step():
    lstm = LSTMClassifier(5, 7, 3, steps=6, momentum=1.0, noise=0)
    lstm.reset_parameters(torch.Generator().manual_seed(0))
    x = sequences()
    lstm.train()(x)
    inputs = x @ lstm.from_input.t()
    torch.testing.assert_close(moving(lstm.norm_input, "mean"), inputs.mean(0))
    torch.testing.assert_close(moving(lstm.norm_input, "var"), inputs.var(0))
    hidden = moving(lstm.norm_hidden, "mean")
    assert not hidden[0].any()
    assert not torch.equal(hidden[1], hidden[2])
    # The first gate, by hand: the hidden state is zero, so is what it contributes.
    gates = (inputs[:, 0] - inputs[:, 0].mean(0)) / (inputs[:, 0].var(0, unbiased=False) + 1e-5).sqrt() * 0.1
    cell = torch.sigmoid(gates[:, 7:14]) * torch.tanh(gates[:, 21:])
    torch.testing.assert_close(moving(lstm.norm_cell, "mean")[0], cell.mean(0))


def test_noise_gives_blank_first_steps_a_variance_in_training_alone():
    lstm = LSTMClassifier(5, 7, 3, steps=6, momentum=1.0)
    lstm.reset_parameters(torch.Generator().manual_seed(0))
    x = sequences()
    x[:, :2] = 0
    torch.manual_seed(0)
    first = lstm.train()(x)
    assert not torch.equal(first, lstm(x))
    # Four identities make the gates' contributions from noise of deviation 0.1.
    assert moving(lstm.norm_hidden, "var")[0].mean() == pytest.approx(0.01, rel=0.5)
    lstm.eval()
    torch.testing.assert_close(lstm(x), lstm(x))
    assert len(lstm.hidden_states(x)) == 6


def test_later_steps_use_the_last_ones_statistics():
    lstm = LSTMClassifier(5, 7, 3, steps=4)
    lstm.reset_parameters(torch.Generator().manual_seed(0))
    lstm.train()(sequences(4))
    longer = LSTMClassifier(5, 7, 3, steps=6)
    state = lstm.state_dict()
    for name in [name for name in state if ".steps.3." in name]:
        state |= {name.replace(".3.", f".{later}."): state[name] for later in (4, 5)}
    longer.load_state_dict(state)
    x = sequences(6)
    torch.testing.assert_close(lstm.eval()(x), longer.eval()(x))


def test_images_are_read_row_by_row():
    lstm = LSTMClassifier(5, 7, 3, steps=6).eval()
    x = sequences()
    torch.testing.assert_close(lstm(x[:, None]), lstm(x))


@pytest.mark.parametrize("shape", [(2, 6), (2, 6, 4), (2, 3, 6, 5), (2, 1, 6, 4), (2, 0, 5), (2, 1, 6, 5, 1), (5,)])
def test_sequences_of_another_shape_are_refused(shape):
    for gamma in (0.1, None):
        with pytest.raises(ValueError, match=r"expected \(n, steps, 5\) with one step or more, or images"):
            LSTMClassifier(5, 7, 3, steps=6, gamma=gamma).eval()(torch.zeros(shape))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"features": 0}, "features=0; expected a whole number, 1 or more"),
        ({"hidden": 0}, "hidden=0"),
        ({"classes": 2.5}, "classes=2.5"),
        ({"steps": 0}, "steps=0"),
        ({"noise": -1.0}, "noise=-1.0; expected a standard deviation, 0 or more"),
        ({"noise": float("nan")}, "noise=nan"),
        ({"momentum": 2.0}, "momentum=2.0"),
        ({"eps": -1.0}, "eps=-1.0"),
    ],
)
def test_a_recurrent_network_refuses_what_means_nothing(options, said):
    with pytest.raises(ValueError, match=said):
        LSTMClassifier(**({"features": 5} | options))
