"""Stopping a training run from outside without losing what it has done."""

import signal
import threading
from types import FrameType
from typing import Any, Self


class Interrupted(KeyboardInterrupt):
    """Training was stopped by a signal after a step, and its checkpoint is written.

    Attributes
    ----------
    signal : int
        ``SIGINT`` or ``SIGTERM``.
    """

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.signal = number


class Interruption:
    """While it is entered, the first SIGINT or SIGTERM is noted instead of obeyed; a second SIGINT stops at once.

    Python delivers signals to the main thread alone; entered on another one, this does nothing.

    Attributes
    ----------
    signal : int or None
        What was noted.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                if signal.getsignal(number) != signal.SIG_IGN:  # as after nohup: somebody wants it so
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
