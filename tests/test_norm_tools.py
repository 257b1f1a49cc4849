"""PyTorch's tools for batch normalisation on ours: averaging, fusion, synchronisation, quantisation."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval
from torch.optim.swa_utils import AveragedModel, update_bn

from hourglass.nn import NORMS, ConvNet, LSTMClassifier
from test_norm_table import BY_BATCH, CHANNELS, MOVING, batch, close, make, randomised


@pytest.mark.parametrize("name", MOVING)
def test_update_bn_averages_all_batches_alike(name):
    norm = randomised(make(name))
    batches = [batch(dtype=torch.float32, seed=seed) for seed in range(4)]
    expected = make(name, momentum=None)
    for x in batches:
        expected(x)
    network = nn.Sequential(norm).eval()
    update_bn(iter(batches), network)
    assert not network.training
    assert norm.momentum == 0.1
    means = torch.stack([x.double().mean((0, 2, 3)) for x in batches])
    close(norm.running_mean, means.mean(0), torch.float32)
    for key, value in expected.named_buffers():
        assert torch.equal(norm.get_buffer(key), value)
    if name in BY_BATCH:
        variances = torch.stack([x.double().var((0, 2, 3)) for x in batches])
        close(norm.running_var, variances.mean(0), torch.float32)


def test_update_bn_finds_every_step_of_an_lstm():
    lstm = LSTMClassifier(5, 7, 3, steps=4, noise=0)
    lstm.reset_parameters(torch.Generator().manual_seed(0))
    batches = [(batch((6, 4, 5), torch.float32, seed=seed), None) for seed in range(3)]
    averaged = AveragedModel(lstm)
    averaged.update_parameters(lstm)
    update_bn(batches, averaged)
    inputs = torch.stack([x @ lstm.from_input.t().detach() for x, _ in batches])
    for step, norm in enumerate(averaged.module.norm_input.steps):
        close(norm.running_mean, inputs[:, :, step].mean((0, 1)), torch.float32)
        close(norm.running_var, inputs[:, :, step].var(1).mean(0), torch.float32)
        assert norm.num_batches_tracked == 3
    for module in averaged.module.modules():
        if hasattr(module, "running_var"):
            assert not torch.equal(module.running_var, torch.ones_like(module.running_var))


@pytest.mark.parametrize("name", MOVING)
def test_pytorchs_fusion_computes_the_same(name):
    for options in ({}, {"affine": False}, {"bias": False}):
        norm = randomised(make(name, **options)).double().eval()
        conv, dense = nn.Conv2d(3, CHANNELS, 3).double().eval(), nn.Linear(3, CHANNELS).double().eval()
        close(fuse_conv_bn_eval(conv, norm)(batch((2, 3, 5, 5))), norm(conv(batch((2, 3, 5, 5)))).detach())
        if options:
            continue  # PyTorch fuses a dense layer with a complete normalisation only
        close(fuse_linear_bn_eval(dense, norm)(batch((2, 3))), norm(dense(batch((2, 3)))).detach())


REFUSED = {
    "ghost": (lambda: make("ghost"), "normalises the whole batch, and this one small parts of it"),
    "renorm": (lambda: make("renorm"), "does not correct towards the moving statistics"),
    "biased batch": (lambda: make("batch", stored_variance="biased"), "stored_variance='biased'"),
    "biased batch-manual": (lambda: make("batch-manual", stored_variance="biased"), "stored_variance='biased'"),
    "network": (lambda: ConvNet((8, 8, 1), 3, depth=2, norm="batch").hidden_norm, "stored_variance='biased'"),
}


@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.parametrize("nested", [False, True])
def test_no_synchronised_layer_takes_the_place_of_one_that_computes_something_else(kind, nested):
    build, why = REFUSED[kind]
    module = nn.Sequential(nn.Conv2d(4, 4, 1), nn.Sequential(build())) if nested else build()
    with pytest.raises(TypeError, match="cannot become a SyncBatchNorm") as raised:
        nn.SyncBatchNorm.convert_sync_batchnorm(module)
    assert why in str(raised.value)
    assert not any(isinstance(part, nn.SyncBatchNorm) for part in module.modules())


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("options", [{}, {"affine": False}, {"bias": False}, {"momentum": None}], ids=str)
@pytest.mark.parametrize("name", BY_BATCH)
def test_a_synchronised_layer_takes_the_place_of_one_that_computes_the_same(name, options, nested):
    norm = randomised(make(name, **options))
    module = nn.Sequential(nn.Identity(), nn.Sequential(copy.deepcopy(norm))) if nested else copy.deepcopy(norm)
    converted = nn.SyncBatchNorm.convert_sync_batchnorm(module)
    [layer] = [part for part in converted.modules() if hasattr(part, "running_mean")]
    assert type(layer) is nn.SyncBatchNorm
    assert (layer.eps, layer.momentum, layer.affine) == (norm.eps, norm.momentum, norm.affine)
    assert (layer.bias is None) == (norm.bias is None)
    x = batch(dtype=torch.float32)
    close(converted(x).detach(), norm(x).detach(), torch.float32)  # alone, it is plain batch normalisation
    for key, value in norm.state_dict().items():
        close(layer.state_dict()[key], value, torch.float32)


@pytest.mark.parametrize("name", ["layer", "group", "instance"])
def test_what_looks_at_each_image_by_itself_stays_when_others_are_synchronised(name):
    module = nn.Sequential(make(name), make("batch"))
    assert type(nn.SyncBatchNorm.convert_sync_batchnorm(module)[0]) is NORMS[name]


@pytest.mark.parametrize("name", MOVING)
def test_quantisation_may_ask_for_its_settings(name):
    norm = make(name)
    assert not hasattr(norm, "qconfig")
    assert getattr(norm, "qconfig", None) is None
    norm.qconfig = "any"
    assert norm.qconfig == "any"
