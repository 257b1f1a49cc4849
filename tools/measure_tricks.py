"""Measures what each trick adds to each workload that it claims to make faster.

Usage: python tools/measure_tricks.py FOLDER_OF_MNIST [TRICK ...]

Twenty minutes on two quiet cores. For each pair there are two processes, one with all tricks and one with a trick
switched off, which compute in turn, in alternating order. They are warm, but for the workloads "first": these are the
first training of a process, which keeps the data set. Writes the section "tricks" of benchmarks/results/own.json.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import hourglass as hg
from hourglass.experiments import EXPERIMENTS

OUT = Path(__file__).parents[1] / "benchmarks" / "results" / "own.json"
PAIRS = 20
# Steps of one measurement of training; images of one of inference.
STEPS = {"conv": 60, "denoise": 40, "bn-none": 60, "bn-layer": 60, "bn-manual": 40}
IMAGES = {"conv": 4_000, "denoise": 2_000, "bn-layer": 4_000}
LARGE = (1504, 2000)  # height and width
REPEATED = 3  # calls in one measurement of inference
CLAIMS = {
    "allocator": ["first conv", "first denoise"],
    "few-outputs": ["train conv", "train denoise"],
    "one-pixel": ["train bn-none", "apply bn-layer"],
    "output-phases": ["apply conv", "large conv"],
    "pieces": ["large conv"],
    "pool-pairs": ["apply conv", "apply denoise", "large conv"],
    "upsample-phases": ["train denoise"],
}


def main() -> None:
    """Measure the tricks that are named, by default all, and put them in place of what was there."""
    if sys.argv[1] == "--worker":
        work(sys.argv[2], sys.argv[3])
        return
    folder, *wanted = sys.argv[1:]
    document = json.loads(OUT.read_text(encoding="utf-8"))
    for trick in wanted or CLAIMS:
        for workload in CLAIMS[trick]:
            ratios = gains(folder, workload, trick)
            document["tricks"].setdefault(workload, {})[trick] = ratios
            OUT.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
            print(f"{trick:16} {workload:15} {statistics.median(ratios):.3f}", flush=True)


def gains(folder: str, workload: str, trick: str) -> list[float]:
    """Seconds without a trick as multiples of those with it, one number for each pair."""
    first = workload.startswith("first")
    workers: list[Any] = []
    ratios = []
    try:
        for number in range(PAIRS):
            if first or not workers:
                stop(workers)
                workers = [begun(folder, workload, without) for without in ("", trick)]
                for worker in () if first else workers:
                    seconds_of(worker)  # warmed up
            order = (0, 1) if number % 2 else (1, 0)
            seconds = {which: seconds_of(workers[which]) for which in order}
            ratios.append(round(seconds[1] / seconds[0], 3))
        return ratios
    finally:
        stop(workers)


def begun(folder: str, workload: str, without: str) -> Any:
    """A process that is ready to compute a workload."""
    worker = subprocess.Popen(
        [sys.executable, __file__, "--worker", folder, workload],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"HOURGLASS_WITHOUT": without},
    )
    if worker.stdout is None or worker.stdout.readline() != "ready\n":
        raise SystemExit("measure_tricks: a process ended; its error is above")
    return worker


def stop(workers: list[Any]) -> None:
    """End processes."""
    for worker in workers:
        worker.kill()
        worker.wait()


def seconds_of(worker: Any) -> float:
    """Have a process compute once."""
    worker.stdin.write("\n")
    worker.stdin.flush()
    line = worker.stdout.readline()
    if not line:
        raise SystemExit("measure_tricks: a process ended; its error is above")
    return float(line)


def work(folder: str, workload: str) -> None:
    """Compute once for each line of the standard input, and print the seconds."""
    compute = prepared(folder, workload)
    print("ready", flush=True)
    for _ in sys.stdin:
        print(compute(), flush=True)


def prepared(folder: str, workload: str) -> Callable[[], float]:
    """Return a function that computes a workload once and returns its seconds."""
    kind, name = workload.split()
    data = hg.load("mnist", folder)
    # As many images as one process needs, so that ten processes do not hold all of them.
    images, labels = data.train.images[:12_000], np.asarray(data.train.labels)[:12_000]
    n_steps = STEPS[name] if kind in ("train", "first") else 1
    estimator = EXPERIMENTS[name].configure("classic", n_steps=n_steps, report_every=10**6, precision="auto")
    estimator.set_params(random_state=0)
    given = (images, labels) if hasattr(estimator, "predict") else (images,)
    if kind in ("train", "first"):

        def train(_: Any = data) -> float:
            # The data set stays: glibc keeps more of what is freed once a tensor of its size was freed.
            return float(estimator.fit(*given).train_seconds_)

        return train
    estimator.fit(*given)
    if kind == "large":
        rows = np.tile(images[0], (LARGE[0] // 28 + 1, LARGE[1] // 28 + 1, 1))[None, : LARGE[0], : LARGE[1]]
    else:
        rows = images[: IMAGES[name]]
    apply = estimator.predict if hasattr(estimator, "predict") else estimator.reconstruct

    def infer() -> float:
        started = time.perf_counter()
        for _ in range(REPEATED):
            apply(rows)
        return time.perf_counter() - started

    return infer


if __name__ == "__main__":
    main()
