"""Lines over seeds: means with their intervals, medians with theirs, or every seed."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hourglass.lab.statistics import Summary, median_ranks
from hourglass.plots import line_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MEANS = "mean, 95% interval (Student's t)"
"""Legend title where :func:`draw_means` draws."""


def draw_means(axis: "Axes", i: int, label: str, x: Sequence[float], found: Sequence[Summary], **style: Any) -> None:
    """Draw means as a line and their intervals as a band, in the style of line ``i``.

    The axis must have limits: an interval can reach beyond the values that are possible.
    """
    drawn = line_style(i, len(x)) | {"markevery": 1} | style
    axis.plot(x, [each.mean for each in found], label=label, **drawn)
    low, high = ([getattr(each, end) for each in found] for end in ("low", "high"))
    axis.fill_between(x, low, high, color=drawn["color"], alpha=0.13, lw=0)


def draw_medians(
    axis: "Axes", i: int, label: str, x: ArrayLike, curves: ArrayLike, *, log: bool = False, **style: Any
) -> None:
    """Draw the medians of curves ``(seeds, points)``, place by place, as line ``i``.

    Around them is the median's interval from order statistics as a band; for fewer than six seeds, which have none,
    every curve as a thin line. Where ``log`` is set, the axis is logarithmic and zeros are left out.
    """

    def shown(y: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.where(y > 0, y, np.nan) if log else y

    values, places = np.asarray(curves, dtype=np.float64), np.asarray(x)
    drawn = line_style(i, len(places)) | style
    axis.plot(places, shown(np.median(values, axis=0)), label=label, **drawn)
    if ranks := median_ranks(len(values)):
        ordered = np.sort(values, axis=0)
        ends = shown(ordered[ranks[0] - 1]), shown(ordered[-ranks[0]])
        axis.fill_between(places, *ends, color=drawn["color"], alpha=0.18, lw=0)
    elif len(values) > 1:
        axis.plot(places, shown(values).T, color=drawn["color"], linestyle=drawn["linestyle"], lw=0.6, alpha=0.5)


def medians_note(seeds: int) -> str:
    """Words of what :func:`draw_medians` draws."""
    if seeds < 2:
        return "one seed"
    if ranks := median_ranks(seeds):
        return f"median of {seeds} seeds, {ranks[1]:.1%} interval (order statistics)"
    return f"median of {seeds} seeds; thin: each seed"
