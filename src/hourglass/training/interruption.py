"""Stopping a training run from outside without losing what it has done."""

import signal
import threading
from types import FrameType
from typing import Any, Self


class Interrupted(KeyboardInterrupt):
    """A signal has stopped the training after a step, and the checkpoint of that step is written.

    Parameters
    ----------
    message : str
        Where training stopped, and where its checkpoint is.
    number : int
        Number of the signal.

    Attributes
    ----------
    signal : int
        Number of the signal: ``signal.SIGINT`` or ``signal.SIGTERM``.
    """

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.signal = number


class Interruption:
    """Context in which the first SIGINT or SIGTERM is noted instead of obeyed; a SIGINT after it stops at once.

    Python delivers signals only to the main thread; on another thread, the context does nothing.

    Attributes
    ----------
    signal : int or None
        Number of the signal that has come; None where none has.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                if signal.getsignal(number) != signal.SIG_IGN:  # ignored signals, as after nohup, stay ignored
                    self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = number
