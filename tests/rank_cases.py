"""Small trainings in float64 on any number of processes, and how a test starts these processes."""

import functools
import os
import pickle
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import hourglass as hg
from hourglass import nn
from hourglass.data import Dataset
from hourglass.denoising import GaussianNoise
from hourglass.denoising.blindspot import BlindSpot
from hourglass.runtime import ranks
from hourglass.runtime.ending import FollowerError
from hourglass.runtime.launch import joined
from hourglass.runtime.launched import launched
from hourglass.runtime.ranks import LostProcessError
from hourglass.training import (
    LOSSES,
    Checkpoints,
    Interval,
    NeighborToNeighbor,
    Progress,
    Report,
    ResidentSource,
    Trainer,
)

IMAGES, BATCH, STEPS = 50, 13, 20
CASES = ("conv", "denoise", "blind", "neighbours", "batch-manual")


class StopError(Exception):
    pass


class Stopping(Progress):
    """Ends a training from outside, in the middle, in every process."""

    def __init__(self, after):
        self.after, self.resumed = after, 0

    def resume(self, step, n_steps):
        self.resumed = step

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
    """Losses of a training, what its network holds then, and the rows that it was given.

    If the training is stopped, only the step from which it had been resumed is returned.
    """
    training, rows = trainer(*arguments, **options), []
    training.module.register_forward_hook(lambda module, inputs, output: rows.append(len(inputs[0])))
    try:
        training.run()
    except StopError:
        return training.progress.resumed
    return training.history.loss, training.module.state_dict(), sum(rows)


def start(program, count, *arguments):
    """Start a program in several processes, as torchrun does."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    given = os.environ | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(count)}
    given |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    code = f"import sys, rank_cases; rank_cases.{program}(*sys.argv[1:])"
    return [
        subprocess.Popen(
            [sys.executable, "-c", code, *map(str, arguments)],
            env=given | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
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


def written_in(folder):
    """Paths in a folder that this process opens for writing from now on."""
    found = []

    def note(event, arguments):
        if event == "open" and str(arguments[0]).startswith(str(folder)) and arguments[2] & (os.O_WRONLY | os.O_RDWR):
            found.append(str(arguments[0]))

    sys.addaudithook(note)
    return found


def few():
    """A data set that is trained on in a blink."""
    whole = hg.load("sample")
    return Dataset("few", whole.train[:200], whole.test[:100], validation_size=50)


def run(folder):
    """An experiment whose runs are written."""
    return hg.run("dense", dataset=few(), n_steps=6, batch_size=21, checkpoint_every="2steps", out=folder / "runs")


def write_images(folder):
    """Six small images in the subfolder ``images``."""
    (folder / "images").mkdir(parents=True)
    for i, image in enumerate(few().train.images[:6]):
        Image.fromarray((image[..., 0] * 255).astype(np.uint8)).save(folder / "images" / f"{i}.png")


def train_images(folder):
    """A denoiser trained on a folder of images, and what was said of it."""
    said = []
    options = {"noise": 0.1, "begin_from": "scratch", "crop": 8, "n_crops": 64, "n_steps": 6, "say": said.append}
    parameters = {"widths": (4, 4, 8), "n_blocks": (1, 1, 1), "batch_size": 9, "validate_every": 2}
    model = hg.train_on_images(folder / "images", folder / "model", **options, parameters=parameters)
    return model, said


def classify(**parameters):
    """A small classifier of few images."""
    return hg.ConvClassifier(depth=2, **{"batch_size": 21} | parameters).fit(few().train.images, few().train.labels)


def refusal(**parameters):
    """Why a classifier cannot be trained."""
    with pytest.raises(ValueError, match="process") as refused:
        classify(n_steps=1, **parameters)
    return str(refused.value)


def train_all(folder):
    """All trainings from the beginning, and the second part of those that were stopped."""
    folder, place = Path(folder), launched()
    written = written_in(folder)
    with joined(place, timeout=60):
        whole = {case: train(case) for case in CASES}
        resumed = {case: train(case, folder / case, stop_after=14) for case in CASES}
        result, (model, said) = run(folder), train_images(folder)
        classifier = classify(norm="batch-manual", n_steps=5, validation_fraction=0.2)  # its seed is drawn
        local = classify(norm="batch-manual-local", random_state=0, n_steps=5)
        refused = [
            refusal(norm="batch"),
            refusal(norm="ghost"),
            refusal(norm="none", batch_size=place.processes - 1),
            refusal(norm="none", random_state=place.rank),
        ]
    found = {
        "trainings": whole,
        "resumed": resumed,
        "written": list(written),
        "run": (result.runs[0].history, result.scores, result.runs[0].environment["processes"]),
        "images": (model.history_, said, model.network_.state_dict()),
        "classifier": (classifier.history_, classifier.network_.state_dict()),
        "local": local.network_.state_dict(),
        "refused": refused,
    }
    (folder / f"rank-{place.rank}.pickle").write_bytes(pickle.dumps(found))


def fail(folder, how):
    """A training in which one process is killed or fails; what each is told is its last line."""
    place = launched()
    last = place.processes - 1
    try:
        with joined(place, timeout=20):
            training = trainer("conv", Path(folder), reports=[Report(lambda index, step: look(how, step, last), 4)])
            if place.rank == {"last": last, "first": 0}.get(how):
                training.progress = Calling(lambda step: step == 5 and os.kill(os.getpid(), signal.SIGKILL))
            if how == "all" or (how == "one" and place.rank == last):
                training.progress = Calling(lambda step: step == 5 and ValueError("no more"))
            if how == "signal" and place.rank == last:
                training.progress = Calling(lambda step: step == 5 and os.kill(os.getpid(), signal.SIGTERM))
            training.run()
    except FollowerError as error:
        sys.exit(error.exit_code)
    except KeyboardInterrupt as error:
        print(f"Interrupted: {error}", file=sys.stderr)
        sys.exit(143)
    except (LostProcessError, ValueError) as error:
        sys.exit(f"{type(error).__name__}: {error}")


def look(how, step, last):
    """A report that all processes make together; in the second one, a process is killed."""
    if how == "report" and ranks.rank() == last and step > 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return {"rank": float(sum(ranks.gathered(ranks.rank())))}


class Calling(Progress):
    """Calls a function after each step, and raises what it returns."""

    def __init__(self, function):
        self.function = function

    def advance(self, step, images_per_second, seconds_left):
        if isinstance(error := self.function(step), Exception):
            raise error


def run_and_die(arguments):
    """Run a command line under torchrun; rank 1 is killed in a step, unless torchrun has restarted it."""
    from hourglass import cli

    step, number = Trainer.step, int(os.environ["DIES_IN_STEP"])

    def dies(self, index):
        if self.state.step + 1 == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return step(self, index)

    if os.environ["RANK"] == "1" and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
        Trainer.step = dies
    return cli.main(arguments)


def torchrun(*words, count=2, restarts=0, dies_in_step=None, seconds=150):
    """Run a command line of hourglass in several processes; exit code, output and errors."""
    program = ["-m", "hourglass"] if dies_in_step is None else [__file__]
    started = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(count), "--standalone"),
            *("--max-restarts", str(restarts), *program, *map(str, words)),
        ],
        env=os.environ | {"OMP_NUM_THREADS": "1", "DIES_IN_STEP": str(dies_in_step)},
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    return started.returncode, started.stdout, started.stderr


if __name__ == "__main__":
    sys.exit(run_and_die(sys.argv[1:]))
