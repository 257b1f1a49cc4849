"""Tasks on other processes: results, errors, workers that die, and what an interruption leaves."""

import contextlib
import copy
import dataclasses
import functools
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

import worker_tasks
from clusters import Dask, environment, wait_until
from hourglass.cli.app import resuming as cli_resuming
from hourglass.runtime import engines
from hourglass.runtime.workers import WorkerLostError, Workers, on_workers


@pytest.fixture(scope="module")
def dask(tmp_path_factory):
    with contextlib.closing(Dask(tmp_path_factory.mktemp("dask"))) as cluster:
        yield cluster


@pytest.fixture(params=["jobs", "dask"])
def workers(request):
    return Workers(2) if request.param == "jobs" else Workers(cluster=request.getfixturevalue("dask").address)


def kinds(folder):
    """Numbers of the tasks that were begun, and of those that were done."""
    return tuple({int(path.stem) for path in folder.glob(f"*.{kind}")} for kind in ("begun", "done"))


def test_one_job_is_this_process_in_order():
    found = list(on_workers(worker_tasks.squared, [3, 1, 2], Workers(), {"factor": 2}))
    assert found == [(0, (18, os.getpid())), (1, (2, os.getpid())), (2, (8, os.getpid()))]


def test_every_task_is_done_once_and_elsewhere_and_what_is_shared_is_sent_once(workers, tmp_path):
    found = list(on_workers(worker_tasks.using, range(20), workers, worker_tasks.Counted(str(tmp_path))))
    assert sorted((number, value) for number, (value, _) in found) == [(n, n**2) for n in range(20)]
    unpickled = [path.name.split("-")[1] for path in tmp_path.iterdir()]
    assert str(os.getpid()) not in {str(process) for _, (_, process) in found} <= set(unpickled)
    assert len(unpickled) == len(set(unpickled))


def test_an_error_arrives_as_itself_and_tasks_in_work_are_finished(workers, tmp_path):
    with pytest.raises(KeyError, match="task 3"):
        list(on_workers(worker_tasks.refusing, range(40), workers, str(tmp_path)))
    begun, done = kinds(tmp_path)
    assert begun == done
    assert len(begun) < 39


def test_a_lost_process_of_this_machine_is_an_error_that_says_so(tmp_path):
    with pytest.raises(WorkerLostError, match="worker ended before its task was done"):
        list(on_workers(worker_tasks.dying, range(8), Workers(2), str(tmp_path)))


def test_a_dask_cluster_loses_and_gains_workers(tmp_path, monkeypatch):
    with contextlib.closing(Dask(tmp_path)) as cluster:
        workers = Workers(cluster=cluster.address)
        # Every worker of the beginning dies.
        results = on_workers(worker_tasks.patient, range(12), workers, str(tmp_path))
        found = [next(results)]
        cluster.kill_a_busy_worker()
        cluster.kill_a_busy_worker()
        cluster.add_worker()
        (tmp_path / "go").touch()
        found += results
        assert sorted(found) == [(n, n) for n in range(12)]
        # The scheduler gives up a task that kills as many workers as it allows.
        with cluster.client() as client:
            client.run_on_scheduler(worker_tasks.allow_no_failure)
        with pytest.raises(WorkerLostError, match="KilledWorker"):
            list(on_workers(worker_tasks.fatal, [0], workers, None))
        # No worker is left.
        monkeypatch.setattr("hourglass.runtime.engines._STARTING", 0.2)
        with pytest.raises(ConnectionError, match=r"has had no workers for 0\.2 seconds; start some with `dask worker"):
            list(on_workers(worker_tasks.squared, [1, 2], workers, {"factor": 2}))
        # One is begun because tasks wait, as by a cluster that grows with its tasks.
        monkeypatch.setattr("hourglass.runtime.engines._STARTING", 60)

        def begin_one():
            with cluster.client() as client:
                wait_until(lambda: client.run_on_scheduler(worker_tasks.waiting_tasks))
            cluster.add_worker()

        with ThreadPoolExecutor(1) as thread:
            begun = thread.submit(begin_one)
            later = list(on_workers(worker_tasks.squared, [1, 2], workers, {"factor": 2}))
            begun.result()
        assert sorted((number, value) for number, (value, _) in later) == [(0, 2), (1, 8)]


def test_no_task_is_begun_after_the_iterator_is_closed(workers, tmp_path, monkeypatch):
    """All tasks but one wait until the engine has been told to stop; others were given out already."""

    @contextlib.contextmanager
    def watched(start, *args):
        with start(*args) as engine:

            def stop():
                engine.stop()
                (tmp_path / "go").touch()

            yield dataclasses.replace(engine, stop=stop)

    dask, local = engines.CLUSTERS["tcp"], engines.local_processes
    monkeypatch.setitem(engines.CLUSTERS, "tcp", functools.partial(watched, dask))
    monkeypatch.setattr("hourglass.runtime.workers.local_processes", functools.partial(watched, local))
    results = on_workers(worker_tasks.patient, range(40), workers, str(tmp_path))
    next(results)
    # A scheduler can give all tasks to one of its two workers.
    wait_until(lambda: len(kinds(tmp_path)[0]) >= 2)
    results.close()
    begun, done = kinds(tmp_path)
    assert begun == done
    assert len(begun) <= 3


def test_an_error_that_pickle_cannot_copy_arrives_as_a_plain_one(workers):
    with pytest.raises(RuntimeError, match="OddError: a b") as caught:
        list(on_workers(worker_tasks.odd, [0, 0], workers, None))
    assert type(caught.value) is RuntimeError
    assert "in odd" in caught.value.__notes__[0]


def test_an_error_of_files_that_pickle_cannot_copy_stays_one_of_files():
    _, raised = engines.call(engines._Parcel("", None), worker_tasks.odd, (0, 1))
    # Dask installs a package by which pickle can copy more errors.
    sent = copy.deepcopy(raised.error)
    assert isinstance(sent, OSError)
    assert str(sent) == "c d"


def test_a_package_that_workers_lack_is_named_with_them(dask, tmp_path, monkeypatch):
    (tmp_path / "only_here.py").write_text("def double(shared, task): return 2 * task")
    monkeypatch.syspath_prepend(tmp_path)
    from only_here import double

    with pytest.raises(ImportError, match=r"^tcp://\S+, tcp://\S+: the package only_here is missing there") as caught:
        list(on_workers(double, [1, 2], Workers(cluster=dask.address), None))
    assert "the scheduler and every worker need hourglass-lab" in str(caught.value)


def test_ray_that_is_connected_elsewhere_is_not_used(monkeypatch):
    ray = pytest.importorskip("ray")
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    with pytest.raises(ConnectionError, match=r"connected to Ray already, perhaps not to ray://127.0.0.1:1"):
        list(on_workers(worker_tasks.using, [1, 2], Workers(cluster="ray://127.0.0.1:1"), None))


@contextlib.contextmanager
def interrupted(function, folder):
    """A program with tasks on two processes, and the signals of a terminal, which all its processes get."""
    script = folder / "script.py"
    script.write_text(f"""
import worker_tasks
from hourglass.runtime.workers import Workers, on_workers
if __name__ == "__main__":
    for number, _ in on_workers(worker_tasks.{function}, range(400), Workers(2), {str(folder)!r}):
        print(number, flush=True)
""")
    with subprocess.Popen(
        [sys.executable, script], env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    ) as process:  # fmt: skip
        yield process
        _, errors = process.communicate(timeout=60)
    assert errors.rstrip().endswith("KeyboardInterrupt")


def test_ctrl_c_finishes_what_is_in_work_and_begins_nothing_else(tmp_path):
    with interrupted("reported", tmp_path) as process:
        process.stdout.readline()
        os.killpg(process.pid, signal.SIGINT)
    begun, done = kinds(tmp_path)
    assert begun == done
    assert 0 < len(begun) < 100


def test_a_second_ctrl_c_does_not_wait(tmp_path):
    with interrupted("patient", tmp_path) as process:
        wait_until(lambda: len(kinds(tmp_path)[0]) == 3)  # two of which would wait for a minute
        os.killpg(process.pid, signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)
        os.killpg(process.pid, signal.SIGINT)
    begun, done = kinds(tmp_path)
    assert len(begun) == 3
    assert len(done) == 1
    assert done < begun


@pytest.mark.parametrize("scheme", ["tcp", "ray"])
def test_a_cluster_that_is_not_there_is_one_line(scheme):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(ConnectionError, match=rf"^{scheme}://127.0.0.1:{port} does not answer .*refused") as caught:
        list(on_workers(worker_tasks.using, [1, 2], Workers(cluster=f"{scheme}://127.0.0.1:{port}"), None))
    assert "\n" not in str(caught.value)


def test_a_program_that_says_nothing_is_no_cluster(monkeypatch):
    monkeypatch.setattr("hourglass.runtime.engines._PATIENCE", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(ConnectionError, match="does not answer as a Dask scheduler"):
            list(on_workers(worker_tasks.using, [1, 2], Workers(cluster=address), None))


@pytest.mark.parametrize(("scheme", "extra", "module"), [("tcp", "dask", "distributed"), ("ray", "ray", "ray")])
def test_a_missing_extra_is_named(scheme, extra, module, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=re.escape(f"pip install 'hourglass-lab[{extra}]'")):
        list(on_workers(worker_tasks.using, [1, 2], Workers(cluster=f"{scheme}://127.0.0.1:1"), None))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"jobs": 0}, "whole number above 0"),
        ({"jobs": 2, "cluster": "tcp://a:1"}, "give one of them"),
        *(({"cluster": address}, "is no address of a cluster") for address in (
            "", "a:1", "http://a:1", "tcp://a", "tcp://:1", "ray://a:b", "tls://a:1", "tcp://a:99999",
        )),
    ],
)  # fmt: skip
def test_other_places_are_refused_in_words(options, message):
    with pytest.raises(ValueError, match=message):
        Workers(**options)


def test_an_experiment_runs_on_no_cluster(hourglass, tmp_path):
    for option, value in (("cluster", "tcp://127.0.0.1:1"), ("jobs", 2)):
        code, _, err = hourglass("run", "dense", f"--{option}", value, "--out", tmp_path / "runs")
        assert (code, len(err.splitlines())) == (2, 1)
        assert f"{option} (--{option}) is for studies; dense is an experiment" in err
    assert not (tmp_path / "runs").exists()


def test_a_study_that_loses_a_worker_says_how_to_go_on(hourglass, monkeypatch):
    def lost(*args, **kwargs):
        raise WorkerLostError("a worker ended")

    monkeypatch.setattr("hourglass.running.run_many", lost)
    code, _, err = hourglass("run", "bn-inference", "--out", "runs")
    assert (code, err) == (1, "hourglass: a worker ended; to go on: hourglass run --resume bn-inference --out runs\n")


@pytest.mark.parametrize(
    ("words", "resumed"),
    [
        (["denoise", "in", "out"], "denoise --resume in out"),
        (["denoise", "--", "-in", "--resume"], "denoise --resume -- -in --resume"),
        (["--debug", "denoise", "a b", "out"], "--debug denoise --resume 'a b' out"),
        (["denoise", "in", "--resume", "out"], "denoise in --resume out"),
        (["run", "bn-lab"], "run --out 'my runs' --resume bn-lab"),
        (["run", "--out=other", "bn-lab"], "run --resume --out=other bn-lab"),
    ],
)
def test_the_command_that_resumes(words, resumed):
    option = ("--out", "my runs") if "run" in words else ()
    assert cli_resuming(shlex.join(["hourglass", *words]), *option) == f"hourglass {resumed}"


def test_an_interrupted_study_shows_the_whole_command(hourglass, monkeypatch, tmp_path):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("hourglass.running.run_many", interrupt)
    code, _, err = hourglass("run", "bn-inference", "--steps", 5)
    assert code == 130
    assert re.fullmatch(
        r"hourglass: interrupted; to go on: hourglass run --out runs/\S+ --resume bn-inference --steps 5\n", err
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("bn-inference", "--checkpoint-every", "60s"), "bn-inference is a study, and has no --checkpoint-every"),
        (("bn-inference", "--recipe", "classic"), "bn-inference is a study, and has no --recipe"),
        (("dense", "--timeout", 60), "--timeout is for the processes that torchrun starts"),
        (
            ("dense", "--dataset", "a.zarr", "--data-dir", "."),
            "--data-dir is for the data set of a name, and a.zarr is a Zarr",
        ),
    ],
)
def test_options_that_would_do_nothing_are_refused(words, message, hourglass, tmp_path):
    code, _, err = hourglass("run", *words, "--out", tmp_path / "runs")
    assert (code, len(err.splitlines())) == (2, 1)
    assert message in err
    assert not (tmp_path / "runs").exists()


def test_the_environment_may_name_a_folder_of_data_beside_a_zarr(hourglass, monkeypatch):
    monkeypatch.setenv("HOURGLASS_DATA", ".")
    monkeypatch.setattr("hourglass.running.run_many", lambda *args, **kwargs: [])
    assert hourglass("run", "dense", "--dataset", "a.zarr", "--out", "runs")[0] == 0
