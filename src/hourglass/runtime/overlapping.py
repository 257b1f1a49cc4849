"""Items whose reading and writing overlaps the computing of others."""

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import CancelledError, Future
from queue import SimpleQueue
from typing import Any, TypeVar

Item = TypeVar("Item")
Value = TypeVar("Value")
Here = Callable[[Callable[[], Any]], Any]

# Items in work at once: while one is computed, the one before it is written and the next is read.
_AT_ONCE = 3


def overlapped(
    beside: Callable[[Item, Here], Value | None], alone: Callable[[Item], Value], items: Iterable[Item]
) -> Generator[Value, None, None]:
    """Work on items such that reading and writing one overlaps the computing of another.

    Everything is computed on the calling thread, one item after another, so that a computation has all cores and the
    memory of one.

    Parameters
    ----------
    beside : callable
        Function of an item and of ``here``, called on a helper thread. It reads and writes on this thread, and computes
        by ``here(function)``, which returns what ``function()`` returned on the calling thread. For an item that has to
        be worked on by itself it returns None.
    alone : callable
        Function of an item, called on the calling thread for each item for which ``beside`` returned None, while no
        other item is in work.
    items : iterable
        Items.

    Yields
    ------
    object
        What ``beside`` or ``alone`` returned for each item, in order. If the iterator is closed before its end, or an
        error ends it, ``here`` raises CancelledError in the items that are in work, and their threads have ended
        before this function returns.

    Raises
    ------
    Exception
        Whatever ``beside`` or ``alone`` raises.
    """
    desk = _Desk()
    begun: deque[_Begun] = deque()
    remaining = iter(items)
    try:
        while True:
            while len(begun) < _AT_ONCE and (item := next(remaining, _END)) is not _END:
                begun.append(_Begun(beside, item, desk))
            if not begun:
                return
            first = begun[0]
            desk.serve(first.future)
            begun.popleft()
            value = first.future.result()
            if value is None:
                for other in begun:
                    desk.serve(other.future)
                value = alone(first.item)
            yield value
    finally:
        desk.close()
        for each in begun:
            each.thread.join()


_END: Any = object()


class _Begun:
    """An item in work, on a thread of its own."""

    def __init__(self, beside: Callable[[Any, Here], Any], item: Any, desk: "_Desk") -> None:
        self.item = item
        self.future: Future[Any] = Future()
        self.future.add_done_callback(desk.wake)
        # A daemon, since nobody computes for it any more once the process ends.
        self.thread = threading.Thread(target=self._work, args=(beside, desk.here), daemon=True)
        self.thread.start()

    def _work(self, beside: Callable[[Any, Here], Any], here: Here) -> None:
        try:
            self.future.set_result(beside(self.item, here))
        except BaseException as error:
            self.future.set_exception(error)


class _Desk:
    """Place where helper threads leave what the calling thread is to compute."""

    def __init__(self) -> None:
        self._tasks: SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None] = SimpleQueue()
        self._asked: set[Future[Any]] = set()
        self._lock = threading.Lock()
        self._closed = False

    def here(self, function: Callable[[], Any]) -> Any:
        """On a helper thread: have a function computed, and return its value."""
        future: Future[Any] = Future()
        with self._lock:
            if self._closed:
                raise CancelledError
            self._asked.add(future)
        self._tasks.put((function, future))
        try:
            return future.result()
        finally:
            with self._lock:
                self._asked.discard(future)

    def wake(self, _: Any = None) -> None:
        """On a helper thread: have the calling thread look again whether what it waits for is done."""
        self._tasks.put(None)

    def serve(self, future: Future[Any]) -> None:
        """On the calling thread: compute what is asked for until a future is done."""
        while not future.done():
            task = self._tasks.get()
            if task is not None:
                _compute(*task)

    def close(self) -> None:
        """Cancel what was asked for, and whatever will be."""
        with self._lock:
            self._closed = True
            asked = list(self._asked)
        for future in asked:
            future.cancel()


def _compute(function: Callable[[], Any], future: Future[Any]) -> None:
    try:
        future.set_result(function())
    except Exception as error:
        future.set_exception(error)
