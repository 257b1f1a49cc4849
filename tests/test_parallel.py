"""What several processes train in the place of a network with PyTorch's batch normalisation."""

import pytest
import torch
from torch import nn

from hourglass.nn import BatchRenorm, ConvCodec, ConvNet
from hourglass.training.parallel import synchronised

GPU, CPU = torch.device("cuda"), torch.device("cpu")


def test_batch_normalisation_is_synchronised_beside_the_network_with_the_same_tensors():
    network = ConvCodec((8, 8, 1), (4, 4), norm="batch")
    kinds = [type(layer) for layer in network.modules()]
    beside = synchronised(network, GPU)
    assert [type(layer) for layer in network.modules()] == kinds
    assert sum(isinstance(layer, nn.SyncBatchNorm) for layer in beside.modules()) == 4
    for tensors in (nn.Module.parameters, nn.Module.buffers):
        assert all(one is other for one, other in zip(tensors(network), tensors(beside), strict=True))


def test_a_network_that_needs_no_synchronisation_is_trained_itself():
    for norm in ("none", "layer", "batch-manual", "batch-manual-local"):
        network = ConvNet((8, 8, 1), 10, depth=2, norm=norm)
        assert synchronised(network, CPU) is network
    network = nn.Sequential(nn.SyncBatchNorm(3))
    assert synchronised(network, GPU) is network


class OwnNorm(nn.BatchNorm2d):
    def forward(self, x):
        return x


@pytest.mark.parametrize(
    ("layer", "device", "why"),
    [
        (nn.BatchNorm2d(3), CPU, "that works on GPUs alone"),
        (OwnNorm(3), GPU, "that computes something else"),
        (BatchRenorm(3), GPU, "SyncBatchNorm cannot take its place"),
        (ConvNet((8, 8, 1), 10, depth=2, norm="batch"), GPU, "this one has stored_variance='biased'"),
    ],
)
def test_what_cannot_be_synchronised_is_refused_in_words(layer, device, why):
    with pytest.raises(ValueError, match=why):
        synchronised(nn.Sequential(nn.Linear(1, 1), layer), device)
