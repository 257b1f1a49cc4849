"""Estimators as a scikit-learn user meets them, and their files."""

import ast
import inspect
import json
import re

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

import hourglass as hg
from hourglass.data.arrays import infer_image_shape, to_images
from hourglass.estimators import (
    ESTIMATORS,
    Autoencoder,
    Classifier,
    ConvAutoencoder,
    ConvClassifier,
    DenseAutoencoder,
    NetworkEstimator,
)

SMALL = {"n_steps": 5, "batch_size": 16, "random_state": 0}
AUTOENCODERS = [DenseAutoencoder(code_size=5, **SMALL), ConvAutoencoder(channels=(4, 2), **SMALL)]
CLASSIFIER = ConvClassifier(depth=4, **SMALL)


@pytest.mark.parametrize("estimator", [*AUTOENCODERS, CLASSIFIER], ids=lambda e: type(e).__name__)
def test_parameters_clone(estimator):
    again = clone(estimator)
    assert again.get_params() == estimator.get_params()
    assert again.set_params(n_steps=7).n_steps == 7
    assert type(estimator).__name__ in repr(estimator)


@pytest.mark.parametrize("estimator", AUTOENCODERS, ids=lambda e: type(e).__name__)
def test_encodes_decodes_and_scores(estimator, few):
    ae, images = clone(estimator).fit(few.train.images), few.test.images
    codes = ae.transform(images)
    assert codes.shape == (100, ae.network_.code_size)
    assert codes.dtype == np.float32
    assert codes.min() >= 0
    np.testing.assert_allclose(ae.inverse_transform(codes), ae.reconstruct(images), atol=1e-5)
    assert ae.reconstruct(images).shape == images.shape
    assert ae.score(images) == pytest.approx(-np.mean((ae.reconstruct(images) - images) ** 2), rel=1e-5)
    target = np.zeros_like(images)
    assert ae.score(images, target) == pytest.approx(-np.mean(ae.reconstruct(images) ** 2), rel=1e-5)
    assert ae.score(images) == ae.score(images)
    rows = np.concatenate([ae.reconstruct(images[i : i + 1]) for i in range(10)])
    np.testing.assert_allclose(rows, ae.reconstruct(images)[:10], atol=1e-5)


@pytest.mark.parametrize("estimator", AUTOENCODERS, ids=lambda e: type(e).__name__)
def test_takes_images_in_every_usual_form(estimator, few):
    x = few.train.images[:40]
    flat, bytes_ = x.reshape(40, -1), np.round(x * 255).astype(np.uint8)
    expected = clone(estimator).fit(x).reconstruct(x)
    for form in (x[..., 0], flat, bytes_, bytes_[..., 0], x.tolist(), x.astype(np.float64)):
        ae = clone(estimator).set_params(image_shape=(28, 28, 1)).fit(form)
        output = ae.reconstruct(form)
        assert output.shape == np.shape(form)
        np.testing.assert_allclose(output.reshape(x.shape), expected, atol=1e-5)


@pytest.mark.parametrize("shape", [(13, 9, 3), (1, 1, 1), (5, 40, 2)])
@pytest.mark.parametrize("estimator", AUTOENCODERS, ids=lambda e: type(e).__name__)
def test_any_size_and_number_of_channels(estimator, shape):
    x = np.random.RandomState(0).rand(20, *shape).astype(np.float32)
    assert clone(estimator).fit(x).reconstruct(x).shape == x.shape


def test_shapes_are_inferred():
    assert infer_image_shape((5, 4, 3), square=True) == (4, 3, 1)
    assert infer_image_shape((5, 4, 3, 2), square=True) == (4, 3, 2)
    assert infer_image_shape((5, 49), square=True) == (7, 7, 1)
    assert infer_image_shape((5, 49), square=False) == (1, 49, 1)
    assert infer_image_shape((5, 50), square=True) == (1, 50, 1)
    for bad in [(5,), (5, 4, 3, 2, 1), (0, 4, 4), (5, 0)]:
        with pytest.raises(ValueError, match=r"X has shape"):
            infer_image_shape(bad, square=True)


def test_bytes_are_scaled_and_nothing_else():
    grey = np.full((1, 2, 2), 51, np.uint8)
    assert to_images(grey, (2, 2, 1)).ravel().tolist() == pytest.approx([0.2] * 4)
    assert to_images(grey.astype(int), (2, 2, 1)).max() == 51
    assert to_images(grey.astype(float), (2, 2, 1)).max() == 51


@pytest.mark.parametrize(
    ("values", "error", "said"),
    [
        (np.full((3, 28, 28), np.nan), ValueError, "contains NaN"),
        (np.full((3, 28, 28), 2.0), ValueError, r"spans \[2, 2\], but loss='bce' needs \[0, 1\]"),
        (np.full((3, 28, 28), "x"), ValueError, "could not convert string"),
        (np.zeros((0, 28, 28)), ValueError, "at least one image"),
        (np.zeros(5), ValueError, "Expected 2D array, got 1D"),
    ],
)
def test_bad_images_are_refused_by_fit(values, error, said):
    with pytest.raises(error, match=said):
        ConvAutoencoder(loss="bce", **SMALL).fit(values)


def test_images_of_another_shape_than_at_fit_are_refused(few):
    ae = clone(AUTOENCODERS[0]).fit(few.train.images)
    with pytest.raises(ValueError, match=r"X has shape \(3, 14, 14\); expected \('n', 28, 28, 1\)"):
        ae.transform(np.zeros((3, 14, 14)))
    with pytest.raises(ValueError, match=r"expected codes \('n', 5\)"):
        ae.inverse_transform(np.zeros((3, 6)))
    with pytest.raises(ValueError, match="X has 200 images but y has 100"):
        clone(AUTOENCODERS[0]).fit(few.train.images, few.test.images)


def test_unfitted_estimators_say_so(few):
    for call in ("transform", "reconstruct", "inverse_transform"):
        with pytest.raises(NotFittedError):
            getattr(ConvAutoencoder(), call)(few.test.images)
    with pytest.raises(NotFittedError):
        DenseAutoencoder().score(few.test.images)
    with pytest.raises(NotFittedError):
        ConvClassifier().predict(few.test.images)


@pytest.mark.parametrize(
    ("estimator", "said"),
    [
        (DenseAutoencoder(epochs=0), "epochs=0; expected a number above 0"),
        (DenseAutoencoder(n_steps=1.5), "n_steps=1.5; expected a whole number above 0 or None"),
        (DenseAutoencoder(batch_size=True), "batch_size=True"),
        (DenseAutoencoder(learning_rate=float("inf")), "learning_rate=inf"),
        (DenseAutoencoder(code_size=0), "code_size=0"),
        (DenseAutoencoder(loss="l1"), "loss='l1' is unknown; choose one of mse, mae, bce"),
        (DenseAutoencoder(noise=-0.1), "noise=-0.1"),
        (DenseAutoencoder(schedule="step"), "choose one of constant, one-cycle, linear"),
        (DenseAutoencoder(output_bias="ones"), "choose one of mean, zero"),
        (DenseAutoencoder(precision="half"), "choose one of float32, bfloat16, auto"),
        (DenseAutoencoder(image_shape=(3, 3)), "image_shape"),
        (ConvAutoencoder(channels=()), r"expected a tuple of whole numbers"),
        (ConvAutoencoder(upsample="cubic"), "choose one of nearest, transposed"),
        (ConvClassifier(norm="layernorm"), "choose one of none, batch, batch-manual, layer"),
        (ConvClassifier(loss="mse"), "choose one of softmax, bce"),
        (ConvClassifier(kernel_init="ones"), "choose one of glorot, he, truncated-normal"),
        (ConvClassifier(kernel_init=-1.0), "kernel_init=-1.0; expected a number above 0"),
        (ConvClassifier(activation="gelu"), "choose one of relu, sigmoid, tanh"),
        (ConvAutoencoder(norm="layernorm"), "choose one of none, batch, batch-manual, layer"),
    ],
)
def test_parameters_are_checked_before_training(estimator, said, few):
    with pytest.raises(ValueError, match=said):
        estimator.fit(few.train.images, few.train.labels if isinstance(estimator, ConvClassifier) else None)


@pytest.mark.parametrize("estimator", [*AUTOENCODERS, CLASSIFIER], ids=lambda e: type(e).__name__)
def test_equal_seeds_give_equal_weights_and_global_states_stay(estimator, few):
    before, torch_before = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    fitted = [
        clone(estimator).fit(few.train.images, None if estimator is not CLASSIFIER else few.train.labels)
        for _ in range(2)
    ]
    assert np.array_equal(np.random.get_state()[1], before)  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), torch_before)
    states = [f.network_.state_dict().values() for f in fitted]
    assert all(torch.equal(a, b) for a, b in zip(*states, strict=True))
    other = clone(estimator).set_params(random_state=1)
    other.fit(few.train.images, None if estimator is not CLASSIFIER else few.train.labels)
    assert not torch.equal(next(iter(other.network_.parameters())), next(iter(fitted[0].network_.parameters())))


@pytest.mark.parametrize("loss", ["mse", "bce"])
def test_output_bias_lets_the_untrained_network_output_the_mean(loss, few):
    ae = DenseAutoencoder(loss=loss, output_bias="mean", n_steps=1, learning_rate=1e-12, random_state=0)
    ae.fit(few.train.images)
    nothing = ae.inverse_transform(np.zeros((1, 32)))
    low = 1e-3 if loss == "bce" else 0
    np.testing.assert_allclose(nothing[0], np.clip(few.train.images.mean(0), low, 1), atol=2e-6)


def test_bce_outputs_probabilities(few):
    output = ConvAutoencoder(loss="bce", **SMALL).fit(few.train.images).reconstruct(few.test.images)
    assert output.min() >= 0
    assert output.max() <= 1


def test_noise_spoils_the_inputs_and_not_the_targets(few):
    seen = []

    def noise(images, generator):
        seen.append(images.clone())
        return torch.zeros_like(images)

    ae = DenseAutoencoder(corruption=noise, n_steps=60, learning_rate=0.05, random_state=0).fit(few.train.images)
    assert len(seen) == 60
    # What it learns from black images alone is the mean of the clean ones.
    black = ae.reconstruct(np.zeros((1, 28, 28, 1), np.float32))
    assert np.mean((black - few.train.images.mean(0)) ** 2) < 0.2 * np.mean(few.train.images.mean(0) ** 2)


def test_gaussian_noise_is_clipped_and_of_its_level():
    noisy = hg.denoising.GaussianNoise(0.1)(torch.full((100, 1, 20, 20), 0.5), torch.Generator().manual_seed(0))
    assert noisy.std().item() == pytest.approx(0.1, rel=0.02)
    dark = hg.denoising.GaussianNoise(0.5)(torch.zeros(100, 1, 20, 20), torch.Generator().manual_seed(0))
    assert dark.min() == 0
    assert dark.mean().item() == pytest.approx(0.195, abs=0.01)


def test_pairs_are_learnt(sample):
    clean = sample.train.images[:1000]
    mirrored = np.ascontiguousarray(clean[:, :, ::-1])
    ae = DenseAutoencoder(n_steps=300, batch_size=50, learning_rate=0.003, random_state=0).fit(mirrored, clean)
    # The mean image alone would score -0.067.
    assert ae.score(mirrored, clean) > -0.05
    assert ae.score(mirrored) < -0.07


def test_history_holds_validation_and_progress_goes_where_it_is_told(few, capfd):
    ae = DenseAutoencoder(report_every=2, validate_every=4, **SMALL)
    ae.fit(few.train.images, validation_data=(few.test.images, few.test.images))
    assert ae.history_.series("validation_loss")[0].tolist() == [1, 5]
    assert list(ae.history_.reports) == [1, 3, 5]
    assert capfd.readouterr() == ("", "")
    ae.set_params(verbose=1).fit(few.train.images)
    out, err = capfd.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 3


def test_classifier_learns_and_predicts_one_at_a_time_as_in_batches(sample):
    names = np.array([f"digit {i}" for i in range(10)])
    clf = ConvClassifier(depth=4, n_steps=80, batch_size=50, learning_rate=0.01, random_state=0)
    clf.fit(sample.train.images, names[sample.train.labels])
    images, labels = sample.test.images[:200], names[sample.test.labels[:200]]
    assert clf.score(images, labels) > 0.85
    assert clf.classes_.tolist() == sorted(names)
    single = np.concatenate([clf.predict(image[None]) for image in images[:50]])
    assert np.array_equal(single, clf.predict(images)[:50])
    probabilities = clf.predict_proba(images)
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-12)
    assert np.array_equal(clf.classes_[probabilities.argmax(1)], clf.predict(images))
    sigmoid = clone(clf).set_params(loss="bce", n_steps=3).fit(sample.train.images, sample.train.labels)
    np.testing.assert_allclose(sigmoid.predict_proba(images).sum(1), 1, rtol=1e-12)


def test_classifier_reports_batch_and_validation_in_inference_mode(few):
    train, held = few.split_validation()
    clf = clone(CLASSIFIER).set_params(report_every=2, validate_every=4)
    clf.fit(train.images, train.labels, validation_data=(held.images, held.labels))
    assert clf.history_.series("training_accuracy")[0].tolist() == [1, 3, 5]
    assert clf.history_.series("validation_loss")[0].tolist() == [1, 5]
    last = clf.history_.series("validation_accuracy")[1][-1]
    assert last == pytest.approx(clf.score(held.images, held.labels))


def test_classifier_refuses_bad_labels(few):
    with pytest.raises(ValueError, match="one class only"):
        clone(CLASSIFIER).fit(few.train.images, np.ones(200))
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        clone(CLASSIFIER).fit(few.train.images, few.test.labels)
    with pytest.raises(ValueError, match="not one of the classes"):
        clone(CLASSIFIER).fit(few.train.images, few.train.labels, validation_data=(few.test.images[:1], np.array([77])))


@pytest.mark.parametrize("estimator", [*AUTOENCODERS, CLASSIFIER], ids=lambda e: type(e).__name__)
def test_models_go_to_files_and_back(estimator, few, tmp_path):
    fitted = clone(estimator).fit(few.train.images, few.train.labels if estimator is CLASSIFIER else None)
    hg.save(fitted, tmp_path / "model")
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == [
        "model.json",
        "model.safetensors",
        "optimiser.safetensors",
    ]
    again = hg.load_model(tmp_path / "model")
    assert again.get_params() == fitted.get_params()
    call = "decision_function" if estimator is CLASSIFIER else "reconstruct"
    assert np.array_equal(getattr(again, call)(few.test.images), getattr(fitted, call)(few.test.images))
    hg.save(again, tmp_path / "model")


def test_broken_models_are_refused(few, tmp_path):
    hg.save(clone(AUTOENCODERS[0]).fit(few.train.images), tmp_path)
    weights, metadata = tmp_path / "model.safetensors", tmp_path / "model.json"
    good, text = weights.read_bytes(), metadata.read_text()
    with pytest.raises(FileNotFoundError, match=r"holds no model\.json"):
        hg.load_model(tmp_path / "none")
    weights.write_bytes(good[:-1])
    with pytest.raises(ValueError, match="damaged or another model's"):
        hg.load_model(tmp_path)
    weights.write_bytes(good)
    for change, said in [
        ({"format": 99}, "reads formats 1 to 2; upgrade"),
        ({"estimator": "Other"}, "do not fit together"),
    ]:
        metadata.write_text(json.dumps(json.loads(text) | change))
        with pytest.raises(ValueError, match=said):
            hg.load_model(tmp_path)
    changed = json.loads(text)
    changed["parameters"]["code_size"] = 6
    metadata.write_text(json.dumps(changed))
    with pytest.raises(ValueError, match="do not fit together"):
        hg.load_model(tmp_path)
    metadata.write_text("{")
    with pytest.raises(ValueError, match="damaged or not a model's"):
        hg.load_model(tmp_path)


def test_what_a_file_cannot_hold_is_refused_before_anything_is_written(few, tmp_path):
    ae = DenseAutoencoder(corruption=lambda images, generator: images, **SMALL).fit(few.train.images)
    with pytest.raises(TypeError, match=r"corruption=.* cannot be written"):
        hg.save(ae, tmp_path / "model")
    assert not (tmp_path / "model").exists()
    with pytest.raises(NotFittedError):
        hg.save(DenseAutoencoder(), tmp_path / "model")


def described_parameters(cls):
    """Parameters in a docstring: name to type and description; checks the defaults."""
    section = re.search(r"Parameters\n-+\n(.*?)\n\n", inspect.getdoc(cls), re.DOTALL)[1]
    entries = re.split(r"\n(?=\S)", section)
    found = {entry.partition(" : ")[0]: entry.partition(" : ")[2] for entry in entries}
    for name, text in found.items():
        default = re.search(r", default=(.*)", text.partition("\n")[0])
        if default is not None:
            assert ast.literal_eval(default[1]) == getattr(cls, name), name
    # A class may change a default, and not what a parameter means.
    return {name: re.sub(r", default=.*", "", text, count=1) for name, text in found.items()}


@pytest.mark.parametrize("cls", [*ESTIMATORS.values(), Autoencoder, Classifier, NetworkEstimator])
def test_every_parameter_is_described_alike_in_every_class(cls):
    found = described_parameters(cls)
    assert found.keys() == set(cls._get_param_names())
    assert all("\n    " in text for name, text in found.items()), [n for n, t in found.items() if "\n    " not in t]
    for base in (Autoencoder, Classifier, NetworkEstimator):
        if issubclass(cls, base):
            for name, text in described_parameters(base).items():
                assert found[name] == text, name


@pytest.mark.parametrize("cls", ESTIMATORS.values())
def test_every_public_member_has_its_own_docstring(cls):
    for name in dir(cls):
        member = inspect.getattr_static(cls, name)
        if name.startswith("_") or not (inspect.isfunction(member) or isinstance(member, property)):
            continue
        if (member.__module__ if inspect.isfunction(member) else member.fget.__module__).startswith("hourglass"):
            assert member.__doc__, name
            assert "As in" not in member.__doc__, name
