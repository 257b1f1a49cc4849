"""Summaries of numbers over seeds, and comparisons corrected for how many were made."""

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

LEVEL = 0.95
"""Confidence level of every interval; the least that a median's interval is given."""

Name = TypeVar("Name", bound=Hashable)


@dataclass(frozen=True)
class Summary:
    """Mean of numbers over seeds, with Student's t interval.

    Parameters
    ----------
    mean : float
        Their mean.
    std : float
        Sample standard deviation; NaN for a single number.
    low, high : float
        Ends of the 95% interval of the mean; NaN for a single number. The ends are not clipped: for an accuracy they
        can lie outside [0, 1].
    count : int
        How many numbers there are.
    """

    mean: float
    std: float
    low: float
    high: float
    count: int

    def __format__(self, spec: str) -> str:
        """The mean and its interval, each number in the format given (default ``.3f``).

        A single number has no interval. Equal numbers show no spread from which an interval could be made: that they
        are equal is said instead.
        """
        # "z" drops the sign of a zero that rounding leaves.
        spec = f"z{spec or '.3f'}"
        if self.count < 2:
            return f"{self.mean:{spec}} (one run)"
        if self.low == self.high:
            return f"{self.mean:{spec}} (all {self.count} equal)"
        return f"{self.mean:{spec}} [{self.low:{spec}}, {self.high:{spec}}]"


@dataclass(frozen=True)
class Median:
    """Median of numbers over seeds, with an interval between two of the numbers.

    Parameters
    ----------
    median : float
        Half of the numbers are at most as large.
    low, high : float
        Ends of the interval; NaN for fewer than six numbers, which have none of at least 95%.
    coverage : float
        Exact probability that such an interval contains the median of a continuous distribution (of a distribution
        with ties at least that); NaN where there is no interval.
    values : tuple of float
        The numbers in rising order.
    """

    median: float
    low: float
    high: float
    coverage: float
    values: tuple[float, ...]

    def __format__(self, spec: str) -> str:
        """The median, its interval and its coverage; for fewer than six numbers all of them instead."""
        spec = f"z{spec or '.3f'}"
        if len(self.values) < 2:
            return f"{self.median:{spec}} (one run)"
        if math.isnan(self.coverage):
            return f"{self.median:{spec}} (all runs: {', '.join(f'{value:{spec}}' for value in self.values)})"
        return f"{self.median:{spec}} ({self.coverage:.1%} interval [{self.low:{spec}}, {self.high:{spec}}])"


@dataclass(frozen=True)
class Difference:
    """Mean difference of numbers from the same seeds, and whether it can be told from zero.

    Parameters
    ----------
    summary : Summary
        The mean of the differences and its interval, which is not corrected for other comparisons.
    p_value : float
        Of the paired t-test, adjusted for all comparisons that were made together (Holm); NaN for a single seed.
    """

    summary: Summary
    p_value: float

    @property
    def above(self) -> bool:
        """Whether the mean difference is significantly above zero."""
        return self.p_value <= 1 - LEVEL and self.summary.mean > 0

    @property
    def below(self) -> bool:
        """Whether the mean difference is significantly below zero."""
        return self.p_value <= 1 - LEVEL and self.summary.mean < 0

    def __format__(self, spec: str) -> str:
        """The mean difference and its interval, as :class:`Summary` writes them."""
        return format(self.summary, spec)


def summarise(values: ArrayLike) -> Summary:
    """Mean of numbers over seeds, with Student's t interval.

    The interval is mean ± t · s / √n, with t the quantile of Student's distribution with n - 1 degrees of freedom
    (Student, "The Probable Error of a Mean", Biometrika, 1908). It contains the true mean in 95% of cases when the
    numbers spread normally.

    Parameters
    ----------
    values : array-like of shape (n,)
        At least one number, all finite.

    Returns
    -------
    Summary

    Raises
    ------
    ValueError
        When there is no number, or one is not finite.
    """
    numbers = _checked(values)
    mean, n = float(numbers.mean()), numbers.size
    if n < 2:
        return Summary(mean, math.nan, math.nan, math.nan, n)
    if np.ptp(numbers) == 0:
        # The mean of equal numbers can be off by rounding.
        return Summary(float(numbers[0]), 0.0, float(numbers[0]), float(numbers[0]), n)
    std = float(numbers.std(ddof=1))
    half = _t_quantile(n - 1) * std / math.sqrt(n)
    return Summary(mean, std, mean - half, mean + half, n)


def summarise_median(values: ArrayLike) -> Median:
    """Median of numbers over seeds, with an interval from order statistics.

    The interval runs from the k-th smallest to the k-th largest number, with the largest k for which it covers the
    median with a probability of at least 95%. That probability, 1 - 2 P(B < k) with B binomial (n, 1/2), is exact for
    every continuous distribution (David and Nagaraja, "Order Statistics", 3rd edition, section 7.1).

    Parameters
    ----------
    values : array-like of shape (n,)
        At least one number, all finite.

    Returns
    -------
    Median

    Raises
    ------
    ValueError
        When there is no number, or one is not finite.
    """
    numbers = np.sort(_checked(values))
    low = high = coverage = math.nan
    if ranks := median_ranks(numbers.size):
        k, coverage = ranks
        low, high = float(numbers[k - 1]), float(numbers[-k])
    return Median(float(np.median(numbers)), low, high, coverage, tuple(numbers.tolist()))


@lru_cache
def median_ranks(n: int) -> tuple[int, float] | None:
    """Rank k and exact coverage of the median's interval for n numbers, or None below six of them."""
    from scipy.stats import binom

    coverages = [(k, 1 - 2 * float(binom.cdf(k - 1, n, 0.5))) for k in range(1, n // 2 + 1)]
    return max(((k, coverage) for k, coverage in coverages if coverage >= LEVEL), default=None)


def paired(values: Sequence[float], others: Sequence[float]) -> Summary:
    """Mean of the differences ``values - others``, place by place, with Student's t interval.

    Parameters
    ----------
    values, others : sequence of float
        Equally many, in the same order of seeds.

    Returns
    -------
    Summary
        Of the differences.

    Raises
    ------
    ValueError
        When the lengths differ, there is no number, or one is not finite.
    """
    return summarise(_differences(values, others))


def compare(pairs: Mapping[Name, tuple[Sequence[float], Sequence[float]]]) -> dict[Name, Difference]:
    """Differences of several pairs, each with a p-value that is adjusted for all of them.

    Parameters
    ----------
    pairs : mapping of name to (values, others)
        Each as :func:`paired` takes them.
    """
    p_values = holm({name: _p_value(_differences(*pair)) for name, pair in pairs.items()})
    return {name: Difference(paired(*pair), p_values[name]) for name, pair in pairs.items()}


def compare_with_best(
    found: Mapping[str, Sequence[float]], *, larger_is_better: bool
) -> tuple[str, dict[str, Difference]]:
    """Name with the best mean, and how the others differ from it.

    The best is chosen by the same numbers that it is then compared with. Adjusting for its comparisons alone is not
    enough then: of eight equal settings it declares one inferior in 9% to 12% of cases. The p-values are therefore
    adjusted for the comparisons of all pairs, any of which could have been the one that is looked at.

    Parameters
    ----------
    found : mapping of name to sequence of float
        Numbers in the same order of seeds.
    larger_is_better : bool

    Returns
    -------
    best : str
    differences : dict of str to Difference
        Of every other name, its numbers minus those of the best.
    """
    best = (max if larger_is_better else min)(found, key=lambda name: float(np.mean(found[name])))
    # The best stands second in its pairs, so that the differences are from it.
    order = [*(name for name in found if name != best), best]
    differences = compare({pair: (found[pair[0]], found[pair[1]]) for pair in combinations(order, 2)})
    return best, {name: difference for (name, other), difference in differences.items() if other == best}


def holm(p_values: Mapping[Name, float]) -> dict[Name, float]:
    """P-values adjusted so that all rejections at a level are right together with that confidence.

    The i-th smallest of m is multiplied by m - i + 1, kept in order and at most 1 (Holm, "A Simple Sequentially
    Rejective Multiple Test Procedure", Scandinavian Journal of Statistics, 1979). A NaN, of a test that could not be
    made, stays NaN.
    """
    known = sorted((p, place, name) for place, (name, p) in enumerate(p_values.items()) if not math.isnan(p))
    adjusted = dict.fromkeys(p_values, math.nan)
    largest = 0.0
    for i, (p, _, name) in enumerate(known):
        largest = max(largest, min((len(known) - i) * p, 1.0))
        adjusted[name] = largest
    return adjusted


def _checked(values: ArrayLike) -> NDArray[np.float64]:
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.ndim != 1 or not numbers.size or not np.isfinite(numbers).all():
        raise ValueError(f"values={values!r}; expected one finite number or more")
    return numbers


def _differences(values: Sequence[float], others: Sequence[float]) -> NDArray[np.float64]:
    if len(values) != len(others):
        raise ValueError(f"{len(values)} and {len(others)} values; pairs need equally many")
    ours, theirs = _checked(values), _checked(others)
    # Rounded to 12 digits of the largest number, so that float64's own rounding does not look like a spread.
    scale = float(max(np.abs(ours).max(), np.abs(theirs).max()))
    differences: NDArray[np.float64] = np.round(ours - theirs, 12 - math.ceil(math.log10(scale)) if scale else 12)
    return differences


def _p_value(differences: NDArray[np.float64]) -> float:
    """Two-sided p-value of the paired t-test; NaN for a single difference.

    Equal differences have no spread, and so no t: then it is that of the sign test, 2 / 2^n.
    """
    from scipy.stats import t

    summary = summarise(differences)
    if summary.count < 2:
        return math.nan
    if summary.mean == 0:
        return 1.0
    if summary.std == 0:
        return float(2.0 ** (1 - summary.count))
    return float(2 * t.sf(abs(summary.mean) / (summary.std / math.sqrt(summary.count)), summary.count - 1))


@lru_cache
def _t_quantile(freedom: int) -> float:
    from scipy.stats import t

    return float(t.ppf((1 + LEVEL) / 2, freedom))
