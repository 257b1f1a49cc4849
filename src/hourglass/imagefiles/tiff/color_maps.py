"""Palettes of TIFF files: indices to colours, and colours back to indices of the same or of a new palette."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hourglass.imagefiles.image import Raw
from hourglass.imagefiles.palettes import colour_keys, quantised

# All colours of 8 bits.
_ALL = 1 << 24
# Colours that Pillow's quantisation makes at the most.
_MOST = 256


def colours_of(table: Any) -> tuple[NDArray[np.uint8], bool]:
    """The colours ``(n, 3)`` of a ColorMap with 8 bits, and whether the file stores them with 16."""
    stored = np.asarray(table, np.uint16).reshape(3, -1).T
    # As libtiff does: some old programs write 8 bits.
    deep = bool(stored.max() > 255)
    return (stored >> 8 if deep else stored).astype(np.uint8), deep


def color_map(colours: NDArray[np.uint8], *, deep: bool) -> list[int]:
    """Numbers of a ColorMap."""
    return (colours.T.astype(np.uint16) * (257 if deep else 1)).ravel().tolist()


def indices_for(
    colours: NDArray[np.uint8], old: Raw, values: Raw, reserved: int | None = None
) -> tuple[Raw, NDArray[np.uint8] | None]:
    """Indices that show new colours.

    Parameters
    ----------
    colours : ndarray of shape (n, 3)
        The palette.
    old : ndarray of shape (h, w)
        Indices in the file, which stay where the colour did not change.
    values : ndarray of shape (h, w, 3), uint8
        New colours.
    reserved : int, optional
        Index that means something else than a colour, and stays where it is.

    Returns
    -------
    indices : ndarray of shape (h, w)
    colours : ndarray of shape (n, 3) or None
        A new palette, where the old one lacks a colour: exact where it has room for all, else of the colours that
        Pillow's median cut chooses.
    """
    same = (colours[old] == values).all(axis=2)
    if same.all():
        return old, None
    keys = colour_keys(values)
    present = np.zeros(_ALL, bool)
    present[keys[~same]] = True
    wanted = np.flatnonzero(present)
    index_of = np.full(_ALL, -1, np.int32)
    usable = [i for i in reversed(range(len(colours))) if i != reserved]  # of two equal colours the first is used
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
