"""The command line, as a person and as a script meet it."""

import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hourglass import cli
from hourglass.data import DATASETS
from hourglass.experiments import EXPERIMENTS, RECIPES, runs
from hourglass.runtime.hardware import DEVICES, PRECISIONS

QUICK = ("--steps", "2", "--set", "batch_size=10")


@pytest.fixture(autouse=True)
def _short_checkerboard(monkeypatch):
    monkeypatch.setattr("hourglass.experiments.checkerboard.STEPS", 2)


@pytest.fixture
def small_sample(monkeypatch, few, few_strengths):
    monkeypatch.setattr("hourglass.experiments.store_data.load", lambda name, folder=None: few)


def test_list_names_the_experiments(hourglass):
    code, out, err = hourglass("list")
    assert code == 0
    assert not err
    assert all(name in out for name in EXPERIMENTS)


@pytest.mark.usefixtures("small_sample")
def test_run_writes_a_page_and_names_it_last(hourglass):
    code, out, err = hourglass("run", "dense", "bn-none", *QUICK)
    assert code == 0
    [folder] = Path("runs").iterdir()
    assert out.splitlines()[-1] == f"report: {folder}/report.html"
    assert (folder / "report.html").is_file()
    assert (folder / "dense-classic" / "seed-0" / "result.json").is_file()
    assert "test accuracy" in out
    assert "PSNR" in out
    assert "dense classic seed 0: epoch 1/1, step 2/2" in err


@pytest.mark.usefixtures("small_sample")
def test_json_is_one_line_a_run_and_nothing_else(hourglass):
    code, out, _ = hourglass(
        "run", "dense", "bn-layer", "--seeds", "2", "--json", "--out", "x", "--recipe", "fast", *QUICK
    )
    assert code == 0
    lines = [json.loads(line) for line in out.splitlines()]
    assert [(line["experiment"], line["seed"], line["recipe"]) for line in lines] == [
        ("dense", 0, "fast"),
        ("dense", 1, "fast"),
        ("bn-layer", 0, "fast"),
        ("bn-layer", 1, "fast"),
    ]
    stored = json.loads(Path("x/bn-layer-fast/seed-1/result.json").read_text())
    assert stored == lines[-1]


@pytest.mark.usefixtures("small_sample")
def test_quiet_says_nothing(hourglass):
    assert hourglass("run", "conv", "--quiet", "--out", "x", "--seed", "5", *QUICK) == (0, "", "")
    assert Path("x/conv-classic/seed-5/result.json").is_file()


@pytest.mark.slow
@pytest.mark.usefixtures("small_sample")
def test_all_is_each_experiment_once(hourglass):
    code, out, _ = hourglass("run", "all", "dense", "-q", "--json", "--out", "x", *QUICK)
    assert code == 0
    assert [json.loads(line)["experiment"] for line in out.splitlines()] == list(EXPERIMENTS)


@pytest.mark.usefixtures("small_sample")
def test_settings_reach_the_estimator(hourglass):
    settings = ("--set", "channels=(4, 2)", "--set", "upsample=transposed", "--set", "learning_rate=1e-2")
    code, out, _ = hourglass(
        "run", "conv", "--json", "-q", *settings, "--epochs", "0.1", "--precision", "bfloat16", "--device", "cpu"
    )
    assert code == 0
    found = json.loads(out)
    assert found["parameters"]["channels"] == [4, 2]
    assert found["parameters"]["upsample"] == "transposed"
    assert found["parameters"]["learning_rate"] == 0.01
    assert found["parameters"]["epochs"] == 0.1
    assert found["environment"]["precision"] == "bfloat16"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("run", "pca"), "experiment 'pca' is unknown; choose one of dense, conv"),
        (("run",), "NAME"),
        (("run", "dense", "--recipe", "slow"), "--recipe"),
        (("run", "dense", "--dataset", "cifar"), "--dataset"),
        (("run", "dense", "--seed", "1", "--seeds", "2"), "give one of them"),
        (("run", "dense", "--epochs", "1", "--steps", "2"), "give one of them"),
        (("run", "dense", "--set", "code"), "not KEY=VALUE"),
        (("run", "dense", "--set", "channels=3"), "dense has no parameter 'channels'"),
        (("run", "conv", "--set", "channels=3"), "expected a tuple of whole numbers"),
        (("run", "dense", "--set", "noise=loud"), "noise='loud'"),
        (("run", "dense", "--steps", "0"), "--steps"),
        (("run", "dense", "--epochs", "-1"), "epochs=-1"),
        (("run", "dense", "--colour"), "--colour"),
        (("fly",), "fly"),
    ],
)
def test_misuse_is_one_line_and_exit_2(hourglass, words, said):
    code, out, err = hourglass(*words)
    assert code == 2
    assert not out
    assert err.startswith("hourglass: ")
    assert err.count("\n") == 1
    assert said in err
    assert not Path("runs").exists()


def test_mnist_without_data_or_network_is_one_line_and_exit_1(hourglass, monkeypatch, tmp_path):
    monkeypatch.setattr("hourglass.data.sources.cache_dir", lambda: tmp_path / "cache")
    code, out, err = hourglass("run", "conv", "--dataset", "mnist")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert err.startswith("hourglass: mnist was not found: tried")
    for way_out in ("--dataset sample", "--data-dir"):
        assert way_out in err
    assert not Path("runs").exists()


@pytest.mark.usefixtures("small_sample")
def test_failures_are_one_line_and_exit_1(hourglass, tmp_path):
    (tmp_path / "file").write_text("mine")
    code, _, err = hourglass("run", "dense", "--out", "file", "-q", *QUICK)
    assert (code, err) == (1, "hourglass: file is a file; name another folder for the output\n")
    assert (tmp_path / "file").read_text() == "mine"
    code, _, err = hourglass("run", "dense", "-q", "--set", "learning_rate=1e30", "--set", "n_steps=60", "--out", "x")
    assert code == 1
    assert err.count("\n") == 1
    assert "smaller learning_rate" in err
    assert not [path for path in Path("x").rglob("*") if path.is_file() and path.name != ".lock"]
    code, _, err = hourglass("report", "nowhere")
    assert (code, err.count("\n")) == (1, 1)


@pytest.mark.usefixtures("small_sample")
def test_what_was_finished_is_shown_though_a_later_experiment_fails(hourglass, monkeypatch):
    code, out, err = hourglass("run", "dense", "bn-none", "--out", "x", "--set", "norm_momentum=0.1", *QUICK)
    assert code == 2
    assert "dense has no parameter" in err
    assert hourglass("run", "bn-none", "--out", "x", "--recipe", "fast", *QUICK)[0] == 0
    code, out, err = hourglass("run", "dense", "bn-none", "--out", "x", "--recipe", "fast", *QUICK)
    assert (code, out) == (1, "")
    assert "bn-none-fast/seed-0 holds a finished run" in err
    assert not Path("x/dense-fast").exists()
    train = runs._run_one

    def fail(experiment, *args):
        if experiment.name == "conv":
            raise FloatingPointError("the loss is nan")
        return train(experiment, *args)

    monkeypatch.setattr(runs, "_run_one", fail)
    code, out, err = hourglass("run", "dense", "conv", "--out", "x", "--recipe", "fast", *QUICK)
    assert code == 1
    assert "the loss is nan" in err
    assert out.splitlines()[-1] == "report: x/report.html"
    assert "dense-fast" in Path("x/report.html").read_text()


def test_an_unforeseen_error_is_one_line_unless_debugged(hourglass, monkeypatch):
    def fail(*args, **kwargs):
        raise RuntimeError("first line\nsecond")

    monkeypatch.setattr("hourglass.report.write_report", fail)
    code, _, err = hourglass("report", ".")
    assert (code, err) == (1, "hourglass: RuntimeError: first line second (--debug shows where)\n")
    with pytest.raises(RuntimeError):
        hourglass("report", ".", "--debug")


def test_interruption_is_exit_130(hourglass, monkeypatch):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("hourglass.report.write_report", interrupt)
    assert hourglass("report", ".")[0] == 130


def test_choices_are_the_librarys(hourglass):
    # A narrow screen would break the lists of choices.
    os.environ["COLUMNS"] = "200"
    try:
        help_text = hourglass("run", "--help")[1]
    finally:
        del os.environ["COLUMNS"]
    for choices in (RECIPES, DEVICES, PRECISIONS):
        assert f"<{'|'.join(choices)}>" in help_text
    assert ", ".join(DATASETS) in hourglass("list")[1]


def test_the_module_runs_and_shows_its_version():
    done = subprocess.run([sys.executable, "-m", "hourglass", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("hourglass 0.")


def test_without_words_it_shows_the_help(hourglass):
    code, out, _ = hourglass()
    assert code == 0
    assert "Usage: hourglass" in out


@pytest.mark.usefixtures("small_sample")
def test_set_is_never_overruled_in_silence(hourglass):
    for words, said in [
        (("--epochs", "1", "--set", "n_steps=4"), "give one of them"),
        (("--steps", "1", "--set", "n_steps=4"), "--steps and --set n_steps=… both set n_steps"),
        (("--device", "cpu", "--set", "device=cpu"), "both set device"),
        (("--set", "random_state=7"), "random_state is not set by itself"),
        (("--set", "verbose=7"), "verbose is not set by itself"),
        (("--set", "image_shape=5"), "image_shape=5"),
        (("--set", "loss=mse", "--set", "loss=bce"), "loss twice"),
    ]:
        code, out, err = hourglass("run", "dense", "--quiet", *words)
        assert (code, out) == (2, ""), words
        assert said in err
    code, _, err = hourglass("run", "bn-manual", "--set", "norm_momentum=1.5")
    assert code == 2
    code, out, _ = hourglass("run", "dense", "--json", "--set", "precision=bfloat16", *QUICK)
    assert code == 0
    assert json.loads(out)["environment"]["precision"] == "bfloat16"


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow)]
)
def test_a_signal_is_said_in_one_line_and_the_run_goes_on(number, code, tmp_path, capsys):
    command = [sys.executable, "-m", "hourglass", "run", "dense", "--steps", "1000", "--out", str(tmp_path / "out")]
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        # Whoever runs the tests may have it ignored, as nohup does.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while "step" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(number)
    _, err = process.communicate(timeout=600)
    assert process.returncode == code
    last = err.splitlines()[-1]
    assert last.startswith("hourglass: stopped after step ")
    words = shlex.split(last.partition("to go on: ")[2])
    assert words == ["hourglass", "run", "--resume", *command[4:]]
    assert "Traceback" not in err
    command[3:4] = words[1:3]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "going on from step" in done.stderr
    assert not list((tmp_path / "out").rglob("*.unfinished"))
    assert cli.main(command[3:]) == 0
    assert "finished already" in capsys.readouterr().err
