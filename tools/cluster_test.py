"""Test of several hosts: network namespaces of this machine stand for them, and one is cut off in the middle.

Two hosts train together with torchrun, once undisturbed and once until the link of one is cut; then the training is
resumed. A Dask scheduler and two workers on three hosts process images, and one worker is cut off.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import hourglass as hg
from hourglass.training import History

# Seconds after which a host that does not answer counts as lost, and seconds that the end of the others may take.
TIMEOUT, MARGIN = 20, 5
# Seconds that anything else may take.
PATIENCE = 120
STEPS = 60
TRAINING = ("run", "conv", "--steps", str(STEPS), "--checkpoint-every", "10steps", "--seed", "0")
# Largest relative difference between losses in float32 whose batches were added up in other parts.
TOLERANCE = 1e-3
IMAGES = 600
MISUSE = 2


class TestError(Exception):
    """Something that this test expects has not happened."""


class Hosts:
    """Network namespaces on one bridge, each with an address and a host name of its own.

    Parameters
    ----------
    count : int
        Number of hosts.
    subnet : str
        First three numbers of their addresses, such as ``"10.77.0"``.
    """

    def __init__(self, count: int, subnet: str) -> None:
        self.count, self.subnet = count, subnet
        self.mark = f"hg{os.getpid()}n{subnet.rpartition('.')[2]}"
        self._folder = tempfile.TemporaryDirectory(prefix="cluster-test-hosts-")
        self._names = Path(self._folder.name) / "hosts"
        lines = ["127.0.0.1 localhost", *(f"{self.address(host)} host{host}" for host in range(count))]
        self._names.write_text("\n".join(lines) + "\n")

    def __enter__(self) -> "Hosts":
        try:
            _ip("link", "add", self.mark, "type", "bridge")
            _ip("link", "set", self.mark, "up")
            for host in range(self.count):
                name, inner = self._name(host), self._link(host)
                _ip("netns", "add", name)
                _ip("link", "add", self._outer(host), "type", "veth", "peer", "name", inner, "netns", name)
                _ip("link", "set", self._outer(host), "master", self.mark, "up")
                _ip("-n", name, "addr", "add", f"{self.address(host)}/24", "dev", inner)
                _ip("-n", name, "link", "set", "lo", "up")
                _ip("-n", name, "link", "set", inner, "up")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        for host in range(self.count):
            for process in _ip("netns", "pids", self._name(host), check=False).split():
                with suppress(ProcessLookupError):  # it has ended meanwhile
                    os.kill(int(process), signal.SIGKILL)
            _ip("netns", "delete", self._name(host), check=False)
            _ip("link", "delete", self._outer(host), check=False)
        _ip("link", "delete", self.mark, check=False)
        self._folder.cleanup()

    def address(self, host: int) -> str:
        """Address of a host."""
        return f"{self.subnet}.{host + 1}"

    def cut(self, host: int) -> None:
        """Take a host's link down, so that it neither sends nor receives anything."""
        _ip("link", "set", self._outer(host), "down")

    def kill_training(self, host: int) -> None:
        """Kill the process on a host that trains."""
        for process in map(int, _ip("netns", "pids", self._name(host)).split()):
            words = Path(f"/proc/{process}/cmdline").read_text(encoding="utf-8").split("\0")
            if "hourglass" in words and "torch.distributed.run" not in words:
                os.kill(process, signal.SIGKILL)

    @contextmanager
    def started(self, host: int, *words: str, log: Path, **environment: str) -> Iterator[subprocess.Popen[str]]:
        """Start a program on a host; it is killed at the end of the block."""
        shell = f'hostname host{host} && mount --bind {self._names} /etc/hosts && exec "$@"'
        enter = ("netns", "exec", self._name(host), "unshare", "--uts", "--mount", "sh", "-c", shell, "sh")
        command = [shutil.which("ip") or "/usr/sbin/ip", *enter, *words]
        given = os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": self._link(host)} | environment
        with log.open("w") as file:
            process = subprocess.Popen(
                command, env=given, stdout=file, stderr=subprocess.STDOUT, text=True, start_new_session=True
            )
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def _name(self, host: int) -> str:
        return f"{self.mark}-{host}"

    def _outer(self, host: int) -> str:
        return f"{self.mark}o{host}"

    def _link(self, host: int) -> str:
        return f"{self.mark}i{host}"


def _ip(*words: str, check: bool = True) -> str:
    program = shutil.which("ip") or "/usr/sbin/ip"
    return subprocess.run([program, *words], check=check, capture_output=True, text=True).stdout


def main() -> None:
    """Run both tests; exit code 2 where namespaces cannot be made, and 1 where a test fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="folder for outputs and logs, which is kept")
    given = parser.parse_args()
    why = _why_not()
    if why is not None:
        print(f"cluster-test: {why}", file=sys.stderr)
        sys.exit(MISUSE)
    torch.set_num_threads(1)
    with ExitStack() as closing:
        folder = given.folder or Path(closing.enter_context(tempfile.TemporaryDirectory(prefix="cluster-test-")))
        folder.mkdir(parents=True, exist_ok=True)
        try:
            _train_on_two_hosts(folder)
            _restore_on_three_hosts(folder)
        except (TestError, subprocess.SubprocessError, TimeoutError) as error:
            for log in sorted(folder.glob("*.log")):
                print(f"--- {log.name}\n{log.read_text()[-3000:]}", file=sys.stderr)
            print(f"cluster-test: failed: {error}", file=sys.stderr)
            sys.exit(1)
    print("cluster-test: passed")


_NOT_ALLOWED = "network namespaces cannot be made ({}); this takes root with CAP_NET_ADMIN and CAP_SYS_ADMIN"


def _why_not() -> str | None:
    """Why network namespaces cannot be made here, or None."""
    mark = f"hgtry{os.getpid()}"
    try:
        _ip("netns", "add", mark)
    except FileNotFoundError:
        return "the command ip is missing; install iproute2"
    except subprocess.CalledProcessError as error:
        return _NOT_ALLOWED.format(error.stderr.strip())
    try:
        _ip("link", "add", f"{mark}o", "type", "veth", "peer", "name", f"{mark}i", "netns", mark)
    except subprocess.CalledProcessError as error:
        return _NOT_ALLOWED.format(error.stderr.strip())
    finally:
        _ip("netns", "delete", mark, check=False)
    return None


def _expect(condition: object, otherwise: str) -> None:
    if not condition:
        raise TestError(otherwise)


def _say(line: str) -> None:
    print(f"cluster-test: {line}", flush=True)


def _wait_until(condition: Callable[[], object], what: str, seconds: float = PATIENCE) -> None:
    latest = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > latest:
            raise TimeoutError(f"{what} took longer than {seconds:.0f} s")
        time.sleep(0.05)


def _train_on_two_hosts(folder: Path) -> None:
    """Training by two hosts, undisturbed and cut off."""
    expected = hg.run("conv", n_steps=STEPS).runs[0].history.loss
    with Hosts(2, "10.77.1") as hosts:
        codes = _trained(hosts, folder, folder / "whole")
        _expect(codes == [0, 0], f"the undisturbed training ended with exit codes {codes}")
        _check_losses(folder / "whole", expected)
        _say("two hosts trained together, with the losses of one process")
        codes = _trained(hosts, folder, folder / "killed", disturb=hosts.kill_training)
        _expect(codes == [0, 0], f"the training that was restarted ended with exit codes {codes}")
        said = (folder / "host0.log").read_text()
        _expect("going on from step" in said, "the training was not resumed after the restart")
        _check_losses(folder / "killed", expected)
        _say("a process was killed, and torchrun started both again, which resumed with the same losses")
        codes = _trained(hosts, folder, folder / "cut", disturb=hosts.cut, restarts=0)
        _expect(codes[0] not in (0, None), f"torchrun on the host that is left ended with exit code {codes[0]}")
    again = "to go on: start torchrun on every host as before, with -m hourglass run --resume conv"
    for host, lost in ((0, 1), (1, 0)):
        said = (folder / f"host{host}.log").read_text()
        _expect(f"hourglass: rank {lost} (process" in said, f"rank {host} did not name the process that was lost")
        _expect(f"on host{lost}) is gone" in said, f"rank {host} did not name the host that was lost")
        _expect(again in said, f"rank {host} did not name the command that resumes")
    _say("one host was cut off, and each named the other")
    words = [sys.executable, "-m", "hourglass", *TRAINING, "--out", str(folder / "cut"), "--resume", "--quiet"]
    subprocess.run(words, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=True, timeout=PATIENCE)
    _check_losses(folder / "cut", expected)
    _say("one process resumed the training, with the same losses")


def _trained(
    hosts: Hosts, folder: Path, out: Path, *, disturb: Callable[[int], None] | None = None, restarts: int = 2
) -> list[int | None]:
    """Exit codes of a training on two hosts, the second of which is disturbed when a checkpoint has been written.

    Without restarts both have to report it in time; the code of the second is None while torchrun there still looks for
    the first.
    """
    with ExitStack() as closing:
        processes = [
            closing.enter_context(
                hosts.started(
                    host,
                    *(sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1"),
                    *("--rdzv-backend", "c10d", "--rdzv-endpoint", f"{hosts.address(0)}:29400", "--rdzv-id", out.name),
                    *("--local-addr", hosts.address(host), "--max-restarts", str(restarts)),
                    *("-m", "hourglass", *TRAINING),
                    *("--out", str(out), "--timeout", str(TIMEOUT)),
                    log=folder / f"host{host}.log",
                )
            )
            for host in (0, 1)
        ]
        if disturb is not None:
            _wait_until(lambda: list(out.rglob("checkpoint-*.json")), "the first checkpoint")
            disturb(1)
        if not restarts:
            begun = time.monotonic()
            logs = [folder / f"host{host}.log" for host in (0, 1)]
            _wait_until(lambda: all("is gone" in log.read_text() for log in logs), "the end", TIMEOUT + MARGIN)
            _say(f"both hosts had reported it after {time.monotonic() - begun:.0f} s")
            return [processes[0].wait(PATIENCE), processes[1].poll()]
        return [process.wait(PATIENCE) for process in processes]


def _check_losses(out: Path, expected: list[float]) -> None:
    found = History.read_csv(out / "conv-classic" / "seed-0" / "history.csv").loss
    _expect(len(found) == len(expected), f"{out.name}: {len(found)} steps, expected {len(expected)}")
    worst = float(np.max(np.abs(np.array(found) / np.array(expected) - 1)))
    _expect(worst < TOLERANCE, f"{out.name}: the losses differ by {worst:.1e}")


def _restore_on_three_hosts(folder: Path) -> None:
    """Images processed by a Dask scheduler and two workers on three hosts, one of which is cut off."""
    images, generator = folder / "images", np.random.default_rng(0)
    images.mkdir(exist_ok=True)
    for i in range(IMAGES):
        pixels = generator.integers(0, 256, (28, 28), dtype=np.uint8)
        Image.fromarray(pixels).save(images / f"{i:04}.png")
    command = ("-m", "hourglass", "denoise", str(images))
    subprocess.run(
        [sys.executable, *command, str(folder / "expected"), "--model", "digits", "--quiet"],
        check=True,
        timeout=PATIENCE,
    )
    with Hosts(3, "10.77.2") as hosts, ExitStack() as closing:
        scheduler = f"tcp://{hosts.address(0)}:8786"
        dask = (sys.executable, "-m", "distributed.cli.dask_scheduler")
        log = folder / "scheduler.log"
        closing.enter_context(hosts.started(0, *dask, "--host", hosts.address(0), "--no-dashboard", log=log))
        for host in (1, 2):
            worker = (sys.executable, "-m", "distributed.cli.dask_worker", scheduler, "--nthreads", "1")
            place = ("--host", hosts.address(host), "--no-dashboard", "--no-nanny", "--death-timeout", str(PATIENCE))
            closing.enter_context(hosts.started(host, *worker, *place, log=folder / f"worker{host}.log"))
        _wait_until(lambda: log.exists() and log.read_text().count("Register worker") == 2, "the start of the workers")
        out = folder / "restored"
        words = (sys.executable, *command, str(out), "--model", "digits", "--cluster", scheduler)
        client = closing.enter_context(hosts.started(0, *words, log=folder / "client.log"))
        _wait_until(lambda: out.is_dir() and len(list(out.glob("*.png"))) > IMAGES // 10, "the first images")
        hosts.cut(2)
        code = client.wait(2 * PATIENCE)
        _expect(code == 0, f"the command ended with exit code {code}")
    for path in sorted((folder / "expected").glob("*.png")):
        _expect((out / path.name).read_bytes() == path.read_bytes(), f"{path.name} differs")
    _expect(len(list(out.iterdir())) == IMAGES, "there are other files than the outputs")
    _say("a Dask worker was cut off, and all outputs are those of one process")


if __name__ == "__main__":
    main()
