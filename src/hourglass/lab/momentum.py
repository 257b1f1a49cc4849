"""bn-momentum: how long inference waits for the moving statistics, and two cures."""

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from hourglass.data import Dataset
from hourglass.lab.cells import Cell, Measures
from hourglass.lab.fair import draw_band
from hourglass.lab.networks import BATCH, accuracy, accuracy_by_batch, examples, train
from hourglass.lab.statistics import summarise
from hourglass.lab.study import Rows, Study, Table
from hourglass.nn import recompute_statistics
from hourglass.nn.batchnorm import MovingStatistics, other_axes
from hourglass.nn.population import normalisations
from hourglass.plots import line_style, new_figure
from hourglass.training import Observer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# TensorFlow's convention, the share of what was there; PyTorch's is one less it.
MOMENTA = (0.9, 0.95, 0.98, 0.99, 0.995, 0.999)
_REPORTS, _SHOWN, _POPULATION = 8, 500, 30


def plan(seeds: int, updates: int) -> list[Cell]:
    """One training a seed: weights do not depend on the momentum, so that all are averaged beside it."""
    return [{"norm": "layer", "seed": seed, "updates": updates} for seed in range(seeds)]


class MovingAverages(Observer):
    """Averages every layer's moments with every momentum while a network trains."""

    def __init__(self, data: Dataset) -> None:
        part, _ = data.split_validation()
        self.tested = examples(data.test, _SHOWN)
        self.population = list(examples(part, _POPULATION * BATCH)[0].split(BATCH))
        self.shares = 1 - torch.tensor(MOMENTA, dtype=torch.float64)[:, None]
        self.averages: dict[str, tuple[Tensor, Tensor]] = {}
        self.updates = 0
        self.found: list[dict[str, Any]] = []

    def begin(self, network: nn.Module) -> None:
        def count(module: nn.Module, inputs: Any, output: Any) -> None:
            self.updates += module is network and module.training

        for name, layer in normalisations(network).items():
            start = torch.zeros(len(MOMENTA), layer.num_features, dtype=torch.float64)
            self.averages[name] = start, torch.ones_like(start)
            layer.register_forward_pre_hook(self._account(name, layer))
        network.register_forward_hook(count)

    def _account(self, name: str, ours: MovingStatistics) -> Callable[[MovingStatistics, tuple[Tensor, ...]], None]:
        def add(layer: MovingStatistics, inputs: tuple[Tensor, ...]) -> None:
            # Copies of the network have the same hooks.
            if layer is not ours or not layer.training:
                return
            x = inputs[0].detach()
            axes, (means, variances) = other_axes(x), self.averages[name]
            means += self.shares * (x.mean(axes) - means)
            variances += self.shares * (x.var(axes, correction=int(layer.stored_variance == "bessel")) - variances)

        return add

    def measure(self, network: nn.Module) -> dict[str, float]:
        twin = copy.deepcopy(network)
        row: dict[str, Any] = {"updates": self.updates, "by_batch": accuracy_by_batch(twin, self.tested)}
        left = [momentum**self.updates for momentum in MOMENTA]
        for kind, debiased in (("moving", False), ("debiased", True)):
            row[kind] = []
            for i, start in enumerate(left):
                self._put(twin, i, start if debiased else 0.0)
                row[kind].append(accuracy(twin, self.tested))
        recompute_statistics(twin, self.population)
        row["precise"] = accuracy(twin, self.tested)
        row["left"] = [round(share, 4) for share in left]
        self.found.append(row)
        return {}

    @torch.no_grad()
    def _put(self, network: nn.Module, i: int, start: float) -> None:
        """Use the averages of a momentum, without what is left of their start where that is given."""
        for name, layer in normalisations(network).items():
            means, variances = self.averages[name]
            layer.running_mean.copy_(means[i] / (1 - start))
            layer.running_var.copy_((variances[i] - start) / (1 - start))


def measure(cell: Cell, data: Dataset) -> Measures:
    """Accuracy of inference with every momentum, plain and debiased, and of precise statistics, along training."""
    observer = MovingAverages(data)
    train(cell, data, observer, report_every=max(cell["updates"] // _REPORTS, 1))
    names = ("updates", "by_batch", "moving", "debiased", "precise", "left")
    return {name: [row[name] for row in observer.found] for name in names}


def _at(rows: Rows, name: str, place: int, i: int | None = None) -> list[float]:
    values = [row["measures"][name][place] for row in rows]
    return values if i is None else [value[i] for value in values]


def answer(rows: Rows) -> str:
    updates = rows[0]["measures"]["updates"]
    place = _early(updates)
    classic = MOMENTA.index(0.99)
    when = updates[place]
    plain, debiased, precise, batch = (
        summarise(_at(rows, name, place, classic if name in ("moving", "debiased") else None))
        for name in ("moving", "debiased", "precise", "by_batch")
    )
    return (
        f"After {when} updates with momentum 0.99 (PyTorch's 0.01) {0.99**when:.0%} of the moving statistics is still "
        f"their start, and inference is right in {plain:.3f}, where the same weights reach {batch:.3f} in training "
        f"mode. With the start divided out it is {debiased:.3f}, with the population's moments {precise:.3f}. "
        f"With momentum 0.9, which leaves {0.9**when:.0%} of the start, it is "
        f"{summarise(_at(rows, 'moving', place, 0)):.3f}. At the end, {updates[-1]} updates, 0.99 "
        f"reaches {summarise(_at(rows, 'moving', -1, classic)):.3f} and 0.999 "
        f"{summarise(_at(rows, 'moving', -1, len(MOMENTA) - 1)):.3f}."
    )


def table(rows: Rows) -> Table:
    updates = rows[0]["measures"]["updates"]
    places = [p for p in range(len(updates)) if p]
    lines = [["momentum (TensorFlow)", "(PyTorch)", "statistics", *(f"{updates[p]} updates" for p in places)]]
    for i, momentum in enumerate(MOMENTA):
        for kind in ("moving", "debiased"):
            values = [f"{summarise(_at(rows, kind, p, i)):.2f}" for p in places]
            lines.append([f"{momentum:g}", f"{1 - momentum:.3g}", kind, *values])
    for kind, label in (("precise", "population's"), ("by_batch", "each batch's own")):
        lines.append(["", "", label, *(f"{summarise(_at(rows, kind, p)):.2f}" for p in places)])
    return lines


def figures(rows: Rows) -> "dict[str, Figure]":
    updates = rows[0]["measures"]["updates"]
    with new_figure((10, 3.8), 1, 3) as (figure, axes):
        for axis, kind, title in zip(
            axes[0], ("moving", "debiased"), ("moving averages", "with the start divided out"), strict=False
        ):
            for i, momentum in enumerate(MOMENTA):
                curves = [[value[i] for value in row["measures"][kind]] for row in rows]
                draw_band(axis, i, f"{momentum:g} | {1 - momentum:.3g}", updates, curves)
            draw_band(axis, 6, "precise", updates, [row["measures"]["precise"] for row in rows])
            axis.set_title(title, fontsize=9)
            axis.set_ylabel("test accuracy in inference mode")
            axis.set_ylim(0, 1.02)
        steps = np.arange(1, updates[-1] + 1)
        for i, momentum in enumerate(MOMENTA):
            axes[0][2].plot(steps, momentum**steps, **_plain(i))
        axes[0][2].set_title("share of the start left", fontsize=9)
        for axis in axes[0]:
            axis.set_xlabel("updates")
        handles, labels = axes[0][0].get_legend_handles_labels()
        figure.legend(
            handles, labels, loc="outside lower center", ncols=len(labels), title="momentum, TensorFlow's | PyTorch's"
        )
    return {"accuracy": figure, "conventions": _conventions(rows)}


def _conventions(rows: Rows) -> "Figure":
    """Accuracy of inference against the momentum, in PyTorch's convention below and TensorFlow's above."""
    updates = rows[0]["measures"]["updates"]
    shares = [1 - momentum for momentum in MOMENTA]
    with new_figure((6, 4)) as (figure, axes):
        axis = axes[0][0]
        for i, place in enumerate(dict.fromkeys((_early(updates), len(updates) // 2, len(updates) - 1))):
            for kind, dash in (("moving", "-"), ("debiased", ":")):
                found = [summarise(_at(rows, kind, place, m)) for m in range(len(MOMENTA))]
                style = line_style(i, len(MOMENTA)) | {"linestyle": dash, "markevery": 1}
                axis.plot(shares, [s.center for s in found], label=f"{kind}, {updates[place]} updates", **style)
                axis.fill_between(
                    shares, [s.low for s in found], [s.high for s in found], color=style["color"], alpha=0.12, lw=0
                )
        axis.set_xscale("log")
        axis.set_xlabel("momentum, PyTorch's: share of the new batch")
        above = axis.secondary_xaxis("top")
        above.set_xlabel("momentum, TensorFlow's: share of what was there")
        for each, labels in ((axis, shares), (above, MOMENTA)):
            each.set_xticks(shares, [f"{value:.3g}" for value in labels])
            each.minorticks_off()
        axis.set_ylabel("test accuracy in inference mode")
        axis.set_ylim(0, 1.02)
        figure.legend(loc="outside lower center", ncols=3, title="mean, 95% interval", fontsize=8)
    return figure


def _early(updates: list[int]) -> int:
    """Place of the report nearest to update 100."""
    return min(range(len(updates)), key=lambda place: abs(updates[place] - 100))


def _plain(i: int) -> dict[str, Any]:
    from hourglass.plots import LINES

    return {**LINES[i], "marker": ""}


STUDY = Study(
    name="bn-momentum",
    title="How long inference waits for the moving statistics",
    question="How does inference depend on the momentum and on how many updates there were, and what helps?",
    setting="The 20-layer classifier with PyTorch's layer, {updates} batches of 64, {seeds} seeds. Training does not "
    "look at moving statistics, so that those of every momentum are kept beside one training. 500 test images, of "
    "which 448, whole batches, in training mode.",
    source="Kingma and Ba, ICLR 2015, section 3 (dividing out the start); Wu and Johnson, 2021 (precise statistics).",
    updates=800,
    seeds=5,
    plan=plan,
    measure=measure,
    answer=answer,
    table=table,
    figures=figures,
)
