"""Figures: plain, labelled and readable in black and white.

The functions that draw return a matplotlib figure, which a notebook shows as an image. They do not use pyplot, so that
the user's own figures and settings do not change.
"""

from hourglass.plots.curves import classifier_curves, training_curve
from hourglass.plots.image_figures import checkerboards, codes, image_rows, side_by_side
from hourglass.plots.pyramid import pyramid
from hourglass.plots.style import (
    LINES,
    LINES_OF_NORMS,
    check_figure_file,
    line_style,
    lines_of_norms,
    new_figure,
    save_figure,
)

__all__ = [
    "LINES",
    "LINES_OF_NORMS",
    "check_figure_file",
    "checkerboards",
    "classifier_curves",
    "codes",
    "image_rows",
    "line_style",
    "lines_of_norms",
    "new_figure",
    "pyramid",
    "save_figure",
    "side_by_side",
    "training_curve",
]
