"""Experiments and studies into one folder, from Python."""

import dataclasses

import pytest

import hourglass as hg
from hourglass.errors import OptionError
from hourglass.experiments import EXPERIMENTS
from hourglass.lab import STUDIES, Findings
from hourglass.running import split

QUICK = {"parameters": {"n_steps": 2, "batch_size": 10}}


@pytest.fixture(autouse=True)
def _short_checkerboard(monkeypatch):
    monkeypatch.setattr("hourglass.experiments.checkerboard.STEPS", 2)


def test_results_come_back_and_stand_in_the_report(few, tmp_path):
    runs, results, pages = [], [], []
    found = hg.run_many(
        ["dense", "bn-none"],
        out=tmp_path,
        dataset=few,
        seeds=2,
        on_run=runs.append,
        on_result=results.append,
        on_report=pages.append,
        **QUICK,
    )
    assert [result.experiment for result in found] == ["dense", "bn-none"]
    assert results == found
    assert [(run.experiment, run.seed) for run in runs] == [
        ("dense", 0), ("dense", 1), ("bn-none", 0), ("bn-none", 1),
    ]  # fmt: skip
    assert pages == [tmp_path / "report.html"]
    assert "bn-none-classic" in pages[0].read_text()


def test_seeds_are_a_number_or_the_seeds_themselves(few, tmp_path):
    [result] = hg.run_many("dense", out=tmp_path / "a", dataset=few, seeds=(3, 5), **QUICK)
    assert [run.seed for run in result.runs] == [3, 5]
    [result] = hg.run_many("dense", out=tmp_path / "b", dataset=few, **QUICK)
    assert [run.seed for run in result.runs] == [0]


def test_a_study_and_an_experiment_share_a_folder_and_are_resumed(few, tmp_path):
    options = {"out": tmp_path, "dataset": few, "seeds": 1, "jobs": 1, "parameters": {"n_steps": 2}}
    first = hg.run_many(["bn-inference", "dense"], **options)
    assert isinstance(first[1], Findings)
    assert len(first[1].rows) == 1
    with pytest.raises(FileExistsError, match="holds a finished run"):
        hg.run_many(["bn-inference", "dense"], **options)
    said = []
    again = hg.run_many(["bn-inference", "dense"], resume=True, say=said.append, **options)
    assert again[1].rows == first[1].rows
    assert any("finished already" in line for line in said)


def test_what_was_finished_is_on_the_page_though_a_later_one_fails(few, tmp_path, monkeypatch):
    def fail(cell, data):
        raise OSError("no space left")

    monkeypatch.setitem(STUDIES, "bn-depth", dataclasses.replace(STUDIES["bn-depth"], measure=fail))
    pages = []
    options = {"out": tmp_path, "dataset": few, "seeds": 1, "jobs": 1, "parameters": {"n_steps": 2}}
    with pytest.raises(OSError, match="no space left"):
        hg.run_many(["dense", "bn-depth"], on_report=pages.append, **options)
    assert pages == [tmp_path / "report.html"]
    assert "dense-classic" in pages[0].read_text()


@pytest.mark.parametrize(
    ("names", "options", "said"),
    [
        ("pca", {}, "experiment 'pca' is unknown; choose one of dense, .*, all, notebooks or bn-lab"),
        ("dense", {"recipe": "slow"}, "recipe 'slow' is unknown"),
        ("dense", {"seeds": 0}, "seeds=0; expected a number of seeds above 0"),
        ("dense", {"parameters": {"channels": 3}}, "dense has no parameter 'channels'"),
        ("dense", {"parameters": {"out": "x"}}, "dense has no parameter 'out'"),
        ("dense", {"parameters": {"verbose": 1}}, "verbose is not set by itself"),
        ("dense", {"checkpoint_every": "often"}, "checkpoint_every"),
        ("bn-fair", {"parameters": {"epochs": 1}}, "bn-fair is a study, and has no epochs"),
        ("bn-fair", {"seeds": (1, 2)}, "bn-fair is a study and takes the number of seeds"),
    ],
)
def test_misuse_is_refused_before_anything_is_done(names, options, said, tmp_path):
    with pytest.raises(OptionError, match=said):
        hg.run_many(names, out=tmp_path / "out", dataset="mnist", data_dir=tmp_path / "nowhere", **options)
    assert not list(tmp_path.iterdir())


def test_names_are_divided_and_each_taken_once():
    assert split(["bn-fair", "all", "dense"]) == (list(EXPERIMENTS), ["bn-fair"])
    assert split(["notebooks"]) == ([name for name in EXPERIMENTS if not name.endswith("-better")], [])
    assert split(["bn-lab"]) == ([], list(STUDIES))


def test_resume_is_taken_with_a_study_too(hourglass, few, monkeypatch):
    monkeypatch.setattr("hourglass.experiments.store_data.load", lambda name, folder=None: few)
    words = ("run", "dense", "bn-inference", "--steps", 2, "--seeds", 1, "--jobs", 1, "--out", "x", "-q")
    assert hourglass(*words) == (0, "", "")
    assert hourglass(*words)[0] == 1
    assert hourglass(*words, "--resume") == (0, "", "")
