"""The deep classifier with scikit-learn's interface."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self, cast

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.special import log_expit, softmax
from sklearn.base import ClassifierMixin
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight
from torch import Tensor

from hourglass.estimators.base import NetworkEstimator
from hourglass.estimators.checks import check_choice, check_class_weight, check_classes, check_norm, check_number
from hourglass.estimators.fitting import Floats, Task, check_validation, train, transaction
from hourglass.estimators.given import by_blocks, check_images, is_stored, labelled_source
from hourglass.estimators.held_out import HeldOut
from hourglass.nn import ACTIVATIONS, KERNEL_INITS, ConvNet
from hourglass.training import LOSSES, Observer, Progress

CLASSIFIER_LOSSES = ("softmax", "bce")


@dataclass(kw_only=True, eq=False, repr=False)
class ConvClassifier(ClassifierMixin, NetworkEstimator):  # type: ignore[misc]  # scikit-learn is untyped
    """Deep stack of 3×3 convolutions, with batch normalisation or without.

    Convolution *d* has ``width · d`` channels and stride 2 where *d* is a multiple of 3; a dense layer of 100
    and the output follow.

    Parameters
    ----------
    depth : int, default=6
        Number of convolutions; the lesson's network has 19.
    width : int, default=8
        Channels that each convolution has more than the one before; the lesson's network has 4.
    norm : {"batch", "batch-manual", "layer", "group", "instance", "ghost", "renorm", "none"}, default="batch"
        Normalisation before each activation: PyTorch's batch normalisation, the same written out, those of each image
        by itself (layer, group and instance normalisation), ghost batch normalisation, batch renormalisation, or none.
    norm_momentum : float, default=0.1
        Share of the new batch in the moving statistics (PyTorch's convention; TensorFlow's 0.99 is 0.01).
    kernel_init : {"glorot", "he", "truncated-normal"} or float, default="glorot"
        Of the convolutions; the third is N(0, 0.05²) cut at two deviations, a number σ is N(0, σ²).
    activation : {"relu", "sigmoid", "tanh"}, default="relu"
    loss : {"softmax", "bce"}, default="softmax"
        Cross-entropy of a softmax, or of independent sigmoids against one-hot labels.
    class_weight : dict, "balanced" or None, default=None
        Weight of each label in the loss, 1 where the dictionary has none; ``"balanced"`` weighs by the inverse of how
        often a label is among the images of the call.
    image_shape, epochs, n_steps, batch_size, learning_rate, optimiser, schedule, validation_fraction, patience, \
report_every, validate_every, precision, device, random_state, verbose, deterministic, checkpoint_dir, checkpoint_every
        As in :class:`NetworkEstimator`, whose attributes there are too.

    Attributes
    ----------
    classes_ : ndarray of shape (classes,)
        Labels as they were given to ``fit``.
    """

    depth: int = 6
    width: int = 8
    norm: str = "batch"
    norm_momentum: float = 0.1
    kernel_init: str | float = "glorot"
    activation: str = "relu"
    loss: str = "softmax"
    class_weight: Mapping[Any, float] | str | None = None

    _network_parameters = ("depth", "width", "norm", "norm_momentum", "activation")

    @property
    def _bfloat16_pays(self) -> bool:  # type: ignore[override]  # a constant elsewhere
        # The moments of a batch are computed in float32, and the casts cost more than the convolutions gain.
        return self.norm == "none"

    def check_parameters(self) -> None:
        super().check_parameters()
        check_number("depth", self.depth, whole=True)
        check_number("width", self.width, whole=True)
        check_norm(self.norm, self.norm_momentum)
        if isinstance(self.kernel_init, str):
            check_choice("kernel_init", self.kernel_init, KERNEL_INITS)
        else:
            check_number("kernel_init", self.kernel_init)
        check_choice("activation", self.activation, ACTIVATIONS)
        check_choice("loss", self.loss, CLASSIFIER_LOSSES)
        check_class_weight(self.class_weight)

    def _build(self) -> ConvNet:
        return ConvNet(
            self.image_shape_,
            len(self.classes_),
            depth=self.depth,
            width=self.width,
            norm=self.norm,
            norm_momentum=self.norm_momentum,
            kernel_init=self.kernel_init,
            activation=self.activation,
        )

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        validation_data: tuple[ArrayLike, ArrayLike] | None = None,
        progress: Progress | None = None,
        observer: Observer | None = None,
    ) -> Self:
        """Train on images and their labels; where anything is raised, the estimator is what it was before.

        Parameters
        ----------
        X : array-like of shape (n, h, w), (n, h, w, c) or (n, features), or hourglass.training.Source
            Unsigned bytes are scaled by 1/255, other numbers are taken as they are. An array in a file
            (:class:`numpy.memmap`) is read batch by batch and not copied into memory.
        y : array-like of shape (n,)
            Labels: numbers, text, booleans, dates or times; at least two different ones.
        sample_weight : array-like of shape (n,), optional
            Weight of each image in the loss, at least 0; their scale means nothing. Images of weight 0 are left out.
            By default all weigh alike. Batch normalisation takes its moments without weights.
        validation_data : pair of array-like, optional
            Images and labels whose loss and accuracy are recorded, and whose loss ``patience`` watches. Held-out
            images all weigh alike, also with ``sample_weight`` and ``class_weight``.
        progress : Progress, optional
            Where to show how it goes; by default as ``verbose`` says.
        observer : Observer, optional
            Sees the network before the first step and at every report; what it measures is recorded.

        Raises
        ------
        ValueError
            When a parameter or a value is out of its range, or there is one class only.
        FloatingPointError
            When training diverges.
        KeyboardInterrupt
            When training is interrupted; the network as it was then is in ``partly_trained_``.
        """
        with transaction(self):
            self._fit(X, y, sample_weight, validation_data, progress, observer)
        return self

    def partial_fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        classes: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Train for one more pass over the images, at a constant rate.

        The first call draws the weights and trains at ``learning_rate``. Later calls, and calls after :meth:`fit`,
        continue from the trained weights at ``continue_learning_rate``.

        Parameters
        ----------
        X, y, sample_weight
            As in :meth:`fit`; ``X`` with as many features in every call.
        classes : array-like of shape (classes,), optional
            Every label that will come; needed in the first call, where nothing was fitted before.

        Raises
        ------
        ValueError, FloatingPointError
            As in :meth:`fit`, and when a label is none of the classes. The estimator is then what it was before.
        """
        with transaction(self):
            self._fit(X, y, sample_weight, None, None, None, one_pass=True, classes=classes)
        return self

    def _fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None,
        validation_data: tuple[ArrayLike, ArrayLike] | None,
        progress: Progress | None,
        observer: Observer | None,
        *,
        one_pass: bool = False,
        classes: ArrayLike | None = None,
    ) -> None:
        self.check_parameters()
        if y is None:
            raise ValueError("requires y to be passed, but the target y is None: a classifier learns from labels")
        continues = (one_pass or self.warm_start) and self._continues()
        source, labels = labelled_source(self, X, y, fitting=not continues, continuing=continues)
        check_classification_targets(labels)
        if not continues:
            if one_pass and classes is None:
                raise ValueError("the first call of partial_fit needs classes: every label that will come")
            self.classes_ = check_classes(labels if classes is None else np.asarray(classes))
            self._seed()
        elif classes is not None and not np.array_equal(np.unique(np.asarray(classes)), self.classes_):
            raise ValueError(f"classes={classes!r} are not those of the first call, {self.classes_.tolist()}")
        targets = self._one_hot(labels)
        weights = self._weights(sample_weight, labels)
        source = source.paired(torch.from_numpy(targets))
        if weights is not None and not weights.all():  # also where they vanish beside the largest
            source, weights = source.subset(weights > 0), weights[weights > 0]
        validation = None
        if validation_data is not None:
            inputs, expected = check_validation(self, validation_data)
            validation = HeldOut(inputs.paired(torch.from_numpy(self._one_hot(np.asarray(expected)))))
        elif self.validation_fraction is not None and not one_pass:
            kept, held = self._hold_out(source)
            validation = HeldOut(source.subset(held))
            source, weights = source.subset(kept), None if weights is None else weights[kept]
        if weights is not None:
            weights = weights / weights.mean(dtype=np.float64).astype(np.float32)
            source = source.paired(weights=torch.from_numpy(weights))

        def measure(output: Tensor, target: Tensor) -> dict[str, float]:
            accuracy = (output.argmax(1) == target.argmax(1)).double().mean()
            return {"loss": float(LOSSES[self.loss](output, target)), "accuracy": float(accuracy)}

        task = Task(
            source=source,
            measure=measure,
            report_training=True,
            validation=validation,
            progress=progress,
            observer=observer,
            continues=continues,
            one_pass=one_pass,
        )
        train(self, task)

    def _weights(self, sample_weight: ArrayLike | None, labels: NDArray[Any]) -> NDArray[np.float32] | None:
        """Weight of each image, the product of its own and its class's; None where all weigh alike."""
        if sample_weight is None and self.class_weight is None:
            return None
        weights = _check_sample_weight(sample_weight, labels, dtype=np.float64, ensure_non_negative=True)
        if isinstance(self.class_weight, str):
            weights = weights * compute_sample_weight(self.class_weight, labels)
        elif self.class_weight is not None:
            weights = weights * self._weights_of_classes()[np.searchsorted(self.classes_, labels)]
        if not weights.any():  # the weights of classes may leave none of the images'
            raise ValueError("every image has weight 0; give one or more a weight above 0")
        # Their scale means nothing; in float32 very small or large ones would not be numbers.
        return np.asarray(weights / weights.max(), dtype=np.float32)

    def _weights_of_classes(self) -> NDArray[np.float64]:
        """Weight of each class, 1 where the dictionary has none."""
        weights = np.ones(len(self.classes_))
        for label, weight in cast(Mapping[Any, float], self.class_weight).items():
            found = np.flatnonzero(self.classes_ == np.asarray(label))
            if not len(found):
                raise ValueError(
                    f"class_weight has a weight for {label!r}, which is none of the classes, {self.classes_.tolist()}"
                )
            weights[found] = weight
        return weights

    def logits(self, X: ArrayLike) -> Floats:
        """Output of the network for each class, of shape (n, classes), float64 where X is, else float32."""
        if is_stored(X):
            return by_blocks(self.logits, X)
        images, _ = check_images(self, X)
        return self._infer(lambda network, rows: network(rows), images)

    def decision_function(self, X: ArrayLike) -> Floats:
        """Logits of each class, of shape (n, classes); of two classes the second's less the first's, of shape (n,)."""
        logits = self.logits(X)
        return logits[:, 1] - logits[:, 0] if len(self.classes_) == 2 else logits

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Most likely class of each image, of shape (n,), as labelled in ``fit``."""
        best = self.logits(X).argmax(1)
        labels: NDArray[Any] = np.asarray(self.classes_)[best]
        return labels

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """Probability of each class, of shape (n, classes); rows sum to 1.

        With ``loss="bce"`` the independent sigmoids are divided by their sum.
        """
        logits = self.logits(X).astype(np.float64)
        if self.loss == "softmax":
            return np.asarray(softmax(logits, axis=1))
        # The softmax of log-probabilities divides them by their sum, and no large logit makes that 0 / 0.
        return np.asarray(softmax(log_expit(logits), axis=1))

    def _one_hot(self, labels: NDArray[Any]) -> NDArray[np.float32]:
        unknown = np.setdiff1d(labels, self.classes_)
        if len(unknown):
            raise ValueError(f"label {unknown[0]!r} is none of the classes, {self.classes_.tolist()}")
        rows: NDArray[np.float32] = np.equal(labels[:, None], self.classes_).astype(np.float32)
        return rows
