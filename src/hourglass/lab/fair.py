"""bn-fair: no normalisation, the framework's and the written-out one, from equal starts."""

import copy
from typing import TYPE_CHECKING

from torch import Tensor, nn

from hourglass.data import Dataset
from hourglass.lab.cells import Cell, Measures, grouped
from hourglass.lab.drawing import draw_medians, medians_note
from hourglass.lab.networks import BATCH, TRAINS, accuracy, accuracy_by_batch, examples, train
from hourglass.lab.statistics import Difference, compare, summarise, summarise_median
from hourglass.lab.study import Rows, Study, Table
from hourglass.lab.words import verdict
from hourglass.nn import recompute_statistics
from hourglass.nn.population import normalisations
from hourglass.plots import lines_of_norms, new_figure
from hourglass.training import Observer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Name, normalisation, initialisation of the kernels; the last arm is the notebooks' written-out form.
ARMS = (
    ("none", "none", "glorot"),
    ("batch", "batch", "glorot"),
    ("batch-manual", "batch-manual", "glorot"),
    ("batch-manual, truncated normal", "batch-manual", "truncated-normal"),
)
# The notebooks' batch 100, which they count from 0.
EARLY_STEP = 101
MODES = {
    "inference": "moving statistics", "by_batch": "each batch's own moments", "precise": "the population's moments",
}  # fmt: skip
_EVERY, _SHOWN, _POPULATION = 25, 500, 50


def plan(seeds: int, n_steps: int) -> list[Cell]:
    """Return every arm for every seed, which gives the weights and the order of the batches."""
    return [
        {"arm": arm, "norm": norm, "kernel_init": init, "seed": seed, "n_steps": n_steps}
        for seed in range(seeds)
        for arm, norm, init in ARMS
    ]


def measure(cell: Cell, data: Dataset) -> Measures:
    """Return curves on held-out images, and the test accuracy early and at the end, with three kinds of statistics."""
    observer = _Curves(data)
    estimator = train(cell, data, observer, report_every=_EVERY)
    steps = sorted(estimator.history_.reports)
    curves = {
        name: [round(estimator.history_.reports[step][name], 4) for step in steps] for name in ("inference", "by_batch")
    }
    final = observer.test(estimator.network_)
    return {"steps": steps, **curves, "early": observer.early, "final": final}


class _Curves(Observer):
    def __init__(self, data: Dataset) -> None:
        part, held_out = data.split_validation()
        self.held_out, self.tested = examples(held_out, _SHOWN), examples(data.test)
        self.population: list[Tensor] = list(examples(part, _POPULATION * BATCH)[0].split(BATCH))
        self.early: dict[str, float] | None = None
        self.step = 1

    def measure(self, network: nn.Module) -> dict[str, float]:
        if self.step == EARLY_STEP:
            self.early = self.test(network)
        self.step += _EVERY
        return {
            "inference": accuracy(network, self.held_out),
            "by_batch": accuracy_by_batch(network, self.held_out),
        }

    def test(self, network: nn.Module) -> dict[str, float]:
        """Accuracy on the test images with moving statistics, each batch's own moments, and the population's."""
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
    group = _of_arm(rows, arm)
    return [row["measures"][when][mode] for row in group]


def answer(rows: Rows) -> str:
    """Compare the two forms, the two starts, and both forms with no normalisation."""
    none, framework, written_out, truncated = (final(rows, arm) for arm, _, _ in ARMS)
    found = compare(
        {
            "forms": (written_out, framework),
            "batch": (framework, none),
            "batch-manual": (written_out, none),
            "start": (truncated, written_out),
            "start, by batch": (
                final(rows, "batch-manual, truncated normal", "by_batch"), final(rows, "batch-manual", "by_batch"),
            ),
        }
    )  # fmt: skip
    forms = verdict(
        found["forms"],
        "The written-out batch normalisation reaches a higher accuracy than the framework's",
        "The written-out batch normalisation reaches a lower accuracy than the framework's",
        "The written-out batch normalisation and the framework's cannot be distinguished by accuracy",
    )
    if found["batch"].above and found["batch-manual"].above:
        without = "Both reach a higher accuracy than the network without normalisation"
    elif found["batch"].below and found["batch-manual"].below:
        without = "Both reach a lower accuracy than the network without normalisation"
    else:
        without = "It is undecided whether both differ from the network without normalisation"
    said = [
        f"{forms}: the mean paired difference is {found['forms']:.4f}, the median test accuracy "
        f"{summarise_median(framework):.3f} for the framework's and {summarise_median(written_out):.3f} for the "
        f"written-out one. {without}, {summarise(none):.3f}.",
        _of_the_start({"moving statistics": found["start"], "each batch's own moments": found["start, by batch"]}),
    ]
    if _has_early(rows):
        said.append(_of_the_early_step(rows))
    return " ".join(said)


def _of_the_start(found: dict[str, Difference]) -> str:
    words = {
        statistics: verdict(
            difference, "raises the accuracy", "lowers the accuracy", "has no distinguishable effect on the accuracy"
        )
        for statistics, difference in found.items()
    }
    if len(set(words.values())) == 1:
        shown = " and ".join(f"{difference:.4f} with {statistics}" for statistics, difference in found.items())
        said = f"{next(iter(words.values()))} ({shown})"
    else:
        said = " and ".join(f"{words[each]} with {each} ({difference:.4f})" for each, difference in found.items())
    return (
        "The notebooks draw the written-out network's initial weights from a truncated normal distribution instead of "
        f"Glorot's uniform one. By itself, this initialisation {said}."
    )


def _of_the_early_step(rows: Rows) -> str:
    inference, by_batch = (final(rows, "batch", mode, "early") for mode in ("inference", "by_batch"))
    found = compare({"early": (by_batch, inference)})["early"]
    conclusion = verdict(
        found,
        "inference does not yet show what the network has learnt",
        "inference is better than training mode",
        "inference and training mode cannot be distinguished",
    )
    return (
        f"After {EARLY_STEP} steps, {conclusion}: the initial values still make up {0.99**EARLY_STEP:.0%} "
        f"of the moving statistics; the framework's layer reaches {summarise(inference):.3f} with them and "
        f"{summarise(by_batch):.3f} with each batch's own moments."
    )


def passes(rows: Rows, arm: str, mode: str) -> list[int | None]:
    """Steps after which an arm's curve is first at 0.5 or above, seed by seed; None where it never is."""
    return [
        next((int(u) for u, value in zip(m["steps"], m[mode], strict=True) if value >= TRAINS), None)
        for m in (row["measures"] for row in _of_arm(rows, arm))
    ]


def _passed(steps: list[int | None]) -> str:
    reached = [count for count in steps if count is not None]
    if len(reached) == len(steps):
        return f"{summarise(reached):.0f}"
    # A mean over those seeds alone that get there would look earlier than it is.
    return f"never in {len(steps) - len(reached)} of {len(steps)} seeds"


def _of_arm(rows: Rows, arm: str) -> Rows:
    return next(group for (name,), group in grouped(rows, "arm") if name == arm)


def _has_early(rows: Rows) -> bool:
    """Whether training went as far as the early step."""
    return all(row["measures"]["early"] for row in rows)


def table(rows: Rows) -> Table:
    """Accuracies early and at the end, and steps until 0.5, one arm a line."""
    times = ({"early": f"after {EARLY_STEP} steps"} if _has_early(rows) else {}) | {"final": "at the end"}
    curves = {"by_batch": "training mode", "inference": "inference mode"}
    lines = [
        [
            "normalisation",
            *(f"{word}, {MODES[mode]}" for word in times.values() for mode in MODES),
            *(f"steps until {TRAINS}, {word}" for word in curves.values()),
        ]
    ]
    for (arm,), _ in grouped(rows, "arm"):
        values = [f"{summarise(final(rows, arm, mode, when)):.3f}" for when in times for mode in MODES]
        lines.append([arm, *values, *(_passed(passes(rows, arm, mode)) for mode in curves)])
    return lines


def figures(rows: Rows) -> "dict[str, Figure]":
    """Accuracy on held-out images along training, in both modes."""
    modes = {"by_batch": "training mode (moments of the batch)", "inference": "inference mode (moving statistics)"}
    with new_figure((9, 3.6), 1, 2) as (figure, axes):
        for axis, (mode, title) in zip(axes[0], modes.items(), strict=True):
            arms = list(grouped(rows, "arm"))
            lines = lines_of_norms([group[0]["cell"]["norm"] for _, group in arms])
            for i, ((arm,), group) in zip(lines, arms, strict=True):
                draw_medians(axis, i, arm, group[0]["measures"]["steps"], [row["measures"][mode] for row in group])
            axis.set_title(title, fontsize=9)
            axis.set_xlabel("step")
            axis.set_ylim(0, 1.02)
        axes[0][0].set_ylabel("accuracy on held-out images")
        handles, labels = axes[0][0].get_legend_handles_labels()
        note = medians_note(len({row["cell"]["seed"] for row in rows}))
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), title=note)
    return {"curves": figure}


STUDY = Study(
    name="bn-fair",
    title="No normalisation, the framework's and a written-out one, from equal starts",
    question="Is batch normalisation written by hand as good as the framework's when both start from the same weights "
    "and see the same batches, and what does each of them change?",
    setting="The lesson's 20-layer classifier is trained with its classic schedule of {n_steps} steps with batches of "
    "64. There are {seeds} seeds; networks with the same seed have the same initial weights and the same batches. As "
    "in the notebooks, the framework's layer stores the variance of the convolutions with Bessel's correction, and "
    "the written-out one stores it without. `batch` runs PyTorch's kernels and `batch-manual` the written-out ones, "
    "forward and backward. The table has the accuracy on all test images. Its last two columns are the first steps at "
    "which the curves reach 0.5; the curves show the accuracy on 500 held-out images, every 25 steps. In training "
    "mode every full batch of 64 is normalised by its own moments; the population's moments are those of 50 training "
    "batches.",
    source="Ioffe and Szegedy, ICML 2015; the lesson's notebooks.",
    n_steps=800,
    seeds=20,
    plan=plan,
    measure=measure,
    answer=answer,
    table=table,
    figures=figures,
)
