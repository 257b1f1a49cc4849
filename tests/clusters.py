"""Clusters of two worker processes on this machine, which leave no process behind."""

import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
# The longest wait for a cluster, in seconds; Ray needs about 10 on an idle machine.
LIMIT = 120
_TOKEN = secrets.token_hex(32)


def environment():
    """What a worker process needs: this package, the tasks beside this file, one thread."""
    paths = [str(ROOT / "src"), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")]
    # Ray's nodes listen on every address of the machine, and so have a token, which their clients need.
    ray = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": _TOKEN, "RAY_USAGE_STATS_ENABLED": "0"}
    return os.environ | ray | {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "OMP_NUM_THREADS": "1"}


def wait_until(condition, limit=LIMIT):
    """Wait for a value that is true, and return it."""
    end = time.monotonic() + limit
    while not (value := condition()):
        assert time.monotonic() < end, f"{condition} is not so after {limit} seconds"
        time.sleep(0.02)
    return value


class Dask:
    """A scheduler, and workers in another folder, which are not restarted when they die."""

    def __init__(self, folder, *, workers=2, threads=1):
        self.folder, self.threads, self.processes, self.workers = folder, threads, [], []
        self.elsewhere = folder / "elsewhere"
        self.elsewhere.mkdir()
        try:
            self._start(workers)
        except BaseException:
            self.close()
            raise

    def _start(self, workers):
        file = self.folder / "scheduler.json"
        local = ("--host", "127.0.0.1", "--no-dashboard")
        self._begin("scheduler", *local, "--port", 0, "--scheduler-file", file, "--idle-timeout", "20 minutes")
        self.address = wait_until(lambda: file.exists() and _address(file))
        for _ in range(workers):
            self.add_worker()
        with self.client() as client:
            client.wait_for_workers(workers, timeout=LIMIT)

    def client(self):
        from distributed import Client

        return Client(self.address, set_as_default=False)

    def add_worker(self):
        words = ("--no-nanny", "--no-dashboard", "--nthreads", self.threads, "--memory-limit", 0)
        words += ("--death-timeout", 20, "--host", "127.0.0.1", "--name", f"worker-{len(self.workers)}")
        self.workers.append(self._begin("worker", self.address, *words, "--local-directory", self.folder))

    def kill_a_busy_worker(self):
        """Kill a worker in the middle of its tasks, which are lost."""
        with self.client() as client:
            worker = wait_until(lambda: self._stopped_at_work(client))
        worker.kill()
        worker.wait()

    def _stopped_at_work(self, client):
        for address, known in client.scheduler_info(n_workers=-1)["workers"].items():
            worker = self.workers[int(known["name"].split("-")[1])]
            if worker.poll() is not None:
                continue
            worker.send_signal(signal.SIGSTOP)
            time.sleep(0.05)  # what it has sent arrives
            if client.processing().get(address):
                return worker
            worker.send_signal(signal.SIGCONT)
        return None

    def _begin(self, *words):
        command = [sys.executable, "-m", "dask", *map(str, words)]
        with (self.folder / "dask.log").open("ab") as log:
            self.processes.append(
                subprocess.Popen(command, env=environment(), cwd=self.elsewhere, stdout=log, stderr=log)
            )
        return self.processes[-1]

    def close(self):
        for process in self.processes:
            process.kill()
            process.wait()


def _address(file):
    with contextlib.suppress(ValueError):  # half written
        return json.loads(file.read_text())["address"]


class Ray:
    """A head node with two processors; all its processes are in a session of their own."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="r", ignore_cleanup_errors=True)  # short, for Ray's sockets
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.address = f"ray://127.0.0.1:{port}"
        words = ("--head", "--block", "--num-cpus=2", "--port=0", f"--ray-client-server-port={port}")
        words += ("--node-ip-address=127.0.0.1", "--include-dashboard=false", "--disable-usage-stats")
        words += ("--object-store-memory=100000000", f"--temp-dir={self.folder.name}")
        command = [Path(sys.executable).with_name("ray"), "start", *words]
        with Path(self.folder.name, "start.log").open("ab") as log:
            self.process = subprocess.Popen(command, env=environment(), stdout=log, stderr=log, start_new_session=True)

        def listens():
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return True

        try:
            wait_until(listens)
        except BaseException:
            self.close()
            raise

    def kill_a_busy_worker(self):
        """Kill a process that does tasks."""
        actors = wait_until(lambda: [number for number, words in self._processes() if "PoolActor" in words])
        os.kill(actors[0], signal.SIGKILL)

    def _processes(self):
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                session = int((folder / "stat").read_text().rpartition(")")[2].split()[3])
                if session == self.process.pid:
                    yield int(folder.name), (folder / "cmdline").read_text()

    def close(self):
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=20)

        def all_ended():
            """Ray's agents outlive the process that began them for a while, and some begin late."""
            numbers = [number for number, _ in self._processes()]
            for number in numbers:
                with contextlib.suppress(OSError):
                    os.kill(number, signal.SIGKILL)
            self.process.poll()
            return not numbers

        wait_until(all_ended)
        self.folder.cleanup()
