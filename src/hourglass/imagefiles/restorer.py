"""A fitted autoencoder on images of any size and number of channels."""

import copy
import math

import numpy as np
from numpy.typing import NDArray

from hourglass.denoising.clipping import SMALLEST_FOR_LEVEL, estimate_noise_level
from hourglass.estimators import Autoencoder
from hourglass.estimators.pieces import apply_in_tiles
from hourglass.estimators.reconstruction import ESTIMATE
from hourglass.imagefiles.image import Pixels, Plane, Raw
from hourglass.imagefiles.missing import fill, missing
from hourglass.imagefiles.value_ranges import ValueRange
from hourglass.runtime.hardware import trim_memory

# Side, in pixels, of the tiles for networks that normalise by the moments of the image they see.
_TILE = 512


class ImageRestorer:
    """Reconstructs images: with a denoiser, without their noise.

    A grey model takes the channels of a colour image one by one; a colour model takes a grey image as three
    equal channels, and its output's mean.

    Parameters
    ----------
    estimator : DenseAutoencoder or ConvAutoencoder
        Fitted. Where a pixel of the output depends on a part of the input, as in a convolutional one, an image of any
        size is reconstructed as a whole. A dense one sees overlapping tiles of the size that it was fitted on, and one
        that normalises by the moments of the image (``norm`` "layernorm", "group" or "instance") tiles of 512 × 512
        pixels.

    Raises
    ------
    ValueError
        When the model takes neither one nor three channels.
    """

    def __init__(self, estimator: Autoencoder) -> None:
        channels = estimator.image_shape_[2]
        if channels not in (1, 3):
            raise ValueError(f"the model takes images of {channels} channels; image files have 1 or 3")
        self.estimator = estimator
        self.channels = channels

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
        for group in plane.groups:
            if _is_constant(plane.values[..., group], holes[..., group]):
                continue
            weight = None if plane.roles[group.start] == "extra" else of_colours
            for bands in self._parts(group):
                trim_memory()  # freed pieces that the whole-image arrays below cannot use
                self._restore_bands(plane, value_range, bands, holes[..., bands], weight, result)
        return result

    def _parts(self, group: slice) -> list[slice]:
        """Bands that go through the network together; each takes memory in single precision."""
        if self.channels == 1 and self.estimator.undo_clipping != ESTIMATE:  # the level is that of all bands
            return [slice(band, band + 1) for band in range(group.start, group.stop)]
        return [group]

    def _restore_bands(
        self,
        plane: Plane,
        value_range: ValueRange,
        bands: slice,
        without: NDArray[np.bool_],
        weight: NDArray[np.float64] | None,
        result: Raw,
    ) -> None:
        """Reconstruct some bands of a plane into ``result``, which begins as a copy of the plane's numbers."""
        values = plane.values[..., bands]
        if weight is None:
            pixels = value_range.normalise(values)
            if without.any():
                fill(pixels, without)
        else:
            straight = values / np.where(weight > 0, weight, 1)
            pixels = ValueRange(value_range.low, value_range.high, "").normalise(straight)
            fill(pixels, without | (weight <= 0))
        change = self.change(pixels)
        del pixels
        if weight is not None:
            change *= weight
        changed = value_range.put_back(values, change, plane.numbers)
        if weight is not None:  # no colour is more than its alpha, unless it was
            alpha = plane.values[..., [plane.roles.index("premultiplied")]]
            changed = np.minimum(changed, np.maximum(values, alpha))
        if plane.keep is not None:
            without = without | plane.keep[..., None]
        result[..., bands] = np.where(without, values, changed) if without.any() else changed

    def change(self, pixels: Pixels) -> Pixels:
        """What the network changes in pixels; to it, an outlier is at most a range's width away from its training."""
        low, high = self.estimator.pixel_range_
        room = max(high - low, 1.0)
        low, high = low - room, high + room
        outside = pixels.size and (pixels.min() < low or pixels.max() > high)
        seen = np.clip(pixels, low, high) if outside else pixels
        restored = self(seen)
        return np.subtract(restored, seen, out=restored)

    def __call__(self, pixels: Pixels) -> Pixels:
        """Reconstruct one image.

        Parameters
        ----------
        pixels : ndarray of shape (h, w, 1) or (h, w, 3), float32
            On the scale of the images that the model was trained on.

        Returns
        -------
        ndarray of the same shape, float32
            A new array.

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
                f"[{low:g}, {high:g}]; scale the image first"
            )
        if estimator.undo_clipping == ESTIMATE:
            # One level for all channels and tiles.
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
        height, width = pixels.shape[:2]
        network = estimator.network_
        if not estimator.any_size:
            tall, wide = estimator.image_shape_[:2]
            overlap = math.ceil(tall / 2), math.ceil(wide / 2)
        elif network.halo is None and max(height, width) > _TILE:
            tall, wide = min(height, _TILE), min(width, _TILE)
            fade = min(2 * network.receptive_radius + 1, _TILE // 2)
            overlap = min(fade, math.ceil(tall / 2)), min(fade, math.ceil(wide / 2))
        else:
            return np.asarray(estimator.reconstruct(pixels[None])[0], dtype=np.float32)
        return apply_in_tiles(estimator.reconstruct, pixels, (tall, wide), overlap)


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
