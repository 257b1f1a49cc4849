"""What the autoencoders share: parameters and training."""

from dataclasses import dataclass
from functools import partial
from typing import Self

from numpy.typing import ArrayLike
from torch import Tensor

from hourglass.denoising import BlindSpot
from hourglass.denoising.corruption import CORRUPTIONS, clips
from hourglass.estimators.checks import check_choice, check_number
from hourglass.estimators.fitting import Task, check_validation, start_at_mean, train, transaction
from hourglass.estimators.given import image_source, training_source
from hourglass.estimators.held_out import Corrupt, HeldOut
from hourglass.estimators.reconstruction import ESTIMATE, Reconstruction
from hourglass.estimators.scores import is_target
from hourglass.nn import Codec
from hourglass.training import LOSSES, NeighborToNeighbor, Progress, Source, image_losses

OUTPUT_BIASES = ("mean", "zero")
METHODS = ("noise2self", "neighbor2neighbor")


@dataclass(kw_only=True, eq=False, repr=False)
class Autoencoder(Reconstruction):
    """Abstract base class of the autoencoders; a subclass defines the network in ``_build``.

    Parameters
    ----------
    loss : {"mse", "mae", "bce"}, default="mse"
        ``mse`` and ``mae``, the mean squared and the mean absolute error, have a linear output; ``bce``, sigmoid
        cross-entropy, wants images in [0, 1] and gives such.
    noise : float above 0 or pair of float, optional
        Standard deviation of normal noise on the training inputs, new for every batch, after which pixels are clipped
        to [0, 1]; with a pair, each image draws its own level uniformly between the two. It is short for
        ``corruption=GaussianNoise(noise)``. By default inputs are not corrupted.
    corruption : callable, optional
        Corruption of the training inputs, new for every batch, in place of ``noise``: one of
        :mod:`hourglass.denoising`, such as ``SaltAndPepper(0.1)``, or a function that takes images ``(n, c, h, w)``
        and a ``torch.Generator`` and returns images of the same shape. With ``noise`` it is refused.
    self_supervised : bool or {"noise2self", "neighbor2neighbor"}, default=False
        Learn to denoise from noisy images alone: by predicting hidden pixels (``"noise2self"``, see
        :class:`hourglass.denoising.BlindSpot`), or by predicting one half of the pixels from the other, their
        neighbours (``"neighbor2neighbor"``, see :class:`hourglass.training.NeighborToNeighbor`). True is the method
        that suits the network: the latter where it adds to its input, and otherwise the former. With ``noise`` or
        ``corruption`` it is refused: the images are noisy already.
    undo_clipping : float above 0 or "estimate", optional
        Invert the bias of noise of this level that was clipped to [0, 1], after denoising: see
        :func:`hourglass.denoising.undo_clipping`; ``estimate`` measures the level of the images given. It is for
        networks that never saw a clean image; others have learnt it.
    output_bias : {"mean", "zero"}, default="mean"
        Where the last layer's bias starts: ``mean`` lets the untrained network output the mean image.
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

    @property
    def _adds_to_input(self) -> bool:
        """Whether the network's output is its input and a change."""
        return False

    @property
    def method(self) -> str | None:
        """Method by which it learns from noisy images alone; None where it does not."""
        if not self.self_supervised:
            return None
        own = "neighbor2neighbor" if self._adds_to_input else "noise2self"
        return own if self.self_supervised is True else str(self.self_supervised)

    def check_parameters(self) -> None:
        """Check every parameter; ``fit`` does it first.

        Raises
        ------
        ValueError
            When a parameter is out of its range, or two contradict each other.
        """
        super().check_parameters()
        check_choice("loss", self.loss, image_losses())
        check_choice("output_bias", self.output_bias, OUTPUT_BIASES)
        corruption = self.effective_corruption
        known = type(corruption) in CORRUPTIONS.values()
        if self.checkpoint_dir is not None and corruption is not None and not known:
            raise ValueError(
                f"corruption={corruption!r} with checkpoint_dir; a checkpoint cannot tell whether a callable is the "
                "same, use one of hourglass.denoising's corruptions"
            )
        if self.self_supervised not in (True, False):
            check_choice("self_supervised", self.self_supervised, METHODS)
        if corruption is not None and self.self_supervised:
            raise ValueError(
                f"{self._given_corruption} with self_supervised={self.self_supervised!r}, which learns from images "
                "that are noisy already; set one of them"
            )
        if self.method == "neighbor2neighbor" and not self.any_size:
            raise ValueError(
                "self_supervised='neighbor2neighbor' trains on images of half the size, which this network "
                "does not take"
            )
        if self.method == "neighbor2neighbor" and self.validation_fraction is not None:
            raise ValueError(
                "self_supervised='neighbor2neighbor' with validation_fraction, though a loss on noisy images says "
                "nothing of the noise; give fit validation_data, of noisy and clean images"
            )
        if self.method == "noise2self" and self._adds_to_input:
            raise ValueError(
                "self_supervised='noise2self' with a network that adds to the noisy image itself, so that its noise "
                "would stay; use self_supervised='neighbor2neighbor'"
            )
        if self.undo_clipping != ESTIMATE:
            if isinstance(self.undo_clipping, str):
                raise ValueError(f"undo_clipping={self.undo_clipping!r}; expected a level, 'estimate' or None")
            check_number("undo_clipping", self.undo_clipping, optional=True)

    def fit(
        self,
        X: ArrayLike | Source,
        y: ArrayLike | None = None,
        *,
        validation_data: tuple[ArrayLike, ArrayLike] | None = None,
        progress: Progress | None = None,
    ) -> Self:
        """Train on images; where anything is raised, the estimator is what it was before.

        Parameters
        ----------
        X : array-like of shape (n, h, w), (n, h, w, c) or (n, features), or hourglass.training.Source
            Unsigned bytes are scaled by 1/255, other numbers are taken as they are. An array in a file
            (:class:`numpy.memmap`) is read batch by batch and not copied into memory.
        y : array-like of the same shape, optional
            What the output is compared with, as clean images for noisy ones; by default ``X`` itself. One
            number an image is a label, as a pipeline passes, and not looked at.
        validation_data : pair of array-like, optional
            Inputs and targets whose loss is recorded, and which ``patience`` watches; nothing else is done with them.
        progress : Progress, optional
            Where to show how it goes; by default as ``verbose`` says.

        Returns
        -------
        self
            The fitted estimator.

        Raises
        ------
        ValueError
            When a parameter or a value of ``X`` is out of its range: outside [0, 1] with ``loss="bce"``, with
            noise that is clipped to it, and with ``undo_clipping``.
        FloatingPointError
            When training diverges.
        KeyboardInterrupt
            When training is interrupted; the network as it was then is in ``partly_trained_``.
        """
        with transaction(self):
            self._fit(X, y, validation_data, progress)
        return self

    def partial_fit(self, X: ArrayLike | Source, y: ArrayLike | None = None) -> Self:
        """Train for one more pass over the images, at a constant rate.

        The first call draws the weights and trains at ``learning_rate``. Later calls, and calls after :meth:`fit`,
        continue from the trained weights at ``continue_learning_rate``. Validation and early stopping are left to
        :meth:`fit`.

        Parameters
        ----------
        X : array-like of shape (n, h, w), (n, h, w, c) or (n, features)
            As many features in every call. Unsigned bytes are scaled by 1/255, other numbers are taken as they are.
        y : array-like of the same shape, optional
            What the output is compared with, as clean images for noisy ones; by default ``X`` itself. One
            number an image is a label, and not looked at.

        Returns
        -------
        self
            The fitted estimator.

        Raises
        ------
        ValueError
            When a parameter or a value of ``X`` is out of its range. As with every error, the estimator is then what
            it was before the call.
        FloatingPointError
            When training diverges.
        KeyboardInterrupt
            When training is interrupted; the network as it was then is in ``partly_trained_``.
        """
        with transaction(self):
            self._fit(X, y, None, None, one_pass=True)
        return self

    def _fit(
        self,
        X: ArrayLike | Source,
        y: ArrayLike | None,
        validation_data: tuple[ArrayLike, ArrayLike] | None,
        progress: Progress | None,
        *,
        one_pass: bool = False,
    ) -> None:
        self.check_parameters()
        loss = LOSSES[self.loss]
        unit = f"loss={self.loss!r}" if loss.unit_range else None
        continues = (one_pass or self.warm_start) and self._continues()
        source = training_source(
            self, X, fitting=not continues, continuing=continues, unit_range=self._why_unit_range()
        )
        targets = image_source(self, y, "y", unit_range=unit) if y is not None and is_target(y) else None
        if targets is not None and len(targets) != len(source):
            raise ValueError(f"X has {len(source)} images but y has {len(targets)}; give one target an image")
        if targets is not None and self.self_supervised:
            raise ValueError(
                f"self_supervised={self.self_supervised!r} learns from X alone; leave y out, or set it to False"
            )
        if not continues:
            self._seed()
            self._target_range = None
        if source.has_targets:
            self._target_range = self.pixel_range_
        if targets is not None:
            self._target_range = targets.value_range()
            source = source.paired(targets)
        corrupt = self._corrupt(targets is not None or source.has_targets, continues=continues)
        validation = None
        if validation_data is not None:
            inputs, expected = check_validation(self, validation_data)
            expected = image_source(self, expected, "validation_data[1]", unit_range=unit)
            validation = HeldOut(inputs.paired(expected), corrupt if self.method == "noise2self" else None)
        elif self.validation_fraction is not None and not one_pass:
            kept, held = self._hold_out(source)
            validation = HeldOut(source.subset(held), corrupt)
            source = source.subset(kept)

        def prepare(codec: Codec) -> None:
            if self.output_bias == "mean" and not getattr(codec, "residual", False):
                start_at_mean(codec, source, loss.starting_bias)

        def measure(output: Tensor, target: Tensor) -> dict[str, float]:
            return {"loss": float(loss(output, target))}

        task = Task(
            source=source,
            measure=measure,
            prepare=prepare,
            corrupt=corrupt,
            objective=partial(NeighborToNeighbor, loss) if self.method == "neighbor2neighbor" else None,
            validation=validation,
            progress=progress,
            continues=continues,
            one_pass=one_pass,
        )
        train(self, task)

    def _why_unit_range(self) -> str | None:
        """What needs images in [0, 1], if anything does."""
        if LOSSES[self.loss].unit_range:
            return f"loss={self.loss!r}"
        if clips(self.effective_corruption):
            return f"{self._given_corruption}, which is clipped to black and white,"
        return f"undo_clipping={self.undo_clipping!r}" if self.undo_clipping is not None else None

    @property
    def _given_corruption(self) -> str:
        """The parameter that says how inputs are corrupted, as in a call."""
        return f"noise={self.noise!r}" if self.corruption is None else f"corruption={self.corruption!r}"

    def _corrupt(self, has_targets: bool = False, *, continues: bool = False) -> Corrupt | None:
        if self.method == "noise2self":
            return lambda images, generator: BlindSpot(generator)(images)
        return self.effective_corruption
