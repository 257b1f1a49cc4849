"""Tasks on several processes: of this machine, of a Dask cluster or of a Ray cluster, all through joblib."""

import queue
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from hourglass.runtime.engines import CLUSTERS, Engine, Raised, call, local_processes

Shared = TypeVar("Shared")
Task = TypeVar("Task")
Value = TypeVar("Value")


class WorkerLostError(RuntimeError):
    """A worker process ended before its task was done, and the engine does not give the task to another worker."""


@dataclass(frozen=True)
class Workers:
    """Where tasks run.

    Parameters
    ----------
    jobs : int, default=1
        Number of processes on this machine. 1 is this process itself.
    cluster : str, optional
        Address of a cluster, all of whose workers are used: ``tcp://HOST:PORT`` of a Dask scheduler, which needs the
        extra ``dask``, or ``ray://HOST:PORT`` of a Ray head node, which needs the extra ``ray``. None, the default,
        is this machine.

    Raises
    ------
    ValueError
        When ``jobs`` is less than 1 or given together with ``cluster``, or when the address is of another kind.
    """

    jobs: int = 1
    cluster: str | None = None

    def __post_init__(self) -> None:
        if self.jobs < 1:
            raise ValueError(f"jobs={self.jobs}; expected a whole number above 0")
        if self.cluster is None:
            return
        if self.jobs != 1:
            raise ValueError("jobs is for this machine, and cluster for another place; give one of them")
        try:
            parts = urlsplit(self.cluster)
            complete = parts.scheme in CLUSTERS and parts.hostname and parts.port
        except ValueError:  # the port is no number
            complete = False
        if not complete:
            raise ValueError(
                f"cluster={self.cluster!r} is no address of a cluster; give tcp://HOST:PORT of a Dask scheduler, or "
                "ray://HOST:PORT of a Ray head node"
            )

    @property
    def folder(self) -> Path | None:
        """Folder of relative paths, for workers of a cluster, whose working folder is another; None on this machine."""
        return None if self.cluster is None else Path.cwd()


# This process.
HERE = Workers()


def on_workers(
    function: Callable[[Shared, Task], Value],
    tasks: Sequence[Task],
    workers: Workers,
    shared: Shared,
    *,
    finish: bool = True,
) -> Generator[tuple[int, Value], None, None]:
    """Apply a function to each task, on the processes that ``workers`` names.

    Each worker computes on its share of the cores of its machine: a process of this machine on the number of cores
    divided by ``jobs``, if ``OMP_NUM_THREADS`` is not set; a worker of a cluster as the cluster was started, which by
    default is on one thread for each task.

    If the iterator is closed before its end, or an error is raised in it, no other task is begun, and those that are in
    work are finished first, so that they leave nothing unfinished behind. Ray also does the tasks that it was given
    already, at most two for each processor. A KeyboardInterrupt during this wait ends it, and kills the processes of
    this machine.

    Parameters
    ----------
    function : callable
        Function that takes ``shared`` and a task. Other processes import it by its name.
    tasks : sequence
        Tasks, which pickle can send to other processes, as it does with their results.
    workers : Workers
        Where the tasks run. One process, or one task, is done in this process, in order, without joblib.
    shared : object
        What all tasks need, such as a model. It is sent once to each worker.
    finish : bool, default=True
        Whether tasks in work are finished when no other is begun. If not, processes of this machine are killed; workers
        of a cluster may still be at work when the iterator has ended.

    Yields
    ------
    tuple of (int, object)
        Number of a task in the sequence, and what the function returned for it, in the order of completion. On Dask,
        the tasks of a worker that ends are done by another worker; such a task may be done twice, but its result is
        returned once.

    Raises
    ------
    Exception
        An error that ``function`` raised; if pickle cannot copy it, an OSError or a RuntimeError with its message.
    WorkerLostError
        When a process of this machine or a worker of Ray ended before its task was done, or when as many workers of
        Dask ended in the same task as the scheduler allows (``distributed.scheduler.allowed-failures``, 3 by default).
    ConnectionError
        When the cluster does not answer within 10 seconds, when a Dask cluster has no workers for 2 minutes, or when
        this process is connected to Ray already.
    ImportError
        When the extra ``dask`` or ``ray`` is not installed, or when a package is missing on a worker.
    """
    if workers.cluster is None and min(workers.jobs, len(tasks)) < 2:
        for number, task in enumerate(tasks):
            yield number, function(shared, task)
        return
    if not tasks:
        return
    started: AbstractContextManager[Engine]
    if workers.cluster is None:
        started = local_processes(min(workers.jobs, len(tasks)), shared)
    else:
        started = CLUSTERS[urlsplit(workers.cluster).scheme](workers.cluster, shared)
    with started as engine, closing(_results(engine, function, tasks, finish)) as results:
        yield from results


@dataclass(frozen=True)
class _Ended:
    """The end of all tasks, and the error of the engine that ended them, if one did."""

    error: BaseException | None = None


def in_order(results: Generator[tuple[int, Value], None, None]) -> Generator[Value, None, None]:
    """Bring results into the order of their tasks.

    Parameters
    ----------
    results : generator of tuple of (int, object)
        What :func:`on_workers` returns. It is closed at the end.

    Yields
    ------
    object
        The result of the next task, as soon as it and those before it are there.
    """
    waiting: dict[int, Value] = {}
    number = 0
    with closing(results):
        for done, value in results:
            waiting[done] = value
            while number in waiting:
                yield waiting.pop(number)
                number += 1


def _results(
    engine: Engine, function: Callable[[Shared, Task], Value], tasks: Sequence[Task], finish: bool
) -> Generator[tuple[int, Value], None, None]:
    """Results in the order of completion.

    Joblib works on a thread of its own, where no KeyboardInterrupt arrives: it would kill the workers in the middle of
    their tasks.
    """
    from joblib import delayed

    stopped = threading.Event()
    results: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def calls() -> Iterator[Any]:
        for number, task in enumerate(tasks):
            if stopped.is_set():
                return
            yield delayed(call)(engine.held, function, (number, task))  # Dask stores what is no tuple on one worker

    def work() -> None:
        try:
            for result in engine.parallel(calls()):
                results.put(result)
        except BaseException as error:
            results.put(_Ended(error))
        else:
            results.put(_Ended())

    thread = threading.Thread(target=work, name="hourglass-joblib", daemon=True)
    thread.start()
    try:
        while not isinstance(result := results.get(), _Ended):
            number, value = result
            if isinstance(value, Raised):
                raise value.error
            yield number, value
        if isinstance(result.error, engine.lost) and _named(engine, result.error) is result.error:
            raise WorkerLostError(
                f"a worker ended before its task was done ({type(result.error).__name__}); it may have been killed, "
                "for example for want of memory"
            ) from result.error
        if result.error is not None:
            raise _named(engine, result.error)
    finally:
        stopped.set()
        try:
            engine.stop()
            if finish:
                thread.join()
        except BaseException:  # a second Ctrl-C, which does not wait
            finish = False
            raise
        finally:
            if not finish:
                engine.kill()


def _named(engine: Engine, error: BaseException) -> BaseException:
    """An error of the engine; where a package is missing, one that names the workers and what to do."""
    causes = (
        error,
        getattr(error, "cause", None),
        error.__cause__,
    )  # of Ray's error of a task, and of Dask's scheduler
    missing = next((each for each in causes if isinstance(each, ModuleNotFoundError) and each.name), None)
    if missing is None:
        return error
    package = str(missing.name).partition(".")[0]
    lacking = ", ".join(engine.without(package)) or "a worker or the scheduler"
    return ImportError(
        f"{lacking}: the package {package} is missing there ({missing}); the scheduler and every worker need "
        "hourglass-lab in the version of this machine, with the same extras"
    )
