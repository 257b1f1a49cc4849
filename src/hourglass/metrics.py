"""Measures of how close two stacks of images are."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

# Pixels, each way, of the windows in which structural similarity is measured.
SMALLEST_FOR_SSIM = 7
# Outputs of 0 or 1 would cost infinitely much where they are wrong.
_SMALLEST_PROBABILITY = 1e-7


def mse(target: ArrayLike, output: ArrayLike, *, per_image: bool = False) -> float | NDArray[np.float64]:
    """Mean squared error.

    Parameters
    ----------
    target, output : array-like of shape (n, h, w, c) or (n, ...)
        Of equal shape.
    per_image : bool, default=False
        One number for each image instead of their mean.

    Returns
    -------
    float, or ndarray of shape (n,)
        At least 0, in squared pixel units.

    Raises
    ------
    ValueError
        When the shapes differ.
    """
    x, z = _pair(target, output)
    return _mean(np.square(x - z).reshape(len(x), -1).mean(1), per_image)


def psnr(
    target: ArrayLike, output: ArrayLike, *, data_range: float = 1.0, per_image: bool = False
) -> float | NDArray[np.float64]:
    """Peak signal-to-noise ratio of each image, then their mean.

    ``10 · log10(data_range² / mse)``; infinite for an image that equals its target.

    Parameters
    ----------
    target, output : array-like of shape (n, h, w, c) or (n, ...)
    data_range : float, default=1.0
        Difference between white and black.
    per_image : bool, default=False

    Returns
    -------
    float, or ndarray of shape (n,)
        In dB.
    """
    errors = np.asarray(mse(target, output, per_image=True))
    with np.errstate(divide="ignore"):
        return _mean(10 * np.log10(data_range**2 / errors), per_image)


def ssim(
    target: ArrayLike, output: ArrayLike, *, data_range: float = 1.0, per_image: bool = False
) -> float | NDArray[np.float64]:
    """Structural similarity of each image, then their mean, in scikit-image's default form (7×7 windows).

    Source: Wang, Bovik, Sheikh and Simoncelli, "Image quality assessment: from error visibility to structural
    similarity", IEEE Transactions on Image Processing, 2004.

    Parameters
    ----------
    target, output : array-like of shape (n, h, w, c)
        Height and width at least 7.
    data_range : float, default=1.0
        Difference between white and black.
    per_image : bool, default=False

    Returns
    -------
    float, or ndarray of shape (n,)
        At most 1.
    """
    from skimage.metrics import structural_similarity

    x, z = _pair(target, output)
    values = [structural_similarity(a, b, data_range=data_range, channel_axis=-1) for a, b in zip(x, z, strict=True)]
    return _mean(np.array(values), per_image)


def bce(target: ArrayLike, output: ArrayLike, *, per_image: bool = False) -> float | NDArray[np.float64]:
    """Binary cross-entropy of output pixels as probabilities against target pixels, mean over the pixels.

    Outputs are first brought into [1e-7, 1 - 1e-7]. For targets that are not 0 or 1 it does not reach 0.

    Parameters
    ----------
    target, output : array-like of shape (n, h, w, c) or (n, ...)
        The target in [0, 1].
    per_image : bool, default=False

    Returns
    -------
    float, or ndarray of shape (n,)
        In nats.
    """
    x, z = _pair(target, output)
    p = np.clip(z, _SMALLEST_PROBABILITY, 1 - _SMALLEST_PROBABILITY)
    return _mean(-(x * np.log(p) + (1 - x) * np.log1p(-p)).reshape(len(x), -1).mean(1), per_image)


def _pair(target: ArrayLike, output: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    x, z = np.asarray(target, dtype=np.float64), np.asarray(output, dtype=np.float64)
    if x.shape != z.shape or x.ndim < 2:
        raise ValueError(f"target has shape {x.shape} and output {z.shape}; expected two stacks of equal shape")
    return x, z


def _mean(values: NDArray[np.float64], per_image: bool) -> float | NDArray[np.float64]:
    return values if per_image else float(values.mean())
