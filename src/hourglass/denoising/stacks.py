"""Corrupting arrays of images as people have them: channels last."""

from collections.abc import Callable
from numbers import Integral

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from hourglass.data.arrays import has_channels_first, infer_image_shape, is_one_image, to_images
from hourglass.denoising.corruption import GaussianNoise, Strength, clips


def corrupt(
    images: ArrayLike,
    corruption: Strength | Callable[[Tensor, torch.Generator], Tensor],
    random_state: int = 0,
) -> NDArray[np.float32]:
    """Corrupt an array of images, whose channels are last.

    Parameters
    ----------
    images : array-like of shape (n, h, w) or (n, h, w, c)
        Unsigned bytes are scaled by 1/255; all other numbers are taken as they are. Left as it is.
    corruption : callable, float or pair of float
        A corruption of :mod:`hourglass.denoising`, or another callable that takes a batch ``(n, c, h, w)`` and a
        ``torch.Generator``. A number is the standard deviation of :class:`GaussianNoise`, and a pair its range.
    random_state : int, default=0
        Seed of the random numbers; the same seed gives the same result.

    Returns
    -------
    ndarray of the same shape, float32

    Raises
    ------
    ValueError
        When ``random_state`` is no whole number, the array is not a stack of images with the channels last, a number is
        not finite, or pixels are outside [0, 1] though the corruption clips.
    TypeError
        When the array does not contain real numbers.

    Examples
    --------
    >>> from hourglass.data import load
    >>> from hourglass.denoising import Masking, corrupt
    >>> corrupt(load("sample").test.images[:5], Masking(0.3), random_state=1).shape
    (5, 28, 28, 1)
    """
    if isinstance(random_state, bool) or not isinstance(random_state, Integral):
        raise ValueError(f"random_state={random_state!r}; expected a whole number, whose noise can be repeated")
    array = np.asarray(images)
    _check_stack(array.shape)
    apply = corruption if callable(corruption) else GaussianNoise(corruption)
    clean = to_images(
        array,
        infer_image_shape(array.shape, square=False),
        unit_range=f"{apply!r}, which clips," if clips(apply) else None,
        name="images",
    )
    # A copy, since a callable of somebody's own might write into its argument.
    batch = torch.from_numpy(clean.copy()).permute(0, 3, 1, 2)  # (n, c, h, w)
    corrupted = apply(batch, torch.Generator().manual_seed(int(random_state)))
    return np.ascontiguousarray(corrupted.permute(0, 2, 3, 1).numpy(), dtype=np.float32).reshape(array.shape)


def _check_stack(shape: tuple[int, ...]) -> None:
    """Raise ValueError unless an array is a stack of images with the channels last, as far as its shape tells."""
    remedy = None
    if len(shape) not in (3, 4):
        remedy = "reshape it"
    elif 0 in shape:
        remedy = "give at least one image, with pixels"
    elif len(shape) == 4 and has_channels_first(shape):
        remedy = "its channels are first, so move them with images.transpose(0, 2, 3, 1)"
    elif len(shape) == 3 and is_one_image(shape):
        remedy = "it seems to be one image, so give images[None], or images[..., None] where it is a stack"
    if remedy is not None:
        raise ValueError(f"images has shape {shape}; expected a stack (n, h, w) or (n, h, w, c): {remedy}")
