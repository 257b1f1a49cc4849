"""bn-lstm: recurrent batch normalisation on digits read row by row."""

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from hourglass.data import Dataset
from hourglass.lab.cells import Cell, Measures, grouped
from hourglass.lab.fair import draw_band
from hourglass.lab.networks import accuracy, examples
from hourglass.lab.statistics import paired, summarise
from hourglass.lab.study import Rows, Study, Table
from hourglass.nn import LSTM
from hourglass.plots import new_figure
from hourglass.training import LOSSES, SCHEDULES, Adam, Report, ShuffledBatches, Trainer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ARMS: dict[str, float | None] = {"plain": None, "gamma 0.1": 0.1, "gamma 1": 1.0}
BATCH, RATE, EVERY, SHOWN = 100, 0.003, 50, 1000
# Held-out accuracy whose first crossing is called converged.
CONVERGED = 0.95


def plan(seeds: int, updates: int) -> list[Cell]:
    """Every arm from every seed."""
    return [
        {"arm": arm, "gamma": gamma, "seed": seed, "updates": updates}
        for seed in range(seeds)
        for arm, gamma in ARMS.items()
    ]


def measure(cell: Cell, data: Dataset) -> Measures:
    """Curve on held-out images, test accuracy, and updates until the curve crosses 0.95."""
    part, held_out = data.split_validation()
    images, labels = examples(part)
    tested, shown = examples(data.test), examples(held_out, SHOWN)
    steps, features = images.shape[2:]
    with torch.random.fork_rng([]):
        network = LSTM(features, classes=10, steps=steps, gamma=cell["gamma"])
    network.reset_parameters(torch.Generator().manual_seed(cell["seed"]))

    def report(index: Tensor) -> dict[str, float]:
        return {"accuracy": round(accuracy(network, shown), 4)}

    trainer = Trainer(
        network,
        LOSSES["softmax"],
        Adam(network.parameters(), RATE),
        images,
        F.one_hot(labels, 10).float(),
        batches=ShuffledBatches(len(images), BATCH, torch.Generator().manual_seed(cell["seed"])),
        updates=cell["updates"],
        schedule=SCHEDULES["one-cycle"],
        reports=[Report(report, EVERY)],
    )
    updates, curve = trainer.run().series("accuracy")
    crossed = [int(update) for update, value in zip(updates, curve, strict=True) if value >= CONVERGED]
    return {
        "updates": updates.tolist(),
        "curve": curve.tolist(),
        "converged": crossed[0] if crossed else None,
        "accuracy": round(accuracy(network, tested), 4),
    }


def _values(rows: Rows, name: str) -> dict[str, list[Any]]:
    return {arm: [row["measures"][name] for row in group] for (arm,), group in grouped(rows, "arm")}


def answer(rows: Rows) -> str:
    reached, crossed = _values(rows, "accuracy"), _values(rows, "converged")
    sentences = [
        "Test accuracy " + ", ".join(f"{summarise(values):.4f} ({arm})" for arm, values in reached.items()) + "."
    ]
    if all(all(values) for values in crossed.values()):
        steps = ", ".join(f"{summarise(values):.0f} ({arm})" for arm, values in crossed.items())
        sooner = [paired(crossed["plain"], crossed[arm]) for arm in ("gamma 0.1", "gamma 1")]
        sentences.append(
            f"Updates until the held-out accuracy is {CONVERGED}: {steps}; gamma 0.1 is there {sooner[0]:.0f} updates "
            f"before the plain network, gamma 1 {sooner[1]:.0f}."
        )
    return " ".join(sentences)


def table(rows: Rows) -> Table:
    reached, crossed = _values(rows, "accuracy"), _values(rows, "converged")
    lines = [["network", "test accuracy", f"updates until {CONVERGED}"]]
    for arm, values in reached.items():
        steps = [value for value in crossed[arm] if value is not None]
        lines.append([arm, f"{summarise(values):.4f}", f"{summarise(steps):.0f}" if steps else "never"])
    return lines


def figures(rows: Rows) -> "dict[str, Figure]":
    with new_figure((6, 3.6)) as (figure, axes):
        axis = axes[0][0]
        for i, ((arm,), group) in enumerate(grouped(rows, "arm")):
            draw_band(axis, i, arm, group[0]["measures"]["updates"], [row["measures"]["curve"] for row in group])
        axis.set_xlabel("updates")
        axis.set_ylabel("accuracy on held-out digits")
        axis.set_ylim(0.5, 1.005)
        axis.legend(loc="lower right", title="median, middle half")
    return {"curves": figure}


STUDY = Study(
    name="bn-lstm",
    title="Recurrent batch normalisation, digits row by row",
    question="Does batch normalisation help a recurrent network, and why does gamma have to start small?",
    setting="An LSTM of 100 units reads the 28 rows of a digit; plain, and with batch normalisation whose gammas start "
    "at 0.1 or at 1, statistics for each time step. Softmax cross-entropy, Adam, one cycle to 0.003, {updates} batches "
    "of 100, {seeds} seeds; equal starts and batches.",
    source="Cooijmans et al., ICLR 2017.",
    updates=2500,
    seeds=3,
    plan=plan,
    measure=measure,
    answer=answer,
    table=table,
    figures=figures,
)
