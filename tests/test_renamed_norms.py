"""Normalisations and corruptions in documents of format 1, which have other names since."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import hourglass as hg
from hourglass.denoising import SaltAndPepper
from hourglass.experiments import Run, stored_runs
from hourglass.lab.cells import Cells, identified, measure_cells
from hourglass.lab.studies import STUDIES
from hourglass.nn import FrameworkBatchNorm, LayerNorm
from hourglass.renames import present_model, present_row

# Models that version 0.1.0 wrote in format 1: a classifier with norm="layer", whose notes hold what it predicted, and
# an autoencoder with noise=SaltAndPepper(0.1).
DATA = Path(__file__).parent / "data"
GIVEN = (np.arange(48).reshape(3, 4, 4) * 7 % 48 / 47).astype(np.float32)


def test_one_name_is_batch_normalisation_in_old_models_and_layer_normalisation_in_new_ones(tmp_path):
    labels = np.arange(32) % 2
    images = np.random.default_rng(0).random((32, 4, 4), dtype=np.float32)
    hg.save(hg.ConvClassifier(depth=1, width=2, norm="layer", n_steps=2, random_state=0).fit(images, labels), tmp_path)
    documents = [json.loads((folder / "model.json").read_text()) for folder in (DATA / "old-norm", tmp_path)]
    assert [document["format"] for document in documents] == [1, 2]
    assert [document["parameters"]["norm"] for document in documents] == ["layer", "layer"]
    old, new = hg.load_model(DATA / "old-norm"), hg.load_model(tmp_path)
    assert (old.norm, new.norm) == ("batch", "layer")
    for model, kind in ((old, FrameworkBatchNorm), (new, LayerNorm)):
        assert {type(norm) for norm in (*model.network_.norms, model.network_.hidden_norm)} == {kind}


def test_an_old_model_predicts_what_it_did_and_is_saved_in_the_new_format(tmp_path):
    old = hg.load_model(DATA / "old-norm")
    np.testing.assert_allclose(old.predict_proba(GIVEN), old.notes_["probabilities"], atol=2e-6)
    hg.save(old, tmp_path)
    document = json.loads((tmp_path / "model.json").read_text())
    assert (document["format"], document["parameters"]["norm"]) == (2, "batch")
    np.testing.assert_array_equal(hg.load_model(tmp_path).predict_proba(GIVEN), old.predict_proba(GIVEN))


def test_an_old_models_corruption_is_no_longer_under_noise(tmp_path):
    old = hg.load_model(DATA / "old-noise")
    assert (old.noise, old.corruption) == (None, SaltAndPepper(0.1))
    hg.save(old, tmp_path)
    again = hg.load_model(tmp_path)
    assert (again.noise, again.corruption) == (None, SaltAndPepper(0.1))


def test_a_format_of_the_future_is_refused_wherever_one_is_read(tmp_path, few):
    shutil.copytree(DATA / "old-norm", tmp_path / "model")
    path = tmp_path / "model" / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 3}))
    with pytest.raises(ValueError, match="has format 3, this version reads formats 1 to 2; upgrade hourglass-lab"):
        hg.load_model(tmp_path / "model")
    lines = tmp_path / "cells.jsonl"
    lines.write_text('{"cell": {}, "measures": {}}\n{"format": 3, "cell": {}, "measures": {}}\n')
    with pytest.raises(ValueError, match=r"line 2.*has format 3, this version reads formats 1 to 2"):
        Cells(lines).rows()
    hg.run("bn-none", dataset=few, seeds=(0,), out=tmp_path / "runs", n_steps=1)
    result = tmp_path / "runs" / "bn-none-classic" / "seed-0" / "result.json"
    result.write_text(json.dumps(json.loads(result.read_text()) | {"format": 3}))
    with pytest.raises(ValueError, match="has format 3, this version reads formats 1 to 2"):
        stored_runs(tmp_path / "runs")
    with pytest.raises(ValueError, match="has format 3"):
        Run.read(result.parent)


def test_an_old_run_is_the_run_that_it_was(few, tmp_path):
    hg.run("bn-layer", dataset=few, seeds=(0,), out=tmp_path, n_steps=2)
    folder = tmp_path / "bn-layer-classic" / "seed-0"
    for name in ("result.json", "model.json"):
        document = json.loads((folder / name).read_text())
        assert (document.pop("format"), document["parameters"]["norm"]) == (2, "batch")
        document["parameters"]["norm"] = "layer"
        old = {"format": 1, **document} if name == "model.json" else document
        (folder / name).write_text(json.dumps(old))
    [stored] = stored_runs(tmp_path)
    assert stored.result["parameters"]["norm"] == Run.read(folder).parameters["norm"] == "batch"
    before = (folder / "result.json").read_bytes()
    said = []
    hg.run("bn-layer", dataset=few, seeds=(0,), out=tmp_path, n_steps=2, resume=True, say=said.append)
    assert "bn-layer classic seed 0: finished already, left as it is" in said
    assert (folder / "result.json").read_bytes() == before


def refuse(cell, data):
    raise AssertionError("measured again")


def old_names(cell):
    old = {"batch": "layer", "batch-manual": "manual", "layer": "layernorm"}
    arms = old | {"batch-manual, truncated normal": "manual, truncated normal"}
    renamed = dict(cell) | {"norm": old.get(cell["norm"], cell["norm"])}
    return renamed | ({"arm": arms.get(cell["arm"], cell["arm"])} if "arm" in cell else {})


@pytest.mark.parametrize("study", ["bn-fair", "bn-batch-size"])
def test_cells_of_old_lines_are_not_measured_again(study, few, tmp_path):
    plan = STUDIES[study].plan(1, 3)
    full = [{**cell, **identified(few)} for cell in plan]
    lines = [json.dumps({"cell": old_names(cell), "measures": {"i": i}}) for i, cell in enumerate(full)]
    assert any("layer" in line for line in lines)
    path = tmp_path / "cells.jsonl"
    path.write_text("".join(f"{line}\n" for line in lines))
    rows = measure_cells(refuse, plan, few, Cells(path), jobs=1)
    assert [row["cell"] for row in rows] == full
    assert [row["measures"]["i"] for row in rows] == list(range(len(full)))


def test_lines_of_both_formats_stand_in_one_file(tmp_path):
    file = Cells(tmp_path / "cells.jsonl")
    old = {"cell": {"norm": "layer", "seed": 0}, "measures": {}}
    file.path.write_text(json.dumps(old) + "\n")
    new = {"format": 2, "cell": {"norm": "layer", "seed": 0}, "measures": {}}
    file.append(new)
    assert [row["cell"]["norm"] for row in file.rows()] == ["batch", "layer"]
    assert [json.loads(line) for line in file.path.read_text().splitlines()] == [old, new]


@pytest.mark.parametrize("name", ["none", "group", "ghost", "nonsense", 3, None, ["layer"]])
def test_what_has_no_new_name_stays(name):
    assert present_model({"parameters": {"norm": name}, "fitted": {}})["parameters"]["norm"] == name


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"noise": [0.1, 0.2], "norm": "layernorm"}, {"noise": [0.1, 0.2], "norm": "layer"}),
        ({"noise": 0.5}, {"noise": 0.5}),
        ({"noise": {"kind": "blur"}}, {"corruption": {"kind": "blur"}}),
    ],
)
def test_parameters_of_format_1(old, new):
    assert present_model({"parameters": old, "fitted": {}})["parameters"] == new


def test_an_arm_without_normalisation_keeps_its_name():
    cell = {"arm": "plain", "gamma": None}
    assert present_row({"cell": cell, "measures": {}})["cell"] == cell


def test_new_lines_say_their_format(tmp_path, few):
    measure_cells(lambda cell, data: {}, [{"norm": "layer"}], few, Cells(tmp_path / "cells.jsonl"), jobs=1)
    [line] = (tmp_path / "cells.jsonl").read_text().splitlines()
    assert json.loads(line)["format"] == 2
    assert Cells(tmp_path / "cells.jsonl").rows()[0]["cell"]["norm"] == "layer"
