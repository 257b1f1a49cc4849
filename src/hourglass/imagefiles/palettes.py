"""Images with a palette: indices to colours, and colours to indices of the same or of a new palette."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hourglass.imagefiles.image import COLOURS, Raw


class Palette(NamedTuple):
    """A palette of 8-bit colours.

    Parameters
    ----------
    colours : ndarray of shape (n, 3), uint8
        The colours, at most 256, as red, green and blue.
    alpha : ndarray of shape (m,), uint8, optional
        Opacity of the first ``m`` colours; the others are opaque. None, the default, when all are.
    """

    colours: NDArray[np.uint8]
    alpha: NDArray[np.uint8] | None = None

    @property
    def rows(self) -> NDArray[np.uint8]:
        """One row for each of 256 indices, ``(256, bands)``: grey or RGB, with alpha if the palette has alpha."""
        table = np.zeros((256, 4), np.uint8)
        table[:, 3] = 255
        table[: len(self.colours), :3] = self.colours
        if self.alpha is not None:
            table[: len(self.alpha), 3] = self.alpha[:256]
        grey = bool((self.colours == self.colours[:, :1]).all())
        return table[:, [*((0,) if grey else (0, 1, 2)), *(() if self.alpha is None else (3,))]]


def looked_up(palette: Palette, indices: Raw) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """Look up the colours of an image of indices.

    Parameters
    ----------
    palette : Palette
        The palette. Indices beyond its colours are black, as in browsers.
    indices : ndarray of shape (h, w), uint8
        The image.

    Returns
    -------
    colours : ndarray of shape (h, w, bands), uint8
        The colours: grey or RGB, with alpha if the palette has alpha.
    roles : tuple of str
        Meaning of each band, as in :class:`Plane`.
    """
    rows = palette.rows
    roles = ("grey",) if rows.shape[1] < 3 else COLOURS
    return rows[indices], (*roles, *(() if palette.alpha is None else ("alpha",)))


def rebuilt(palette: Palette, old: Raw, values: NDArray[np.uint8], most: int) -> tuple[NDArray[np.uint8], Palette]:
    """Find indices for new colours, and a new palette if the old one lacks a colour.

    Parameters
    ----------
    palette : Palette
        The palette of the file.
    old : ndarray of shape (h, w), uint8
        The indices of the file. The index of a pixel stays if its colour did not change.
    values : ndarray of shape (h, w, bands), uint8
        The new colours, with as many bands as the palette's ``rows``.
    most : int
        Largest number of colours that the format allows in a palette.

    Returns
    -------
    indices : ndarray of shape (h, w), uint8
        The new indices.
    palette : Palette
        The given palette itself if it has all new colours, else a new one. The new palette is exact if the image has
        at most ``most`` colours. Otherwise its colours are chosen by Pillow's median cut or, with alpha, its octree.
    """
    rows = palette.rows[: max(len(palette.colours), int(old.max(initial=0)) + 1)]
    colours, first, places = np.unique(colour_keys(values), return_index=True, return_inverse=True)
    places = places.reshape(old.shape)
    new = values.reshape(-1, values.shape[2])[first]
    known = {key: index for index, key in reversed(list(enumerate(colour_keys(rows).tolist())))}
    if all(key in known for key in colours.tolist()):
        indices = np.array([known[key] for key in colours.tolist()], np.uint8)[places]
        same = (palette.rows[old] == values).all(axis=2)
        return np.where(same, old, indices).astype(np.uint8), palette
    found = places.astype(np.uint8)
    if len(new) > most:
        found, new = quantised(values, most)
    bands = values.shape[2] - (palette.alpha is not None)
    alpha = None if palette.alpha is None else new[:, -1]
    return found, Palette(np.repeat(new[:, :1], 3, axis=1) if bands == 1 else new[:, :3], alpha)


def colour_keys(colours: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """Make one number of each colour, so that colours can be compared.

    Parameters
    ----------
    colours : ndarray of shape (..., bands), uint8
        Colours of at most 4 bands.

    Returns
    -------
    ndarray of shape (...), uint32
        A different number for each colour.
    """
    keys = np.zeros(colours.shape[:-1], np.uint32)
    for band in range(colours.shape[-1]):
        keys = keys << np.uint32(8) | colours[..., band]
    return keys


def quantised(values: NDArray[np.uint8], most: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Reduce an image to a limited number of colours.

    Parameters
    ----------
    values : ndarray of shape (h, w, bands), uint8
        The image: grey or RGB, in each case with or without alpha.
    most : int
        Largest number of colours, at most 256.

    Returns
    -------
    indices : ndarray of shape (h, w), uint8
        Index of each pixel's colour.
    colours : ndarray of shape (n, bands), uint8
        The colours.
    """
    from PIL import Image

    transparent = values.shape[2] in (2, 4)
    mode = "RGBA" if transparent else "RGB"
    image = Image.fromarray(values[..., 0] if values.shape[2] == 1 else values).convert(mode)
    method = Image.Quantize.FASTOCTREE if transparent else Image.Quantize.MEDIANCUT
    quantised = image.quantize(most, method=method)
    table = np.frombuffer(quantised.im.getpalette(mode, mode), np.uint8).reshape(-1, len(mode))
    indices = np.asarray(quantised)
    table = table[: int(indices.max()) + 1]
    return indices, table if values.shape[2] > 2 else table[:, [0, *((3,) if transparent else ())]]
