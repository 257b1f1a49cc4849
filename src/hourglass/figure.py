"""A matplotlib figure that a notebook shows as an image, although pyplot knows nothing of it."""

import io
from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure as MatplotlibFigure


class Figure(MatplotlibFigure):
    """Matplotlib's figure with a PNG as its rich representation.

    A notebook shows by itself only the figures that pyplot made. IPython asks any other object for ``_repr_png_``.

    Parameters
    ----------
    *args, **options
        As for :class:`matplotlib.figure.Figure`.
    style : mapping, optional
        Entries of matplotlib's ``rcParams`` under which the figure is rendered, as it was drawn under them: ticks, for
        example, are made when it is rendered. By default those that are current at that time.
    """

    def __init__(self, *args: Any, style: Mapping[str, Any] | None = None, **options: Any) -> None:
        super().__init__(*args, **options)
        self.style = dict(style or {})

    def _repr_png_(self) -> bytes:
        return render(self, self.style)


# What is not written into a file, so that the same figure gives the same bytes.
_UNSAID: dict[str, dict[str, None]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}
FORMATS = tuple(_UNSAID)
"""Formats in which figures can be written."""


def render(figure: MatplotlibFigure, style: Mapping[str, Any], format_: str = "png") -> bytes:
    """Content of a file of a figure, rendered under entries of ``rcParams``, with its margins cut off.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        Figure; rendering it changes nothing that is seen of it.
    style : mapping
        Entries of ``rcParams`` by name.
    format_ : {"png", "svg", "pdf"}, default="png"
        Format of the file.

    Returns
    -------
    bytes
        The same bytes for the same figure, since neither a version nor a date is written into them.
    """
    entries: Any = {**style, "svg.hashsalt": "hourglass"}  # matplotlib types every name that there is
    with io.BytesIO() as file, mpl.rc_context(entries):
        figure.savefig(file, format=format_, bbox_inches="tight", metadata=_UNSAID[format_])
        return file.getvalue()
