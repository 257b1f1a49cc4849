"""bn-lstm: recurrent batch normalisation, on digits that are read row by row."""

import copy
import math
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from hourglass.data import Dataset
from hourglass.experiments.captions import listed
from hourglass.lab.cells import Cell, Measures, grouped
from hourglass.lab.drawing import draw_medians, medians_note
from hourglass.lab.networks import accuracy, examples
from hourglass.lab.statistics import compare, summarise
from hourglass.lab.study import Rows, Study, Table
from hourglass.lab.words import Geometric, verdict
from hourglass.nn import LSTMClassifier
from hourglass.plots import new_figure
from hourglass.training import LOSSES, SCHEDULES, Adam, Report, ResidentSource, Trainer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ARMS: dict[str, float | None] = {"plain": None, "gamma 0.1": 0.1, "gamma 1": 1.0}
BATCH, RATE, NOISE, EVERY, SHOWN = 100, 0.003, 0.1, 50, 1000
# Held-out accuracy from which a network counts as converged.
CONVERGED = 0.95


def plan(seeds: int, n_steps: int) -> list[Cell]:
    """Return every arm for every seed."""
    return [
        {
            "arm": arm, "gamma": gamma, "noise": NOISE, "learning_rate": RATE, "batch_size": BATCH,
            "seed": seed, "n_steps": n_steps,
        }
        for seed in range(seeds)
        for arm, gamma in ARMS.items()
    ]  # fmt: skip


def measure(cell: Cell, data: Dataset) -> Measures:
    """Return the held-out curve, the steps until it reaches 0.95, the test accuracy, and gradients at step 0."""
    part, held_out = data.split_validation()
    images, labels = examples(part)
    tested, shown = examples(data.test), examples(held_out, SHOWN)
    steps, features = images.shape[2:]
    with torch.random.fork_rng([]):
        network = LSTMClassifier(features, classes=10, steps=steps, gamma=cell["gamma"], noise=cell["noise"])
    network.reset_parameters(torch.Generator().manual_seed(cell["seed"]))

    def report(index: Tensor, step: int) -> dict[str, float]:
        return {"accuracy": round(accuracy(network, shown), 4)}

    source = ResidentSource(images, F.one_hot(labels, 10).float())
    trainer = Trainer(
        network,
        LOSSES["softmax"],
        Adam(network.parameters(), cell["learning_rate"]),
        source,
        sampler=source.order(cell["batch_size"], torch.Generator().manual_seed(cell["seed"])),
        n_steps=cell["n_steps"],
        schedule=SCHEDULES["one-cycle"],
        reports=[Report(report, EVERY)],
    )
    with torch.random.fork_rng([]):
        torch.manual_seed(cell["seed"])  # for the noise
        gradients = gradients_by_step(network, images[:BATCH], labels[:BATCH])
        reported, curve = trainer.run().series("accuracy")
    crossed = [int(step) for step, value in zip(reported, curve, strict=True) if value >= CONVERGED]
    return {
        "steps": reported.tolist(),
        "curve": curve.tolist(),
        "converged": crossed[0] if crossed else None,
        "gradients": [float(f"{value:.4g}") for value in gradients],
        "accuracy": round(accuracy(network, tested), 4),
    }


def gradients_by_step(network: LSTMClassifier, images: Tensor, labels: Tensor) -> list[float]:
    """Norm of the loss's gradient with respect to each step's hidden state, mean over images, in training mode."""
    twin = copy.deepcopy(network).train()
    states = twin.hidden_states(images)
    loss = F.cross_entropy(twin.output(states[-1]), labels, reduction="sum")
    return [float(gradient.norm(dim=1).mean()) for gradient in torch.autograd.grad(loss, states)]


def _values(rows: Rows, name: str) -> dict[str, list[Any]]:
    return {arm: [row["measures"][name] for row in group] for (arm,), group in grouped(rows, "arm")}


def _gradients(rows: Rows) -> dict[str, list[float]]:
    """Gradient at the first row as a multiple of that at the last, at step 0, by arm."""
    return {arm: [each[0] / each[-1] for each in found] for arm, found in _values(rows, "gradients").items()}


def answer(rows: Rows) -> str:
    """Compare both normalised networks with the plain one, and say what gradients explain of it."""
    reached = _values(rows, "accuracy")
    others = [arm for arm in ARMS if arm != "plain"]
    found = compare({arm: (reached[arm], reached["plain"]) for arm in others})
    parts = [
        verdict(found[arm], "raises it", "lowers it", "has no distinguishable effect on it")
        + f" with {arm} ({summarise(reached[arm]):.4f})"
        for arm in others
    ]
    return (
        f"The plain network reaches a test accuracy of {summarise(reached['plain']):.4f}. Batch normalisation "
        f"{listed(parts)}. {_of_gradients(rows, reached)}"
    )


def _of_gradients(rows: Rows, reached: dict[str, list[float]]) -> str:
    """Whether the start of gamma with the larger gradient at the first row is the one that learns better."""
    small, large = (arm for arm in ARMS if arm != "plain")
    gradients = _gradients(rows)
    logs = {arm: [math.log10(value) for value in values] for arm, values in gradients.items()}
    found = compare({"gradient": (logs[small], logs[large]), "accuracy": (reached[small], reached[large])})
    gradient, accuracy_ = found["gradient"], found["accuracy"]
    if gradient.above and accuracy_.above:
        said = f"{small} also passes on more of the gradient, which agrees with its higher accuracy"
    elif gradient.below and accuracy_.above:
        said = (
            f"{small} learns better than {large} although {large} passes on more of it: the start does not explain it"
        )
    else:
        said = f"these runs do not decide whether it explains the difference between {small} and {large}"
    shown = ", ".join(f"{Geometric(values).mean} ({arm})" for arm, values in gradients.items())
    return f"Before training, the gradient at the first row divided by the gradient at the last row is {shown}; {said}."


def _steps(steps: list[int | None]) -> str:
    """Mean number of steps; every seed's own where one of them never gets there."""
    if all(steps):
        return f"{summarise([step for step in steps if step]):.0f}"
    return f"all runs: {', '.join(str(step or 'never') for step in steps)}"


def table(rows: Rows) -> Table:
    """Accuracy, steps until convergence and gradient at step 0, one network a line."""
    reached, crossed, gradients = _values(rows, "accuracy"), _values(rows, "converged"), _gradients(rows)
    lines = [["network", "test accuracy", f"steps until {CONVERGED}", "gradient, first row / last row"]]
    for arm, values in reached.items():
        lines.append([arm, f"{summarise(values):.4f}", _steps(crossed[arm]), str(Geometric(gradients[arm]))])
    return lines


def figures(rows: Rows) -> "dict[str, Figure]":
    """Accuracy on held-out digits along training, and the gradient by row before it."""
    with new_figure((9.5, 3.6), 1, 2) as (figure, axes):
        axis, gradients = axes[0]
        for i, ((arm,), group) in enumerate(grouped(rows, "arm")):
            draw_medians(axis, i, arm, group[0]["measures"]["steps"], [row["measures"]["curve"] for row in group])
            by_step = [row["measures"]["gradients"] for row in group]
            draw_medians(gradients, i, arm, range(1, len(by_step[0]) + 1), by_step, log=True)
        gradients.set_yscale("log")
        gradients.set_xlabel("row of the digit")
        gradients.set_title("gradient by the hidden state, step 0", fontsize=9)
        axis.set_xlabel("step")
        axis.set_ylabel("accuracy on held-out digits")
        axis.set_ylim(0.5, 1.005)
        axis.legend(loc="lower right", title=medians_note(len({row["cell"]["seed"] for row in rows})))
    return {"curves": figure}


STUDY = Study(
    name="bn-lstm",
    title="Recurrent batch normalisation, digits row by row",
    question="Does batch normalisation help a recurrent network, and why does gamma have to start small?",
    setting="An LSTM of 100 units reads the 28 rows of a digit. It is compared without normalisation (plain) and with "
    "batch normalisation whose gammas start at 0.1 or at 1. The normalisation has statistics for each time step, and "
    "in training noise of 0.1 is added to the first hidden state. The loss is softmax cross-entropy; the optimiser is "
    "Adam with a one-cycle schedule that rises to 0.003. There are {n_steps} steps with batches of 100, and {seeds} "
    "seeds; networks with the same seed have the same initial weights and the same batches. "
    f"Whether the accuracy has reached {CONVERGED} is checked every {EVERY} steps.",
    source="Cooijmans et al., ICLR 2017.",
    n_steps=2500,
    seeds=3,
    plan=plan,
    measure=measure,
    answer=answer,
    table=table,
    figures=figures,
)
