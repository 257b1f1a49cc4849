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
        return to_png(self, self.style)


def to_png(figure: MatplotlibFigure, style: Mapping[str, Any]) -> bytes:
    """Content of a PNG file of a figure, rendered under entries of ``rcParams``, with its margins cut off.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        Figure; rendering it changes nothing that is seen of it.
    style : mapping
        Entries of ``rcParams`` by name.

    Returns
    -------
    bytes
        The same bytes for the same figure, since no version is written into them.
    """
    entries: Any = dict(style)  # matplotlib types every name that there is
    with io.BytesIO() as file, mpl.rc_context(entries):
        figure.savefig(file, format="png", bbox_inches="tight", metadata={"Software": None})
        return file.getvalue()
