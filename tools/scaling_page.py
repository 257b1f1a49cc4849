"""The page of scaling, from docs/results: what was measured, a model, and what it predicts."""

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
CHANNELS = "channels of synchronised normalisations"


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
    whole = float(statistics.median(training["one process, one core"]))
    smallest = max(map(int, training["parts"]))
    sizes = np.array([1 / int(part) for part in training["parts"]])
    # The parts were measured at another time than what is compared with the model.
    pace = whole / float(training["parts"]["1"])
    times = pace * np.array([float(seconds) for seconds in training["parts"].values()])
    order = np.argsort(sizes)
    computing = float(np.interp(1 / min(count, smallest), sizes[order], times[order]))
    drawing = float(training["batch"] * (1 - 1 / count) * (draws["noise"] if training["name"] in DRAWING else 0))
    if count == 1:
        return whole
    # The second is the agreement on checkpoints.
    sums = network.sum_seconds(training["parameters"], count) + network.sum_seconds(0, count)
    for channels in training[CHANNELS]:  # the moments of all processes, in numbers of eight bytes, and the gradients
        sums += network.sum_seconds(2 * count * (2 * channels + 1), count) + network.sum_seconds(2 * channels, count)
    return float(computing + drawing + sums)


def page() -> str:
    """The document."""
    document = json.loads((RESULTS / "scaling.json").read_text(encoding="utf-8"))
    draws, network, count = (
        document["draws"],
        Network.fitted(document["sums"], document["processes"]),
        document["processes"],
    )
    stored = json.loads((RESULTS / "zarr.json").read_text(encoding="utf-8"))
    trainings = {name: each | {"name": name, "processes": count} for name, each in document["trainings"].items()}
    noisy = trainings[DRAWING[0]]
    computing, steps = statistics.median(noisy["one process, one core"]) / noisy["batch"], BILLION / noisy["batch"]
    return Template(TEXT.read_text(encoding="utf-8")).substitute(
        machine=machine(document),
        conclusion=conclusion(trainings),
        measured=measured(trainings),
        zarr_machine=zarr_machine(stored),
        zarr=zarr_memory(stored),
        zarr_reads=zarr_reads(stored),
        zarr_ratio=zarr_ratio(stored["speeds"]),
        travelling=travelling(trainings),
        agreement=agreement(trainings, draws, network, count),
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
    count = document["processes"]
    return (
        f"{count} processes on the {count} cores of one machine ({where['processor']}, PyTorch {where['torch']}, gloo, "
        f"one thread a process) were compared with one process on the same machine, in turn, {rounds} times. In strong "
        "scaling the processes share the experiment's batch; in weak scaling the batch is "
        f"{count} times as large. The brackets contain confidence intervals of the median, with a level of at least "
        "95%. Nothing was measured on GPUs or between machines."
    )


def measured(trainings: Mapping[str, Any]) -> str:
    """Speeds of one and of all processes."""
    count = next(iter(trainings.values()))["processes"]
    heads = ["experiment", "batch", "1 process, 1 thread (ms a step)", f"1 process, {count} threads (ms a step)"]
    heads += [f"{count} processes (ms a step)", "speed-up over 1 thread", f"speed-up over {count} threads"]
    lines = [[*heads, "weak scaling: speed-up in images a second"]]
    for name, each in trainings.items():
        one, cores = each["one process, one core"], each["one process, all cores"]
        every, weak = each["all processes"], each["all processes, whole batch each"]
        times = [f"{1000 * statistics.median(seconds):.1f}" for seconds in (one, cores, every)]
        speed_ups = [paired(one, every), paired(cores, every), [count * ratio for ratio in paired(one, weak)]]
        lines.append([f"`{name}`", str(each["batch"]), *times, *map(interval, speed_ups)])
    return markdown(lines)


def conclusion(trainings: Mapping[str, Any]) -> str:
    """What the speeds say."""
    count = next(iter(trainings.values()))["processes"]
    speed_ups = {
        kind: listed(
            {name: statistics.median(paired(each[kind], each["all processes"])) for name, each in trainings.items()}
        )
        for kind in ("one process, one core", "one process, all cores")
    }
    return (
        f"The speed-up of {count} processes over one process with one thread was {speed_ups['one process, one core']}. "
        f"Over one process with {count} threads it was {speed_ups['one process, all cores']}."
    )


def paired(slower: Sequence[float], faster: Sequence[float]) -> list[float]:
    """Ratios of times that were measured in turn."""
    return [one / other for one, other in zip(slower, faster, strict=True)]


def listed(factors: Mapping[str, float]) -> str:
    """Factors of experiments, in words."""
    return ", ".join(f"{factor:.2f} (`{name}`)" for name, factor in factors.items())


def interval(ratios: Sequence[float]) -> str:
    """Median of paired ratios and its 95% interval, from order statistics."""
    return f"{summarise_median(ratios):.2f}"


def zarr_machine(document: Mapping[str, Any]) -> str:
    """Where it was measured, and the Zarr."""
    return (
        f"`tools/measure_zarr.py` packed {document['files']:,} generated files into a Zarr of "
        f"{document['images']:,} images of 28 × 28 pixels ({document['bytes'] / 1e9:.1f} GB), and trained on "
        f"{document['cores']} cores ({document['processor']}, PyTorch {document['torch']})."
    )


def zarr_memory(document: Mapping[str, Any]) -> str:
    """Highest memory of each training."""
    lines = [["experiment", "training", "Zarr on", "peak memory (MB)"]]
    for place, trainings in (("disk", document), ("S3", document["s3"])):
        for name, what in (("dense", "one pass, "), ("denoise", "")):
            each = trainings[name]
            lines.append([f"`{name}`", f"{what}{each['training_seconds']:.0f} s", place, str(each["peak_pss_mb"])])
    return markdown(lines)


def zarr_reads(document: Mapping[str, Any]) -> str:
    """How often the blocks were read."""
    for each in (document["dense"], document["s3"]["dense"]):
        if each["reads"] != {"1": each["blocks"]}:
            raise SystemExit(f"a pass of dense read blocks more or less than once: {each['reads']}")
    blocks = document["dense"]["blocks"]
    return f"In one pass of `dense`, each of the {blocks} blocks was read once, from the disk and from S3."


def zarr_ratio(speeds: Mapping[str, Any]) -> str:
    """Speed from the disk and from memory."""
    ratios = paired(speeds["denoise"], speeds["resident"])
    return (
        f"From the disk, `denoise` trained at {interval(ratios)} times the speed that it had on 60,000 images in "
        f"memory: this is the median of {len(ratios)} pairs of trainings, measured in turn."
    )


def travelling(trainings: Mapping[str, Any]) -> str:
    """Size of what is added up in a step."""
    lines = [["experiment", "parameters", "bytes of gradients", "sums of batch normalisation"]]
    for name, each in trainings.items():
        size = each["parameters"]
        lines.append([f"`{name}`", f"{size:,}", f"{FLOAT * size:,}", f"{2 * len(each[CHANNELS])}"])
    return markdown(lines)


def agreement(trainings: Mapping[str, Any], draws: Mapping[str, float], network: Network, count: int) -> str:
    """How much longer steps take than the model says."""
    found = {
        name: statistics.median(each["all processes"]) / predicted(each, draws, network, count)
        for name, each in trainings.items()
    }
    return f"steps took longer than the model says by the factors {listed(found)}"


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
