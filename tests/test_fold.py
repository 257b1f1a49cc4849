"""Folding: a network without normalisation computes what the normalised one does in inference."""

import copy

import pytest
import torch
from torch import nn

from hourglass.nn import (
    NORMS,
    ConvCodec,
    ConvNet,
    DenseCodec,
    FrameworkBatchNorm,
    LSTMClassifier,
    ManualBatchNorm,
    fold,
)

FOLDED = {
    "net": lambda **o: ConvNet((12, 12, 1), 3, depth=4, **o),
    "tanh net": lambda **o: ConvNet((12, 12, 1), 3, depth=4, activation="tanh", **o),
    "codec": lambda **o: ConvCodec((12, 12, 1), (16, 3), **o),
    "odd codec": lambda **o: ConvCodec((11, 13, 1), (4, 3), **o),
    "transposed codec": lambda **o: ConvCodec((12, 12, 1), (5, 3), "transposed", **o),
    "skipping codec": lambda **o: ConvCodec((12, 12, 1), (4, 3), skip=True, residual=True, **o),
}


def trained(network):
    """Any parameters and statistics."""
    network.reset_parameters(torch.Generator().manual_seed(0))
    for module in network.modules():
        if getattr(module, "running_mean", None) is not None:
            for parameter in module.parameters():
                nn.init.uniform_(parameter, -1, 2, generator=torch.Generator().manual_seed(len(parameter)))
    images = torch.rand(60, 1, *network.image_shape[:2], generator=torch.Generator().manual_seed(1))
    for part in images.split(20):
        network.train()(part)
    return network.eval(), images[:20]


def without_affine(network, kind):
    """Every normalisation replaced by one without scale and shift, without shift, or by PyTorch's own."""
    for _, name in network.normalised_layers():
        features = network.get_submodule(name).num_features
        dense = not isinstance(network.get_submodule(name.replace("hidden_norm", "hidden")), nn.Linear)
        network.set_submodule(name, {
            "no affine": lambda f=features: FrameworkBatchNorm(f, affine=False),
            "no shift": lambda f=features: ManualBatchNorm(f, bias=False),
            "PyTorch's": lambda f=features, d=dense: (nn.BatchNorm2d if d else nn.BatchNorm1d)(f),
        }[kind]())  # fmt: skip
    return network


@pytest.mark.parametrize("norm", ["batch", "batch-manual", "ghost", "renorm", "no affine", "no shift", "PyTorch's"])
@pytest.mark.parametrize("name", FOLDED)
def test_folding_changes_nothing(name, norm):
    net = FOLDED[name](norm=norm) if norm in NORMS else without_affine(FOLDED[name](norm="batch"), norm)
    net, images = trained(net)
    before = copy.deepcopy(net.state_dict())
    folded = fold(net)
    expected = net(images)
    assert (folded(images) - expected).abs().max() <= 1e-5 * expected.abs().max()
    with torch.inference_mode():  # where faster forms apply
        assert (folded(images) - expected).abs().max() <= 1e-5 * expected.abs().max()
    assert type(folded) is type(net)
    assert folded.norm == "none"
    assert not folded.training
    assert not any("norm" in name for name, _ in folded.named_parameters())
    assert not any("running" in name for name, _ in folded.named_buffers())
    assert all(torch.equal(value, net.state_dict()[key]) for key, value in before.items())
    with pytest.raises(ValueError, match="norm='none'"):
        fold(folded)


def test_folding_in_training_mode_folds_inference():
    net, images = trained(ConvCodec((8, 8, 1), (4, 3), norm="batch-manual"))
    expected = net(images)
    torch.testing.assert_close(fold(net.train())(images), expected, rtol=1e-4, atol=1e-5)
    assert net.training


@pytest.mark.parametrize(
    ("build", "error", "said"),
    [
        (lambda: ConvNet((12, 12, 1), 3, depth=2), ValueError, "norm='none': there is no normalisation to fold"),
        (lambda: ConvCodec((12, 12, 1), (4,)), ValueError, "norm='none': there is no normalisation to fold"),
        (lambda: ConvNet((12, 12, 1), 3, depth=2, norm="group"), ValueError, "norms.0 is a GroupNorm without moving"),
        (lambda: ConvCodec((8, 8, 1), (4,), norm="instance"), ValueError, "encoder_norms.0 is a InstanceNorm without"),
        (lambda: DenseCodec((8, 8, 1), 4), TypeError, "fold takes a ConvNet or a ConvCodec; this is a DenseCodec"),
        (lambda: LSTMClassifier(5), TypeError, "fold takes a ConvNet or a ConvCodec; this is a LSTMClassifier"),
        (lambda: nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1)), TypeError, "Sequential"),
        (lambda: None, TypeError, "NoneType"),
    ],
)
def test_what_cannot_be_folded_is_refused(build, error, said):
    with pytest.raises(error, match=said):
        fold(build())
