"""A normalisation of one's own in files, checkpoints, the command line, export and other processes."""

import numpy as np
import pytest
import torch
from PIL import Image

import hourglass as hg
from hourglass.lab import cells
from hourglass.nn import NORMS, ConvNet, create_norm
from learners_norms import Right

SMALL = {"depth": 3, "width": 4, "n_steps": 4, "batch_size": 40, "random_state": 0}
REMEDY = r"hourglass\.nn\.NORMS\['mine'\] = MyBatchNorm, see CONTRIBUTING\.md\) and give norm='mine'"


class Undecided(Right):
    """Its graph depends on values."""

    def forward(self, x):
        return super().forward(x) * (1.0 if self.training or float(self.moving_var[0]) > 0 else 2.0)


def test_saving_is_refused_with_the_remedy_and_leaves_no_file(few, tmp_path):
    clf = hg.ConvClassifier(norm=Right, **SMALL).fit(few.train.images, few.train.labels)
    with pytest.raises(TypeError, match=rf"norm=Right cannot be written to a file.*{REMEDY}.*state_dict\(\)"):
        hg.save(clf, tmp_path / "model")
    assert not list(tmp_path.iterdir())
    # The second remedy.
    torch.save(clf.network_.state_dict(), tmp_path / "weights.pt")
    network = ConvNet((28, 28, 1), 10, depth=3, width=4, norm=Right)
    network.load_state_dict(torch.load(tmp_path / "weights.pt"))
    images = torch.from_numpy(few.test.images[:5]).permute(0, 3, 1, 2)
    torch.testing.assert_close(network.eval()(images), clf.network_(images))


def test_under_a_name_it_is_saved_and_read(few, tmp_path, monkeypatch):
    monkeypatch.setitem(NORMS, "mine", Right)
    clf = hg.ConvClassifier(norm="mine", checkpoint_dir=tmp_path / "state", **SMALL)
    clf.fit(few.train.images, few.train.labels)
    assert clf.title == "4-layer classifier with mine"
    hg.save(clf, tmp_path / "model")
    again = hg.load_model(tmp_path / "model")
    images = few.test.images[:5]
    np.testing.assert_array_equal(again.predict_proba(images), clf.predict_proba(images))
    monkeypatch.delitem(NORMS, "mine")
    with pytest.raises(ValueError, match=r"norm='mine' is unknown.*has to be in hourglass\.nn\.NORMS"):
        hg.load_model(tmp_path / "model")


def test_checkpoints_and_runs_are_refused_before_anything_is_written(few, tmp_path):
    clf = hg.ConvClassifier(norm=Right, checkpoint_dir=tmp_path / "state", **SMALL)
    with pytest.raises(ValueError, match=rf"norm=Right with checkpoint_dir.*{REMEDY}"):
        clf.fit(few.train.images, few.train.labels)
    for out in (None, tmp_path / "runs"):
        with pytest.raises(TypeError, match="norm=Right cannot be written to a file"):
            hg.run("bn-layer", dataset=few, n_steps=2, norm=Right, out=out)
    folder = tmp_path / "images"
    folder.mkdir()
    Image.fromarray(np.zeros((30, 30), np.uint8)).save(folder / "0.png")
    with pytest.raises(ValueError, match="norm=Right with checkpoint_dir"):
        hg.train_on_images(folder, tmp_path / "model", crop=16, n_steps=1, parameters={"norm": Right})
    assert [path.name for path in tmp_path.iterdir()] == ["images"]


def test_an_exported_file_computes_the_same(few, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra onnx")
    pytest.importorskip("onnxscript", reason="needs the extra onnx")
    clf = hg.ConvClassifier(norm=Right, **SMALL).fit(few.train.images, few.train.labels)
    hg.export_onnx(clf, tmp_path / "a.onnx", takes="float")
    images = few.test.images[:5]
    found = onnxruntime.InferenceSession(tmp_path / "a.onnx").run(None, {"images": images})[0]
    np.testing.assert_allclose(found, clf.predict_proba(images), atol=1e-5)


def test_the_command_line_takes_names_alone(hourglass, tmp_path):
    code, _, err = hourglass("run", "bn-layer", "--set", "norm=Right", "--steps", 2, "--out", tmp_path / "runs")
    assert code == 2
    assert "norm='Right' is unknown; choose one of none, batch," in err
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "runs").exists()


def test_what_cannot_be_exported_is_refused_with_the_reason(few, tmp_path):
    pytest.importorskip("onnxscript", reason="needs the extra onnx")
    clf = hg.ConvClassifier(norm=Undecided, **SMALL).fit(few.train.images, few.train.labels)
    with pytest.raises(RuntimeError, match=r"such as a class that was given as norm, .* without float\(tensor\)"):
        hg.export_onnx(clf, tmp_path / "a.onnx")
    assert not list(tmp_path.iterdir())


def class_of(cell, data):
    """What a study measures in another process."""
    return {"class": type(create_norm(cell["norm"], 4)).__name__}


def test_the_processes_of_a_study_know_an_entry_of_the_table(few, tmp_path, monkeypatch):
    monkeypatch.setitem(NORMS, "mine", Right)
    plan = [{"norm": norm} for norm in ("mine", "batch")]
    rows = cells.measure_cells(class_of, plan, few, cells.Cells(tmp_path / "cells.jsonl"), jobs=2)
    assert [row["measures"]["class"] for row in rows] == ["Right", "FrameworkBatchNorm"]
