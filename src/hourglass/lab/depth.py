"""bn-depth: how gradients and activations fare with depth."""

import copy
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hourglass.data import Dataset
from hourglass.lab.cells import Cell, Measures, grouped
from hourglass.lab.networks import BATCH, CHANCE, accuracy, examples, train
from hourglass.lab.statistics import summarise
from hourglass.lab.study import Row, Rows, Study, Table
from hourglass.plots import line_style, new_figure
from hourglass.training import Observer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Layers with weights before the output: the convolutions and the dense one.
LAYERS = (5, 10, 20, 30, 40, 50)
DRAWN = (20, 50)
# Reports while training; the first is after one update.
_REPORTS = 4
NORMS = {"none": "without", "layer": "with"}


def plan(seeds: int, updates: int) -> list[Cell]:
    """Every depth with and without, the deep ones first."""
    return [
        {"layers": layers, "depth": layers - 1, "norm": norm, "norm_momentum": 0.1, "seed": seed, "updates": updates}
        for seed in range(seeds)
        for layers in reversed(LAYERS)
        for norm in NORMS
    ]


class _Probe(Observer):
    """Looks at every layer at step 0 and at each report, with one batch that stays the same."""

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
    """Root mean square of each layer's weight gradient, and deviation of what its activation is given.

    In training mode, on a copy; four digits, and None of what is not finite.
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
    """Test accuracy, and each layer's gradient and activations at step 0 and during training."""
    observer = _Probe(data)
    reached: float | None = None
    try:
        estimator = train(cell, data, observer, report_every=max(cell["updates"] // _REPORTS, 1))
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


def _power(rows: Rows, norm: str, layers: int, what: str, place: int) -> str:
    """Decimal logarithm of what a layer has at step 0, in words; of that in float32 which is neither 0 nor infinite."""
    values = [row["measures"][what][0][place] for row in _rows(rows, norm, layers)]
    powers = [math.log10(value) for value in values if value]
    if not powers:
        return "0"
    return f"10 to the {summarise(powers):.1f}" + (f" ({len(values) - len(powers)} at 0)" * (len(powers) < len(values)))


def answer(rows: Rows) -> str:
    def reached(norm: str, layers: int) -> str:
        return f"{summarise(_accuracies(rows, norm, layers)):.2f}"

    middle, deep = DRAWN
    return (
        f"Without normalisation {LAYERS[0]} layers reach {reached('none', LAYERS[0])}, {middle} layers "
        f"{reached('none', middle)}, {deep} layers {reached('none', deep)}; with it {reached('layer', LAYERS[0])}, "
        f"{reached('layer', middle)} and {reached('layer', deep)}. At step 0, before anything is learnt, what the "
        f"last of {middle} activations is given has a deviation of {_power(rows, 'none', middle, 'activations', -1)} "
        f"without and {_power(rows, 'layer', middle, 'activations', -1)} with it, and the first layer's gradient is "
        f"{_power(rows, 'none', middle, 'gradients', 0)} without and {_power(rows, 'layer', middle, 'gradients', 0)} "
        f"with it. With it, the first layer's gradient is "
        f"{_power(rows, 'layer', LAYERS[0], 'gradients', 0)} at {LAYERS[0]} layers and "
        f"{_power(rows, 'layer', deep, 'gradients', 0)} at {deep}."
    )


def table(rows: Rows) -> Table:
    columns = {"gradients": ("first gradient", 0), "activations": ("last deviation", -1)}
    lines = [
        [
            "layers",
            *(f"accuracy {word}" for word in NORMS.values()),
            *(f"{label} {word}" for label, _ in columns.values() for word in NORMS.values()),
        ]
    ]
    for layers in LAYERS:
        reached = [f"{summarise(_accuracies(rows, norm, layers)):.2f}" for norm in NORMS]
        powers = [_power(rows, norm, layers, what, place) for what, (_, place) in columns.items() for norm in NORMS]
        lines.append([str(layers), *reached, *powers])
    return lines


def figures(rows: Rows) -> "dict[str, Figure]":
    with new_figure((10.5, 3.8), 1, 3) as (figure, axes):
        depth, *others = axes[0]
        for i, (norm, word) in enumerate(NORMS.items()):
            found = [summarise(_accuracies(rows, norm, layers)) for layers in LAYERS]
            style = line_style(i, len(LAYERS)) | {"markevery": 1}
            depth.plot(LAYERS, [s.center for s in found], label=f"{word} normalisation", **style)
            depth.fill_between(
                LAYERS, [s.low for s in found], [s.high for s in found], color=style["color"], alpha=0.15, lw=0
            )
        depth.set_xlabel("layers")
        depth.set_ylabel("test accuracy")
        depth.set_ylim(0, 1.02)
        depth.legend(fontsize=8)
        drawn = {
            "gradients": "root mean square of the weights' gradient",
            "activations": "deviation of what ReLU is given",
        }
        for axis, (what, label) in zip(others, drawn.items(), strict=True):
            place = 0
            for (layers, norm), group in grouped(rows, "layers", "norm"):
                if layers not in DRAWN:
                    continue
                values = _median(group, what, 0)
                places = np.arange(1, len(values) + 1)
                axis.plot(
                    places,
                    _drawable(values),
                    label=f"{layers} layers, {NORMS[norm]}",
                    **line_style(place, len(values)),
                )
                place += 1
            axis.set_yscale("log")
            axis.set_xlabel("layer")
            axis.xaxis.get_major_locator().set_params(integer=True)
            axis.set_title(f"{label}, step 0", fontsize=9)
        others[0].legend(fontsize=7)
    return {"depth": figure, "training": _while_training(rows)}


def _drawable(values: np.ndarray) -> np.ndarray:
    """Without zeros, which a logarithmic axis has no place for."""
    return np.where(values > 0, values, np.nan)


def _median(group: Rows, what: str, when: int) -> np.ndarray:
    """Median over seeds, layer by layer, at a report; 0 is before training."""
    return np.median(np.array([row["measures"][what][when] for row in group], dtype=np.float64), axis=0)


def _while_training(rows: Rows) -> "Figure":
    """The 20-layer classifier's layers before training, half-way and at the end."""
    updates = rows[0]["cell"]["updates"]
    chosen = [row for row in rows if row["cell"]["layers"] == DRAWN[0]]
    dashes = {"step 0": "-", f"after {updates // 2}": "--", f"after {updates}": ":"}
    labels = {
        "gradients": "root mean square of the weights' gradient",
        "activations": "deviation of what ReLU is given",
    }
    with new_figure((9, 3.8), 1, 2) as (figure, axes):
        for axis, (what, label) in zip(axes[0], labels.items(), strict=True):
            for i, ((norm,), group) in enumerate(grouped(chosen, "norm")):
                last = min(len(row["measures"][what]) for row in group) - 1
                for (word, dash), when in zip(dashes.items(), (0, (last + 1) // 2, last), strict=True):
                    values = _median(group, what, when)
                    style = line_style(i, len(values)) | {"linestyle": dash}
                    places = np.arange(1, len(values) + 1)
                    axis.plot(places, _drawable(values), label=f"{NORMS[norm]}, {word}", **style)
            axis.set_yscale("log")
            axis.set_xlabel("layer")
            axis.xaxis.get_major_locator().set_params(integer=True)
            axis.set_title(label, fontsize=9)
        handles, names = axes[0][0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=3, title=f"{DRAWN[0]} layers, normalisation")
    return figure


STUDY = Study(
    name="bn-depth",
    title="From 5 layers to 50",
    question="Why does depth need normalisation?",
    setting="The lesson's classifier with 5 to 50 layers (convolutions and the dense one), {updates} batches of 64, "
    "{seeds} seeds. Gradients and activations of one batch, in training mode, at step 0 and during training; what "
    "is 0 in float32 is not drawn.",
    source='Ioffe and Szegedy, ICML 2015; Glorot and Bengio, AISTATS 2010 (the measurement); Yang et al., "A Mean '
    'Field Theory of Batch Normalization", ICLR 2019 (gradients that grow with depth).',
    updates=200,
    seeds=3,
    plan=plan,
    measure=measure,
    answer=answer,
    table=table,
    figures=figures,
)
