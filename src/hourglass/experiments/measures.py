"""What is measured of a run, and how it is written for people."""

import statistics
from collections.abc import Iterable

from hourglass.metrics import METRICS, Metric

METHODS = {"pca": "PCA", "noisy": "noisy input", "total_variation": "total variation", "nl_means": "non-local means"}
"""Names of the methods that autoencoders are compared with."""

KINDS = {"Autoencoders": "test_bce", "Classifiers": "test_accuracy"}
"""Kinds of networks, and a measure that only that kind has."""

# Measures that are no metric of a part of the data: heading and decimal places.
_OTHERS = {
    "validation_loss": ("validation loss (nats)", 4),
    "test_loss": ("test loss (nats)", 4),
    "single_image_accuracy": ("accuracy one by one", 4),
    "train_seconds": ("training (s)", 1),
}


def shown(measures: Iterable[str]) -> list[str]:
    """Measures that stand in tables, in the order given: metrics of the table, losses, accuracy one by one."""
    return [name for name in measures if name in _OTHERS or _metric(name) is not None]


def heading(measure: str, *, arrow: bool = False) -> str:
    """Heading of any measure in a table, its own name where it has no other; an arrow points to what is better.

    Metrics of images are always of the test images, which their heading does not repeat.
    """
    if measure in _OTHERS:
        return _OTHERS[measure][0]
    metric = _metric(measure)
    if metric is None:
        return measure.replace("_", " ")
    part = "" if metric.compares == "images" else measure.partition("_")[0] + " "
    return f"{part}{metric.title}" + (f" {metric.arrow}" if arrow else "")


def digits(measure: str) -> int:
    """Decimal places to which a measure is written."""
    if measure in _OTHERS:
        return _OTHERS[measure][1]
    metric = _metric(measure)
    return 4 if metric is None else metric.digits


def written(values: list[float], measure: str) -> str:
    """Mean and deviation of a measure, to its decimal places."""
    return mean_and_deviation(values, digits(measure))


def mean_and_deviation(values: list[float], digits: int) -> str:
    """``mean ± standard deviation`` over seeds, or the one value."""
    mean = f"{statistics.fmean(values):.{digits}f}"
    return f"{mean} ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else mean


def _metric(measure: str) -> Metric | None:
    """Metric of which a measure such as ``test_ssim`` is the value on a part of the data."""
    part, _, name = measure.partition("_")
    return METRICS.get(name) if part in ("validation", "test") else None
