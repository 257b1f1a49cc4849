"""Arrays of images as people have them, to the one form that the networks take, and back."""

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Shape = tuple[int, int, int]
# Images have one to four channels: grey, grey with alpha, RGB, RGB with alpha.
MOST_CHANNELS = 4


def infer_image_shape(array_shape: tuple[int, ...], *, square: bool) -> Shape:
    """Height, width and channels of the images in an array.

    Parameters
    ----------
    array_shape : tuple of int
        ``(n, h, w)``, ``(n, h, w, c)`` or flat ``(n, features)``.
    square : bool
        Whether flat rows with a square number of features are square images; else they are one row of pixels.

    Raises
    ------
    ValueError
        When the array has another number of axes, or no pixels, or by its sizes has its channels first or is a single
        image.
    """
    if len(array_shape) not in (2, 3, 4):
        raise ValueError(
            f"X has shape {array_shape}; expected images as (n, h, w), (n, h, w, c) or flat as (n, features)"
        )
    if math.prod(array_shape) == 0:
        raise ValueError(f"X has shape {array_shape}, which holds no pixels; give at least one image")
    if len(array_shape) == 4:
        if has_channels_first(array_shape):
            raise ValueError(
                f"X has shape {array_shape}, which looks like channels first; expected (n, height, width, channels): "
                f"use X.transpose(0, 2, 3, 1), or set image_shape={array_shape[1:]} where this is meant"
            )
        return array_shape[1], array_shape[2], array_shape[3]
    if len(array_shape) == 3:
        if is_one_image(array_shape):
            raise ValueError(
                f"X has shape {array_shape}, which looks like one image with channels; expected a stack (n, height, "
                f"width): use X[None], or set image_shape={(*array_shape[1:], 1)} where this is meant"
            )
        return array_shape[1], array_shape[2], 1
    side = math.isqrt(array_shape[1])
    if square and side * side == array_shape[1]:
        return side, side, 1
    return 1, array_shape[1], 1


def has_channels_first(array_shape: tuple[int, ...]) -> bool:
    """Whether four lengths are plainly those of images with their channels first."""
    _, first, height, last = array_shape
    return 1 <= first <= MOST_CHANNELS < min(height, last)


def is_one_image(array_shape: tuple[int, ...]) -> bool:
    """Whether three lengths are plainly those of one image with its channels, and not of a stack of grey images."""
    return 1 <= array_shape[2] <= MOST_CHANNELS < min(array_shape[:2])


def to_images(
    values: ArrayLike, image_shape: Shape, *, unit_range: str | None = None, name: str = "X"
) -> NDArray[np.float32]:
    """Images as float32 ``(n, h, w, c)``.

    Parameters
    ----------
    values : array-like
        ``(n, h, w)``, ``(n, h, w, c)`` or flat ``(n, h·w·c)``. Unsigned bytes are scaled by 1/255; all other
        numbers are taken as they are.
    image_shape : tuple of int
        Height, width and channels that every image must have.
    unit_range : str, optional
        Refuse values outside [0, 1], naming this as the reason.
    name : str, default="X"
        What to call the array in errors.

    Raises
    ------
    ValueError
        When the shape is another, a value is not finite, or out of range; TypeError for what is not numbers.
    """
    array: NDArray[Any] = np.asarray(values)
    if array.dtype.kind not in "buif":
        raise TypeError(f"{name} has dtype {array.dtype}; expected real numbers")
    check_image_shape(array.shape, image_shape, name=name)
    scaled = array / np.float32(255) if array.dtype == np.uint8 else array
    images = np.ascontiguousarray(scaled, dtype=np.float32).reshape(len(array), *image_shape)
    if not np.isfinite(images).all():
        raise ValueError(f"{name} contains NaN or infinity; remove or replace those values")
    if unit_range is not None:
        check_unit_range(images, unit_range, name=name)
    return images


def check_image_shape(array_shape: tuple[int, ...], image_shape: Shape, *, name: str) -> None:
    """Raise ValueError unless an array of this shape holds images of that shape, stacked or flat."""
    flat = (math.prod(image_shape),)
    fits = array_shape[1:] in (image_shape, flat) or (image_shape[2] == 1 and array_shape[1:] == image_shape[:2])
    if not fits or len(array_shape) < 2:
        raise ValueError(
            f"{name} has shape {array_shape}; expected {('n', *image_shape)}, height × width × channels, "
            f"or flat ('n', {flat[0]})"
        )


def check_unit_range(images: NDArray[Any], reason: str, *, name: str) -> None:
    """Raise ValueError when a pixel is outside [0, 1], which ``reason`` needs."""
    if images.size and not (images.min() >= 0 and images.max() <= 1):
        raise ValueError(
            f"{name} spans [{images.min():g}, {images.max():g}], but {reason} needs [0, 1]; "
            "scale the images, or do without it"
        )
