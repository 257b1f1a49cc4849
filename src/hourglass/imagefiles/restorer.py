"""A fitted autoencoder, applied to images of any size and number of channels."""

import copy
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hourglass.denoising.clipping import SMALLEST_FOR_LEVEL, estimate_noise_level
from hourglass.denoising.noise_level import NoiseLevel
from hourglass.errors import OptionError
from hourglass.estimators import Autoencoder
from hourglass.estimators.checks import accepted_range
from hourglass.estimators.pieces import apply_in_tiles
from hourglass.estimators.reconstruction import ESTIMATE
from hourglass.estimators.sending import Sent
from hourglass.estimators.strips import cut_into_strips
from hourglass.imagefiles.image import Pixels, Plane, Raw
from hourglass.imagefiles.missing import fill, missing
from hourglass.imagefiles.value_ranges import ValueRange

# Numbers of an image that is restored strip by strip, as its floating-point copies would take much memory.
_LARGE = 24_000_000


class ImageRestorer:
    """Reconstruction of images by fitted models; a denoiser removes their noise.

    A model of as many channels as the image reconstructs it. Without one, a grey model reconstructs the channels of a
    colour image one by one, and a colour model reconstructs a grey image as three equal channels, whose mean is the
    result.

    Parameters
    ----------
    models : Autoencoder or sequence of Autoencoder
        Fitted models of images with 1 or 3 channels, at most one for each. A convolutional model reconstructs an image
        of any size as a whole. A dense model reconstructs overlapping tiles of the size that it was fitted on. A
        convolutional model that normalises by the moments of its input image (``norm`` "layer", "group" or "instance")
        reconstructs a larger image in overlapping tiles of 512 × 512 pixels.
    noise : NoiseLevel, optional
        Level of the noise, for models that take one. By default it is found in each image.

    Attributes
    ----------
    models : dict of int to Autoencoder
        Models by the number of their images' channels, 1 or 3.
    noise : NoiseLevel
        As given.

    Raises
    ------
    OptionError
        When a level, or a strength above 1, is given, and a model takes none.
    ValueError
        When a model's images have neither 1 nor 3 channels.
    """

    def __init__(self, models: Autoencoder | Sequence[Autoencoder], noise: NoiseLevel | None = None) -> None:
        self.models: dict[int, Autoencoder] = {}
        self.noise = noise or NoiseLevel()
        for model in models if isinstance(models, Sequence) else [models]:
            channels = model.image_shape_[2]
            if channels not in (1, 3):
                raise ValueError(f"the model takes images of {channels} channels; image files have 1 or 3")
            if not (model.takes_noise_level or self.noise.suits_every_model):
                raise OptionError(
                    "the model takes no noise level, as it judges every image by itself; leave noise_level "
                    "(--noise-level) out, and a strength (--strength) above 1"
                )
            self.models[channels] = model

    def __getstate__(self) -> tuple[dict[int, Sent[Autoencoder]], NoiseLevel]:
        return {channels: Sent(model) for channels, model in self.models.items()}, self.noise

    def __setstate__(self, state: tuple[dict[int, Sent[Autoencoder]], NoiseLevel]) -> None:
        self.models, self.noise = {channels: sent.estimator for channels, sent in state[0].items()}, state[1]

    def restore(self, plane: Plane, value_range: ValueRange) -> tuple[Raw, tuple[float, ...]]:
        """Reconstruct one plane of a file.

        Each grey band, each ink and each extra band is reconstructed as an image of its own. Alpha, constant bands
        and pixels without data do not change, and pixels without data have no influence on their neighbours. Colours
        that are multiplied by alpha are divided by it for the network, and multiplied again afterwards.

        Parameters
        ----------
        plane : Plane
            The plane, which is not changed.
        value_range : ValueRange
            Range of the plane's numbers that the network sees as [0, 1].

        Returns
        -------
        values : ndarray of shape (h, w, bands), of the dtype of ``plane.values``
            The reconstructed numbers, in a new array.
        levels : tuple of float
            Levels of the noise that were found or given, one for each part of the image that goes through a network by
            itself, as fractions of the range. Empty for models that do not tell.

        Raises
        ------
        ValueError
            When the model undoes clipping (its parameter ``undo_clipping``), but ``value_range`` is not bounded, so
            that the noise was not clipped to it.
        """
        undone = any(model.undo_clipping is not None for model in self.models.values())
        if undone and not value_range.bounded:
            raise ValueError(
                "clipping is undone for noise that was cut to black and white, and numbers of this file may lie "
                f"outside its range, {value_range}; leave that out, or give the full range (--range full)"
            )
        result = plane.values.copy()
        levels: list[float] = []
        holes = missing(plane)
        of_colours = _premultiplied(plane)
        for group in plane.groups:
            if _is_constant(plane.values[..., group], holes[..., group]):
                continue
            weight = None if plane.roles[group.start] == "extra" else of_colours
            for bands in self._parts(group):
                levels += self._restore_bands(plane, value_range, bands, holes[..., bands], weight, result)
        return result, tuple(levels)

    def _parts(self, group: slice) -> list[slice]:
        """Bands that go through the network together; fewer at a time take less memory."""
        model = self._model(group.stop - group.start)
        one_by_one = model.image_shape_[2] == 1 and model.undo_clipping != ESTIMATE  # its level is that of all bands
        return [slice(band, band + 1) for band in range(group.start, group.stop)] if one_by_one else [group]

    def _model(self, channels: int) -> Autoencoder:
        return self.models.get(channels) or self.models.get(1) or self.models[3]

    def _restore_bands(
        self,
        plane: Plane,
        value_range: ValueRange,
        bands: slice,
        without: NDArray[np.bool_],
        weight: NDArray[np.float64] | None,
        result: Raw,
    ) -> list[float]:
        """Reconstruct some bands of a plane and write them into ``result``; returns the levels of their noise."""
        values = plane.values[..., bands]
        if values.size > _LARGE and weight is None and plane.keep is None and not without.any():
            model = self._model(values.shape[2])
            estimates = model.undo_clipping == ESTIMATE  # one level for the whole image
            fits = model.image_shape_[2] == values.shape[2] and model.any_size and not estimates
            if fits and model.network_.halo is not None:
                return self._restore_in_strips(model, plane, value_range, bands, result)
        if weight is None:
            pixels = value_range.normalise(values)
            if without.any():
                fill(pixels, without)
        else:
            straight = values / np.where(weight > 0, weight, 1)
            pixels = ValueRange(value_range.low, value_range.high, "").normalise(straight)
            fill(pixels, without | (weight <= 0))
        change, levels = self._change(pixels)
        del pixels
        if weight is not None:
            change *= weight
        changed = value_range.put_back(values, change, plane.numbers)
        if weight is not None:  # a colour stays at most its alpha, unless it was above it before
            alpha = plane.values[..., [plane.roles.index("premultiplied")]]
            changed = np.minimum(changed, np.maximum(values, alpha))
        if plane.keep is not None:
            without = without | plane.keep[..., None]
        result[..., bands] = np.where(without, values, changed) if without.any() else changed
        return levels

    def _restore_in_strips(
        self, model: Autoencoder, plane: Plane, value_range: ValueRange, bands: slice, result: Raw
    ) -> list[float]:
        """As ``_restore_bands``, for a large image without missing pixels."""
        values = plane.values[..., bands]
        limits = accepted_range(model.pixel_range_)

        def read(rows: slice) -> Pixels:
            pixels = value_range.normalise(values[rows])
            return np.clip(pixels, *limits, out=pixels)

        def write(rows: slice, change: Pixels) -> None:
            result[rows, :, bands] = value_range.put_back(values[rows], change, plane.numbers)

        height, width = values.shape[:2]
        level = model.denoise_strips(read, cut_into_strips(height, width, model.network_.halo), write, self.noise)
        return [] if level is None else [level]

    def change(self, pixels: Pixels) -> Pixels:
        """Compute what the reconstruction adds to an image.

        Numbers that lie farther outside the range of the training images than the width of that range (at least 1)
        are clipped for the network.

        Parameters
        ----------
        pixels : ndarray of shape (h, w, 1) or (h, w, 3), float32
            The image, on the scale of the images that the model was trained on. It is not changed.

        Returns
        -------
        ndarray of shape (h, w, 1) or (h, w, 3), float32
            The reconstruction less the image that the network saw, in a new array of the shape of ``pixels``.
        """
        return self._change(pixels)[0]

    def _change(self, pixels: Pixels) -> tuple[Pixels, list[float]]:
        low, high = accepted_range(self._model(pixels.shape[2]).pixel_range_)
        outside = pixels.size and (pixels.min() < low or pixels.max() > high)
        seen = np.clip(pixels, low, high) if outside else pixels
        restored, levels = self._restored(seen)
        return np.subtract(restored, seen, out=restored), levels

    def __call__(self, pixels: Pixels) -> Pixels:
        """Reconstruct one image.

        Parameters
        ----------
        pixels : ndarray of shape (h, w, 1) or (h, w, 3), float32
            The image, on the scale of the images that the model was trained on.

        Returns
        -------
        ndarray of shape (h, w, 1) or (h, w, 3), float32
            The reconstruction, in a new array of the shape of ``pixels``.

        Raises
        ------
        ValueError
            When the pixels are on another scale: a number lies farther outside the range of the training images than
            the width of that range (at least 1).
        """
        return self._restored(pixels)[0]

    def _restored(self, pixels: Pixels) -> tuple[Pixels, list[float]]:
        """The reconstruction, in a new array, and the levels of the noise of each part."""
        count = pixels.shape[2]
        model = self._model(count)
        lowest, highest = accepted_range(model.pixel_range_)
        if pixels.size and (pixels.min() < lowest or pixels.max() > highest):
            low, high = model.pixel_range_
            raise ValueError(
                f"the pixels span [{pixels.min():g}, {pixels.max():g}], those of the model's training "
                f"[{low:g}, {high:g}]; scale the image first"
            )
        if model.undo_clipping == ESTIMATE:
            # All channels and tiles share one noise level.
            level = estimate_noise_level(pixels[None]) if min(pixels.shape[:2]) >= SMALLEST_FOR_LEVEL else 0
            model = copy.copy(model).set_params(undo_clipping=level or None)
        channels = model.image_shape_[2]
        if count == channels:
            return self._apply(model, pixels)
        parts = [self._apply(model, np.repeat(pixels[..., i : i + 1], channels, axis=2)) for i in range(count)]
        bands = [image.mean(2, keepdims=True, dtype=np.float32) for image, _ in parts]
        return np.concatenate(bands, axis=2), [level for _, part in parts for level in part]

    def _apply(self, model: Autoencoder, pixels: Pixels) -> tuple[Pixels, list[float]]:
        """The output of a model for an image of its channels."""
        if not model.any_size:
            tall, wide = model.image_shape_[:2]
            overlap = math.ceil(tall / 2), math.ceil(wide / 2)
            return apply_in_tiles(model.reconstruct, pixels, (tall, wide), overlap), []
        restored, level = model.denoise_image(pixels, self.noise)
        return np.asarray(restored, dtype=np.float32), [] if level is None else [level]


def _is_constant(values: Raw, without: NDArray[np.bool_]) -> bool:
    """Whether each band has only one value, apart from missing pixels."""
    for band in range(values.shape[2]):
        known = values[..., band]
        if without[..., band].any():
            known = known[~without[..., band]]
        if known.size and known.min() < known.max():
            return False
    return True


def _premultiplied(plane: Plane) -> NDArray[np.float64] | None:
    """Alpha ``(h, w, 1)`` by which the colours are multiplied, in [0, 1]; None if they are not multiplied."""
    if "premultiplied" not in plane.roles:
        return None
    alpha = plane.values[..., [plane.roles.index("premultiplied")]].astype(np.float64)
    limits = plane.numbers.limits
    return alpha if limits is None else alpha / limits[1]
