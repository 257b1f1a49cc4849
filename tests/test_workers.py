"""Tasks on other processes: results, errors, workers that die, and what an interruption leaves."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys

import pytest

import worker_tasks
from clusters import Dask, environment
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


def test_every_task_is_done_once_and_elsewhere(workers):
    found = list(on_workers(worker_tasks.squared, range(20), workers, {"factor": 2}))
    assert sorted((number, value) for number, (value, _) in found) == [(n, 2 * n**2) for n in range(20)]
    assert os.getpid() not in {process for _, (_, process) in found}


def test_what_is_shared_goes_once_to_each_worker(workers, tmp_path):
    found = list(on_workers(worker_tasks.using, range(20), workers, worker_tasks.Counted(str(tmp_path))))
    processes = [path.name.split("-")[1] for path in tmp_path.iterdir()]
    assert {str(process) for _, process in found} <= set(processes)
    assert len(processes) == len(set(processes))


def test_an_error_arrives_as_itself_and_tasks_in_work_are_finished(workers, tmp_path):
    with pytest.raises(KeyError, match="task 3"):
        list(on_workers(worker_tasks.refusing, range(40), workers, str(tmp_path)))
    begun, done = kinds(tmp_path)
    assert begun == done
    assert len(begun) < 39


def test_an_iterator_that_is_closed_finishes_what_is_in_work(workers, tmp_path):
    results = on_workers(worker_tasks.reported, range(40), workers, str(tmp_path))
    next(results)
    results.close()
    begun, done = kinds(tmp_path)
    assert begun == done
    assert len(begun) < 20


def test_a_lost_process_of_this_machine_is_an_error_that_says_so(tmp_path):
    with pytest.raises(WorkerLostError, match="worker ended before its task was done"):
        list(on_workers(worker_tasks.dying, range(8), Workers(2), str(tmp_path)))


def test_dask_does_all_tasks_though_every_worker_of_the_beginning_dies(tmp_path):
    with contextlib.closing(Dask(tmp_path)) as cluster:
        results = on_workers(worker_tasks.reported, range(12), Workers(cluster=cluster.address), str(tmp_path))
        found = [next(results)]
        cluster.kill_a_worker()
        cluster.kill_a_worker()
        cluster.add_worker()
        found += results
    assert sorted(found) == [(n, n) for n in range(12)]


def test_dask_gives_up_a_task_that_kills_its_workers(tmp_path):
    lost = pytest.raises(WorkerLostError, match="KilledWorker")
    with contextlib.closing(Dask(tmp_path, failures=0)) as cluster, lost:
        list(on_workers(worker_tasks.fatal, [0], Workers(cluster=cluster.address), None))


def test_ctrl_c_finishes_what_is_in_work_and_begins_nothing_else(tmp_path):
    code = f"""
import worker_tasks
from hourglass.runtime.workers import Workers, on_workers
if __name__ == "__main__":
    for number, _ in on_workers(worker_tasks.reported, range(400), Workers(2), {str(tmp_path)!r}):
        print(number, flush=True)
"""
    script = tmp_path / "script.py"
    script.write_text(code)
    # As in a terminal, all processes get the signal.
    with subprocess.Popen(
        [sys.executable, script], env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    ) as process:  # fmt: skip
        process.stdout.readline()
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert errors.rstrip().endswith("KeyboardInterrupt")
    begun, done = kinds(tmp_path)
    assert begun == done
    assert 0 < len(begun) < 100


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
    assert (code, err) == (1, "hourglass: a worker ended; to go on, repeat the command with --out runs --resume\n")
