"""Learning-rate schedules: functions from the share of training done, in [0, 1), to a factor of the learning rate."""

import math
from collections.abc import Callable

Schedule = Callable[[float], float]


def constant(done: float) -> float:
    """Keep the learning rate the same from the first step to the last.

    Parameters
    ----------
    done : float
        Share of training done, in [0, 1).

    Returns
    -------
    float
        Always 1.
    """
    return 1.0


def one_cycle(done: float, *, warmup: float = 0.2, start: float = 0.04, end: float = 1e-4) -> float:
    """Raise the learning rate along a half cosine, then lower it along another.

    Source: Smith and Topin, "Super-Convergence: Very Fast Training of Neural Networks Using Large Learning
    Rates", 2017, with cosines in place of straight lines.

    Parameters
    ----------
    done : float
        Share of training done, in [0, 1).
    warmup : float, default=0.2
        Share of training in which the factor rises, in (0, 1).
    start : float, default=0.04
        Factor of the first step.
    end : float, default=1e-4
        Factor that the end of training approaches.

    Returns
    -------
    float
        Factor in [0, 1].
    """
    if done < warmup:
        return 1 + (start - 1) * (1 + math.cos(math.pi * done / warmup)) / 2
    return end + (1 - end) * (1 + math.cos(math.pi * (done - warmup) / (1 - warmup))) / 2


def linear(done: float, *, warmup: float = 0.1, start: float = 0.04) -> float:
    """Raise the learning rate in a straight line, then lower it in another, to 0.

    Source: Defazio et al., "Optimal Linear Decay Learning Rate Schedules and Further Refinements", 2023.

    Parameters
    ----------
    done : float
        Share of training done, in [0, 1).
    warmup : float, default=0.1
        Share of training in which the factor rises, in (0, 1).
    start : float, default=0.04
        Factor of the first step.

    Returns
    -------
    float
        Factor in [0, 1].
    """
    if done < warmup:
        return start + (1 - start) * done / warmup
    return (1 - done) / (1 - warmup)


def warmed_up(schedule: Schedule, share: float) -> Schedule:
    """Add a warm-up to a schedule.

    Its factor rises in a straight line from almost 0 to 1 and multiplies the factor of the schedule. A network that is
    trained already is thus not damaged by the first steps of an optimiser without moving averages.

    Parameters
    ----------
    schedule : callable
        Function from the share of training done, in [0, 1), to a factor.
    share : float
        Share of training that the warm-up takes, in (0, 1].

    Returns
    -------
    callable
        Schedule with the warm-up.
    """
    return lambda done: schedule(done) * min(1.0, (done + 1e-3) / share)


SCHEDULES: dict[str, Schedule] = {"constant": constant, "one-cycle": one_cycle, "linear": linear}
"""Every schedule of the learning rate by name."""
