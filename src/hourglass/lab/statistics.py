"""What is said of numbers over seeds: mean, deviation, interval, differences of pairs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

RESAMPLES = 10_000


@dataclass(frozen=True)
class Summary:
    """Numbers over seeds.

    Attributes
    ----------
    center : float
        Their mean, or what else was asked for.
    std : float
        Sample standard deviation; NaN of one number.
    low, high : float
        95% bootstrap interval of ``center``, by percentiles; NaN of one number.
    count : int
    """

    center: float
    std: float
    low: float
    high: float
    count: int

    def __format__(self, spec: str) -> str:
        """The center and its interval, each in the format given."""
        # Without the sign of a zero, which rounding leaves.
        spec = f"z{spec or '.3f'}"
        if self.count < 2:
            return f"{self.center:{spec}} (one run)"
        return f"{self.center:{spec}} [{self.low:{spec}}, {self.high:{spec}}]"


def summarise(values: ArrayLike, statistic: Callable[..., Any] = np.mean) -> Summary:
    """Summary of numbers over seeds.

    Source of the interval: Efron, "Bootstrap Methods: Another Look at the Jackknife", Annals of Statistics, 1979;
    10,000 resamples from a fixed seed, so that the same numbers always give the same interval.

    Parameters
    ----------
    values : array-like of shape (n,)
        At least one, all finite.
    statistic : callable, default=numpy.mean
        What is told of them: a function of numbers and an ``axis``, as :func:`numpy.median`.

    Raises
    ------
    ValueError
        When there is none, or one is not finite.
    """
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.ndim != 1 or not numbers.size or not np.isfinite(numbers).all():
        raise ValueError(f"values={values!r}; expected one finite number or more")
    low, high = _interval(numbers, statistic)
    std = float(numbers.std(ddof=1)) if numbers.size > 1 else float("nan")
    return Summary(float(statistic(numbers)), std, low, high, int(numbers.size))


def _interval(numbers: np.ndarray, statistic: Callable[..., Any]) -> tuple[float, float]:
    from scipy.stats import bootstrap

    if numbers.size < 2:
        return float("nan"), float("nan")
    found = bootstrap((numbers,), statistic, n_resamples=RESAMPLES, method="percentile", rng=np.random.default_rng(0))
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def paired(values: Sequence[float], others: Sequence[float]) -> Summary:
    """Summary of the differences ``values - others`` of the same seeds."""
    return summarise(np.asarray(values) - np.asarray(others))
