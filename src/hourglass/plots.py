"""Figures: plain, labelled, readable in black and white.

Every function returns a matplotlib figure, which a notebook shows as an image. They are made without pyplot, so that
the user's own figures and settings stay as they are.
"""

import operator
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

from hourglass.training.history import History

STYLE: Any = {
    "figure.dpi": 150,
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "lines.markersize": 4,
}
# Told apart by dash and marker as well as by colour (Okabe and Ito's, safe for colour-blind readers).
LINES: tuple[dict[str, Any], ...] = (
    {"color": "#000000", "linestyle": ":", "marker": "s"},
    {"color": "#0072B2", "linestyle": "-", "marker": "o"},
    {"color": "#D55E00", "linestyle": "--", "marker": "^"},
    {"color": "#009E73", "linestyle": "-.", "marker": "D"},
    {"color": "#CC79A7", "linestyle": "-", "marker": "v"},
    {"color": "#56B4E9", "linestyle": "--", "marker": "P"},
    {"color": "#E69F00", "linestyle": "-.", "marker": "X"},
    {"color": "#777777", "linestyle": "-", "marker": "*"},
)
Stack = NDArray[np.floating[Any]]


def image_rows(rows: Mapping[str, Stack], *, title: str = "") -> "Figure":
    """Stacks of images, one row each, under one another.

    Parameters
    ----------
    rows : mapping of str to ndarray of shape (n, h, w, c)
        Row label to images with pixels in [0, 1], one or three channels, as many in every row.
    title : str, default=""
    """
    count = len(next(iter(rows.values())))
    with new_figure((1 + 0.8 * count, 0.35 + 0.82 * len(rows)), len(rows), count) as (figure, axes):
        for line, (label, images) in zip(axes, rows.items(), strict=True):
            for axis, image in zip(line, images, strict=True):
                _show(axis, image)
            line[0].set_ylabel(label, rotation=0, ha="right", va="center", labelpad=8)
        figure.suptitle(title)
    return figure


def side_by_side(columns: Mapping[str, Stack]) -> "Figure":
    """Images of one size side by side, each under its label.

    Parameters
    ----------
    columns : mapping of str to ndarray of shape (h, w, c)
        Label to pixels in [0, 1], one or three channels.
    """
    height, width = next(iter(columns.values())).shape[:2]
    with new_figure((3 * len(columns), 0.3 + 3 * height / width), 1, len(columns)) as (figure, axes):
        for axis, (label, image) in zip(axes[0], columns.items(), strict=True):
            _show(axis, image)
            axis.set_title(label)
    return figure


def codes(images: Stack, values: Stack, code_shape: tuple[int, ...]) -> "Figure":
    """Images above their codes.

    Parameters
    ----------
    images : ndarray of shape (n, h, w, c)
    values : ndarray of shape (n, code_size)
    code_shape : tuple of int
        ``(code_size,)``, or ``(h, w, maps)`` whose maps are drawn side by side.
    """
    panels = [_code_panel(code, code_shape) for code in values]
    high, wide = panels[0].shape
    count, ratio = len(images), max(high / wide, 0.4)
    with new_figure((1.6 + 1.0 * count, 0.5 + 1.0 * (1 + ratio)), 2, count, heights=(1, ratio), wspace=0.2) as (
        figure,
        axes,
    ):
        for axis, image in zip(axes[0], images, strict=True):
            _show(axis, image)
        top = float(np.nanmax(values))
        for axis, panel in zip(axes[1], panels, strict=True):
            drawn = axis.imshow(panel, cmap="viridis", vmin=0, vmax=top, interpolation="nearest")
            _bare(axis)
        axes[0][0].set_ylabel("input", rotation=0, ha="right", va="center", labelpad=8)
        what = f"code\n({' × '.join(map(str, code_shape))})"
        axes[1][0].set_ylabel(what, rotation=0, ha="right", va="center", labelpad=8)
        figure.colorbar(drawn, ax=axes[1].tolist(), label="activation")
    return figure


def training_curve(history: History, *, loss_name: str, validation_name: str) -> "Figure":
    """Training loss, averaged between reports, and validation loss against steps and epochs."""
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
        # Partial functions, and not lambdas, so that the figure can be pickled.
        functions = (partial(operator.mul, per_step), partial(operator.mul, 1 / per_step))
        above = axis.secondary_xaxis("top", functions=functions)
        above.set_xlabel("epochs")
    return figure


def classifier_curves(histories: Mapping[str, Sequence[History]]) -> "Figure":
    """Training and validation loss and accuracy against steps, on common axes.

    Parameters
    ----------
    histories : mapping of str to sequence of History
        Histories by the name in the legend, one for each seed. Of several seeds the mean is drawn as a line, and the
        range as a band.
    """
    measures = ("training_loss", "validation_loss", "training_accuracy", "validation_accuracy")
    with new_figure((8.5, 5.6), 2, 2) as (figure, axes):
        for axis, measure in zip(np.ravel(axes), measures, strict=True):
            for i, (name, group) in enumerate(histories.items()):
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


def checkerboards(responses: Mapping[str, Stack], rows: Mapping[str, Stack], *, n_steps: int) -> "Figure":
    """Checkerboards of each kind of decoder: for a constant code before training, and in images soon after its start.

    Parameters
    ----------
    responses : mapping of str to ndarray of shape (h, w)
        By decoder: strength of each output pixel's response to a constant code, 1 in the mean.
    rows : mapping of str to ndarray of shape (n, h, w, c)
        Row label to images, as for :func:`image_rows`.
    n_steps : int
        Steps after which the decoders made ``rows``.
    """
    count = len(next(iter(rows.values())))
    with _style():
        figure = _figure((10.2, 3.2))
        left, right = figure.subfigures(1, 2, squeeze=False, width_ratios=(1, 1.1))[0]
        left.suptitle("response to a constant code, untrained", fontsize=9)
        right.suptitle(f"test images after {n_steps} steps", fontsize=9)
        maps = left.subplots(1, len(responses), squeeze=False)[0]
        for axis, (name, response) in zip(maps, responses.items(), strict=True):
            drawn = axis.imshow(response, cmap="gray", vmin=0, vmax=2, interpolation="nearest")
            inner = response[4:-4, 4:-4]
            axis.set_title(f"{name}\nvariation {inner.std() / inner.mean():.0%}", fontsize=9)
            _bare(axis)
        left.colorbar(drawn, ax=maps.tolist(), label="relative strength", shrink=0.7)
        grid = right.subplots(len(rows), count, squeeze=False)
        for line, (label, images) in zip(grid, rows.items(), strict=True):
            for axis, image in zip(line, images, strict=True):
                _show(axis, image)
            line[0].set_ylabel(label, rotation=0, ha="right", va="center", labelpad=8)
    return figure


def save_figure(figure: "Figure", path: str | os.PathLike[str]) -> None:
    """Write a figure as PNG, in this package's style."""
    from hourglass.figure import to_png

    Path(path).write_bytes(to_png(figure, STYLE))


@contextmanager
def _style() -> Iterator[None]:
    import matplotlib as mpl

    with mpl.rc_context(STYLE):
        yield


def _figure(size: tuple[float, float]) -> "Figure":
    """Empty figure of a size in inches, which keeps this package's style for when it is rendered."""
    from hourglass.figure import Figure  # matplotlib is imported when the first figure is drawn

    return Figure(figsize=size, layout="constrained", style=STYLE)


@contextmanager
def new_figure(
    size: tuple[float, float], rows: int = 1, columns: int = 1, heights: Sequence[float] | None = None, **gaps: float
) -> Iterator[tuple["Figure", Any]]:
    """Figure of a size in inches and its axes, ``rows × columns``, in this package's style while it is drawn."""
    with _style():
        figure = _figure(size)
        yield figure, figure.subplots(rows, columns, squeeze=False, height_ratios=heights, gridspec_kw=gaps)


def line_style(i: int, points: int) -> dict[str, Any]:
    """Colour, dash and marker of line ``i``, with markers on about ten of its points."""
    return LINES[i % len(LINES)] | {"markevery": max(1, points // 10)}


def _show(axis: "Axes", image: Stack) -> None:
    axis.imshow(image if image.shape[-1] == 3 else image[..., 0], cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    _bare(axis)


def _bare(axis: "Axes") -> None:
    axis.set_xticks([])
    axis.set_yticks([])
    axis.grid(visible=False)
    for spine in axis.spines.values():
        spine.set_visible(False)


def _code_panel(code: Stack, shape: tuple[int, ...]) -> Stack:
    """A code as one image: numbers in rows of eight, or feature maps in rows of two with gaps between."""
    if len(shape) == 1:
        padded = np.full(-(-len(code) // 8) * 8, np.nan)
        padded[: len(code)] = code
        return padded.reshape(-1, 8)
    height, width, depth = shape
    per_row = 2 if depth % 2 == 0 else 1
    if depth > 8:
        per_row = 4 if depth % 4 == 0 else per_row
    maps = code.reshape(shape).transpose(2, 0, 1)
    panel = np.full((depth // per_row * (height + 1) - 1, per_row * (width + 1) - 1), np.nan)
    for i, feature_map in enumerate(maps):
        top, left = i // per_row * (height + 1), i % per_row * (width + 1)
        panel[top : top + height, left : left + width] = feature_map
    return panel


def _mean_between_reports(history: History) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    edges = [0, *history.reports]
    spans = [(a, b) for a, b in pairwise(edges) if b > a]
    return (
        np.array([(a + 1 + b) / 2 for a, b in spans]),
        np.array([np.mean(history.loss[a:b]) for a, b in spans]),
    )
