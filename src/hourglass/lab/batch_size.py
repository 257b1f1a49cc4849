"""bn-batch-size: every normalisation from one image a batch to 512."""

from typing import TYPE_CHECKING

import numpy as np

from hourglass.data import Dataset
from hourglass.lab.cells import Cell, Measures, grouped
from hourglass.lab.networks import CHANCE, accuracy, examples, train
from hourglass.lab.statistics import summarise
from hourglass.lab.study import Rows, Study, Table
from hourglass.nn import NORMS
from hourglass.plots import line_style, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Deep enough for normalisation to matter, and not so deep that nothing trains without batches.
LAYERS = 10
REFUSED = "one value per channel"
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


def plan(seeds: int, updates: int) -> list[Cell]:
    """Every normalisation with every size, the large ones first."""
    return [
        {
            "norm": norm, "batch_size": size, "norm_momentum": 0.1, "layers": LAYERS, "depth": LAYERS - 1,
            "seed": seed, "updates": updates,
        }
        for seed in range(seeds)
        for size in reversed(SIZES)
        for norm in NORMS
    ]  # fmt: skip


def measure(cell: Cell, data: Dataset) -> Measures:
    """Test accuracy in inference mode; or why the normalisation refuses the batch, or that training diverged."""
    try:
        estimator = train(cell, data, report_every=cell["updates"])
    except FloatingPointError:
        return {"accuracy": None, "why": "diverged"}
    except ValueError as error:
        if REFUSED not in str(error):
            raise
        return {"accuracy": None, "why": REFUSED}
    return {"accuracy": round(accuracy(estimator.network_, examples(data.test)), 4), "why": ""}


def accuracies(rows: Rows, norm: str) -> dict[int, list[float]]:
    """Accuracies over seeds by batch size, in rising order, where the normalisation does not refuse the batch."""
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
    small, large = 4, 128
    said = []
    for size in (small, large):
        parts = [f"{norm} {summarise(found[size]):.2f}" for norm in NORMS if size in (found := accuracies(rows, norm))]
        said.append(f"With {size} images a batch: {', '.join(parts)}.")
    diverged = sum(row["measures"]["why"] == "diverged" for row in rows)
    if diverged:
        said.append(f"{diverged} trainings diverged, and count as guessing.")
    if names := refused(rows):
        said.insert(
            0,
            f"One image a batch leaves one value per channel in the last maps, which {', '.join(names)} refuse with an "
            "error.",
        )
    return " ".join(said)


def table(rows: Rows) -> Table:
    lines = [["images a batch", *NORMS]]
    for size in SIZES:
        words = []
        for norm in NORMS:
            values = accuracies(rows, norm).get(size)
            why = {r["measures"]["why"] for r in rows if r["cell"]["norm"] == norm and r["cell"]["batch_size"] == size}
            words.append(f"{summarise(values):.2f}" if values else ", ".join(sorted(why)) or "–")
        lines.append([str(size), *words])
    return lines


def figures(rows: Rows) -> "dict[str, Figure]":
    with new_figure((7, 4.2)) as (figure, axes):
        axis = axes[0][0]
        for i, norm in enumerate(NORMS):
            found = accuracies(rows, norm)
            sizes, summaries = list(found), [summarise(values) for values in found.values()]
            style = line_style(i, len(sizes)) | {"markevery": 1}
            axis.plot(sizes, [s.center for s in summaries], label=norm, **style)
            lows, highs = ([getattr(s, end) for s in summaries] for end in ("low", "high"))
            axis.fill_between(sizes, np.array(lows), np.array(highs), color=style["color"], alpha=0.12, lw=0)
        axis.set_xscale("log", base=2)
        axis.set_xticks(SIZES, [str(size) for size in SIZES])
        axis.set_xlabel("images in a batch")
        axis.set_ylabel("test accuracy in inference mode")
        axis.set_ylim(0, 1.02)
        figure.legend(loc="outside right center", title="mean, 95% interval")
    return {"accuracy": figure}


STUDY = Study(
    name="bn-batch-size",
    title="Every normalisation, from one image a batch to 512",
    question="How small may a batch be, and which normalisations do not mind?",
    setting="The lesson's classifier with 10 layers in place of 20, classic rate, momentum 0.1; in its dense layer "
    "`instance` is `layernorm`, `group` has 4 groups. {updates} updates whatever the size of the batch, so "
    "that larger ones see more images; {seeds} seeds, test accuracy in inference mode.",
    source="Wu and He, ECCV 2018, section 4.1; Hoffer et al., NeurIPS 2017; Ioffe, NeurIPS 2017.",
    updates=60,
    seeds=3,
    plan=plan,
    measure=measure,
    answer=answer,
    table=table,
    figures=figures,
)
