"""What the classifiers share: parameters and training."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self, cast

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight
from torch import Tensor

from hourglass.estimators.checks import check_choice, check_class_weight, check_classes
from hourglass.estimators.classification import Classification
from hourglass.estimators.fitting import Task, check_validation, train, transaction
from hourglass.estimators.given import labelled_source
from hourglass.estimators.held_out import HeldOut
from hourglass.training import LOSSES, Observer, Progress, Source, class_losses


@dataclass(kw_only=True, eq=False, repr=False)
class Classifier(Classification):
    """Abstract base class of the classifiers; a subclass defines the network in ``_build``.

    Parameters
    ----------
    loss : {"softmax", "bce"}, default="softmax"
        Cross-entropy of a softmax, or of independent sigmoids against one-hot labels.
    class_weight : dict, "balanced" or None, default=None
        Weight of each label in the loss, 1 where the dictionary has none; ``"balanced"`` weighs by the inverse of how
        often a label is among the images of the call.
    image_shape : tuple of int, optional
        Height, width and channels of flat input; by default seen from the array.
    epochs : float, optional
        Passes over the training images; by default as many as make 500 steps, and at least one.
    n_steps : int, optional
        Steps of training, each with one batch; where it is given, ``epochs`` is not looked at.
    batch_size : int, default=64
        Images in a batch; all of them where there are fewer.
    learning_rate : float, default=0.01
        Learning rate of the optimiser at the peak of the schedule.
    continue_learning_rate : float, optional
        Learning rate of ``partial_fit``, and of ``fit`` with ``warm_start``, when they continue from trained weights.
        After a schedule that decays it is by default a tenth of ``learning_rate``, which does not harm a good
        network; otherwise it is ``learning_rate``.
    warm_start : bool, default=False
        Whether ``fit`` continues from the weights and the optimiser's state of the last call, if there was one; by
        default it draws new weights.
    optimiser : str, default="adam"
        Name in :data:`hourglass.training.OPTIMISERS`: ``"adam"``, Adam as TensorFlow computes it; ``"sgd"`` and
        ``"sgd-momentum"``, plain stochastic gradient descent and that with momentum 0.9, which need larger learning
        rates; ``"adamw"``, Adam with a weight decay of 0.01.
    schedule : {"one-cycle", "linear", "constant"}, default="one-cycle"
        How the learning rate changes over the steps.
    validation_fraction : float, optional
        Share of the training images, in (0, 1), that is held out; its loss is recorded. By default none.
    patience : int, optional
        Validations in a row without a new best loss after which training stops; the best weights are kept. It
        needs held-out images. By default training does all its steps.
    report_every : int, optional
        Steps from one report of the training loss to the next, beginning with the first; by default an epoch.
    validate_every : int, optional
        Steps from one validation to the next; by default as ``report_every``.
    precision : {"float32", "bfloat16", "auto"}, default="float32"
        Number type of forward passes; ``auto`` takes bfloat16 where the processor has it and the network gains.
    device : {"auto", "cpu", "cuda"} or torch.device, default="auto"
        Where to compute; ``auto`` takes the GPU where there is one.
    random_state : int or numpy.random.RandomState, optional
        Seeds weights, order and noise; None draws from the system's entropy. NumPy's and PyTorch's global
        states are not used.
    verbose : int, default=0
        1 shows progress on standard error.
    deterministic : bool, default=False
        Whether a repeated training gives the same weights, bit for bit: with the same seed, data and number of
        threads, on the same machine, with the same PyTorch. On a CPU it always does. On CUDA this costs speed.
    checkpoint_dir : path-like, optional
        Folder of this one training. ``fit`` writes its state there now and then and at its end, and resumes from it,
        bit for bit, when it is called again with the same parameters and images. It needs an int as
        ``random_state``. SIGINT and SIGTERM then wait for the step. The folder stays after training.
    checkpoint_every : str or float, default="60s"
        Interval between checkpoints: ``"60s"``, ``"500steps"`` or ``"1epochs"``; ``"never"`` leaves the one at the end.

    Attributes
    ----------
    classes_ : ndarray of shape (classes,)
        Labels as they were given to ``fit``.
    network_ : torch.nn.Module
        The network in inference mode; it takes images as ``(n, c, h, w)``.
    image_shape_ : tuple of int
        Height, width and channels of the images.
    n_features_in_ : int
        Number of values in an image, the product of ``image_shape_``.
    pixel_range_ : tuple of float
        Smallest and largest pixel of the images in ``fit``, after bytes were divided by 255.
    feature_names_in_ : ndarray of str
        Names of the columns, if ``X`` was a data frame.
    history_ : History
        Record of the last call of ``fit`` or ``partial_fit``.
    n_steps_ : int
        Number of training steps since the weights were drawn.
    dead_units_ : dict of str to pair of int
        For each layer with ReLU, how many of its units give 0 for all of the first 256 training images, and how many
        units it has.
    partly_trained_ : estimator
        After KeyboardInterrupt in ``fit`` or ``partial_fit``: a copy with the network as it was then. The estimator
        itself is what it was before the call.
    train_seconds_ : float
        Time of the training in seconds, without reports.
    images_per_second_ : float or None
        Speed of the training, without its first 20 steps; None if there were no more.
    device_, precision_ : str
        Device and number type that the training used.
    notes_ : dict
        Notes that :func:`hourglass.save` was given, if the model was read from a folder.
    """

    def check_parameters(self) -> None:
        """Check every parameter; ``fit`` does it first.

        Raises
        ------
        ValueError
            When a parameter is out of its range.
        """
        super().check_parameters()
        check_choice("loss", self.loss, class_losses())
        check_class_weight(self.class_weight)

    def fit(
        self,
        X: ArrayLike | Source,
        y: ArrayLike | None = None,
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
        y : array-like of shape (n,), optional
            Labels: numbers, text, booleans, dates or times; at least two different ones. By default those of a source
            that has ``labels``, such as :class:`hourglass.training.ZarrSource`.
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

        Returns
        -------
        self
            The fitted estimator.

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
        X: ArrayLike | Source,
        y: ArrayLike,
        classes: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Train for one more pass over the images, at a constant rate.

        The first call draws the weights and trains at ``learning_rate``. Later calls, and calls after :meth:`fit`,
        continue from the trained weights at ``continue_learning_rate``.

        Parameters
        ----------
        X : array-like of shape (n, h, w), (n, h, w, c) or (n, features)
            As many features in every call. Unsigned bytes are scaled by 1/255, other numbers are taken as they are.
        y : array-like of shape (n,)
            Labels, each one of the classes.
        classes : array-like of shape (classes,), optional
            Every label that will come; needed in the first call, where nothing was fitted before.
        sample_weight : array-like of shape (n,), optional
            Weight of each image in the loss, at least 0; their scale means nothing. Images of weight 0 are left out.
            By default all weigh alike.

        Returns
        -------
        self
            The fitted estimator.

        Raises
        ------
        ValueError
            When a parameter or a value is out of its range, or a label is not one of the classes. As with every error,
            the estimator is then what it was before the call.
        FloatingPointError
            When training diverges.
        KeyboardInterrupt
            When training is interrupted; the network as it was then is in ``partly_trained_``.
        """
        with transaction(self):
            self._fit(X, y, sample_weight, None, None, None, one_pass=True, classes=classes)
        return self

    def _fit(
        self,
        X: ArrayLike | Source,
        y: ArrayLike | None,
        sample_weight: ArrayLike | None,
        validation_data: tuple[ArrayLike, ArrayLike] | None,
        progress: Progress | None,
        observer: Observer | None,
        *,
        one_pass: bool = False,
        classes: ArrayLike | None = None,
    ) -> None:
        self.check_parameters()
        y = getattr(X, "labels", None) if y is None else y
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
                    f"class_weight has a weight for {label!r}, which is not one of the classes, "
                    f"{self.classes_.tolist()}"
                )
            weights[found] = weight
        return weights

    def _one_hot(self, labels: NDArray[Any]) -> NDArray[np.float32]:
        unknown = np.setdiff1d(labels, self.classes_)
        if len(unknown):
            raise ValueError(f"label {unknown[0]!r} is not one of the classes, {self.classes_.tolist()}")
        rows: NDArray[np.float32] = np.equal(labels[:, None], self.classes_).astype(np.float32)
        return rows
