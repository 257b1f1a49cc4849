"""Images of palette colours: indices to colours, and colours back to indices of the same or a new palette."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hourglass.imagefiles.image import COLOURS, Raw


class Palette(NamedTuple):
    """Colours ``(n, 3)`` of 8 bits, and the opacity of the first of them; the others are opaque."""

    colours: NDArray[np.uint8]
    alpha: NDArray[np.uint8] | None = None

    @property
    def rows(self) -> NDArray[np.uint8]:
        """One row for each of 256 indices: grey or RGB, with alpha where some colour is transparent."""
        table = np.zeros((256, 4), np.uint8)
        table[:, 3] = 255
        table[: len(self.colours), :3] = self.colours
        if self.alpha is not None:
            table[: len(self.alpha), 3] = self.alpha[:256]
        grey = bool((self.colours == self.colours[:, :1]).all())
        return table[:, [*((0,) if grey else (0, 1, 2)), *(() if self.alpha is None else (3,))]]


def looked_up(palette: Palette, indices: Raw) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """Colours of an image of indices, and what the bands mean; an index without a colour is black, as in browsers."""
    rows = palette.rows
    roles = ("grey",) if rows.shape[1] < 3 else COLOURS
    return rows[indices], (*roles, *(() if palette.alpha is None else ("alpha",)))


def rebuilt(palette: Palette, old: Raw, values: NDArray[np.uint8], most: int) -> tuple[NDArray[np.uint8], Palette]:
    """Indices for new colours.

    Parameters
    ----------
    palette : Palette
        The file's.
    old : ndarray of shape (h, w)
        The file's indices. Where a colour did not change, its index stays.
    values : ndarray of shape (h, w, bands)
        New colours, with as many bands as the palette's ``rows``.
    most : int
        Colours that a palette may have.

    Returns
    -------
    indices : ndarray of shape (h, w)
    palette : Palette
        The very palette that was given where it has all the colours, otherwise a new one: exact where ``most`` colours
        are enough, else of the colours that represent the image best by Pillow's median cut or, with transparency, its
        octree.
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
    """One number for each colour, of all but the last axis."""
    keys = np.zeros(colours.shape[:-1], np.uint32)
    for band in range(colours.shape[-1]):
        keys = keys << np.uint32(8) | colours[..., band]
    return keys


def quantised(values: NDArray[np.uint8], most: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Indices and at most so many colours that represent an image best."""
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
