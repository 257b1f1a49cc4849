"""Batch normalisation over two processes equals that of one with the whole batch."""

import socket
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F

from hourglass.nn import NORMS, ConvNet, ManualBatchNorm, create_norm

pytestmark = pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="this PyTorch has no gloo")

BATCH, STEPS = 64, 3
NAMES = [name for name in NORMS if name != "none"]
PROGRAM = r"""
import sys, torch
from torch.nn.parallel import DistributedDataParallel
sys.path.insert(0, sys.argv[4])
from test_distributed import NAMES, examples, network, penalised, penalty_gradients, train, wrapped
rank, address, out, backend, first = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[5], int(sys.argv[6])
torch.distributed.init_process_group(backend, init_method=address, rank=rank, world_size=2)
device = "cpu" if backend == "gloo" else f"cuda:{rank}"
net = network().to(device)
images, labels = (part.to(device) for part in examples())
mine = slice(first) if rank == 0 else slice(first, None)
result = train(DistributedDataParallel(net), net, images[:, mine], labels[:, mine], processes=2)
result["penalty"] = penalty_gradients(*(part[mine] for part in penalised(device)), processes=2)
result["wrapped"] = {name: wrapped(name, mine, device, DistributedDataParallel) for name in NAMES}
torch.save(result, f"{out}/{rank}.pt")
torch.distributed.destroy_process_group()
"""


def network():
    net = ConvNet((28, 28, 1), 10, norm="batch-manual", norm_momentum=0.1).double()
    net.reset_parameters(torch.Generator().manual_seed(0))
    return net


def examples():
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(STEPS, BATCH, 1, 28, 28, generator=generator, dtype=torch.float64)
    return images, torch.randint(10, (STEPS, BATCH), generator=generator)


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


def penalised(device="cpu"):
    """Images, and what to weigh their outputs by."""
    generator = torch.Generator().manual_seed(2)
    return (torch.randn(BATCH, 3, 2, 2, generator=generator, dtype=torch.float64).to(device) for _ in range(2))


def penalty_gradients(x, weights, processes=1):
    """A gradient by the input, and the gradient of its penalty by input, scale and shift."""
    norm = ManualBatchNorm(3, device=x.device, dtype=torch.float64)
    x = x.clone().requires_grad_()
    [slope] = torch.autograd.grad((norm(x).tanh() * weights).sum(), x, create_graph=True)
    penalty = slope.pow(3).sum()
    second = torch.autograd.grad(penalty, [x, norm.weight, norm.bias])
    if processes > 1:  # each has its part of the sum over images
        for gradient in second[1:]:
            torch.distributed.all_reduce(gradient)
    return [slope.detach(), *second]


def wrapped(name, mine, device="cpu", wrap=lambda norm: norm):
    """Gradients of a normalisation that is wrapped for data-parallel training, by scale and shift."""
    x, weights = (part[mine] for part in penalised(device))
    norm = create_norm(name, 3).to(device).double()
    module = wrap(norm)  # which has to outlive the backward pass
    (module(x) * weights).sum().backward()
    return [p.grad for p in norm.parameters()]


@pytest.mark.parametrize(
    ("backend", "first"),
    [
        pytest.param("gloo", 32, marks=pytest.mark.slow),
        ("gloo", 63),
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
    errors = [process.communicate(timeout=600)[1] for process in started]
    assert [process.returncode for process in started] == [0, 0], errors
    net = network()
    expected = train(net, net, *examples())
    halves = [torch.load(tmp_path / f"{rank}.pt", weights_only=True, map_location="cpu") for rank in range(2)]
    torch.testing.assert_close((halves[0]["losses"] + halves[1]["losses"]) / 2, expected["losses"], rtol=0, atol=1e-6)
    for half in halves:
        for kind in ("gradients", "state"):
            for name, value in expected[kind].items():
                torch.testing.assert_close(half[kind][name], value, rtol=1e-6, atol=1e-6, msg=name)
    first_order, by_input, *by_parameters = penalty_gradients(*penalised())
    assert by_input.abs().max() > 0.1
    for place, expected in enumerate((first_order, by_input)):
        found = torch.cat([half["penalty"][place] for half in halves])
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    for half in halves:
        for found, expected in zip(half["penalty"][2:], by_parameters, strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    parts = [slice(first), slice(first, None)]
    for name in NAMES:
        # Written-out batch normalisation shares its moments; with others each process has its own.
        if name == "batch-manual":
            expected = [gradient / 2 for gradient in wrapped(name, slice(None))]
        else:
            expected = [sum(pair) / 2 for pair in zip(*(wrapped(name, part) for part in parts), strict=True)]
        for half in halves:
            for found, value in zip(half["wrapped"][name], expected, strict=True):
                torch.testing.assert_close(found, value, rtol=1e-9, atol=1e-9)
