"""The test of several hosts says where it cannot run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))
import cluster_test

TOOL = Path(cluster_test.__file__)


@pytest.mark.parametrize(
    ("ip", "said"),
    [
        ("echo 'mount --make-shared failed: Operation not permitted' >&2; exit 1", "Operation not permitted"),
        ('[ "$1" = netns ] || { echo "RTNETLINK answers: Operation not permitted" >&2; exit 2; }', "RTNETLINK"),
    ],
)
def test_where_there_can_be_no_hosts_it_says_so(ip, said, tmp_path):
    (tmp_path / "ip").write_text(f"#!/bin/sh\n{ip}\n")
    (tmp_path / "ip").chmod(0o755)
    done = subprocess.run(
        [sys.executable, TOOL], env=os.environ | {"PATH": str(tmp_path)}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("cluster-test: ")
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_machine_without_iproute2_is_told_so(monkeypatch, capsys):
    def missing(*words, **options):
        raise FileNotFoundError("/usr/sbin/ip")

    monkeypatch.setattr(subprocess, "run", missing)
    monkeypatch.setattr(sys, "argv", ["cluster_test.py"])
    with pytest.raises(SystemExit) as ended:
        cluster_test.main()
    assert ended.value.code == 2
    assert capsys.readouterr().err == "cluster-test: the command ip is missing; install iproute2\n"
