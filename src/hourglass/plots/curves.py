"""Figures of losses and accuracies during training."""

import operator
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hourglass.plots.style import line_style, lines_of_norms, new_figure
from hourglass.training.history import History

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def training_curve(history: History, *, loss_name: str, validation_name: str) -> "Figure":
    """Draw the training loss, averaged between reports, and the validation loss against steps and epochs.

    Parameters
    ----------
    history : History
        History of a training of at least one step. Without validation losses, only the training loss is drawn.
    loss_name : str
        Label of the vertical axis: the name of the loss.
    validation_name : str
        Name of the validation loss in the legend.

    Returns
    -------
    matplotlib.figure.Figure
        The figure, with steps on the lower axis and epochs on the upper one.
    """
    with new_figure((5.5, 3.4)) as (figure, axes):
        axis = axes[0][0]
        steps, losses = _mean_between_reports(history)
        axis.plot(steps, losses, label="training", **line_style(1, len(steps)))
        if "validation_loss" in history.measures:
            where, values = history.series("validation_loss")
            axis.plot(where, values, label=validation_name, **line_style(2, len(where)))
        axis.set_xlabel("step")
        axis.set_ylabel(loss_name)
        axis.set_xlim(0, len(history))
        axis.legend()
        per_step = history.epoch[-1] / len(history)
        # Partial functions can be pickled with the figure; lambdas cannot.
        functions = (partial(operator.mul, per_step), partial(operator.mul, 1 / per_step))
        above = axis.secondary_xaxis("top", functions=functions)
        above.set_xlabel("epochs")
    return figure


def classifier_curves(
    histories: Mapping[str, Sequence[History]], norms: Mapping[str, str | None] | None = None
) -> "Figure":
    """Draw training and validation loss and accuracy of several classifiers against steps, on common axes.

    Parameters
    ----------
    histories : mapping of str to sequence of History
        Histories of each classifier, one for each seed, by its name in the legend. With several seeds, a line shows
        their mean and a band their range. All histories of a classifier have reports at the same steps.
    norms : mapping of str to str or None, optional
        Normalisation of each classifier, by its name in the legend: it decides the colour of the line. By default the
        lines have the colours in their order.

    Returns
    -------
    matplotlib.figure.Figure
        The figure, with one panel for each of the four measures.
    """
    measures = ("training_loss", "validation_loss", "training_accuracy", "validation_accuracy")
    lines = lines_of_norms([(norms or {}).get(name) for name in histories])
    with new_figure((8.5, 5.6), 2, 2) as (figure, axes):
        for axis, measure in zip(np.ravel(axes), measures, strict=True):
            for i, (name, group) in zip(lines, histories.items(), strict=True):
                steps = group[0].series(measure)[0]
                values = np.stack([history.series(measure)[1] for history in group])
                style = line_style(i, len(steps))
                axis.plot(steps, values.mean(0), label=name, **style)
                if len(group) > 1:
                    axis.fill_between(steps, values.min(0), values.max(0), color=style["color"], alpha=0.15, lw=0)
            what, measured = measure.split("_")
            axis.set_title(f"{what} {measured}", fontsize=9)
            axis.set_xlabel("step")
            if measured == "accuracy":
                axis.set_ylim(0, 1.02)
                axis.set_ylabel("accuracy (share of images)")
            else:
                axis.set_ylim(bottom=0)
                axis.set_ylabel("loss (nats)")
        handles, labels = axes[0][0].get_legend_handles_labels()
        seeds = sorted({len(group) for group in histories.values()})
        count = str(seeds[0]) if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
        note = f"mean of {count} seeds, band: their range" if seeds[-1] > 1 else None
        figure.legend(handles, labels, loc="outside lower center", ncols=len(histories), title=note)
    return figure


def _mean_between_reports(history: History) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    edges = [0, *history.reports]
    spans = [(a, b) for a, b in pairwise(edges) if b > a]
    return (
        np.array([(a + 1 + b) / 2 for a, b in spans]),
        np.array([np.mean(history.loss[a:b]) for a, b in spans]),
    )
