"""Noise that was clipped to [0, 1]: the bias that clipping leaves, its undoing, and the level behind it.

A black pixel under normal noise of level 0.5 that is then clipped is 0.195 on average, not 0. Whatever averages
such pixels, from a median filter to a network, inherits that bias, and inverting the expectation removes it.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr

from hourglass.denoising.smoothing import total_variation
from hourglass.runtime.silence import libraries_silenced

# Steps of the table that is inverted; between them the expectation is straight to 1e-8.
_STEPS = 4096
# Rounds of "denoise, corrupt again, compare"; each divides the error by three or more.
_ROUNDS = 12
_LARGEST_LEVEL = 2.0
# How far a denoiser may lead out of [0, 1] before the scale must be another.
_OUTSIDE = 2
# Pixels, each way, below which there are no wavelet coefficients to read noise from.
SMALLEST_FOR_LEVEL = 4
_HISTOGRAM_BINS = 64


def expected_clipped(images: ArrayLike, level: float) -> NDArray[np.float64]:
    """Mean of ``clip(x + level · N(0, 1), 0, 1)`` for each pixel ``x``.

    With a = -x / level and b = (1 - x) / level it is
    ``level · (φ(a) - φ(b)) + x · (Φ(b) - Φ(a)) + 1 - Φ(b)``, the mean of a doubly censored normal variable
    (Greene, "Econometric Analysis", section on censored data).

    Parameters
    ----------
    images : array-like
        Clean pixels, usually in [0, 1].
    level : float
        Standard deviation of the noise, above 0.

    Returns
    -------
    ndarray of the same shape, float64
        In (0, 1), increasing in x.

    Raises
    ------
    ValueError
        When the level is not above 0.
    """
    _check_level(level)
    x = np.asarray(images, dtype=np.float64)
    a, b = -x / level, (1 - x) / level
    return np.asarray(level * (_density(a) - _density(b)) + x * (ndtr(b) - ndtr(a)) + ndtr(-b))


def undo_clipping(images: ArrayLike, level: float) -> NDArray[np.float64]:
    """Invert :func:`expected_clipped`: from averages of clipped noisy pixels to the pixels behind them.

    It serves every denoiser that estimates a mean: total variation, non-local means, wavelets, networks
    trained without clean images. One that was trained against clean images has learnt to undo the bias.

    Parameters
    ----------
    images : array-like
        Denoised pixels.
    level : float
        Standard deviation of the noise before clipping, above 0.

    Returns
    -------
    ndarray of the same shape, float64
        In [0, 1]; what no clean pixel in [0, 1] can average to becomes 0 or 1.

    Raises
    ------
    ValueError
        When the level is not above 0, or the pixels are on another scale.
    """
    averages = np.asarray(images, dtype=np.float64)
    if averages.size and (averages.min() < -_OUTSIDE or averages.max() > 1 + _OUTSIDE):
        raise ValueError(
            f"images span [{averages.min():g}, {averages.max():g}]; expected averages of pixels that were clipped to "
            "[0, 1], so divide by 255"
        )
    clean = np.linspace(0, 1, _STEPS + 1)
    return np.interp(averages, expected_clipped(clean, level), clean)


def estimate_noise_level(images: ArrayLike, *, clipped: bool = True) -> float:
    """Level of normal noise in images, from the images alone.

    scikit-image's ``estimate_sigma`` (the median of the finest diagonal wavelet coefficients: Donoho and
    Johnstone, "Ideal spatial adaptation by wavelet shrinkage", 1994) reads too little where noise was clipped:
    half, on a black ground. With ``clipped`` the level is sought that, put onto a smoothed form of the
    images and clipped, makes it read what it reads here.

    Parameters
    ----------
    images : array-like of shape (n, h, w, c)
        At least 4 pixels high and wide; in [0, 1] with ``clipped``.
    clipped : bool, default=True
        Whether the noise was cut to [0, 1], as in any file of bytes.

    Returns
    -------
    float
        One level for them all, at least 0, and at most 2 with ``clipped``.

    Raises
    ------
    ValueError
        When the array has another number of axes, the images are too small, or pixels are outside [0, 1] with
        ``clipped``.
    """
    noisy = np.asarray(images, dtype=np.float64)
    if noisy.ndim != 4 or min(noisy.shape[1:3]) < SMALLEST_FOR_LEVEL:
        raise ValueError(f"images has shape {noisy.shape}; expected (n, h, w, c), at least 4 pixels high and wide")
    if not np.isfinite(noisy).all():
        raise ValueError("images hold NaN or infinity, from which no level can be read; remove or replace those values")
    if clipped and not (noisy.min() >= 0 and noisy.max() <= 1):
        raise ValueError(
            f"images span [{noisy.min():g}, {noisy.max():g}], and clipped noise leaves pixels in [0, 1]; divide by "
            "255, or set clipped=False"
        )
    reading = _read(noisy)
    if not clipped or reading == 0:
        return reading
    # Drawings and writing are black and white, photographs are not: whichever explains the images' histogram.
    found = [_search_level(noisy, reading, two_tone=two_tone) for two_tone in (False, True)]
    return min(found, key=lambda pair: pair[1])[0]


def _search_level(noisy: NDArray[np.float64], reading: float, *, two_tone: bool) -> tuple[float, float]:
    """Return the level at which smoothed images, corrupted again, have this reading, and how much histograms differ."""
    # The same draw in every round, so that the search is for a root of one function.
    draw = np.random.default_rng(0).standard_normal(noisy.shape)
    level, corrupted = reading, noisy
    for _ in range(_ROUNDS):
        smooth = np.stack([total_variation(image, level) for image in noisy])
        clean = undo_clipping(smooth, level)
        if two_tone:
            # What smoothing left within one level of black or white counts as that: most of it is noise, which
            # would hide how much was clipped (measured: digits read 15% low without, within 2% with it).
            clean[clean < level], clean[clean > 1 - level] = 0, 1
        corrupted = np.clip(clean + level * draw, 0, 1)
        again = _read(corrupted)
        if again == 0:
            break
        level = min(level * reading / again, _LARGEST_LEVEL)
    counts = [np.histogram(images, _HISTOGRAM_BINS, (0, 1))[0] for images in (noisy, corrupted)]
    return float(level), float(np.abs(counts[0] - counts[1]).sum() / noisy.size)


def _read(images: NDArray[np.float64]) -> float:
    from skimage.restoration import estimate_sigma

    with libraries_silenced:  # of an even image there is nothing to take the median of: no noise
        levels = [estimate_sigma(image, channel_axis=-1, average_sigmas=True) for image in images]
    return float(np.mean(np.nan_to_num(levels)))


def _density(z: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.exp(-np.square(z) / 2) / np.sqrt(2 * np.pi))


def _check_level(level: float) -> None:
    if not 0 < level < np.inf:
        raise ValueError(f"level={level!r}; expected the standard deviation of the noise, a number above 0")
