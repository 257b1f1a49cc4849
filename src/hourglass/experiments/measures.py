"""Names of the measures of a run, and how their values are written for people."""

import statistics
from collections.abc import Iterable

from hourglass.metrics import METRICS, Metric

METHODS = {"pca": "PCA", "noisy": "noisy input", "total_variation": "total variation", "nl_means": "non-local means"}
"""Names of the methods that autoencoders are compared with."""

KINDS = {"Autoencoders": "test_bce", "Classifiers": "test_accuracy"}
"""Kinds of networks, each with a measure that no other kind has."""

# Measures that are not in METRICS: heading and decimal places.
_OTHERS = {
    "validation_loss": ("validation loss (nats)", 4),
    "test_loss": ("test loss (nats)", 4),
    "single_image_accuracy": ("accuracy one by one", 4),
    "train_seconds": ("training (s)", 1),
}


def shown(measures: Iterable[str]) -> list[str]:
    """Select the measures that tables show.

    Parameters
    ----------
    measures : iterable of str
        Names of measures.

    Returns
    -------
    list of str
        Names of metrics, losses, accuracy one by one and training time, in the given order.
    """
    return [name for name in measures if name in _OTHERS or _metric(name) is not None]


def heading(measure: str, *, arrow: bool = False) -> str:
    """Write the heading of a measure for a table.

    Metrics of images are always computed on the test images, so that their heading does not say it.

    Parameters
    ----------
    measure : str
        Name of the measure.
    arrow : bool, default=False
        Whether a metric's heading ends in an arrow that shows which direction is better.

    Returns
    -------
    str
        Heading; the name of the measure, with spaces, where it has no other.
    """
    if measure in _OTHERS:
        return _OTHERS[measure][0]
    metric = _metric(measure)
    if metric is None:
        return measure.replace("_", " ")
    part = "" if metric.compares == "images" else measure.partition("_")[0] + " "
    return f"{part}{metric.title}" + (f" {metric.arrow}" if arrow else "")


def digits(measure: str) -> int:
    """Return the number of decimal places of a measure.

    Parameters
    ----------
    measure : str
        Name of the measure.

    Returns
    -------
    int
        Decimal places; 4 where the measure is unknown.
    """
    if measure in _OTHERS:
        return _OTHERS[measure][1]
    metric = _metric(measure)
    return 4 if metric is None else metric.digits


def written(values: list[float], measure: str) -> str:
    """Write the mean and the standard deviation of a measure, with its decimal places.

    Parameters
    ----------
    values : list of float
        Values over the seeds, at least one.
    measure : str
        Name of the measure.

    Returns
    -------
    str
        ``mean ± standard deviation``; the value where there is only one.
    """
    return mean_and_deviation(values, digits(measure))


def mean_and_deviation(values: list[float], digits: int) -> str:
    """Write the mean and the sample standard deviation over the seeds.

    Parameters
    ----------
    values : list of float
        Values over the seeds, at least one.
    digits : int
        Decimal places.

    Returns
    -------
    str
        ``mean ± standard deviation``; the value where there is only one.
    """
    mean = f"{statistics.fmean(values):.{digits}f}"
    return f"{mean} ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else mean


def _metric(measure: str) -> Metric | None:
    """Metric of which a measure such as ``test_ssim`` is the value on a part of the data."""
    part, _, name = measure.partition("_")
    return METRICS.get(name) if part in ("validation", "test") else None
