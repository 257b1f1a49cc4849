"""Small trainings in float64 on any number of processes, and how a test starts these processes."""

import functools
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import torch

from hourglass import nn
from hourglass.denoising import GaussianNoise
from hourglass.denoising.blindspot import BlindSpot
from hourglass.runtime.launch import joined
from hourglass.runtime.launched import launched
from hourglass.runtime.ranks import LostProcessError
from hourglass.training import LOSSES, Checkpoints, Interval, NeighborToNeighbor, Progress, ResidentSource, Trainer

IMAGES, BATCH, STEPS = 50, 13, 20
CASES = ("conv", "denoise", "blind", "neighbours", "batch-manual")


class StopError(Exception):
    pass


class Stopping(Progress):
    """Ends a training from outside, in the middle, in every process."""

    def __init__(self, after):
        self.after = after

    def advance(self, step, images_per_second, seconds_left):
        if step == self.after:
            raise StopError


def trainer(case, folder=None, stop_after=None, reports=()):
    """A training, each time the same one."""
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(IMAGES, 1, 12, 12, generator=generator, dtype=torch.float64)
    objective, corrupt, loss, noise = None, None, "mse", torch.Generator().manual_seed(3)
    source = ResidentSource(images)
    network = nn.ConvCodec((12, 12, 1), (4, 4)).double()
    if case == "batch-manual":
        labels = torch.eye(10, dtype=torch.float64)[torch.randint(10, (IMAGES,), generator=generator)]
        weights = 0.5 + torch.rand(IMAGES, generator=generator, dtype=torch.float64)
        source, loss = ResidentSource(images, labels, weights / weights.mean()), "softmax"
        network = nn.ConvNet((12, 12, 1), 10, depth=3, norm="batch-manual", norm_momentum=0.1).double()
    elif case == "denoise":
        corrupt = functools.partial(GaussianNoise((0.1, 0.4)), generator=noise)
    elif case == "blind":
        corrupt = BlindSpot(noise)
    elif case == "neighbours":
        objective = NeighborToNeighbor(LOSSES["mse"], noise)
    network.reset_parameters(torch.Generator().manual_seed(2))
    return Trainer(
        network,
        LOSSES[loss],
        torch.optim.SGD(network.parameters(), 0.1, momentum=0.9),
        source,
        sampler=source.order(BATCH, torch.Generator().manual_seed(4)),
        n_steps=STEPS,
        corrupt=corrupt,
        objective=objective,
        generators=[noise],
        reports=reports,
        checkpoints=None if folder is None else Checkpoints(folder, {"case": case}, Interval(3, "steps")),
        progress=None if stop_after is None else Stopping(stop_after),
    )


def train(*arguments, **options):
    """Losses of a training and the weights and statistics that it ends with; where it is stopped, None."""
    training = trainer(*arguments, **options)
    try:
        training.run()
    except StopError:
        return None
    return training.history.loss, training.module.state_dict()


def start(program, count, folder, **environment):
    """Start a program in several processes, as torchrun does; the folder gets what each returned."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    given = os.environ | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(count)}
    given |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    code = f"import sys, rank_cases; rank_cases.{program}(*sys.argv[1:])"
    return [
        subprocess.Popen(
            [sys.executable, "-c", code, str(folder)],
            env=given | {"RANK": str(rank), "LOCAL_RANK": str(rank)} | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(count)
    ]


def finish(processes, seconds=120):
    """Wait for processes; their exit codes, and what they wrote to standard error."""
    try:
        errors = [process.communicate(timeout=seconds)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [process.returncode for process in processes], errors


def train_all(folder):
    """All trainings from the beginning, and the second part of those that were stopped."""
    place = launched()
    with joined(place, timeout=60):
        whole = {case: train(case) for case in CASES}
        for case in CASES:
            train(case, Path(folder) / case, stop_after=14)
    torch.save(whole, Path(folder) / f"rank-{place.rank}.pt")


class Dying(Progress):
    """Kills this process in the middle of a training."""

    def advance(self, step, images_per_second, seconds_left):
        if step == 5:
            os.kill(os.getpid(), signal.SIGKILL)


def die(folder):
    """A training in which the last process is killed; the others print what they are told."""
    place = launched()
    try:
        with joined(place, timeout=20):
            training = trainer("conv", Path(folder))
            if place.rank == place.processes - 1:
                training.progress = Dying()
            training.run()
    except LostProcessError as error:
        sys.exit(f"{type(error).__name__}: {error}")
