"""How a group of processes ends when one of them has failed: who was lost, and which process says so."""

import signal
import socket
import time
from collections.abc import Mapping, Sequence

import torch

from hourglass.runtime.heartbeat import Heartbeat, within
from hourglass.runtime.launched import Launched
from hourglass.runtime.ranks import LostProcessError, end_key

# Seconds in which the processes that are left tell each other what has happened.
_LAST_WORDS = 5.0
# Seconds without a sign of life after which a process that has not said how it ended counts as lost.
_SILENCE = 3.0
# Seconds for which a process that failed itself looks whether one of lower rank failed too.
_SAME_ERROR = 1.0
# Seconds that the store may take to answer when a process may have been lost.
_ANSWER = 3.0
# Seconds between two looks at how the others have ended.
_LOOK = 0.05
# What gloo's and NCCL's errors have in their message, whose type may be RuntimeError alone.
_OF_COMMUNICATION = ("gloo/", "nccl")
# How a process ended.
_OWN, _LOST, _STOPPED = b"own error", b"lost another", b"stopped"


class FollowerError(LostProcessError):
    """The end of a process after something that another process reports.

    Parameters
    ----------
    message : str
        Which process reports it.
    exit_code : int, default=1
        Exit code of this process.

    Attributes
    ----------
    silent : bool
        True: nothing is said of it.
    """

    silent = True

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Ending:
    """How a group of processes ends when one of them has failed.

    Parameters
    ----------
    place : Launched
        Place of this process.
    heart : Heartbeat
        Signs of life of the processes.

    Attributes
    ----------
    members : list of tuple of (str, int)
        Host and process number of each rank; empty until it is known.
    """

    def __init__(self, place: Launched, heart: Heartbeat) -> None:
        self.place, self.heart = place, heart
        self.members: list[tuple[str, int]] = []

    def after(self, error: BaseException) -> None:
        """Raise what this process ends with, unless it has to report the error itself.

        Parameters
        ----------
        error : BaseException
            Error that ended the work of this process.

        Raises
        ------
        LostProcessError
            When this process has to report that another one was lost.
        FollowerError
            When another process reports what has happened.
        """
        how = _LOST if is_lost(error) else _OWN if isinstance(error, Exception) else _STOPPED
        me = self.place.rank
        try:
            ends, lost = within(_LAST_WORDS + _ANSWER, lambda: self._others(how))
        except (RuntimeError, TimeoutError):  # the host of the store, that of rank 0, does not answer
            if how == _OWN:
                return
            if not self._is_lowest_left():
                raise FollowerError("rank 0 does not answer") from error
            raise LostProcessError(self._said([0])) from error
        speaker = self._speaker(how, ends, lost)
        if speaker != me:
            by = getattr(error, "signal", signal.SIGINT if isinstance(error, KeyboardInterrupt) else signal.SIGTERM)
            code = 128 + by if how == _STOPPED else 1
            raise FollowerError(f"rank {speaker} reports what has happened", code) from error
        if lost and how != _OWN:
            raise LostProcessError(self._said(lost)) from error
        if how == _LOST and not isinstance(error, LostProcessError):
            why = next(iter(str(error).splitlines()), type(error).__name__)
            raise LostProcessError(
                f"a connection between the processes broke or timed out, though all of them live ({why}); if one of "
                "them works for long, enlarge the timeout (--timeout)"
            ) from error

    def _others(self, how: bytes) -> tuple[dict[int, bytes], list[int]]:
        """Say how this process ends; return how the others say that they ended, and the ranks without a sign of life.

        This waits only as long as it is open which process has to report the error.
        """
        store, heart, me = self.heart.store, self.heart, self.place.rank
        store.set(end_key(me), how)
        rest = [rank for rank in range(self.place.processes) if rank != me]
        first_looks = {rank: heart.latest(rank) for rank in rest}
        ends: dict[int, bytes] = {}
        lost: list[int] = []
        begun = time.monotonic()
        while len(ends) + len(lost) < len(rest) and (elapsed := time.monotonic() - begun) < _LAST_WORDS:
            ends |= {rank: store.get(end_key(rank)) for rank in rest if store.check([end_key(rank)])}
            moving = {rank for rank in rest if heart.latest(rank) != first_looks[rank]}
            lost = [rank for rank in rest if rank not in ends and rank not in moving and elapsed > _SILENCE]
            if how == _OWN:
                decided = me == 0 or elapsed > _SAME_ERROR or any(ends.get(rank) == _OWN for rank in range(me))
            else:
                # One of a lower rank that still lives will report, when this one has closed its connections by ending.
                decided = _OWN in ends.values() or any(rank < me for rank in (*ends, *moving))
            if decided:
                break
            time.sleep(_LOOK)
        return ends, lost

    def _speaker(self, how: bytes, ends: Mapping[int, bytes], lost: Sequence[int]) -> int:
        """Rank of the process that reports: the first that failed by itself, otherwise the first that is left."""
        left = [rank for rank in range(self.place.processes) if rank not in lost]
        failed = [rank for rank in left if (how if rank == self.place.rank else ends.get(rank)) == _OWN]
        return min(failed or left)

    def _is_lowest_left(self) -> bool:
        """Whether this process has to report that rank 0 does not answer: on each host, one does."""
        host_of_rank_0 = self.members[0][0] if self.members else ""
        return self.place.local_rank == (1 if host_of_rank_0 == socket.gethostname() else 0)

    def _said(self, lost: list[int]) -> str:
        names = {rank: f"rank {rank} (process {pid} on {host})" for rank, (host, pid) in enumerate(self.members)}
        which = " and ".join(names.get(rank, f"rank {rank}") for rank in lost)
        return f"{which} is gone: it died, or its host cannot be reached"


def is_lost(error: BaseException) -> bool:
    """Tell whether an error means that another process does not answer.

    Parameters
    ----------
    error : BaseException
        Error that was raised.

    Returns
    -------
    bool
        True for a :class:`LostProcessError`, and for the errors of ``torch.distributed``.
    """
    if isinstance(error, LostProcessError | torch.distributed.DistError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(word in text for word in _OF_COMMUNICATION)
