"""Normalisations after what PyTorch's tools and odd inputs do to them: as PyTorch's layer, or refused in words."""

import pytest
import torch
from torch import nn

from hourglass.nn import (
    BatchRenorm,
    ConvCodec,
    FrameworkBatchNorm,
    GhostBatchNorm,
    ManualBatchNorm,
    recompute_statistics,
)

LAYERS = [FrameworkBatchNorm, ManualBatchNorm, GhostBatchNorm, BatchRenorm]
LAYOUTS = {
    "contiguous": lambda: torch.randn(6, 4, 5, 3),
    "channels last": lambda: torch.randn(6, 4, 5, 3).to(memory_format=torch.channels_last),
    "transposed": lambda: torch.randn(6, 4, 3, 5).transpose(2, 3),
    "images and channels swapped": lambda: torch.randn(4, 6, 5, 3).transpose(0, 1),
    "reversed": lambda: torch.randn(3, 5, 4, 6).permute(3, 2, 1, 0),
    "every other": lambda: torch.randn(12, 4, 5, 3)[::2],
    "expanded": lambda: torch.randn(6, 4, 1, 1).expand(6, 4, 5, 3),
}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("cls", LAYERS)
def test_outputs_are_laid_out_as_pytorchs(cls, layout, training):
    x = LAYOUTS[layout]()
    ours, theirs = cls(4).train(training)(x), nn.BatchNorm2d(4).train(training)(x)
    assert ours.is_contiguous() == theirs.is_contiguous()
    last = torch.channels_last
    assert ours.is_contiguous(memory_format=last) == theirs.is_contiguous(memory_format=last)
    if theirs.is_contiguous():
        ours.view(6, -1)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_statistics_are_not_recomputed_from_nan(value):
    network = nn.Sequential(nn.Conv2d(1, 4, 3), FrameworkBatchNorm(4))
    before = {name: buffer.clone() for name, buffer in network.named_buffers()}
    x = torch.randn(8, 1, 6, 6)
    x[3, 0, 2, 2] = value
    with pytest.raises(ValueError, match="the inputs of 1 hold NaN or infinity"):
        recompute_statistics(network, [torch.randn(8, 1, 6, 6), x])
    assert all(torch.equal(buffer, before[name]) for name, buffer in network.named_buffers())


def test_renormalisation_without_its_statistics_says_so():
    layer = BatchRenorm(4)
    torch.func.replace_all_batch_norm_modules_(nn.Sequential(layer))
    with pytest.raises(RuntimeError, match="nothing to correct towards"):
        layer(torch.randn(6, 4))


@pytest.mark.parametrize("cls", [GhostBatchNorm, BatchRenorm])
def test_an_assigned_qconfig_does_not_open_the_way_to_another_normalisation(cls):
    layer = cls(4)
    assert not hasattr(layer, "qconfig")
    layer.qconfig = None
    assert layer.qconfig is None
    with pytest.raises(TypeError, match="cannot become a SyncBatchNorm"):
        nn.SyncBatchNorm.convert_sync_batchnorm(nn.Sequential(layer))


@pytest.mark.filterwarnings("ignore:`torch.jit.script`:DeprecationWarning")  # PyTorch's own
@pytest.mark.filterwarnings("ignore:Attempted to insert a get_attr Node:UserWarning")
@pytest.mark.parametrize("skip", [False, True])
def test_a_codec_is_linearised(skip):
    codec = ConvCodec((8, 8, 1), (4, 2), skip=skip).eval()
    codec.reset_parameters(torch.Generator().manual_seed(0))
    x, direction = torch.rand(2, 2, 1, 8, 8, generator=torch.Generator().manual_seed(1)).double()
    codec.double()
    output, slope = torch.func.linearize(codec, x)
    expected, along = torch.func.jvp(codec, (x,), (direction,))
    torch.testing.assert_close(output, expected)
    torch.testing.assert_close(slope(direction), along)
