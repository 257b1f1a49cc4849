"""The experiments: as specified, run, stored, shown."""

import base64
import html.parser
import json

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

import hourglass as hg
from hourglass import plots, report
from hourglass.denoising import corrupt
from hourglass.experiments import EXPERIMENTS, find, result, runs
from hourglass.experiments.baselines import NL_MEANS_STRENGTHS, TOTAL_VARIATION_WEIGHTS, baselines
from hourglass.experiments.checkerboard import response
from hourglass.experiments.groups import groups_of
from hourglass.training import History

AUTOENCODERS = ("dense", "conv", "denoise")
CLASSIFIERS = ("bn-none", "bn-layer", "bn-manual")
BETTER = ("dense-better", "conv-better", "denoise-better")
QUICK = {"n_steps": 3, "batch_size": 20}
SEEDS = {name: (0, 1) if name in ("dense", *CLASSIFIERS) else (0,) for name in EXPERIMENTS}


@pytest.fixture(autouse=True)
def _short_checkerboard(monkeypatch):
    monkeypatch.setattr("hourglass.experiments.checkerboard.STEPS", 2)
    monkeypatch.setattr("hourglass.experiments.checkerboard.DRAWS", 3)


def test_there_are_six_in_the_lessons_order_and_three_that_are_better():
    assert tuple(EXPERIMENTS) == AUTOENCODERS + CLASSIFIERS + BETTER


@pytest.mark.parametrize("name", BETTER)
def test_better_ones_differ_where_they_say(name):
    plain, better = (find(each).configure("classic") for each in (name.removesuffix("-better"), name))
    assert type(better) is type(plain)
    assert (better.loss, better.noise) == (plain.loss, plain.noise)
    assert find(name).change
    assert not find(name.removesuffix("-better")).change
    if name == "dense-better":
        assert better.code_size == plain.code_size
    elif name == "conv-better":
        assert better.code_channels == plain.channels[-1]
        assert len(better.channels) == len(plain.channels)  # so that the code has as many numbers
    else:
        assert better.skip


@pytest.mark.parametrize("name", AUTOENCODERS)
def test_classic_autoencoders_are_the_notebooks(name):
    ae = find(name).configure("classic")
    assert (ae.loss, ae.batch_size, ae.learning_rate, ae.schedule, ae.output_bias) == (
        "bce",
        200,
        0.001,
        "constant",
        "zero",
    )
    assert ae.n_steps is None
    assert ae.epochs == (100 if name == "denoise" else 20)
    assert ae.noise == (0.5 if name == "denoise" else None)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_classic_classifiers_are_the_notebooks(name):
    clf = find(name).configure("classic")
    assert (clf.loss, clf.n_steps, clf.batch_size, clf.learning_rate) == ("bce", 800, 64, 0.002)
    assert (clf.depth, clf.width, clf.norm_momentum, clf.schedule) == (19, 4, 0.01, "constant")
    assert (clf.report_every, clf.validate_every) == (25, 100)
    assert clf.norm == {"bn-none": "none", "bn-layer": "batch", "bn-manual": "batch-manual"}[name]
    assert clf.kernel_init == ("truncated-normal" if name == "bn-manual" else "glorot")


def test_fast_is_one_and_the_same_change_for_the_classifiers():
    changes = [EXPERIMENTS[name].fast for name in CLASSIFIERS]
    assert changes[0] == changes[1] == changes[2]
    assert changes[0]
    assert all("n_steps" in EXPERIMENTS[name].fast for name in EXPERIMENTS)


def test_parameters_replace_the_recipes():
    assert find("conv").configure("fast", n_steps=7).n_steps == 7
    by_epochs = find("conv").configure("fast", epochs=2)
    assert by_epochs.n_steps is None
    assert by_epochs.epochs == 2
    assert find("conv").estimator.n_steps is None
    for call, said in [
        (lambda: find("pca"), "dense, conv, denoise"),
        (lambda: find("conv").configure("slow"), "classic, fast"),
        (lambda: find("conv").configure(code_size=3), "conv has no parameter 'code_size'"),
        (lambda: find("conv").configure(batch_size=0), "batch_size=0"),
    ]:
        with pytest.raises(ValueError, match=said):
            call()


@pytest.fixture(scope="module")
def folder(few, tmp_path_factory):
    """All of them, one or two seeds, a few steps, on disk."""
    patch = pytest.MonkeyPatch()
    patch.setattr("hourglass.experiments.baselines.TOTAL_VARIATION_WEIGHTS", (0.2, 0.4))
    patch.setattr("hourglass.experiments.baselines.NL_MEANS_STRENGTHS", (0.2, 0.4))
    patch.setattr("hourglass.experiments.checkerboard.STEPS", 2)
    patch.setattr("hourglass.experiments.checkerboard.DRAWS", 3)
    out = tmp_path_factory.mktemp("runs")
    for name in EXPERIMENTS:
        more = {"report_every": 1, "validate_every": 2} if name in CLASSIFIERS else {}
        hg.run(name, dataset=few, seeds=SEEDS[name], out=out, **QUICK, **more)
    patch.undo()
    return out


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_a_run_leaves_its_files(folder, name):
    figures = {
        "dense": {"reconstructions", "codes", "curve"},
        "conv": {"reconstructions", "codes", "curve", "checkerboards"},
        "denoise": {"reconstructions", "codes", "curve"},
        "dense-better": {"reconstructions", "codes", "curve"},
        "conv-better": {"reconstructions", "codes", "curve"},
        "denoise-better": {"reconstructions", "curve"},
    }.get(name, {"curves"})
    for seed in SEEDS[name]:
        run = folder / f"{name}-classic" / f"seed-{seed}"
        files = {path.name for path in run.iterdir()}
        assert files == {f"{figure}.png" for figure in figures} | {
            "result.json",
            "history.csv",
            "model.safetensors",
            "model.json",
            "optimiser.safetensors",
            "log.txt",
            "state",
        }
        for figure in figures:
            with Image.open(run / f"{figure}.png") as image:
                assert min(image.size) > 150
                assert np.asarray(image.convert("L")).std() > 10
        assert len(History.read_csv(run / "history.csv")) == 3
    assert [path.name for path in folder.rglob(".*")] == [".lock"]


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_result_json_has_what_it_must(folder, name):
    seed = SEEDS[name][-1]
    content = json.loads((folder / f"{name}-classic" / f"seed-{seed}" / "result.json").read_text())
    assert (content["experiment"], content["recipe"], content["dataset"], content["seed"]) == (
        name,
        "classic",
        "few",
        seed,
    )
    assert content["parameters"]["n_steps"] == 3
    assert content["parameters"]["batch_size"] == 20
    assert "epochs" not in content["parameters"]
    assert set(content["timing"]) == {"train_seconds", "images_per_second", "total_seconds"}
    assert 0 < content["timing"]["train_seconds"] < content["timing"]["total_seconds"]
    assert {"python", "torch", "hourglass", "device", "precision", "threads"} <= set(content["environment"])
    names = {
        True: {"test_bce", "test_mse", "test_psnr_db", "test_ssim"},
        False: {
            "validation_loss",
            "validation_accuracy",
            "test_loss",
            "test_accuracy",
            "single_image_accuracy",
            "single_image_agreement",
        },
    }[name not in CLASSIFIERS]
    assert set(content["metrics"]) == names
    noisy = {"noisy", "total_variation", "nl_means"} if name.startswith("denoise") else set()
    # With skips there is no code, whose size PCA could take.
    expected = set() if name in CLASSIFIERS else noisy | ({"pca"} if name != "denoise-better" else set())
    assert set(content["baselines"]) == expected
    for scores in content["baselines"].values():
        assert names <= set(scores)


@pytest.mark.parametrize("name", ["dense", "denoise", "bn-manual"])
def test_a_stored_model_gives_the_stored_scores(folder, name, few):
    run = folder / f"{name}-classic" / "seed-0"
    model, metrics = hg.load_model(run), json.loads((run / "result.json").read_text())["metrics"]
    if name == "bn-manual":
        assert model.score(few.test.images, few.test.labels) == pytest.approx(metrics["test_accuracy"])
        assert metrics["single_image_agreement"] == 1
    else:
        given = few.test.images if name == "dense" else corrupt(few.test.images, 0.5, 20_000)
        assert -model.score(given, few.test.images) == pytest.approx(metrics["test_mse"], rel=1e-5)


def test_equal_seeds_give_equal_results_and_others_differ(few):
    first, again, other = (hg.run("bn-layer", dataset=few, seeds=(seed,), **QUICK) for seed in (3, 3, 4))
    assert first.scores == again.scores
    assert first.runs[0].history.loss == again.runs[0].history.loss
    assert first.runs[0].history.loss != other.runs[0].history.loss


def test_result_gives_mean_and_deviation(few):
    found = hg.run("dense", dataset=few, seeds=(0, 1, 2), **QUICK)
    values = found.scores["test_mse"]
    assert found.mean("test_mse") == pytest.approx(np.mean(values))
    assert found.std("test_mse") == pytest.approx(np.std(values, ddof=1))
    assert hg.run("dense", dataset=few, **QUICK).std("test_mse") == 0


def test_a_finished_run_is_not_run_over(folder, few):
    with pytest.raises(FileExistsError, match=r"holds a finished run; resume \(--resume\) leaves it"):
        hg.run("dense", dataset=few, seeds=(2, 1), out=folder, **QUICK)
    assert not (folder / "dense-classic" / "seed-2").exists()
    with pytest.raises(FileExistsError, match="is a file"):
        hg.run("dense", dataset=few, out=folder / "dense-classic" / "seed-0" / "result.json", **QUICK)


def test_a_run_that_fails_leaves_nothing(few, tmp_path, monkeypatch):
    def full(figure, path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(result, "save_figure", full)
    with pytest.raises(OSError, match="No space left"):
        hg.run("dense", dataset=few, out=tmp_path, **QUICK)
    files = [path for path in tmp_path.rglob("*") if path.is_file() and path.name != ".lock"]
    assert {path.parent.name for path in files} == {"seed-0.unfinished"}  # its training need not be done again


def test_bad_parameters_fail_before_any_data_is_read(monkeypatch):
    monkeypatch.setattr(runs, "load_dataset", lambda *args: pytest.fail("data were read"))
    for parameters in [{"epochs": -1}, {"device": "tpu"}, {"precision": "half"}, {"seeds": ()}]:
        with pytest.raises(ValueError, match=r"expected|unknown|empty"):
            hg.run("conv", **parameters)


def test_baselines_beat_the_noise_and_choose_a_strength_inside_the_grid(few):
    scores = baselines(few, 10, 0.5)
    for method in ("total_variation", "nl_means"):
        assert scores[method]["test_psnr_db"] > scores["noisy"]["test_psnr_db"] + 1
    assert TOTAL_VARIATION_WEIGHTS[0] < scores["total_variation"]["strength"] < TOTAL_VARIATION_WEIGHTS[-1]
    assert NL_MEANS_STRENGTHS[0] < scores["nl_means"]["strength"] < NL_MEANS_STRENGTHS[-1]
    assert scores["noisy"]["test_psnr_db"] == pytest.approx(9.4, abs=0.2)
    better = baselines(few, 30, None)["pca"]["test_mse"]
    assert better < baselines(few, 10, None)["pca"]["test_mse"]


def test_pca_is_scikit_learns(few):
    from sklearn.decomposition import PCA

    flat, test = few.train.images.reshape(200, -1), few.test.images.reshape(100, -1)
    pca = PCA(7, svd_solver="full").fit(flat)
    expected = np.mean((np.clip(pca.inverse_transform(pca.transform(test)), 0, 1) - test) ** 2)
    assert baselines(few, 7, None)["pca"]["test_mse"] == pytest.approx(expected, rel=1e-4)


def test_only_the_transposed_decoder_treats_pixels_unevenly():
    inner = {name: response((28, 28, 1), (16, 8, 8), name)[8:-8, 8:-8] for name in ("nearest", "transposed")}
    assert inner["nearest"].std() < 0.01
    assert inner["transposed"].std() > 0.05


class Page(html.parser.HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.images, self.links, self.tags = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        values = dict(attrs)
        if tag == "img":
            self.images.append(values["src"])
        self.links += [values[key] for key in ("href", "src") if key in values and tag != "img"]


def test_the_page_holds_every_figure_and_nothing_from_outside(folder):
    page = report.write_report(folder)
    text = page.read_text(encoding="utf-8")
    parsed = Page(text)
    figures = {path.read_bytes() for path in folder.rglob("seed-0/*.png")} | {
        (folder / "bn-comparison.png").read_bytes()
    }
    shown = {base64.b64decode(source.removeprefix("data:image/png;base64,")) for source in parsed.images}
    assert shown == figures
    assert all(link.startswith("#") for link in parsed.links)
    assert not {"script", "link", "iframe"} & set(parsed.tags)
    assert "http" not in text.replace("base64", "")[: text.index("<body>")]
    for name in EXPERIMENTS:
        assert f'id="{name}-classic-few' in text
    assert "±" in text
    for word in ("total variation", "non-local means", "PCA", "noisy input"):
        assert word in text


def test_the_page_is_refused_where_there_is_no_run(tmp_path):
    with pytest.raises(FileNotFoundError, match="no complete run"):
        report.write_report(tmp_path)


def test_classifiers_share_their_axes(folder):
    groups = [g for g in groups_of(hg.experiments.stored_runs(folder)) if g.name in CLASSIFIERS]
    figure = plots.classifier_curves({g.name: [run.history() for run in g.runs] for g in groups})
    assert [axis.get_title() for axis in figure.axes] == [
        "training loss",
        "validation loss",
        "training accuracy",
        "validation accuracy",
    ]
    styles = {(line.get_linestyle(), line.get_marker()) for line in figure.axes[0].get_lines()}
    assert len(figure.axes[0].get_lines()) == len(styles) == 3
    assert all(axis.get_xlabel() == "step" and axis.get_ylabel() for axis in figure.axes)


def test_figures_touch_no_global_matplotlib_state(few):
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    assert isinstance(plots.image_rows({"a": few.test.images[:3], "b": few.test.images[3:6]}), Figure)
    assert isinstance(plots.codes(few.test.images[:2], np.random.RandomState(0).rand(2, 10), (10,)), Figure)
    colour = np.random.RandomState(0).rand(2, 8, 8, 3)
    assert isinstance(plots.image_rows({"colour": colour}), Figure)
    assert dict(mpl.rcParams) == before
