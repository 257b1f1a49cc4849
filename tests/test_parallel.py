"""What several processes train in the place of a network with PyTorch's batch normalisation."""

import math

import pytest
import torch
from torch import nn

from hourglass.nn import BatchRenorm, ConvCodec, ConvNet
from hourglass.nn.processes import moments_of_processes
from hourglass.training import ResidentSource
from hourglass.training.objectives import Supervised
from hourglass.training.parallel import DataParallel, synchronised

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


def test_a_batch_without_masked_places_has_no_loss():
    """As in one process, where the mean of no numbers is NaN."""
    images = torch.rand(4, 1, 2, 2)
    objective = Supervised(nn.functional.mse_loss, lambda x: (x, torch.zeros_like(x, dtype=torch.bool)))
    parallel = object.__new__(DataParallel)  # a network is not needed
    _, share = parallel.part(ResidentSource(images, images), objective, torch.arange(4), 1)
    assert math.isnan(share)


def test_moments_count_exactly_and_take_processes_without_values(monkeypatch):
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda values: values)
    count = 2**24 + 1  # which float32 cannot hold
    found = moments_of_processes(count, torch.tensor([1.0]), torch.tensor([2.0 * count]))
    assert found[0] == count
    torch.testing.assert_close(found[1:], (torch.tensor([1.0]), torch.tensor([2.0])))
    count, mean, variance = moments_of_processes(0, torch.zeros(2), torch.zeros(2))
    assert count == 0
    assert mean.tolist() == variance.tolist() == [0, 0]


def test_moments_of_two_processes_are_those_of_all_values(monkeypatch):
    values = torch.tensor([[1e4, 1e4 + 1, 1e4 + 5], [1e4 + 2, 1e4 + 2, 1e4 - 7]])
    moments = [(part.mean(), (part - part.mean()).square().sum()) for part in (values[0, :2], values[1])]
    rows = torch.tensor([[2.0, *moments[0]], [3.0, *moments[1]]], dtype=torch.float64)
    monkeypatch.setattr("hourglass.nn.processes.total_of_processes", lambda own: rows)
    count, mean, variance = moments_of_processes(2, moments[0][0].view(1), moments[0][1].view(1))
    everything = torch.cat([values[0, :2], values[1]]).double()
    assert count == 5
    torch.testing.assert_close(mean.double(), everything.mean().view(1), rtol=1e-6, atol=0)
    torch.testing.assert_close(variance.double(), everything.var(unbiased=False).view(1), rtol=1e-6, atol=0)
