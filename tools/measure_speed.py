"""Measures what docs/benchmarks.md says of this package alone: quality, growth, start-up.

Usage: python tools/measure_speed.py FOLDER_OF_MNIST [SECTION ...]

Ten minutes on two cores. Writes benchmarks/results/own.json.
"""

import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import hourglass as hg
from hourglass.data import Dataset
from hourglass.experiments import EXPERIMENTS
from hourglass.experiments.noise import noise_level, test_inputs
from hourglass.runtime import tricks
from hourglass.training import Checkpoints, Interval

OUT = Path(__file__).parents[1] / "benchmarks" / "results" / "own.json"
ROUNDS, SEEDS = 5, 5
# Shortened, so that five seeds with and without take minutes.
QUALITY = {"dense": 400, "conv": 250, "denoise": 150, "bn-none": 200, "bn-layer": 200, "bn-manual": 200}
MEASURE = {"dense": "test_bce", "conv": "test_bce", "denoise": "test_bce"}
CLASSIC_SEEDS = 3


def main() -> None:
    """Measure the sections that are named, by default all, and put them in place of what was there."""
    folder, *wanted = sys.argv[1:]
    data = hg.load("mnist", folder)
    sections: dict[str, Callable[[], Any]] = {
        "startup": startup,
        "growth": lambda: growth(folder),
        "time": lambda: time_to_quality(data),
        "quality": quality,
        "checkpoints": lambda: checkpoints(data),
    }
    document = json.loads(OUT.read_text(encoding="utf-8")) if OUT.exists() else {}
    for name in wanted or sections:
        document[name] = sections[name]()
        OUT.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def startup() -> dict[str, list[float]]:
    """Processor seconds of the help, and of importing the package, each a process of its own."""
    commands = {"hourglass --help": ["-m", "hourglass", "--help"], "import hourglass": ["-c", "import hourglass"]}
    found: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(ROUNDS):
        for name, words in commands.items():
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            found[name].append(round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 3))
    return found


GROWTH = r"""
import re, sys
import hourglass as hg
images = hg.load("mnist", sys.argv[1]).train.images[: int(sys.argv[2])]
width = int(sys.argv[3])
channels = tuple(width * count for count in (16, 8, 8))
ae = hg.ConvAutoencoder(channels=channels, epochs=float(sys.argv[4]), batch_size=200, loss="bce", random_state=0)
hg.ConvAutoencoder(channels=channels, n_steps=20, batch_size=200, random_state=0).fit(images)  # done once
ae.fit(images)
# getrusage would count the memory that the parent held when this process began.
peak = re.search(r"VmHWM:\s*(\d+)", open("/proc/self/status").read())
print(ae.train_seconds_, int(peak[1]) / 1024)
"""


def growth(folder: str) -> dict[str, list[list[float]]]:
    """Seconds and peak memory (MB) of a process: passes over 1, 4, 16 times the images; 1, 2, 4 times the channels."""
    found: dict[str, list[list[float]]] = {"images": [], "channels": []}
    for kind, settings in (
        ("images", [(60_000 // times, 1, 1.0) for times in (16, 4, 1)]),
        ("channels", [(15_000, times, 1.0) for times in (1, 2, 4)]),
    ):
        for images, width, epochs in settings:
            words = [sys.executable, "-c", GROWTH, folder, str(images), str(width), str(epochs)]
            runs = [
                [float(number) for number in subprocess.run(words, check=True, capture_output=True).stdout.split()]
                for _ in range(3)
            ]
            found[kind].append(
                [float(images), float(width), *(statistics.median(column) for column in zip(*runs, strict=True))]
            )
            print(kind, found[kind][-1], flush=True)
    return found


def checkpoints(data: Dataset) -> dict[str, dict[str, float]]:
    """Share of the time to train that a checkpoint every 2 s takes, and seconds of one."""
    found = {}
    for name, n_steps in (("dense", 12_000), ("conv", 500), ("denoise", 250), ("bn-manual", 400)):
        costs, saves = [], []
        for number in range(-1, 3):
            seconds = []
            for every in (None, "2s"):
                estimator = EXPERIMENTS[name].configure(
                    "classic", n_steps=n_steps, report_every=10**6, precision="auto"
                )
                estimator.set_params(random_state=0)
                with tempfile.TemporaryDirectory() as folder:
                    if every:
                        estimator.set_params(checkpoint_dir=folder, checkpoint_every=every)
                    fit(estimator, data)
                    seconds.append(estimator.train_seconds_)
                    if every:
                        saves.append(_seconds_of_a_save(folder))
            if number >= 0:
                costs.append(seconds[1] / seconds[0] - 1)
        found[name] = {
            "cost": round(statistics.median(costs), 4),
            "smallest": round(min(costs), 4),
            "largest": round(max(costs), 4),
            "save_seconds": round(statistics.median(saves), 4),
        }
        print(name, found[name], flush=True)
    return found


def _seconds_of_a_save(folder: str) -> float:
    """Read the newest checkpoint, and write it again."""
    path = max(Path(folder).glob("checkpoint-*.json"))
    document = json.loads(path.read_text(encoding="utf-8"))
    again = Checkpoints(folder, document["identity"], Interval(1))
    state = again.load()
    if state is None:
        raise SystemExit(f"measure_speed: {folder} holds no checkpoint")
    started = time.perf_counter()
    again.save(document["step"] + 1, *state)
    return time.perf_counter() - started


def fit(estimator: Any, data: Dataset) -> None:
    """Train on images, and their labels where they are wanted."""
    if hasattr(estimator, "predict"):
        estimator.fit(data.train.images, data.train.labels)
    else:
        estimator.fit(data.train.images)


def quality() -> dict[str, dict[str, list[float]]]:
    """The experiments' own scores over seeds: all tricks and ``auto`` precision, against none and float32."""
    found: dict[str, dict[str, list[float]]] = {}
    for name, n_steps in QUALITY.items():
        measure = MEASURE.get(name, "test_accuracy")
        scores: dict[str, list[float]] = {}
        for kind, precision in (("with", "auto"), ("without", "float32")):
            with nullcontext() if kind == "with" else tricks.without():
                result = hg.run(name, recipe="fast", seeds=range(SEEDS), n_steps=n_steps, precision=precision)
            scores[kind] = list(result.scores[measure])
        found[name] = {**scores, "steps": [float(n_steps)]}
        print(name, scores, flush=True)
    return found


def time_to_quality(data: Dataset) -> dict[str, dict[str, list[float]]]:
    """Training seconds and test loss of the fast recipe on full MNIST."""
    found: dict[str, dict[str, list[float]]] = {}
    for name in MEASURE:
        numbers: dict[str, list[float]] = {"seconds": [], "test_bce": []}
        for seed in range(CLASSIC_SEEDS):
            estimator: Any = EXPERIMENTS[name].configure("fast", precision="auto")
            estimator.set_params(random_state=seed).fit(data.train.images)
            given = test_inputs(data, noise_level(estimator))
            numbers["seconds"].append(estimator.train_seconds_)
            numbers["test_bce"].append(float(hg.metrics.bce(data.test.images, estimator.reconstruct(given))))
        found[name] = numbers
        print(name, found[name], flush=True)
    return found


if __name__ == "__main__":
    main()
