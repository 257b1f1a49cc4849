"""Scores and figures of a trained estimator."""

from typing import TYPE_CHECKING

import numpy as np
import torch

from hourglass import plots
from hourglass.data import Dataset
from hourglass.denoising import corrupt
from hourglass.estimators import Autoencoder, ConvClassifier
from hourglass.experiments.baselines import TEST_NOISE_SEED, Scores, Stack, score_images
from hourglass.training import LOSSES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = 10
SINGLE_IMAGES = 100


def noise_level(estimator: Autoencoder) -> float | None:
    """Level of the Gaussian noise that it learns to remove, which the test images get too; None without."""
    if estimator.corruption is not None or isinstance(estimator.noise, tuple | list):
        raise ValueError(
            f"the training images are corrupted by {estimator.effective_corruption!r}, but an experiment's noise is "
            "one number, so that its test images can be made with the same; leave corruption out and give a number"
        )
    return estimator.noise


def test_inputs(data: Dataset, noise: float | None) -> Stack:
    """The test images, with the same noise for every method and seed where there is any."""
    return data.test.images if noise is None else corrupt(data.test.images, noise, TEST_NOISE_SEED)


def score_autoencoder(estimator: Autoencoder, data: Dataset) -> Scores:
    """BCE, MSE, PSNR and SSIM of the reconstructed test images against the clean ones."""
    return score_images(data.test.images, estimator.reconstruct(test_inputs(data, noise_level(estimator))))


def score_classifier(estimator: ConvClassifier, data: Dataset) -> Scores:
    """Loss and accuracy on every validation and test image, and accuracy one image at a time on the first 100."""
    _, held_out = data.split_validation()
    scores = {}
    for name, part in (("validation", held_out), ("test", data.test)):
        logits = torch.from_numpy(estimator.logits(part.images))
        target = torch.from_numpy((np.asarray(part.labels)[:, None] == estimator.classes_).astype(np.float32))
        scores[f"{name}_loss"] = float(LOSSES[estimator.loss](logits, target))
        scores[f"{name}_accuracy"] = float((logits.argmax(1) == target.argmax(1)).double().mean())
    few = data.test[:SINGLE_IMAGES]
    single = np.concatenate([estimator.predict(few.images[i : i + 1]) for i in range(len(few))])
    scores["single_image_accuracy"] = float(np.mean(single == few.labels))
    scores["single_image_agreement"] = float(np.mean(single == estimator.predict(few.images)))
    return scores


def autoencoder_figures(estimator: Autoencoder, data: Dataset) -> dict[str, "Figure"]:
    """Figures by name: reconstructions, codes, and the course of training."""
    noise = noise_level(estimator)
    clean = data.test.images[:SHOWN]
    given = test_inputs(data, noise)[:SHOWN]
    output = np.clip(estimator.reconstruct(given), 0, 1)
    if noise is None:
        rows = {"input": clean, "reconstruction": output}
    else:
        rows = {"noisy": given, "denoised": output, "clean": clean}
    network = estimator.network_
    return {
        "reconstructions": plots.image_rows(rows),
        "codes": plots.codes(given, estimator.transform(given), network.code_shape),
        "curve": plots.training_curve(
            estimator.history_,
            loss_name="binary cross-entropy (nats a pixel)" if estimator.loss == "bce" else "mean squared error",
            validation_name="the first test images"
            if estimator.validation_fraction is None
            else "held-out training images",
        ),
    }
