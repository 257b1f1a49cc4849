"""What every test has: a cache of its own, no network but this machine, and the small data set."""

import os
import socket
import tempfile
from pathlib import Path

import pytest

# Set before anything asks for the cache folder.
os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="hourglass-tests-")
os.environ.setdefault("MPLBACKEND", "agg")
# scikit-learn skips its checks of array API input without it.
os.environ.setdefault("SCIPY_ARRAY_API", "1")
MNIST = os.environ.get("HOURGLASS_DATA")


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


@pytest.fixture(scope="session")
def mnist_folder():
    """Folder of full MNIST; a test that needs it is skipped where there is none."""
    folder = Path(MNIST or Path(__file__).parents[2] / "shared" / "mnist")
    if not folder.is_dir():
        pytest.skip(f"needs full MNIST, which is not in {folder} (HOURGLASS_DATA)")
    return folder
