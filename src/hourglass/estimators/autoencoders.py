"""Autoencoders with scikit-learn's interface."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import TransformerMixin, clone
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from hourglass.data.arrays import Shape, to_images
from hourglass.data.corruption import GaussianNoise
from hourglass.estimators.base import NetworkEstimator, check_choice, check_number
from hourglass.nn import UPSAMPLES, Codec, ConvCodec, DenseCodec
from hourglass.training import LOSSES, Progress

Corruption = Callable[[Tensor, torch.Generator], Tensor]
AUTOENCODER_LOSSES = ("mse", "bce")
OUTPUT_BIASES = ("zero", "mean")
# Pixels that are black (or white) in every image would have an infinite logit.
SMALLEST_MEAN = 1e-3


@dataclass(kw_only=True, eq=False, repr=False)
class Autoencoder(TransformerMixin, NetworkEstimator):  # type: ignore[misc]  # scikit-learn is untyped
    """Base of the autoencoders, with the parameters that they share."""

    loss: str = "mse"
    noise: float | Corruption | None = None
    output_bias: str = "zero"

    def check_parameters(self) -> None:
        super().check_parameters()
        check_choice("loss", self.loss, AUTOENCODER_LOSSES)
        check_choice("output_bias", self.output_bias, OUTPUT_BIASES)
        if not callable(self.noise):
            check_number("noise", self.noise, optional=True)

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike | None = None,
        *,
        validation_data: tuple[ArrayLike, ArrayLike] | None = None,
        progress: Progress | None = None,
    ) -> Self:
        """Train on images.

        Parameters
        ----------
        X : array-like of shape (n, h, w), (n, h, w, c) or (n, features)
            Unsigned bytes are scaled by 1/255, other numbers are taken as they are.
        y : array-like of the same shape, optional
            What the output is compared with; by default ``X`` itself.
        validation_data : pair of array-like, optional
            Inputs and targets whose loss is recorded, and nothing else.
        progress : Progress, optional
            Where to show how it goes; by default as ``verbose`` says.

        Raises
        ------
        ValueError
            When a parameter or a value of ``X`` is out of its range, with ``loss="bce"`` outside [0, 1].
        FloatingPointError
            When training diverges.
        """
        self.check_parameters()
        unit = self.loss == "bce"
        images = self._check_images(X, fitting=True, unit_range=unit)
        targets = None if y is None else to_images(y, self.image_shape_, unit_range=unit, name="y")
        if targets is not None and len(targets) != len(images):
            raise ValueError(f"X has {len(images)} images but y has {len(targets)}; give one target an image")
        validation = validation_data and (
            to_images(validation_data[0], self.image_shape_, name="validation_data[0]"),
            to_images(validation_data[1], self.image_shape_, unit_range=unit, name="validation_data[1]"),
        )

        def start_at_mean(codec: Codec) -> None:
            if self.output_bias == "mean":
                mean = torch.from_numpy((images if targets is None else targets).mean(0, dtype=np.float64)).float()
                # One bias for all pixels takes the logit of their common mean, not the mean of their logits.
                if codec.output_bias.numel() != mean.numel():
                    mean = mean.mean((0, 1), keepdim=True)
                codec.set_output_bias(mean.clamp(SMALLEST_MEAN, 1 - SMALLEST_MEAN).logit() if unit else mean)

        def measure(output: Tensor, target: Tensor) -> dict[str, float]:
            return {"loss": float(LOSSES[self.loss](output, target))}

        self._train(
            images,
            targets,
            loss=self.loss,
            prepare=start_at_mean,
            corrupt=self._corruption(),
            measure=measure,
            report_training=False,
            validation=validation,
            progress=progress,
        )
        return self

    def transform(self, X: ArrayLike) -> NDArray[np.float32]:
        """Encode images.

        Returns
        -------
        ndarray of shape (n, code_size), float32
            Codes, each number at least 0. A convolutional code is flattened in the order height, width, channel.
        """
        images = self._check_images(X)
        return self._infer(self.network_.encode, images)

    def inverse_transform(self, X: ArrayLike) -> NDArray[np.float32]:
        """Decode codes.

        Parameters
        ----------
        X : array-like of shape (n, code_size)

        Returns
        -------
        ndarray of shape (n, h, w, c), float32
            In [0, 1] with ``loss="bce"``, unbounded with ``loss="mse"``.
        """
        check_is_fitted(self, "network_")
        codes = np.ascontiguousarray(X, dtype=np.float32)
        if codes.ndim != 2 or codes.shape[1] != self.network_.code_size:
            raise ValueError(f"X has shape {codes.shape}; expected codes ('n', {self.network_.code_size})")
        return self._infer(lambda rows: self._activate(self.network_.decode(rows)), codes)

    def reconstruct(self, X: ArrayLike) -> NDArray[np.float32]:
        """Encode and decode images: with ``noise``, the images without it.

        Returns
        -------
        ndarray of the shape of X, float32
            In [0, 1] with ``loss="bce"``, unbounded with ``loss="mse"``.
        """
        images = self._check_images(X)
        return self._infer(lambda rows: self._activate(self.network_(rows)), images).reshape(np.shape(X))

    def score(self, X: ArrayLike, y: ArrayLike | None = None) -> float:
        """Minus the mean squared error of ``reconstruct(X)``, against ``y`` or, without it, ``X``."""
        target = to_images(X if y is None else y, self.image_shape_, name="X" if y is None else "y")
        error = self.reconstruct(X).reshape(target.shape) - target
        return -float(np.mean(np.square(error), dtype=np.float64))

    def code_size_for(self, image_shape: Shape) -> int:
        """How many numbers a code of such images has, of shape height, width, channels; nothing is trained."""
        probe = clone(self)
        probe.image_shape_ = image_shape
        with torch.device("meta"):
            return int(probe._build().code_size)

    def _activate(self, output: Tensor) -> Tensor:
        return output.sigmoid() if self.loss == "bce" else output

    def _corruption(self) -> Corruption | None:
        if self.noise is None or callable(self.noise):
            return self.noise
        return GaussianNoise(float(self.noise))


@dataclass(kw_only=True, eq=False, repr=False)
class DenseAutoencoder(Autoencoder):
    """Autoencoder with one hidden layer: image → ``code_size`` ReLU units → image.

    Parameters
    ----------
    code_size : int, default=32
        Numbers in a code.
    loss : {"mse", "bce"}, default="mse"
        ``mse`` has a linear output; ``bce``, sigmoid cross-entropy, wants images in [0, 1] and gives such.
    noise : float above 0 or callable, optional
        Corruption of the training inputs, new for every batch. A number is the standard deviation of normal
        noise, after which pixels are clipped to [0, 1]; a callable takes images ``(n, c, h, w)`` and a
        ``torch.Generator``.
    output_bias : {"zero", "mean"}, default="zero"
        Where the last layer's bias starts: ``mean`` lets the untrained network output the mean image.
    image_shape, epochs, batches, batch_size, learning_rate, schedule, report_every, validate_every, precision, \
device, random_state, verbose
        As in :class:`NetworkEstimator`, whose attributes there are too.

    Examples
    --------
    >>> import hourglass as hg
    >>> data = hg.load("sample")
    >>> ae = hg.DenseAutoencoder(code_size=16, epochs=2, random_state=0).fit(data.train.images)
    >>> ae.transform(data.test.images).shape
    (1000, 16)
    """

    code_size: int = 32

    _square_images = False

    def check_parameters(self) -> None:
        super().check_parameters()
        check_number("code_size", self.code_size, whole=True)

    def _build(self) -> Codec:
        return DenseCodec(self.image_shape_, self.code_size)


@dataclass(kw_only=True, eq=False, repr=False)
class ConvAutoencoder(Autoencoder):
    """Convolutional autoencoder: each stage halves the image, and the decoder mirrors it.

    Parameters
    ----------
    channels : tuple of int, default=(16, 8, 8)
        Feature maps of each stage of the encoder; the decoder has them in reverse. The code has
        ``ceil(h / 2^s) · ceil(w / 2^s) · channels[-1]`` numbers after ``s`` stages.
    upsample : {"nearest", "transposed"}, default="nearest"
        How the decoder grows the image: nearest-neighbour and convolution, or a transposed convolution, which
        draws checkerboards.
    loss, noise, output_bias
        As in :class:`DenseAutoencoder`.
    image_shape, epochs, batches, batch_size, learning_rate, schedule, report_every, validate_every, precision, \
device, random_state, verbose
        As in :class:`NetworkEstimator`, whose attributes there are too.

    Examples
    --------
    >>> import hourglass as hg
    >>> data = hg.load("sample")
    >>> denoiser = hg.ConvAutoencoder(noise=0.5, loss="bce", batches=20, random_state=0).fit(data.train.images)
    >>> denoiser.reconstruct(data.test.images[:3]).shape
    (3, 28, 28, 1)
    """

    channels: tuple[int, ...] = (16, 8, 8)
    upsample: str = "nearest"

    _bfloat16_pays = True

    def check_parameters(self) -> None:
        super().check_parameters()
        check_choice("upsample", self.upsample, UPSAMPLES)
        if not isinstance(self.channels, tuple | list) or not self.channels:
            raise ValueError(f"channels={self.channels!r}; expected a tuple of whole numbers, as (16, 8, 8)")
        for count in self.channels:
            check_number("channels", count, whole=True)

    def _build(self) -> Codec:
        return ConvCodec(self.image_shape_, tuple(self.channels), self.upsample)
