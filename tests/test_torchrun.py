"""Commands under torchrun: one training by several processes, one of which may die."""

import re

import pytest
import torch

import hourglass as hg
from hourglass.cli.torchrun import Job
from hourglass.runtime.launched import Launched
from rank_cases import torchrun, write_images

pytestmark = pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="this PyTorch has no gloo")

ENDED = (
    r"hourglass: rank 1 \(process \d+ on \S+\) is gone: it died, or its host cannot be reached; to go on: "
    r"torchrun --nproc-per-node=2 -m hourglass (.*)"
)


def resuming(err):
    """The command that the one process which is left names."""
    [said] = [line for line in err.splitlines() if line.startswith("hourglass: ") and "warning" not in line]
    found = re.fullmatch(ENDED, said)
    assert found, said
    return found[1].split()


def test_torchrun_restarts_a_training_where_it_was(tmp_path):
    write_images(tmp_path)
    words = ("train", tmp_path / "images", "--resize", "8x8", "--network", "dense", "--steps", "40")
    words += ("--checkpoint-every", "10steps", "--set", "batch_size=5", "--out", tmp_path / "model")
    code, out, err = torchrun(*words, restarts=1, dies_in_step=25)
    assert code == 0, err
    assert resuming(err) == ["train", "--resume", *map(str, words[1:])]
    assert err.count("going on from step 20 of 40") == 1
    assert out == f"model: {tmp_path / 'model'}\n"
    found = hg.load_model(tmp_path / "model")
    options = {"resize": (8, 8), "network": "dense", "n_steps": 40, "parameters": {"batch_size": 5}}
    expected = hg.train_on_images(tmp_path / "images", tmp_path / "one", **options)
    for name, value in expected.network_.state_dict().items():
        torch.testing.assert_close(found.network_.state_dict()[name], value, rtol=1e-3, atol=1e-4, msg=name)


@pytest.mark.slow
def test_a_run_in_which_a_process_dies_is_resumed_by_one(hourglass, tmp_path):
    words = ("run", "dense", "--steps", "40", "--checkpoint-every", "10steps", "--timeout", "20", "--out", tmp_path)
    code, _, err = torchrun(*words, dies_in_step=25)
    assert code != 0
    assert "going on from" not in err
    again = resuming(err)
    at = again.index("--timeout")  # which is for several processes
    code, _, err = hourglass(*again[:at], *again[at + 2 :])
    assert code == 0, err
    assert "going on from step 20 of 40" in err
    assert "the number of processes was 2, now it is 1" in err
    [expected] = hg.run("dense", n_steps=40).runs
    found = hg.Run.read(tmp_path / "dense-classic" / "seed-0").history
    torch.testing.assert_close(found.loss, expected.history.loss, rtol=1e-3, atol=0)


def test_what_torchrun_cannot_share_is_refused(hourglass, tmp_path, monkeypatch):
    place = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1", "LOCAL_WORLD_SIZE": "2"}
    for name, value in place.items():
        monkeypatch.setenv(name, value)
    code, _, err = hourglass("run", "dense")
    assert (code, len(err.splitlines())) == (2, 1)
    assert "torchrun needs --out" in err
    code, _, err = hourglass("denoise", "in", "out")
    assert (code, len(err.splitlines())) == (2, 1)
    assert "denoise cannot be shared by the 2 processes" in err
    monkeypatch.setenv("WORLD_SIZE", "two")
    code, _, err = hourglass("run", "dense", "--out", tmp_path)
    assert (code, len(err.splitlines())) == (1, 1)
    assert "WORLD_SIZE is 'two', no whole number" in err


def test_a_job_is_known_again_after_a_restart_until_its_work_is_done(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")

    def job(restarts):
        return Job(Launched(rank=0, processes=1, local_rank=0, local_processes=1, restarts=restarts), tmp_path)

    assert not job(restarts=0).was_begun()
    job(restarts=0).begin()
    assert job(restarts=1).was_begun()
    assert not job(restarts=0).was_begun()
    for last in (job(restarts=1), Job(None, tmp_path)):  # also one process may finish the work
        job(restarts=0).begin()
        last.end()
        assert not job(restarts=1).was_begun()
