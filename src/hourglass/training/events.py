"""What hangs on the three events of a training: a step is done, an evaluation is due, a checkpoint is due."""

import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hourglass.training.checkpoints import Checkpoints
from hourglass.training.history import Record
from hourglass.training.interruption import Interrupted, Interruption
from hourglass.training.progress import Progress
from hourglass.training.state import State
from hourglass.training.stopwatch import WARMUP_STEPS

# A look at the losses waits for the device, so that it is done once for many steps.
CHECK_EVERY = 50


class Listener:
    """Is told of a training's events, and does nothing; the derived ones do one thing each."""

    def step_done(self, state: State) -> None:
        """A step is done; this is inside the timing."""

    def evaluation_due(self, state: State) -> None:
        """The network is to be measured; this is outside of the timing."""

    def checkpoint_due(self, state: State) -> None:
        """The state is to be written; this is inside the timing."""


@dataclass(frozen=True)
class Report:
    """Something measured now and then during training, in inference mode and outside the timing.

    Parameters
    ----------
    measure : callable
        Called with the indices of the step's batch and the step's number; returns numbers by name.
    every : int
        Steps from one report to the next, beginning with the first; the last step is always reported.
    """

    measure: Callable[[Tensor, int], Record]
    every: int

    def is_due(self, step: int, last: int) -> bool:
        """Whether it is measured after a step."""
        return step == last or (step - 1) % self.every == 0


class Observer:
    """Sees a network before and during training, outside of its time; the derived ones say what they look at."""

    def begin(self, network: nn.Module) -> None:
        """Look at the network before its first step, in training mode; hooks may be registered."""

    def measure(self, network: nn.Module) -> Record:
        """Numbers by name; the network is in inference mode, and gradients are off."""
        return {}


class Evaluation(Listener):
    """Measures the reports that are due, and records them."""

    def __init__(self, reports: Sequence[Report]) -> None:
        self.reports = reports

    def is_due(self, state: State) -> bool:
        """Whether any report is due after the last step."""
        return any(report.is_due(state.step, state.n_steps) for report in self.reports)

    @torch.no_grad()
    def evaluation_due(self, state: State) -> None:
        record: Record = {}
        state.module.eval()
        for report in self.reports:
            if report.is_due(state.step, state.n_steps):
                record |= report.measure(state.index, state.step)
        state.module.train()
        state.history.reports[state.step] = record


class FiniteChecks(Listener):
    """Raises FloatingPointError when a loss is not finite, or before a checkpoint a weight."""

    def __init__(self, evaluation: Evaluation) -> None:
        self.evaluation = evaluation

    def step_done(self, state: State) -> None:
        regular = state.step % CHECK_EVERY == 0 or state.step in (WARMUP_STEPS, state.n_steps)
        if regular or self.evaluation.is_due(state):
            state.collect_losses()

    def checkpoint_due(self, state: State) -> None:
        state.collect_losses()
        # What is no longer a number must not take the place of what was.
        state.check_weights()


class Display(Listener):
    """Shows a training to a :class:`hourglass.training.Progress`."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress

    def step_done(self, state: State) -> None:
        elapsed = max(state.stopwatch.seconds, 1e-9)  # a coarse clock may not have moved yet
        self.progress.advance(state.step, state.seen / elapsed, elapsed / state.step * (state.n_steps - state.step))

    def evaluation_due(self, state: State) -> None:
        before = max((step for step in state.history.reports if step < state.step), default=0)
        recent = state.history.loss[before:]
        self.progress.report(state.step, {"loss": sum(recent) / len(recent)} | state.history.reports[state.step])


class EarlyEnd(Listener):
    """Ends a training that early stopping has seen enough of."""

    def evaluation_due(self, state: State) -> None:
        if state.stopping is not None:
            record = state.history.reports[state.step]
            state.early = state.stopping.is_over(state.module, state.step, record)


class Saving(Listener):
    """Writes checkpoints: now and then, at the end, and where a signal came."""

    def __init__(self, checkpoints: Checkpoints, interruption: Interruption, state: State) -> None:
        self.checkpoints, self.interruption = checkpoints, interruption
        self._note(state)

    def is_due(self, state: State) -> bool:
        """Whether the state is to be written after the last step."""
        since = time.perf_counter() - self._time, state.step - self._step, (state.seen - self._seen) / state.epoch_size
        return bool(self.interruption.signal) or state.over or self.checkpoints.every.is_due(*since)

    def checkpoint_due(self, state: State) -> None:
        self.checkpoints.save(state.step, *state.gather())
        self._note(state)
        self.stop_if_signalled(state)

    def stop_if_signalled(self, state: State) -> None:
        """Raise :class:`Interrupted` where a signal has come."""
        if (number := self.interruption.signal) is not None:
            raise Interrupted(
                f"stopped after step {state.step} of {state.n_steps} by {signal.Signals(number).name}; "
                f"{self.checkpoints.folder} holds its state",
                number,
            )

    def _note(self, state: State) -> None:
        self._time, self._step, self._seen = time.perf_counter(), state.step, state.seen
