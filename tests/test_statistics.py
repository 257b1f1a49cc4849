"""Intervals that cover as often as they say, and comparisons corrected for how many there are."""

import math
from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from hourglass.lab import paired, summarise, summarise_median
from hourglass.lab.statistics import compare, compare_with_best, holm, median_ranks

REPETITIONS = 5000  # The standard error of a coverage of 95% is 0.3% then.


def coverage(intervals, truth):
    low, high = np.array([(each.low, each.high) for each in intervals]).T
    return np.mean((low <= truth) & (truth <= high))


@pytest.mark.parametrize("n", [3, 5, 20])
@pytest.mark.parametrize("kind", ["mean", "paired"])
def test_the_t_interval_covers_the_mean_in_95_percent(kind, n):
    numbers = np.random.default_rng(n).normal(3, 2, (REPETITIONS, n))
    if kind == "mean":
        found = coverage([summarise(row) for row in numbers], 3)
    else:
        # What a seed gives to both sides cancels: it is large, and would hide the difference of 0.5 otherwise.
        seeds = np.random.default_rng(1).normal(0, 50, (REPETITIONS, n))
        others = np.random.default_rng(2).normal(2.5, 1, (REPETITIONS, n))
        found = coverage([paired(*pair) for pair in zip(seeds + numbers, seeds + others, strict=True)], 0.5)
    assert 0.93 <= found <= 0.97


@pytest.mark.parametrize("n", [6, 7, 9, 20])
@pytest.mark.parametrize("kind", ["normal", "exponential", "lognormal"])
def test_the_interval_of_a_median_covers_it_as_often_as_it_says(kind, n):
    random = np.random.default_rng(n)
    draw, truth = {
        "normal": (random.normal, 0.0), "exponential": (random.exponential, math.log(2)),
        "lognormal": (random.lognormal, 1.0),
    }[kind]  # fmt: skip
    intervals = [summarise_median(row) for row in draw(size=(REPETITIONS, n))]
    [stated] = {each.coverage for each in intervals}
    assert stated >= 0.95
    assert abs(coverage(intervals, truth) - stated) <= 5 * math.sqrt(stated * (1 - stated) / REPETITIONS)


def test_the_ranks_of_a_median_are_those_of_the_binomial():
    assert [median_ranks(n) for n in range(1, 6)] == [None] * 5
    assert median_ranks(6) == (1, pytest.approx(1 - 2 / 2**6))
    assert median_ranks(20) == (6, pytest.approx(1 - 2 * sum(math.comb(20, i) for i in range(6)) / 2**20))
    for n in range(6, 60):
        k, stated = median_ranks(n)
        assert stated >= 0.95
        assert 1 - 2 * stats.binom.cdf(k, n, 0.5) < 0.95, "the next rank would do"


def test_summaries_are_those_of_the_textbook():
    # Student's own example, the additional sleep of ten patients with the second drug minus that with the first.
    first = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
    second = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
    found = paired(second, first)
    assert (found.mean, found.std, found.count) == (pytest.approx(1.58), pytest.approx(1.23, abs=1e-4), 10)
    assert (found.low, found.high) == pytest.approx((0.7001, 2.4599), abs=1e-4)
    [difference] = compare({"drug": (second, first)}).values()
    assert difference.p_value == pytest.approx(0.002833, abs=1e-6)
    assert difference.above
    assert not difference.below


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (summarise([0.5]), "0.50 (one run)"),
        (summarise([2.0, 2.0, 2.0]), "2.00 (all 3 equal)"),
        (summarise([0.1] * 3), "0.10 (all 3 equal)"),
        (summarise([-0.001, -0.002]), "0.00 [-0.01, 0.00]"),
        (summarise([0.9, 0.99, 1.0]), "0.96 [0.83, 1.10]"),
        (paired([1.0, 2.0, 4.0], [0.5, 1.5, 3.5]), "0.50 (all 3 equal)"),
        (paired([0.3, 0.7], [0.1, 0.5]), "0.20 (all 2 equal)"),
        (summarise_median([0.5]), "0.50 (one run)"),
        (summarise_median([3.0, 1.0, 2.0, 5.0, 4.0]), "3.00 (all runs: 1.00, 2.00, 3.00, 4.00, 5.00)"),
        (summarise_median([1.0, 2.0]), "1.50 (all runs: 1.00, 2.00)"),
        (summarise_median([3.0, 1.0, 2.0, 5.0, 4.0, 6.0]), "3.50 (96.9% interval [1.00, 6.00])"),
        (summarise_median(np.arange(20.0)), "9.50 (95.9% interval [5.00, 14.00])"),
    ],
)
def test_what_is_shown_of_numbers(found, text):
    assert f"{found:.2f}" == text


@pytest.mark.parametrize("function", [summarise, summarise_median])
@pytest.mark.parametrize("values", [[], [np.nan], [1.0, np.inf], [[1.0]]])
def test_what_is_no_list_of_numbers_is_refused(function, values):
    with pytest.raises(ValueError, match="expected one finite number"):
        function(values)


def test_pairs_of_unequal_length_are_refused():
    with pytest.raises(ValueError, match="3 and 1 values"):
        paired([1.0, 2.0, 3.0], [1.0])


@pytest.mark.parametrize(
    ("p_values", "adjusted"),
    [
        # p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm") of R.
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),
        ([0.5, 0.6], [1.0, 1.0]),
        ([0.02], [0.02]),
        ([0.02, math.nan], [0.02, math.nan]),
        ([], []),
    ],
)
def test_p_values_are_adjusted_as_holm_says(p_values, adjusted):
    assert list(holm(dict(enumerate(p_values))).values()) == pytest.approx(adjusted, nan_ok=True)


@pytest.mark.parametrize(
    ("values", "others", "p_value"),
    [
        ([0.5], [0.1], math.nan),  # a single seed decides nothing
        ([0.1, 0.1, 0.1], [0.1, 0.1, 0.1], 1.0),
        # Equal differences have no spread: three of one sign are no proof, ten are.
        ([0.3, 0.7, 0.5], [0.1, 0.5, 0.3], 0.25),
        ([1.0] * 10, [0.5] * 10, 2 / 2**10),
    ],
)
def test_differences_without_spread(values, others, p_value):
    found = compare({"": (values, others)})[""]
    assert found.p_value == pytest.approx(p_value, nan_ok=True)
    assert found.above == (p_value < 0.05)


def test_the_chosen_best_is_compared_under_the_correction_for_all_pairs():
    random = np.random.default_rng(0)
    found = {f"arm {i}": random.normal(0.3 * i, 0.2, 6).tolist() for i in range(5)}
    raw = {pair: stats.ttest_rel(found[pair[0]], found[pair[1]]).pvalue for pair in combinations(found, 2)}
    expected = holm(raw)
    for more, best in ((True, "arm 4"), (False, "arm 0")):
        name, behind = compare_with_best(found, larger_is_better=more)
        assert name == best
        assert set(behind) == set(found) - {best}
        for other, difference in behind.items():
            assert difference.p_value == pytest.approx(expected[min(other, best), max(other, best)])
            assert difference.summary.mean == pytest.approx(np.mean(found[other]) - np.mean(found[best]))


def test_of_equal_arms_the_best_is_said_to_be_better_in_at_most_5_percent():
    random, wrong, uncorrected = np.random.default_rng(0), 0, 0
    repetitions = 800
    for _ in range(repetitions):
        found = {str(i): random.normal(0, 1, 5) for i in range(5)}
        _, behind = compare_with_best(found, larger_is_better=True)
        wrong += any(each.below or each.above for each in behind.values())
        uncorrected += any(not each.summary.low <= 0 <= each.summary.high for each in behind.values())
    assert wrong / repetitions <= 0.05
    assert uncorrected / repetitions >= 0.15, "without a correction it would be said far more often"
