"""Signs of life of the processes that train together, which distinguish a lost process from a busy one."""

import itertools
import queue
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

# Seconds between two signs of life.
BEAT = 1.0
# Signs of life in a row that the store did not take, after which it counts as gone.
_TRIES = 3


def within(seconds: float, function: Callable[[], T]) -> T:
    """Call a function that may never return, since the host that it asks may have been cut off.

    Parameters
    ----------
    seconds : float
        Seconds to wait for it.
    function : callable
        Function without arguments, which is called in a thread.

    Returns
    -------
    object
        What the function returned.

    Raises
    ------
    TimeoutError
        When the function has not returned in time; its thread then goes on.
    """
    answers: queue.SimpleQueue[tuple[list[T], BaseException | None]] = queue.SimpleQueue()

    def call() -> None:
        try:
            answers.put(([function()], None))
        except BaseException as error:  # raised in the thread that waits
            answers.put(([], error))

    threading.Thread(target=call, daemon=True).start()
    try:
        returned, error = answers.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError(f"there was no answer for {seconds:.0f} s") from None
    if error is not None:
        raise error
    return returned[0]


class Heartbeat:
    """Gives signs of life of this process from a thread, and looks for those of others.

    Parameters
    ----------
    store : torch.distributed.Store
        Key-value store that all processes reach.
    rank : int
        Rank of this process.
    """

    def __init__(self, store: Any, rank: int) -> None:
        self.store, self.rank = store, rank
        self._over = threading.Event()
        self._seen: dict[int, tuple[bytes | None, float]] = {}
        threading.Thread(target=self._beat, daemon=True).start()

    def silence(self, rank: int) -> float:
        """Tell how long a process has given no sign of life, as far as this one has looked.

        Parameters
        ----------
        rank : int
            Rank of the process.

        Returns
        -------
        float
            Seconds since a call that found a new sign of life; 0 in the first call.

        Raises
        ------
        RuntimeError
            When the store cannot be reached.
        """
        latest, now = self.latest(rank), time.monotonic()
        if rank not in self._seen or self._seen[rank][0] != latest:
            self._seen[rank] = latest, now
        return now - self._seen[rank][1]

    def latest(self, rank: int) -> bytes | None:
        """Look for the last sign of life of a process.

        Parameters
        ----------
        rank : int
            Rank of the process.

        Returns
        -------
        bytes or None
            A text that changes with every sign of life; None before the first.

        Raises
        ------
        RuntimeError
            When the store cannot be reached.
        """
        key = self._key(rank)
        return bytes(self.store.get(key)) if self.store.check([key]) else None

    def stop(self) -> None:
        """Give no more signs of life."""
        self._over.set()

    def _beat(self) -> None:
        failed = 0
        for number in itertools.count():
            try:
                self.store.set(self._key(self.rank), str(number))
                failed = 0
            except RuntimeError:  # it may answer again
                failed += 1
            if failed == _TRIES or self._over.wait(BEAT):
                return

    def _key(self, rank: int) -> str:
        return f"hourglass/alive/{rank}"
