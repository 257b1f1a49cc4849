"""Listeners to the three events of a training: a step is done, an evaluation is due, a checkpoint is due."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hourglass.training.history import Record
from hourglass.training.progress import Progress
from hourglass.training.state import State
from hourglass.training.stopwatch import WARMUP_STEPS

# Reading the losses waits for the device, so they are read once for many steps.
CHECK_EVERY = 50


class Listener:
    """Base class of the listeners that the training loop calls at its events.

    Each method does nothing unless a subclass overrides it.
    """

    def step_done(self, state: State) -> None:
        """React to a step that has just been done.

        The time that this takes counts as training time.

        Parameters
        ----------
        state : State
            State of the training after the step.
        """

    def evaluation_due(self, state: State) -> None:
        """React to an evaluation of the network that is due.

        The time that this takes does not count as training time.

        Parameters
        ----------
        state : State
            State of the training after the last step.
        """

    def checkpoint_due(self, state: State) -> None:
        """React to a checkpoint that is due.

        The time that this takes counts as training time.

        Parameters
        ----------
        state : State
            State of the training after the last step.
        """


@dataclass(frozen=True)
class Report:
    """A measurement that is repeated at intervals during training.

    It is made in inference mode, and its time does not count as training time.

    Parameters
    ----------
    measure : callable
        Function that takes the indices of the step's batch, a tensor ``(batch_size,)`` of int64, and the number of the
        step, from 1. It returns a dict of numbers by name.
    every : int
        Steps from one report to the next, from 1. The first and the last step are always reported.
    """

    measure: Callable[[Tensor, int], Record]
    every: int

    def is_due(self, step: int, last: int) -> bool:
        """Tell whether the measurement is due after a step.

        Parameters
        ----------
        step : int
            Number of the step that was done, from 1.
        last : int
            Number of the last step of the training.

        Returns
        -------
        bool
            True after the first step, after every ``every`` steps from there, and after the last step.
        """
        return step == last or (step - 1) % self.every == 0


class Observer:
    """Base class of what looks at a network before and during training.

    The time that an observer takes does not count as training time.
    """

    def begin(self, network: nn.Module) -> None:
        """Look at the network before its first step.

        Parameters
        ----------
        network : torch.nn.Module
            The network, in training mode. An observer may register hooks on it.
        """

    def measure(self, network: nn.Module) -> Record:
        """Measure the network during training.

        Parameters
        ----------
        network : torch.nn.Module
            The network, in inference mode; gradients are off.

        Returns
        -------
        dict of str to float
            Measured numbers by name; empty unless a subclass measures something.
        """
        return {}


class Evaluation(Listener):
    """Makes the reports that are due, and records them in the history.

    Parameters
    ----------
    reports : sequence of Report
        Measurements, each with its own interval.
    """

    def __init__(self, reports: Sequence[Report]) -> None:
        self.reports = reports

    def is_due(self, state: State) -> bool:
        """Tell whether any report is due after the last step.

        Parameters
        ----------
        state : State
            State of the training after the last step.

        Returns
        -------
        bool
            True when at least one report is due.
        """
        return any(report.is_due(state.step, state.n_steps) for report in self.reports)

    @torch.no_grad()
    def evaluation_due(self, state: State) -> None:
        """Make the reports that are due, with the network in inference mode, and record them.

        Parameters
        ----------
        state : State
            State of the training after the last step; its history gets the numbers.
        """
        record: Record = {}
        state.module.eval()
        for report in self.reports:
            if report.is_due(state.step, state.n_steps):
                record |= report.measure(state.index, state.step)
        state.module.train()
        state.history.reports[state.step] = record


class FiniteChecks(Listener):
    """Stops a training whose losses or weights are no longer finite.

    Parameters
    ----------
    evaluation : Evaluation
        The losses are checked before each of its evaluations, and every 50 steps.
    """

    def __init__(self, evaluation: Evaluation) -> None:
        self.evaluation = evaluation

    def step_done(self, state: State) -> None:
        """Check the losses every 50 steps, at the end of the warm-up, before an evaluation, and at the last step.

        Parameters
        ----------
        state : State
            State of the training after the step.

        Raises
        ------
        FloatingPointError
            When a loss is not finite.
        """
        regular = state.step % CHECK_EVERY == 0 or state.step in (WARMUP_STEPS, state.n_steps)
        if regular or self.evaluation.is_due(state):
            state.collect_losses()

    def checkpoint_due(self, state: State) -> None:
        """Check losses and weights, so that NaN never replaces an intact checkpoint.

        Parameters
        ----------
        state : State
            State of the training after the last step.

        Raises
        ------
        FloatingPointError
            When a loss or a weight is not finite.
        """
        state.collect_losses()
        # A checkpoint with NaN must not replace one without.
        state.check_weights()


class Display(Listener):
    """Shows the course of a training.

    Parameters
    ----------
    progress : Progress
        What shows it, such as a progress bar.
    """

    def __init__(self, progress: Progress) -> None:
        self.progress = progress

    def step_done(self, state: State) -> None:
        """Show the number of steps, the speed and the time left.

        Parameters
        ----------
        state : State
            State of the training after the step.
        """
        elapsed = max(state.stopwatch.seconds, 1e-9)  # a coarse clock may not have moved yet
        self.progress.advance(state.step, state.seen / elapsed, elapsed / state.step * (state.n_steps - state.step))

    def evaluation_due(self, state: State) -> None:
        """Show the numbers of the last report, the epoch, and the mean training loss since the report before.

        Parameters
        ----------
        state : State
            State of the training, with the report in its history.
        """
        before = max((step for step in state.history.reports if step < state.step), default=0)
        recent = state.history.loss[before:]
        of_training = {"epoch": state.history.epoch[-1], "loss": sum(recent) / len(recent)}
        self.progress.report(state.step, of_training | state.history.reports[state.step])


class EarlyEnd(Listener):
    """Ends a training when early stopping asks for it."""

    def evaluation_due(self, state: State) -> None:
        """Pass the last report to early stopping, where there is one, and note its decision.

        Parameters
        ----------
        state : State
            State of the training, with the report in its history.
        """
        if state.stopping is not None:
            record = state.history.reports[state.step]
            state.early = state.stopping.is_over(state.module, state.step, record)
