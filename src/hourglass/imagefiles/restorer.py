"""A fitted autoencoder on pictures of any size and number of channels."""

import copy
import math

import numpy as np
from numpy.typing import NDArray

from hourglass.denoising.clipping import SMALLEST_FOR_LEVEL, estimate_noise_level
from hourglass.estimators import Autoencoder
from hourglass.estimators.reconstruction import ESTIMATE
from hourglass.imagefiles.image import Pixels, Plane, Raw
from hourglass.imagefiles.missing import fill, missing
from hourglass.imagefiles.ranges import ValueRange
from hourglass.imagefiles.tiling import Apply, apply_in_tiles

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
        if estimator.any_size:
            self.stride = int(estimator.network_.stride)
            self.radius = int(estimator.network_.receptive_radius)
            self.overlap = _up(2 * self.radius + 1 if overlap is None else overlap, self.stride)
            self.tile = max(_up(tile, self.stride), 2 * self.overlap) if overlap is None else _up(tile, self.stride)
            if self.tile < 2 * self.overlap:
                raise ValueError(f"tile={tile} is less than twice overlap={overlap}; make tiles larger")

    def restore(self, plane: Plane, value_range: ValueRange) -> Raw:
        """Reconstruct one plane of a file.

        Each grey band, ink and further band is an image of its own. Alpha stays as it is, and so does a band that is
        constant, and a pixel without data, which its neighbours do not see. Colours that were multiplied
        by alpha are divided by it for the network.

        Parameters
        ----------
        plane : Plane
        value_range : ValueRange
            What is [0, 1] to the network.

        Returns
        -------
        ndarray of the shape and dtype of ``plane.values``

        Raises
        ------
        ValueError
            When the estimator undoes clipping, and the range is none that numbers are clipped to.
        """
        if self.estimator.undo_clipping is not None and not value_range.bounded:
            raise ValueError(
                "clipping is undone for noise that was cut to black and white, and numbers of this file may lie "
                f"outside its range, {value_range}; leave that out, or give the full range (--range full)"
            )
        result = plane.values.copy()
        holes = missing(plane)
        of_colours = _premultiplied(plane)
        for bands in plane.groups:
            values, without = plane.values[..., bands], holes[..., bands]
            weight = None if plane.roles[bands.start] == "extra" else of_colours
            if _is_constant(values, without):
                continue
            pixels = value_range.normalise(values)
            if weight is not None:
                straight = values / np.where(weight > 0, weight, 1)
                pixels = ValueRange(value_range.low, value_range.high, "").normalise(straight)
                fill(pixels, without | (weight <= 0))
            elif without.any():
                fill(pixels, without)
            change = self.change(pixels)
            if weight is not None:
                change *= weight
            changed = value_range.put_back(values, change, plane.numbers)
            if weight is not None:  # no colour is more than its alpha, unless it was
                alpha = plane.values[..., [plane.roles.index("premultiplied")]]
                changed = np.minimum(changed, np.maximum(values, alpha))
            same = without if plane.keep is None else without | plane.keep[..., None]
            result[..., bands] = np.where(same, values, changed)
        return result

    def change(self, pixels: Pixels) -> Pixels:
        """What the network changes in pixels; to it, an outlier is at most a range's width away from its training."""
        low, high = self.estimator.pixel_range_
        room = max(high - low, 1.0)
        seen = np.clip(pixels, low - room, high + room)
        return self(seen) - seen

    def __call__(self, pixels: Pixels) -> Pixels:
        """Reconstruct one image.

        Parameters
        ----------
        pixels : ndarray of shape (h, w, 1) or (h, w, 3), float32
            On the scale of the images that the model was trained on.

        Returns
        -------
        ndarray of the same shape, float32

        Raises
        ------
        ValueError
            When the pixels are on another scale.
        """
        estimator = self.estimator
        low, high = estimator.pixel_range_
        # Noise may lead out of the range; twice its width is no noise.
        room = max(high - low, 1)
        if pixels.size and (pixels.min() < low - room or pixels.max() > high + room):
            raise ValueError(
                f"the pixels span [{pixels.min():g}, {pixels.max():g}], those of the model's training "
                f"[{low:g}, {high:g}]; scale the picture first"
            )
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

        if estimator.any_size:
            return apply_in_tiles(
                pixels, apply, tile=self.tile, overlap=self.overlap, radius=self.radius, stride=self.stride
            )
        return _in_fixed_tiles(pixels, apply, estimator.image_shape_[:2])


def _is_constant(values: Raw, without: NDArray[np.bool_]) -> bool:
    """Whether every band has one value wherever it has data."""
    for band in range(values.shape[2]):
        known = values[..., band]
        if without[..., band].any():
            known = known[~without[..., band]]
        if known.size and known.min() < known.max():
            return False
    return True


def _premultiplied(plane: Plane) -> NDArray[np.float64] | None:
    """Share ``(h, w, 1)`` by which the colours were multiplied; None where they were not."""
    if "premultiplied" not in plane.roles:
        return None
    alpha = plane.values[..., [plane.roles.index("premultiplied")]].astype(np.float64)
    limits = plane.numbers.limits
    return alpha if limits is None else alpha / limits[1]


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
