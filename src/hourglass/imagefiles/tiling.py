"""Pictures of any size through a network, whole or in overlapping tiles whose seams do not show."""

from collections.abc import Callable, Iterator

import numpy as np

from hourglass.imagefiles.image import Pixels

Apply = Callable[[Pixels], Pixels]


def apply_in_tiles(pixels: Pixels, apply: Apply, *, tile: int, overlap: int, radius: int, stride: int) -> Pixels:
    """Apply a function of images tile by tile.

    Tiles begin at multiples of ``stride``, where a network that pools sees the same grid as in the whole
    image. Of an overlap the outer ``radius`` pixels, which feel the cut, count for nothing, and between them one
    tile fades into the next: with ``overlap`` above ``2 · radius`` the result is that of the whole image.

    Parameters
    ----------
    pixels : ndarray of shape (h, w, c)
    apply : callable
        Of pixels ``(h', w', c)`` to pixels of the same shape.
    tile : int
        Height and width of a tile, a multiple of ``stride``, at least twice the overlap.
    overlap : int
        Pixels that neighbouring tiles share, a multiple of ``stride``.
    radius : int
        Pixels, each way, that a pixel of the output depends on.
    stride : int

    Returns
    -------
    ndarray of the shape of pixels

    Raises
    ------
    ValueError
        When tile and overlap do not fit together.
    """
    if tile % stride or overlap % stride or overlap < 0:
        raise ValueError(f"tile={tile} and overlap={overlap}; expected multiples of the network's stride, {stride}")
    if tile < max(2 * overlap, 1):
        raise ValueError(f"tile={tile} is less than twice the overlap, {overlap}; make tiles larger")
    height, width = pixels.shape[:2]
    result = np.zeros(pixels.shape, dtype=pixels.dtype)
    rows = list(_pieces(height, tile, overlap, radius))
    columns = list(_pieces(width, tile, overlap, radius))
    for top, bottom, down in rows:
        for left, right, across in columns:
            part = apply(pixels[top:bottom, left:right])
            result[top:bottom, left:right] += part * (down[:, None] * across)[..., None]
    return result


def _pieces(length: int, tile: int, overlap: int, radius: int) -> Iterator[tuple[int, int, Pixels]]:
    """Begin, end and weights of each piece of an axis; the weights of all pieces sum to 1."""
    margin = min(radius, max(overlap - 1, 0) // 2)
    fade = np.clip((np.arange(overlap) - margin + 0.5) / max(overlap - 2 * margin, 1), 0, 1).astype(np.float32)
    begin = 0
    while True:
        end = min(begin + tile, length)
        weights = np.ones(end - begin, dtype=np.float32)
        if begin > 0:
            weights[:overlap] = fade
        if end < length:
            weights[len(weights) - overlap :] *= 1 - fade
        yield begin, end, weights
        if end == length:
            return
        begin += tile - overlap
