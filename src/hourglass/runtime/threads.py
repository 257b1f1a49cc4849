"""Work on several threads at once, each of which computes alone."""

import functools
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TypeVar

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
    """
    count = torch.get_num_threads()
    threads = min(count, len(items))
    if threads < 2:
        return [function(item) for item in items]
    values: dict[int, Value] = {}
    places = iter(range(len(items)))
    lock = threading.Lock()

    def work() -> None:
        while True:
            with lock:
                place = next(places, None)
            if place is None:
                return
            try:
                values[place] = function(items[place])
            except BaseException:
                with lock:
                    for _ in places:  # nothing more is begun
                        pass
                raise

    torch.set_num_threads(1)
    others = [_pool(count - 1).submit(work) for _ in range(threads - 1)]
    try:
        work()
    finally:
        wait(others)
        torch.set_num_threads(count)
    for other in others:
        other.result()
    return [values[place] for place in range(len(items))]


@functools.cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, "hourglass", initializer=torch.set_num_threads, initargs=(1,))


# A forked process has none of the pool's threads; `hourglass.runtime.forks` sets the number of PyTorch's to one.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)
