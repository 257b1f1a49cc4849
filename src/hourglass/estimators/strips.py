"""Restoring an image strip by strip, so that little of it is in memory as floating-point numbers."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from hourglass.denoising.noise_level import NoiseLevel
from hourglass.estimators.fitting import Floats
from hourglass.estimators.pieces import Cut, cut_axis

# The first returns some rows of an image as pixels (h, w, c); the second is given the change of some rows.
Read = Callable[[slice], Floats]
Write = Callable[[slice, Floats], None]

# Pixels of a strip without its neighbours.
_PIXELS = 4_500_000


def cut_into_strips(height: int, width: int, halo: tuple[int, int] | None) -> list[Cut]:
    """Cut an image into strips of rows.

    Parameters
    ----------
    height, width : int
        Size of the image, in pixels.
    halo : (stride, radius) or None
        Halo of the network, as for :func:`hourglass.estimators.pieces.apply_in_pieces`; without one, there is one
        strip.

    Returns
    -------
    list of (read, inner, written)
        For each strip three slices of rows: of the image, what it is computed from; of its output, what counts; of the
        result, where that goes.
    """
    if halo is None:
        return [(slice(0, height), slice(0, height), slice(0, height))]
    stride, radius = halo
    step = max(1, _PIXELS // max(width, 1) // stride) * stride
    return cut_axis(height, step, math.ceil(radius / stride) * stride)


def restore_strips(
    restore: Callable[[Floats], Floats], read: Read, strips: Sequence[Cut], write: Write, *, factor: float = 1.0
) -> float:
    """Restore an image strip by strip.

    Parameters
    ----------
    restore : callable
        Function that restores pixels ``(h, w, c)``.
    read : callable
        Function that returns some rows of the image.
    strips : sequence of (read, inner, written)
        As ``cut_into_strips`` returns them.
    write : callable
        Function that is called with the rows of each strip and their change. It may keep the array.
    factor : float, default=1.0
        Factor of the change.

    Returns
    -------
    float
        Root mean square of the change, before it was multiplied.
    """
    total, count = 0.0, 0
    for rows, inner, written in strips:
        pixels = read(rows)
        restored = restore(pixels)
        change = np.subtract(restored[inner], pixels[inner], out=restored[inner])
        total += float(np.sum(np.square(change), dtype=np.float64))
        count += change.size
        write(written, change if factor == 1 else change * change.dtype.type(factor))
    return math.sqrt(total / count) if count else 0.0


class StripByStrip:
    """Base of :class:`hourglass.estimators.Autoencoder`: restores one image, as a whole or strip by strip."""

    reconstruct: Callable[..., Floats]

    def denoise_image(self, image: Floats, noise: NoiseLevel) -> tuple[Floats, float | None]:
        """Denoise one image; its height and width are those of training, unless the network takes images of any size.

        Parameters
        ----------
        image : ndarray of shape (h, w, c), float32 or float64
            Image, on the scale of training.
        noise : NoiseLevel
            A network that judges the noise by itself uses the strength alone: below 1 it is the share of the change.

        Returns
        -------
        restored : ndarray of shape (h, w, c), of the dtype of ``image``
            Image without noise, in a new array.
        level : float or None
            Level of the noise, without the factor ``noise.strength``; None where the network does not tell.
        """
        restored: Floats = self.reconstruct(image[None])[0]
        share = image.dtype.type(noise.strength)
        return (restored if share >= 1 else image + (restored - image) * share), None

    def denoise_strips(self, read: Read, strips: Sequence[Cut], write: Write, noise: NoiseLevel) -> float | None:
        """Denoise one image strip by strip.

        Parameters
        ----------
        read : callable
            Function that returns some rows of the image as an array ``(rows, w, c)``, float32 or float64.
        strips : sequence of (read, inner, written)
            Strips of the image, as ``cut_into_strips`` returns them.
        write : callable
            Function that is called with the rows and the change of each strip, and with another change of the same
            rows where a second pass is needed. Without noise it is not called.
        noise : NoiseLevel
            A network that judges the noise by itself uses the strength alone: below 1 it is the share of the change.

        Returns
        -------
        float or None
            Level of the noise, without the factor ``noise.strength``; None where the network does not tell.
        """
        share = min(noise.strength, 1.0)
        restore_strips(lambda pixels: self.reconstruct(pixels[None])[0], read, strips, write, factor=share)
        return None
