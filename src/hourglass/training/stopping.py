"""Stopping when the held-out images no longer gain."""

import copy
import math
from typing import Any

from torch import nn

from hourglass.training.history import Record


class EarlyStopping:
    """Stop after some validations without a new best, and go back to the best weights.

    Parameters
    ----------
    measure : str
        Name of the reported number; smaller is better.
    patience : int
        Validations in a row without a new best, after which training ends.

    Attributes
    ----------
    best : float
    best_step : int
        After which the best was measured; 0 before the first.
    """

    def __init__(self, measure: str, patience: int) -> None:
        self.measure = measure
        self.patience = patience
        self.best, self.best_step = math.inf, 0
        self._waited = 0
        self._weights: dict[str, Any] = {}

    def is_over(self, module: nn.Module, step: int, record: Record) -> bool:
        """Take note of a report; True when training is to end."""
        if self.measure not in record:
            return False
        if record[self.measure] < self.best:
            self.best, self.best_step, self._waited = record[self.measure], step, 0
            self._weights = copy.deepcopy(module.state_dict())
            return False
        self._waited += 1
        return self._waited >= self.patience

    @property
    def state(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The best weights, and the numbers: all that a checkpoint needs."""
        return self._weights, {"best": self.best, "best_step": self.best_step, "waited": self._waited}

    @state.setter
    def state(self, state: tuple[dict[str, Any], dict[str, Any]]) -> None:
        self._weights, numbers = state
        self.best, self.best_step, self._waited = numbers["best"], numbers["best_step"], numbers["waited"]

    def restore(self, module: nn.Module) -> None:
        """Give the module the weights that were best."""
        if self._weights:
            module.load_state_dict(self._weights)
