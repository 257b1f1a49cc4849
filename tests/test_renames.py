"""Documents of format 1, written before a step was called a step everywhere, are read under the present names."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import hourglass as hg
from hourglass.experiments import Run, stored_runs
from hourglass.lab.cells import Cells, identified, measure_cells
from hourglass.lab.studies import STUDIES
from hourglass.renames import FORMAT, FormatError, present_model, present_result, present_row

# Written by the last version of format 1: 16 pixels, a code of 2 numbers, 7 steps.
OLD_MODEL = Path(__file__).parent / "data" / "model-format-1"
RESULTS = Path(__file__).parents[1] / "docs" / "results"
OLD_ROW = {
    "cell": {"norm": "none", "seed": 0, "updates": 3},
    "measures": {"updates": [1, 3], "moving": [0.1, 0.2]},
    "seconds": 0.5,
}


def test_a_model_of_format_1_loads_and_trains_on():
    said = json.loads((OLD_MODEL / "model.json").read_text())
    assert (said["format"], said["parameters"]["batches"], said["fitted"]["updates"]) == (1, 7, 7)
    model = hg.load_model(OLD_MODEL)
    assert (model.n_steps_, model.n_steps) == (7, 7)
    assert not hasattr(model, "batches")
    images = np.random.default_rng(0).random((40, 4, 4)).astype(np.float32)
    # What the version that wrote it made of these images.
    np.testing.assert_allclose(model.reconstruct(images[:1]).ravel()[:3], [0.5854324, 0.49268398, 0.4649279], atol=1e-6)
    assert model.describe()["steps"] == 7
    assert model.partial_fit(images).n_steps_ == 7 + 5


def test_a_model_of_format_1_is_written_in_the_present_format(tmp_path):
    hg.save(hg.load_model(OLD_MODEL), tmp_path)
    written = json.loads((tmp_path / "model.json").read_text())
    assert (written["format"], written["parameters"]["n_steps"], written["fitted"]["steps"]) == (FORMAT, 7, 7)
    assert not {"batches", "updates"} & {*written["parameters"], *written["fitted"]}


def aged(folder):
    """Give a run's files the names and the format that they had before."""
    for name in ("result.json", "model.json"):
        document = json.loads((folder / name).read_text())
        document["parameters"]["batches"] = document["parameters"].pop("n_steps")
        if name == "model.json":
            document["format"] = 1
            document["fitted"]["updates"] = document["fitted"].pop("steps")
        else:
            del document["format"]
        (folder / name).write_text(json.dumps(document))
    history = folder / "history.csv"
    history.write_text(history.read_text().replace("step,", "update,", 1))


def test_a_run_of_format_1_is_read_and_left_as_finished(few, tmp_path):
    settings = {"dataset": few, "n_steps": 3, "batch_size": 20, "out": tmp_path}
    new = hg.run("bn-none", **settings).runs[0]
    folder = tmp_path / "bn-none-classic" / "seed-0"
    aged(folder)
    assert (folder / "history.csv").read_text().startswith("update,epoch,")
    [stored] = stored_runs(tmp_path)
    assert (stored.result["format"], stored.result["parameters"]["n_steps"]) == (FORMAT, 3)
    assert "batches" not in stored.result["parameters"]
    history = stored.history()
    assert (len(history), list(history.reports)) == (3, list(new.history.reports))
    assert history.loss == pytest.approx(new.history.loss)
    assert Run.read(folder).history == history
    before = (folder / "result.json").read_bytes()
    again = hg.run("bn-none", **settings, resume=True).runs[0]
    assert (again.metrics, again.parameters) == (new.metrics, new.parameters)
    assert (folder / "result.json").read_bytes() == before


def test_a_line_of_format_1_is_not_measured_again(few, tmp_path):
    def measure(cell, data):
        raise AssertionError("measured again")

    old = {**OLD_ROW, "cell": OLD_ROW["cell"] | identified(few)}
    file = Cells(tmp_path / "cells.jsonl")
    file.path.write_text(json.dumps(old) + "\n")
    cells = [{"norm": "none", "seed": 0, "n_steps": 3}]
    [row] = measure_cells(measure, cells, few, file, jobs=1)
    assert row["measures"] == {"steps": [1, 3], "moving": [0.1, 0.2]}
    assert json.loads(file.path.read_text()) == old


@pytest.mark.parametrize(
    ("present", "document"),
    [
        (present_model, {"format": 2, "parameters": {"n_steps": 3}, "fitted": {"steps": 3}}),
        (present_result, {"format": 2, "parameters": {"epochs": 1}}),
        (present_row, {"format": 2, "cell": {"n_steps": 3}, "measures": {"updates": "a measure of this name"}}),
    ],
)
def test_the_present_format_passes_unchanged_and_a_later_one_is_refused(present, document):
    assert present(document) == document
    for version in (3, "2", None):
        with pytest.raises(FormatError, match="reads formats 1 to 2; upgrade"):
            present(document | {"format": version})


def test_results_and_lines_of_a_later_format_are_named(few, tmp_path):
    folder = tmp_path / "bn-none-classic" / "seed-0"
    shutil.copytree(RESULTS / "bn-none-classic" / "seed-0", folder)
    document = json.loads((folder / "result.json").read_text())
    (folder / "result.json").write_text(json.dumps(document | {"format": 3}))
    with pytest.raises(ValueError, match=r"seed-0/result\.json: it has format 3.*upgrade"):
        stored_runs(tmp_path)
    with pytest.raises(ValueError, match=r"seed-0/result\.json: it has format 3.*upgrade"):
        Run.read(folder)
    path = tmp_path / "cells.jsonl"
    path.write_text(json.dumps(OLD_ROW) + "\n" + json.dumps(OLD_ROW | {"format": 3}) + "\n")
    with pytest.raises(ValueError, match=r"cells\.jsonl: line 2: it has format 3.*upgrade"):
        Cells(path).rows()
    path.write_text('{"other": 1}\n')
    with pytest.raises(ValueError, match=r"cells\.jsonl: line 1 is no line of a study"):
        Cells(path).rows()


@pytest.mark.parametrize("name", STUDIES)
def test_committed_lines_are_of_the_present_format_and_complete(name):
    rows = [json.loads(line) for line in (RESULTS / "lab" / name / "cells.jsonl").read_text().splitlines()]
    assert {row["format"] for row in rows} == {FORMAT}
    study = STUDIES[name]
    data = {"dataset", "images", "rest", "trained_on"}
    there = [{key: value for key, value in row["cell"].items() if key not in data} for row in rows]
    assert all(cell in there for cell in study.plan(study.seeds, study.n_steps))


def test_committed_lines_are_of_the_data_that_comes_along():
    identity = identified(hg.load("sample"))
    for path in (RESULTS / "lab").glob("*/cells.jsonl"):
        for line in path.read_text().splitlines():
            cell = json.loads(line)["cell"]
            if cell["dataset"] == "sample":
                assert {name: cell[name] for name in identity} == identity
            else:
                assert cell["dataset"] == "mnist"
