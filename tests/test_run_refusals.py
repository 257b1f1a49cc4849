"""Runs that are refused before training, and stored runs that are damaged."""

import re

import pytest

import hourglass as hg
from hourglass import report
from hourglass.experiments import StoredRun, runs, stored_runs
from hourglass.experiments.groups import groups_of

QUICK = {"n_steps": 3, "batch_size": 20}


@pytest.fixture(autouse=True)
def _short_checkerboard(monkeypatch):
    monkeypatch.setattr("hourglass.experiments.checkerboard.STEPS", 2)
    monkeypatch.setattr("hourglass.experiments.checkerboard.DRAWS", 3)


def test_data_that_an_experiment_cannot_use_are_refused_before_training(few, monkeypatch):
    from hourglass.data import Dataset, Images

    monkeypatch.setattr(runs, "_run_one", lambda *args: pytest.fail("trained"))
    bare = Dataset("bare", Images(few.train.images, None), Images(few.test.images, None), validation_size=50)
    with pytest.raises(ValueError, match="bare has no labels"):
        hg.run("bn-none", dataset=bare, **QUICK)
    with pytest.raises(ValueError, match="holds out no validation images"):
        hg.run("bn-none", dataset=Dataset("whole", few.train, few.test), **QUICK)
    small = [Images(part.images[:, :5, :5], part.labels) for part in (few.train, few.test)]
    with pytest.raises(ValueError, match="SSIM"):
        hg.run("dense", dataset=Dataset("small", *small), **QUICK)
    with pytest.raises(ValueError, match="none twice"):
        hg.run("dense", dataset=few, seeds=(0, 0), **QUICK)
    with pytest.raises(ValueError, match="random_state is not set by itself"):
        hg.run("dense", dataset=few, **QUICK, random_state=1)


def test_a_folder_that_cannot_take_the_runs_is_refused_before_training(few, tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "_run_one", lambda *args: pytest.fail("trained"))
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file" / "sub"):
        with pytest.raises(OSError, match="file"):
            hg.run("dense", dataset=few, out=out, **QUICK)


def test_runs_of_other_parameters_are_no_seeds_of_one_another(few, tmp_path):
    hg.run("dense", dataset=few, seeds=(0,), out=tmp_path, **QUICK)
    hg.run("dense", dataset=few, seeds=(1,), out=tmp_path, code_size=8, **QUICK)
    (tmp_path / "dense-classic" / "seed-1 copy").mkdir()
    (tmp_path / "bn-comparison.png").write_bytes(b"of runs that are gone")
    groups = groups_of(stored_runs(tmp_path))
    assert [len(group.runs) for group in groups] == [1, 1]
    assert "code_size=8" in groups[1].changed + groups[0].changed
    page = report.write_report(tmp_path).read_text()
    assert not re.search(r"\d ± \d", page)
    assert "code_size=8" in page
    assert len({group.anchor for group in groups}) == 2
    assert not (tmp_path / "bn-comparison.png").exists()


def test_a_run_without_its_history_is_named_with_a_remedy(few, tmp_path):
    hg.run("bn-layer", dataset=few, seeds=(0,), out=tmp_path, n_steps=2, device="cpu")
    (tmp_path / "bn-layer-classic" / "seed-0" / "history.csv").unlink()
    (stored,) = stored_runs(tmp_path)
    with pytest.raises(ValueError, match=r"seed-0 is damaged \(history\.csv is missing\); move it away"):
        stored.history()


@pytest.mark.parametrize("content", ["step,epoch,loss\n1,0.1,0.5\n", "step,epoch,learning_rate,loss\n1,0.1\n"])
def test_a_history_without_a_column_or_a_number_is_damaged(content, tmp_path):
    (tmp_path / "history.csv").write_text(content)
    with pytest.raises(ValueError, match="damaged"):
        StoredRun(tmp_path, {}).history()
