"""bn-fair: none, the framework's and the written-out normalisation from equal starts."""

import copy
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor, nn

from hourglass.data import Dataset
from hourglass.lab.cells import Cell, Measures, grouped
from hourglass.lab.networks import BATCH, accuracy, accuracy_by_batch, examples, train
from hourglass.lab.statistics import paired, summarise
from hourglass.lab.study import Rows, Study, Table
from hourglass.nn import recompute_statistics
from hourglass.nn.population import normalisations
from hourglass.plots import line_style, new_figure
from hourglass.training import Observer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Name, normalisation, start of the kernels; the last is the notebooks' written-out form.
ARMS = (
    ("none", "none", "glorot"),
    ("layer", "layer", "glorot"),
    ("manual", "manual", "glorot"),
    ("manual, truncated normal", "manual", "truncated-normal"),
)
# Counted from 0, as the notebooks do: the 101st.
EARLY_BATCH = 100
# Far from guessing and from the end.
PASSED = 0.5
_EVERY, _SHOWN, _POPULATION = 25, 500, 50


def plan(seeds: int, updates: int) -> list[Cell]:
    """Every arm from every seed: the seed gives the weights and the order of the batches."""
    return [
        {"arm": arm, "norm": norm, "kernel_init": init, "seed": seed, "updates": updates}
        for seed in range(seeds)
        for arm, norm, init in ARMS
    ]


def measure(cell: Cell, data: Dataset) -> Measures:
    """Curves on held-out images, and test accuracy early and at the end, in three modes of inference."""
    observer = _Curves(data)
    estimator = train(cell, data, observer, report_every=_EVERY)
    updates = sorted(estimator.history_.reports)
    curves = {
        name: [round(estimator.history_.reports[update][name], 4) for update in updates]
        for name in ("inference", "by_batch")
    }
    final = observer.test(estimator.network_)
    return {"updates": updates, **curves, "early": observer.early, "final": final}


class _Curves(Observer):
    def __init__(self, data: Dataset) -> None:
        part, held_out = data.split_validation()
        self.held_out, self.tested = examples(held_out, _SHOWN), examples(data.test)
        self.population: list[Tensor] = list(examples(part, _POPULATION * BATCH)[0].split(BATCH))
        self.early: dict[str, float] | None = None
        self.done = 0

    def measure(self, network: nn.Module) -> dict[str, float]:
        if self.done == EARLY_BATCH:
            self.early = self.test(network)
        self.done += _EVERY
        return {
            "inference": accuracy(network, self.held_out),
            "by_batch": accuracy_by_batch(network, self.held_out),
        }

    def test(self, network: nn.Module) -> dict[str, float]:
        """Accuracy on the test images by moving statistics, by each batch's own, and by the population's."""
        twin = copy.deepcopy(network).eval()
        if normalisations(twin):
            recompute_statistics(twin, self.population)
        found = {
            "inference": accuracy(network, self.tested),
            "by_batch": accuracy_by_batch(network, self.tested),
            "precise": accuracy(twin, self.tested),
        }
        return {name: round(value, 4) for name, value in found.items()}


def final(rows: Rows, arm: str, mode: str = "inference", when: str = "final") -> list[float]:
    """Test accuracies of an arm, in the order of seeds."""
    group = next(group for (name,), group in grouped(rows, "arm") if name == arm)
    return [row["measures"][when][mode] for row in group]


def answer(rows: Rows) -> str:
    layer, manual, truncated = (final(rows, arm) for arm in ("layer", "manual", "manual, truncated normal"))
    medians = [summarise(values, np.median) for values in (layer, manual)]
    differences = paired(manual, layer), paired(truncated, manual)
    by_batch = paired(*(final(rows, arm, "by_batch") for arm in ("manual, truncated normal", "manual")))
    said = (
        f"From equal weights and batches the median test accuracy is {medians[0]:.3f} for the framework's layer and "
        f"{medians[1]:.3f} written out, the mean of the paired differences {differences[0]:.4f}; without "
        f"normalisation {summarise(final(rows, 'none')):.3f}. The notebooks start the written-out network from a "
        "truncated normal and not from Glorot's uniform; that alone changes the accuracy in inference by "
        f"{differences[1]:.4f}, and by each batch's own moments by {by_batch:.4f}."
    )
    starts = {"Glorot's uniform": "manual", "the truncated normal": "manual, truncated normal"}
    passed = {
        mode: {word: passes(rows, arm, mode) for word, arm in starts.items()} for mode in ("by_batch", "inference")
    }
    if all(batches for found in passed.values() for batches in found.values()):
        by_own, inferred = (
            " and ".join(f"{summarise(batches):.0f} from {word}" for word, batches in found.items())
            for found in passed.values()
        )
        said += (
            f" An accuracy of {PASSED} is passed at batch {by_own} by own "
            f"moments, and at batch {inferred} in inference."
        )
    if not _has_early(rows):
        return said
    early = {mode: summarise(final(rows, "layer", mode, "early")) for mode in ("inference", "by_batch", "precise")}
    return (
        f"{said} At batch {EARLY_BATCH}, where {0.99 ** (EARLY_BATCH + 1):.0%} of the moving statistics are their "
        f"start, the layer is right in {early['inference']:.3f} in inference, where the same weights reach "
        f"{early['by_batch']:.3f} by each batch's own moments and {early['precise']:.3f} by the population's."
    )


def passes(rows: Rows, arm: str, mode: str) -> list[int]:
    """Batches after which an arm's curve first passes 0.5, seed by seed; nothing where one of them never does."""
    group = next(group for (name,), group in grouped(rows, "arm") if name == arm)
    found = [
        [int(u) for u, value in zip(m["updates"], m[mode], strict=True) if value >= PASSED]
        for m in (row["measures"] for row in group)
    ]
    return [batches[0] for batches in found] if all(found) else []


def _has_early(rows: Rows) -> bool:
    """Whether training went as far as the early batch."""
    return all(row["measures"]["early"] for row in rows)


def table(rows: Rows) -> Table:
    times = {"early": f"at batch {EARLY_BATCH}", "final": "at the end"} if _has_early(rows) else {"final": "at the end"}
    modes = ("inference", "by_batch", "precise")
    lines = [["", *(f"{word}: {mode.replace('_', ' ')}" for word in times.values() for mode in modes)]]
    for (arm,), _ in grouped(rows, "arm"):
        values = [f"{summarise(final(rows, arm, mode, when)):.3f}" for when in times for mode in modes]
        lines.append([arm, *values])
    return lines


def figures(rows: Rows) -> "dict[str, Figure]":
    modes = {"by_batch": "training mode (moments of the batch)", "inference": "inference mode (moving statistics)"}
    with new_figure((9, 3.6), 1, 2) as (figure, axes):
        for axis, (mode, title) in zip(axes[0], modes.items(), strict=True):
            for i, ((arm,), group) in enumerate(grouped(rows, "arm")):
                draw_band(axis, i, arm, group[0]["measures"]["updates"], [row["measures"][mode] for row in group])
            axis.set_title(title, fontsize=9)
            axis.set_xlabel("batches")
            axis.set_ylim(0, 1.02)
        axes[0][0].set_ylabel("accuracy on held-out images")
        handles, labels = axes[0][0].get_legend_handles_labels()
        seeds = len({row["cell"]["seed"] for row in rows})
        note = f"median of {seeds} seeds, band: the middle half"
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), title=note)
    return {"curves": figure}


def draw_band(axis: Any, i: int, label: str, x: Any, curves: Any) -> None:
    """Draw the median of curves and the band between their quartiles."""
    lower, median, upper = np.quantile(np.asarray(curves, dtype=np.float64), [0.25, 0.5, 0.75], axis=0)
    style = line_style(i, len(x))
    axis.plot(x, median, label=label, **style)
    axis.fill_between(x, lower, upper, color=style["color"], alpha=0.18, lw=0)


STUDY = Study(
    name="bn-fair",
    title="None, the framework's and a written-out normalisation, from equal starts",
    question="Is batch normalisation written by hand the same as the framework's, where both begin from the same "
    "weights and see the same batches, and what does either change?",
    setting="The lesson's 20-layer classifier, its classic schedule of {updates} batches of 64, {seeds} seeds; a seed "
    "gives weights and batches to all arms. As in the notebooks, the framework's layer stores the variance of "
    "the convolutions with Bessel's correction, the written-out one without. Accuracy on all test images; curves on "
    "500 held-out ones, after every 25 batches. By its own moments goes every whole batch of 64.",
    source="Ioffe and Szegedy, ICML 2015; the lesson's notebooks.",
    updates=800,
    seeds=20,
    plan=plan,
    measure=measure,
    answer=answer,
    table=table,
    figures=figures,
)
