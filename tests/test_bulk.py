"""Files on several processes and clusters, and in shards: the outputs are those of one process, whole and once each."""

import contextlib
import csv
import io
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from clusters import Dask, environment, wait_until
from hourglass.cli.screens import PANELS, SHARED
from hourglass.errors import OptionError
from hourglass.imagefiles.processing import Outcome, in_chunks, process
from hourglass.imagefiles.shards import Shard, parse_shard
from hourglass.runtime.workers import HERE, Workers, in_order


def save_images(folder, count, size=(24, 20)):
    """Noisy images, the names of which are not in the order of their sizes."""
    random = np.random.default_rng(0)
    for number in range(count):
        path = folder / f"{number % 3}" / f"{number:05}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(90, 160, size).astype(np.uint8)).save(path)
    return folder


def contents(folder):
    """Every file below a folder, hidden and unfinished ones too."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def finished(folder):
    """Every file but those at which a process that was killed was writing."""
    return {name: content for name, content in contents(folder).items() if ".part-" not in name}


@pytest.fixture(scope="module")
def dask(tmp_path_factory):
    """A cluster of one worker with two threads, which works in another folder."""
    with contextlib.closing(Dask(tmp_path_factory.mktemp("dask"), workers=1, threads=2)) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return save_images(tmp_path_factory.mktemp("images") / "in", 60, (20, 16))


@pytest.fixture(scope="module")
def expected(images):
    """What one process makes of the images."""
    from hourglass import cli

    out = images.with_name("expected")
    assert cli.main(["denoise", str(images), str(out), "-q"]) == 0
    return contents(out)


def children():
    """Processes of joblib that this process has started and that do tasks."""
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == os.getpid() and "popen_loky" in (folder / "cmdline").read_text():
                yield int(folder.name)


@contextlib.contextmanager
def beside(folder, action):
    """Do something as soon as there is an output of the command that runs in the context."""

    def work():
        wait_until(lambda: any(not path.name.startswith(".") for path in folder.rglob("*.png")))
        action()

    with ThreadPoolExecutor(1) as thread:
        done = thread.submit(work)
        yield
        done.result()


def test_outputs_equal_those_of_one_process(dask, images, expected, hourglass, tmp_path):
    bad = images / "0" / "bad.png"
    bad.write_text("no image")
    try:
        code, out, err = hourglass("denoise", os.path.relpath(images), "out", "--cluster", dask.address)
    finally:
        bad.unlink()
    lines = err.splitlines()
    assert (code, out) == (1, "")
    assert [line for line in lines if line.startswith("hourglass: ")] == [
        f"hourglass: {os.path.relpath(bad)} is a text file and not an image"
    ]
    assert lines[-1].startswith("denoise: 60 done, 1 failed; range 0 to 255 (8 bits); noise level ")
    assert contents(tmp_path / "out") == expected
    noted = [line.split(":")[1].strip() for line in lines if line.startswith("denoise: 0")]
    assert noted == [Path(name).name for name in sorted(expected)]


def test_resume_does_the_others(dask, images, expected, hourglass, tmp_path):
    hourglass("denoise", images, tmp_path / "out", "-q")
    for name in sorted(expected)[5:30:3]:
        (tmp_path / "out" / name).unlink()
    kept = tmp_path / "out" / sorted(expected)[0]
    kept.write_bytes(b"of before")
    code, _, err = hourglass("denoise", images, tmp_path / "out", "--resume", "--cluster", dask.address)
    assert code == 0
    assert err.splitlines()[-1].startswith("denoise: 9 done, 51 there already;")
    assert contents(tmp_path / "out") == expected | {sorted(expected)[0]: b"of before"}


@pytest.mark.slow
def test_a_lost_process_ends_the_command_with_the_one_that_resumes(images, expected, hourglass, tmp_path):
    out = tmp_path / "out"
    with beside(out, lambda: os.kill(wait_until(lambda: next(children(), None)), signal.SIGKILL)):
        code, _, err = hourglass("denoise", images, out, "--jobs", 2, "-q")
    command = f"hourglass denoise --resume {images} {out} --jobs 2 -q"
    assert code == 1
    [line] = err.splitlines()
    assert line.startswith("hourglass: a worker ended before its task was done (")
    assert line.endswith(f"; to do the rest: {command}")
    assert finished(out).items() < expected.items()
    assert hourglass(*command.replace("--jobs 2", "--jobs 1").split()[1:]) == (0, "", "")
    assert finished(out) == expected


def test_codes_and_scores_equal_those_of_one_process(dask, hourglass, digits_model, images, tmp_path):
    elsewhere = ("--cluster", dask.address)
    for name, words in (("one", ()), ("two", elsewhere)):
        assert (
            hourglass(
                "encode", os.path.relpath(images), f"{name}.csv", "--model", digits_model, "--resize", "-q", *words
            )[0]
            == 0
        )
    assert Path("one.csv").read_bytes() == Path("two.csv").read_bytes()
    save_images(tmp_path / "few", 3)
    for model in ("photo", digits_model):
        words = ("evaluate", "few", "--model", model, "--format", "json", "-q")
        words += ("--resize",) if model is digits_model else ()
        one, two = hourglass(*words), hourglass(*words, *elsewhere)
        assert one[0] == 0
        assert one == two


def test_the_shards_of_tables_together_are_the_whole(hourglass, digits_model, images, tmp_path):
    words = ("encode", images, "codes.csv", "--model", digits_model, "--resize", "-q")
    assert hourglass(*words)[0] == 0
    for number in (1, 2, 3):
        assert hourglass(*words, "--shard", f"{number}/3")[0] == 0
    whole = Path("codes.csv").read_text().splitlines()
    parts = [Path(f"codes-{number}-of-3.csv").read_text().splitlines() for number in (1, 2, 3)]
    assert [part[1:] for part in parts] == [whole[1 + number :: 3] for number in range(3)]
    code, _, err = hourglass(*words, "--shard", "2/3")
    assert (code, "codes-2-of-3.csv exists" in err) == (1, True)
    few = save_images(tmp_path / "few", 10)
    words = ("evaluate", few, "--format", "csv", "-q")
    whole = list(csv.reader(io.StringIO(hourglass(*words)[1])))
    half = list(csv.reader(io.StringIO(hourglass(*words, "--shard", "2/2")[1])))
    of_files = [row for row in half[1:] if row[0] != "mean"]
    assert len({row[0] for row in of_files}) == 5
    assert all(row in whole for row in of_files)


@pytest.fixture(scope="module")
def digits_model(few, tmp_path_factory):
    from hourglass import DenseAutoencoder, save

    folder = tmp_path_factory.mktemp("model") / "model"
    save(DenseAutoencoder(n_steps=3).fit(few.train.images), folder)
    return folder


def test_shards_of_a_folder_are_done_apart_and_conflicts_found_in_all(images, expected, hourglass, tmp_path):
    for number in (3, 1, 2):
        code, _, err = hourglass("denoise", images, tmp_path / "out", "--shard", f"{number}/3")
        assert (code, len(contents(tmp_path / "out")) in (20, 40, 60)) == (0, True), err
    assert contents(tmp_path / "out") == expected
    save_images(tmp_path / "other" / "in", 3)
    Image.open(images / "0" / "00000.png").save(tmp_path / "00000.png")
    words = ("denoise", tmp_path / "00000.png", images / "0" / "00000.png", images / "1" / "00001.png", "--out", "new")
    for number in (1, 2, 3):
        code, _, err = hourglass(*words, "--shard", f"{number}/3")
        assert (code, "two inputs would become" in err) == (1, True)


@given(st.lists(st.integers(), max_size=60), st.integers(1, 70))
def test_shards_are_disjoint_and_together_the_whole(items, count):
    parts = [Shard(number, count).of(items) for number in range(1, count + 1)]
    assert sum(map(len, parts)) == len(items)
    assert all(items[place] == parts[place % count][place // count] for place in range(len(items)))


@given(st.integers(0, 2000), st.booleans())
def test_chunks_are_all_items_in_order(count, here):
    items = list(range(count))
    chunks = in_chunks(items, HERE if here else Workers(2))
    assert [item for chunk in chunks for item in chunk] == items
    assert all(0 < len(chunk) <= (1 if here else 32) for chunk in chunks)


@given(st.permutations(range(12)))
def test_results_are_brought_into_order(order):
    assert list(in_order((number, -number) for number in order)) == [-number for number in range(12)]


@given(st.text("0123456789/-+ ", max_size=8))
def test_a_shard_is_read_or_refused(text):
    parts = text.split("/")
    valid = len(parts) == 2 and all(part.isdecimal() for part in parts) and 1 <= int(parts[0]) <= int(parts[1])
    if valid:
        assert parse_shard(text) == Shard(*map(int, parts))
    else:
        with pytest.raises(OptionError, match="I/N with I from 1 to N"):
            parse_shard(text)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--shard", "0/3"), "--shard 0/3 is not I/N"),
        (("--shard", "4/3"), "--shard 4/3 is not I/N"),
        (("--shard", "one"), "--shard 'one' is not I/N"),
        (("--jobs", "0"), "jobs"),
        (("--jobs", "2", "--cluster", "tcp://127.0.0.1:1"), "give one of them"),
        (("--cluster", "http://127.0.0.1:1"), "--cluster='http://127.0.0.1:1' is no address of a cluster"),
    ],
)
def test_misuse_is_exit_2_and_writes_nothing(words, message, images, hourglass, tmp_path):
    code, _, err = hourglass("denoise", images, tmp_path / "out", *words)
    assert code == 2
    assert message in err.splitlines()[-1]
    assert not (tmp_path / "out").exists()


def test_inputs_are_replaced_in_this_process_alone(images, hourglass, tmp_path):
    before = contents(images)
    for words in (("--jobs", 2), ("--cluster", "tcp://127.0.0.1:1")):
        code, _, err = hourglass("denoise", images, "--in-place", *words)
        assert (code, err.count("\n")) == (2, 1)
        assert "--in-place is for this process alone" in err
    pairs = [(path, path) for path in images.rglob("*.png")]
    with pytest.raises(OptionError, match="inputs are replaced"):
        next(process(pairs, None, workers=Workers(2)))
    assert contents(images) == before


def test_a_folder_is_packed_on_workers_that_work_in_another(dask, images, hourglass):
    pytest.importorskip("zarr")
    assert hourglass("pack", os.path.relpath(images), "one.zarr", "-q")[0] == 0
    assert hourglass("pack", os.path.relpath(images), "two.zarr", "-q", "--cluster", dask.address)[0] == 0
    one, two = (contents(Path(name)) for name in ("one.zarr", "two.zarr"))
    assert one == two


def test_a_stream_runs_here(hourglass, images):
    code, _, err = hourglass("denoise", "-", "out.png", "--jobs", 2)
    assert (code, err) == (
        2,
        "hourglass: - is one image, and is processed here; leave --jobs, --cluster and --shard out\n",
    )


def test_a_cluster_that_is_not_there_is_exit_1(images, hourglass, tmp_path):
    code, _, err = hourglass("denoise", images, tmp_path / "out", "--cluster", "tcp://127.0.0.1:1")
    assert (code, err.count("\n")) == (1, 1)
    assert "does not answer as a cluster" in err
    assert not contents(tmp_path / "out") if (tmp_path / "out").exists() else True


@pytest.mark.parametrize("command", [command for names in PANELS.values() for command in names])
def test_help_says_on_what_a_command_can_run(command, hourglass):
    text = " ".join(hourglass(command, "--help")[1].split())
    alone = "This command runs in this process alone." in text
    assert alone == (command not in SHARED)
    if command in ("train", "run"):
        assert "torchrun --nproc-per-node 2 -m hourglass" in text
    if command not in ("train", *(() if not alone else (command,))):
        for words in ("on this machine", "in several", "(--jobs)", "Dask or Ray cluster (--cluster)"):
            assert words in text
    assert ("job arrays (--shard)" in text) == (command in ("denoise", "reconstruct", "encode", "evaluate"))


def test_an_outcome_is_read_elsewhere_with_its_error():
    import pickle

    class OwnError(OSError):
        def __init__(self, one, two):
            super().__init__(f"{one} {two}")

    for error in (OwnError("a", "b"), ValueError("no image"), OSError(28, "No space left", "a.png")):
        found = pickle.loads(pickle.dumps(Outcome(Path("a.png"), error=error))).error  # noqa: S301  # from the line itself
        assert str(found) == str(error)
        assert isinstance(found, OSError) == isinstance(error, OSError)
        assert getattr(found, "errno", None) == getattr(error, "errno", None)


def test_a_study_measures_on_a_worker_of_two_threads_what_it_measures_here(dask, few, tmp_path):
    import worker_tasks
    from hourglass.lab.cells import Cells, measure_cells

    plan = [{"seed": seed} for seed in range(4)]
    rows = [
        measure_cells(worker_tasks.drawn, plan, few, Cells(tmp_path / str(number)), **where)
        for number, where in enumerate(({"jobs": 1}, {"cluster": dask.address}))
    ]
    assert [row["measures"] for row in rows[0]] == [row["measures"] for row in rows[1]]
    assert len(Cells(tmp_path / "1").rows()) == 4


@pytest.mark.slow
@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_on_a_command(times, images, expected, tmp_path):
    """Two small images are begun first; then each of two processes has a large one."""
    random = np.random.default_rng(0)
    for number in range(2):
        (tmp_path / "in").mkdir(exist_ok=True)
        for name, size in ((number, (20, 16)), (number + 2, (1500, 1500)), (number + 4, (20, 16))):
            Image.fromarray(random.integers(90, 160, size).astype(np.uint8)).save(tmp_path / "in" / f"{name}.png")
    words = ("denoise", "in", "my out", "--jobs", "2", "-q")
    with subprocess.Popen(
        [sys.executable, "-m", "hourglass", *words], cwd=tmp_path, env=environment(), stderr=subprocess.PIPE,
        text=True, start_new_session=True,
    ) as running:  # fmt: skip
        out = tmp_path / "my out"
        wait_until(lambda: len(list(out.glob("[01].png"))) == 2)
        time.sleep(0.5)  # a large one or both, which take many times as long, are begun
        os.killpg(running.pid, signal.SIGINT)
        if times == 2:
            with pytest.raises(subprocess.TimeoutExpired):
                running.wait(0.5)
            os.killpg(running.pid, signal.SIGINT)
        _, err = running.communicate(timeout=120)
    assert running.returncode == 130
    assert err == "hourglass: interrupted; to do the rest: hourglass denoise --resume in 'my out' --jobs 2 -q\n"
    # What was begun is finished, or given up; nothing else is begun.
    small, large, found = {"0.png", "1.png"}, {"2.png", "3.png"}, set(finished(out))
    assert small < found <= small | large if times == 1 else found == small
