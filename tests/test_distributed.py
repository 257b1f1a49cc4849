"""Batch normalisation over two processes equals that of one with the whole batch."""

import socket
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F

from hourglass.nn import ConvNet

pytestmark = pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="this PyTorch has no gloo")

BATCH, UPDATES = 64, 3
PROGRAM = r"""
import sys, torch
from torch.nn.parallel import DistributedDataParallel
sys.path.insert(0, sys.argv[4])
from test_distributed import BATCH, examples, network, train
rank, address, out, backend, first = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[5], int(sys.argv[6])
torch.distributed.init_process_group(backend, init_method=address, rank=rank, world_size=2)
device = "cpu" if backend == "gloo" else f"cuda:{rank}"
net = network().to(device)
images, labels = (part.to(device) for part in examples())
mine = slice(first) if rank == 0 else slice(first, None)
result = train(DistributedDataParallel(net), net, images[:, mine], labels[:, mine], processes=2)
torch.save(result, f"{out}/{rank}.pt")
torch.distributed.destroy_process_group()
"""


def network():
    net = ConvNet((28, 28, 1), 10, norm="manual", norm_momentum=0.1).double()
    net.reset_parameters(torch.Generator().manual_seed(0))
    return net


def examples():
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(UPDATES, BATCH, 1, 28, 28, generator=generator, dtype=torch.float64)
    return images, torch.randint(10, (UPDATES, BATCH), generator=generator)


def train(module, net, images, labels, processes=1):
    """Losses, last gradients, and what the network then holds; an image weighs the same in either process."""
    module.train()
    optimiser, losses = torch.optim.SGD(net.parameters(), 0.1), []
    for x, y in zip(images, labels, strict=True):
        optimiser.zero_grad()
        loss = F.cross_entropy(module(x), y, reduction="sum") * processes / BATCH
        loss.backward()
        optimiser.step()
        losses.append(loss.detach())
    return {
        "losses": torch.stack(losses),
        "gradients": {name: p.grad for name, p in net.named_parameters()},
        "state": net.state_dict(),
    }


@pytest.mark.parametrize(
    ("backend", "first"),
    [
        ("gloo", 32),
        ("gloo", 40),
        pytest.param("nccl", 32, marks=pytest.mark.skipif(torch.cuda.device_count() < 2, reason="NCCL needs two GPUs")),
    ],
)
def test_two_processes_of_a_part_of_the_batch_equal_one_with_the_whole(backend, first, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    tests = __file__.rpartition("/")[0]
    started = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(rank), address, tmp_path, tests, backend, str(first)],
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    errors = [process.communicate(timeout=120)[1] for process in started]
    assert [process.returncode for process in started] == [0, 0], errors
    net = network()
    expected = train(net, net, *examples())
    halves = [torch.load(tmp_path / f"{rank}.pt", weights_only=True, map_location="cpu") for rank in range(2)]
    torch.testing.assert_close((halves[0]["losses"] + halves[1]["losses"]) / 2, expected["losses"], rtol=0, atol=1e-6)
    for half in halves:
        for kind in ("gradients", "state"):
            for name, value in expected[kind].items():
                torch.testing.assert_close(half[kind][name], value, rtol=1e-6, atol=1e-6, msg=name)
