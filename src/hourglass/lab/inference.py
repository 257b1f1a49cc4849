"""bn-inference: inference with the moments of the images given, or with moving statistics; folding."""

import copy
import statistics
import time
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from hourglass.data import Dataset
from hourglass.lab.cells import Cell, Measures
from hourglass.lab.drawing import MEANS, draw_means
from hourglass.lab.networks import accuracy, examples, train
from hourglass.lab.statistics import compare, summarise
from hourglass.lab.study import Rows, Study, Table
from hourglass.lab.words import scientific, verdict
from hourglass.nn import fold
from hourglass.nn.batchnorm import MovingStatistics, other_axes, per_channel
from hourglass.plots import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TOGETHER = (1, 2, 5, 10, 20, 50, 100, 200)
IMAGES, ROUNDS = 1000, 15
STATISTICS = {"own": "moments of the images given", "moving": "moving statistics"}


class OwnMoments(nn.Module):
    """Normalisation that uses the moments of its input in inference too, whatever the size of the batch.

    A channel with a single value is its own mean, so that the output is beta.
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
    """Copy of a network whose batch normalisations are :class:`OwnMoments`."""
    twin = copy.deepcopy(network)
    for module in list(twin.modules()):
        for name, child in module.named_children():
            if isinstance(child, MovingStatistics):
                setattr(module, name, OwnMoments(child))
    return twin


def plan(seeds: int, n_steps: int) -> list[Cell]:
    """Return one training for each seed."""
    return [{"norm": "batch", "seed": seed, "n_steps": n_steps} for seed in range(seeds)]


@torch.inference_mode()
def measure(cell: Cell, data: Dataset) -> Measures:
    """Return accuracies by how many images are given at once, and what folding changes."""
    with torch.inference_mode(False):
        network = train(cell, data, report_every=cell["n_steps"]).network_
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
    """Say whether single images need the moving statistics, and whether folding saves time."""
    own, moving = ([row["measures"][name][0] for row in rows] for name in ("own", "moving"))
    speeds = [row["measures"]["folding_speed"] for row in rows]
    found = compare({"statistics": (moving, own), "folding": (speeds, [1.0] * len(rows))})
    conclusion = verdict(
        found["statistics"],
        "With one image at a time, inference needs the moving statistics",
        "With one image at a time, inference does better without the moving statistics",
        "With one image at a time, moving statistics and the image's own moments cannot be distinguished",
    )
    folding = verdict(
        found["folding"],
        "Folding the normalisation into the convolutions makes the network faster",
        "Folding the normalisation into the convolutions makes the network slower",
        "Whether folding the normalisation into the convolutions makes the network faster is undecided",
    )
    difference = max(row["measures"]["folding_difference"] for row in rows)
    return (
        f"{conclusion}: the accuracy is {summarise(moving):.3f} with them and "
        f"{summarise(own):.3f} with the image's own moments. {folding}: its speed is {summarise(speeds):.2f} times "
        f"that of the unfolded one. In these runs folding changes no output by more than {scientific(difference)} of "
        "the largest output."
    )


def table(rows: Rows) -> Table:
    """Accuracies, one number of images at once a line."""
    lines = [["images at once", *STATISTICS.values()]]
    for i, size in enumerate(TOGETHER):
        values = [f"{summarise([row['measures'][name][i] for row in rows]):.3f}" for name in STATISTICS]
        lines.append([str(size), *values])
    return lines


def figures(rows: Rows) -> "dict[str, Figure]":
    """Accuracy against the number of images given at once."""
    with new_figure((5.5, 3.4)) as (figure, axes):
        axis = axes[0][0]
        for i, (name, label) in enumerate(STATISTICS.items(), 1):
            found = [summarise(values) for values in zip(*(row["measures"][name] for row in rows), strict=True)]
            draw_means(axis, i, label, TOGETHER, found)
        axis.set_xscale("log")
        axis.set_xticks(TOGETHER, [str(size) for size in TOGETHER])
        axis.minorticks_off()
        axis.set_ylim(0, 1.02)
        axis.set_xlabel("images given at once")
        axis.set_ylabel("accuracy on 1,000 test images")
        axis.legend(loc="lower right", title=MEANS)
    return {"accuracy": figure}


STUDY = Study(
    name="bn-inference",
    title="One image at a time, and folding",
    question="What happens when inference normalises by the moments of the images that it is given, and can the "
    "normalisation be folded into the convolutions?",
    setting="The 20-layer classifier with PyTorch's batch normalisation is trained with {seeds} seeds, each time for "
    "{n_steps} steps with batches of 64. It is tested on 1,000 images; 1 to 200 of them are given to it at once. Times "
    "are measured on one thread, alternately for the plain and the folded network. The speed of a seed's network is "
    "the ratio of the two times, as the median of 15 rounds.",
    source="Ioffe and Szegedy, ICML 2015, algorithm 2; Jacob et al., CVPR 2018, section 3.2 (folding).",
    n_steps=800,
    seeds=5,
    plan=plan,
    measure=measure,
    answer=answer,
    table=table,
    figures=figures,
)
