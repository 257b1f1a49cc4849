"""Arguments that look right and are not: taken for what they say, or refused before anything is computed."""

import datetime

import numpy as np
import pytest
import torch

import hourglass as hg
from hourglass import metrics
from hourglass.data import Images
from hourglass.denoising import GaussianNoise, Masking, PoissonNoise, SaltAndPepper, corrupt
from hourglass.denoising.clipping import estimate_noise_level
from hourglass.runtime.hardware import resolve_device


@pytest.fixture
def labelled(few):
    return few.train.images[:120], few.train.labels[:120]


def classifier(**parameters):
    return hg.ConvClassifier(depth=2, width=2, n_steps=3, random_state=0, **parameters)


def logits(model, images):
    return model.decision_function(images)


def test_a_class_weight_need_not_meet_its_label(labelled):
    images, labels = labelled
    without = labels != 3
    model = classifier(class_weight={0: 5.0, 3: 0.5})
    model.partial_fit(images[without], labels[without], classes=range(10))
    model.partial_fit(images[:7], labels[:7])
    plain = classifier(class_weight={0: 5.0}).partial_fit(images[without], labels[without], classes=range(10))
    again = classifier(class_weight={0: 5.0, 3: 0.5}).partial_fit(images[without], labels[without], classes=range(10))
    np.testing.assert_array_equal(logits(plain, images), logits(again, images))
    with pytest.raises(ValueError, match="class_weight has a weight for 77, which is not one of the classes"):
        classifier(class_weight={77: 1.0}).fit(images, labels)


@pytest.mark.parametrize(
    "name",
    [
        lambda label: np.datetime64("2026-11-01") + label,
        lambda label: np.timedelta64(int(label), "h"),
        lambda label: f"digit {label}",
        lambda label: np.int64(label),
    ],
)
def test_class_weights_of_labels_of_every_kind(name, labelled):
    images, labels = labelled
    named = np.array([name(label) for label in labels])
    weighted = classifier(class_weight={name(2): 4.0}).fit(images, named)
    by_number = classifier(class_weight={2: 4.0}).fit(images, labels)
    np.testing.assert_allclose(logits(weighted, images), logits(by_number, images))
    assert not np.allclose(logits(classifier().fit(images, named), images), logits(weighted, images))


@pytest.mark.parametrize("scale", [1e-300, 1e-50, 1e-3, 1.0, 1e40, 1e300])
def test_the_scale_of_sample_weights_means_nothing(scale, labelled):
    images, labels = labelled
    weights = np.linspace(1, 2, len(images))
    expected = logits(classifier().fit(images, labels, sample_weight=weights), images)
    found = logits(classifier().fit(images, labels, sample_weight=weights * scale), images)
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_weights_that_vanish_beside_the_largest_leave_their_images_out(labelled):
    images, labels = labelled
    weights = np.where(np.arange(len(images)) < 60, 1.0, 1e-60)
    found = classifier().fit(images, labels, sample_weight=weights)
    expected = classifier().fit(images, labels, sample_weight=(weights == 1).astype(float))
    np.testing.assert_array_equal(logits(found, images), logits(expected, images))


def test_numpys_numbers_are_numbers_of_a_run(few, tmp_path):
    parameters = {"n_steps": np.int64(4), "learning_rate": np.float32(0.01), "code_size": np.int64(8)}
    result = hg.run("dense", dataset=few, out=tmp_path, **parameters)
    assert result.runs[0].parameters["code_size"] == 8
    again = hg.run("dense", dataset=few, out=tmp_path, resume=True, **parameters)
    assert again.runs[0].metrics == result.runs[0].metrics
    weighted = hg.run("bn-layer", dataset=few, out=tmp_path, n_steps=2, class_weight={np.int64(0): np.float32(2.0)})
    assert weighted.runs[0].parameters["class_weight"]["weights"] == [2.0]


@pytest.mark.parametrize("shape", [(28, 28, 1), (32, 32, 3), (9, 12, 4)])
def test_one_image_is_not_a_stack(shape):
    with pytest.raises(ValueError, match=r"looks like one image with channels; .* use X\[None\]"):
        hg.DenseAutoencoder(n_steps=1).fit(np.zeros(shape))
    _, width, channels = shape
    model = hg.DenseAutoencoder(n_steps=1, image_shape=(width, channels, 1)).fit(np.random.default_rng(0).random(shape))
    assert model.image_shape_ == (width, channels, 1)


def test_an_image_shape_may_be_a_list(few):
    model = hg.DenseAutoencoder(n_steps=1, image_shape=[28, 28, 1]).fit(few.train.images[:20])
    assert model.image_shape_ == (28, 28, 1)
    assert model.fit(few.train.images[:20].reshape(20, -1)).image_shape_ == (28, 28, 1)


@pytest.mark.parametrize("name", ["auto:1", "cpu:x", "cuda:", "gpu", "cpu:", ""])
def test_devices_that_are_none(name):
    with pytest.raises(ValueError, match="device="):
        resolve_device(name)


def test_labels_without_an_order_are_named(few):
    labels = np.array(["a", "b"] * 30)
    with pytest.raises(ValueError, match="y mixes labels of types int, str"):
        classifier().partial_fit(few.train.images[:60], labels, classes=np.array([1, "a", "b"], dtype=object))


def test_images_with_channels_first_are_no_images(few):
    with pytest.raises(ValueError, match="looks like channels first"):
        Images(np.ascontiguousarray(few.train.images.transpose(0, 3, 1, 2)))


@pytest.mark.parametrize("measure", [metrics.psnr, metrics.ssim, metrics.bce])
@pytest.mark.parametrize("side", [0, 1])
def test_one_image_of_another_scale_is_refused_on_either_side(measure, side, few):
    pair = [few.test.images[:3], few.test.images[3:6]]
    pair[side] = pair[side] * 255
    with pytest.raises(ValueError, match="spans"):
        measure(*pair)


@pytest.mark.parametrize("width", [0, -1, np.inf, np.nan])
def test_a_range_that_is_none_is_refused(width, few):
    for measure in (metrics.psnr, metrics.ssim):
        with pytest.raises(ValueError, match="data_range="):
            measure(few.test.images[:2], few.test.images[:2], data_range=width)


def test_targets_of_another_scale_than_those_of_training_are_refused(few, tmp_path):
    images = few.train.images[:50]
    model = hg.DenseAutoencoder(loss="mse", n_steps=2, random_state=0).fit(images)
    for score in (model.score, model.score_samples):
        with pytest.raises(ValueError, match="y spans"):
            score(images, images * 255)
    # Targets may have a scale of their own, which is known then.
    scaled = hg.DenseAutoencoder(loss="mse", n_steps=2, random_state=0).fit(images, images * 255)
    hg.save(scaled, tmp_path)
    for each in (scaled, hg.load_model(tmp_path)):
        assert each.score(images, images * 255) < 0


def test_fractions_given_to_a_model_of_large_numbers_are_warned_of(few):
    images = few.train.images[:50]
    model = hg.DenseAutoencoder(loss="mse", n_steps=1, learning_rate=1e-4).fit(images * 65535)
    for scaled in (images * 255, images):
        with pytest.warns(UserWarning, match="scaled down"):
            model.reconstruct(scaled)


@pytest.mark.parametrize("corruption", [GaussianNoise(0.1), PoissonNoise(30), SaltAndPepper(0.1)])
def test_corruptions_that_keep_to_0_and_1_refuse_bytes(corruption):
    with pytest.raises(ValueError, match=r"spans \[0, 255\]"):
        corruption(torch.linspace(0, 255, 64).reshape(1, 1, 8, 8))
    corruption(torch.linspace(-0.5, 1.5, 64).reshape(1, 1, 8, 8).clamp(0, 1))
    with pytest.raises(TypeError, match="a floating-point torch"):
        corruption(torch.zeros(1, 1, 8, 8, dtype=torch.uint8))
    with pytest.raises(TypeError, match="the batch is a ndarray"):
        corruption(np.zeros((1, 1, 8, 8)))


def test_other_corruptions_take_every_scale():
    assert Masking(0.5)(torch.full((1, 1, 8, 8), 255.0)).max() == 255
    GaussianNoise(0.1, clip=False)(torch.full((1, 1, 8, 8), 255.0))
    with pytest.raises(ValueError, match="clip='no'"):
        GaussianNoise(0.1, clip="no")


@pytest.mark.parametrize("state", [None, True, 1.5, np.random.RandomState(0)])
def test_noise_on_arrays_needs_a_whole_number_as_seed(state):
    with pytest.raises(ValueError, match="random_state="):
        corrupt(np.zeros((2, 8, 8)), 0.1, random_state=state)
    np.testing.assert_array_equal(
        corrupt(np.zeros((2, 8, 8)), 0.1, random_state=np.int64(3)), corrupt(np.zeros((2, 8, 8)), 0.1, random_state=3)
    )


def test_no_level_is_read_from_missing_numbers():
    images = np.zeros((1, 16, 16, 1))
    images[0, 3, 3] = np.nan
    with pytest.raises(ValueError, match="NaN or infinity"):
        estimate_noise_level(images, clipped=False)


def test_labels_that_are_dates_of_pythons_are_weighted_too(labelled):
    images, labels = labelled
    days = np.array([np.datetime64("2026-11-01") + int(label) for label in labels])
    model = classifier(class_weight={datetime.date(2026, 11, 3): 4.0}).fit(images, days)
    expected = classifier(class_weight={2: 4.0}).fit(images, labels)
    np.testing.assert_allclose(logits(model, images), logits(expected, images))
