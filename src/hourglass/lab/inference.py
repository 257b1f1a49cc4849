"""bn-inference: single images by their own moments or by moving statistics; folding."""

import copy
import statistics
import time
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from hourglass.data import Dataset
from hourglass.lab.cells import Cell, Measures
from hourglass.lab.networks import accuracy, examples, train
from hourglass.lab.statistics import summarise
from hourglass.lab.study import Rows, Study, Table
from hourglass.nn import fold
from hourglass.nn.batchnorm import MovingStatistics, other_axes, per_channel
from hourglass.plots import line_style, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TOGETHER = (1, 2, 5, 10, 20, 50, 100, 200)
IMAGES, ROUNDS = 1000, 15


class OwnMoments(nn.Module):
    """A normalisation that takes whatever batch it is given by its own moments, one value a channel too.

    Where there is one, it is its own mean, and what comes out is beta.
    """

    def __init__(self, norm: MovingStatistics) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        axes, shape = other_axes(x), per_channel(x)
        centred = x - x.mean(axes).view(shape)
        scale = torch.rsqrt(centred.square().mean(axes) + self.norm.eps) * self.norm.weight
        return centred * scale.view(shape) + self.norm.bias.view(shape)


def by_own_moments(network: nn.Module) -> nn.Module:
    """Copy of a network whose normalisations do so."""
    twin = copy.deepcopy(network)
    for module in list(twin.modules()):
        for name, child in module.named_children():
            if isinstance(child, MovingStatistics):
                setattr(module, name, OwnMoments(child))
    return twin


def plan(seeds: int, updates: int) -> list[Cell]:
    """One training a seed."""
    return [{"norm": "layer", "seed": seed, "updates": updates} for seed in range(seeds)]


@torch.inference_mode()
def measure(cell: Cell, data: Dataset) -> Measures:
    """Accuracy by how many images are given at once, and what folding changes."""
    with torch.inference_mode(False):
        network = train(cell, data, report_every=cell["updates"]).network_
    part = examples(data.test, IMAGES)
    own = by_own_moments(network)
    folded = fold(network)
    output, expected = folded(part[0]), network(part[0])
    seconds: dict[str, list[float]] = {"plain": [], "folded": []}
    for _ in range(ROUNDS):
        for name, module in (("plain", network), ("folded", folded)):
            started = time.perf_counter()
            module(part[0])
            seconds[name].append(time.perf_counter() - started)
    ratios = [plain / quick for plain, quick in zip(*seconds.values(), strict=True)]
    return {
        "own": [round(accuracy(own, part, size), 4) for size in TOGETHER],
        "moving": [round(accuracy(network, part, size), 4) for size in TOGETHER],
        "folding_difference": float((output - expected).abs().max() / expected.abs().max()),
        "folding_speed": round(statistics.median(ratios), 3),
    }


def answer(rows: Rows) -> str:
    own, moving = (summarise([row["measures"][name][0] for row in rows]) for name in ("own", "moving"))
    speed = summarise([row["measures"]["folding_speed"] for row in rows])
    difference = max(row["measures"]["folding_difference"] for row in rows)
    return (
        f"One image at a time, the network is right in {own:.3f} when it normalises by the image's own moments and in "
        f"{moving:.3f} by the moving statistics. With normalisation folded into the convolutions the network is "
        f"{speed:.2f} times as fast, and no output differs by more than {difference:.0e} of the largest."
    )


def table(rows: Rows) -> Table:
    lines = [["images at once", "moments of the images given", "moving statistics"]]
    for i, size in enumerate(TOGETHER):
        values = [f"{summarise([row['measures'][name][i] for row in rows]):.3f}" for name in ("own", "moving")]
        lines.append([str(size), *values])
    return lines


def figures(rows: Rows) -> "dict[str, Figure]":
    labels = {"own": "moments of the images given", "moving": "moving statistics"}
    with new_figure((5.5, 3.4)) as (figure, axes):
        axis = axes[0][0]
        for i, (name, label) in enumerate(labels.items(), 1):
            found = [summarise(values) for values in zip(*(row["measures"][name] for row in rows), strict=True)]
            style = line_style(i, len(TOGETHER)) | {"markevery": 1}
            axis.plot(TOGETHER, [s.center for s in found], label=label, **style)
            axis.fill_between(
                TOGETHER, [s.low for s in found], [s.high for s in found], color=style["color"], alpha=0.15, lw=0
            )
        axis.set_xscale("log")
        axis.set_xticks(TOGETHER, [str(size) for size in TOGETHER])
        axis.minorticks_off()
        axis.set_ylim(0, 1.02)
        axis.set_xlabel("images given at once")
        axis.set_ylabel("accuracy on 1,000 test images")
        axis.legend(loc="lower right")
    return {"accuracy": figure}


STUDY = Study(
    name="bn-inference",
    title="One image at a time, and folding",
    question="What happens when a network in use normalises by what it is given, and what may be left out then?",
    setting="The 20-layer classifier with PyTorch's layer, {updates} batches of 64, {seeds} seeds; 1,000 test images, "
    "given 1 to 200 at once. Times are of one thread, plain and folded in turn, 15 rounds.",
    source="Ioffe and Szegedy, ICML 2015, algorithm 2; Jacob et al., CVPR 2018, section 3.2 (folding).",
    updates=800,
    seeds=5,
    plan=plan,
    measure=measure,
    answer=answer,
    table=table,
    figures=figures,
)
