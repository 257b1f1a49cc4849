"""Palettes of TIFF files: indices to colours, and colours to indices of the same or of a new palette."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hourglass.imagefiles.image import Raw
from hourglass.imagefiles.palettes import colour_keys, quantised

# Number of all colours with 8 bits in each band.
_ALL = 1 << 24
# Largest number of colours to which Pillow reduces an image.
_MOST = 256


def colours_of(table: Any) -> tuple[NDArray[np.uint8], bool]:
    """Read the colours of a ColorMap tag.

    Parameters
    ----------
    table : sequence of int
        Value of the tag: all reds, then all greens, then all blues.

    Returns
    -------
    colours : ndarray of shape (n, 3), uint8
        The colours, reduced to 8 bits.
    deep : bool
        Whether the file stores them with 16 bits.
    """
    stored = np.asarray(table, np.uint16).reshape(3, -1).T
    # Some old programs write 8 bits; libtiff recognises them in the same way.
    deep = bool(stored.max() > 255)
    return (stored >> 8 if deep else stored).astype(np.uint8), deep


def color_map(colours: NDArray[np.uint8], *, deep: bool) -> list[int]:
    """Make the value of a ColorMap tag.

    Parameters
    ----------
    colours : ndarray of shape (n, 3), uint8
        The colours.
    deep : bool
        Whether the file stores them with 16 bits.

    Returns
    -------
    list of int
        All reds, then all greens, then all blues.
    """
    return (colours.T.astype(np.uint16) * (257 if deep else 1)).ravel().tolist()


def indices_for(
    colours: NDArray[np.uint8], old: Raw, values: Raw, reserved: int | None = None
) -> tuple[Raw, NDArray[np.uint8] | None]:
    """Find indices for new colours, and a new palette if the old one lacks a colour.

    Parameters
    ----------
    colours : ndarray of shape (n, 3), uint8
        The palette of the file.
    old : ndarray of shape (h, w), unsigned integer
        The indices of the file. The index of a pixel stays if its colour did not change.
    values : ndarray of shape (h, w, 3), uint8
        The new colours.
    reserved : int, optional
        Index that stands for missing data and not for a colour; it is not used for other pixels. None, the default,
        when there is no such index.

    Returns
    -------
    indices : ndarray of shape (h, w), of the dtype of ``old``
        The new indices.
    colours : ndarray of shape (n, 3), uint8, or None
        A new palette, or None if the old one has all new colours. The new palette is exact if it has room for all
        colours; otherwise Pillow's median cut chooses its colours.
    """
    same = (colours[old] == values).all(axis=2)
    if same.all():
        return old, None
    keys = colour_keys(values)
    present = np.zeros(_ALL, bool)
    present[keys[~same]] = True
    wanted = np.flatnonzero(present)
    index_of = np.full(_ALL, -1, np.int32)
    usable = [i for i in reversed(range(len(colours))) if i != reserved]  # the first of two equal colours wins
    index_of[colour_keys(colours[usable])] = usable
    if (index_of[wanted] >= 0).all():
        return np.where(same, old, index_of[keys]).astype(old.dtype), None
    kept = np.zeros(old.shape, bool) if reserved is None else same & (old == reserved)
    present[:] = False
    present[keys[~kept]] = True
    wanted = np.flatnonzero(present)
    free = np.array(usable[::-1])
    new = np.zeros_like(colours)
    if reserved is not None:
        new[reserved] = colours[reserved]
    if len(wanted) <= len(free):
        new[free[: len(wanted)]] = np.stack([wanted >> 16, wanted >> 8 & 255, wanted & 255], axis=1)
        index_of[wanted] = free[: len(wanted)]
        indices = index_of[keys]
    else:
        places, chosen = quantised(values, min(len(free), _MOST))
        new[free[: len(chosen)]] = chosen
        indices = free[places]
    return np.where(kept, old, indices).astype(old.dtype), new
