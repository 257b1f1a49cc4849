"""What every contestant does: answer requests, one JSON line each, from a process of its own.

It runs in each contestant's own environment and so needs nothing but NumPy.
"""

import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

# Steps that are done before the clock starts; over the last few the loss is averaged.
WARMUP, LOSS_OVER = 20, 10
# Applying is repeated for so long; where it was, the first call does not count.
APPLY_SECONDS = 0.5
NOISE = 0.5


@dataclass(frozen=True)
class Workload:
    """One of the six trainings."""

    name: str
    batch: int
    learning_rate: float

    @property
    def classifies(self) -> bool:
        return self.name.startswith("bn-")

    @property
    def channels(self) -> tuple[int, int, int]:
        """Of the convolutional encoder; the decoder mirrors them."""
        return (32, 32, 16) if self.name == "denoise" else (16, 8, 8)


WORKLOADS = {
    workload.name: workload
    for workload in (
        *(Workload(name, 200, 0.001) for name in ("dense", "conv", "denoise")),
        *(Workload(name, 64, 0.002) for name in ("bn-none", "bn-layer", "bn-manual")),
    )
}


class Batches:
    """Shuffled batches of indices, each permutation to its end, as the tutorials' ``next_batch``."""

    def __init__(self, size: int, batch: int, seed: int) -> None:
        self.size, self.batch = size, batch
        self.random = np.random.default_rng(seed)
        self.left = np.empty(0, np.int64)

    def next(self) -> Any:
        """Indices of the next batch."""
        if len(self.left) < self.batch:
            self.left = np.concatenate([self.left, self.random.permutation(self.size)])
        index, self.left = self.left[: self.batch], self.left[self.batch :]
        return index


class Contestant:
    """One way to train and apply one of the networks; the derived ones say how."""

    def __init__(self, workload: Workload, data: dict[str, Any]) -> None:
        self.workload = workload
        self.images, self.labels, self.test = data["images"], data["labels"], data["test"]

    def train(self, steps: int, seed: int) -> tuple[float, float]:
        """Draw new weights, do the warm-up and then so many steps; seconds of these, mean loss of the last few."""
        self.reset(seed)
        losses = [self.step() for _ in range(WARMUP)]
        started = time.perf_counter()
        losses.extend(self.step() for _ in range(steps))
        seconds = time.perf_counter() - started
        return seconds, float(np.mean([float(loss) for loss in losses[-LOSS_OVER:]]))

    def reset(self, seed: int) -> None:
        """Draw new weights and begin the batches anew."""
        raise NotImplementedError

    def step(self) -> Any:
        """One step; its loss."""
        raise NotImplementedError

    def reconstruct(self, images: Any) -> Any:
        """Images ``(n, h, w, 1)`` float32 through the autoencoder, to outputs in [0, 1]."""
        raise NotImplementedError

    def encode(self, images: Any) -> Any:
        """Codes of images."""
        raise NotImplementedError

    def large(self, image: Any) -> Any:
        """One large image ``(h, w, 1)`` through the convolutional autoencoder."""
        return self.reconstruct(image[None])[0]


def timed(function: Callable[[Any], Any], given: Any) -> float:
    """Seconds of one call, its result brought to NumPy."""
    started = time.perf_counter()
    np.asarray(function(given))
    return time.perf_counter() - started


def peak_mb() -> float:
    """Most memory that this process has held; getrusage would count its parent's from before it began."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise OSError("/proc/self/status has no VmHWM")


def serve(make: Callable[[Workload, dict[str, Any]], Contestant]) -> None:
    """Answer requests from standard input until it ends; arguments: workload, file of data."""
    # What libraries print must not mix with the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    with np.load(sys.argv[2]) as stored:
        data = {
            "images": (stored["images"] / np.float32(255)).astype(np.float32)[..., None],
            "labels": np.eye(10, dtype=np.float32)[stored["labels"]],
            "test": (stored["test"] / np.float32(255)).astype(np.float32)[..., None],
        }
    contestant = make(WORKLOADS[sys.argv[1]], data)
    large = np.resize(data["test"][:, :, :, 0], (2000, 1504, 1)).astype(np.float32)
    for line in sys.stdin:
        request = json.loads(line)
        answer: dict[str, Any] = {}
        if request["do"] == "train":
            answer["seconds"], answer["loss"] = contestant.train(request["steps"], request["seed"])
        else:
            given = large if request["do"] == "large" else contestant.test
            method = getattr(contestant, request["do"])
            calls = [timed(method, given)]
            # One call of milliseconds would measure how the others' threads fall asleep.
            while sum(calls) < APPLY_SECONDS:
                calls.append(timed(method, given))
            answer["seconds"] = statistics.median(calls[1:] or calls)
        answer["peak_mb"] = peak_mb()
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
