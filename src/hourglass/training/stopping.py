"""Early stopping: end a training when the validation loss no longer falls."""

import copy
import math
from typing import Any

from torch import nn

from hourglass.training.history import Record


class EarlyStopping:
    """End a training after some validations without a new best, and restore the best weights.

    Parameters
    ----------
    measure : str
        Name of the reported number that is watched; smaller is better.
    patience : int
        Number of validations in a row without a new best after which training ends, from 1.

    Attributes
    ----------
    best : float
        Smallest number so far; infinity before the first validation.
    best_step : int
        Step after which ``best`` was measured; 0 before the first validation.
    """

    def __init__(self, measure: str, patience: int) -> None:
        self.measure = measure
        self.patience = patience
        self.best, self.best_step = math.inf, 0
        self._waited = 0
        self._weights: dict[str, Any] = {}

    def is_over(self, module: nn.Module, step: int, record: Record) -> bool:
        """Take note of a report, and decide whether training ends.

        Parameters
        ----------
        module : torch.nn.Module
            Network in training; its weights are copied when the report has a new best.
        step : int
            Number of the step after which the report was made, from 1.
        record : dict of str to float
            Reported numbers by name. A report without ``measure`` is no validation and changes nothing.

        Returns
        -------
        bool
            True when ``patience`` validations in a row brought no new best.
        """
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
        """The best weights, and the numbers that a checkpoint needs beside them."""
        return self._weights, {"best": self.best, "best_step": self.best_step, "waited": self._waited}

    @state.setter
    def state(self, state: tuple[dict[str, Any], dict[str, Any]]) -> None:
        self._weights, numbers = state
        self.best, self.best_step, self._waited = numbers["best"], numbers["best_step"], numbers["waited"]

    def restore(self, module: nn.Module) -> None:
        """Load the best weights into the network; before the first validation it keeps its own.

        Parameters
        ----------
        module : torch.nn.Module
            Network that was trained; its weights are changed in place.
        """
        if self._weights:
            module.load_state_dict(self._weights)
