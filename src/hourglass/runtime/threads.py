"""Work on several threads at once, each of which computes alone."""

import functools
import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

Item = TypeVar("Item")
Value = TypeVar("Value")


def on_threads(function: Callable[[Item], Value], items: Sequence[Item]) -> list[Value]:
    """Apply a function to each item, on as many threads as PyTorch uses for one operation.

    Threads that share each operation meet at its end, several hundred times a batch, and where another process takes
    one's core for a moment the others wait. Here they meet once.

    A forked process has none of its parent's threads: ``import hourglass`` sees to it that PyTorch uses one thread
    there, and everything is computed on the calling one; see :mod:`hourglass.runtime.forks`.

    Parameters
    ----------
    function : callable
        Of an item. PyTorch's operations in it use one thread; its settings that belong to a thread, such as
        ``inference_mode`` and ``autocast``, have to be made inside.
    items : sequence
        Arguments of the calls.

    Returns
    -------
    list
        In the order of the items.

    Raises
    ------
    Exception
        An error that ``function`` raised. The calls that had not begun by then are not made.
    """
    helper: _Helper | None = getattr(_of_this_thread, "helper", None)
    count = helper.workers if helper else torch.get_num_threads()
    call = helper.unless_given_up(function) if helper else function
    if count < 2 or (len(items) < 2 and not helper):
        return [call(item) for item in items]
    pool = _workers(count)
    calls = [pool.submit(call, item) for item in items]
    try:
        return [each.result() for each in calls]
    finally:
        for each in calls:
            each.cancel()
        wait(calls)


def overlapped(
    beside: Callable[[Item], Value | None], alone: Callable[[Item], Value], items: Iterable[Item]
) -> Generator[Value, None, None]:
    """Work on several items at once, such that reading and writing some overlaps the computing of others.

    Parameters
    ----------
    beside : callable
        Function of an item, called on a helper thread. If PyTorch uses n threads for one operation, there are n + 1
        helper threads. On them PyTorch's operations use one thread. What the function computes by :func:`on_threads`
        is computed on n threads that all items share. It returns None for an item that has to be worked on by itself.
    alone : callable
        Function of an item, called on the calling thread for each item for which ``beside`` returned None, while no
        other item is in work.
    items : iterable
        Items.

    Yields
    ------
    object
        What ``beside`` or ``alone`` returned for each item, in order. If the iterator is closed before its end, or an
        error ends it, no other item is begun. Those that are in work are finished first, but for those that have yet to
        call :func:`on_threads`, which raises CancelledError there.

    Raises
    ------
    Exception
        An error that ``beside`` or ``alone`` raised.
    """
    threads = torch.get_num_threads()
    if threads > 1:
        _workers(threads)  # begun here, where the number of threads of the process is known
    helper = _Helper(threads, threading.Event())
    helpers = _pool(threads + 1, "hourglass-helper", helper)
    begun: deque[tuple[Item, Future[Value | None]]] = deque()
    remaining = iter(items)
    try:
        while True:
            # As many again wait, lest a slow item leave the helpers behind it without work.
            while len(begun) <= 2 * threads and (item := next(remaining, _END)) is not _END:
                begun.append((item, helpers.submit(beside, item)))
            if not begun:
                return
            item, future = begun.popleft()
            value = future.result()
            if value is None:
                wait([other for _, other in begun])
                value = alone(item)
            yield value
    finally:
        helper.given_up.set()
        helpers.shutdown(cancel_futures=True)


_END: Any = object()
_of_this_thread = threading.local()


@dataclass(frozen=True)
class _Helper:
    """What a helper thread knows: how many threads compute for it, and whether its work is still wanted."""

    workers: int
    given_up: threading.Event

    def unless_given_up(self, function: Callable[[Item], Value]) -> Callable[[Item], Value]:
        def call(item: Item) -> Value:
            if self.given_up.is_set():
                raise CancelledError
            return function(item)

        return call


@functools.cache
def _workers(count: int) -> ThreadPoolExecutor:
    return _pool(count, "hourglass-worker")


def _pool(count: int, name: str, helper: _Helper | None = None) -> ThreadPoolExecutor:
    """Threads that have begun; PyTorch's operations on each use one thread."""
    before = torch.get_num_threads()

    def begin() -> None:
        torch.get_num_threads()  # PyTorch's first look in a thread takes the number that was set last in any thread
        torch.set_num_threads(1)
        _of_this_thread.helper = helper

    pool = ThreadPoolExecutor(count, name, initializer=begin)
    barrier = threading.Barrier(count + 1)
    for _ in range(count):
        pool.submit(barrier.wait)
    barrier.wait()
    torch.set_num_threads(before)  # so that threads that begin later have as many
    return pool


# A forked process has none of the pool's threads; `hourglass.runtime.forks` sets the number of PyTorch's to one.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_workers.cache_clear)
