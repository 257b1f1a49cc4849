"""A fitted autoencoder on pictures of any size and number of channels."""

import copy
import math

import numpy as np

from hourglass.data.clipping import SMALLEST_FOR_LEVEL, estimate_noise_level
from hourglass.estimators import Autoencoder, ConvAutoencoder
from hourglass.estimators.autoencoder_base import ESTIMATE
from hourglass.estimators.checks import check_pixel_range
from hourglass.pictures.tiling import Apply, Pixels, apply_in_tiles

# Pixels of a tile's side: its maps stay within some hundred megabytes, and the overlap is a small share of it.
TILE = 512


class PictureRestorer:
    """Reconstructs pictures: with a denoiser, without their noise.

    A grey model takes the channels of a colour picture one by one; a colour model takes a grey picture as three
    equal channels, and its output's mean.

    Parameters
    ----------
    estimator : DenseAutoencoder or ConvAutoencoder
        Fitted. A convolutional one takes any size; a dense one sees tiles of the size that it was fitted on.
    tile : int, default=512
        Side of the tiles in pixels, rounded up to a multiple of the network's stride. Pictures that are no larger
        are processed whole. A dense model has its own.
    overlap : int, optional
        Pixels that neighbouring tiles share; by default the receptive field, with which tiles and whole agree.

    Raises
    ------
    ValueError
        When the model takes neither one nor three channels, or the tiles are less than twice the overlap.
    """

    def __init__(self, estimator: Autoencoder, *, tile: int = TILE, overlap: int | None = None) -> None:
        channels = estimator.image_shape_[2]
        if channels not in (1, 3):
            raise ValueError(f"the model takes images of {channels} channels; picture files have 1 or 3")
        self.estimator = estimator
        self.channels = channels
        if isinstance(estimator, ConvAutoencoder):
            self.stride = int(estimator.network_.stride)
            self.radius = int(estimator.network_.receptive_radius)
            self.overlap = _up(2 * self.radius + 1 if overlap is None else overlap, self.stride)
            self.tile = max(_up(tile, self.stride), 2 * self.overlap) if overlap is None else _up(tile, self.stride)
            if self.tile < 2 * self.overlap:
                raise ValueError(f"tile={tile} is less than twice overlap={overlap}; make tiles larger")

    def __call__(self, pixels: Pixels) -> Pixels:
        """Reconstruct one picture.

        Parameters
        ----------
        pixels : ndarray of shape (h, w, 1) or (h, w, 3), float32
            In [0, 1].

        Returns
        -------
        ndarray of the same shape, float32

        Raises
        ------
        ValueError
            When a floating-point picture is on another scale than the images that the model was trained on.
        """
        estimator = self.estimator
        if pixels.size:
            check_pixel_range(float(pixels.min()), float(pixels.max()), estimator.pixel_range_, name="the picture")
        if estimator.undo_clipping == ESTIMATE:
            # One level for the picture, not one for each tile.
            level = estimate_noise_level(pixels[None]) if min(pixels.shape[:2]) >= SMALLEST_FOR_LEVEL else 0
            estimator = copy.copy(estimator).set_params(undo_clipping=level or None)
        count = pixels.shape[2]
        if count == self.channels:
            return self._restore(estimator, pixels)
        if self.channels == 1:
            return np.concatenate([self._restore(estimator, pixels[..., i : i + 1]) for i in range(count)], axis=2)
        grey = self._restore(estimator, np.repeat(pixels, 3, axis=2)).mean(2, keepdims=True)
        return np.asarray(grey, dtype=np.float32)

    def _restore(self, estimator: Autoencoder, pixels: Pixels) -> Pixels:
        def apply(part: Pixels) -> Pixels:
            return np.asarray(estimator.reconstruct(part[None])[0], dtype=np.float32)

        if isinstance(estimator, ConvAutoencoder):
            return apply_in_tiles(
                pixels, apply, tile=self.tile, overlap=self.overlap, radius=self.radius, stride=self.stride
            )
        return _in_fixed_tiles(pixels, apply, estimator.image_shape_[:2])


def _in_fixed_tiles(pixels: Pixels, apply: Apply, size: tuple[int, int]) -> Pixels:
    """Tiles of one size that overlap by half, each weighted by a tent: for networks that take no other size."""
    height, width = pixels.shape[:2]
    tall, wide = size
    padding = ((0, max(tall - height, 0)), (0, max(wide - width, 0)), (0, 0))
    padded = np.pad(pixels, padding, mode="edge")
    total = np.zeros(padded.shape, dtype=np.float64)
    weight = np.zeros((*padded.shape[:2], 1))
    tent = np.outer(_tent(tall), _tent(wide))[..., None]
    for top in _starts(padded.shape[0], tall):
        for left in _starts(padded.shape[1], wide):
            place = np.s_[top : top + tall, left : left + wide]
            total[place] += apply(padded[place]) * tent
            weight[place] += tent
    return np.asarray((total / weight)[:height, :width], dtype=np.float32)


def _starts(length: int, tile: int) -> list[int]:
    return sorted({*range(0, length - tile, max(tile // 2, 1)), length - tile})


def _tent(length: int) -> Pixels:
    places = np.arange(1, length + 1, dtype=np.float32)
    return np.minimum(places, places[::-1])


def _up(value: int, step: int) -> int:
    return math.ceil(value / step) * step
