"""Signs of life of the processes that train together, by which one that was lost is told from one that is busy."""

import itertools
import threading
import time
from typing import Any

# Seconds between two signs of life.
BEAT = 1.0


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
        for number in itertools.count():
            try:
                self.store.set(self._key(self.rank), str(number))
            except RuntimeError:  # the store is gone, and whoever needs it next will say so
                return
            if self._over.wait(BEAT):
                return

    def _key(self, rank: int) -> str:
        return f"hourglass/alive/{rank}"
