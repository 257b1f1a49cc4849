"""The page of scaling, from docs/results/scaling.json: what was measured, a model, and what it predicts."""

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from hourglass.lab.statistics import summarise_median
from hourglass.lab.study import markdown

RESULTS = Path(__file__).parents[1] / "docs" / "results"
TEXT = Path(__file__).parent / "scaling.md.in"
# Images for which the page counts what grows with them, and bytes of a step in the history of a checkpoint: its loss,
# its learning rate and its epoch.
BILLION, BYTES_OF_A_STEP = 10**9, 24
# Numbers of processes for which the model predicts, and the network that it assumes between hosts: 10 Gb/s and 50 µs.
PROCESSES = (1, 2, 4, 8, 16, 64, 256)
ASSUMED_BYTES, ASSUMED_LATENCY = 1.25e9, 50e-6
# Experiments whose inputs are noisy, so that every process draws the noise of the whole batch.
DRAWING = ("denoise",)
FLOAT = 4


@dataclass(frozen=True)
class Network:
    """What a sum over processes costs: seconds of one message, and bytes that a process sends in a second."""

    latency: float
    bandwidth: float

    @classmethod
    def fitted(cls, sums: Sequence[Sequence[float]], count: int) -> "Network":
        """Fit the measured sums of so many processes."""
        sizes, seconds = np.array(sums).T
        slope, _ = np.polyfit(FLOAT * sizes[-3:], seconds[-3:], 1)
        messages = 2 * (count - 1)
        return cls(float(seconds[0]) / messages, messages / count / float(slope))

    def sum_seconds(self, numbers: float, count: int) -> float:
        """Seconds of a sum of float32 numbers in a ring of processes: 2 (N - 1) messages of the N-th part."""
        return 2 * (count - 1) * (self.latency + FLOAT * numbers / count / self.bandwidth)


def predicted(training: Mapping[str, Any], draws: Mapping[str, float], network: Network, count: int) -> float:
    """Seconds of a step with the same batch in so many processes, as the page describes the model."""
    whole = float(training["parts"]["1"])
    smallest = max(map(int, training["parts"]))
    sizes = np.array([1 / int(part) for part in training["parts"]])
    times = np.array([float(seconds) for seconds in training["parts"].values()])
    order = np.argsort(sizes)
    computing = float(np.interp(1 / min(count, smallest), sizes[order], times[order]))
    drawing = float(training["batch"] * (1 - 1 / count) * (draws["noise"] if training["name"] in DRAWING else 0))
    if count == 1:
        return whole
    # The second is the agreement on checkpoints.
    sums = network.sum_seconds(training["parameters"], count) + network.sum_seconds(0, count)
    # Each normalisation adds up a count, a mean and a variance, and in the backward pass two sums of gradients.
    sums += 4 * training["synchronised normalisations"] * network.sum_seconds(1, count)
    return float(computing + drawing + sums)


def page() -> str:
    """The document."""
    document = json.loads((RESULTS / "scaling.json").read_text(encoding="utf-8"))
    draws, network, count = (
        document["draws"],
        Network.fitted(document["sums"], document["processes"]),
        document["processes"],
    )
    trainings = {name: each | {"name": name, "processes": count} for name, each in document["trainings"].items()}
    noisy = trainings[DRAWING[0]]
    computing, steps = float(noisy["parts"]["1"]) / noisy["batch"], BILLION / noisy["batch"]
    return Template(TEXT.read_text(encoding="utf-8")).substitute(
        machine=machine(document),
        measured=measured(trainings),
        travelling=travelling(trainings),
        predicted=prediction(trainings, draws, network, count),
        count=count,
        latency=f"{1e6 * network.latency:.0f}",
        bandwidth=f"{network.bandwidth / 1e9:.2f}",
        noise=f"{1e6 * draws['noise']:.1f}",
        computing=f"{1e6 * computing:,.0f}",
        balance=f"{computing / draws['noise']:.0f}",
        permuting=f"{BILLION * draws['order']:.0f}",
        steps=f"{steps / 1e6:.0f}",
        batch=noisy["batch"],
        history=f"{BYTES_OF_A_STEP * steps / 1e6:.0f}",
    )


def machine(document: Mapping[str, Any]) -> str:
    """Where it was measured."""
    where, rounds = document["environment"], len(next(iter(document["trainings"].values()))["all processes"])
    return (
        f"{document['processes']} processes on the {document['processes']} cores of one machine ({where['processor']}, "
        f"PyTorch {where['torch']}, gloo, one thread a process), and one process there, alternately, {rounds} times. "
        "*The same batch* is the strong scaling: each process computes its part of the experiment's batch. *A batch "
        "each* is the weak scaling: the batch is as many times as large. The numbers in brackets are 95% confidence "
        "intervals of the median. Nothing was measured on GPUs or between machines."
    )


def measured(trainings: Mapping[str, Any]) -> str:
    """Speeds of one and of all processes."""
    heads = ["experiment", "batch", "ms a step, one core", "all cores", "processes, the same batch"]
    lines = [[*heads, "times as fast as one core", "as all cores", "a batch each: times the images/s of one core"]]
    for name, each in trainings.items():
        one, cores = each["one process, one core"], each["one process, all cores"]
        every, weak = each["all processes"], each["all processes, whole batch each"]
        times = [f"{1000 * statistics.median(seconds):.1f}" for seconds in (one, cores, every)]
        images = [each["processes"] * single / several for single, several in zip(one, weak, strict=True)]
        lines.append(
            [
                f"`{name}`",
                str(each["batch"]),
                *times,
                interval([single / several for single, several in zip(one, every, strict=True)]),
                interval([single / several for single, several in zip(cores, every, strict=True)]),
                interval(images),
            ]
        )
    return markdown(lines)


def interval(ratios: Sequence[float]) -> str:
    """Median of paired ratios and its 95% interval, from order statistics."""
    return f"{summarise_median(ratios):.2f}"


def travelling(trainings: Mapping[str, Any]) -> str:
    """Size of what is added up in a step."""
    lines = [["experiment", "parameters", "bytes of gradients", "sums of batch normalisation"]]
    for name, each in trainings.items():
        size = each["parameters"]
        lines.append([f"`{name}`", f"{size:,}", f"{FLOAT * size:,}", f"{4 * each['synchronised normalisations']}"])
    return markdown(lines)


def prediction(trainings: Mapping[str, Any], draws: Mapping[str, float], network: Network, count: int) -> str:
    """Milliseconds of a step by the model, for numbers of processes, and what was measured."""
    assumed = Network(ASSUMED_LATENCY, ASSUMED_BYTES)
    heads = [f"{each} processes" if each > 1 else "1 process" for each in PROCESSES]
    lines = [["experiment", f"measured, {count} processes", "the model, the same", *heads]]
    for name, each in trainings.items():
        found = 1000 * statistics.median(each["all processes"])
        own = 1000 * predicted(each, draws, network, count)
        times = [
            f"{1000 * predicted(each, draws, assumed, number):.1f}" if number <= each["batch"] else "—"
            for number in PROCESSES
        ]
        lines.append([f"`{name}`", f"{found:.1f}", f"{own:.1f}", *times])
    return markdown(lines)
