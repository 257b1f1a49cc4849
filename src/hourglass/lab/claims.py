"""bn-claims: larger learning rates, careless initialisation, saturating activations, with two optimisers."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from hourglass.data import Dataset
from hourglass.experiments.captions import listed
from hourglass.lab.cells import Cell, Measures, grouped
from hourglass.lab.networks import CHANCE, TRAINS, accuracy, examples, train
from hourglass.lab.statistics import Difference, Summary, compare, paired, summarise
from hourglass.lab.study import Row, Rows, Study, Table
from hourglass.lab.words import verdict
from hourglass.plots import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Adam divides by the gradient's own size, so that its useful rates are smaller.
RATES = {"sgd": (1e-3, 1e-2, 1e-1, 1.0, 10.0), "adam": (1e-4, 1e-3, 1e-2, 1e-1, 1.0)}
INITS: dict[str, str | float] = {"Glorot": "glorot", "He": "he", "σ 0.05": 0.05, "σ 1": 1.0, "σ 5": 5.0}
ACTIVATIONS = ("relu", "sigmoid", "tanh")
NORMS = ("none", "batch")
OPTIMISERS = {"sgd": "plain SGD", "adam": "Adam"}
# Settings of the cells by which the table groups, and their headings.
GROUPS = {"learning_rate": "learning rate", "init": "initialisation", "activation": "activation"}


def plan(seeds: int, n_steps: int) -> list[Cell]:
    """Return every cell of the grid, seed by seed."""
    return [
        {
            "optimiser": optimiser, "learning_rate": rate, "init": name, "kernel_init": init, "activation": activation,
            "norm": norm, "norm_momentum": 0.1, "seed": seed, "n_steps": n_steps,
        }
        for seed in range(seeds)
        for optimiser, rates in RATES.items()
        for activation in ACTIVATIONS
        for name, init in INITS.items()
        for rate in rates
        for norm in NORMS
    ]  # fmt: skip


def measure(cell: Cell, data: Dataset) -> Measures:
    """Train, and return the test accuracy in inference mode, or that training diverged."""
    try:
        estimator = train(cell, data, report_every=cell["n_steps"])
    except FloatingPointError:
        return {"accuracy": None, "diverged": True}
    return {"accuracy": round(accuracy(estimator.network_, examples(data.test)), 4), "diverged": False}


def reached(row: Row) -> float:
    """Accuracy of a training; one that diverged counts as guessing."""
    value = row["measures"]["accuracy"]
    return CHANCE if value is None else float(value)


class Effect:
    """Some settings trained without and with normalisation, summarised seed by seed.

    Parameters
    ----------
    rows : sequence of mapping
        Those of the settings, for both normalisations and every seed.
    """

    def __init__(self, rows: Rows) -> None:
        # Arrays of shape (seeds, settings).
        self.accuracies = {
            norm: np.array(
                [
                    [reached(row) for row in group if row["cell"]["norm"] == norm]
                    for _, group in sorted(grouped(rows, "seed"), key=lambda each: each[0])
                ]
            )
            for norm in NORMS
        }
        self.settings = self.accuracies["none"].shape[1]

    def trained(self, norm: str) -> Summary:
        """How many of the settings train."""
        return summarise((self.accuracies[norm] >= TRAINS).sum(axis=1))

    def ever(self, norm: str) -> bool:
        """Whether any setting trains with any seed."""
        return bool((self.accuracies[norm] >= TRAINS).any())

    def pair(self) -> tuple[list[float], list[float]]:
        """Mean accuracy over the settings with and without normalisation, seed by seed."""
        plain, normalised = (self.accuracies[norm].mean(axis=1).tolist() for norm in NORMS)
        return normalised, plain


def effects(rows: Rows, optimiser: str, name: str) -> dict[str, Effect]:
    """Effect of normalisation with an optimiser, for each value of a setting."""
    chosen = [row for row in rows if row["cell"]["optimiser"] == optimiser]
    return {
        f"{value:g}" if isinstance(value, float) else value: Effect(group) for (value,), group in grouped(chosen, name)
    }


def answer(rows: Rows) -> str:
    """Say for each optimiser what normalisation changes, over all settings and at each learning rate."""
    overall = {each: effects(rows, each, "optimiser")[each] for each in OPTIMISERS}
    by_rate = {each: effects(rows, each, "learning_rate") for each in OPTIMISERS}
    differences = compare({each: effect.pair() for each, effect in overall.items()})
    at_rates = compare({(each, rate): at.pair() for each, found in by_rate.items() for rate, at in found.items()})
    said: list[str] = []
    for each in OPTIMISERS:
        found = {rate: at_rates[each, rate] for rate in by_rate[each]}
        said.append(_of_optimiser(each, overall[each], differences[each], by_rate[each], found))
        said.append(_of_settings(rows, each))
    return " ".join(filter(None, said))


def _of_optimiser(
    name: str, overall: Effect, difference: Difference, by_rate: dict[str, Effect], at_rates: dict[str, Difference]
) -> str:
    said = verdict(
        difference,
        "batch normalisation raises the accuracy",
        "batch normalisation lowers the accuracy",
        "no effect of batch normalisation can be distinguished",
    )
    sentences = [
        f"With {OPTIMISERS[name]}, {said}: over all {overall.settings} settings the mean accuracy changes by "
        f"{difference:.2f}; {overall.trained('batch'):.1f} settings train with it and {overall.trained('none'):.1f} "
        "without."
    ]
    if higher := [rate for rate, each in at_rates.items() if each.above]:
        sentences.append(f"The accuracy is higher with it at {_rates(higher)}.")
    if lower := [rate for rate, each in at_rates.items() if each.below]:
        sentences.append(f"It is lower with it at {_rates(lower)}.")
    for norm, word in (("batch", "With normalisation"), ("none", "Without it")):
        failing = [rate for rate, effect in by_rate.items() if not effect.ever(norm)]
        if len(failing) == len(by_rate):
            sentences.append(f"{word} no setting trains, with any seed.")
        elif failing:
            sentences.append(f"{word} no setting trains at {_rates(failing)}, with any seed.")
    return " ".join(sentences)


def _of_settings(rows: Rows, optimiser: str) -> str:
    """Name the initialisations and activations with which any setting trains, unless none does."""
    parts = []
    for norm, word in (("batch", "With normalisation"), ("none", "Without it")):
        found = []
        for name, noun in (("init", "initialisation"), ("activation", "activation")):
            each = effects(rows, optimiser, name)
            if ever := [value for value, effect in each.items() if effect.ever(norm)]:
                every, plural = len(ever) == len(each), "s" * (len(ever) > 1)
                found.append(f"every {noun}" if every else f"the {noun}{plural} {listed(ever)}")
        if found:
            parts.append(f"{word}, the settings that train include some with {listed(found)}.")
    return " ".join(parts)


def _rates(rates: list[str]) -> str:
    return f"{'rate' if len(rates) == 1 else 'rates'} {listed(rates)}"


def table(rows: Rows) -> Table:
    """Summarise the settings by optimiser, and by rate, initialisation or activation; the figures have every one."""
    lines = [
        [
            "optimiser", "settings", "number", "number that train without", "number that train with",
            "accuracy without", "accuracy with", "difference",
        ]
    ]  # fmt: skip
    for optimiser, title in OPTIMISERS.items():
        for label, effect in _groups(rows, optimiser):
            normalised, plain = effect.pair()
            trained = [f"{effect.trained(norm):.1f}" for norm in NORMS]
            means = [f"{summarise(values):.2f}" for values in (plain, normalised)]
            difference = f"{paired(normalised, plain):.2f}"
            lines.append([title, label, str(effect.settings), *trained, *means, difference])
    return lines


def _groups(rows: Rows, optimiser: str) -> Iterator[tuple[str, Effect]]:
    yield "all", effects(rows, optimiser, "optimiser")[optimiser]
    for name, heading in GROUPS.items():
        for value, effect in effects(rows, optimiser, name).items():
            yield f"{heading} {value}", effect


def figures(rows: Rows) -> "dict[str, Figure]":
    """One figure for each optimiser."""
    return {name: _accuracies(rows, name) for name in OPTIMISERS}


def _accuracies(rows: Rows, optimiser: str) -> "Figure":
    """Mean accuracy of every setting with an optimiser, without normalisation above and with it below."""
    rates = RATES[optimiser]
    found = {
        values: float(np.mean([reached(row) for row in group]))
        for values, group in grouped(rows, "optimiser", "norm", "activation", "init", "learning_rate")
    }
    with new_figure((9.6, 6.2), len(NORMS), len(ACTIVATIONS)) as (figure, axes):
        for line, norm, label in zip(axes, NORMS, ("without", "with batch normalisation"), strict=True):
            for axis, activation in zip(line, ACTIVATIONS, strict=True):
                means = [[found[optimiser, norm, activation, init, rate] for rate in rates] for init in INITS]
                drawn = axis.imshow(means, vmin=0, vmax=1, cmap="viridis", aspect="auto")
                for y, row in enumerate(means):
                    for x, mean in enumerate(row):
                        axis.text(x, y, f"{mean:.2f}", ha="center", va="center", fontsize=8,
                                  color="black" if mean > 0.6 else "white")  # fmt: skip
                axis.set_title(f"{activation}, {label}", fontsize=9)
                axis.set_xticks(range(len(rates)), [f"{rate:g}" for rate in rates])
                axis.set_yticks(range(len(INITS)), list(INITS))
                axis.grid(visible=False)
        for axis in axes[-1]:
            axis.set_xlabel("learning rate")
        for line in axes:
            line[0].set_ylabel("initial kernels")
        figure.suptitle(OPTIMISERS[optimiser], fontsize=11)
        figure.colorbar(drawn, ax=axes.ravel().tolist(), label="test accuracy, mean over seeds", shrink=0.6)
    return figure


STUDY = Study(
    name="bn-claims",
    title="Higher learning rates, careless initialisation, saturating activations",
    question="Does batch normalisation allow higher learning rates, careless initialisation and saturating "
    "activations, and where does training fail even with it?",
    setting="The 20-layer classifier is trained with every combination of two optimisers (plain SGD, as in the paper "
    "and the lesson, and Adam), five constant learning rates for each, five initialisations of the kernels (Glorot, "
    "He, and normal distributions with standard deviations σ of 0.05, 1 and 5) and three activations, without "
    "normalisation and with PyTorch's layer (momentum 0.1). Each training takes {n_steps} steps "
    "with batches of 64; there are {seeds} seeds. The measure is the test accuracy in inference mode. A setting is "
    f"said to train if it reaches {TRAINS}. A training that diverges counts as guessing, with an accuracy of {CHANCE}.",
    source="Ioffe and Szegedy, ICML 2015, sections 3.3 and 4.2.",
    n_steps=150,
    seeds=3,
    plan=plan,
    measure=measure,
    answer=answer,
    table=table,
    figures=figures,
)
