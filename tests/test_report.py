"""The page of a report: answers that are true for what was measured, how a run was made, its log, older runs."""

import json
import pathlib
import re
import shutil

import pytest

import hourglass as hg
from hourglass import plots, report
from hourglass.experiments import Run, StoredRun, find, runs, stored_runs
from hourglass.experiments.groups import Group, as_text, groups_of
from hourglass.experiments.measures import meanings
from hourglass.nn import NORMS
from hourglass.report import answer, peers_of, single_image_note

PCA = {"test_psnr_db": 18.5, "test_ssim": 0.7, "test_bce": 0.12, "test_mse": 0.015}
NOISY = {name: {"test_psnr_db": psnr, "test_ssim": ssim} for name, psnr, ssim in (
    ("pca", 13.0, 0.43), ("noisy", 9.4, 0.37), ("total_variation", 12.4, 0.39))}  # fmt: skip


def group(name, scores, *, baselines=None, recipe="classic", dataset="mnist", seeds=None, **changes):
    """Runs of an experiment as their folders hold them: one for each row of scores."""
    parameters = json.loads(json.dumps(runs._parameters(find(name).configure(recipe, **changes))))
    names = ("test_accuracy",) if name.startswith("bn") else ("test_psnr_db", "test_ssim")
    return Group([
        StoredRun(pathlib.Path("none"), {
            "experiment": name, "recipe": recipe, "dataset": dataset, "seed": seed, "parameters": parameters,
            "baselines": baselines or {}, "metrics": dict(zip(names, row, strict=True)), "environment": {},
        })
        for seed, row in zip(seeds or range(len(scores)), scores, strict=True)
    ])  # fmt: skip


def said(one, *others):
    return " ".join(answer(one, peers_of(one, [one, *others])))


GOOD, BAD = [(20.8, 0.869), (20.9, 0.868), (20.85, 0.87)], [(8.1, 0.1), (8.0, 0.11), (8.05, 0.09)]


@pytest.mark.parametrize(
    ("one", "words"),
    [
        (group("dense", GOOD, baselines={"pca": PCA}),
         "The code of 32 numbers keeps more of the test images than a linear code of at most the same size (PCA): "
         "PSNR 20.85 ± 0.05 dB and SSIM 0.8690 ± 0.0010 over 3 seeds, against 18.50 dB and 0.7000 for PCA."),
        (group("conv", BAD, baselines={"pca": PCA}), "The code of 128 numbers keeps less of the test images"),
        (group("conv", [(17.0, 0.9), (17.1, 0.91), (17.2, 0.9)], baselines={"pca": PCA}),
         "shows a lower PSNR and a higher SSIM than a linear code"),
        (group("dense", [(18.0, 0.6), (19.0, 0.8)], baselines={"pca": PCA}),
         "shows no distinguishable difference from a linear code"),
        (group("dense", GOOD[:1], baselines={"pca": PCA}),
         "In this one run, the code of 32 numbers keeps more of the test images"),
        (group("denoise", GOOD, baselines=NOISY),
         "The outputs are closer to the clean test images than the noisy images are, and closer than those of PCA, by "
         "PSNR the best of the methods without a network that were tried: PSNR 20.85"),
        (group("denoise", [(11.0, 0.4), (11.1, 0.4), (11.05, 0.41)], baselines=NOISY),
         "closer to the clean test images than the noisy images are, but not as close as those of PCA"),
        (group("denoise", BAD, baselines=NOISY),
         "The outputs are further from the clean test images than the noisy images are: PSNR 8.05 ± 0.05 dB"),
        (group("denoise", BAD[:1], baselines=NOISY), "In this one run, the outputs are further from the clean"),
        (group("denoise", [(9.0, 0.3), (9.9, 0.5)], baselines=NOISY),
         "The outputs show no distinguishable difference from the noisy images"),
        (group("dense", GOOD), "The outputs for the test images reach PSNR 20.85"),
        (group("bn-none", [(0.098,), (0.1135,), (0.11,)]),
         "The network does not train within 800 steps with batches of 64; its accuracy is about that of guessing: test "
         "accuracy 0.1072 ± 0.0081 over 3 seeds, where guessing one of 10 labels gives 0.1."),
        (group("bn-none", [(0.4,), (0.3,)]), "the network learns little: no run labels half"),
        (group("bn-none", [(0.1,), (0.9,), (0.95,)]), "depends on the seed: 2 of 3 runs reach an accuracy of 0.5"),
        (group("bn-layer", [(0.95,)]), "In this one run, the network trains within 800 steps"),
        (group("bn-layer", [(0.1,), (0.11,)], n_steps=50),
         "Inference mode does not show yet whether the network trains, since 61% of the moving statistics"),
        (group("bn-layer", [(0.9,), (0.11,)], n_steps=50), "trains with 1 of 2 seeds, since 61%"),
        (group("bn-layer", [(0.9,), (0.91,)], n_steps=50), "The network trains within 50 steps"),
        (group("bn-none", [(0.1,), (0.11,)], n_steps=50), "The network does not train within 50 steps"),
        (group("bn-layer", [(0.95,), (0.96,)], dataset="two kinds of things"),
         "The network gives 95.5% of the test images their label"),
    ],
)  # fmt: skip
def test_an_answer_says_what_the_scores_say(one, words):
    assert words in said(one)


def test_an_answer_compares_as_far_as_the_seeds_allow():
    none, layer = group("bn-none", [(0.1,), (0.11,), (0.12,)]), group("bn-layer", [(0.95,), (0.96,), (0.94,)])
    manual = group("bn-manual", [(0.97,), (0.93,), (0.95,)])
    assert (
        "shows a higher test accuracy than bn-none (0.1100 ± 0.0100); no distinguishable difference from bn-manual"
        in (said(layer, none, manual))
    )
    # What one section says of another one, that one says too.
    assert "a lower test accuracy than bn-layer (0.9500 ± 0.0100) and bn-manual" in said(none, layer, manual)
    one = said(group("bn-none", [(0.1,)]), layer)
    assert "With the one seed that both have, bn-none shows a lower test accuracy than bn-layer (0.9500)" in one
    assert "a single seed cannot show whether a difference is due to chance" in one
    elsewhere = group("bn-layer", [(0.95,)], seeds=[7])
    assert len(answer(none, [none, elsewhere])) == 1


def test_only_what_was_tested_alike_is_compared():
    dense = group("dense", GOOD)
    for other in (group("conv", GOOD, recipe="fast"), group("conv", GOOD, dataset="sample"), group("denoise", GOOD),
                  group("bn-none", [(0.1,)])):  # fmt: skip
        assert peers_of(dense, [dense, other]) == [dense]
    conv = group("conv", BAD)
    assert peers_of(dense, [dense, conv]) == [dense, conv]
    assert "a higher PSNR and a higher SSIM than conv (code of 128 numbers, 8.05 ± 0.05 dB" in said(dense, conv)


def test_nothing_is_said_where_nothing_is_known():
    unknown = group("dense", GOOD)
    for run in unknown.runs:
        run.result["experiment"] = "gone"
    assert answer(unknown, peers_of(unknown, [unknown])) == []
    lacking = group("dense", GOOD)
    del lacking.runs[1].result["metrics"]["test_ssim"]
    assert answer(lacking, [lacking]) == []


def test_single_images_are_explained():
    one = group("bn-layer", [(0.95,), (0.96,)])
    assert single_image_note(one) == ""
    for run in one.runs:
        run.result["metrics"]["single_image_agreement"] = 1.0
    assert "Every one of them got the same label as in a batch of all of them, in all 2 runs" in single_image_note(one)
    assert "moments of its batch" in single_image_note(one)
    one.runs[0].result["metrics"]["single_image_agreement"] = 0.94
    assert "94% to 100% of them got the same label" in single_image_note(one)
    plain = group("bn-none", [(0.1,)])
    plain.runs[0].result["metrics"]["single_image_agreement"] = 1.0
    assert "moments of its batch" not in single_image_note(plain)


def test_terms_are_explained_where_they_occur():
    assert list(meanings(["test_psnr_db", "test_ssim"])) == ["PSNR", "SSIM"]
    assert list(meanings(["test_bce"])) == ["BCE", "nats"]
    assert {"nats", "loss", "accuracy"} <= set(meanings(["test_loss", "test_accuracy"]))
    assert "BCE" not in meanings(["test_loss", "test_accuracy"])


@pytest.fixture(scope="module")
def made(few, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs")
    for name in ("dense", "bn-layer"):
        more = {"validate_every": 2} if name != "dense" else {}
        hg.run(name, dataset=few, seeds=(0, 1), out=out, n_steps=3, batch_size=20, report_every=1,
               command=f"hourglass run {name} --seeds 2", **more)  # fmt: skip
    return out


@pytest.fixture
def folder(made, tmp_path):
    return shutil.copytree(made, tmp_path, dirs_exist_ok=True)


def text_of(folder):
    return re.sub(r"base64,[^\"]*", "", report.write_report(folder).read_text(encoding="utf-8"))


def test_a_section_answers_in_order_and_says_how_it_was_made(folder):
    text = text_of(folder)
    section = text[text.index("<section") : text.index("</section>")]
    places = [section.index(word) for word in (
        'class="question"', 'class="answer"', "<figure", "<table", "hourglass run dense --seeds 2", "finished",
        "Log of the training", "Parameters, time",
    )]  # fmt: skip
    assert places == sorted(places)
    assert re.search(r"<dd>20\d\d-\d\d-\d\d \d\d:\d\d UTC", section)
    assert "<dt>data set</dt><dd>few</dd>" in section
    assert "Every one of them got the same label" in text


def test_the_log_is_on_the_page_as_it_was_printed(folder):
    text = text_of(folder)
    logs = {run.folder: run.log for run in stored_runs(folder)}
    for path, log in logs.items():
        assert "step 2/3" in log
        assert log in text
        assert Run.read(path).log == log
    lines = logs[folder / "bn-layer-classic" / "seed-1"].splitlines()
    [line] = [line for line in lines if "step 3/3" in line]
    assert re.fullmatch(
        r"bn-layer classic seed 1: epoch 1/1, step 3/3 \| training mode, mean since the last report: loss 0\.\d{4} \| "
        r"inference mode, this batch: loss 0\.\d{4}, accuracy \d\.\d{4} \| inference mode, validation images: "
        r"loss 0\.\d{4}, accuracy \d\.\d{4} \| [\d,]+ images/s, 0:00 left",
        line,
    )


def test_a_run_of_an_older_version_is_shown_without_what_it_lacks(folder):
    for path in folder.glob("*/seed-*/result.json"):
        (path.parent / "log.txt").unlink()
        document = json.loads(path.read_text())
        for name in ("command", "date"):
            del document["environment"][name]
        path.write_text(json.dumps(document))
    text = text_of(folder)
    assert "Log of the training" not in text
    assert text.count("<dd>not recorded</dd>") == 4
    assert 'class="answer"' in text
    assert Run.read(folder / "dense-classic" / "seed-0").log == ""


def test_a_run_without_its_model_and_history_is_shown(folder):
    for name in ("model.json", "history.csv"):
        (folder / "dense-classic" / "seed-0" / name).unlink()
    [dense, _] = groups_of(stored_runs(folder))
    assert dense.code_size is None  # nothing says how large the images are
    assert "The code keeps less" in " ".join(answer(dense, [dense]))
    text_of(folder)


def test_the_log_of_a_resumed_run_has_every_step_once(few, tmp_path, stop_at):
    from checkpoint_cases import StopError

    options = {"dataset": few, "n_steps": 8, "batch_size": 20, "report_every": 1, "checkpoint_every": "2steps"}
    let_go = stop_at(6)
    with pytest.raises(StopError):
        hg.run("dense", out=tmp_path, **options)
    let_go()
    hg.run("dense", out=tmp_path, **options)
    [run] = stored_runs(tmp_path)
    steps = [int(step) for step in re.findall(r"step (\d+)/8", run.log)]
    assert steps == list(range(1, 9))
    assert "going on from step 4 of 8" in run.log
    hg.run("dense", out=tmp_path, resume=True, **(options | {"n_steps": 10}))
    [longer] = stored_runs(tmp_path)
    assert longer.log.startswith(run.log)
    assert re.findall(r"step (\d+)/10", longer.log) == ["9", "10"]


def test_a_network_has_one_colour_in_every_figure():
    assert list(plots.LINES_OF_NORMS) == list(NORMS)[: len(plots.LINES_OF_NORMS)]
    assert plots.lines_of_norms(list(NORMS)) == list(plots.LINES_OF_NORMS.values())
    assert plots.lines_of_norms(["batch-manual"]) == [2]
    # A second network with the same normalisation, and one without, have free lines.
    lines = plots.lines_of_norms(["batch", "batch", None, "none"])
    assert (lines[0], lines[3]) == (1, 0)
    assert len(set(lines)) == 4


def test_the_command_line_is_recorded(hourglass, few, monkeypatch):
    monkeypatch.setattr("hourglass.experiments.store_data.load", lambda name, folder=None: few)
    assert hourglass("run", "dense", "--steps", 2, "--set", "code_size=3", "--out", "a b", "-q")[0] == 0
    [run] = stored_runs(pathlib.Path("a b"))
    assert run.result["environment"]["command"] == "hourglass run dense --steps 2 --set code_size=3 --out 'a b' -q"


def test_parameters_that_differ_are_written_differently():
    assert as_text({"a": 0.1234567, "b": 1e-3}) != as_text({"a": 0.1234568, "b": 1e-3})
    assert as_text({"learning_rate": 1e-3, "n_steps": 500}) == "learning_rate=0.001, n_steps=500"
