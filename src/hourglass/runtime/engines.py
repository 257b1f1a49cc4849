"""Engines that do tasks on other processes: joblib's backends for this machine, for Dask and for Ray."""

import contextlib
import copy
import functools
import logging
import queue
import secrets
import signal
import socket
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

Value = TypeVar("Value")

# Seconds in which a cluster has to accept a connection, and to begin a session.
_PATIENCE = 10
# Seconds in which a Dask cluster has to have a worker; one that grows with its tasks has to start a machine for it.
_STARTING = 120


@dataclass(frozen=True)
class Engine:
    """A backend of joblib that is ready for tasks.

    ``held`` is given to each task in place of ``shared``: a :class:`Held`, which the worker knows, or the object
    itself, which the backend replaces. ``lost`` are the errors by which the backend reports a worker that ended.
    ``stop`` keeps tasks that are given out already from being begun, and ``kill`` ends the workers, where there is a
    way. ``without`` takes the name of a package, and returns the addresses of the workers that do not have it.
    """

    parallel: Any
    held: Any
    lost: tuple[type[BaseException], ...]
    stop: Callable[[], None] = lambda: None
    kill: Callable[[], None] = lambda: None
    without: Callable[[str], list[str]] = lambda package: []


@dataclass(frozen=True)
class Raised:
    """An error that the function raised; as a result, it does not make joblib kill workers in the middle of a task."""

    error: Exception


def call(held: Any, function: Callable[[Any, Any], Any], numbered: tuple[int, Any]) -> tuple[int, Any]:
    """Do a task in a worker."""
    number, task = numbered
    if held.key in _stopped or (isinstance(held, Held) and held.stop is not None and held.stop.exists()):
        return number, None  # nobody waits for it any more
    shared = _held[held.key] if isinstance(held, Held) else held.content
    try:
        return number, function(shared, task)
    except Exception as error:
        return number, Raised(_that_can_be_sent(error))


def _that_can_be_sent(error: Exception) -> Exception:
    """The error with its traceback as a note, which ``--debug`` shows; of a plain type if pickle cannot copy its own.

    A traceback cannot be sent. An error that another process cannot unpickle would count as the loss of a worker.
    """
    kinds = (error, OSError(str(error)) if isinstance(error, OSError) else RuntimeError(_with_type(error)))
    note = "".join(traceback.format_exception(error))
    for kind in kinds:
        with contextlib.suppress(Exception):  # methods of a foreign type can raise anything
            kind.add_note(note)
            if str(copy.deepcopy(kind)) == str(kind):  # which goes the way of pickle
                return kind
    return kinds[1]


def _with_type(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


@dataclass(frozen=True)
class Held:
    """Name of an object that a worker was given when it began, and a file whose existence tells it to stop."""

    key: str
    stop: Path | None = None


# In a worker: the objects that it was given when it began, and the calls of which it is to begin no other task.
_held: dict[str, Any] = {}
_stopped: set[str] = set()


def _hold(key: str, shared: Any) -> None:
    """Keep an object in a worker of this machine; Ctrl-C, which a terminal sends to all processes, is the parent's."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _held.clear()
    _held[key] = shared


# One task at a time is given out, as soon as another is done, and the results come in the order of completion.
_HOW: dict[str, Any] = {"return_as": "generator_unordered", "batch_size": 1, "pre_dispatch": "2*n_jobs"}
# Tasks that Dask is given beyond two for each processor: enough for 64 processors that join later.
_MORE_FOR_DASK = 64


@contextmanager
def local_processes(jobs: int, shared: Any) -> Iterator[Engine]:
    """Context with loky's processes of this machine, which are ended with it.

    Parameters
    ----------
    jobs : int
        Number of processes, at least 2.
    shared : object
        What each process is given when it begins.

    Yields
    ------
    Engine
    """
    from joblib import Parallel
    from joblib.externals.loky import BrokenProcessPool, get_reusable_executor

    with tempfile.TemporaryDirectory(prefix="hourglass-") as folder:
        stop = Path(folder) / "stop"
        parallel = Parallel(n_jobs=jobs, backend="loky", initializer=_hold, initargs=(folder, shared), **_HOW)

        def end(*, kill: bool) -> None:
            get_reusable_executor(reuse=True).shutdown(wait=True, kill_workers=kill)

        try:
            yield Engine(
                parallel, Held(folder, stop), (BrokenProcessPool,), stop.touch, functools.partial(end, kill=True)
            )
        finally:
            end(kill=False)


@contextmanager
def _dask(address: str, shared: Any) -> Iterator[Engine]:
    try:
        import dask
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

    _reach(address)
    with _begun(
        address, "a Dask scheduler", lambda: Client(address, timeout=_PATIENCE, set_as_default=False)
    ) as client:
        key = secrets.token_hex(16)
        # As the result of a task, which the scheduler has done again where all workers that had it died; what is
        # scattered is then lost, and the scheduler itself reduces it to one copy after a while. A cluster that grows
        # with its tasks gets its first worker because of it.
        with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1TB"}):
            held = client.submit(_given, _Parcel(key, shared), pure=False)
        try:
            client.wait_for_workers(1, timeout=_STARTING)
        except TimeoutError as error:
            raise ConnectionError(
                f"{address} has had no workers for {_STARTING} seconds; start some with `dask worker {address}` and "
                "repeat the command"
            ) from error
        # Workers may join later, so that more tasks are given out than those that are there can do.
        how = _HOW | {"pre_dispatch": f"{_HOW['pre_dispatch']}+{_MORE_FOR_DASK}"}
        yield Engine(
            Parallel(backend=Backend(client=client), **how),
            held,
            (KilledWorker, CancelledError),
            stop=functools.partial(_stop_on_dask, client, key),
            without=functools.partial(_without_on_dask, client),
        )


@dataclass(frozen=True)
class _Parcel:
    """What all tasks of a call share; Dask does not look into it for tasks."""

    key: str
    content: Any


def _given(parcel: _Parcel) -> _Parcel:
    return parcel


def _begin_no_other(key: str) -> None:
    _stopped.add(key)


def _stop_on_dask(client: Any, key: str) -> None:
    with contextlib.suppress(Exception):  # without its scheduler no task is begun either
        client.run(_begin_no_other, key, on_error="ignore")


def _without_on_dask(client: Any, package: str) -> list[str]:
    """Addresses of the workers that cannot import a package."""

    def missing() -> bool:  # a function within another is sent as it is, to workers that may not have this package
        import importlib.util

        return importlib.util.find_spec(package) is None

    with contextlib.suppress(Exception):  # it is only asked for to explain another error
        return sorted(address for address, lacks in client.run(missing, on_error="ignore").items() if lacks)
    return []


@contextmanager
def _ray(address: str, shared: Any) -> Iterator[Engine]:
    try:
        import ray
        from joblib import Parallel
        from ray.util.joblib.ray_backend import RayBackend
    except ImportError as error:
        raise _without("ray", error) from error

    class Backend(RayBackend):
        """Ray's, whose pool calls back for each result, and so can return them one by one."""

        supports_return_generator = True

    if ray.is_initialized():
        raise ConnectionError(
            f"this process is connected to Ray already, perhaps not to {address}; call ray.shutdown() first"
        )
    _reach(address)
    try:
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
        yield Engine(parallel, Held(address), (ray.exceptions.RayError,))
    finally:
        ray.shutdown()


def _fetch(key: str, references: Sequence[Any]) -> None:
    """Fetch an object from Ray's store, in a worker."""
    import ray

    _hold(key, ray.get(references[0]))


# Engine of each kind of address.
CLUSTERS: dict[str, Callable[[str, Any], AbstractContextManager[Engine]]] = {"tcp": _dask, "ray": _ray}


def _reach(address: str) -> None:
    """Raise an error unless something listens at the address."""
    parts = urlsplit(address)
    try:
        socket.create_connection((str(parts.hostname), int(parts.port or 0)), timeout=_PATIENCE).close()
    except OSError as error:
        raise _no_answer(address, "a cluster", error) from error


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
