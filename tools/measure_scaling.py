"""Measures how training scales over the processes of one machine, and what the model in docs/scaling.md needs.

Usage: python tools/measure_scaling.py [--rounds N] [--steps-scale FACTOR] [--out FILE]

About 20 minutes on two cores that do nothing else. Writes docs/results/scaling.json.
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from sklearn.base import clone

import hourglass as hg
from hourglass.data import Dataset
from hourglass.denoising import GaussianNoise
from hourglass.experiments import EXPERIMENTS
from hourglass.experiments.environment import environment
from hourglass.runtime import ranks
from hourglass.runtime.launch import joined
from hourglass.runtime.launched import launched

OUT = Path(__file__).parents[1] / "docs" / "results" / "scaling.json"
ROUNDS = 20
# Steps of each training after the 20 that are not counted, long enough for a second or more.
STEPS = {"dense": 300, "conv": 15, "denoise": 10, "bn-manual": 12}
WARMUP = 20
# Parts of the batch whose time alone gives the time of computation by the number of images.
PARTS = (1, 2, 4, 8, 16)
# Numbers of float32 in the sums over processes that are timed, and how often each is.
SIZES, REPEATS = (1, 1_000, 30_000, 100_000, 300_000, 1_000_000, 4_000_000), 50


def main() -> None:
    """Start one process for each core, and write what that of rank 0 measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--steps-scale", type=float, default=1.0)
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    place = launched()
    if place is None:
        _start(os.cpu_count() or 1)
        return
    with joined(place):
        steps = {name: max(1, round(count * given.steps_scale)) for name, count in STEPS.items()}
        data = hg.load("sample")
        found = {
            "trainings": {name: _training(name, data, count, given.rounds) for name, count in steps.items()},
            "sums": _sums(),
            "draws": ranks.on_first(lambda: _draws(data)),
            "environment": ranks.on_first(lambda: environment(_estimator("dense", 1).fit(data.train.images))),
            "processes": place.processes,
        }
        if place.rank == 0:
            given.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def _start(count: int) -> None:
    """Start this program once for each core."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    given = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(count), "OMP_NUM_THREADS": "1"}
    started = [
        subprocess.Popen(
            [sys.executable, *sys.argv], env=os.environ | given | {"RANK": str(rank), "LOCAL_RANK": str(rank)}
        )
        for rank in range(count)
    ]
    codes = [process.wait() for process in started]
    if any(codes):
        raise SystemExit(f"the processes ended with the exit codes {codes}")


def _estimator(name: str, n_steps: int, factor: float = 1) -> Any:
    """Estimator of an experiment with a part or a multiple of its batch, which reports at the ends alone."""
    configured = EXPERIMENTS[name].configure("classic", n_steps=n_steps, report_every=10**9)
    estimator = clone(configured).set_params(random_state=0, patience=None, validation_fraction=None)
    return estimator.set_params(batch_size=max(1, round(estimator.batch_size * factor)))


def _seconds(name: str, data: Dataset, steps: int, factor: float = 1) -> float:
    """Seconds of a training step, without reports and without the first steps."""
    estimator = _fitted(name, data, WARMUP + steps, factor)
    return float(estimator.batch_size / estimator.images_per_second_)


def _fitted(name: str, data: Dataset, n_steps: int, factor: float = 1) -> Any:
    estimator = _estimator(name, n_steps, factor)
    with tempfile.TemporaryDirectory() as folder:
        # With checkpoints, as runs have them, the processes agree in every step on whether one is due.
        estimator.set_params(checkpoint_dir=folder, checkpoint_every="never")
        return _fit(estimator, data)


def _fit(estimator: Any, data: Dataset) -> Any:
    if estimator.task == "classification":
        return estimator.fit(data.train.images, data.train.labels)
    return estimator.fit(data.train.images)


def _training(name: str, data: Dataset, steps: int, rounds: int) -> dict[str, Any]:
    """Seconds of a step in one process and in all, alternately; and of parts of a batch in one process."""
    count = ranks.count()
    found: dict[str, Any] = {
        "batch": _estimator(name, 1).batch_size,
        "one process, one core": [],
        "one process, all cores": [],
        "all processes": [],
        "all processes, whole batch each": [],
    }

    def alone(threads: int) -> float:
        torch.set_num_threads(threads)
        try:
            return _seconds(name, data, steps)
        finally:
            torch.set_num_threads(1)

    for _ in range(rounds):
        found["one process, one core"].append(ranks.on_first(lambda: alone(1)))
        found["all processes"].append(_seconds(name, data, steps))
        found["one process, all cores"].append(ranks.on_first(lambda: alone(count)))
        found["all processes, whole batch each"].append(_seconds(name, data, steps, count))
    found["parts"] = ranks.on_first(
        lambda: {part: statistics.median(_seconds(name, data, steps, 1 / part) for _ in range(3)) for part in PARTS}
    )
    network = _fitted(name, data, 1).network_
    found["parameters"] = sum(p.numel() for p in network.parameters())
    layers = [each for each in network.modules() if getattr(each, "synchronised", False)]
    found["channels of synchronised normalisations"] = [each.num_features for each in layers]
    return found


def _sums() -> list[list[float]]:
    """Numbers of float32 and median seconds of their sum over all processes."""
    found = []
    for size in SIZES:
        values, times = torch.zeros(size), []
        for _ in range(REPEATS):
            ranks.greatest(0)
            begun = time.perf_counter()
            ranks.total(values)
            times.append(time.perf_counter() - begun)
        found.append([size, statistics.median(times)])
    return found


def _draws(data: Dataset) -> dict[str, float]:
    """Seconds for each image of what every process does for all images: drawing their noise and their order."""
    images, generator = torch.from_numpy(data.train.images[:1000]).permute(0, 3, 1, 2), torch.Generator().manual_seed(0)
    noise, permutation = GaussianNoise(0.4), 1_000_000
    return {
        "noise": _median(lambda: noise(images, generator)) / len(images),
        "order": _median(lambda: torch.randperm(permutation, generator=generator)) / permutation,
    }


def _median(function: Callable[[], object]) -> float:
    times = []
    for _ in range(REPEATS):
        begun = time.perf_counter()
        function()
        times.append(time.perf_counter() - begun)
    return statistics.median(times)


if __name__ == "__main__":
    main()
