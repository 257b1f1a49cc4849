"""When a training writes its checkpoints, and how a signal ends it."""

import signal
import time

from hourglass.runtime import ranks
from hourglass.training.checkpoints import Checkpoints
from hourglass.training.events import Listener
from hourglass.training.interruption import Interrupted, Interruption
from hourglass.training.state import State


class Saving(Listener):
    """Writes checkpoints: at intervals, at the end, and after a signal.

    Parameters
    ----------
    checkpoints : Checkpoints
        Where checkpoints are written, and how often.
    interruption : Interruption
        Signal that has come, if any.
    state : State
        State at the beginning, from which the first interval is counted.
    """

    def __init__(self, checkpoints: Checkpoints, interruption: Interruption, state: State) -> None:
        self.checkpoints, self.interruption = checkpoints, interruption
        self._signal = 0
        self._note(state)

    def is_due(self, state: State) -> bool:
        """Tell whether a checkpoint is due after the last step.

        Parameters
        ----------
        state : State
            State of the training after the last step.

        Returns
        -------
        bool
            True at the end of an interval, at the end of training, and when a signal has come; the same in every
            process.
        """
        since = time.perf_counter() - self._time, state.step - self._step, (state.seen - self._seen) / state.epoch_size
        return bool(self._agree(self.checkpoints.every.is_due(*since)) or self._signal or state.over)

    def checkpoint_due(self, state: State) -> None:
        """Write a checkpoint, in the process of rank 0 alone, and stop the training when a signal has come.

        Parameters
        ----------
        state : State
            State of the training after the last step, with all losses collected.

        Raises
        ------
        Interrupted
            When SIGINT or SIGTERM had come before :meth:`is_due` was called.
        OSError
            When the checkpoint cannot be written.
        """
        ranks.at_first(lambda: self.checkpoints.save(state.step, *state.gather()))
        self._note(state)
        self._stop_if_signalled(state)

    def end(self, state: State) -> None:
        """Stop the training when a signal has come while the last checkpoint was written.

        Parameters
        ----------
        state : State
            State of the training, whose checkpoint is written already.

        Raises
        ------
        Interrupted
            When SIGINT or SIGTERM has come.
        """
        self._agree()
        self._stop_if_signalled(state)

    def _agree(self, due: int = 0) -> int:
        """Agree with the other processes on a signal, and on a number: a clock or a signal may have reached one alone.

        The signal that has come meanwhile is one for the next time.
        """
        agreed, self._signal = ranks.greatest(due, self.interruption.signal or 0)
        return agreed

    def _stop_if_signalled(self, state: State) -> None:
        if self._signal:
            raise Interrupted(
                f"stopped after step {state.step} of {state.n_steps} by {signal.Signals(self._signal).name}; "
                f"{self.checkpoints.folder} holds its state",
                self._signal,
            )

    def _note(self, state: State) -> None:
        self._time, self._step, self._seen = time.perf_counter(), state.step, state.seen
