"""Image measures against their definitions and scikit-image."""

import numpy as np
import pytest
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio, structural_similarity

from hourglass import metrics
from hourglass.experiments import measures

RNG = np.random.RandomState(0)
X, Z = RNG.rand(6, 16, 12, 1), RNG.rand(6, 16, 12, 1)


def test_psnr_is_each_images_own_then_the_mean():
    own = [peak_signal_noise_ratio(x, z, data_range=1) for x, z in zip(X, Z, strict=True)]
    np.testing.assert_allclose(metrics.psnr(X, Z, per_image=True), own)
    assert metrics.psnr(X, Z) == pytest.approx(np.mean(own))
    assert metrics.psnr(X * 255, Z * 255, data_range=255) == pytest.approx(np.mean(own))
    assert metrics.psnr(X, X) == np.inf


def test_mse_and_ssim_agree_with_scikit_image():
    assert metrics.mse(X, Z) == pytest.approx(np.mean([mean_squared_error(x, z) for x, z in zip(X, Z, strict=True)]))
    own = [structural_similarity(x[..., 0], z[..., 0], data_range=1) for x, z in zip(X, Z, strict=True)]
    np.testing.assert_allclose(metrics.ssim(X, Z, per_image=True), own)
    assert metrics.ssim(X, X) == pytest.approx(1)


def test_bce_is_the_cross_entropy():
    assert metrics.bce(np.ones((1, 4)), np.full((1, 4), 0.25)) == pytest.approx(np.log(4))
    assert metrics.bce(np.zeros((1, 4)), np.full((1, 4), 0.25)) == pytest.approx(-np.log(0.75))
    half = np.full((1, 4), 0.5)
    assert metrics.bce(half, half) == pytest.approx(np.log(2))
    assert metrics.bce(np.ones((1, 1)), np.zeros((1, 1))) == pytest.approx(-np.log(1e-7))


@pytest.mark.parametrize("measure", [metrics.mse, metrics.psnr, metrics.bce, metrics.ssim])
def test_unequal_shapes_are_refused(measure):
    with pytest.raises(ValueError, match="two stacks of equal shape"):
        measure(X, Z[:3])


def test_bytes_have_a_range_of_their_own():
    bytes_ = [(stack * 255).astype(np.uint8) for stack in (X, Z)]
    floats = [stack / 255 for stack in bytes_]
    for measure in (metrics.psnr, metrics.ssim):
        assert measure(*bytes_) == pytest.approx(measure(*floats))
        wide = [stack.astype(np.uint16) * 257 for stack in bytes_]
        assert measure(*wide) == pytest.approx(measure(*floats))
        with pytest.raises(ValueError, match="bring both to one scale"):
            measure(bytes_[0], floats[1])
        with pytest.raises(ValueError, match="give data_range"):
            measure(*(stack.astype(np.float32) for stack in bytes_))
        by_hand = measure(*(stack.astype(np.float32) for stack in bytes_), data_range=255)
        assert by_hand == pytest.approx(measure(*floats), rel=1e-6)
    with pytest.raises(ValueError, match="cross-entropy needs"):
        metrics.bce(*bytes_)


def test_what_undoes_clipping_takes_pixels_in_0_to_1():
    from hourglass.denoising import estimate_noise_level, undo_clipping

    images = np.random.default_rng(0).random((2, 8, 8, 1)) * 255
    with pytest.raises(ValueError, match="divide by 255"):
        undo_clipping(images, 0.1)
    with pytest.raises(ValueError, match="clipped=False"):
        estimate_noise_level(images)
    assert estimate_noise_level(images, clipped=False) > 10


def test_accuracy_is_the_share_of_equal_labels():
    assert metrics.accuracy(["a", "b", "c", "d"], ["a", "b", "d", "d"]) == 0.75
    with pytest.raises(ValueError, match="as many predictions as labels"):
        metrics.accuracy([1, 2, 3], [1, 2])


@pytest.mark.parametrize("name", metrics.METRICS)
def test_the_better_value_of_each_metric_is_that_of_the_closer_output(name):
    metric = metrics.METRICS[name]
    if metric.compares == "images":
        closer, farther = (metric.function(X, X + share * (Z - X)) for share in (0.1, 0.9))
    else:
        closer, farther = metric.function([1, 2, 3], [1, 2, 4]), metric.function([1, 2, 3], [1, 3, 4])
    assert (closer > farther) == metric.higher_is_better
    assert metric.arrow == ("↑" if metric.higher_is_better else "↓")


def test_titles_and_digits_are_those_of_the_table():
    assert measures.heading("test_psnr_db", arrow=True) == "PSNR (dB) ↑"
    assert measures.heading("test_mse") == "MSE"
    assert measures.heading("validation_accuracy", arrow=True) == "validation accuracy ↑"
    assert measures.heading("single_image_agreement") == "single image agreement"
    assert measures.written([1.23456], "test_psnr_db") == "1.23"
    assert measures.shown(["test_ssim", "single_image_agreement", "test_loss", "strength"]) == [
        "test_ssim",
        "test_loss",
    ]


def test_files_are_scored_without_a_range_and_better_is_higher_first():
    assert list(metrics.metrics_of_files()) == ["psnr_db", "ssim", "mse"]
