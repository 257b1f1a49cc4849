"""How networks of each kind are trained on a data set, scored and shown."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from hourglass import plots
from hourglass.data import Dataset
from hourglass.denoising import corrupt
from hourglass.estimators import Autoencoder, Classifier, NetworkEstimator
from hourglass.experiments.baselines import TEST_NOISE_SEED, Scores, Stack, baselines, score_images
from hourglass.experiments.checkerboard import checkerboard_figure
from hourglass.metrics import metrics_of
from hourglass.training import LOSSES, Progress

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = 10
SINGLE_IMAGES = 100
# Of the test images, for the curve: enough for a steady loss, few enough to cost nothing.
_CURVE_IMAGES = 1000
# Share of the training images that early stopping watches where nobody says.
HELD_OUT = 0.1


class EvaluationProtocol(ABC):
    """How estimators of one kind are trained on a data set, scored, compared and shown."""

    @abstractmethod
    def hold_out(self, estimator: Any, experiment: str) -> None:
        """Set which images an estimator with ``patience`` watches; ValueError where the parameters contradict that."""

    @abstractmethod
    def check(self, data: Dataset, experiment: str) -> None:
        """Raise ValueError where an estimator cannot be trained on a data set, or not be scored."""

    def baselines(self, estimator: Any, data: Dataset, say: Callable[[str], None]) -> dict[str, Scores]:
        """Scores of methods without a network, by name; ``say`` is told before they are computed."""
        return {}

    @abstractmethod
    def train(self, estimator: Any, data: Dataset, progress: Progress) -> None:
        """Fit an estimator, with the images whose loss is recorded beside."""

    @abstractmethod
    def score(self, estimator: Any, data: Dataset) -> Scores:
        """Scores of a fitted estimator, by the names that results give them."""

    @abstractmethod
    def figures(self, estimator: Any, data: Dataset, experiment: str, seed: int) -> dict[str, "Figure"]:
        """Figures of a fitted estimator, by name."""


class ReconstructionProtocol(EvaluationProtocol):
    """Autoencoders: trained on all training images and scored on the reconstructed test images."""

    def hold_out(self, estimator: Autoencoder, experiment: str) -> None:
        if estimator.patience is not None and estimator.validation_fraction is None:
            estimator.set_params(validation_fraction=HELD_OUT)

    def check(self, data: Dataset, experiment: str) -> None:
        metric = max(metrics_of("images").values(), key=lambda metric: metric.smallest)
        if min(data.test.images.shape[1:3]) < metric.smallest:
            raise ValueError(
                f"{data.name} has images of {data.test.images.shape[1:3]} pixels; {metric.name}, with which "
                f"{experiment} is scored, needs {metric.smallest} each way"
            )

    def baselines(self, estimator: Autoencoder, data: Dataset, say: Callable[[str], None]) -> dict[str, Scores]:
        level = noise_level(estimator)
        say("scoring PCA" + (", total variation and non-local means" if level else ""))
        return baselines(data, estimator.code_size_for(data.train.images.shape[1:]), level)

    def train(self, estimator: Autoencoder, data: Dataset, progress: Progress) -> None:
        if estimator.validation_fraction is None:
            noisy = test_inputs(data, noise_level(estimator))
            shown = (noisy[:_CURVE_IMAGES], data.test.images[:_CURVE_IMAGES])
            estimator.fit(data.train.images, validation_data=shown, progress=progress)
        else:
            estimator.fit(data.train.images, progress=progress)

    def score(self, estimator: Autoencoder, data: Dataset) -> Scores:
        return score_images(data.test.images, estimator.reconstruct(test_inputs(data, noise_level(estimator))))

    def figures(self, estimator: Autoencoder, data: Dataset, experiment: str, seed: int) -> dict[str, "Figure"]:
        noise = noise_level(estimator)
        clean = data.test.images[:SHOWN]
        given = test_inputs(data, noise)[:SHOWN]
        output = np.clip(estimator.reconstruct(given), 0, 1)
        if noise is None:
            rows = {"input": clean, "reconstruction": output}
        else:
            rows = {"noisy": given, "denoised": output, "clean": clean}
        figures = {"reconstructions": plots.image_rows(rows)}
        if estimator.has_code:
            figures["codes"] = plots.codes(given, estimator.transform(given), estimator.network_.code_shape)
        figures |= {
            "curve": plots.training_curve(
                estimator.history_,
                loss_name=LOSSES[estimator.loss].label,
                validation_name="the first test images"
                if estimator.validation_fraction is None
                else "held-out training images",
            ),
        }
        if noise is None and "upsample" in estimator.get_params():
            figures["checkerboards"] = checkerboard_figure(estimator, data, seed)
        return figures


class ClassificationProtocol(EvaluationProtocol):
    """Classifiers: the data set's validation images are held out, and scored beside the test images."""

    def hold_out(self, estimator: Classifier, experiment: str) -> None:
        if estimator.validation_fraction is not None:
            raise ValueError(
                f"validation_fraction={estimator.validation_fraction!r}; {experiment} holds out the data set's own "
                "validation images, which patience watches: leave validation_fraction out"
            )

    def check(self, data: Dataset, experiment: str) -> None:
        train, held = data.split_validation()
        if any(part.labels is None for part in (train, held, data.test)):
            raise ValueError(f"{data.name} has no labels; {experiment} is a classifier and needs them")
        if not len(held):
            raise ValueError(f"{data.name} holds out no validation images; {experiment} needs validation_size")

    def train(self, estimator: Classifier, data: Dataset, progress: Progress) -> None:
        train, held = data.split_validation()
        labels, held_labels = np.asarray(train.labels), np.asarray(held.labels)
        estimator.fit(train.images, labels, validation_data=(held.images, held_labels), progress=progress)

    def score(self, estimator: Classifier, data: Dataset) -> Scores:
        """Loss and every metric of labels on all validation and test images; the first 100 one at a time too."""
        _, held_out = data.split_validation()
        scores = {}
        for name, part in (("validation", held_out), ("test", data.test)):
            logits, labels = estimator.logits(part.images), np.asarray(part.labels)
            target = torch.from_numpy((labels[:, None] == estimator.classes_).astype(np.float32))
            scores[f"{name}_loss"] = float(LOSSES[estimator.loss](torch.from_numpy(logits), target))
            predicted = np.asarray(estimator.classes_)[logits.argmax(1)]
            for key, metric in metrics_of("labels").items():
                scores[f"{name}_{key}"] = float(metric.function(labels, predicted))
        few = data.test[:SINGLE_IMAGES]
        single = np.concatenate([estimator.predict(few.images[i : i + 1]) for i in range(len(few))])
        scores["single_image_accuracy"] = float(np.mean(single == few.labels))
        scores["single_image_agreement"] = float(np.mean(single == estimator.predict(few.images)))
        return scores

    def figures(self, estimator: Classifier, data: Dataset, experiment: str, seed: int) -> dict[str, "Figure"]:
        return {"curves": plots.classifier_curves({experiment: [estimator.history_]})}


PROTOCOLS: dict[str, EvaluationProtocol] = {
    Autoencoder.task: ReconstructionProtocol(),
    Classifier.task: ClassificationProtocol(),
}
"""Every protocol by the ``task`` of the estimators that follow it."""


def protocol_of(estimator: NetworkEstimator) -> EvaluationProtocol:
    """Protocol that an estimator follows."""
    return PROTOCOLS[estimator.task]


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
