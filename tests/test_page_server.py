"""The server of the page, its policy, and the commands that show and write the page."""

import gzip
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request

import pytest

from browsers import served
from hourglass.playground import POLICY, page_server, write_page


@pytest.fixture(scope="module")
def address():
    with page_server() as server, served(server) as found:
        yield found


def test_the_page_is_small_and_has_the_policy(tmp_path):
    written = write_page(tmp_path)
    # Text is compressed by hosts; the data are compressed already.
    assert sum(len(gzip.compress(path.read_bytes())) for path in written) < 5_000_000
    assert f'content="{POLICY}"' in " ".join((tmp_path / "index.html").read_text(encoding="utf-8").split())


def test_the_server_sends_types_and_policy_and_lists_no_folder(address):
    for path, kind in {"": "text/html", "main.js": "text/javascript", "engine/engine.wasm": "application/wasm"}.items():
        with urllib.request.urlopen(f"{address}/{path}") as answer:  # noqa: S310 - of this process
            assert answer.headers["Content-Type"].startswith(kind)
            assert answer.headers["Content-Security-Policy"].startswith(POLICY)
            assert answer.headers["Cache-Control"] == "no-cache"
    for path in ("data/", "missing", "..%2f__init__.py", "../__init__.py"):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"{address}/{path}")  # noqa: S310 - of this process


def test_other_names_of_this_machine_are_not_answered(address):
    """A site whose name is made to stand for 127.0.0.1 must not read the page."""
    for host, status in (("example.org", 403), ("127.0.0.1.example.org", 403), ("localhost", 200), ("[::1]:80", 200)):
        request = urllib.request.Request(address, headers={"Host": host})  # noqa: S310 - of this process
        try:
            found = urllib.request.urlopen(request).status  # noqa: S310 - of this process
        except urllib.error.HTTPError as error:
            found = error.code
        assert found == status, host


def test_serve_answers_until_it_is_interrupted(tmp_path):
    command = [sys.executable, "-m", "hourglass", "serve", "--no-browser"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    # Whoever runs the tests may ignore the signal, which a process inherits.
    heed = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.default_int_handler)}
    with subprocess.Popen(command, **pipes, **heed) as process:
        try:
            line = process.stdout.readline()
            found = re.fullmatch(r"(http://127\.0\.0\.1:\d+/) \(Ctrl-C to stop\)\n", line)[1]
            assert b"hourglass playground" in urllib.request.urlopen(found).read()  # noqa: S310 - of that process
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=30)
        finally:
            process.kill()
    assert (process.returncode, out, err) == (0, "stopped\n", "")


def test_the_commands(hourglass, tmp_path):
    code, out, err = hourglass("page", "out")
    assert (code, err) == (0, "")
    assert "hourglass serve out" in out
    code, _, err = hourglass("page", "out")
    assert code == 1
    assert "exists; overwrite (--overwrite) replaces it" in err
    assert hourglass("page", "out", "--overwrite")[0] == 0
    code, _, err = hourglass("serve", tmp_path, "--no-browser")
    assert code == 1
    assert "has no index.html" in err
    with page_server() as server:
        port = server.server_address[1]
        code, _, err = hourglass("serve", "--no-browser", "--port", port)
    assert code == 1
    assert err.startswith(f"hourglass: cannot listen on 127.0.0.1, port {port} (")
