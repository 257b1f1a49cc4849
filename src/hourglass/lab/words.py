"""Parts of the sentences in which studies answer."""

import math
from collections.abc import Callable, Iterable, Mapping

from hourglass.lab.statistics import Difference, Summary, summarise

_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def named(norm: str) -> str:
    """Name of a normalisation in a sentence."""
    return "the network without normalisation" if norm == "none" else norm


def scientific(value: float) -> str:
    """Number with two digits: 0.25, 84, and as a power of ten (1.3 × 10⁻⁸) below 0.001 or from 1,000."""
    if value == 0 or 1e-3 <= abs(value) < 1e3:
        return f"{value:.0f}" if value == 0 or abs(value) >= 9.95 else f"{value:#.2g}"
    digits, power = f"{value:.1e}".split("e")
    return f"{digits} × 10{str(int(power)).translate(_RAISED)}"


class Geometric:
    """Geometric mean of positive numbers; Student's t interval of their logarithms.

    Parameters
    ----------
    values : sequence of float
        At least one, all above 0.

    Attributes
    ----------
    powers : Summary
        Of the decimal logarithms.
    """

    def __init__(self, values: Iterable[float]) -> None:
        self.powers: Summary = summarise([math.log10(value) for value in values])

    @property
    def mean(self) -> str:
        """The geometric mean alone."""
        return scientific(10**self.powers.mean)

    def __str__(self) -> str:
        """The geometric mean and its interval."""
        powers = self.powers
        if powers.count < 2:
            return f"{self.mean} (one run)"
        if powers.low == powers.high:
            return f"{self.mean} (all {powers.count} equal)"
        return f"{self.mean} [{scientific(10**powers.low)}, {scientific(10**powers.high)}]"


def verdict(difference: Difference, above: str, below: str, undecided: str) -> str:
    """The words for a difference that is significantly above zero, below it, or neither."""
    return above if difference.above else below if difference.below else undecided


def sorted_out(differences: Mapping[str, Difference]) -> tuple[list[str], list[str], list[str]]:
    """Names whose difference is above zero, below it, and neither."""
    tests: list[Callable[[Difference], bool]] = [
        lambda each: each.above,
        lambda each: each.below,
        lambda each: not each.above and not each.below,
    ]
    above, below, neither = ([name for name, each in differences.items() if test(each)] for test in tests)
    return above, below, neither
