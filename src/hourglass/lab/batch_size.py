"""bn-batch-size: every normalisation, with batches of 1 to 512 images."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from hourglass.data import Dataset
from hourglass.experiments.captions import listed
from hourglass.lab.cells import Cell, Measures, grouped
from hourglass.lab.drawing import MEANS, draw_means
from hourglass.lab.networks import CHANCE, TRAINS, accuracy, examples, train
from hourglass.lab.statistics import compare, summarise
from hourglass.lab.study import Rows, Study, Table
from hourglass.lab.words import named, sorted_out
from hourglass.nn import NORMS
from hourglass.plots import lines_of_norms, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Deep enough for normalisation to matter, but not so deep that nothing trains without the batch's statistics.
LAYERS = 10
REFUSED = "one value per channel"
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
# Compared in the answer.
SMALL, LARGE = 4, 128


def plan(seeds: int, n_steps: int) -> list[Cell]:
    """Return every normalisation with every size, the large sizes first."""
    return [
        {
            "norm": norm, "batch_size": size, "norm_momentum": 0.1, "layers": LAYERS, "depth": LAYERS - 1,
            "seed": seed, "n_steps": n_steps,
        }
        for seed in range(seeds)
        for size in reversed(SIZES)
        for norm in NORMS
    ]  # fmt: skip


def measure(cell: Cell, data: Dataset) -> Measures:
    """Return the test accuracy in inference mode, or why there is none: a refused batch, or training diverged."""
    try:
        estimator = train(cell, data, report_every=cell["n_steps"])
    except FloatingPointError:
        return {"accuracy": None, "why": "diverged"}
    except ValueError as error:
        if REFUSED not in str(error):
            raise
        return {"accuracy": None, "why": REFUSED}
    return {"accuracy": round(accuracy(estimator.network_, examples(data.test)), 4), "why": ""}


def accuracies(rows: Rows, norm: str) -> dict[int, list[float]]:
    """Accuracies over seeds by batch size, in rising order; sizes that the normalisation refuses are left out."""
    found = grouped([row for row in rows if row["cell"]["norm"] == norm], "batch_size")
    values = {
        size: [
            CHANCE if row["measures"]["accuracy"] is None else row["measures"]["accuracy"]
            for row in group
            if row["measures"]["why"] != REFUSED
        ]
        for (size,), group in found
    }
    return {size: values[size] for size in sorted(values) if values[size]}


def refused(rows: Rows) -> list[str]:
    """Normalisations that refuse a batch of one image."""
    return sorted({row["cell"]["norm"] for row in rows if row["measures"]["why"] == REFUSED})


def answer(rows: Rows) -> str:
    """Say which normalisations lose accuracy in small batches, and how small a batch each of them can do with."""
    found = {norm: accuracies(rows, norm) for norm in NORMS}
    pairs = {norm: (at[SMALL], at[LARGE]) for norm, at in found.items() if SMALL in at and LARGE in at}
    higher, lower, undecided = sorted_out(compare(pairs))
    said = []
    for names, words in ((lower, "is lower than with"), (higher, "is higher than with")):
        if names:
            said.append(f"With {SMALL} images per batch the accuracy {words} {LARGE} for {_shown(found, names)}.")
    if undecided:
        said.append(
            f"With {len(pairs[undecided[0]][0])} seeds, the difference between {SMALL} and {LARGE} images per batch is "
            f"not significant for {_shown(found, undecided)}."
        )
    sizes: dict[int, list[str]] = {}
    never: list[str] = []
    for norm, at in found.items():
        size = next((size for size, values in at.items() if min(values) >= TRAINS), None)
        (never if size is None else sizes.setdefault(size, [])).append(named(norm))
    if sizes:
        shown = "; ".join(f"{size} for {listed(sizes[size])}" for size in sorted(sizes))
        said.append(f"The smallest batch with which every seed reaches {TRAINS} is {shown}.")
    if never:
        said.append(f"No batch size lets every seed reach {TRAINS} for {listed(never)}.")
    if names := refused(rows):
        said.append(
            f"Batches of one image are refused by {listed(names)}, because each channel of the last feature maps then "
            "has a single value."
        )
    if diverged := sum(row["measures"]["why"] == "diverged" for row in rows):
        said.append(f"Of all trainings, {diverged} diverged; they count as guessing.")
    return " ".join(said)


def _shown(found: Mapping[str, Mapping[int, list[float]]], names: Sequence[str]) -> str:
    """Names of normalisations, the first with its accuracies; the table has those of all."""
    first, *others = names
    accuracies_ = " and ".join(f"{summarise(found[first][size]):.2f}" for size in (SMALL, LARGE))
    return f"{named(first)} ({accuracies_})" + (f", and also for {listed(map(named, others))}" if others else "")


def table(rows: Rows) -> Table:
    """Accuracies, one size a line and one normalisation a column."""
    lines = [["images per batch", *NORMS]]
    for size in SIZES:
        words = []
        for norm in NORMS:
            values = accuracies(rows, norm).get(size)
            words.append(f"{summarise(values):.2f}" if values else "refused")
        lines.append([str(size), *words])
    return lines


def figures(rows: Rows) -> "dict[str, Figure]":
    """Accuracy against the size of the batch, one normalisation an axis."""
    with new_figure((10, 5), 2, (len(NORMS) + 1) // 2) as (figure, axes):
        for i, axis, norm in zip(lines_of_norms(list(NORMS)), axes.flat, NORMS, strict=True):
            found = accuracies(rows, norm)
            draw_means(axis, i, norm, list(found), [summarise(values) for values in found.values()])
            axis.set_title(norm, fontsize=9)
            axis.set_xscale("log", base=2)
            axis.set_xlim(SIZES[0] * 0.8, SIZES[-1] * 1.25)
            axis.set_xticks(SIZES[::2], [str(size) for size in SIZES[::2]])
            axis.set_ylim(0, 1.02)
        for axis in axes[-1]:
            axis.set_xlabel("images in a batch")
        for axis in axes[:, 0]:
            axis.set_ylabel("test accuracy in inference mode")
        figure.suptitle(MEANS, fontsize=9)
    return {"accuracy": figure}


STUDY = Study(
    name="bn-batch-size",
    title="Every normalisation, with batches of 1 to 512 images",
    question="How small can a batch be, and which normalisations do not depend on it?",
    setting="The lesson's classifier, with 10 layers instead of 20, is trained with its classic learning rate and "
    "momentum 0.1. `group` has 4 groups; in the dense layer `instance` is the same as `layer`. Every training "
    "takes {n_steps} steps, so that a training with larger batches sees more images. There "
    "are {seeds} seeds; the measure is the test accuracy in inference mode.",
    source="Wu and He, ECCV 2018, section 4.1; Hoffer et al., NeurIPS 2017; Ioffe, NeurIPS 2017.",
    n_steps=60,
    seeds=3,
    plan=plan,
    measure=measure,
    answer=answer,
    table=table,
    figures=figures,
)
