"""bn-depth: accuracy, gradients and activations from 5 layers to 50."""

import copy
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from hourglass.data import Dataset
from hourglass.experiments.captions import listed
from hourglass.lab.cells import Cell, Measures, grouped
from hourglass.lab.drawing import MEANS, draw_means, draw_medians, medians_note
from hourglass.lab.networks import BATCH, CHANCE, TRAINS, accuracy, examples, train
from hourglass.lab.statistics import compare, summarise
from hourglass.lab.study import Row, Rows, Study, Table
from hourglass.lab.words import Geometric, scientific, sorted_out, verdict
from hourglass.plots import lines_of_norms, new_figure
from hourglass.training import Observer

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Layers with weights before the output: the convolutions and the dense one.
LAYERS = (5, 10, 20, 30, 40, 50)
DRAWN = (20, 50)
# Networks of different depth have the colour of their normalisation, and differ in this.
OF_DEPTH: dict[int, dict[str, Any]] = {20: {"linestyle": "-"}, 50: {"linestyle": "--", "marker": ""}}
# Reports during training; the first is after one step.
_REPORTS = 4
NORMS = {"none": "without", "batch": "with"}
# What is measured of each layer, and the layer that the table names.
SIGNALS = {"gradients": ("gradient of the first layer", 0), "activations": ("input of the last activation", -1)}
TITLES = {"gradients": "gradient of the weights, RMS", "activations": "input of the activation, standard deviation"}


def plan(seeds: int, n_steps: int) -> list[Cell]:
    """Return every depth without and with normalisation, the deep ones first."""
    return [
        {"layers": layers, "depth": layers - 1, "norm": norm, "norm_momentum": 0.1, "seed": seed, "n_steps": n_steps}
        for seed in range(seeds)
        for layers in reversed(LAYERS)
        for norm in NORMS
    ]


class _Probe(Observer):
    """Observer that measures every layer at step 0 and at each report, always with the same batch."""

    def __init__(self, data: Dataset) -> None:
        part, _ = data.split_validation()
        self.images, labels = examples(part, BATCH)
        self.targets = F.one_hot(labels, 10).float()
        self.found: list[dict[str, list[float | None]]] = []

    def begin(self, network: nn.Module) -> None:
        self.found.append(probe(network, self.images, self.targets))

    def measure(self, network: nn.Module) -> dict[str, float]:
        self.found.append(probe(network, self.images, self.targets))
        return {}


def probe(network: Any, images: Tensor, targets: Tensor) -> dict[str, list[float | None]]:
    """Measure each layer's weight gradient (root mean square) and its activation's input (standard deviation).

    It is done in training mode on a copy of the network. The numbers have four digits; what is not finite is None.
    """
    twin = copy.deepcopy(network).train()
    spread: list[float] = []
    for norm in (*twin.norms, twin.hidden_norm):
        norm.register_forward_hook(lambda module, inputs, output: spread.append(float(output.detach().std())))
    with torch.enable_grad():
        F.binary_cross_entropy_with_logits(twin(images), targets).backward()
    gradients = [float(layer.weight.grad.square().mean().sqrt()) for layer in (*twin.convs, twin.hidden)]
    found = {"gradients": gradients, "activations": spread}
    return {
        name: [float(f"{value:.4g}") if math.isfinite(value) else None for value in values]
        for name, values in found.items()
    }


def measure(cell: Cell, data: Dataset) -> Measures:
    """Return the test accuracy, and each layer's gradient and activations at step 0 and during training."""
    observer = _Probe(data)
    reached: float | None = None
    try:
        estimator = train(cell, data, observer, report_every=max(cell["n_steps"] // _REPORTS, 1))
        reached = round(accuracy(estimator.network_, examples(data.test)), 4)
    except FloatingPointError:
        pass
    return {
        "accuracy": reached,
        "gradients": [found["gradients"] for found in observer.found],
        "activations": [found["activations"] for found in observer.found],
    }


def _accuracies(rows: Rows, norm: str, layers: int) -> list[float]:
    found = [row["measures"]["accuracy"] for row in _rows(rows, norm, layers)]
    return [CHANCE if value is None else value for value in found]


def _rows(rows: Rows, norm: str, layers: int) -> list[Row]:
    return [row for row in rows if (row["cell"]["norm"], row["cell"]["layers"]) == (norm, layers)]


def _signals(rows: Rows, norm: str, layers: int, what: str) -> list[float | None]:
    """A signal at step 0 over seeds, in the layer that the table names; None where it is not finite."""
    place = SIGNALS[what][1]
    return [row["measures"][what][0][place] for row in _rows(rows, norm, layers)]


def _magnitude(values: list[float | None], *, interval: bool = True) -> str:
    """Geometric mean; every seed's value where one is 0 or not finite in float32, since a mean would leave it out."""
    positive = [value for value in values if value]
    if len(positive) == len(values):
        return str(Geometric(positive)) if interval else Geometric(positive).mean
    if set(values) == {0}:
        return "0"
    return f"all runs: {', '.join('not finite' if value is None else scientific(value) for value in values)}"


def answer(rows: Rows) -> str:
    """Say how deep a network trains without and with normalisation, and what its gradients are before training."""
    found = compare(
        {str(layers): (_accuracies(rows, "batch", layers), _accuracies(rows, "none", layers)) for layers in LAYERS}
    )
    better, worse, undecided = sorted_out(found)
    said = []
    if better:
        said.append(f"Normalisation raises the accuracy at {listed(better)} layers")
    if worse:
        said.append(f"{'it' if said else 'Normalisation'} lowers the accuracy at {listed(worse)} layers")
    if undecided:
        said.append(f"{'its' if said else 'Its'} effect is undecided at {listed(undecided)} layers")
    deepest = {
        norm: max((layers for layers in LAYERS if min(_accuracies(rows, norm, layers)) >= TRAINS), default=None)
        for norm in NORMS
    }
    depths = " and ".join(
        f"{f'{layers} layers' if layers else f'fewer than {LAYERS[0]}'} {NORMS[norm]} it"
        for norm, layers in deepest.items()
    )
    middle = DRAWN[0]
    accuracies = [f"{summarise(_accuracies(rows, norm, middle)):.2f} {NORMS[norm]} it" for norm in NORMS]
    return (
        f"{'; '.join(said)}. The deepest network that reaches {TRAINS} with every seed has {depths}. "
        f"At {middle} layers the accuracy is {' and '.join(accuracies)}. {_of_gradients(rows)}"
    )


def _of_gradients(rows: Rows) -> str:
    (shallow, *_, deep), middle = LAYERS, DRAWN[0]
    plain, normalised = (_signals(rows, norm, middle, "gradients") for norm in NORMS)
    ends = [_signals(rows, "batch", layers, "gradients") for layers in (deep, shallow)]
    pairs = {"with and without": (normalised, plain), "deep and shallow": (ends[0], ends[1])}
    logs = {
        name: ([math.log10(value) for value in left if value], [math.log10(value) for value in right if value])
        for name, (left, right) in pairs.items()
        if all(left) and all(right)
    }
    found = compare(logs)
    undecided = "is not distinguishably different"
    sentences = []
    for name, start, than, values in (
        (
            "with and without", f"At step 0 the first of {middle} layers has a gradient that", "with normalisation",
            f"{_magnitude(normalised, interval=False)} with it and {_magnitude(plain, interval=False)} without",
        ),
        (
            "deep and shallow", "With normalisation the first layer's gradient", f"at {deep} layers than at {shallow}",
            f"{_magnitude(ends[0], interval=False)} and {_magnitude(ends[1], interval=False)}",
        ),
    ):  # fmt: skip
        word = verdict(found[name], "is larger", "is smaller", undecided) if name in found else "compares as follows"
        sentences.append(f"{start} {word} {than}: {values} (geometric means).")
    return " ".join(sentences)


def table(rows: Rows) -> Table:
    """Accuracy, first gradient and last activation's input, one depth a line."""
    lines = [
        [
            "layers",
            *(f"accuracy {word}" for word in NORMS.values()),
            *(f"{label}, {word}" for label, _ in SIGNALS.values() for word in NORMS.values()),
        ]
    ]
    for layers in LAYERS:
        reached = [f"{summarise(_accuracies(rows, norm, layers)):.2f}" for norm in NORMS]
        signals = [_magnitude(_signals(rows, norm, layers, what)) for what in SIGNALS for norm in NORMS]
        lines.append([str(layers), *reached, *signals])
    return lines


def figures(rows: Rows) -> "dict[str, Figure]":
    """Accuracy against depth and the layers' signals at step 0; the same signals during training."""
    with new_figure((10.5, 3.8), 1, 3) as (figure, axes):
        depth, *others = axes[0]
        for i, (norm, word) in zip(lines_of_norms(list(NORMS)), NORMS.items(), strict=True):
            found = [summarise(_accuracies(rows, norm, layers)) for layers in LAYERS]
            draw_means(depth, i, f"{word} normalisation", LAYERS, found)
        depth.set_xlabel("layers")
        depth.set_ylabel("test accuracy")
        depth.set_ylim(0, 1.02)
        depth.legend(fontsize=8, title=MEANS, title_fontsize=7)
        chosen = [row for row in rows if row["cell"]["layers"] in DRAWN]
        for axis, (what, title) in zip(others, TITLES.items(), strict=True):
            for (layers, norm), group in grouped(chosen, "layers", "norm"):
                curves = _curves(group, what, 0)
                places = np.arange(1, curves.shape[1] + 1)
                label, [i] = f"{layers} layers, {NORMS[norm]}", lines_of_norms([norm])
                draw_medians(axis, i, label, places, curves, log=True, **OF_DEPTH[layers])
            _layer_axis(axis, f"{title}, step 0")
        others[0].legend(fontsize=7, title=medians_note(_seeds(rows)), title_fontsize=7)
    return {"depth": figure, "training": _while_training(rows)}


def _curves(group: Rows, what: str, when: int) -> NDArray[np.float64]:
    """A signal of every layer at a report (0 is before training), of shape (seeds, layers); infinite where None."""
    values = np.array([row["measures"][what][when] for row in group], dtype=np.float64)
    return np.where(np.isnan(values), np.inf, values)


def _seeds(rows: Rows) -> int:
    return len({row["cell"]["seed"] for row in rows})


def _layer_axis(axis: "Axes", title: str) -> None:
    from matplotlib.ticker import MaxNLocator

    axis.set_yscale("log")
    axis.set_xlabel("layer")
    axis.xaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 5, 10], integer=True))
    axis.set_title(title, fontsize=9)


def _while_training(rows: Rows) -> "Figure":
    """The 20-layer classifier's layers before training, half-way and at the end."""
    n_steps = rows[0]["cell"]["n_steps"]
    chosen = [row for row in rows if row["cell"]["layers"] == DRAWN[0]]
    dashes = {"step 0": "-", f"after {n_steps // 2}": "--", f"after {n_steps}": ":"}
    with new_figure((9, 3.8), 1, 2) as (figure, axes):
        for axis, (what, title) in zip(axes[0], TITLES.items(), strict=True):
            for (norm,), group in grouped(chosen, "norm"):
                [i] = lines_of_norms([norm])
                last = min(len(row["measures"][what]) for row in group) - 1
                for (word, dash), when in zip(dashes.items(), (0, (last + 1) // 2, last), strict=True):
                    curves = _curves(group, what, when)
                    places = np.arange(1, curves.shape[1] + 1)
                    draw_medians(axis, i, f"{NORMS[norm]}, {word}", places, curves, log=True, linestyle=dash)
            _layer_axis(axis, title)
        handles, names = axes[0][0].get_legend_handles_labels()
        note = f"{DRAWN[0]} layers, without and with normalisation; {medians_note(_seeds(rows))}"
        figure.legend(handles, names, loc="outside lower center", ncols=3, title=note)
    return figure


STUDY = Study(
    name="bn-depth",
    title="From 5 layers to 50",
    question="Why do deep networks need normalisation?",
    setting="The lesson's classifier with 5 to 50 layers (the convolutions and the dense one) is trained for "
    "{n_steps} steps with batches of 64, with {seeds} seeds. Two numbers are measured for every layer, on one batch "
    "in training mode, at step 0 and during training: the root mean square of the gradient of its weights, and the "
    "standard deviation of the input of its activation. The table has their geometric means over seeds at step 0. "
    "Where a value is 0 in float32 there is no geometric mean: the table then has the values of all seeds, and the "
    "figures have none.",
    source='Ioffe and Szegedy, ICML 2015; Glorot and Bengio, AISTATS 2010 (the measurement); Yang et al., "A Mean '
    'Field Theory of Batch Normalization", ICLR 2019 (gradients that grow with depth).',
    n_steps=200,
    seeds=3,
    plan=plan,
    measure=measure,
    answer=answer,
    table=table,
    figures=figures,
)
