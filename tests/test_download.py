"""Downloads from mirrors that are good, wrong, slow, endless or gone."""

import time

import pytest

from hourglass.data import download
from hourglass.data.download import fetch


def expect(content):
    def verify(path):
        if path.read_bytes() != content:
            raise ValueError(f"{path}: not what was expected")

    return verify


def test_fetch_goes_on_to_the_next_mirror(server, tmp_path):
    address, answers = server
    answers |= {"/one/x.gz": 500, "/cut/x.gz": b"go", "/wrong/x.gz": b"bad", "/good/x.gz": b"good"}
    target = tmp_path / "cache" / "x.gz"
    fetch([f"{address}/{mirror}/x.gz" for mirror in ("none", "one", "cut", "wrong", "good")], target, expect(b"good"))
    assert target.read_bytes() == b"good"
    assert [path.name for path in target.parent.iterdir()] == ["x.gz"]


def test_fetch_goes_on_from_a_mirror_that_stalls_sends_too_much_too_slowly_or_elsewhere(server, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "TIMEOUT", 0.5)
    monkeypatch.setattr(download, "LARGEST", 200_000)
    monkeypatch.setattr(download, "LONGEST", 1.5)
    address, answers = server
    answers |= {
        "/much/x.gz": bytes(1_000_000),
        "/good/x.gz": b"good",
        "/loop/x.gz": "/loop/x.gz",
        "/moved/x.gz": "/good/x.gz",
    }
    answers |= {"/stall/x.gz": ("stall", b"go"), "/drip/x.gz": ("drip", bytes(400_000))}
    target = tmp_path / "cache" / "x.gz"
    mirrors = ("stall", "much", "drip", "loop", "moved")
    started = time.monotonic()
    fetch([f"{address}/{mirror}/x.gz" for mirror in mirrors], target, expect(b"good"))
    assert time.monotonic() - started < 10
    assert target.read_bytes() == b"good"
    assert [path.name for path in target.parent.iterdir()] == ["x.gz"]
    with pytest.raises(ConnectionError, match=r"timed out.*sent more than 0 MiB.*took more than 1\.5 s.*without end"):
        fetch([f"{address}/{mirror}/x.gz" for mirror in mirrors[:-1]], tmp_path / "cache" / "y.gz", expect(b"good"))
    assert [path.name for path in target.parent.iterdir()] == ["x.gz"]


def test_fetch_leaves_nothing_when_every_mirror_fails(server, tmp_path):
    address, answers = server
    answers |= {"/one/x.gz": 503, "/wrong/x.gz": b"bad"}
    with pytest.raises(ConnectionError, match=r"HTTP status 503.*its file: not what was expected"):
        fetch([f"{address}/one/x.gz", f"{address}/wrong/x.gz"], tmp_path / "x.gz", expect(b"good"))
    assert list(tmp_path.iterdir()) == []
