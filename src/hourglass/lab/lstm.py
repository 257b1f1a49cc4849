"""bn-lstm: recurrent batch normalisation on digits read row by row."""

import copy
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
BATCH, RATE, NOISE, EVERY, SHOWN = 100, 0.003, 0.1, 50, 1000
# Held-out accuracy whose first crossing is called converged.
CONVERGED = 0.95


def plan(seeds: int, updates: int) -> list[Cell]:
    """Every arm from every seed."""
    return [
        {
            "arm": arm, "gamma": gamma, "noise": NOISE, "learning_rate": RATE, "batch_size": BATCH,
            "seed": seed, "updates": updates,
        }
        for seed in range(seeds)
        for arm, gamma in ARMS.items()
    ]  # fmt: skip


def measure(cell: Cell, data: Dataset) -> Measures:
    """Curve on held-out images, test accuracy, updates until the curve crosses 0.95, gradients at step 0."""
    part, held_out = data.split_validation()
    images, labels = examples(part)
    tested, shown = examples(data.test), examples(held_out, SHOWN)
    steps, features = images.shape[2:]
    with torch.random.fork_rng([]):
        network = LSTM(features, classes=10, steps=steps, gamma=cell["gamma"], noise=cell["noise"])
    network.reset_parameters(torch.Generator().manual_seed(cell["seed"]))

    def report(index: Tensor) -> dict[str, float]:
        return {"accuracy": round(accuracy(network, shown), 4)}

    trainer = Trainer(
        network,
        LOSSES["softmax"],
        Adam(network.parameters(), cell["learning_rate"]),
        images,
        F.one_hot(labels, 10).float(),
        batches=ShuffledBatches(len(images), cell["batch_size"], torch.Generator().manual_seed(cell["seed"])),
        updates=cell["updates"],
        schedule=SCHEDULES["one-cycle"],
        reports=[Report(report, EVERY)],
    )
    with torch.random.fork_rng([]):
        torch.manual_seed(cell["seed"])  # of the noise
        gradients = gradients_by_step(network, images[:BATCH], labels[:BATCH])
        updates, curve = trainer.run().series("accuracy")
    crossed = [int(update) for update, value in zip(updates, curve, strict=True) if value >= CONVERGED]
    return {
        "updates": updates.tolist(),
        "curve": curve.tolist(),
        "converged": crossed[0] if crossed else None,
        "gradients": [float(f"{value:.4g}") for value in gradients],
        "accuracy": round(accuracy(network, tested), 4),
    }


def gradients_by_step(network: LSTM, images: Tensor, labels: Tensor) -> list[float]:
    """Norm of the loss's gradient by the hidden state after each step, mean over images, in training mode."""
    twin = copy.deepcopy(network).train()
    states = twin.hidden_states(images)
    loss = F.cross_entropy(twin.output(states[-1]), labels, reduction="sum")
    return [float(gradient.norm(dim=1).mean()) for gradient in torch.autograd.grad(loss, states)]


def _values(rows: Rows, name: str) -> dict[str, list[Any]]:
    return {arm: [row["measures"][name] for row in group] for (arm,), group in grouped(rows, "arm")}


def answer(rows: Rows) -> str:
    reached, crossed = _values(rows, "accuracy"), _values(rows, "converged")
    sentences = [
        "Test accuracy " + ", ".join(f"{summarise(values):.4f} ({arm})" for arm, values in reached.items()) + "."
    ]
    steps = ", ".join(
        f"{summarise(values):.0f} ({arm})" if all(values) else f"never in {sum(not v for v in values)} seeds ({arm})"
        for arm, values in crossed.items()
    )
    said = f"Updates until the held-out accuracy is {CONVERGED}, looked at every {EVERY}: {steps}"
    sooner = [arm for arm in ARMS if arm != "plain" and all(crossed["plain"]) and all(crossed[arm])]
    said += "".join(f"; {arm} {paired(crossed['plain'], crossed[arm]):.0f} before the plain network" for arm in sooner)
    sentences.append(f"{said}.")
    fallen = ", ".join(
        f"{summarise([values[0] / values[-1] for values in found]):.2g} ({arm})"
        for arm, found in _values(rows, "gradients").items()
    )
    sentences.append(f"Gradient by the hidden state after the first row, in units of the last row's, step 0: {fallen}.")
    return " ".join(sentences)


def table(rows: Rows) -> Table:
    reached, crossed = _values(rows, "accuracy"), _values(rows, "converged")
    lines = [["network", "test accuracy", f"updates until {CONVERGED}"]]
    for arm, values in reached.items():
        steps = [value for value in crossed[arm] if value is not None]
        lines.append([arm, f"{summarise(values):.4f}", f"{summarise(steps):.0f}" if steps else "never"])
    return lines


def figures(rows: Rows) -> "dict[str, Figure]":
    with new_figure((9.5, 3.6), 1, 2) as (figure, axes):
        axis, gradients = axes[0]
        for i, ((arm,), group) in enumerate(grouped(rows, "arm")):
            draw_band(axis, i, arm, group[0]["measures"]["updates"], [row["measures"]["curve"] for row in group])
            by_step = [row["measures"]["gradients"] for row in group]
            draw_band(gradients, i, arm, range(1, len(by_step[0]) + 1), by_step)
        gradients.set_yscale("log")
        gradients.set_xlabel("row of the digit")
        gradients.set_title("gradient by the hidden state, step 0", fontsize=9)
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
    "at 0.1 or at 1, statistics for each time step, noise of 0.1 on the first hidden state in training. Softmax "
    "cross-entropy, Adam, one cycle to 0.003, {updates} batches "
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
