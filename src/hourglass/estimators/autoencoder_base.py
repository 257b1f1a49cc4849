"""What the autoencoders share: fitting, coding, reconstruction, scoring."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin, clone
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from hourglass.data.arrays import Shape, to_images
from hourglass.denoising import BlindSpot
from hourglass.denoising.clipping import SMALLEST_FOR_LEVEL, estimate_noise_level, undo_clipping
from hourglass.denoising.corruption import CORRUPTIONS, Strength, clips
from hourglass.estimators.base import NetworkEstimator
from hourglass.estimators.checks import Corrupt, check_choice, check_number, check_pixel_range, corruption_of
from hourglass.estimators.fitting import Floats, Task, check_validation, start_at_mean, train, transaction
from hourglass.estimators.given import DTYPES, by_blocks, check_images, image_source, is_stored, training_source
from hourglass.estimators.held_out import HeldOut
from hourglass.nn import Codec
from hourglass.training import LOSSES, Progress

AUTOENCODER_LOSSES = ("mse", "bce")
OUTPUT_BIASES = ("mean", "zero")
ESTIMATE = "estimate"


@dataclass(kw_only=True, eq=False, repr=False)
class Autoencoder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, NetworkEstimator):  # type: ignore[misc]  # scikit-learn is untyped
    """Base of the autoencoders, with the parameters that they share."""

    loss: str = "mse"
    noise: Strength | None = None
    corruption: Corrupt | None = None
    self_supervised: bool = False
    undo_clipping: float | str | None = None
    output_bias: str = "mean"

    _any_size = False

    def check_parameters(self) -> None:
        super().check_parameters()
        check_choice("loss", self.loss, AUTOENCODER_LOSSES)
        check_choice("output_bias", self.output_bias, OUTPUT_BIASES)
        corruption = self.effective_corruption
        known = type(corruption) in CORRUPTIONS.values()
        if self.checkpoint_dir is not None and corruption is not None and not known:
            raise ValueError(
                f"corruption={corruption!r} with checkpoint_dir; a checkpoint cannot tell whether a callable is the "
                "same, use one of hourglass.denoising's corruptions"
            )
        if corruption is not None and self.self_supervised:
            raise ValueError(
                f"{self._given_corruption} with self_supervised=True, which learns from images that are noisy already; "
                "set one of them"
            )
        if self.undo_clipping != ESTIMATE:
            if isinstance(self.undo_clipping, str):
                raise ValueError(f"undo_clipping={self.undo_clipping!r}; expected a level, 'estimate' or None")
            check_number("undo_clipping", self.undo_clipping, optional=True)

    def fit(
        self,
        X: ArrayLike,
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

    def partial_fit(self, X: ArrayLike, y: ArrayLike | None = None) -> Self:
        """Train for one more pass over the images, at a constant rate.

        The first call draws the weights and trains at ``learning_rate``. Later calls, and calls after :meth:`fit`,
        continue from the trained weights at ``continue_learning_rate``. Validation and early stopping are left to
        :meth:`fit`.

        Parameters
        ----------
        X, y
            As in :meth:`fit`; ``X`` with as many features in every call.

        Raises
        ------
        ValueError, FloatingPointError
            As in :meth:`fit`. The estimator is then what it was before the call.
        """
        with transaction(self):
            self._fit(X, y, None, None, one_pass=True)
        return self

    def _fit(
        self,
        X: ArrayLike,
        y: ArrayLike | None,
        validation_data: tuple[ArrayLike, ArrayLike] | None,
        progress: Progress | None,
        *,
        one_pass: bool = False,
    ) -> None:
        self.check_parameters()
        unit = "loss='bce'" if self.loss == "bce" else None
        continues = (one_pass or self.warm_start) and self._continues()
        source = training_source(
            self, X, fitting=not continues, continuing=continues, unit_range=self._why_unit_range()
        )
        targets = image_source(self, y, "y", unit_range=unit) if y is not None and _is_target(y) else None
        if targets is not None and len(targets) != len(source):
            raise ValueError(f"X has {len(source)} images but y has {len(targets)}; give one target an image")
        if targets is not None and self.self_supervised:
            raise ValueError("self_supervised=True learns from X alone; leave y out, or set self_supervised=False")
        if not continues:
            self._seed()
            self._target_range = None
        if targets is not None:
            self._target_range = targets.value_range()
            source = source.paired(targets)
        validation = None
        if validation_data is not None:
            inputs, expected = check_validation(self, validation_data)
            expected = image_source(self, expected, "validation_data[1]", unit_range=unit)
            validation = HeldOut(inputs.paired(expected), self._corrupt() if self.self_supervised else None)
        elif self.validation_fraction is not None and not one_pass:
            kept, held = self._hold_out(source)
            validation = HeldOut(source.subset(held), self._corrupt())
            source = source.subset(kept)

        def prepare(codec: Codec) -> None:
            if self.output_bias == "mean" and not getattr(codec, "residual", False):
                start_at_mean(codec, source, logits=self.loss == "bce")

        def measure(output: Tensor, target: Tensor) -> dict[str, float]:
            return {"loss": float(LOSSES[self.loss](output, target))}

        task = Task(
            source=source,
            measure=measure,
            prepare=prepare,
            corrupt=self._corrupt(),
            validation=validation,
            progress=progress,
            continues=continues,
            one_pass=one_pass,
        )
        train(self, task)

    def transform(self, X: ArrayLike) -> Floats:
        """Encode images.

        Returns
        -------
        ndarray of shape (n, code_size), float64 where X is, else float32
            Codes, each number at least 0. A convolutional code is flattened in the order height, width, channel.
        """
        if is_stored(X):
            return by_blocks(self.transform, X)
        images, _ = check_images(self, X)
        return self._infer(lambda network, rows: network.encode(rows), images)

    def inverse_transform(self, X: ArrayLike) -> Floats:
        """Decode codes.

        Parameters
        ----------
        X : array-like of shape (n, code_size)

        Returns
        -------
        ndarray of shape (n, h, w, c), or (n, features) after flat images in ``fit``; of dtype as in ``transform``
            In [0, 1] with ``loss="bce"``, unbounded with ``loss="mse"``.
        """
        check_is_fitted(self, "network_")
        codes = np.asarray(X)
        codes = np.ascontiguousarray(codes, dtype=codes.dtype if codes.dtype in DTYPES else np.float32)
        if codes.ndim != 2 or codes.shape[1] != self.network_.code_size:
            raise ValueError(f"X has shape {codes.shape}; expected codes ('n', {self.network_.code_size})")
        decoded = self._infer(lambda network, rows: network.decode(rows), codes, activation=self._activation)
        images = self._unclip(decoded, None)
        return images.reshape(len(images), -1) if self._flat else images

    def reconstruct(self, X: ArrayLike) -> Floats:
        """Encode and decode images: with ``noise`` or ``corruption``, the images without it.

        Returns
        -------
        ndarray of the shape of X, float64 where X is, else float32
            In [0, 1] with ``loss="bce"`` or ``undo_clipping``, unbounded with ``loss="mse"``.
        """
        if is_stored(X) and self.undo_clipping != ESTIMATE:  # a level is estimated from all images
            return by_blocks(self.reconstruct, X)
        images, _ = check_images(self, X, any_size=self._any_size)
        restored = self._infer(
            lambda network, rows: network(rows), images, activation=self._activation, halo=self.network_.halo
        )
        return self._unclip(restored, images).reshape(np.shape(X))

    def score(self, X: ArrayLike, y: ArrayLike | None = None) -> float:
        """Minus the mean squared error of ``reconstruct(X)``, against ``y`` or, without it or with labels, ``X``.

        Parameters
        ----------
        X, y
            As in :meth:`fit`.

        Returns
        -------
        float
            At most 0; higher is better.
        """
        output, target = self._compared(X, y)
        return -float(np.mean(np.square(output - target), dtype=np.float64))

    def score_samples(self, X: ArrayLike, y: ArrayLike | None = None) -> NDArray[np.float64]:
        """Minus each image's mean squared error, so that the images unlike those of training score lowest.

        Parameters
        ----------
        X, y
            As in :meth:`score`.

        Returns
        -------
        ndarray of shape (n,), float64
            At most 0; their mean is :meth:`score`.
        """
        output, target = self._compared(X, y)
        errors: NDArray[np.float64] = np.square(output - target, dtype=np.float64).reshape(len(output), -1).mean(1)
        return -errors

    def _compared(self, X: ArrayLike, y: ArrayLike | None) -> tuple[Floats, Floats]:
        """Reconstructed images, and what they are compared with, of equal shape."""
        output = self.reconstruct(X)  # first, since it says when nothing was fitted
        values, name = (y, "y") if y is not None and _is_target(y) else (X, "X")
        shape = self.image_shape_
        if output.ndim > 2:
            shape = (*output.shape[1:3], shape[2])  # a convolutional one takes other sizes
        target = to_images(values, shape, name=name)
        if name == "y" and target.size:
            known = getattr(self, "_target_range", None) or self.pixel_range_
            check_pixel_range(float(target.min()), float(target.max()), known, name=name)
        if len(target) != len(output):
            raise ValueError(f"X has {len(output)} images but {name} has {len(target)}; give one target an image")
        return output.reshape(target.shape), target

    @property
    def has_code(self) -> bool:
        """Whether a code alone determines the image."""
        return True

    @property
    def _n_features_out(self) -> int:
        return int(self.network_.code_size)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def code_size_for(self, image_shape: Shape) -> int:
        """How many numbers a code of such images has, of shape height, width, channels; nothing is trained."""
        probe = clone(self)
        probe.image_shape_ = image_shape
        with torch.random.fork_rng([]):
            return int(probe._build().code_size)

    def _why_unit_range(self) -> str | None:
        """What needs images in [0, 1], if anything does."""
        if self.loss == "bce":
            return "loss='bce'"
        if clips(self.effective_corruption):
            return f"{self._given_corruption}, which is clipped to black and white,"
        return f"undo_clipping={self.undo_clipping!r}" if self.undo_clipping is not None else None

    @property
    def _activation(self) -> Callable[..., Tensor] | None:
        return torch.sigmoid if self.loss == "bce" else None

    def _unclip(self, output: Floats, given: Floats | None) -> Floats:
        """Undo clipping where that is wanted."""
        level = self.undo_clipping
        if level is None:
            return output
        if level == ESTIMATE:
            if given is None:
                raise ValueError("undo_clipping='estimate' needs the noisy images, which a code is not; set a level")
            # Too few pixels to tell: taken as free of noise.
            level = estimate_noise_level(given) if min(given.shape[1:3]) >= SMALLEST_FOR_LEVEL else 0
            if level == 0:
                return output
        return undo_clipping(output, float(level)).astype(output.dtype)

    @property
    def effective_corruption(self) -> Corrupt | None:
        """Corruption of the training inputs: ``corruption``, or Gaussian noise of level ``noise``; None without both.

        Raises
        ------
        ValueError
            When both are given, ``noise`` is neither a level nor a pair of levels, or ``corruption`` is not callable.
        """
        return corruption_of(self.noise, self.corruption)

    @property
    def _given_corruption(self) -> str:
        """The parameter that says how inputs are corrupted, as in a call."""
        return f"noise={self.noise!r}" if self.corruption is None else f"corruption={self.corruption!r}"

    def _corrupt(self) -> Callable[[Tensor, torch.Generator], Tensor | tuple[Tensor, Tensor]] | None:
        if self.self_supervised:
            return lambda images, generator: BlindSpot(generator)(images)
        return self.effective_corruption


def _is_target(y: ArrayLike) -> bool:
    """Whether ``y`` holds images, and not labels, one number an image."""
    return np.asarray(y).ndim != 1
