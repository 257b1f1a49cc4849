"""What figures, data sets, results, estimators and layers say of themselves."""

import copy
import functools
import io
import json
import pickle
import re

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import nn

import hourglass as hg
from hourglass import plots
from hourglass.data import Images
from hourglass.experiments import stored_runs
from hourglass.nn import NORMS, ConvCodec, ConvNet, DenseCodec
from hourglass.nn.layers import SameConv2d, SamePool2d, same_padding
from hourglass.nn.norms import LOCAL_NORMS, NORMS_IN_WORDS
from hourglass.nn.upsampling import TransposedConv2d, UpsampleConv2d
from hourglass.training import OPTIMISERS, History, optimiser_in_words

QUICK = {"n_steps": 5, "batch_size": 20}


@pytest.fixture(scope="module")
def made(few, tmp_path_factory):
    """One of everything that a user of a notebook may look at, by name."""
    few = hg.Dataset("few", few.train, few.test[:20], validation_size=50)
    out = tmp_path_factory.mktemp("runs")
    result = hg.run("denoise", dataset=few, seeds=(0, 1), out=out, **QUICK)
    classified = hg.run("bn-layer", dataset=few, **QUICK)
    images = few.test.images[:4]
    curves = {"a": [classified.runs[0].history], "b": [classified.runs[0].history] * 2}
    noise = functools.partial(lambda array, x, generator: x, np.zeros(100_000))
    awkward = hg.DenseAutoencoder(corruption=noise, random_state=np.random.RandomState(0), **QUICK)
    return {
        "Dataset": few,
        "Dataset of two sizes": hg.Dataset("two", few.train, Images(np.zeros((3, 40, 300, 2), np.float32))),
        "Images": few.train,
        "Images without labels": Images(few.train.images),
        "Images, none": few.train[:0],
        "Images in colour": Images(np.ones((2, 9, 7, 3), np.float32)),
        "Result": result,
        "Result of a classifier": classified,
        "Run": result.runs[0],
        "StoredRun": stored_runs(out)[0],
        "History": result.runs[0].history,
        "History, empty": History(),
        "Experiment": hg.EXPERIMENTS["conv"],
        "DenseAutoencoder": hg.DenseAutoencoder(),
        "DenseAutoencoder, fitted with arrays": awkward.fit(few.train.images),
        "ConvAutoencoder, fitted": result.runs[0].estimator,
        "ConvClassifier, fitted": classified.runs[0].estimator,
        "image_rows": plots.image_rows({"a": images}),
        "side_by_side": plots.side_by_side({"a": images[0]}),
        "codes": plots.codes(images, np.ones((4, 8)), (8,)),
        "training_curve": plots.training_curve(result.runs[0].history, loss_name="loss", validation_name="test"),
        "classifier_curves": plots.classifier_curves(curves),
        "checkerboards": plots.checkerboards({"a": np.eye(28)}, {"input": images}, n_steps=3),
        "a run's figure": result.runs[0].figures["curve"],
    }


NAMES = (
    "Dataset", "Dataset of two sizes", "Images", "Images without labels", "Images, none", "Images in colour", "Result",
    "Result of a classifier", "Run", "StoredRun", "History", "History, empty", "Experiment", "DenseAutoencoder",
    "DenseAutoencoder, fitted with arrays", "ConvAutoencoder, fitted", "ConvClassifier, fitted",
)  # fmt: skip
FIGURES = (
    "image_rows", "side_by_side", "codes", "training_curve", "classifier_curves", "checkerboards", "a run's figure",
)  # fmt: skip


def test_the_tables_name_everything(made):
    assert set(made) == {*NAMES, *FIGURES}


@pytest.mark.parametrize("name", [*NAMES, *FIGURES])
def test_its_text_is_short(made, name):
    text = repr(made[name])
    assert len(text) < 700
    # scikit-learn breaks the parameters of an estimator into lines of 80 characters.
    assert text.count("\n") <= 7
    assert type(made[name]).__name__ in text


@pytest.mark.parametrize("name", [name for name in NAMES if name != "Experiment"])
def test_it_has_html_that_loads_nothing(made, name):
    found = made[name]
    bundle = found._repr_mimebundle_() if hasattr(found, "_repr_mimebundle_") else {"text/html": found._repr_html_()}
    html = bundle["text/html"]
    assert html.count("<table") == html.count("</table>")
    assert html.count("<div") == html.count("</div>")
    for loading in ("src='http", 'src="http', "<link", "@import"):
        assert loading not in html


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Dataset", "Dataset('few', 200 training and 20 test images of 28 × 28 × 1, 50 held out)"),
        (
            "Dataset of two sizes",
            "Dataset('two', 200 training images of 28 × 28 × 1 and 3 test images of 40 × 300 × 2)",
        ),
        ("Images", "Images(200 of 28 × 28 × 1, 10 different labels)"),
        ("Images without labels", "Images(200 of 28 × 28 × 1, no labels)"),
        ("Result", "Result(denoise, classic recipe, on few, 2 seeds: test_bce 0."),
        ("Run", "Run(denoise, classic recipe, on few, seed 0: test_bce 0."),
        ("Result of a classifier", "Result(bn-layer, classic recipe, on few, seed 0: test_loss 0."),
        ("StoredRun", "seed-0': denoise, classic recipe, on few, seed 0: test_bce 0."),
        ("History", "History(5 steps, 0.5 epochs, loss 0."),
        ("History, empty", "History(no steps)"),
    ],
)
def test_its_text_says_what_it_is(made, name, said):
    assert said in repr(made[name])


def test_a_results_table_is_its_scores(made):
    result, html = made["Result"], made["Result"]._repr_html_()
    for name, digits in (("test_bce", 4), ("test_mse", 5), ("test_psnr_db", 2)):
        assert f"<td>{result.mean(name):.{digits}f} ± {result.std(name):.{digits}f}</td>" in html
        assert f"<td>{result.runs[1].metrics[name]:.{digits}f}</td>" in html
    for method in ("PCA", "noisy input", "total variation", "non-local means"):
        for name in ("Run", "StoredRun"):
            assert method in made[name]._repr_html_()
    assert "±" not in made["Result of a classifier"]._repr_html_()


def test_names_in_html_are_escaped(few):
    assert "<b>" not in hg.Dataset("<b>", few.train, few.test)._repr_html_()


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_an_image_wherever_it_goes(made, name, tmp_path):
    figure = made[name]
    assert isinstance(figure, Figure)
    plots.save_figure(figure, tmp_path / "saved.png")
    pickled = pickle.loads(pickle.dumps(figure))  # noqa: S301 - our own
    shown = [each._repr_png_() for each in (figure, pickled, copy.deepcopy(figure))]
    for png in ((tmp_path / "saved.png").read_bytes(), *shown):
        with Image.open(io.BytesIO(png)) as image:
            assert image.format == "PNG"
            assert min(image.size) > 100
            assert np.asarray(image.convert("L")).std() > 5
    for suffix in ("png", "svg", "pdf"):
        figure.savefig(tmp_path / f"by-the-user.{suffix}")
        assert (tmp_path / f"by-the-user.{suffix}").stat().st_size > 1000


def test_a_figure_needs_neither_pyplot_nor_the_users_settings(made):
    import matplotlib as mpl

    made["training_curve"]._repr_png_()  # its first rendering settles the layout
    before = made["training_curve"]._repr_png_()
    with mpl.rc_context({"font.size": 30, "lines.linewidth": 9}):
        settings = dict(mpl.rcParams)
        assert made["training_curve"]._repr_png_() == before
        assert dict(mpl.rcParams) == settings


LAYERS = {
    SameConv2d(1, 4): "1, 4, kernel_size=(3, 3), stride=(1, 1), padding='same'",
    SameConv2d(1, 4, 5, bias=False): "1, 4, kernel_size=(5, 5), stride=(1, 1), padding='same', bias=False",
    SameConv2d(2, 4, stride=2): "2, 4, kernel_size=(3, 3), stride=(2, 2), padding='same' as in TensorFlow, "
    "which depends on the input's size",
    SamePool2d(): "kernel_size=2, stride=2, padding='same' as in TensorFlow, which depends on the input's size",
    UpsampleConv2d(2, 4): "scale_factor=2, mode=nearest, cropped to the size asked for",
    TransposedConv2d(2, 4): "2, 4, kernel_size=(3, 3), stride=(2, 2), padding=(1, 1), output_padding=(1, 1), "
    "cropped to the size asked for",
}


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: type(layer).__name__)
def test_a_layer_says_what_it_does(layer):
    assert layer.extra_repr() == LAYERS[layer]


@pytest.mark.parametrize("size", [28, 27, 14, 7, 4, 2, 1])
@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_a_convolution_pads_as_it_says(size, kernel):
    """By the padding of TensorFlow, which PyTorch's attribute would not give: 28 → 14 pads (0, 1), not (1, 1)."""
    layer = SameConv2d(1, 1, kernel, stride=2).double()
    x = torch.arange(size * size, dtype=torch.float64).reshape(1, 1, size, size) + 1
    before, after = same_padding(size, kernel, 2)
    padded = nn.functional.pad(x, (before, after, before, after))
    wanted = nn.functional.conv2d(padded, layer.weight, layer.bias, 2)
    assert torch.equal(layer(x), wanted)
    if (size, kernel) == (28, 3):
        assert (before, after) == (0, 1)


@pytest.mark.parametrize("size", [28, 7, 1])
def test_a_pooling_pads_as_it_says(size):
    x = torch.arange(size * size, dtype=torch.float32).reshape(1, 1, size, size) - 500
    before, after = same_padding(size, 2, 2)
    padded = nn.functional.pad(x, (before, after, before, after), value=-torch.inf)
    assert torch.equal(SamePool2d()(x), nn.functional.max_pool2d(padded, 2))


@pytest.mark.parametrize("norm", NORMS)
def test_a_printed_network_names_no_padding_that_it_does_not_use_and_every_epsilon(norm):
    for network in (
        ConvNet((28, 28, 1), 10, depth=3, norm=norm),
        ConvCodec((28, 28, 1), norm=norm),
        DenseCodec((28, 28, 1)),
    ):
        text = str(network)
        assert "padding=(1, 1)" not in text
        layers = [layer for layer in network.modules() if hasattr(layer, "eps")]
        for layer in layers:
            assert f"eps={layer.eps}" in str(layer)


def test_every_normalisation_has_words():
    assert NORMS_IN_WORDS.keys() == NORMS.keys() | LOCAL_NORMS.keys()


@pytest.mark.parametrize(
    ("name", "recipe", "said"),
    [
        ("dense", "classic", ["code_size=32", "batch_size=200", "schedule=constant", "epochs=20"]),
        ("dense", "fast", ["code_size=32", "n_steps=1000", "learning_rate=0.02"]),
        ("conv", "fast", ["channels=(16, 8, 8)", "n_steps=2200", "upsample=nearest", "norm=none"]),
        ("denoise", "fast", ["channels=(32, 32, 16)", "n_steps=2000", "noise=0.5"]),
        ("bn-none", "classic", ["depth=19", "width=4", "n_steps=800", "norm=none"]),
        ("bn-layer", "fast", ["depth=19", "norm=batch", "kernel_init=glorot", "norm_momentum=0.1"]),
        (
            "bn-manual",
            "classic",
            ["norm=batch-manual", "kernel_init=truncated-normal", "activation=relu", "optimiser=adam"],
        ),
    ],
)
def test_info_names_every_parameter_that_ruled(name, recipe, said, few, tmp_path, hourglass):
    estimator = hg.EXPERIMENTS[name].configure(recipe).set_params(random_state=0)
    lasting = {"n_steps": estimator.n_steps, "epochs": estimator.epochs}
    estimator.set_params(n_steps=1, epochs=None).fit(few.train.images, few.train.labels).set_params(**lasting)
    hg.save(estimator, tmp_path / "model")
    code, out, _ = hourglass("info", "--model", tmp_path / "model")
    assert code == 0
    lines = [re.split(r"\s{2,}", line.strip(), maxsplit=1) for line in out.splitlines()]
    shown = {line[0]: line[1] for line in lines if len(line) == 2}
    assert [f"{key}={shown.get(key)}" for key in (each.partition("=")[0] for each in said)] == said
    code, out, _ = hourglass("info", "--model", tmp_path / "model", "--json")
    facts = json.loads(out)
    given = facts["parameters"]
    idle = "epochs" if estimator.n_steps else "n_steps"
    assert idle not in given
    wanted = estimator.get_params()
    left_out = {"device", "verbose", "checkpoint_dir", "checkpoint_every", idle}
    assert given.keys() == {key for key in wanted if key not in left_out and wanted[key] is not None}
    assert all(json.loads(json.dumps(wanted[key])) == value for key, value in given.items())
    assert None not in given.values()


@pytest.mark.parametrize(
    ("estimator", "normalised"),
    [
        (hg.ConvClassifier(norm="batch", norm_momentum=0.02), "FrameworkBatchNorm, ε = 0.001, momentum = 0.02"),
        (hg.ConvClassifier(norm="batch-manual"), "ManualBatchNorm, ε = 0.001, momentum = 0.1"),
        (hg.ConvClassifier(norm="group"), "GroupNorm, ε = 0.001"),
        (hg.ConvClassifier(norm="none"), "none"),
        (hg.ConvAutoencoder(norm="ghost", norm_momentum=0.3), "GhostBatchNorm, ε = 1e-05, momentum = 0.3"),
        (hg.ConvAutoencoder(norm="renorm"), "BatchRenorm, ε = 1e-05, momentum = 0.1"),
        (hg.DenseAutoencoder(), "none"),
    ],
    ids=str,
)
def test_epsilon_and_momentum_are_those_of_the_layers(estimator, normalised, few):
    assert estimator.describe_constants()["normalisation"] == normalised
    fitted = estimator.set_params(**QUICK).fit(few.train.images[:40], few.train.labels[:40])
    assert fitted.describe()["normalisation"] == normalised


@pytest.mark.parametrize("name", OPTIMISERS)
def test_an_optimisers_words_are_its_constants(name):
    words = optimiser_in_words(name)
    defaults = OPTIMISERS[name]([torch.zeros(1, requires_grad=True)], 0.1).defaults
    assert ("β₁ = 0.9, β₂ = 0.999, ε = 1e-08" in words) == (defaults.get("betas") == (0.9, 0.999))
    assert "plain" not in words or not defaults["momentum"]
