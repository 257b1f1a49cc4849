"""Blocks of a storage in memory: read ahead in threads, kept while they are in use, bounded in number."""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Number of blocks that are read at the same time.
THREADS = 2

Block = NDArray[np.unsignedinteger[Any]]


class BlockCache:
    """Blocks that are read when they are needed or, in threads, before.

    Parameters
    ----------
    read : callable
        Function that takes the number of a block and returns its rows, called in threads. The cache can be pickled if
        this function can.
    capacity : int
        Number of blocks, from 1, that are in memory at most, those that are being read included, if the caller of
        :meth:`get` keeps none of them.
    """

    def __init__(self, read: Callable[[int], Block], capacity: int) -> None:
        self.read, self.capacity = read, capacity
        self._start()

    def __getstate__(self) -> tuple[Callable[[int], Block], int]:
        return self.read, self.capacity

    def __setstate__(self, state: tuple[Callable[[int], Block], int]) -> None:
        self.read, self.capacity = state
        self._start()

    def announce(self, in_use: Sequence[int], coming: Sequence[int]) -> None:
        """Say which blocks are kept while others have to leave, and which are read ahead after the next :meth:`get`.

        Parameters
        ----------
        in_use : sequence of int
            Numbers of the blocks to keep, fewer than the capacity.
        coming : sequence of int
            Numbers of the blocks that are needed next, in this order.
        """
        with self._lock:
            self._in_use, self._coming = frozenset(in_use), tuple(coming)

    def get(self, numbers: Sequence[int]) -> Iterator[tuple[int, Block]]:
        """Iterate over some blocks; those that are in memory come first.

        Parameters
        ----------
        numbers : sequence of int
            Numbers of the blocks, each once.

        Yields
        ------
        number : int
            Number of the block.
        rows : ndarray
            Its rows, which must not be changed. The caller deletes its reference before it asks for the next block.

        Raises
        ------
        Exception
            What ``read`` raised.
        """
        if self._process != os.getpid():  # a forked process has none of the threads
            self._start()
        with self._lock:
            absent = [number for number in numbers if number not in self._blocks]
        for number in numbers:
            if number not in absent:
                yield number, self._rows(number)
        for place, number in enumerate(absent):
            with self._lock:
                for each in absent[place : place + THREADS]:
                    self._begin(each, needed=each == number)
            yield number, self._rows(number)
        with self._lock:
            for each in self._coming:
                self._begin(each, needed=False)

    def _start(self) -> None:
        self._process, self._lock = os.getpid(), threading.Lock()
        self._threads = ThreadPoolExecutor(THREADS, "hourglass-reader")
        self._blocks: dict[int, Future[Block]] = {}  # in the order of their last use
        self.announce((), ())

    def _rows(self, number: int) -> Block:
        """Rows of a block; returns when it has been read."""
        with self._lock:
            self._begin(number, needed=True)
            future = self._blocks[number] = self._blocks.pop(number)
        try:
            return future.result()
        except BaseException:
            with self._lock:  # the next call tries again
                if self._blocks.get(number) is future:
                    del self._blocks[number]
            raise

    def _begin(self, number: int, *, needed: bool) -> None:
        """Begin to read a block, if it is absent and there is room; if it is needed, room is made."""
        if number in self._blocks:
            return
        if len(self._blocks) >= self.capacity:
            if needed:  # one of them has to be in memory before it can leave
                wait(self._blocks.values(), return_when=FIRST_COMPLETED)
            finished = [each for each, future in self._blocks.items() if future.done()]
            useless = [each for each in finished if each not in self._in_use and each not in self._coming]
            leaving = useless or (sorted(finished, key=self._in_use.__contains__) if needed else [])
            if not leaving:
                return
            del self._blocks[leaving[0]]
        self._blocks[number] = self._threads.submit(self.read, number)
