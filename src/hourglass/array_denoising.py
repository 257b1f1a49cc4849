"""One call that denoises an array."""

import os
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from hourglass.denoising.noise_level import AUTO, NoiseLevel
from hourglass.denoising.notation import parse_noise_level
from hourglass.estimators import Autoencoder
from hourglass.imagefiles import ImageRestorer, Numbers, Plane, Ranges
from hourglass.imagefiles.ranges import FileRanges
from hourglass.imagefiles.value_ranges import UNKNOWN
from hourglass.models import load_named
from hourglass.pretrained import PRETRAINED

# Lengths of a last axis that is taken for that of the channels.
_CHANNELS = (1, 3)
# A shorter last axis is hardly the width of an image.
_FEWEST_PIXELS = 8
# Floating-point numbers farther outside [0, 1] than its width are on another scale.
_FARTHEST = 1.0
_PERCENTILES = (0.1, 99.9)


def denoise(
    image: ArrayLike,
    noise_level: float | str | None = None,
    model: str | os.PathLike[str] | Autoencoder = "photo",
    *,
    channel_axis: int | str | None = "auto",
    strength: float = 1.0,
    data_range: tuple[float, float] | None = None,
    device: str | torch.device = "auto",
) -> NDArray[Any]:
    """Remove the noise of an image, or of a stack of images.

    Parameters
    ----------
    image : array-like of shape (..., h, w) or (..., h, w, c), of integers, floating-point numbers or booleans
        One image, or a stack of images along further axes in front; each is denoised by itself. An image with three
        channels is a colour image. With another number of channels, each channel is denoised as a grey image.
    noise_level : float or "auto", optional
        Standard deviation of the noise as a fraction of ``data_range``, at least 0, such as ``25 / 255``. By default,
        as with ``"auto"``, it is found in each image, and an image without noise is returned unchanged.
    model : str, path-like or fitted autoencoder, default="photo"
        ``"photo"``, ``"photo-grey"`` or ``"digits"``, the folder of a model, or a model that takes images of any size.
        A folder of such a name is given with its path, as ``"./photo"``.
    channel_axis : int, "auto" or None, default="auto"
        Axis of the channels, or None if the array has none. ``"auto"`` takes the last axis for it if there are three
        or more axes and the last one has a length of 1 or 3. If it has another length below 8, give the axis.
    strength : float, default=1.0
        From 0.5 to 1.5. Below 1 it is the share of the noise that is taken away, so that a little grain is left; above
        1 it is a factor of the level, so that more is smoothed.
    data_range : pair of float, optional
        Black and white. By default 0 and 255 for bytes; for integers of other types, as for image files, 0 and 65,535
        if they are bytes that were stretched to 16 bits, and otherwise the percentiles 0.1 and 99.9 of the array; for
        floating-point numbers 0 and 1, or these percentiles where a number is below -1 or above 2.
    device : {"auto", "cpu", "cuda"} or torch.device, default="auto"
        Where to compute; ``auto`` takes the GPU where there is one. Not used for a fitted model.

    Returns
    -------
    ndarray of the shape and dtype of ``image``
        The image without noise, in a new array. Integers are rounded and limited to the range of their type.

    Raises
    ------
    OptionError
        When a level or the strength is out of its range, or the model takes no level.
    ValueError
        When the array has less than two axes without the channels, is no array of real numbers, or holds NaN or
        infinity; when there is no such model.

    See Also
    --------
    hourglass.ImageDenoiser : Trains such a model.

    Examples
    --------
    >>> import hourglass as hg
    >>> noisy = np.random.default_rng(0).normal(128, 20, (60, 80, 3)).clip(0, 255).astype(np.uint8)
    >>> restored = hg.denoise(noisy)
    >>> restored.shape, str(restored.dtype), bool(restored.std() < 6)
    ((60, 80, 3), 'uint8', True)
    """
    array = np.asarray(image)
    if array.dtype.kind not in "buif":
        raise ValueError(f"image holds numbers of type {array.dtype}; expected integers or floating-point numbers")
    axis = _channel_axis(array.shape, channel_axis)
    stack = array[..., None] if axis is None else np.moveaxis(array, axis, -1)
    if stack.ndim < 3:
        raise ValueError(f"image has shape {array.shape}; expected at least a height and a width besides the channels")
    if not np.isfinite(array).all():
        raise ValueError("image holds NaN or infinity; remove or replace those numbers")
    level = AUTO if noise_level is None else noise_level
    noise = NoiseLevel(parse_noise_level(level) if isinstance(level, str) else level, strength)
    restorer = ImageRestorer(_models(model, str(device)), noise)
    if data_range is not None and not data_range[0] < data_range[1]:
        raise ValueError(f"data_range={data_range!r}; expected two numbers, the lower first")
    if not array.size:
        return array.copy()
    images = stack.reshape(-1, *stack.shape[-3:])
    ends = _data_range(images) if data_range is None else data_range
    if ends is None:  # a constant image
        return array.copy()
    low, high = ends
    restored = np.empty(images.shape, array.dtype)
    for one, result in zip(images, restored, strict=True):
        change = restorer.change(((one - np.float64(low)) / (high - low)).astype(np.float32))
        result[...] = _in_type(one + change * np.float64(high - low), array.dtype)
    whole = restored.reshape(stack.shape)
    return np.ascontiguousarray(whole[..., 0] if axis is None else np.moveaxis(whole, -1, axis))


def _channel_axis(shape: tuple[int, ...], wanted: int | str | None) -> int | None:
    if wanted == "auto":
        if len(shape) > 2 and 0 < shape[-1] < _FEWEST_PIXELS and shape[-1] not in _CHANNELS:
            raise ValueError(
                f"image has shape {shape}, whose last axis may be channels or the width; give channel_axis=None for "
                "the width, or give channel_axis=-1 for channels, which become grey images (leave alpha out)"
            )
        return -1 if len(shape) > 2 and shape[-1] in _CHANNELS else None
    if wanted is None:
        return None
    if isinstance(wanted, str) or not -len(shape) <= wanted < len(shape):
        raise ValueError(f"channel_axis={wanted!r}; expected an axis of {shape}, 'auto' or None")
    return wanted


def _data_range(images: NDArray[Any]) -> tuple[float, float] | None:
    """Black and white of a stack ``(n, h, w, c)``; None if all numbers are equal and their type does not tell."""
    if images.dtype.kind == "b":
        return 0.0, 1.0
    if images.dtype.kind != "f":
        numbers = Numbers(images.dtype, 8 * images.dtype.itemsize)
        planes = [Plane(image, ("extra",) * images.shape[3], numbers) for image in images]
        found = FileRanges(Ranges(), lambda: planes, "image").of_plane(planes[0])
        return None if found is UNKNOWN else (found.low, found.high)
    if images.min() >= -_FARTHEST and images.max() <= 1 + _FARTHEST:
        return 0.0, 1.0
    low, high = (float(end) for end in np.percentile(images, _PERCENTILES))
    return (low, high) if low < high else None


def _in_type(values: NDArray[np.float64], dtype: np.dtype[Any]) -> NDArray[Any]:
    if dtype.kind == "b":
        return values > 0.5
    if dtype.kind == "f":
        return values.astype(dtype)
    limits = np.iinfo(dtype)
    rounded = np.clip(np.rint(values), limits.min, limits.max)
    with np.errstate(invalid="ignore"):  # the largest numbers of 64 bits have no float64 of their own
        return np.where(rounded >= limits.max, limits.max, rounded.astype(dtype)).astype(dtype)


def _models(model: str | os.PathLike[str] | Autoencoder, device: str) -> Autoencoder | tuple[Autoencoder, ...]:
    if not isinstance(model, str | os.PathLike):
        return model
    return _pretrained(str(model), device) if model in PRETRAINED else load_named(model, device=device)


@lru_cache
def _pretrained(name: str, device: str) -> tuple[Autoencoder, ...]:
    return load_named(name, device=device)
