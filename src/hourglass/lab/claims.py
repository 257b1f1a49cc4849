"""bn-claims: larger rates, careless initialisation, saturating activations."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from hourglass.data import Dataset
from hourglass.lab.cells import Cell, Measures, grouped
from hourglass.lab.networks import CHANCE, accuracy, examples, train
from hourglass.lab.statistics import Summary, paired, summarise
from hourglass.lab.study import Row, Rows, Study, Table
from hourglass.plots import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Adam divides by the gradient's own size, so that its useful rates are smaller.
RATES = {"sgd": (1e-3, 1e-2, 1e-1, 1.0, 10.0), "adam": (1e-4, 1e-3, 1e-2, 1e-1, 1.0)}
INITS: dict[str, str | float] = {"Glorot": "glorot", "He": "he", "σ 0.05": 0.05, "σ 1": 1.0, "σ 5": 5.0}
ACTIVATIONS = ("relu", "sigmoid", "tanh")
NORMS = ("none", "layer")
# Accuracy from which a training counts as one: five times that of guessing.
TRAINS = 0.5


def plan(seeds: int, updates: int) -> list[Cell]:
    """The whole grid, seed by seed."""
    return [
        {
            "optimiser": optimiser, "learning_rate": rate, "init": name, "kernel_init": init, "activation": activation,
            "norm": norm, "norm_momentum": 0.1, "seed": seed, "updates": updates,
        }
        for seed in range(seeds)
        for optimiser, rates in RATES.items()
        for activation in ACTIVATIONS
        for name, init in INITS.items()
        for rate in rates
        for norm in NORMS
    ]  # fmt: skip


def measure(cell: Cell, data: Dataset) -> Measures:
    """Test accuracy in inference mode at the end, or that training diverged."""
    try:
        estimator = train(cell, data, report_every=cell["updates"])
    except FloatingPointError:
        return {"accuracy": None, "diverged": True}
    return {"accuracy": round(accuracy(estimator.network_, examples(data.test)), 4), "diverged": False}


def reached(row: Row) -> float:
    """Accuracy; of a diverged training that of guessing."""
    value = row["measures"]["accuracy"]
    return CHANCE if value is None else float(value)


def settings(rows: Rows, norm: str) -> dict[tuple[Any, ...], list[float]]:
    """Accuracies over seeds by activation, initialisation and rate."""
    return {
        values: [reached(row) for row in group]
        for values, group in grouped(
            [row for row in rows if row["cell"]["norm"] == norm], "activation", "init", "learning_rate"
        )
    }


def answer(rows: Rows) -> str:
    plain, normalised = (settings(rows, norm) for norm in NORMS)
    differences = paired(*(np.mean(list(group.values()), axis=0).tolist() for group in (normalised, plain)))
    trains = [_count(group) for group in (normalised, plain)]
    at_largest = [_count(group, lambda key: key[2] == max(RATES)) for group in (normalised, plain)]
    of_each = len(plain) // len(ACTIVATIONS)
    by_activation = ", ".join(
        f"{_count(normalised, lambda key, name=name: key[0] == name):.1f} with {name}" for name in ACTIVATIONS
    )
    return (
        f"Of {len(plain)} settings {trains[0]:.1f} reach an accuracy of {TRAINS} with batch normalisation and "
        f"{trains[1]:.1f} without; the mean difference over all settings is {differences:.3f}. At the learning "
        f"rate {max(RATES):g} it is {at_largest[0]:.1f} of {len(plain) // len(RATES)} with it and "
        f"{at_largest[1]:.1f} without. With it, of {of_each} settings of each activation those that "
        f"train are {by_activation}."
    )


def _count(found: dict[tuple[Any, ...], list[float]], which: Callable[..., bool] = lambda key: True) -> Summary:
    """How many of the settings train, over seeds."""
    return summarise((np.array([values for key, values in found.items() if which(key)]) >= TRAINS).sum(axis=0))


def table(rows: Rows) -> Table:
    lines = [["activation", "initialisation", "normalisation", *(f"rate {rate:g}" for rate in RATES)]]
    for activation in ACTIVATIONS:
        for init in INITS:
            for norm in NORMS:
                found = settings(rows, norm)
                cells = [found.get((activation, init, rate)) for rate in RATES]
                lines.append([activation, init, norm, *(f"{summarise(v):.2f}" if v else "–" for v in cells)])
    return lines


def figures(rows: Rows) -> "dict[str, Figure]":
    with new_figure((9.6, 6.2), len(NORMS), len(ACTIVATIONS)) as (figure, axes):
        for line, norm, label in zip(axes, NORMS, ("without", "with batch normalisation"), strict=True):
            found = settings(rows, norm)
            for axis, activation in zip(line, ACTIVATIONS, strict=True):
                means = [[float(np.mean(found.get((activation, i, r), [np.nan]))) for r in RATES] for i in INITS]
                drawn = axis.imshow(means, vmin=0, vmax=1, cmap="viridis", aspect="auto")
                for y, row in enumerate(means):
                    for x, mean in enumerate(row):
                        axis.text(x, y, f"{mean:.2f}", ha="center", va="center", fontsize=8,
                                  color="black" if mean > 0.6 else "white")  # fmt: skip
                axis.set_title(f"{activation}, {label}", fontsize=9)
                axis.set_xticks(range(len(RATES)), [f"{rate:g}" for rate in RATES])
                axis.set_yticks(range(len(INITS)), list(INITS))
                axis.grid(visible=False)
        for axis in axes[-1]:
            axis.set_xlabel("learning rate")
        for line in axes:
            line[0].set_ylabel("initial kernels")
        figure.colorbar(drawn, ax=axes.ravel().tolist(), label="test accuracy, mean over seeds", shrink=0.6)
    return {"accuracy": figure}


STUDY = Study(
    name="bn-claims",
    title="Higher rates, careless initialisation, saturating activations",
    question="Does batch normalisation allow higher learning rates, less care about initialisation, and saturating "
    "activations, and where does it fail too?",
    setting="The 20-layer classifier, every combination of five learning rates (constant), five initialisations of the "
    "kernels and three activations, without and with PyTorch's layer (momentum 0.1): {updates} batches of 64, {seeds} "
    "seeds, test accuracy in inference mode. A training that diverges counts as guessing, 0.1.",
    source="Ioffe and Szegedy, ICML 2015, sections 3.3 and 4.2.",
    updates=150,
    seeds=3,
    plan=plan,
    measure=measure,
    answer=answer,
    table=table,
    figures=figures,
)
