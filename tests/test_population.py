"""Population moments, folding, and the recurrent network."""

import copy

import numpy as np
import pytest
import torch
from torch import nn as torch_nn

from hourglass.nn import LSTM, ConvNet, batch_statistics, fold, recompute_statistics


def network(norm="layer", **options):
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


@pytest.mark.parametrize("norm", ["layer", "manual", "ghost", "renorm"])
def test_population_moments_of_the_first_layer_are_those_of_all_images(norm):
    net, images = network(norm)
    # Batches of unlike size, that weigh as they should.
    recompute_statistics(net, [images[:10], images[10:35], images[35:]])
    maps = net.convs[0](images).detach().numpy()
    np.testing.assert_allclose(net.norms[0].running_mean, maps.mean((0, 2, 3)), atol=1e-6)
    np.testing.assert_allclose(net.norms[0].running_var, maps.var((0, 2, 3)), rtol=1e-5)


@pytest.mark.parametrize("norm", ["layer", "renorm"])
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


@pytest.mark.parametrize("norm", ["layer", "manual", "ghost", "renorm"])
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_folding_changes_nothing(norm, activation):
    net, images = network(norm, activation=activation)
    folded = fold(net)
    expected = net(images)
    assert (folded(images) - expected).abs().max() <= 1e-5 * expected.abs().max()
    assert not any("norm" in name for name, _ in folded.named_parameters())
    fused = torch_nn.utils.fusion.fuse_conv_bn_weights(
        net.convs[1].weight, None, net.norms[1].running_mean, net.norms[1].running_var, net.norms[1].eps,
        net.norms[1].weight, net.norms[1].bias,
    )  # fmt: skip
    torch.testing.assert_close((folded.convs[1].weight, folded.convs[1].bias), fused)


def test_what_looks_at_the_image_cannot_be_folded():
    with pytest.raises(ValueError, match="GroupNorm has no moving statistics"):
        fold(network("group")[0])


def sequences(steps=6):
    return torch.randn(20, steps, 5, generator=torch.Generator().manual_seed(0))


def test_the_plain_lstm_is_pytorchs():
    ours = LSTM(5, 7, 3, gamma=None)
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
    lstm = LSTM(5, 7, 3, steps=6, momentum=1.0, noise=0)
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
    lstm = LSTM(5, 7, 3, steps=6, momentum=1.0)
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
    lstm = LSTM(5, 7, 3, steps=4)
    lstm.reset_parameters(torch.Generator().manual_seed(0))
    lstm.train()(sequences(4))
    longer = LSTM(5, 7, 3, steps=6)
    state = lstm.state_dict()
    for name in [name for name in state if ".steps.3." in name]:
        state |= {name.replace(".3.", f".{later}."): state[name] for later in (4, 5)}
    longer.load_state_dict(state)
    x = sequences(6)
    torch.testing.assert_close(lstm.eval()(x), longer.eval()(x))


def test_images_are_read_row_by_row():
    lstm = LSTM(5, 7, 3, steps=6).eval()
    x = sequences()
    torch.testing.assert_close(lstm(x[:, None]), lstm(x))
