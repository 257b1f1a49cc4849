"""10,000 small images on clusters of two workers, one of which is killed."""

import contextlib
import os
import shlex
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from clusters import Dask, Ray, environment, wait_until

pytestmark = pytest.mark.slow
COUNT = int(os.environ.get("HOURGLASS_BULK_IMAGES", "10000"))


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Images of 28 × 28 pixels, 100 in a folder."""
    folder, random = tmp_path_factory.mktemp("images") / "in", np.random.default_rng(0)
    for number in range(COUNT):
        path = folder / f"{number // 100:03}" / f"{number:05}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(90, 160, (28, 28)).astype(np.uint8)).save(path)
    return folder


@pytest.fixture(scope="module")
def words(images, few):
    """A command with a small model, so that the work is above all that of the files."""
    from hourglass import DenseAutoencoder, save

    save(DenseAutoencoder(n_steps=3).fit(few.train.images), images.with_name("model"))
    return ["reconstruct", str(images), "--model", str(images.with_name("model")), "--out"]


@pytest.fixture(scope="module")
def expected(images, words):
    assert run([*words, str(images.with_name("expected")), "-q"]) == (0, "")
    found = finished(images.with_name("expected"))
    assert len(found) == COUNT
    return found


def run(words):
    """Run a command in a process of its own, as clients of clusters are best left alone."""
    command = [sys.executable, "-m", "hourglass", *words]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=1800)
    return done.returncode, done.stderr


def finished(folder):
    paths = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".part-"))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def run_and_kill(cluster, words, out):
    """Kill a worker that is at work when a quarter of the outputs is there."""
    command = [sys.executable, "-m", "hourglass", *words]
    with subprocess.Popen(command, env=environment(), stderr=subprocess.PIPE, text=True) as process:
        wait_until(lambda: process.poll() is not None or sum(1 for _ in out.glob("*/*.png")) > COUNT // 4, 900)
        assert process.poll() is None
        cluster.kill_a_busy_worker()
        assert process.poll() is None
        _, err = process.communicate(timeout=1800)
    return process.returncode, err


def test_dask_with_a_worker_killed(words, expected, tmp_path):
    out = tmp_path / "out"
    with contextlib.closing(Dask(tmp_path)) as cluster:
        code, err = run_and_kill(cluster, [*words, str(out), "--cluster", cluster.address], out)
    assert code == 0, err
    assert f"reconstruct: {COUNT} done;" in err
    assert finished(out) == expected


def test_ray_undisturbed_and_with_a_worker_killed(words, expected, tmp_path):
    with contextlib.closing(Ray()) as cluster:
        out = tmp_path / "undisturbed"
        code, err = run([*words, str(out), "--cluster", cluster.address])
        assert code == 0, err
        assert f"reconstruct: {COUNT} done;" in err
        assert finished(out) == expected
        out = tmp_path / "killed"
        code, err = run_and_kill(cluster, [*words, str(out), "--cluster", cluster.address, "-q"], out)
        assert code == 1, err
        line = err.splitlines()[-1]
        assert line.startswith("hourglass: a worker ended before its task was done (ActorDiedError)")
        command = line.split("to do the rest: ")[1]
        assert command.startswith("hourglass reconstruct --resume ")
        assert finished(out).items() < expected.items()
        assert run(shlex.split(command)[1:]) == (0, "")
        assert finished(out) == expected
