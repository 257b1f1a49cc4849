"""What a call cannot handle is handled, refused with an error, or said: arguments, scales, layouts, lengths, labels."""

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.metrics import roc_auc_score

import hourglass as hg
from hourglass.denoising import corrupt
from hourglass.experiments import find
from hourglass.nn import dead_units
from hourglass.training import LOSSES, ResidentSource

QUICK = {"n_steps": 3, "random_state": 0}
MAKERS = [hg.DenseAutoencoder, hg.ConvAutoencoder, hg.ConvClassifier]


def fitted(make, few, scale=1.0, **options):
    return make(**QUICK, **options).fit(few.train.images * np.float32(scale), few.train.labels)


def methods(estimator):
    names = ("predict", "predict_proba", "logits", "decision_function", "score")
    if not isinstance(estimator, hg.ConvClassifier):
        names = ("transform", "reconstruct", "score", "score_samples")
    return {name: getattr(estimator, name) for name in names}


def call(estimator, name, X, y):
    return methods(estimator)[name](X, *([y] if name == "score" and isinstance(estimator, hg.ConvClassifier) else []))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("make", MAKERS)
def test_images_on_another_scale_are_refused_by_every_method(make, dtype, few):
    estimator = fitted(make, few)
    y = few.test.labels
    for name in methods(estimator):
        with pytest.raises(ValueError, match=r"X spans \[0, 255\], but .* in \[0, 1\]; divide the images by 255"):
            call(estimator, name, (few.test.images * 255).astype(dtype), y)
        with pytest.raises(ValueError, match="bring the images to that scale"):
            call(estimator, name, (few.test.images * 60_000).astype(dtype), y)
        # Noise leads out of the range of training.
        noisy = few.test.images + np.random.default_rng(0).normal(0, 0.2, few.test.images.shape)
        call(estimator, name, noisy.astype(dtype), y)
    with pytest.raises(ValueError, match="but the model was trained on pixels"):
        estimator.partial_fit(few.test.images * 255, y)
    assert estimator.pixel_range_ == (0, 1)


@pytest.mark.parametrize("make", MAKERS)
def test_bytes_and_small_numbers_do_not_fit_a_model_of_large_ones(make, few):
    estimator = fitted(make, few, 255)
    y = few.test.labels
    bytes_ = (few.test.images * 255).astype(np.uint8)
    for name in methods(estimator):
        with pytest.raises(ValueError, match="X holds bytes, which are scaled"):
            call(estimator, name, bytes_, y)
        with pytest.warns(UserWarning, match=r"have the images been scaled down"):
            call(estimator, name, few.test.images, y)
        call(estimator, name, bytes_.astype(np.float32), y)
        call(estimator, name, np.zeros_like(few.test.images), y)  # black is black on any scale


def test_partial_fit_widens_the_range_that_is_known(few):
    ae = hg.DenseAutoencoder(**QUICK).partial_fit(few.train.images * np.float32(0.5))
    assert ae.partial_fit(few.train.images).pixel_range_ == (0, 1)


@pytest.mark.parametrize("make", MAKERS)
def test_validation_data_are_checked_as_training_data(make, few):
    X, y = few.train.images, few.train.labels
    expected = few.test.labels if make is hg.ConvClassifier else few.test.images
    estimator = make(**QUICK)
    for validation, said in (
        ((few.test.images * 255, expected), r"validation_data\[0\] spans"),
        ((few.test.images, expected[:1]), "100 images and 1 targets"),
        (few.test.images, "no pair"),
        ((few.test.images[:, :5], expected), r"validation_data\[0\] has shape"),
    ):
        with pytest.raises(ValueError, match=said):
            clone(estimator).fit(X, y, validation_data=validation)
    with pytest.raises(ValueError, match="both say what is held out"):
        clone(estimator).set_params(validation_fraction=0.1).fit(X, y, validation_data=(few.test.images, expected))


@pytest.mark.parametrize("shape", [(5, 1, 28, 28), (5, 3, 32, 32), (5, 4, 9, 8)])
@pytest.mark.parametrize("make", MAKERS)
def test_channels_first_are_refused_unless_the_shape_is_given(make, shape):
    X = np.random.default_rng(0).random(shape, dtype=np.float32)
    y = np.arange(len(X)) % 2
    with pytest.raises(ValueError, match=r"channels first.*transpose\(0, 2, 3, 1\)"):
        make(**QUICK).fit(X, y)
    make(**QUICK).fit(X.transpose(0, 2, 3, 1), y)
    assert make(**QUICK, image_shape=shape[1:]).fit(X, y).image_shape_ == shape[1:]


def test_lengths_that_differ_are_refused_and_not_repeated(few):
    ae = fitted(hg.DenseAutoencoder, few)
    for method in (ae.score, ae.score_samples):
        with pytest.raises(ValueError, match="X has 50 images but y has 1"):
            method(few.test.images[:50], few.test.images[:1])
    for method in (ae.fit, ae.partial_fit):
        with pytest.raises(ValueError, match="50 images but y has 1"):
            method(few.test.images[:50], few.test.images[:1])
    x, one = torch.rand(50, 4), torch.rand(1, 4)
    for loss in LOSSES.values():
        with pytest.raises(ValueError, match=r"shape \(50, 4\) and the target \(1, 4\)"):
            loss(x, one)
    for extra in ({"targets": one}, {"weights": torch.ones(3)}):
        with pytest.raises(ValueError, match="50 inputs"):
            ResidentSource(x, **extra)


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"device": torch.device("meta")}, "device='meta' is unknown"),
        ({"device": 3}, "device=3 is no name"),
        ({"random_state": "seed"}, "random_state='seed'"),
        ({"random_state": -1}, "random_state=-1"),
        ({"random_state": np.random.default_rng(0)}, "random_state=Generator"),
        ({"optimiser": "lion"}, "optimiser='lion' is unknown; choose one of adam, sgd"),
        ({"precision": torch.bfloat16}, "precision=torch.bfloat16 is unknown"),
        ({"image_shape": (28, 28)}, "expected .height, width, channels"),
        ({"learning_rate": "0.1"}, "learning_rate='0.1'"),
        ({"checkpoint_every": "soon"}, "checkpoint_every='soon'"),
        ({"continue_learning_rate": -1}, "continue_learning_rate=-1"),
    ],
)
@pytest.mark.parametrize("make", MAKERS)
def test_parameters_are_checked_at_the_door(make, parameters, said, few):
    with pytest.raises(ValueError, match=said):
        make(n_steps=1).set_params(**parameters).fit(few.train.images, few.train.labels)


def test_noise_is_not_put_onto_images_that_are_noisy_already(few):
    with pytest.raises(ValueError, match=r"noise=0\.3 with self_supervised=True"):
        hg.ConvAutoencoder(noise=0.3, self_supervised=True).fit(few.train.images)


@pytest.mark.parametrize("seeds", [3, "012", [1.5], [-1], [None], [True]])
def test_seeds_of_a_run_are_checked_at_the_door(seeds, few):
    with pytest.raises(ValueError, match=r"seeds=.*range\(3\)"):
        hg.run("dense", dataset=few, seeds=seeds, n_steps=1)


@pytest.mark.parametrize("make", MAKERS)
def test_a_device_may_be_an_object(make, few, tmp_path):
    estimator = fitted(make, few, device=torch.device("cpu"))
    hg.save(estimator, tmp_path)
    again = hg.load_model(tmp_path, device=torch.device("cpu"))
    assert (again.device, again.device_) == ("cpu", "cpu")


@pytest.mark.parametrize("name", ["dense", "conv", "denoise"])
def test_early_stopping_of_a_run_watches_training_images_alone(name, few, monkeypatch):
    # A figure of the run that trains networks of its own, which are not those that stop early.
    monkeypatch.setattr("hourglass.experiments.checkerboard.STEPS", 2)
    monkeypatch.setattr("hourglass.experiments.checkerboard.DRAWS", 3)
    seen = []
    fit = hg.DenseAutoencoder.__mro__[1].fit

    def watched(self, X, y=None, *, validation_data=None, **options):
        seen.append((self.validation_fraction, validation_data))
        return fit(self, X, y, validation_data=validation_data, **options)

    monkeypatch.setattr(hg.DenseAutoencoder.__mro__[1], "fit", watched)
    result = hg.run(name, dataset=few, n_steps=4, patience=3)
    assert seen[0] == (0.1, None)
    assert result.runs[0].parameters["validation_fraction"] == 0.1
    if name != "dense":  # the others are slow, and alike
        return
    seen.clear()
    hg.run(name, dataset=few, n_steps=4, validation_fraction=0.3)
    assert seen[0] == (0.3, None)
    # Without either the curve shows test images, and nothing looks at it.
    seen.clear()
    hg.run(name, dataset=few, n_steps=4)
    assert seen[0][0] is None
    assert len(seen[0][1][0]) == 100


def test_the_early_stopping_of_a_run_does_not_depend_on_the_test_images(few):
    other = hg.Dataset("few", few.train, hg.Images(1 - few.test.images, few.test.labels), validation_size=50)
    losses = [
        hg.run("dense", dataset=data, n_steps=60, patience=1, learning_rate=3.0, report_every=1).runs[0].history.loss
        for data in (few, other)
    ]
    assert losses[0] == losses[1]
    assert len(losses[0]) < 60


@pytest.mark.parametrize("name", ["bn-none", "bn-layer"])
def test_a_classifier_has_validation_images_of_its_own(name, few):
    with pytest.raises(ValueError, match="leave validation_fraction out"):
        hg.run(name, dataset=few, n_steps=2, validation_fraction=0.1)
    assert "validation_loss" in hg.run(name, dataset=few, n_steps=2, patience=3).runs[0].history.measures


# What was expected and missing.


def test_scores_of_samples_are_minus_their_errors(few):
    ae = fitted(hg.ConvAutoencoder, few)
    clean, noisy = few.test.images, corrupt(few.test.images, 0.3)
    scores = ae.score_samples(clean)
    assert scores.shape == (100,)
    assert scores.dtype == np.float64
    errors = [-np.mean((ae.reconstruct(image[None])[0] - image) ** 2, dtype=np.float64) for image in clean]
    np.testing.assert_allclose(scores, errors, rtol=1e-4)
    assert scores.mean() == pytest.approx(ae.score(clean), rel=1e-6)
    np.testing.assert_allclose(ae.score_samples(noisy, clean).mean(), ae.score(noisy, clean), rtol=1e-6)


def test_what_is_unlike_the_training_images_scores_lowest(few):
    ae = hg.DenseAutoencoder(n_steps=200, random_state=0).fit(few.train.images)
    strange = np.random.default_rng(0).random(few.test.images.shape, dtype=np.float32)
    known = np.r_[np.ones(100), np.zeros(100)]
    assert roc_auc_score(known, ae.score_samples(np.concatenate([few.test.images, strange]))) == 1


def test_dead_units_are_counted_by_layer(few, tmp_path):
    ae = fitted(hg.ConvAutoencoder, few, channels=(6, 4))
    assert {name: units for name, (_, units) in ae.dead_units_.items()} == {
        "encoder 1": 6, "encoder 2": 4, "decoder 1": 4, "decoder 2": 6,
    }  # fmt: skip
    images = torch.from_numpy(few.train.images).permute(0, 3, 1, 2)
    alive = dead_units(ae.network_, images)["encoder 1"][0]
    with torch.no_grad():
        for unit in range(6):
            ae.network_.encoder[0].bias[unit] = -1e6 if unit in (1, 4) else 1e3
    assert alive <= 6
    assert dead_units(ae.network_, images)["encoder 1"] == (2, 6)
    assert not ae.network_.training
    hg.save(fitted(hg.ConvClassifier, few), tmp_path)
    again = hg.load_model(tmp_path)
    counted = again.dead_units_
    dead = sum(count for count, _ in counted.values())
    assert again.describe()["dead_units"].startswith(f"{dead} of {sum(units for _, units in counted.values())}")
    assert list(counted) == [*(f"convolution {i}" for i in range(1, 7)), "hidden"]
    assert counted["hidden"][1] == 100
    assert fitted(hg.ConvClassifier, few, activation="tanh").dead_units_ == {}
    assert list(fitted(hg.DenseAutoencoder, few).dead_units_) == ["encoder"]


def test_the_networks_of_the_lesson_have_few_dead_units(few):
    assert find("bn-layer").configure(n_steps=3).fit(few.train.images, few.train.labels).dead_units_["hidden"][1] == 100
