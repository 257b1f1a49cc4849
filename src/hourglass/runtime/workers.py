"""Tasks on several processes: of this machine, of a Dask cluster or of a Ray cluster, all through joblib."""

import functools
import logging
import queue
import signal
import socket
import tempfile
import threading
import traceback
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

Shared = TypeVar("Shared")
Task = TypeVar("Task")
Value = TypeVar("Value")

# Seconds in which a cluster has to accept a connection, to begin a session, and to have a worker.
_PATIENCE = 10


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
            complete = parts.scheme in _CLUSTERS and parts.hostname and parts.port
        except ValueError:  # the port is no number
            complete = False
        if not complete:
            raise ValueError(
                f"cluster={self.cluster!r} is no address of a cluster; give tcp://HOST:PORT of a Dask scheduler, or "
                "ray://HOST:PORT of a Ray head node"
            )


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
    work are finished first, so that they leave nothing unfinished behind. A KeyboardInterrupt during this wait ends it.

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
        An error that ``function`` raised.
    WorkerLostError
        When a process of this machine or a worker of Ray ended before its task was done, or when as many workers of
        Dask ended in the same task as the scheduler allows (``distributed.scheduler.allowed-failures``, 3 by default).
    ConnectionError
        When the cluster does not answer within 10 seconds or has no workers.
    ImportError
        When the extra ``dask`` or ``ray`` is not installed.
    """
    if workers.cluster is None and min(workers.jobs, len(tasks)) < 2:
        for number, task in enumerate(tasks):
            yield number, function(shared, task)
        return
    scheme = None if workers.cluster is None else urlsplit(workers.cluster).scheme
    start = _local_processes if scheme is None else _CLUSTERS[scheme]
    workers = replace(workers, jobs=min(workers.jobs, len(tasks)))
    with start(workers, shared) as engine, closing(_results(engine, function, tasks, finish)) as results:
        yield from results


@dataclass(frozen=True)
class _Engine:
    """A backend of joblib that is ready for tasks.

    ``held`` is given to each task in place of ``shared``: a :class:`_Held`, which the worker knows, or the object
    itself, which the backend replaces. ``lost`` are the errors by which the backend reports a worker that ended.
    ``stop`` keeps tasks that are given out already from being begun, and ``kill`` ends the workers, where there is a
    way.
    """

    parallel: Any
    held: Any
    lost: tuple[type[BaseException], ...]
    stop: Callable[[], None] = lambda: None
    kill: Callable[[], None] = lambda: None


@dataclass(frozen=True)
class _Raised:
    """An error that the function raised; as a result, it does not make joblib kill workers in the middle of a task."""

    error: Exception


@dataclass(frozen=True)
class _Ended:
    """The end of all tasks, and the error of the engine that ended them, if one did."""

    error: BaseException | None = None


def _results(
    engine: _Engine, function: Callable[[Shared, Task], Value], tasks: Sequence[Task], finish: bool
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
            yield delayed(_call)(engine.held, function, (number, task))  # Dask stores what is no tuple on one worker

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
            if isinstance(value, _Raised):
                raise value.error
            yield number, value
        if isinstance(result.error, engine.lost):
            raise WorkerLostError(
                f"a worker ended before its task was done ({type(result.error).__name__}); it may have been killed, "
                "for example for want of memory"
            ) from result.error
        if result.error is not None:
            raise result.error
    finally:
        stopped.set()
        if finish:
            engine.stop()
            thread.join()
        else:
            engine.kill()


def _call(held: Any, function: Callable[[Any, Any], Any], numbered: tuple[int, Any]) -> tuple[int, Any]:
    """Do a task in a worker."""
    shared, (number, task) = held, numbered
    if isinstance(held, _Held):
        if held.stop is not None and held.stop.exists():
            return number, None  # nobody waits for it any more
        shared = _held[held.key]
    try:
        return number, function(shared, task)
    except Exception as error:
        error.add_note("".join(traceback.format_exception(error)))  # --debug shows it; a traceback cannot be sent
        return number, _Raised(error)


@dataclass(frozen=True)
class _Held:
    """Name of an object that a worker was given when it began, and a file whose existence tells it to stop."""

    key: str
    stop: Path | None = None


# In a worker: the objects that it was given when it began.
_held: dict[str, Any] = {}


def _hold(key: str, shared: Any) -> None:
    """Keep an object in a worker of this machine; Ctrl-C, which a terminal sends to all processes, is the parent's."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _held.clear()
    _held[key] = shared


# One task at a time is given out, as soon as another is done, and the results come in the order of completion.
_HOW = {"return_as": "generator_unordered", "batch_size": 1, "pre_dispatch": "2*n_jobs"}


@contextmanager
def _local_processes(workers: Workers, shared: Any) -> Iterator[_Engine]:
    from joblib import Parallel
    from joblib.externals.loky import BrokenProcessPool, get_reusable_executor

    with tempfile.TemporaryDirectory(prefix="hourglass-") as folder:
        stop = Path(folder) / "stop"
        parallel = Parallel(n_jobs=workers.jobs, backend="loky", initializer=_hold, initargs=(folder, shared), **_HOW)

        def end(*, kill: bool) -> None:
            get_reusable_executor(reuse=True).shutdown(wait=True, kill_workers=kill)

        try:
            yield _Engine(
                parallel, _Held(folder, stop), (BrokenProcessPool,), stop.touch, functools.partial(end, kill=True)
            )
        finally:
            end(kill=False)


@contextmanager
def _dask(workers: Workers, shared: Any) -> Iterator[_Engine]:
    try:
        from distributed import CancelledError, Client, KilledWorker
        from joblib import Parallel
        from joblib._dask import DaskDistributedBackend
    except ImportError as error:
        raise _without("dask", error) from error

    class Backend(DaskDistributedBackend):  # type: ignore[misc]  # joblib has no types
        """Joblib's, which would wait for ever for a task that the scheduler gave up, and work here for one worker."""

        def effective_n_jobs(self, n_jobs: int) -> int:
            return max(2, int(super().effective_n_jobs(n_jobs)))

        def submit(self, func: Any, callback: Any = None) -> Any:
            def tell(done: Any) -> None:
                if (error := done.exception()) is not None:
                    callback(error)

            future = super().submit(func, callback)
            future.add_done_callback(tell)
            return future

    address = _reached(workers)
    with _begun(
        address, "a Dask scheduler", lambda: Client(address, timeout=_PATIENCE, set_as_default=False)
    ) as client:
        try:
            client.wait_for_workers(1, timeout=_PATIENCE)
        except TimeoutError as error:
            raise ConnectionError(
                f"{address} has no workers; start some with `dask worker {address}` and repeat the command"
            ) from error
        held = client.scatter(shared, broadcast=True, hash=False)
        yield _Engine(Parallel(backend=Backend(client=client), **_HOW), held, (KilledWorker, CancelledError))


@contextmanager
def _ray(workers: Workers, shared: Any) -> Iterator[_Engine]:
    try:
        import ray
        from joblib import Parallel
        from ray.util.joblib.ray_backend import RayBackend
    except ImportError as error:
        raise _without("ray", error) from error

    class Backend(RayBackend):
        """Ray's, whose pool calls back for each result, and so can return them one by one."""

        supports_return_generator = True

    address = _reached(workers)
    begun = not ray.is_initialized()
    try:
        if begun:
            _begun(address, "Ray", lambda: ray.init(address, log_to_driver=False, logging_level=logging.ERROR))
        cores = int(ray.cluster_resources().get("CPU", 0))
        if cores < 2:  # joblib would work in this process
            raise ConnectionError(
                f"{address} has {cores} processors, and joblib's backend for Ray needs 2; start others"
            )
        reference = ray.put(shared)
        parallel = Parallel(
            n_jobs=cores, backend=Backend(), initializer=_fetch, initargs=(address, [reference]), **_HOW
        )
        yield _Engine(parallel, _Held(address), (ray.exceptions.RayError,))
    finally:
        if begun:
            ray.shutdown()


def _fetch(key: str, references: Sequence[Any]) -> None:
    """Fetch an object from Ray's store, in a worker."""
    import ray

    _hold(key, ray.get(references[0]))


_CLUSTERS: dict[str, Callable[[Workers, Any], Any]] = {"tcp": _dask, "ray": _ray}


def _reached(workers: Workers) -> str:
    """The address of the cluster, at which something listens."""
    address = str(workers.cluster)
    parts = urlsplit(address)
    try:
        socket.create_connection((parts.hostname, parts.port), timeout=_PATIENCE).close()
    except OSError as error:
        raise _no_answer(address, "a cluster", error) from error
    return address


def _begun(address: str, what: str, begin: Callable[[], Value]) -> Value:
    """What ``begin`` returns; Dask's and Ray's clients wait for ever for a program that accepts and says nothing."""
    answers: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def work() -> None:
        try:
            answers.put((begin(), None))
        except Exception as error:
            answers.put((None, error))

    threading.Thread(target=work, name="hourglass-connect", daemon=True).start()
    try:
        value, error = answers.get(timeout=2 * _PATIENCE)
    except queue.Empty as silence:
        raise _no_answer(address, what, TimeoutError(f"{2 * _PATIENCE} seconds of silence")) from silence
    if error is not None:
        raise _no_answer(address, what, error) from error
    answer: Value = value
    return answer


def _no_answer(address: str, what: str, error: Exception) -> ConnectionError:
    return ConnectionError(f"{address} does not answer as {what} ({_first_line(error)}); is it running, and reachable?")


def _without(extra: str, error: ImportError) -> ImportError:
    return ImportError(f"this cluster needs the extra {extra!r} ({error}); pip install 'hourglass-lab[{extra}]'")


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
