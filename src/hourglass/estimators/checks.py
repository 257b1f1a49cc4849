"""What estimators check: parameters before training, the network after it."""

import math
import warnings
from collections.abc import Iterable
from numbers import Integral, Real
from typing import Any

import torch
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

from hourglass.nn import NORMS


def check_number(name: str, value: Any, *, whole: bool = False, optional: bool = False) -> None:
    """Raise ValueError unless a parameter is a number above 0, or None where that is admitted."""
    if value is None and optional:
        return
    kind: Any = Integral if whole else Real
    # A bool is an int to Python, not to people.
    if isinstance(value, bool) or not isinstance(value, kind) or not 0 < value < math.inf:
        what = "a whole number" if whole else "a number"
        raise ValueError(f"{name}={value!r}; expected {what} above 0{' or None' if optional else ''}")


def check_choice(name: str, value: object, choices: Iterable[str]) -> None:
    """Raise ValueError unless a parameter is one of the choices."""
    if value not in (choices := list(choices)):
        raise ValueError(f"{name}={value!r} is unknown; choose one of {', '.join(choices)}")


def check_shape(name: str, value: object) -> None:
    """Raise ValueError unless a parameter is the shape of an image, or None."""
    if value is None:
        return
    if not isinstance(value, tuple | list) or len(value) != 3:
        raise ValueError(f"{name}={value!r}; expected (height, width, channels)")
    for length in value:
        check_number(name, length, whole=True)


def check_norm(norm: object, momentum: float) -> None:
    """Raise ValueError unless a normalisation is known, and its momentum a share."""
    check_choice("norm", norm, NORMS)
    check_number("norm_momentum", momentum)
    if momentum > 1:
        raise ValueError(f"norm_momentum={momentum!r}; expected the share of the new batch, at most 1")


def warn_if_dead(network: Any, x: Tensor) -> None:
    """Warn where every image has the same output: then all units of some layer are off, and nothing can be learnt."""
    rows = x[:64]
    if len(rows) < 2 or bool((rows == rows[:1]).all()):
        return
    with torch.inference_mode():
        output = network(rows)
    if bool((output == output[:1]).all()):
        warnings.warn(
            "the network gives the same output for every image: all units of a layer are off (dead ReLUs); "
            "try a smaller learning_rate or another random_state",
            ConvergenceWarning,
            stacklevel=4,
        )
