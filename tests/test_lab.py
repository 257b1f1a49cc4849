"""The lab: cells that are never lost nor measured twice, studies that measure, draw and answer."""

import dataclasses
import json
import re

import numpy as np
import pytest
import torch

import hourglass as hg
from hourglass import cli
from hourglass.data import Dataset, Images
from hourglass.lab import STUDIES, Cells, Findings, explain, measure_cells, stored_findings
from hourglass.lab import explained as lecture
from hourglass.lab.cells import identified
from hourglass.lab.inference import by_own_moments
from hourglass.lab.momentum import MOMENTA, MovingAverages
from hourglass.lab.networks import accuracy, accuracy_by_batch, examples, train
from hourglass.lab.shootout import best_rate, kept_bytes
from hourglass.nn import ConvNet, FrameworkBatchNorm, ManualBatchNorm


@pytest.fixture(scope="module")
def tiny():
    """Digits enough for a few batches, with held-out ones."""
    data = hg.load("sample")
    train = Images(data.train.images[:300], data.train.labels[:300])
    return Dataset("tiny", train, Images(data.test.images[:150], data.test.labels[:150]), validation_size=80)


def measured(cell, data):
    """A measure that leaves a trace of every call."""
    with open(cell["trace"], "a") as file:  # noqa: PTH123  # appended by several processes
        file.write(f"{cell['seed']}\n")
    return {"value": cell["seed"] ** 2, "threads": torch.get_num_threads()}


def plan(tmp_path, seeds):
    return [{"seed": seed, "trace": str(tmp_path / "trace")} for seed in range(seeds)]


def test_no_cell_is_measured_twice(tmp_path, tiny):
    file, said = Cells(tmp_path / "cells.jsonl"), []
    first = measure_cells(measured, plan(tmp_path, 2), tiny, file, jobs=2)
    assert [row["measures"] for row in first] == [{"value": s**2, "threads": 1} for s in range(2)]
    rows = measure_cells(measured, plan(tmp_path, 4), tiny, file, jobs=1, say=said.append)
    assert [row["measures"]["value"] for row in rows] == [0, 1, 4, 9]
    assert sorted((tmp_path / "trace").read_text().split()) == ["0", "1", "2", "3"]
    assert said[0] == "2 of 4 cells are there already, left as they are"
    assert re.fullmatch(r"2 of 2 cells, 0 min 00 s left", said[-1])


def test_cells_of_other_data_are_others(tmp_path, tiny):
    file = Cells(tmp_path / "cells.jsonl")
    measure_cells(measured, plan(tmp_path, 1), tiny, file, jobs=1)
    other = Dataset("tiny", Images(1 - tiny.train.images, tiny.train.labels), tiny.test, validation_size=80)
    measure_cells(measured, plan(tmp_path, 1), other, file, jobs=1)
    assert len(file.rows()) == 2


def test_labels_test_images_and_held_out_ones_are_of_the_data(tiny):
    others = [
        Dataset("tiny", Images(tiny.train.images, tiny.train.labels[::-1]), tiny.test, validation_size=80),
        Dataset("tiny", tiny.train, Images(1 - tiny.test.images, tiny.test.labels), validation_size=80),
        Dataset("tiny", tiny.train, tiny.test, validation_size=79),
    ]
    assert len({identified(data)["rest"] for data in [tiny, *others]}) == 4
    assert identified(tiny)["trained_on"] == "220"


def test_a_cell_has_one_thread_however_many_are_left(tmp_path, tiny):
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        [row] = measure_cells(measured, plan(tmp_path, 1), tiny, Cells(tmp_path / "cells.jsonl"), jobs=2)
        assert row["measures"]["threads"] == 1
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)


def test_a_study_too_short_for_its_early_step_says_nothing_of_it(tiny):
    rows = rows_of(STUDIES["bn-fair"], tiny)
    assert "After 101 steps" not in Findings(STUDIES["bn-fair"], rows).answer
    for row in rows:
        row["measures"]["early"] = row["measures"]["final"]
    assert "After 101 steps" in Findings(STUDIES["bn-fair"], rows).answer


def test_rates_are_chosen_by_held_out_images_alone():
    rows = [
        {
            "cell": {"network": "classifier", "norm": "group", "learning_rate": rate, "seed": 0},
            "measures": {"held_out": held_out, "quality": 1 - held_out},
        }
        for rate, held_out in ((0.01, 0.2), (0.001, 0.9))
    ]
    assert best_rate(rows, "classifier", "group") == 0.001


def test_a_line_that_was_cut_off_is_measured_again(tmp_path, tiny):
    file = Cells(tmp_path / "cells.jsonl")
    measure_cells(measured, plan(tmp_path, 3), tiny, file, jobs=1)
    whole = file.path.read_bytes()
    file.path.write_bytes(whole[:-15])
    assert len(file.rows()) == 2
    rows = measure_cells(measured, plan(tmp_path, 3), tiny, file, jobs=1)
    assert [row["measures"]["value"] for row in rows] == [0, 1, 4]
    assert len(file.path.read_bytes().splitlines()) == 3


def test_a_damaged_line_is_named(tmp_path):
    path = tmp_path / "cells.jsonl"
    path.write_text('{"cell": {}}\nnonsense\n{"cell": {}}\n')
    with pytest.raises(ValueError, match=r"cells\.jsonl: line 2 is no JSON"):
        Cells(path).rows()


def test_an_error_keeps_what_was_measured(tmp_path, tiny):
    def failing(cell, data):
        if cell["seed"] == 2:
            raise FloatingPointError("diverged")
        return {"value": 1}

    file = Cells(tmp_path / "cells.jsonl")
    with pytest.raises(FloatingPointError):
        measure_cells(failing, plan(tmp_path, 4), tiny, file, jobs=1)
    assert [row["cell"]["seed"] for row in file.rows()] == [0, 1]


def rows_of(study, data, n_steps=3):
    """Rows for the whole plan; one cell of each kind is measured, the others vary it."""
    random, seen, rows = np.random.default_rng(0), {}, []
    for cell in study.plan(2, n_steps):
        kind = tuple(str(cell.get(name)) for name in ("norm", "arm", "network", "layers"))
        if study.name == "bn-batch-size":
            kind = (*kind, cell["batch_size"] == 1)
            if kind not in seen and cell["batch_size"] > 8:
                cell = {**cell, "batch_size": cell["batch_size"]}
        if kind not in seen:
            small = {**cell, "batch_size": min(cell["batch_size"], 16)} if "batch_size" in cell else cell
            seen[kind] = study.measure(small, data)
        rows.append({"cell": {**cell, **identified(data)}, "measures": vary(seen[kind], random), "seconds": 1.0})
    return rows


def vary(value, random):
    if isinstance(value, dict):
        return {name: part if name in ("steps", "left") else vary(part, random) for name, part in value.items()}
    if isinstance(value, list):
        return [vary(part, random) for part in value]
    return value * float(random.uniform(0.9, 1.1)) if isinstance(value, float) else value


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] if name in ("bn-depth", "norm-shootout") else []) for name in STUDIES],
)
def test_every_study_measures_and_answers(name, tiny, tmp_path):
    study = STUDIES[name]
    rows = json.loads(json.dumps(rows_of(study, tiny), allow_nan=False))
    found = Findings(study, rows)
    assert re.search(r"\[-?[\d.]+, -?[\d.]+\]", found.answer), "a claim has its interval"
    heading, *lines = found.table
    assert lines
    assert all(len(line) == len(heading) for line in lines)
    assert "2 seeds" in found.setting
    for path in found.draw(tmp_path):
        assert path.read_bytes().startswith(b"\x89PNG")
    # One cell of the second seed is still to be measured: the chapter goes by the first.
    for row in rows[:-1]:
        Cells(tmp_path / name / "cells.jsonl").append(row)
    [stored] = stored_findings(tmp_path)
    assert stored.answer
    assert {row["cell"]["seed"] for row in stored.rows} == {0}


def test_equal_seeds_give_equal_starts(tiny):
    networks = {}
    for arm in STUDIES["bn-fair"].plan(1, 1):
        networks[arm["arm"]] = train(arm, tiny, learning_rate=1e-12).network_
    first = networks["none"].convs[3].weight
    torch.testing.assert_close(networks["batch"].convs[3].weight, first)
    torch.testing.assert_close(networks["batch-manual"].convs[3].weight, first)
    assert not torch.allclose(networks["batch-manual, truncated normal"].convs[3].weight, first)


def test_averages_of_every_momentum_are_those_that_the_layer_keeps(tiny):
    observer = MovingAverages(tiny)
    cell = {"norm": "batch", "norm_momentum": 1 - MOMENTA[2], "seed": 0, "n_steps": 5}
    network = train(cell, tiny, observer, report_every=2).network_
    assert observer.steps == 5
    for name in ("norms.0", "norms.15", "hidden_norm"):
        layer = network.get_submodule(name)
        torch.testing.assert_close(observer.averages[name][0][2].float(), layer.running_mean, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(observer.averages[name][1][2].float(), layer.running_var, rtol=1e-4, atol=1e-5)


def test_accuracy_by_batch_uses_each_batchs_own_moments(tiny):
    network = train({"norm": "batch", "seed": 0, "n_steps": 30}, tiny).network_
    part = examples(tiny.train, 128)
    network.train()
    expected = accuracy(network, part, 64)
    network.eval()
    assert accuracy_by_batch(network, part) == expected
    assert accuracy(network, part) < expected


def test_own_moments_of_many_images_are_those_of_training(tiny):
    network = train({"norm": "batch", "seed": 0, "n_steps": 3}, tiny).network_
    network, images = network.double(), examples(tiny.test)[0].double()
    own = by_own_moments(network)
    torch.testing.assert_close(own(images), network.train()(images))
    # One image has one value a channel in the last maps: what comes out is beta.
    assert own(images[:1]).isfinite().all()


def test_memory_kept_counts_maps_and_no_weights():
    images = torch.rand(10, 1, 8, 8)
    net = ConvNet((8, 8, 1), 3, depth=1, width=4, hidden=5)
    maps = 10 * 4 * 8 * 8 * 4
    kept = kept_bytes(net, images, "softmax")
    assert maps <= kept <= 3.5 * maps


@pytest.mark.parametrize(("name", "kind"), [("bn-layer", FrameworkBatchNorm), ("bn-manual", ManualBatchNorm)])
def test_the_lecture_says_what_the_module_computes(name, kind):
    norm = kind(2, lecture.EPS, lecture.MOMENTUM, stored_variance="bessel" if name == "bn-layer" else "biased").double()
    with torch.no_grad():
        norm.weight.copy_(torch.from_numpy(lecture.WEIGHT))
        norm.bias.copy_(torch.from_numpy(lecture.BIAS))
    x = torch.from_numpy(lecture.BATCH).requires_grad_()
    output = norm(x)
    output.backward(torch.from_numpy(lecture.GRADIENT))
    inferred = norm.eval()(x.detach())
    expected = {
        "scaled and shifted": output, "mean, after": norm.running_mean[None], "variance, after": norm.running_var[None],
        "by β": norm.bias.grad[None], "by γ": norm.weight.grad[None], "by x": x.grad, "  y\n": inferred,
    }  # fmt: skip
    text = explain(name)
    for label, values in expected.items():
        block = text[text.index(label) :].split("\n")[1 : 1 + len(values)]
        shown = [[float(word) for word in line.split()] for line in block]
        np.testing.assert_allclose(shown, values.detach().numpy(), atol=2e-4, err_msg=label)


def run(capsys, *words):
    code = cli.main([str(word) for word in words])
    return code, *capsys.readouterr()


def test_a_study_runs_from_the_command_line_and_goes_on(tmp_path, capsys):
    words = ("run", "bn-momentum", "--steps", 2, "--jobs", 1, "--out", tmp_path)
    code, out, err = run(capsys, *words, "--seeds", 1)
    assert code == 0
    assert "bn-momentum: After 2 steps with TensorFlow's momentum 0.99 (PyTorch's 0.01), inference and training" in out
    assert "1 of 1 cells" in err
    page = (tmp_path / "report.html").read_text()
    assert STUDIES["bn-momentum"].title in page
    assert "data:image/png" in page
    code, out, err = run(capsys, *words, "--seeds", 2)
    assert code == 0
    assert "1 of 2 cells are there already" in err
    assert len((tmp_path / "bn-momentum" / "cells.jsonl").read_text().splitlines()) == 2
    [found] = stored_findings(tmp_path)
    assert len(found.rows) == 2


def test_what_a_study_found_is_on_the_page_though_the_next_one_fails(tmp_path, capsys, monkeypatch):
    def fail(cell, data):
        raise OSError("no space left")

    monkeypatch.setitem(STUDIES, "bn-depth", dataclasses.replace(STUDIES["bn-depth"], measure=fail))
    words = ("--steps", 2, "--seeds", 1, "--jobs", 1, "--out", tmp_path)
    code, _, err = run(capsys, "run", "bn-momentum", "bn-depth", *words)
    assert code == 1
    assert "no space left" in err
    assert STUDIES["bn-momentum"].title in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize("words", [("--seed", 0), ("--recipe", "fast"), ("--json",)])
def test_a_study_refuses_what_it_would_not_look_at(words, tmp_path, capsys):
    code, _, err = run(capsys, "run", "bn-inference", *words, "--out", tmp_path)
    assert code == 2
    assert f"has no {words[0]}" in err


def test_studies_are_listed_and_refuse_what_is_not_theirs(tmp_path, capsys):
    code, out, _ = run(capsys, "list")
    assert code == 0
    assert all(name in out for name in STUDIES)
    code, _, err = run(capsys, "run", "bn-fair", "--epochs", 1, "--out", tmp_path)
    assert (code, err.count("\n")) == (2, 1)
    assert "has no --epochs" in err
    code, _, err = run(capsys, "run", "bn-fare")
    assert code == 2
    assert "bn-fare" in err
    assert "bn-lab" in err
    code, _, err = run(capsys, "explain", "bn-none")
    assert (code, err.count("\n")) == (2, 1)
    code, out, _ = run(capsys, "explain", "bn-manual")
    assert code == 0
    assert "Backward" in out


def test_a_study_needs_held_out_images_with_labels(tmp_path, tiny):
    from hourglass.lab import run_study

    with pytest.raises(ValueError, match="no labels or no held-out"):
        run_study("bn-inference", dataset=Dataset("bare", tiny.train, tiny.test), out=tmp_path)
    with pytest.raises(ValueError, match="seeds=0"):
        run_study("bn-inference", dataset=tiny, out=tmp_path, seeds=0)
    with pytest.raises(ValueError, match="bn-lab for all"):
        run_study("bn-none", dataset=tiny, out=tmp_path)
