"""Figures of images, codes and checkerboard patterns."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hourglass.plots.style import empty_figure, in_style, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Stack = NDArray[np.floating[Any]]


def image_rows(rows: Mapping[str, Stack], *, title: str = "") -> "Figure":
    """Draw several stacks of images, each as a row of images.

    Parameters
    ----------
    rows : mapping of str to ndarray of shape (n, h, w, c)
        Images of each row, by the label on its left: pixels in [0, 1], with 1 or 3 channels. Every row has the same
        number of images.
    title : str, default=""
        Title above the rows; by default there is none.

    Returns
    -------
    matplotlib.figure.Figure
        The figure, with one axis for each image.
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
    """Draw images of one size side by side, each under its label.

    Parameters
    ----------
    columns : mapping of str to ndarray of shape (h, w, c)
        Images by label: pixels in [0, 1], with 1 or 3 channels.

    Returns
    -------
    matplotlib.figure.Figure
        The figure, with one axis for each image.
    """
    height, width = next(iter(columns.values())).shape[:2]
    with new_figure((3 * len(columns), 0.3 + 3 * height / width), 1, len(columns)) as (figure, axes):
        for axis, (label, image) in zip(axes[0], columns.items(), strict=True):
            _show(axis, image)
            axis.set_title(label)
    return figure


def codes(images: Stack, values: Stack, code_shape: tuple[int, ...]) -> "Figure":
    """Draw images and, below each image, its code.

    Parameters
    ----------
    images : ndarray of shape (n, h, w, c)
        The images: pixels in [0, 1], with 1 or 3 channels.
    values : ndarray of shape (n, code_size)
        Code of each image. The colours range from 0 to the largest value of all codes.
    code_shape : tuple of int
        Shape of one code: ``(code_size,)``, drawn in rows of 8 values, or ``(h, w, maps)``, drawn as feature maps side
        by side.

    Returns
    -------
    matplotlib.figure.Figure
        The figure, with a colour bar for the codes.
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


def checkerboards(responses: Mapping[str, Stack], rows: Mapping[str, Stack], *, n_steps: int) -> "Figure":
    """Draw the checkerboard patterns of several decoders, before training and in images early in training.

    Parameters
    ----------
    responses : mapping of str to ndarray of shape (h, w)
        Response of each untrained decoder to a constant code, by its name: the strength at each output pixel, with
        mean 1. At least 9 × 9 pixels, since the printed variation leaves out 4 pixels at each edge.
    rows : mapping of str to ndarray of shape (n, h, w, c)
        Images of each row, by the label on its left: pixels in [0, 1], with 1 or 3 channels. Every row has the same
        number of images.
    n_steps : int
        Number of training steps after which the decoders reconstructed ``rows``, for the title.

    Returns
    -------
    matplotlib.figure.Figure
        The figure: the responses on the left, the images on the right.
    """
    count = len(next(iter(rows.values())))
    with in_style():
        figure = empty_figure((10.2, 3.2))
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
    """A code as one image: its values in rows of eight, or its feature maps in rows of one, two or four with gaps."""
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
