"""Processes that a launcher such as ``torchrun`` started find each other, and tell which of them was lost."""

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import FrameType

import torch
from torch.distributed.rendezvous import rendezvous

from hourglass.runtime.ending import Ending, FollowerError
from hourglass.runtime.heartbeat import within
from hourglass.runtime.launched import Launched
from hourglass.runtime.ranks import LostProcessError, gathered, group
from hourglass.runtime.rounds import agree_on_round

# Seconds of the timeout that are kept for what the processes that are left have to tell each other.
_FOR_LAST_WORDS = 10.0
# Shortest timeout, and the shortest time to wait for processes that are being started.
SHORTEST, _JOINING = 20.0, 120.0


class _Terminated(BaseException):
    """SIGTERM has come."""


@contextmanager
def joined(place: Launched, *, timeout: float = 60.0, use_gpu: bool = True) -> Iterator[None]:
    """Join the processes that a launcher has started, until the block ends.

    When one of them is lost or fails, the block ends in all others too. One process then raises the error that says
    what has happened: the one that failed itself, otherwise the one of lowest rank that is left. The others raise
    :class:`FollowerError`.

    Parameters
    ----------
    place : Launched
        Place of this process.
    timeout : float, default=60.0
        Seconds after which a process that does not answer counts as lost, at least 20.
    use_gpu : bool, default=True
        Whether the process of local rank i computes on GPU i, where PyTorch finds GPUs.

    Yields
    ------
    None
        ``torch.distributed`` is initialised, with gloo for tensors on the CPU and NCCL for those on GPUs.

    Raises
    ------
    ValueError
        When the timeout is too short, or there is no GPU for this process.
    LostProcessError
        When a process does not join, or is lost; the message names its rank, host and process number.
    """
    if place.processes == 1:
        yield
        return
    if timeout < SHORTEST:
        raise ValueError(f"timeout={timeout}; expected at least {SHORTEST:.0f} seconds")
    waiting = timedelta(seconds=timeout - _FOR_LAST_WORDS)
    _join(place, waiting, on_gpus=use_gpu and torch.cuda.is_available())
    group.patience = waiting.total_seconds()
    heart = group.heart
    ending = Ending(place, heart)
    try:
        with _terminating() as ignore_more:
            try:
                ending.members = gathered((socket.gethostname(), os.getpid()))
                yield
            except BaseException as error:
                ignore_more()
                ending.after(error)
                raise
        torch.distributed.destroy_process_group()
    except _Terminated as error:
        raise SystemExit(128 + signal.SIGTERM) from error
    finally:
        heart.stop()


def _join(place: Launched, waiting: timedelta, *, on_gpus: bool) -> None:
    """Initialise ``torch.distributed`` with the other processes."""
    if on_gpus:
        if (gpus := torch.cuda.device_count()) <= place.local_rank:
            raise ValueError(
                f"process {place.local_rank + 1} was started on a host with {gpus} GPUs; each process needs one of its "
                "own, so start fewer, or choose the CPU (--device cpu)"
            )
        torch.cuda.set_device(place.local_rank)
    joining = max(_JOINING, waiting.total_seconds())
    try:
        store, rank, processes = next(rendezvous("env://", timeout=timedelta(seconds=joining)))
        name = within(joining + _FOR_LAST_WORDS, lambda: agree_on_round(store, rank, processes, joining))
        store = torch.distributed.PrefixStore(name, store)  # type: ignore[attr-defined]  # torch's stubs lack it
        backends = "cpu:gloo,cuda:nccl" if on_gpus else "gloo"
        torch.distributed.init_process_group(backends, store=store, rank=rank, world_size=processes, timeout=waiting)
    except (RuntimeError, TimeoutError) as error:
        address = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
        why = next(iter(str(error).splitlines()), type(error).__name__)
        message = (
            f"the {place.processes} processes did not find each other at {address} ({why}); look whether all were "
            "started and reach this address"
        )
        raise (FollowerError(message) if place.local_rank else LostProcessError(message)) from error


@contextmanager
def _terminating() -> Iterator[Callable[[], None]]:
    """Turn SIGTERM into an exception until the function that the context returns is called; then it is ignored.

    A launcher sends SIGTERM to the processes that are left when one has died, and these have something to say first.
    """

    def terminate(number: int, frame: FrameType | None) -> None:
        raise _Terminated

    def ignore() -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)

    ignored = signal.getsignal(signal.SIGTERM) == signal.SIG_IGN  # ignored signals stay ignored
    if ignored or threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield ignore
    finally:
        signal.signal(signal.SIGTERM, before)
