"""Scores of restored images, in which missing pixels do not count."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from hourglass.imagefiles.crops import ReadImage
from hourglass.imagefiles.image import Pixels
from hourglass.metrics import metrics_of_files

Scores = dict[str, float]


def score(clean: ReadImage, output: Pixels) -> Scores:
    """Score an image by every metric of files, on the scale where the range of its numbers is [0, 1].

    Parameters
    ----------
    clean : ReadImage
        The clean image. Its missing pixels do not count.
    output : ndarray of shape (h, w, c), float32
        The image to be scored. It is clipped to [0, 1] first if the range of the clean image is bounded, as a file
        would do.

    Returns
    -------
    dict of str to float
        Score by name of the metric. A metric of windows, such as SSIM, is NaN if pixels are missing or the image is
        smaller than a window.
    """
    if clean.value_range.bounded:
        output = np.clip(output, 0, 1)
    known = ~clean.missing
    whole = bool(known.all())
    pair = (clean.pixels[None], output[None]) if whole else (clean.pixels[known][None], output[known][None])
    side = min(clean.pixels.shape[:2])
    return {
        name: float(metric.function(*pair)) if metric.smallest == 1 or (whole and side >= metric.smallest) else np.nan
        for name, metric in metrics_of_files().items()
    }


def mean_scores(scores: Mapping[str, Mapping[Path, Scores]]) -> dict[str, Scores]:
    """Average each metric over the images.

    Parameters
    ----------
    scores : mapping of str to mapping of Path to dict of str to float
        Scores by method and image, as :func:`hourglass.imagefiles.comparison.evaluate_images` returns them.

    Returns
    -------
    dict of str to dict of str to float
        Mean by method and metric. Images whose score is NaN are left out; without any other, the mean is NaN.
    """
    return {
        method: {name: _mean(row[name] for row in rows.values()) for name in metrics_of_files()}
        for method, rows in scores.items()
    }


def _mean(values: Iterable[float]) -> float:
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")
