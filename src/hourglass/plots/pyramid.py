"""A network as a row of boxes, one for each stack of feature maps."""

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from hourglass.nn.recording import INPUT, Layer
from hourglass.plots.style import empty_figure, in_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Lengths in inches: of the highest box, of the thickest one, of the thinnest, between boxes, between skip arrows.
HIGHEST, THICKEST, THINNEST, GAP, STEP = 1.5, 0.45, 0.02, 0.14, 0.2
# An axis that points away from the reader is drawn so much shorter, to the right and upwards.
AWAY = (0.3, 0.2)
SMALL = 7.5  # font size
CHARACTER = 0.065  # width of a character of this size, in inches
FEW = 8  # boxes for whose names there is room side by side
LEAST_CHANNELS = 16  # of a stack that is as thick as can be
COLOURS = {
    INPUT: ("#FFFFFF", "image"),
    "convolution": ("#A6D2F0", "convolution"),
    "transposed": ("#7FCFB8", "transposed convolution"),
    "dense": ("#E3B5D0", "dense"),
    "concatenate": ("#F7EFA0", "concatenated maps"),
    "": ("#D9D9D9", "pooled, resized or reshaped"),
}
"""Colour of a box and its explanation, by the first word of the layer's kind."""
CODE_COLOUR = "#E69F00"


@dataclass(kw_only=True)
class _Box:
    """Box of one stack of maps, in inches; ``x`` is its left edge."""

    layer: Layer
    height: float
    away: float
    thickness: float
    x: float = 0.0
    is_code: bool = False

    @property
    def length(self) -> float:
        return self.thickness + AWAY[0] * self.away

    @property
    def bottom(self) -> float:
        return -(self.height + AWAY[1] * self.away) / 2

    @property
    def middle(self) -> float:
        return self.x + self.length / 2

    @property
    def size(self) -> str:
        """Height and width in words."""
        return " × ".join(map(str, self.layer.output[:-1])) or "numbers"


def pyramid(layers: Sequence[Layer], *, title: str = "") -> "Figure":
    """Draw the outputs of a network's layers as boxes from left to right.

    The height and the depth of a box are those of the feature maps, to scale, and its thickness is the number of
    channels, which is written above it. A row of numbers is a bar without depth, as high as a square of as many pixels.
    Normalisations and additions do not change the size and have no boxes. Arrows are skip connections; a plus says that
    maps are added there.

    Parameters
    ----------
    layers : sequence of Layer
        The layers, as :func:`hourglass.layers_of` measures them.
    title : str, default=""
        Title above the boxes; by default there is none.

    Returns
    -------
    matplotlib.figure.Figure
        The figure.
    """
    boxes, box_of = _boxes(layers)
    x = 0.2
    for box in boxes:
        room = len(_label(box)) * CHARACTER if len(boxes) <= FEW else 0.0
        box.x = x + max(0.0, room - box.length) / 2
        x += max(box.length, room) + GAP
    arrows = [
        (box_of[source], box_of[layer.name], layer.kind.startswith("add"))
        for layer in layers
        if layer.is_skip
        for source in layer.inputs[:-1]
        if box_of[source] is not box_of[layer.name]
    ]
    wide = max(x + 0.06, 6.0)
    for box in boxes:
        box.x += (wide - x - 0.06) / 2
    upright = len(boxes) > FEW
    under = max(len(_label(box)) for box in boxes) * CHARACTER if upright else 0.13
    sizes = _sizes_in_lines(boxes)
    top = max(box.height + box.bottom + AWAY[1] * box.away for box in boxes)
    levels = _levels([(start.middle, end.middle) for start, end, _ in arrows])
    ceiling = top + 0.3 + STEP * (max(levels, default=-1) + 1)
    lines = [line for part in title.split("\n") for line in textwrap.wrap(part, int(wide / 0.075))]
    floor = -top - 0.15 - under
    low, high = floor - 0.7 - 0.14 * max(line for *_, line in sizes), ceiling + 0.17 * len(lines) + 0.1
    with in_style():
        figure = empty_figure((wide, high - low))
        figure.set_layout_engine("none")  # one inch of the figure is one unit of its axes
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(0, wide), ylim=(low, high))
        axes.axis("off")
        for box in boxes:
            _draw(axes, box)
            style: dict[str, Any] = {"rotation": 90, "va": "top"} if upright else {"va": "top"}
            colour = "#8A5A00" if box.is_code else "black"
            axes.text(box.middle, -top - 0.08, _label(box), ha="center", color=colour, fontsize=SMALL, **style)
        for (start, end, plus), level in zip(arrows, levels, strict=True):
            _draw_skip(axes, start, end, top + 0.3 + STEP * level, plus=plus)
        for size, left, right, line in sizes:
            axes.plot([left, right], [floor, floor], color="#333333", linewidth=0.8)
            axes.text((left + right) / 2, floor - 0.05 - 0.14 * line, size, ha="center", va="top", fontsize=SMALL)
        _draw_legend(axes, boxes, low + 0.4)
        axes.text(0.2, high - 0.1, "\n".join(lines), va="top", fontsize=9)
    return figure


def _boxes(layers: Sequence[Layer]) -> tuple[list[_Box], dict[str, _Box]]:
    """Boxes of the outputs that have a new size or new maps, and the box of every layer by its name."""
    outputs = [layer.output for layer in layers if layer.output]
    side = max(max(_sides(output)) for output in outputs)
    channels = max(LEAST_CHANNELS, *(output[-1] for output in outputs if len(output) > 1))
    boxes: list[_Box] = []
    box_of: dict[str, _Box] = {}
    for layer in layers:
        if layer.is_code:
            box_of[layer.inputs[-1]].is_code = True
        if not layer.output:
            continue
        before = box_of.get(layer.inputs[-1]) if layer.inputs else None
        makes_maps = bool(layer.kernel or layer.multiplications or layer.kind.startswith("concatenate"))
        if before is not None and before.layer.output == layer.output and not makes_maps:
            box_of[layer.name] = before
            continue
        height, away = (HIGHEST * each / side for each in _sides(layer.output))
        thickness = THICKEST * layer.output[-1] / channels if len(layer.output) > 1 else 0.06
        boxes.append(_Box(layer=layer, height=height, away=away, thickness=max(thickness, THINNEST)))
        box_of[layer.name] = boxes[-1]
    return boxes, box_of


def _sides(output: Sequence[int]) -> tuple[float, float]:
    """Height and width of maps; a row of numbers is as high as a square of as many pixels."""
    *sizes, last = output
    if not sizes:
        return math.sqrt(last), 0.0
    return float(sizes[0]), float(sizes[-1])


def _label(box: _Box) -> str:
    return f"{box.layer.name} = code" if box.is_code else box.layer.name


def _kind(box: _Box) -> str:
    word = (box.layer.kind.split() or [""])[0].strip(",")
    return word if word in COLOURS else ""


def _draw(axes: "Axes", box: _Box) -> None:
    from matplotlib.colors import to_rgb
    from matplotlib.patches import Polygon

    colour = to_rgb(CODE_COLOUR if box.is_code else COLOURS[_kind(box)][0])
    left, right, low, high = box.x, box.x + box.thickness, box.bottom, box.bottom + box.height
    right_away, up = AWAY[0] * box.away, AWAY[1] * box.away
    faces = {
        0.88: [(left, low), (right, low), (right, high), (left, high)],
        1.0: [(right, low), (right + right_away, low + up), (right + right_away, high + up), (right, high)],
        0.95: [(left, high), (right, high), (right + right_away, high + up), (left + right_away, high + up)],
    }
    for shade, corners in faces.items():
        face = [shade * part for part in colour]
        axes.add_patch(Polygon(corners, facecolor=face, edgecolor="#333333", linewidth=0.6, joinstyle="round"))
    axes.text(box.middle, high + up + 0.04, str(box.layer.output[-1]), ha="center", va="bottom", fontsize=SMALL)


def _draw_skip(axes: "Axes", start: _Box, end: _Box, level: float, *, plus: bool) -> None:
    tops = [box.bottom + box.height + AWAY[1] * box.away + 0.2 for box in (start, end)]
    x0, x1 = start.middle + 0.03, end.middle - 0.03
    style: Any = {"color": "#555555", "linewidth": 0.8}
    axes.plot([x0, x0, x1], [tops[0], level, level], solid_joinstyle="round", **style)
    arrow: Any = {"arrowstyle": "->", "shrinkA": 0, "shrinkB": 0, **style}
    axes.annotate("", (x1, tops[1]), (x1, level), arrowprops=arrow)
    if plus:
        axes.text(x1 - 0.03, level - 0.015, "+", ha="right", va="top", fontsize=SMALL)


def _sizes_in_lines(boxes: Sequence[_Box]) -> list[tuple[str, float, float, int]]:
    """Size of neighbours of one size, their left and right edge, and the line of text, lower where two would meet."""
    ends = [-math.inf] * 3
    sizes = []
    for size, group in groupby(boxes, key=lambda box: box.size):
        alike = list(group)
        left, right = alike[0].x, alike[-1].x + alike[-1].length
        middle, half = (left + right) / 2, (len(size) + 1) * CHARACTER / 2
        line = next((i for i, end in enumerate(ends) if middle - half > end), len(ends) - 1)
        ends[line] = middle + half
        sizes.append((size, left, right, line))
    return sizes


def _draw_legend(axes: "Axes", boxes: Sequence[_Box], y: float) -> None:
    from matplotlib.patches import Patch

    kinds = {_kind(box) for box in boxes if not box.is_code}
    entries = [pair for kind, pair in COLOURS.items() if kind in kinds]
    entries += [(CODE_COLOUR, "code")] if any(box.is_code for box in boxes) else []
    handles = [Patch(facecolor=colour, edgecolor="#333333", linewidth=0.6, label=label) for colour, label in entries]
    axes.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(0.15, y),
        bbox_transform=axes.transData,
        ncols=min(len(handles), 4 if axes.get_xlim()[1] < 7 else 6),
        fontsize=SMALL,
        borderaxespad=0,
        handlelength=1.2,
        columnspacing=1.2,
    )


def _levels(spans: Sequence[tuple[float, float]]) -> list[int]:
    """Height of each arrow, as the lowest level where it crosses none that is shorter."""
    levels = [0] * len(spans)
    order = sorted(range(len(spans)), key=lambda i: spans[i][1] - spans[i][0])
    for n, i in enumerate(order):
        below = [levels[j] for j in order[:n] if spans[j][0] < spans[i][1] and spans[i][0] < spans[j][1]]
        levels[i] = max(below, default=-1) + 1
    return levels
