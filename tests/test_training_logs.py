"""Logs of the lesson on batch normalisation: what the notebooks printed, and what the package measured."""

import csv
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from hourglass.lessons import measured_logs, printed_logs, training_logs
from hourglass.training import History

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))
import lesson_logs

EXPERIMENTS = ["bn-none", "bn-layer", "bn-manual"]


def test_printed_logs_are_those_of_the_notebooks():
    logs = printed_logs()
    assert list(logs) == EXPERIMENTS
    first = {name: (log["validation"].step[0], log["validation"].loss[0]) for name, log in logs.items()}
    assert first == {"bn-none": (1, 0.69062), "bn-layer": (1, 0.6905), "bn-manual": (1, 0.69103)}
    assert [logs[name]["test"].accuracy.tolist() for name in EXPERIMENTS[:2]] == [[0.2949], [0.8833]]
    assert [logs[name]["one by one"].accuracy.tolist() for name in EXPERIMENTS[:2]] == [[0.28], [0.85]]
    broken_off = logs["bn-manual"]
    assert set(broken_off) == {"training", "validation"}
    assert (broken_off["training"].step[-1], broken_off["training"].loss[-1]) == (576, 0.01988)
    assert (broken_off["validation"].step[-1], broken_off["validation"].accuracy[-1]) == (501, 0.8924)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_measured_logs_have_the_steps_of_the_printed_ones(name):
    printed, measured = printed_logs()[name], measured_logs()[name]
    assert len(measured) >= 3
    for log in measured:
        for images in ("training", "validation"):
            assert np.isin(printed[images].step, log[images].step).all()
        assert log["test"].step.tolist() == log["one by one"].step.tolist() == [800]
    for log in [printed, *measured]:
        for curve in log.values():
            assert (np.diff(curve.step) > 0).all()
            assert curve.step.dtype == np.int64
            assert ((curve.accuracy >= 0) & (curve.accuracy <= 1)).all()
            unmeasured = np.isnan(curve.loss)
            assert set(curve.step[unmeasured]) <= {800}
            assert (curve.loss[~unmeasured] > 0).all()


def test_seeds_differ_and_normalisation_helps():
    final = {name: [log["test"].accuracy[-1] for log in logs] for name, logs in measured_logs().items()}
    assert len({len(values) for values in final.values()}) == 1
    assert all(len(set(final[name])) == len(final[name]) for name in ("bn-layer", "bn-manual"))
    assert max(final["bn-none"]) < 0.5 < min(final["bn-layer"] + final["bn-manual"])


def test_the_tool_replaces_measured_rows_and_keeps_printed_ones(tmp_path, monkeypatch):
    table = tmp_path / "logs.csv"
    table.write_text(training_logs.LOGS.read_text())
    for module in (training_logs, lesson_logs):
        monkeypatch.setattr(module, "LOGS", table)
    printed = printed_logs()
    for seed in (0, 1):
        run = tmp_path / "runs" / "bn-layer-classic" / f"seed-{seed}"
        run.mkdir(parents=True)
        report = {"training_loss": 0.5, "training_accuracy": 0.25, "validation_loss": 0.4}
        report["validation_accuracy"] = 0.5 + seed / 4
        history = History(loss=[0.7, 0.6], learning_rate=[0.1, 0.1], epoch=[0.1, 0.2], reports={2: report})
        history.write_csv(run / "history.csv")
        metrics = {"test_loss": 0.3, "test_accuracy": 0.75, "single_image_accuracy": 0.8}
        (run / "result.json").write_text(json.dumps({"experiment": "bn-layer", "metrics": metrics}))
    monkeypatch.setattr(sys, "argv", ["lesson_logs.py", str(tmp_path / "runs")])
    lesson_logs.main()
    logs = measured_logs()
    assert (logs["bn-none"], logs["bn-manual"]) == ([], [])
    assert [log["validation"].accuracy.tolist() for log in logs["bn-layer"]] == [[0.5], [0.75]]
    assert logs["bn-layer"][1]["training"].step.tolist() == [2]
    assert logs["bn-layer"][1]["test"].loss.tolist() == [0.3]
    assert np.isnan(logs["bn-layer"][1]["one by one"].loss).all()
    for name, log in printed_logs().items():
        for images, curve in log.items():
            np.testing.assert_array_equal(curve.loss, printed[name][images].loss)
    with table.open(newline="") as file:
        assert next(csv.reader(file)) == list(training_logs.COLUMNS)
