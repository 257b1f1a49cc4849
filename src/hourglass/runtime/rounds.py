"""Agreement of newly started processes on a name for their round, which no earlier round has had.

A launcher that starts processes again may keep the store by which they find each other, with the addresses of processes
that have died. The number of restarts does not tell the rounds apart: on several hosts, each host counts its own.
"""

import time
import uuid
from typing import Any

# Seconds between two looks into the store.
_LOOK = 0.02


def agree_on_round(store: Any, rank: int, processes: int, seconds: float) -> str:
    """Agree on a name with all processes that are being started now.

    Each process of a rank above 0 writes a name of its own into the store, and that of rank 0 answers under this name.
    Only a process that lives can take the answer, and says so.

    Parameters
    ----------
    store : torch.distributed.Store
        Key-value store that all processes reach.
    rank : int
        Rank of this process.
    processes : int
        Number of processes, at least 2.
    seconds : float
        Seconds to wait for the others.

    Returns
    -------
    str
        Name of the round, the same in every process.

    Raises
    ------
    TimeoutError
        When another process has not come in time; the message names the ranks that are missing.
    RuntimeError
        When the store cannot be reached.
    """
    own, latest = uuid.uuid4().hex, time.monotonic() + seconds
    if rank:
        while not store.check([f"hourglass/answer/{own}"]):
            store.set(f"hourglass/hello/{rank}", own)
            _pause(latest, "rank 0 did not come")
        name = str(store.get(f"hourglass/answer/{own}").decode())
        store.set(f"hourglass/here/{name}/{rank}", "yes")
        return name
    missing = set(range(1, processes))
    while missing:
        for other in missing:
            if store.check([f"hourglass/hello/{other}"]):
                store.set(f"hourglass/answer/{store.get(f'hourglass/hello/{other}').decode()}", own)
        missing = {other for other in missing if not store.check([f"hourglass/here/{own}/{other}"])}
        if missing:
            _pause(latest, f"rank {', '.join(map(str, sorted(missing)))} did not come")
    return own


def _pause(latest: float, otherwise: str) -> None:
    if time.monotonic() > latest:
        raise TimeoutError(otherwise)
    time.sleep(_LOOK)
