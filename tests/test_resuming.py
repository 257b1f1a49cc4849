"""Folders of runs and of models: one process at a time, and an unfinished one goes on."""

import subprocess
import sys

import numpy as np
import pytest

import hourglass as hg
from checkpoint_cases import StopError
from hourglass.atomic import locked


def test_two_processes_do_not_share_a_folder(hourglass, tmp_path):
    holder = (
        "from hourglass.atomic import locked\n"
        f"with locked({str(tmp_path / 'out')!r}): print('held', flush=True); input()"
    )
    process = subprocess.Popen([sys.executable, "-c", holder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "held\n"
        code, _, err = hourglass("run", "dense", "--steps", "1", "--out", tmp_path / "out", "--quiet")
        assert (code, len(err.splitlines())) == (1, 1)
        assert "is in use by another process" in err
    finally:
        process.kill()  # its death opens the lock
        process.communicate()
    with locked(tmp_path / "out"):
        pass


@pytest.mark.usefixtures("few_strengths")
def test_runs_of_a_folder_go_on(few, tmp_path, stop_at):
    options = {"dataset": few, "seeds": (0, 1), "n_steps": 6, "batch_size": 20, "checkpoint_every": "2steps"}
    whole = hg.run("denoise", **options, out=tmp_path / "whole")
    go_on = stop_at(6 + 4)  # in the second run
    with pytest.raises(StopError):
        hg.run("denoise", **options, out=tmp_path / "cut")
    go_on()
    first = tmp_path / "cut" / "denoise-classic" / "seed-0"
    before = {path.name: path.stat().st_mtime_ns for path in first.iterdir()}
    assert (tmp_path / "cut" / "denoise-classic" / "seed-1.unfinished").is_dir()
    assert not (tmp_path / "cut" / "denoise-classic" / "seed-1").exists()
    said = []
    again = hg.run("denoise", **options, out=tmp_path / "cut", say=said.append)
    assert "denoise classic seed 0: finished already, left as it is" in said
    assert {path.name: path.stat().st_mtime_ns for path in first.iterdir()} == before
    assert again.scores == whole.scores
    for seed in (0, 1):
        name = f"denoise-classic/seed-{seed}/model.safetensors"
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert not list((tmp_path / "cut").rglob("*.unfinished"))
    with pytest.raises(ValueError, match="batch_size is 20 there, 30 here"):
        hg.run("denoise", **options | {"batch_size": 30}, out=tmp_path / "cut", resume=True)


def test_training_on_a_folder_goes_on(hourglass, tmp_path, few, stop_at):
    from PIL import Image

    for i in range(4):
        Image.fromarray((few.train.images[i, ..., 0] * 255).astype(np.uint8)).save(tmp_path / f"{i}.png")
    words = ["train", tmp_path, "--crop", 16, "--n-crops", 40, "--steps", 8, "--checkpoint-every", "2steps"]
    assert hourglass(*words, "--out", tmp_path / "whole", "--quiet")[0] == 0
    go_on = stop_at(6)
    code, _, err = hourglass(*words, "--out", tmp_path / "cut", "--quiet")
    assert (code, len(err.splitlines())) == (1, 1)
    go_on()
    assert (tmp_path / "cut" / ".unfinished").is_dir()
    code, out, err = hourglass(*words, "--out", tmp_path / "cut", "--overwrite")
    assert code == 0
    assert "holds an unfinished training, which is resumed" in err
    assert "going on from step 4 of 8" in err
    weights = "model.safetensors"
    assert (tmp_path / "cut" / weights).read_bytes() == (tmp_path / "whole" / weights).read_bytes()
    assert not (tmp_path / "cut" / ".unfinished").exists()
    code, out, _ = hourglass(*words, "--out", tmp_path / "cut", "--resume")
    assert (code, out.strip()) == (0, f"model: {tmp_path / 'cut'} (finished already)")
    assert hourglass(*words, "--out", tmp_path / "cut", "--resume", "--overwrite")[0] == 2
