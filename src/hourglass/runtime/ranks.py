"""The processes that train together: how many there are, which one this is, and what they tell each other.

A process of a group is called by its rank, from 0, as in ``torch.distributed``. Without a group there is one process,
of rank 0, and every function here does its work without communication.
"""

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor

from hourglass.runtime.heartbeat import Heartbeat, within
from hourglass.runtime.internals import store_of_processes

T = TypeVar("T")

# Seconds without a sign of life, which a process gives every second, after which it counts as lost.
SILENCE = 15.0
# Seconds between two looks at what the others have done: at first, and at most.
_FIRST_LOOK, _LAST_LOOK = 0.002, 0.1


class LostProcessError(ConnectionError):
    """A process that takes part in the training has been lost, so that it cannot go on."""


class _Group:
    """What this module knows of the present group of processes.

    Attributes
    ----------
    patience : float
        Seconds to wait for the first sign of life of a process, and for the store.
    alone : bool
        Whether this process counts itself alone for the moment.
    """

    def __init__(self) -> None:
        self.patience, self.alone = 60.0, False
        self._heart: Heartbeat | None = None
        self._calls = itertools.count()

    @property
    def heart(self) -> Heartbeat:
        """Signs of life in the present group, which begin with the first use."""
        store = store_of_processes()
        if self._heart is None or self._heart.store is not store:
            self._heart, self._calls = Heartbeat(store, torch.distributed.get_rank()), itertools.count()
        return self._heart

    def next_key(self) -> str:
        """Name of the next meeting, which is the same in all processes."""
        return f"hourglass/meeting/{next(self._calls)}"

    @contextmanager
    def by_itself(self) -> Iterator[None]:
        """Count this process alone until the block ends."""
        self.alone = True
        try:
            yield
        finally:
            self.alone = False


group = _Group()
"""The present group; :func:`hourglass.runtime.launch.joined` sets its patience."""


def is_group() -> bool:
    """Whether ``torch.distributed`` has been initialised in this process.

    Returns
    -------
    bool
        True with a process group, also one of a single process.
    """
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def count() -> int:
    """Count the processes that train together.

    Returns
    -------
    int
        At least 1; 1 without a group, and inside the function of :func:`on_first`.
    """
    return torch.distributed.get_world_size() if is_group() and not group.alone else 1


def rank() -> int:
    """Tell which of the processes this one is.

    Returns
    -------
    int
        From 0 to one less than :func:`count`.
    """
    return torch.distributed.get_rank() if count() > 1 else 0


def is_first() -> bool:
    """Tell whether this process is the one that writes files and reports, that of rank 0.

    Returns
    -------
    bool
        True for one process of a group, and without a group.
    """
    return rank() == 0


def part(size: int) -> slice:
    """Choose the rows of a batch that this process computes.

    Parameters
    ----------
    size : int
        Rows in the batch of all processes, from 0.

    Returns
    -------
    slice
        Consecutive rows. The parts of all processes make the batch, and their sizes differ by one at most.
    """
    this, everyone = rank(), count()
    return slice(size * this // everyone, size * (this + 1) // everyone)


def total(values: Tensor) -> Tensor:
    """Add up a tensor over all processes, without a gradient.

    Parameters
    ----------
    values : torch.Tensor
        Tensor of the same shape and dtype in every process.

    Returns
    -------
    torch.Tensor of the same shape and dtype
        The sum, which is the same in every process; the argument stays as it is.
    """
    if count() == 1:
        return values
    summed = values.detach().clone()
    torch.distributed.all_reduce(summed)
    return summed


def greatest(*numbers: int) -> list[int]:
    """Find the greatest of each number over all processes.

    Parameters
    ----------
    *numbers : int
        As many in every process.

    Returns
    -------
    list of int
        The same list in every process.
    """
    if count() == 1:
        return list(numbers)
    held = torch.tensor(numbers, dtype=torch.int64, device=_device())
    torch.distributed.all_reduce(held, torch.distributed.ReduceOp.MAX)
    return [int(number) for number in held]


def from_first(numbers: Sequence[int]) -> list[int]:
    """Take whole numbers from the process of rank 0.

    Parameters
    ----------
    numbers : sequence of int
        As many in every process.

    Returns
    -------
    list of int
        Those of rank 0.
    """
    if count() == 1:
        return list(numbers)
    held = torch.tensor(list(numbers), dtype=torch.int64, device=_device())
    torch.distributed.broadcast(held, 0)
    return [int(number) for number in held]


def gathered(value: Any) -> list[Any]:
    """Collect a value from every process, and wait for those that are still busy.

    Parameters
    ----------
    value : object
        Any object that can be pickled.

    Returns
    -------
    list
        The values in the order of the ranks.

    Raises
    ------
    LostProcessError
        When a process has ended, or has given no sign of life for 15 seconds.
    """
    if count() == 1:
        return [value]
    heart, key = group.heart, group.next_key()
    heart.store.set(f"{key}/{rank()}", b"here")
    for other in range(count()):
        _wait_for(f"{key}/{other}", heart, other)
    values: list[Any] = [None] * count()
    torch.distributed.all_gather_object(values, value)
    return values


def on_first(function: Callable[[], T]) -> T:
    """Call a function in the process of rank 0 alone; the others wait for what it returns.

    Inside the function :func:`count` is 1, so that nothing there waits for the other processes.

    Parameters
    ----------
    function : callable
        Function without arguments. What it returns is pickled.

    Returns
    -------
    object
        What the function returned, in every process.

    Raises
    ------
    LostProcessError
        In the other processes, when the function raised an error; and as in :func:`gathered`.
    """
    if count() == 1:
        return function()
    heart, key = group.heart, group.next_key()
    if is_first():
        ended = b"failed"
        try:
            with group.by_itself():
                result = function()
            ended = b"done"
        finally:
            heart.store.set(key, ended)
    else:
        _wait_for(key, heart, 0)
        if heart.store.get(key) != b"done":
            raise LostProcessError("rank 0 ended with an error")
    sent: list[Any] = [result if is_first() else None]
    torch.distributed.broadcast_object_list(sent, 0, device=_device())
    received: T = sent[0]
    return received


def at_first(function: Callable[[], object]) -> None:
    """Call a function in the process of rank 0 alone, for what it does; the others wait until it is done.

    Parameters
    ----------
    function : callable
        Function without arguments, as for :func:`on_first`.

    Raises
    ------
    LostProcessError
        As in :func:`on_first`.
    """

    def do() -> None:
        function()

    on_first(do)


def end_key(rank: int) -> str:
    """Name the key under which a process writes how it ends, if it ends before its work is done.

    Parameters
    ----------
    rank : int
        Rank of the process.

    Returns
    -------
    str
        Key in the store of the processes.
    """
    return f"hourglass/end/{rank}"


def _wait_for(key: str, heart: Heartbeat, who: int) -> None:
    """Wait until a key is in the store, as long as the process that will put it there gives signs of life."""
    pause = _FIRST_LOOK
    try:
        while not within(group.patience, lambda: heart.store.check([key])):
            if within(group.patience, lambda: heart.store.check([end_key(who)])):
                raise LostProcessError(f"rank {who} has ended")
            # One that has just been started may not have begun to give signs of life.
            limit = SILENCE if within(group.patience, lambda: heart.latest(who)) else group.patience
            if within(group.patience, lambda: heart.silence(who)) > limit:
                raise LostProcessError(f"rank {who} has given no sign of life for {limit:.0f} s")
            time.sleep(pause)
            pause = min(2 * pause, _LAST_LOOK)
    except TimeoutError as error:
        raise LostProcessError(f"the store by which the processes found each other is gone: {error}") from error


def _device() -> torch.device:
    """Where small tensors are exchanged: on the CPU if the group can do so, which does not wait for the GPU."""
    backends = str(torch.distributed.get_backend_config())
    return torch.device("cpu") if "cpu:" in backends else torch.device("cuda", torch.cuda.current_device())
