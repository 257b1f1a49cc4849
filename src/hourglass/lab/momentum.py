"""bn-momentum: how long the moving statistics need, and what helps."""

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from hourglass.data import Dataset
from hourglass.experiments.captions import listed
from hourglass.lab.cells import Cell, Measures
from hourglass.lab.drawing import MEANS, draw_means, draw_medians, medians_note
from hourglass.lab.networks import BATCH, accuracy, accuracy_by_batch, examples, train
from hourglass.lab.statistics import compare, summarise
from hourglass.lab.study import Rows, Study, Table
from hourglass.lab.words import sorted_out, verdict
from hourglass.nn import recompute_statistics
from hourglass.nn.batchnorm import MovingStatistics, other_axes
from hourglass.nn.population import normalisations
from hourglass.plots import LINES, new_figure
from hourglass.training import Observer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# In TensorFlow's convention: the share of the old value. PyTorch's is 1 minus this.
MOMENTA = (0.9, 0.95, 0.98, 0.99, 0.995, 0.999)
KINDS = {"moving": "moving statistics", "debiased": "moving statistics without their initial values"}
_REPORTS, _SHOWN, _POPULATION = 8, 500, 30


def plan(seeds: int, n_steps: int) -> list[Cell]:
    """Return one training for each seed: the weights do not depend on the momentum, so that one serves all momenta."""
    return [{"norm": "batch", "seed": seed, "n_steps": n_steps} for seed in range(seeds)]


class MovingAverages(Observer):
    """Observer that averages every layer's moments with every momentum while a network trains."""

    def __init__(self, data: Dataset) -> None:
        part, _ = data.split_validation()
        self.tested = examples(data.test, _SHOWN)
        self.population = list(examples(part, _POPULATION * BATCH)[0].split(BATCH))
        self.shares = 1 - torch.tensor(MOMENTA, dtype=torch.float64)[:, None]
        self.averages: dict[str, tuple[Tensor, Tensor]] = {}
        self.steps = 0
        self.found: list[dict[str, Any]] = []

    def begin(self, network: nn.Module) -> None:
        def count(module: nn.Module, inputs: Any, output: Any) -> None:
            self.steps += module is network and module.training

        for name, layer in _layers(network).items():
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
        row: dict[str, Any] = {"steps": self.steps, "by_batch": accuracy_by_batch(twin, self.tested)}
        left = [momentum**self.steps for momentum in MOMENTA]
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
        """Set the moving statistics to the averages of momentum ``i``, less the share ``start`` of their start."""
        for name, layer in _layers(network).items():
            means, variances = self.averages[name]
            layer.get_buffer("running_mean").copy_(means[i] / (1 - start))
            layer.get_buffer("running_var").copy_((variances[i] - start) / (1 - start))


def _layers(network: nn.Module) -> dict[str, MovingStatistics]:
    return {name: layer for name, layer in normalisations(network).items() if isinstance(layer, MovingStatistics)}


def measure(cell: Cell, data: Dataset) -> Measures:
    """Return accuracies along training: with every momentum, plain and debiased, and with precise statistics."""
    observer = MovingAverages(data)
    train(cell, data, observer, report_every=max(cell["n_steps"] // _REPORTS, 1))
    names = ("steps", "by_batch", "moving", "debiased", "precise", "left")
    return {name: [row[name] for row in observer.found] for name in names}


def _at(rows: Rows, name: str, place: int, i: int | None = None) -> list[float]:
    values = [row["measures"][name][place] for row in rows]
    return values if i is None else [value[i] for value in values]


def answer(rows: Rows) -> str:
    """Say whether inference lags behind training early, which remedies help, and how it is at the end."""
    steps = rows[0]["measures"]["steps"]
    place, classic = _early(steps), MOMENTA.index(0.99)
    when = steps[place]
    plain, by_batch = _at(rows, "moving", place, classic), _at(rows, "by_batch", place)
    remedies = {
        "moving statistics without their initial values": _at(rows, "debiased", place, classic),
        "the population's moments": _at(rows, "precise", place),
        "TensorFlow's momentum 0.9": _at(rows, "moving", place, MOMENTA.index(0.9)),
    }
    found = compare({"lag": (by_batch, plain), **{name: (values, plain) for name, values in remedies.items()}})
    conclusion = verdict(
        found.pop("lag"),
        "inference does not yet show what the network has learnt",
        "inference is better than training mode",
        "inference and training mode cannot be distinguished",
    )
    better, worse, undecided = sorted_out(found)
    said = [
        f"After {when} steps with TensorFlow's momentum 0.99 (PyTorch's 0.01), {conclusion}: the initial values still "
        f"make up {0.99**when:.0%} of the moving statistics, and the accuracy is {summarise(plain):.3f} with them and "
        f"{summarise(by_batch):.3f} in training mode."
    ]
    for names, word in (
        (better, "The accuracy is higher with"),
        (worse, "The accuracy is lower with"),
        (undecided, "The effect is undecided for"),
    ):
        if names:
            shown = listed(f"{name} ({summarise(remedies[name]):.3f})" for name in names)
            said.append(f"{word} {shown}.")
    said.append(_at_the_end(rows))
    return " ".join(said)


def _at_the_end(rows: Rows) -> str:
    steps, classic, slowest = rows[0]["measures"]["steps"][-1], MOMENTA.index(0.99), len(MOMENTA) - 1
    ends = {i: _at(rows, "moving", -1, i) for i in (classic, slowest)}
    difference = compare({"end": (ends[slowest], ends[classic])})["end"]
    conclusion = verdict(
        difference,
        f"with TensorFlow's momentum {MOMENTA[slowest]:g} the accuracy is higher than with 0.99",
        f"with TensorFlow's momentum {MOMENTA[slowest]:g} the accuracy is still lower than with 0.99",
        f"the accuracies with TensorFlow's momenta {MOMENTA[slowest]:g} and 0.99 cannot be distinguished",
    )
    return f"After {steps} steps, {conclusion}: {summarise(ends[slowest]):.3f} against {summarise(ends[classic]):.3f}."


def table(rows: Rows) -> Table:
    """Accuracies along training, for every momentum and with the population's and the batch's moments."""
    steps = rows[0]["measures"]["steps"]
    places = [p for p in range(len(steps)) if p]
    lines = [["momentum (TensorFlow)", "(PyTorch)", "statistics", *(f"{steps[p]} steps" for p in places)]]
    for i, momentum in enumerate(MOMENTA):
        for kind, label in KINDS.items():
            values = [f"{summarise(_at(rows, kind, p, i)):.2f}" for p in places]
            lines.append([f"{momentum:g}", f"{1 - momentum:.3g}", label, *values])
    for kind, label in (("precise", "the population's moments"), ("by_batch", "each batch's own moments")):
        lines.append(["–", "–", label, *(f"{summarise(_at(rows, kind, p)):.2f}" for p in places)])
    return lines


def figures(rows: Rows) -> "dict[str, Figure]":
    """Accuracy along training for every momentum, and against the momentum in both conventions."""
    steps = rows[0]["measures"]["steps"]
    with new_figure((10, 3.8), 1, 3) as (figure, axes):
        for axis, (kind, title) in zip(axes[0], KINDS.items(), strict=False):
            for i, momentum in enumerate(MOMENTA):
                curves = [[value[i] for value in row["measures"][kind]] for row in rows]
                draw_medians(axis, i, f"{momentum:g} | {1 - momentum:.3g}", steps, curves)
            precise = [row["measures"]["precise"] for row in rows]
            draw_medians(axis, len(MOMENTA), "the population's moments", steps, precise)
            axis.set_title(title, fontsize=9)
            axis.set_ylabel("test accuracy in inference mode")
            axis.set_ylim(0, 1.02)
        every_step = np.arange(1, steps[-1] + 1)
        for i, momentum in enumerate(MOMENTA):
            axes[0][2].plot(every_step, momentum**every_step, **{**LINES[i], "marker": ""})
        axes[0][2].set_title("share of the start that is left", fontsize=9)
        for axis in axes[0]:
            axis.set_xlabel("step")
        handles, labels = axes[0][0].get_legend_handles_labels()
        note = f"momentum, TensorFlow's | PyTorch's ({medians_note(len(rows))})"
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), title=note, fontsize=8)
    return {"accuracy": figure, "conventions": _conventions(rows)}


def _conventions(rows: Rows) -> "Figure":
    """Accuracy of inference against the momentum, in PyTorch's convention below and TensorFlow's above."""
    steps = rows[0]["measures"]["steps"]
    shares = [1 - momentum for momentum in MOMENTA]
    with new_figure((6, 4)) as (figure, axes):
        axis = axes[0][0]
        for i, place in enumerate(dict.fromkeys((_early(steps), len(steps) // 2, len(steps) - 1))):
            for (kind, label), dash in zip(KINDS.items(), ("-", ":"), strict=True):
                found = [summarise(_at(rows, kind, place, m)) for m in range(len(MOMENTA))]
                draw_means(axis, i, f"{label}, {steps[place]} steps", shares, found, linestyle=dash)
        axis.set_xscale("log")
        axis.set_xlabel("momentum, PyTorch's: share of the new batch")
        above = axis.secondary_xaxis("top")
        above.set_xlabel("momentum, TensorFlow's: share of the old value")
        for each, labels in ((axis, shares), (above, MOMENTA)):
            each.set_xticks(shares, [f"{value:.3g}" for value in labels])
            each.minorticks_off()
        axis.set_ylabel("test accuracy in inference mode")
        axis.set_ylim(0, 1.02)
        figure.legend(loc="outside lower center", ncols=2, title=MEANS, fontsize=8)
    return figure


def _early(steps: list[int]) -> int:
    """Place of the report nearest to step 100."""
    return min(range(len(steps)), key=lambda place: abs(steps[place] - 100))


STUDY = Study(
    name="bn-momentum",
    title="After how many steps the moving statistics can be used",
    question="How does inference depend on the momentum and on the number of steps, and what helps?",
    setting="The 20-layer classifier with PyTorch's layer is trained for {n_steps} steps with batches of 64, with "
    "{seeds} seeds. Training does not use the moving statistics; therefore those of all momenta are computed during "
    "the same training. Accuracy is measured on 500 test images; in training mode on the 448 of them that fill batches "
    "of 64. The population's moments are computed from 30 batches of training images.",
    source="Kingma and Ba, ICLR 2015, section 3 (dividing out the start); Wu and Johnson, 2021 (precise statistics).",
    n_steps=800,
    seeds=5,
    plan=plan,
    measure=measure,
    answer=answer,
    table=table,
    figures=figures,
)
