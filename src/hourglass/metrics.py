"""Metrics: how close two stacks of images are, how many labels are right, and the table of all of them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

# Pixels, each way, of the windows in which structural similarity is measured.
SMALLEST_FOR_SSIM = 7
# Outputs of 0 or 1 would cost infinitely much where they are wrong.
_SMALLEST_PROBABILITY = 1e-7
# How far noise may lead out of [0, 1] before the scale must be another.
_OUTSIDE = 2


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
    target: ArrayLike, output: ArrayLike, *, data_range: float | None = None, per_image: bool = False
) -> float | NDArray[np.float64]:
    """Peak signal-to-noise ratio of each image, then their mean.

    ``10 · log10(data_range² / mse)``; infinite for an image that equals its target.

    Parameters
    ----------
    target, output : array-like of shape (n, h, w, c) or (n, ...)
        Of equal shape.
    data_range : float, optional
        Difference between white and black; by default 1 for floating-point pixels, and for unsigned bytes and 16-bit
        numbers the largest number that they hold.
    per_image : bool, default=False
        One number for each image instead of their mean.

    Returns
    -------
    float, or ndarray of shape (n,)
        In dB.

    Raises
    ------
    ValueError
        When the shapes differ, ``data_range`` is not above 0, or it is not given and cannot be told from the dtypes.
    """
    width = _range(target, output, data_range)
    errors = np.asarray(mse(target, output, per_image=True))
    with np.errstate(divide="ignore"):
        return _mean(10 * np.log10(width**2 / errors), per_image)


def ssim(
    target: ArrayLike, output: ArrayLike, *, data_range: float | None = None, per_image: bool = False
) -> float | NDArray[np.float64]:
    """Structural similarity of each image, then their mean, in scikit-image's default form (7×7 windows).

    Source: Wang, Bovik, Sheikh and Simoncelli, "Image quality assessment: from error visibility to structural
    similarity", IEEE Transactions on Image Processing, 2004.

    Parameters
    ----------
    target, output : array-like of shape (n, h, w, c)
        Height and width at least 7.
    data_range : float, optional
        Difference between white and black; by default 1 for floating-point pixels, and for unsigned bytes and 16-bit
        numbers the largest number that they hold.
    per_image : bool, default=False
        One number for each image instead of their mean.

    Returns
    -------
    float, or ndarray of shape (n,)
        At most 1.

    Raises
    ------
    ValueError
        As in :func:`psnr`.
    """
    from skimage.metrics import structural_similarity

    width = _range(target, output, data_range)
    x, z = _pair(target, output)
    values = [structural_similarity(a, b, data_range=width, channel_axis=-1) for a, b in zip(x, z, strict=True)]
    return _mean(np.array(values), per_image)


def bce(target: ArrayLike, output: ArrayLike, *, per_image: bool = False) -> float | NDArray[np.float64]:
    """Binary cross-entropy of output pixels as probabilities against target pixels, mean over the pixels.

    Outputs are first brought into [1e-7, 1 - 1e-7]. For targets that are not 0 or 1 it does not reach 0.

    Parameters
    ----------
    target, output : array-like of shape (n, h, w, c) or (n, ...)
        The target in [0, 1].
    per_image : bool, default=False
        One number for each image instead of their mean.

    Returns
    -------
    float, or ndarray of shape (n,)
        In nats.

    Raises
    ------
    ValueError
        When the shapes differ, a target is outside [0, 1], or the output is on another scale.
    """
    x, z = _pair(target, output)
    if x.size and not (x.min() >= 0 and x.max() <= 1):
        raise ValueError(f"target spans [{x.min():g}, {x.max():g}]; cross-entropy needs [0, 1], so divide by 255")
    _check_scale("output", z)
    p = np.clip(z, _SMALLEST_PROBABILITY, 1 - _SMALLEST_PROBABILITY)
    return _mean(-(x * np.log(p) + (1 - x) * np.log1p(-p)).reshape(len(x), -1).mean(1), per_image)


def accuracy(target: ArrayLike, output: ArrayLike) -> float:
    """Share of the predicted labels that are right.

    Parameters
    ----------
    target, output : array-like of shape (n,)
        True and predicted labels.

    Returns
    -------
    float
        In [0, 1].

    Raises
    ------
    ValueError
        When the shapes differ.
    """
    x, z = np.asarray(target), np.asarray(output)
    if x.shape != z.shape or x.ndim != 1:
        raise ValueError(f"target has shape {x.shape} and output {z.shape}; expected as many predictions as labels")
    return float(np.mean(x == z))


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A metric with all that results, reports and the command line need to know of it.

    Parameters
    ----------
    name : str
        Name in a table, such as ``PSNR``.
    function : callable
        Takes target and output, stacks of images ``(n, h, w, c)`` whose black is 0 and white is 1, or labels ``(n,)``;
        returns a float.
    higher_is_better : bool
        Whether a larger value means closer images, or more labels that are right.
    unit : str, default=""
        Unit in a table; by default the metric has none.
    digits : int, default=4
        Decimal places to which it is written.
    compares : {"images", "labels"}, default="images"
        What it is a function of: autoencoders are scored with metrics of images, classifiers with those of labels.
    unit_range : bool, default=False
        Whether target pixels have to be in [0, 1]; files of images, which may lead out of it, are then not scored.
    smallest : int, default=1
        Smallest height and width of the images, in pixels. Above 1 the metric sees windows, which need whole images.
    meaning : str, default=""
        Sentence that says to a reader what the metric is, for the report.
    """

    name: str
    function: Callable[[Any, Any], Any]
    higher_is_better: bool
    unit: str = ""
    digits: int = 4
    compares: Literal["images", "labels"] = "images"
    unit_range: bool = False
    smallest: int = 1
    meaning: str = ""

    @property
    def title(self) -> str:
        """Name, with the unit in brackets where there is one."""
        return f"{self.name} ({self.unit})" if self.unit else self.name

    @property
    def arrow(self) -> str:
        """``↑`` where higher is better, else ``↓``."""
        return "↑" if self.higher_is_better else "↓"


METRICS: dict[str, Metric] = {
    "bce": Metric(
        name="BCE",
        function=bce,
        higher_is_better=False,
        unit="nats a pixel",
        unit_range=True,
        meaning="Binary cross-entropy: the mean cost of a pixel if the output is read as the probability that the "
        "pixel is white; it is 0 only where black and white pixels are all certain and right.",
    ),
    "mse": Metric(
        name="MSE",
        function=mse,
        higher_is_better=False,
        digits=5,
        meaning="Mean squared error: the mean of the squared differences between the pixels of output and image, on a "
        "scale from 0 (black) to 1 (white).",
    ),
    "psnr_db": Metric(
        name="PSNR",
        function=partial(psnr, data_range=1),
        higher_is_better=True,
        unit="dB",
        digits=2,
        meaning="Peak signal-to-noise ratio: the mean squared error on a logarithmic scale, in decibels; 10 dB more "
        "mean a tenth of the error.",
    ),
    "ssim": Metric(
        name="SSIM",
        function=partial(ssim, data_range=1),
        higher_is_better=True,
        smallest=SMALLEST_FOR_SSIM,
        meaning="Structural similarity: how well brightness, contrast and pattern agree in small windows of output and "
        "image; it is 1 where they are equal.",
    ),
    "accuracy": Metric(
        name="accuracy",
        function=accuracy,
        higher_is_better=True,
        compares="labels",
        meaning="The share of the images that get the right label, from 0 to 1.",
    ),
}
"""Every metric by the name that results give it; one from elsewhere is added by ``METRICS["name"] = Metric(…)``."""


def metrics_of(compares: Literal["images", "labels"]) -> dict[str, Metric]:
    """Metrics of images, or those of labels.

    Parameters
    ----------
    compares : {"images", "labels"}
        Whether the metrics compare images with images, or labels with labels.

    Returns
    -------
    dict of str to Metric
        In the order of ``METRICS``.
    """
    return {name: metric for name, metric in METRICS.items() if metric.compares == compares}


def metrics_of_files() -> dict[str, Metric]:
    """Metrics with which restored files of images are scored: those that need no range.

    Returns
    -------
    dict of str to Metric
        Those where higher is better first.
    """
    found = {name: metric for name, metric in metrics_of("images").items() if not metric.unit_range}
    return dict(sorted(found.items(), key=lambda pair: not pair[1].higher_is_better))


def _range(target: ArrayLike, output: ArrayLike, given: float | None) -> float:
    """Difference between white and black: as given, or as the dtypes tell; pixels of another scale are refused then."""
    if given is not None:
        if not 0 < given < np.inf:
            raise ValueError(f"data_range={given!r}; expected the difference between white and black, above 0")
        return given
    x, z = np.asarray(target), np.asarray(output)
    widest = {np.dtype(np.uint8): 255.0, np.dtype(np.uint16): 65535.0}
    if x.dtype != z.dtype and (x.dtype in widest or z.dtype in widest):
        raise ValueError(f"target is {x.dtype} and output {z.dtype}; bring both to one scale and dtype")
    if x.dtype in widest:
        return widest[x.dtype]
    for name, values in (("target", x), ("output", z)):
        _check_scale(name, values)
    return 1.0


def _check_scale(name: str, values: NDArray[Any]) -> None:
    if values.size and (values.min() < -_OUTSIDE or values.max() > 1 + _OUTSIDE):
        raise ValueError(
            f"{name} spans [{values.min():g}, {values.max():g}], and floating-point pixels are taken to be in [0, 1]; "
            "bring it to that scale, or give data_range, the difference between white and black, where there is one"
        )


def _pair(target: ArrayLike, output: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    x, z = np.asarray(target, dtype=np.float64), np.asarray(output, dtype=np.float64)
    if x.shape != z.shape or x.ndim < 2:
        raise ValueError(f"target has shape {x.shape} and output {z.shape}; expected two stacks of equal shape")
    return x, z


def _mean(values: NDArray[np.float64], per_image: bool) -> float | NDArray[np.float64]:
    return values if per_image else float(values.mean())
