"""Processes that a launcher such as ``torchrun`` started find each other, and tell which of them was lost."""

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from types import FrameType

import torch
from torch.distributed.rendezvous import rendezvous

from hourglass.runtime.heartbeat import Heartbeat, within
from hourglass.runtime.launched import Launched
from hourglass.runtime.ranks import LostProcessError, gathered, group

# Seconds in which the processes that are left tell each other what has happened, and share of the timeout kept for it.
_LAST_WORDS, _SHARE_FOR_LAST_WORDS = 5.0, 0.2
# Seconds without a sign of life after which a process that has not said how it ended counts as lost.
_SILENCE = 3.0
# Seconds that a question to the store may take when a process may have been lost.
_ANSWER = 3.0
# Seconds between two looks at how the others have ended.
_LOOK = 0.05
# What a communication that failed has in its message, whose type is RuntimeError alone.
_OF_COMMUNICATION = ("gloo", "nccl", "connection", "socket", "store", "timed out")
# How a process ended.
_OWN, _LOST, _STOPPED = b"own error", b"lost another", b"stopped"


class FollowerError(LostProcessError):
    """The end of a process after something that another process reports.

    Parameters
    ----------
    message : str
        Which process reports it.
    exit_code : int, default=1
        What this process ends with.

    Attributes
    ----------
    silent : bool
        True: nothing is said of it.
    """

    silent = True

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


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
        Seconds after which a process that does not answer counts as lost, at least 5.
    use_gpu : bool, default=True
        Whether the process of local rank i computes on GPU i, where PyTorch finds GPUs.

    Yields
    ------
    None
        ``torch.distributed`` is initialised, with gloo for tensors on the CPU and NCCL for those on GPUs.

    Raises
    ------
    ValueError
        When a host has fewer GPUs than processes.
    LostProcessError
        When a process does not join, or is lost; the message names its rank, host and process number.
    """
    if place.processes == 1:
        yield
        return
    on_gpus = use_gpu and torch.cuda.is_available()
    if on_gpus:
        if (gpus := torch.cuda.device_count()) < place.local_processes:
            raise ValueError(
                f"{place.local_processes} processes were started on a host with {gpus} GPUs; each process needs "
                "one of its own, so start fewer, or choose the CPU (--device cpu)"
            )
        torch.cuda.set_device(place.local_rank)
    waiting = timedelta(seconds=timeout * (1 - _SHARE_FOR_LAST_WORDS))
    try:
        store, rank, processes = next(rendezvous("env://", timeout=waiting))
        # After a restart the store may still have the addresses of the processes before.
        own = f"restart-{place.restarts}"
        store = torch.distributed.PrefixStore(own, store)  # type: ignore[attr-defined]  # torch's stubs lack it
        backends = "cpu:gloo,cuda:nccl" if on_gpus else "gloo"
        torch.distributed.init_process_group(backends, store=store, rank=rank, world_size=processes, timeout=waiting)
    except RuntimeError as error:
        address = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
        raise LostProcessError(
            f"rank {place.rank} of {place.processes} waited {waiting.total_seconds():.0f} s for the others at "
            f"{address} ({_first_line(error)}); look whether all were started and reach this address"
        ) from error
    group.patience = waiting.total_seconds()
    members = gathered((socket.gethostname(), os.getpid()))
    heart = group.heart
    ending = _Ending(place, members, heart)
    try:
        with _terminating() as ignore_more:
            try:
                yield
            except BaseException as error:
                ignore_more()
                ending.after(error)
                raise
    except _Terminated:
        signal.raise_signal(signal.SIGTERM)
    finally:
        heart.stop()
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


class _Ending:
    """How a group of processes ends of which one has failed.

    Parameters
    ----------
    place : Launched
        Place of this process.
    members : list of tuple of (str, int)
        Host and process number of each rank.
    heart : Heartbeat
        Signs of life of the processes.
    """

    def __init__(self, place: Launched, members: list[tuple[str, int]], heart: Heartbeat) -> None:
        self.place, self.members, self.heart = place, members, heart

    def after(self, error: BaseException) -> None:
        """Return where this process has to report the error itself; otherwise raise what it ends with."""
        how = _STOPPED if isinstance(error, KeyboardInterrupt | _Terminated) else _LOST if _is_lost(error) else _OWN
        me = self.place.rank
        try:
            ends, lost = within(_LAST_WORDS + _ANSWER, lambda: self._others(how))
        except (RuntimeError, TimeoutError):  # the host of the store, that of rank 0, does not answer
            if how == _OWN:
                return
            if self.place.local_rank > 0:
                raise FollowerError("rank 0 does not answer") from error
            raise LostProcessError(self._said([0])) from error
        speaker = self._speaker(how, ends, lost)
        if speaker == me and how != _OWN and lost:
            raise LostProcessError(self._said(lost)) from error
        if speaker != me and not isinstance(error, _Terminated):
            stopped = isinstance(error, KeyboardInterrupt)
            code = 128 + getattr(error, "signal", signal.SIGINT) if stopped else 1
            raise FollowerError(f"rank {speaker} reports what has happened", code) from error

    def _others(self, how: bytes) -> tuple[dict[int, bytes], list[int]]:
        """Say how this process ends; tell how others ended that say so, and which ranks give no sign of life.

        This waits only as long as it is open which process has to report the error.
        """
        store, heart, me = self.heart.store, self.heart, self.place.rank
        store.set(self._key(me), how)
        rest = [rank for rank in range(self.place.processes) if rank != me]
        first_looks = {rank: heart.latest(rank) for rank in rest}
        ends: dict[int, bytes] = {}
        lost: list[int] = []
        begun = time.monotonic()
        while len(ends) + len(lost) < len(rest) and (elapsed := time.monotonic() - begun) < _LAST_WORDS:
            ends |= {rank: store.get(self._key(rank)) for rank in rest if store.check([self._key(rank)])}
            moving = {rank for rank in rest if heart.latest(rank) != first_looks[rank]}
            lost = [rank for rank in rest if rank not in ends and rank not in moving and elapsed > _SILENCE]
            # One of a lower rank that still lives will report, when this one has closed its connections by ending.
            if how == _OWN or _OWN in ends.values() or any(rank < me for rank in (*ends, *moving)):
                break
            time.sleep(_LOOK)
        return ends, lost

    def _speaker(self, how: bytes, ends: Mapping[int, bytes], lost: Sequence[int]) -> int:
        """Rank of the process that reports: the first that failed by itself, otherwise the first that is left."""
        left = [rank for rank in range(self.place.processes) if rank not in lost]
        failed = [rank for rank in left if (how if rank == self.place.rank else ends.get(rank)) == _OWN]
        return min(failed or left)

    def _said(self, lost: list[int]) -> str:
        names = [f"rank {rank} (process {pid} on {host})" for rank, (host, pid) in enumerate(self.members)]
        which = " and ".join(names[rank] for rank in lost)
        return f"{which} is gone: it died, or its host cannot be reached"

    def _key(self, rank: int) -> str:
        return f"hourglass/end/{rank}"


def _is_lost(error: BaseException) -> bool:
    """Whether an error means that another process does not answer."""
    if isinstance(error, LostProcessError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(word in text for word in _OF_COMMUNICATION)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


@contextmanager
def _terminating() -> Iterator[Callable[[], None]]:
    """Turn SIGTERM into an exception until the function that the context returns is called; then it is ignored.

    A launcher sends SIGTERM to the processes that are left when one has died, and these have something to say first.
    """

    def terminate(number: int, frame: FrameType | None) -> None:
        raise _Terminated

    def ignore() -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)

    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield ignore
    finally:
        signal.signal(signal.SIGTERM, before)
