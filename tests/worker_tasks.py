"""Tasks that worker processes import by name."""

import os
import signal
import time
from pathlib import Path


def squared(shared, task):
    return shared["factor"] * task**2, os.getpid()


def reported(shared, task):
    """Files that say when a task began and ended; the folder is shared."""
    Path(shared, f"{task}.begun").touch()
    time.sleep(0.2)
    Path(shared, f"{task}.done").touch()
    return task


def refusing(shared, task):
    if task == 3:
        raise KeyError(f"task {task}")
    return reported(shared, task)


def dying(shared, task):
    """The worker of the task 3 is killed, but the second one is not."""
    if task == 3 and not Path(shared, "died").exists():
        Path(shared, "died").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return reported(shared, task)


def fatal(shared, task):
    os.kill(os.getpid(), signal.SIGKILL)


class Counted:
    """Counts, in files, how often it was unpickled."""

    def __init__(self, folder):
        self.folder = folder

    def __setstate__(self, state):
        self.__dict__.update(state)
        Path(self.folder, f"unpickled-{os.getpid()}-{time.monotonic_ns()}").touch()


def using(shared, task):
    time.sleep(0.02)
    return task**2, os.getpid()


def patient(shared, task):
    """The task that begins first, whichever it is, is done at once; the others wait for a file."""
    Path(shared, f"{task}.begun").touch()
    try:
        Path(shared, "first").touch(exist_ok=False)
    except FileExistsError:
        end = time.monotonic() + 60
        while not Path(shared, "go").exists() and time.monotonic() < end:
            time.sleep(0.01)
    Path(shared, f"{task}.done").touch()
    return task


class OddError(Exception):
    """Takes two arguments, of which pickle knows one."""

    def __init__(self, one, two):
        super().__init__(f"{one} {two}")


class OddFileError(OSError):
    def __init__(self, *, text):
        super().__init__(text)


def odd(shared, task):
    raise OddFileError(text="c d") if task else OddError("a", "b")


def drawn(cell, data):
    """Numbers of PyTorch's own generator, between which other threads have time to draw."""
    import torch

    torch.manual_seed(cell["seed"])
    numbers = []
    for _ in range(4):
        numbers.append(float(torch.rand(())))
        time.sleep(0.02)
    return {"numbers": numbers, "threads": torch.get_num_threads()}


def allow_no_failure(dask_scheduler):
    dask_scheduler.allowed_failures = 0


def waiting_tasks(dask_scheduler):
    return len(dask_scheduler.tasks)
