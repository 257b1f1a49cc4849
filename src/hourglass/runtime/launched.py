"""What a launcher such as ``torchrun`` tells the processes that it starts, in their environment."""

import os
from dataclasses import dataclass

# What torchrun sets for every process, and other launchers that PyTorch knows.
_VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True)
class Launched:
    """Place of a process among those that a launcher started together.

    Parameters
    ----------
    rank : int
        Number of this process, from 0.
    processes : int
        Number of processes on all hosts, from 1.
    local_rank : int
        Number of this process on its host, from 0.
    local_processes : int
        Number of processes on this host, from 1.
    restarts : int
        How often the launcher has started the processes again, from 0.
    """

    rank: int
    processes: int
    local_rank: int
    local_processes: int
    restarts: int

    def again(self, command: str) -> str:
        """Say how the processes are started again.

        Parameters
        ----------
        command : str
            Command of one process, such as ``hourglass run dense --out runs``.

        Returns
        -------
        str
            The command to type, or, with several hosts, what to start on each of them.
        """
        if self.processes > self.local_processes:
            return f"start torchrun on every host as before, with -m {command}"
        return f"torchrun --nproc-per-node={self.local_processes} -m {command}"


def launched() -> Launched | None:
    """Tell whether a launcher such as ``torchrun`` has started this process, and which one it is.

    Returns
    -------
    Launched or None
        Place among the processes; None for a process that was started alone.

    Raises
    ------
    ValueError
        When a variable of the launcher is not a whole number.
    """
    if not all(name in os.environ for name in _VARIABLES):
        return None
    rank, processes = _number("RANK", 0), _number("WORLD_SIZE", 1)
    return Launched(
        rank,
        processes,
        _number("LOCAL_RANK", rank),
        _number("LOCAL_WORLD_SIZE", processes),
        _number("TORCHELASTIC_RESTART_COUNT", 0),
    )


def _number(name: str, default: int) -> int:
    text = os.environ.get(name, str(default))
    if not text.isdecimal():
        raise ValueError(f"the environment variable {name} is {text!r}, no whole number; it is set by torchrun")
    return int(text)
