"""Names of the measures of a run, and how their values are written for people."""

import re
import statistics
from collections.abc import Iterable

from hourglass.metrics import METRICS, Metric

METHODS = {"pca": "PCA", "noisy": "noisy input", "total_variation": "total variation", "nl_means": "non-local means"}
"""Names of the methods that autoencoders are compared with."""

KINDS = {"Autoencoders": "test_bce", "Classifiers": "test_accuracy"}
"""Kinds of networks, each with a measure that no other kind has."""

# Terms of the headings that are no metrics.
_TERMS = {
    "nats": "The unit of a cross-entropy with the natural logarithm: ln 2 = 0.693 nats is the cost of giving a "
    "probability of one half to what is the case.",
    "loss": "What training lowers: the mean cost of the probabilities that a classifier gives to the labels; lower is "
    "better.",
    "accuracy one by one": "The accuracy on the first 100 test images (on all, where there are fewer), each given to "
    "the network alone.",
}

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


def title(measure: str) -> str:
    """Write the name of a measure as sentences use it, without its unit.

    Parameters
    ----------
    measure : str
        Name of the measure.

    Returns
    -------
    str
        Such as ``PSNR`` or ``test accuracy``.
    """
    return heading(measure).partition(" (")[0]


def quantity(values: list[float], measure: str) -> str:
    """Write the mean and the standard deviation of a measure with its unit.

    Parameters
    ----------
    values : list of float
        Values over the seeds, at least one.
    measure : str
        Name of the measure.

    Returns
    -------
    str
        Such as ``20.85 ± 0.01 dB``.
    """
    metric = _metric(measure)
    return f"{written(values, measure)} {metric.unit if metric else ''}".strip()


def meanings(measures: Iterable[str]) -> dict[str, str]:
    """Explain the terms in the headings of measures.

    Parameters
    ----------
    measures : iterable of str
        Names of measures.

    Returns
    -------
    dict of str to str
        A sentence by term, such as ``BCE``; only of the terms that occur, and once each.
    """
    names = list(dict.fromkeys(measures))
    found = {metric.name: metric.meaning for name in names if (metric := _metric(name)) is not None and metric.meaning}
    words = " ".join(heading(name) for name in names)
    return found | {term: said for term, said in _TERMS.items() if re.search(rf"\b{term}\b", words)}


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
