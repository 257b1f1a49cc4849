"""What CONTRIBUTING says how to add, from outside the package, works everywhere in it."""

import csv
import json
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import hourglass as hg
from hourglass.denoising import corrupt, parse_corruption
from hourglass.denoising.corruption import CORRUPTIONS
from hourglass.estimators import ESTIMATORS, Autoencoder, pieces
from hourglass.experiments import EXPERIMENTS, Experiment
from hourglass.image_training.settings import NETWORKS
from hourglass.imagefiles.comparison import evaluate_images
from hourglass.metrics import METRICS, Metric
from hourglass.nn import NORMS, Codec
from hourglass.nn.norms import NORMS_IN_WORDS
from hourglass.running import split
from hourglass.training import LOSSES, OPTIMISERS, Loss

QUICK = {"n_steps": 3, "batch_size": 20, "random_state": 0}


class LinearCodec(Codec):
    """Two matrices."""

    def __init__(self, image_shape, code_size):
        super().__init__(image_shape)
        self.code_shape = (code_size,)
        self.encoder = nn.Linear(self.output_size, code_size)
        self.decoder = nn.Linear(code_size, self.output_size)

    @property
    def output_size(self):
        height, width, channels = self.image_shape
        return height * width * channels

    @property
    def output_bias(self):
        return self.decoder.bias

    def encode(self, images):
        return self.encoder(images.permute(0, 2, 3, 1).flatten(1))

    def decode(self, codes):
        height, width, channels = self.image_shape
        return self.decoder(codes).unflatten(1, (height, width, channels)).permute(0, 3, 1, 2)

    def reset_parameters(self, generator=None):
        for weight in self.parameters():
            nn.init.normal_(weight, std=0.05, generator=generator)


@dataclass(kw_only=True, eq=False, repr=False)
class LinearAutoencoder(Autoencoder):
    """Principal components by gradient descent."""

    n_components: int = 4

    _network_parameters = ("n_components",)

    def _build(self):
        return LinearCodec(self.image_shape_, self.n_components)


@dataclass(frozen=True)
class Stripes:
    """Make a share of the rows black."""

    share: float

    def __call__(self, images, generator=None):
        hidden = torch.rand(images.shape[0], 1, images.shape[2], 1, generator=generator) < self.share
        return images.masked_fill(hidden, 0)


class RMSprop(torch.optim.RMSprop):
    """PyTorch's, with a memory of nine tenths."""

    def __init__(self, params, lr=0.001):
        super().__init__(params, lr, alpha=0.9)


class PixelsNorm(nn.Module):
    """Each image normalised over all its values, without parameters."""

    looks_at_whole_image = True

    def __init__(self, num_features, eps=1e-5):
        super().__init__()
        self.eps = eps

    def forward(self, x):
        variance, mean = torch.var_mean(x, tuple(range(1, x.dim())), correction=0, keepdim=True)
        return (x - mean) / (variance + self.eps).sqrt()


def mean_absolute(output, target, weights=None):
    errors = (output - target).abs()
    return errors.mean() if weights is None else (errors.flatten(1).mean(1) * weights).mean()


def largest_error(target, output):
    return float(np.abs(np.asarray(target, dtype=float) - np.asarray(output)).max())


@pytest.fixture
def network(monkeypatch):
    monkeypatch.setitem(ESTIMATORS, "LinearAutoencoder", LinearAutoencoder)


@pytest.fixture
def dataset(monkeypatch, few):
    class Few:
        def load(self, data_dir=None):
            return few

    monkeypatch.setitem(hg.DATASETS, "few", Few())


@pytest.fixture
def folder(few, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for i, image in enumerate(few.test.images[:4, ..., 0]):
        Image.fromarray(np.round(image * 255).astype(np.uint8)).save(folder / f"{i}.png")
    return folder


def exported(estimator, images, path):
    """Outputs of the exported file for images."""
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra onnx")
    pytest.importorskip("onnxscript", reason="needs the extra onnx")
    hg.export_onnx(estimator, path, takes="float")
    return onnxruntime.InferenceSession(path).run(None, {"images": images})[0]


def saved(estimator, folder):
    hg.save(estimator, folder)
    return hg.load_model(folder)


def test_a_network(network, few, folder, tmp_path, hourglass):
    ae = LinearAutoencoder(n_components=3, loss="bce", **QUICK).fit(few.train.images)
    again = saved(ae, tmp_path / "model")
    assert type(again) is LinearAutoencoder
    images = few.test.images[:5]
    np.testing.assert_array_equal(again.reconstruct(images), ae.reconstruct(images))
    assert again.transform(images).shape == (5, 3)
    assert ae.title == "Autoencoder"
    assert ae.dead_units_ == {}
    code, out, _ = hourglass("info", "--model", tmp_path / "model", "--json")
    facts = json.loads(out)
    assert (code, facts["model"], facts["code_size"]) == (0, "LinearAutoencoder", 3)
    assert facts["parameters"]["n_components"] == 3
    assert hourglass("reconstruct", folder, tmp_path / "out", "--model", tmp_path / "model")[0] == 0
    assert len(list((tmp_path / "out").glob("*.png"))) == 4
    assert hourglass("encode", folder, tmp_path / "codes.npy", "--model", tmp_path / "model")[0] == 0
    assert np.load(tmp_path / "codes.npy").shape == (4, 3)
    restored = exported(again, images, tmp_path / "a.onnx")
    np.testing.assert_allclose(restored, ae.reconstruct(images), atol=1e-5)


def test_the_command_line_trains_a_network(network, folder, monkeypatch, tmp_path, hourglass):
    monkeypatch.setitem(NETWORKS, "linear", LinearAutoencoder)
    words = ("train", folder, "--out", tmp_path / "model", "--steps", 2, "--crop", 8, "-q")
    code, _, err = hourglass(*words, "--network", "linear", "--set", "n_components=3")
    assert code == 0, err
    model = hg.load_model(tmp_path / "model")
    assert (type(model), model.n_components) == (LinearAutoencoder, 3)
    code, _, err = hourglass(*words, "--network", "cubic")
    assert code == 2
    assert "'cubic' is not a network; choose one of conv, dense, denoiser, linear" in err


def test_a_network_that_is_not_registered_is_named_with_the_remedy(few, tmp_path):
    hg.save(LinearAutoencoder(**QUICK).fit(few.train.images), tmp_path)
    with pytest.raises(
        ValueError, match=r"'LinearAutoencoder' is none of .* adds it to hourglass.estimators.ESTIMATORS"
    ):
        hg.load_model(tmp_path)


@pytest.mark.usefixtures("network", "dataset")
def test_an_experiment_with_the_network(monkeypatch, tmp_path, hourglass):
    experiment = Experiment("linear", "Linear autoencoder", "What do matrices do?", LinearAutoencoder(loss="bce"))
    monkeypatch.setitem(EXPERIMENTS, "linear", experiment)
    assert split(["all"])[0][-1] == "linear"
    code, out, err = hourglass("run", "linear", "--dataset", "few", "--steps", 3, "--out", tmp_path / "runs")
    assert code == 0, err
    assert "linear" in out
    assert (tmp_path / "runs" / "linear-classic" / "seed-0" / "reconstructions.png").exists()
    assert ">linear</a></td>" in (tmp_path / "runs" / "report.html").read_text()


@pytest.mark.usefixtures("dataset")
def test_a_loss(monkeypatch, few, tmp_path, hourglass):
    loss = Loss(function=mean_absolute, label="mean absolute error", activation=torch.tanh, output_range=(-1, 1))
    monkeypatch.setitem(LOSSES, "absolute", loss)
    ae = hg.ConvAutoencoder(channels=(4,), loss="absolute", output_bias="zero", **QUICK).fit(few.train.images)
    images = few.test.images[:5]
    again = saved(ae, tmp_path / "model")
    np.testing.assert_array_equal(again.reconstruct(images), ae.reconstruct(images))
    assert -1 <= ae.reconstruct(images).min() < ae.reconstruct(images).max() <= 1
    assert ae.describe()["output"] == "in [-1, 1]"
    with pytest.raises(ValueError, match="loss='absolute' cannot"):
        hg.ConvAutoencoder(loss="absolute", residual=True).check_parameters()
    with pytest.raises(ValueError, match="loss='absolute'"):
        hg.ConvClassifier(loss="absolute").check_parameters()
    options = ("--dataset", "few", "--steps", 3, "--out", "runs")
    code, _, err = hourglass("run", "dense", *options, "--set", "loss=absolute")
    assert code == 0, err
    np.testing.assert_allclose(exported(ae, images, tmp_path / "a.onnx"), ae.reconstruct(images), atol=1e-5)


def test_a_loss_of_classes(monkeypatch, few, tmp_path):
    def squared(output, target, weights=None):
        errors = (output.softmax(1) - target).square().sum(1)
        return errors.mean() if weights is None else (errors * weights).mean()

    brier = Loss(function=squared, label="Brier score", compares_images=False, log_scores=lambda logits: logits)
    monkeypatch.setitem(LOSSES, "brier", brier)
    clf = hg.ConvClassifier(depth=2, loss="brier", **QUICK).fit(few.train.images, few.train.labels)
    again = saved(clf, tmp_path / "model")
    images = few.test.images[:5]
    np.testing.assert_allclose(again.predict_proba(images).sum(1), 1)
    np.testing.assert_allclose(exported(again, images, tmp_path / "a.onnx"), clf.predict_proba(images), atol=1e-5)
    with pytest.raises(ValueError, match="loss='brier'"):
        hg.DenseAutoencoder(loss="brier").check_parameters()


@pytest.mark.usefixtures("dataset")
def test_a_metric(monkeypatch, few, folder, tmp_path, hourglass):
    metric = Metric(name="largest error", function=largest_error, higher_is_better=False, unit="white", digits=3)
    monkeypatch.setitem(METRICS, "largest", metric)
    code, out, err = hourglass("run", "dense", "--dataset", "few", "--steps", 3, "--out", tmp_path / "runs")
    assert code == 0, err
    assert "largest error" in out
    result = json.loads(next((tmp_path / "runs").rglob("result.json")).read_text())
    value = result["metrics"]["test_largest"]
    assert 0 < value <= 1
    assert "test_largest" in result["baselines"]["pca"]
    page = (tmp_path / "runs" / "report.html").read_text()
    assert "<th>largest error (white) ↓</th>" in page
    assert f"<td>{value:.3f}</td>" in page
    hg.save(hg.ConvAutoencoder(channels=(4,), **QUICK).fit(few.train.images), tmp_path / "model")
    words = ("evaluate", folder, "--model", tmp_path / "model", "--noise", 0.2, "--format", "csv")
    code, out, err = hourglass(*words)
    assert code == 0, err
    rows = list(csv.DictReader(out.splitlines()))
    assert list(rows[0]) == ["file", "method", "psnr_db", "ssim", "mse", "largest"]
    assert all(0 < float(row["largest"]) <= 1 for row in rows)


@pytest.mark.usefixtures("dataset")
def test_a_metric_of_labels(monkeypatch, few):
    error = Metric(
        name="error", function=lambda labels, predicted: float(np.mean(labels != predicted)), higher_is_better=False,
        compares="labels",
    )  # fmt: skip
    monkeypatch.setitem(METRICS, "error", error)
    run = hg.run("bn-layer", dataset=few, n_steps=2).runs[0]
    assert run.metrics["test_error"] == pytest.approx(1 - run.metrics["test_accuracy"])


@pytest.mark.usefixtures("dataset")
def test_an_optimiser(monkeypatch, few, tmp_path, hourglass):
    monkeypatch.setitem(OPTIMISERS, "rmsprop", RMSprop)
    ae = hg.DenseAutoencoder(optimiser="rmsprop", **QUICK).fit(few.train.images)
    again = saved(ae, tmp_path / "model")
    again.random_state = ae.random_state
    for each in (ae, again):
        each.partial_fit(few.train.images[:40])
    assert type(again._optimiser) is RMSprop
    assert again._optimiser.state[again.network_.encoder.weight]["step"] == 5
    code, out, _ = hourglass("info", "--model", tmp_path / "model")
    assert code == 0
    assert "RMSprop, momentum = 0, alpha = 0.9" in out
    options = ("--dataset", "few", "--steps", 3, "--out", tmp_path / "runs")
    code, _, err = hourglass("run", "dense", *options, "--set", "optimiser=rmsprop")
    assert code == 0, err


def test_a_corruption(monkeypatch, few, folder, tmp_path, hourglass):
    monkeypatch.setitem(CORRUPTIONS, "stripes", Stripes)
    assert parse_corruption("stripes:0.3") == Stripes(0.3)
    assert (corrupt(few.test.images, Stripes(0.5), 0) == 0).mean() > (few.test.images == 0).mean()
    denoiser = hg.ConvAutoencoder(channels=(4,), corruption=Stripes(0.3), **QUICK).fit(few.train.images)
    again = saved(denoiser, tmp_path / "model")
    assert again.corruption == Stripes(0.3)
    assert again.title.startswith("Denoising")
    words = ("train", folder, "--out", tmp_path / "trained", "--noise", "stripes:0.3", "--steps", 2, "--crop", 16)
    code, _, err = hourglass(*words, "--n-crops", 20, "-q")
    assert code == 0, err
    assert hg.load_model(tmp_path / "trained").corruption == Stripes(0.3)
    code, _, err = hourglass("evaluate", folder, "--model", tmp_path / "model", "--noise", "stripes:0.3")
    assert code == 0, err
    scores = evaluate_images(denoiser, folder, noise="stripes:0.3")
    assert evaluate_images(denoiser, folder, noise=Stripes(0.3)) == scores
    assert evaluate_images(denoiser, folder, noise=lambda *given: Stripes(0.3)(*given)) == scores
    restored = exported(again, few.test.images[:5], tmp_path / "a.onnx")
    np.testing.assert_allclose(restored, denoiser.reconstruct(few.test.images[:5]), atol=1e-5)


def test_a_normalisation(monkeypatch, few, tmp_path):
    monkeypatch.setitem(NORMS, "pixels", PixelsNorm)
    monkeypatch.setitem(NORMS_IN_WORDS, "pixels", "with normalisation of the pixels")
    ae = hg.ConvAutoencoder(channels=(4,), norm="pixels", **QUICK).fit(few.train.images)
    assert ae.network_.halo is None
    assert "with normalisation of the pixels" in ae.title
    images = few.test.images[:5]
    again = saved(ae, tmp_path / "model")
    np.testing.assert_array_equal(again.reconstruct(images), ae.reconstruct(images))
    # Blocks would be normalised by moments of their own.
    monkeypatch.setattr(pieces, "BLOCK", 600)
    monkeypatch.setattr(pieces, "SMALL_BLOCK", 600)
    large = np.tile(images[:1], (1, 4, 4, 1))
    with torch.inference_mode():
        whole = ae.network_(torch.from_numpy(large).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    np.testing.assert_allclose(ae.reconstruct(large), whole, atol=1e-5)
    clf = hg.ConvClassifier(depth=2, norm="pixels", **QUICK).fit(few.train.images, few.train.labels)
    assert clf.title == "3-layer classifier with normalisation of the pixels"


@pytest.mark.usefixtures("dataset")
def test_a_data_set(few, tmp_path, hourglass):
    assert hg.load("few") is few
    assert hg.run("dense", dataset="few", n_steps=2).dataset == "few"
    code, _, err = hourglass("run", "dense", "--dataset", "few", "--steps", 2, "--out", tmp_path / "runs")
    assert code == 0, err
    code, _, err = hourglass("run", "dense", "--dataset", "fewer")
    assert code == 2
    assert "sample, mnist, fashion-mnist, few" in err
    assert "sample, mnist, fashion-mnist, few" in hourglass("list")[1]
