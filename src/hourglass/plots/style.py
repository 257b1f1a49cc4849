"""The style of all figures, and empty figures in this style."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hourglass.atomic import write_whole
from hourglass.errors import OptionError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

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
"""Styles of the lines of a figure, which differ in dash and marker as well as in colour.

The colours are those of Okabe and Ito, which colour-blind readers can distinguish.
"""

LINES_OF_NORMS = {
    "none": 0,
    "batch": 1,
    "batch-manual": 2,
    "layer": 3,
    "group": 4,
    "instance": 5,
    "ghost": 6,
    "renorm": 7,
}
"""Number of a network's line in ``LINES``, by its normalisation: it has the same colour in every figure."""


def save_figure(figure: "Figure", path: str | os.PathLike[str]) -> None:
    """Write a figure as a file, in this package's style.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        The figure.
    path : path-like
        Path of the file, ``.png``, ``.svg`` or ``.pdf``; a file that exists is replaced.

    Raises
    ------
    OptionError
        When the name has another suffix.
    OSError
        When the file cannot be written.
    """
    from hourglass.figure import render

    check_figure_file(path)
    write_whole(Path(path), render(figure, STYLE, Path(path).suffix.lower()[1:]))


def check_figure_file(path: str | os.PathLike[str]) -> None:
    """Raise an error unless a figure can be written in the format that a file's suffix names.

    Parameters
    ----------
    path : path-like
        Path of the file.

    Raises
    ------
    OptionError
        When the suffix is none of ``.png``, ``.svg`` and ``.pdf``.
    """
    from hourglass.figure import FORMATS

    if Path(path).suffix.lower() not in (f".{name}" for name in FORMATS):
        raise OptionError(f"{os.fspath(path)} is no name of a figure; give it the suffix .png, .svg or .pdf")


@contextmanager
def in_style() -> Iterator[None]:
    """Context in which matplotlib has this package's style; the user's settings return afterwards.

    Yields
    ------
    None
        Nothing; the block draws.
    """
    import matplotlib as mpl

    with mpl.rc_context(STYLE):
        yield


def empty_figure(size: tuple[float, float]) -> "Figure":
    """Make an empty figure, which is later rendered in this package's style.

    Parameters
    ----------
    size : tuple of (float, float)
        Width and height of the figure, in inches.

    Returns
    -------
    matplotlib.figure.Figure
        The figure, without axes.
    """
    from hourglass.figure import Figure  # matplotlib is imported when the first figure is drawn

    return Figure(figsize=size, layout="constrained", style=STYLE)


@contextmanager
def new_figure(
    size: tuple[float, float], rows: int = 1, columns: int = 1, heights: Sequence[float] | None = None, **gaps: float
) -> Iterator[tuple["Figure", Any]]:
    """Context in which an empty figure with a grid of axes is drawn in this package's style.

    Parameters
    ----------
    size : tuple of (float, float)
        Width and height of the figure, in inches.
    rows : int, default=1
        Number of rows of axes.
    columns : int, default=1
        Number of columns of axes.
    heights : sequence of float, optional
        Relative height of each row; by default all rows are equally high.
    **gaps : float
        Further settings of matplotlib's ``GridSpec``, such as ``wspace``: the gap between columns, as a share of the
        mean width of the axes.

    Yields
    ------
    figure : matplotlib.figure.Figure
        The empty figure.
    axes : ndarray of shape (rows, columns) of matplotlib.axes.Axes
        Its axes.
    """
    with in_style():
        figure = empty_figure(size)
        yield figure, figure.subplots(rows, columns, squeeze=False, height_ratios=heights, gridspec_kw=gaps)


def line_style(i: int, points: int) -> dict[str, Any]:
    """Return colour, dash and marker of a line, with markers at about ten of its points.

    Parameters
    ----------
    i : int
        Number of the line in its axes, from 0; the styles repeat after eight lines.
    points : int
        Number of points of the line.

    Returns
    -------
    dict of str to Any
        Keyword arguments for matplotlib's ``Axes.plot``.
    """
    return LINES[i % len(LINES)] | {"markevery": max(1, points // 10)}


def lines_of_norms(norms: Sequence[str | None]) -> list[int]:
    """Choose the lines of networks in one figure by their normalisations.

    Parameters
    ----------
    norms : sequence of str or None
        Name of each network's normalisation in :data:`hourglass.nn.NORMS`; None where the network has no such
        parameter.

    Returns
    -------
    list of int
        Number of each line, for :func:`line_style`. The first network of each normalisation has the line of
        ``LINES_OF_NORMS``. All others, and networks with an unknown normalisation, have lines that are free; after
        eight lines the styles repeat.
    """
    first = {norm: i for i, norm in reversed(list(enumerate(norms))) if norm in LINES_OF_NORMS}
    own = {i: LINES_OF_NORMS[norm] for norm, i in first.items() if norm is not None}
    free = iter([line for line in range(len(LINES) + len(norms)) if line not in own.values()])
    return [own[i] if i in own else next(free) for i in range(len(norms))]
