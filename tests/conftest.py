"""What every test has: a cache of its own, no network but this machine, and the small data set."""

import contextlib
import http.server
import os
import socket
import tempfile
import threading
import time
from pathlib import Path

import pytest

# Set before anything asks for the cache folder; gone with this process.
_cache = tempfile.TemporaryDirectory(prefix="hourglass-tests-", ignore_cleanup_errors=True)
os.environ["XDG_CACHE_HOME"] = _cache.name
os.environ.setdefault("MPLBACKEND", "agg")
# scikit-learn skips its checks of array API input without it.
os.environ.setdefault("SCIPY_ARRAY_API", "1")
MNIST = os.environ.get("HOURGLASS_DATA")


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    connect = socket.socket.connect

    def guarded(self, address):
        if isinstance(address, tuple) and address[0] not in ("127.0.0.1", "localhost", "::1"):
            raise OSError(f"tests reach no network, not {address}")
        return connect(self, address)

    def lookup(host, *args, **kwargs):
        if host not in ("127.0.0.1", "localhost", "::1"):
            raise socket.gaierror(f"tests look up no name, not {host}")
        return getaddrinfo(host, *args, **kwargs)

    getaddrinfo = socket.getaddrinfo
    monkeypatch.setattr(socket.socket, "connect", guarded)
    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    monkeypatch.delenv("HOURGLASS_DATA", raising=False)


@pytest.fixture
def hourglass(capfd, tmp_path, monkeypatch):
    """Run a command line in an empty folder; gives exit code, output and errors."""
    from hourglass import cli

    monkeypatch.chdir(tmp_path)

    def run(*words):
        code = cli.main([str(word) for word in words])
        out, err = capfd.readouterr()
        return code, out, err

    return run


@pytest.fixture(scope="session")
def sample():
    from hourglass.data import load

    return load("sample")


@pytest.fixture(scope="session")
def few(sample):
    """A data set small enough to train on in a blink: 200 digits, 100 to test, 50 held out."""
    from hourglass.data import Dataset

    return Dataset("few", sample.train[:200], sample.test[:100], validation_size=50)


@pytest.fixture(scope="module")
def few_strengths():
    """Denoisers without a network are tried with two strengths, in place of 17 that take seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hourglass.experiments.baselines.TOTAL_VARIATION_WEIGHTS", (0.2, 0.4))
        patch.setattr("hourglass.experiments.baselines.NL_MEANS_STRENGTHS", (0.2, 0.4))
        yield


@pytest.fixture(scope="session")
def mnist_folder():
    """Folder of full MNIST; a test that needs it is skipped where there is none."""
    folder = Path(MNIST or Path(__file__).parents[2] / "shared" / "mnist")
    if not folder.is_dir():
        pytest.skip(f"needs full MNIST, which is not in {folder} (HOURGLASS_DATA)")
    return folder


@pytest.fixture
def server():
    """Serves what the test puts into its dictionary: bytes, a status, another place, or slowness and bytes."""
    answers = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            answer = answers.get(self.path, 404)
            if isinstance(answer, str):
                self.send_response(302)
                self.send_header("Location", answer)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            if isinstance(answer, tuple):
                how, content = answer
                self.send_response(200)
                self.send_header("Content-Length", str(len(content) + 10))
                self.end_headers()
                with contextlib.suppress(OSError):
                    if how == "stall":
                        self.wfile.write(content)
                        time.sleep(3)
                    else:
                        for place in range(0, len(content), 20_000):
                            self.wfile.write(content[place : place + 20_000])
                            time.sleep(0.2)
                return
            self.send_response(answer if isinstance(answer, int) else 200)
            if isinstance(answer, bytes):
                declared = len(answer) + (50 if self.path.startswith("/cut") else 0)
                self.send_header("Content-Length", str(declared))
                self.end_headers()
                self.wfile.write(answer)
            else:
                self.send_header("Content-Length", "0")
                self.end_headers()

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}", answers
        running.shutdown()


@pytest.fixture
def stop_at(monkeypatch):
    """Let training raise before a step."""
    from checkpoint_cases import StopError
    from hourglass.training import Trainer

    def stop(at):
        step, count = Trainer.step, [0]

        def counting(self, index):
            count[0] += 1
            if count[0] == at:
                raise StopError
            return step(self, index)

        monkeypatch.setattr(Trainer, "step", counting)
        return lambda: monkeypatch.setattr(Trainer, "step", step)

    return stop
