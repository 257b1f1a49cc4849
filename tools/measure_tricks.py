"""Measures what each trick adds to each workload that it claims to make faster.

Usage: python tools/measure_tricks.py FOLDER_OF_MNIST [TRICK ...]

Ten minutes on two quiet cores. For each pair there are two processes, one with all tricks and one with a trick
switched off, which compute in turn, in alternating order. Writes the section "tricks" of benchmarks/results/own.json.
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
    words = [sys.executable, __file__, "--worker", folder, workload]
    workers = [
        subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"HOURGLASS_WITHOUT": without},
        )
        for without in ("", trick)
    ]
    try:
        for worker in workers:
            seconds_of(worker)  # warmed up
        ratios = []
        for number in range(PAIRS):
            order = (0, 1) if number % 2 else (1, 0)
            seconds = {which: seconds_of(workers[which]) for which in order}
            ratios.append(round(seconds[1] / seconds[0], 3))
        return ratios
    finally:
        for worker in workers:
            worker.kill()


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
    for _ in sys.stdin:
        print(compute(), flush=True)


def prepared(folder: str, workload: str) -> Callable[[], float]:
    """Return a function that computes a workload once and returns its seconds."""
    kind, name = workload.split()
    data = hg.load("mnist", folder)
    # As many images as one process needs, so that ten processes do not hold all of them.
    images, labels = data.train.images[:12_000], np.asarray(data.train.labels)[:12_000]
    n_steps = STEPS[name] if kind == "train" else 1
    estimator = EXPERIMENTS[name].configure("classic", n_steps=n_steps, report_every=10**6, precision="auto")
    estimator.set_params(random_state=0)
    given = (images, labels) if hasattr(estimator, "predict") else (images,)
    if kind == "train":

        def train() -> float:
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
