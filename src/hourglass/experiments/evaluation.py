"""Evaluation protocols: how networks of each kind are trained on a data set, scored and shown."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch

from hourglass import plots
from hourglass.data import Dataset
from hourglass.estimators import Autoencoder, Classifier, NetworkEstimator
from hourglass.experiments.baselines import Scores, baselines, score_images
from hourglass.experiments.checkerboard import checkerboard_figure
from hourglass.experiments.noise import noise_level, test_inputs
from hourglass.experiments.protocol import EvaluationProtocol
from hourglass.metrics import metrics_of
from hourglass.training import LOSSES, Progress

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = 10
SINGLE_IMAGES = 100
# Number of test images for the training curve: enough for a steady loss, and few enough to take no time.
_CURVE_IMAGES = 1000
# Share of the training images that early stopping validates on by default.
HELD_OUT = 0.1


class ReconstructionProtocol(EvaluationProtocol):
    """Protocol of autoencoders: trained on all training images, scored on the reconstructed test images."""

    def hold_out(self, estimator: Autoencoder, experiment: str) -> None:
        """Hold out a tenth of the training images where ``patience`` is set and ``validation_fraction`` is not.

        Parameters
        ----------
        estimator : Autoencoder
            Unfitted estimator; its parameters are changed in place.
        experiment : str
            Name of the experiment; ignored.
        """
        if estimator.patience is not None and estimator.validation_fraction is None:
            estimator.set_params(validation_fraction=HELD_OUT)

    def check(self, data: Dataset, experiment: str) -> None:
        """Check that the images are large enough for every metric.

        Parameters
        ----------
        data : Dataset
            The data set.
        experiment : str
            Name of the experiment, for the message.

        Raises
        ------
        ValueError
            When they are too small.
        """
        metric = max(metrics_of("images").values(), key=lambda metric: metric.smallest)
        if min(data.test.images.shape[1:3]) < metric.smallest:
            raise ValueError(
                f"{data.name} has images of {data.test.images.shape[1:3]} pixels; {metric.name}, with which "
                f"{experiment} is scored, needs {metric.smallest} each way"
            )

    def baselines(self, estimator: Autoencoder, data: Dataset, say: Callable[[str], None]) -> dict[str, Scores]:
        """Score PCA where there is a code, and total variation and non-local means where noise is removed.

        Parameters
        ----------
        estimator : Autoencoder
            Configured estimator, whose code size and noise the methods get.
        data : Dataset
            Training and test images.
        say : callable
            Function that is called with a line of text before the computation.

        Returns
        -------
        dict of str to dict of str to float
            Scores by method.
        """
        level = noise_level(estimator)
        components = estimator.code_size_for(data.train.images.shape[1:]) if estimator.has_code else None
        methods = (["PCA"] if components else []) + (["total variation and non-local means"] if level else [])
        if methods:
            say(f"scoring {', '.join(methods)}")
        return baselines(data, components, level)

    def train(self, estimator: Autoencoder, data: Dataset, progress: Progress) -> None:
        """Fit an autoencoder, and record the loss of held-out images, by default of the first 1,000 test images.

        Parameters
        ----------
        estimator : Autoencoder
            Configured estimator; it is fitted in place.
        data : Dataset
            The data set.
        progress : Progress
            Display of the training.
        """
        if estimator.validation_fraction is None:
            noisy = test_inputs(data, noise_level(estimator))
            shown = (noisy[:_CURVE_IMAGES], data.test.images[:_CURVE_IMAGES])
            estimator.fit(data.train.images, validation_data=shown, progress=progress)
        else:
            estimator.fit(data.train.images, progress=progress)

    def score(self, estimator: Autoencoder, data: Dataset) -> Scores:
        """Score the reconstructions of all test images, which are noisy where the autoencoder removes noise.

        Parameters
        ----------
        estimator : Autoencoder
            Fitted estimator.
        data : Dataset
            The data set.

        Returns
        -------
        dict of str to float
            Every metric of images, such as ``test_mse``.
        """
        return score_images(data.test.images, estimator.reconstruct(test_inputs(data, noise_level(estimator))))

    def figures(self, estimator: Autoencoder, data: Dataset, experiment: str, seed: int) -> dict[str, "Figure"]:
        """Draw reconstructions, the training curve and, where they apply, codes and checkerboards.

        Parameters
        ----------
        estimator : Autoencoder
            Fitted estimator.
        data : Dataset
            The data set, of whose test images the first ten are shown.
        experiment : str
            Name of the experiment; ignored.
        seed : int
            Seed of the short trainings for the checkerboards.

        Returns
        -------
        dict of str to matplotlib.figure.Figure
            ``reconstructions`` and ``curve``; ``codes`` where the network has a code; ``checkerboards`` where it has
            the parameter ``upsample``, removes no noise and has no layers of its own for the code, with which the
            figure's short trainings learn nothing.
        """
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
        parameters = estimator.get_params()
        if noise is None and "upsample" in parameters and parameters.get("code_channels") is None:
            figures["checkerboards"] = checkerboard_figure(estimator, data, seed)
        return figures


class ClassificationProtocol(EvaluationProtocol):
    """Protocol of classifiers: validated on the data set's validation images, scored on these and the test images."""

    def hold_out(self, estimator: Classifier, experiment: str) -> None:
        """Check that nothing but the data set's own validation images is held out.

        Parameters
        ----------
        estimator : Classifier
            Unfitted estimator.
        experiment : str
            Name of the experiment, for the message.

        Raises
        ------
        ValueError
            When ``validation_fraction`` is set.
        """
        if estimator.validation_fraction is not None:
            raise ValueError(
                f"validation_fraction={estimator.validation_fraction!r}; {experiment} holds out the data set's own "
                "validation images, which patience watches: leave validation_fraction out"
            )

    def check(self, data: Dataset, experiment: str) -> None:
        """Check that the data set has labels and validation images.

        Parameters
        ----------
        data : Dataset
            The data set.
        experiment : str
            Name of the experiment, for the message.

        Raises
        ------
        ValueError
            When it lacks one of them.
        """
        train, held = data.split_validation()
        if any(part.labels is None for part in (train, held, data.test)):
            raise ValueError(f"{data.name} has no labels; {experiment} is a classifier and needs them")
        if not len(held):
            raise ValueError(f"{data.name} holds out no validation images; {experiment} needs validation_size")

    def train(self, estimator: Classifier, data: Dataset, progress: Progress) -> None:
        """Fit a classifier, and record loss and accuracy of the validation images.

        Parameters
        ----------
        estimator : Classifier
            Configured estimator; it is fitted in place.
        data : Dataset
            The data set, with labels.
        progress : Progress
            Display of the training.
        """
        train, held = data.split_validation()
        labels, held_labels = np.asarray(train.labels), np.asarray(held.labels)
        estimator.fit(train.images, labels, validation_data=(held.images, held_labels), progress=progress)

    def score(self, estimator: Classifier, data: Dataset) -> Scores:
        """Score a fitted classifier on all validation and test images, and on the first 100 test images one at a time.

        Parameters
        ----------
        estimator : Classifier
            Fitted classifier.
        data : Dataset
            The data set, with labels.

        Returns
        -------
        dict of str to float
            Loss and every metric of labels for both parts, such as ``test_accuracy``. For images one at a time:
            ``single_image_accuracy``, and the agreement with the same images in one batch, ``single_image_agreement``.
        """
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
        """Draw loss and accuracy during training.

        Parameters
        ----------
        estimator : Classifier
            Fitted classifier.
        data : Dataset
            The data set; ignored.
        experiment : str
            Name of the experiment, for the legend.
        seed : int
            Seed of the run; ignored.

        Returns
        -------
        dict of str to matplotlib.figure.Figure
            The figure, under the name ``curves``.
        """
        norm = estimator.get_params().get("norm")
        return {"curves": plots.classifier_curves({experiment: [estimator.history_]}, {experiment: norm})}


PROTOCOLS: dict[str, EvaluationProtocol] = {
    Autoencoder.task: ReconstructionProtocol(),
    Classifier.task: ClassificationProtocol(),
}
"""Every protocol by the ``task`` of the estimators that follow it."""


def protocol_of(estimator: NetworkEstimator) -> EvaluationProtocol:
    """Look up the protocol of an estimator.

    Parameters
    ----------
    estimator : NetworkEstimator
        An autoencoder or a classifier.

    Returns
    -------
    EvaluationProtocol
        Protocol of its ``task``.

    Raises
    ------
    ValueError
        When no protocol exists for its task.
    """
    if estimator.task not in PROTOCOLS:
        raise ValueError(
            f"no protocol evaluates {type(estimator).__name__}, whose task is {estimator.task!r}; add one to "
            f"hourglass.experiments.evaluation.PROTOCOLS (it has {', '.join(PROTOCOLS)})"
        )
    return PROTOCOLS[estimator.task]
