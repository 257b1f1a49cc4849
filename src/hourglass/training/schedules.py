"""Learning-rate schedules: functions from the share of training done, in [0, 1), to a factor in [0, 1]."""

import math
from collections.abc import Callable

Schedule = Callable[[float], float]


def constant(done: float) -> float:
    """The same rate from the first step to the last."""
    return 1.0


def one_cycle(done: float, *, warmup: float = 0.2, start: float = 0.04, end: float = 1e-4) -> float:
    """Rise along a half cosine from ``start`` to 1 over the share ``warmup``, then fall to ``end``.

    Source: Smith and Topin, "Super-Convergence: Very Fast Training of Neural Networks Using Large Learning
    Rates", 2017, with cosine in place of straight lines.
    """
    if done < warmup:
        return 1 + (start - 1) * (1 + math.cos(math.pi * done / warmup)) / 2
    return end + (1 - end) * (1 + math.cos(math.pi * (done - warmup) / (1 - warmup))) / 2


def linear(done: float, *, warmup: float = 0.1, start: float = 0.04) -> float:
    """Rise in a straight line from ``start`` to 1 over the share ``warmup``, then fall in one to 0.

    Source: Defazio et al., "Optimal Linear Decay Learning Rate Schedules and Further Refinements", 2023.
    """
    if done < warmup:
        return start + (1 - start) * done / warmup
    return (1 - done) / (1 - warmup)


def warmed_up(schedule: Schedule, share: float) -> Schedule:
    """Schedule whose factor rises from almost 0 over the first share of training, multiplied onto another's.

    For an optimiser that knows nothing of gradients yet, and a network that has much to lose.
    """
    return lambda done: schedule(done) * min(1.0, (done + 1e-3) / share)


SCHEDULES: dict[str, Schedule] = {"constant": constant, "one-cycle": one_cycle, "linear": linear}
