"""Autoencoders with scikit-learn's interface."""

from dataclasses import dataclass

from numpy.typing import ArrayLike

from hourglass.estimators.autoencoder_base import Autoencoder
from hourglass.estimators.checks import check_choice, check_norm, check_number
from hourglass.estimators.fitting import Floats
from hourglass.nn import UPSAMPLES, Codec, ConvCodec, DenseCodec


@dataclass(kw_only=True, eq=False, repr=False)
class DenseAutoencoder(Autoencoder):
    """Autoencoder with one hidden layer: image → ``code_size`` ReLU units → image.

    Parameters
    ----------
    code_size : int, default=32
        Numbers in a code.
    loss : {"mse", "bce"}, default="mse"
        ``mse`` has a linear output; ``bce``, sigmoid cross-entropy, wants images in [0, 1] and gives such.
    noise : float above 0 or pair of float, optional
        Standard deviation of normal noise on the training inputs, new for every batch, after which pixels are clipped
        to [0, 1]; with a pair, each image draws its own level uniformly between the two. It is short for
        ``corruption=GaussianNoise(noise)``. By default inputs are not corrupted.
    corruption : callable, optional
        Corruption of the training inputs, new for every batch, in place of ``noise``: one of
        :mod:`hourglass.denoising`, such as ``SaltAndPepper(0.1)``, or a function that takes images ``(n, c, h, w)``
        and a ``torch.Generator`` and returns images of the same shape. With ``noise`` it is refused.
    self_supervised : bool, default=False
        Learn to denoise from noisy images alone, by predicting hidden pixels: see
        :class:`hourglass.denoising.BlindSpot`. With ``noise`` or ``corruption`` it is refused: the images are noisy
        already.
    undo_clipping : float above 0 or "estimate", optional
        Invert the bias of noise of this level that was clipped to [0, 1], after denoising: see
        :func:`hourglass.denoising.undo_clipping`; ``estimate`` measures the level of the images given. It is for
        networks that never saw a clean image; others have learnt it.
    output_bias : {"mean", "zero"}, default="mean"
        Where the last layer's bias starts: ``mean`` lets the untrained network output the mean image.
    image_shape, epochs, n_steps, batch_size, learning_rate, optimiser, schedule, validation_fraction, patience, \
report_every, validate_every, precision, device, random_state, verbose, deterministic, checkpoint_dir, checkpoint_every
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

    _network_parameters = ("code_size",)

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
    skip : bool, default=False
        Join the decoder with the encoder's maps (U-Net): for denoising natural images, where a narrow code
        must blur. There is then no code that determines the image, and ``transform`` refuses.
    residual : bool, default=False
        Predict what to take away from the image (DnCNN); wants ``loss="mse"``. ``transform`` refuses likewise.
    norm : {"none", "batch", "batch-manual", "layer", "group", "instance", "ghost", "renorm"}, default="none"
        Normalisation before each ReLU; those that look at each image by itself see tiles of
        512 × 512 pixels where an image file is larger.
    norm_momentum : float, default=0.1
        Share of the new batch in the moving statistics (PyTorch's convention; TensorFlow's 0.99 is 0.01).
    loss, noise, corruption, self_supervised, undo_clipping, output_bias
        As in :class:`DenseAutoencoder`.
    image_shape, epochs, n_steps, batch_size, learning_rate, optimiser, schedule, validation_fraction, patience, \
report_every, validate_every, precision, device, random_state, verbose, deterministic, checkpoint_dir, checkpoint_every
        As in :class:`NetworkEstimator`, whose attributes there are too.

    Examples
    --------
    >>> import hourglass as hg
    >>> data = hg.load("sample")
    >>> denoiser = hg.ConvAutoencoder(noise=0.5, loss="bce", n_steps=20, random_state=0).fit(data.train.images)
    >>> denoiser.reconstruct(data.test.images[:3]).shape
    (3, 28, 28, 1)
    """

    channels: tuple[int, ...] = (16, 8, 8)
    upsample: str = "nearest"
    skip: bool = False
    residual: bool = False
    norm: str = "none"
    norm_momentum: float = 0.1

    _any_size = True

    @property
    def _bfloat16_pays(self) -> bool:  # type: ignore[override]  # a constant elsewhere
        return self.norm == "none"

    def check_parameters(self) -> None:
        super().check_parameters()
        check_choice("upsample", self.upsample, UPSAMPLES)
        check_norm(self.norm, self.norm_momentum)
        if not isinstance(self.channels, tuple | list) or not self.channels:
            raise ValueError(f"channels={self.channels!r}; expected a tuple of whole numbers, as (16, 8, 8)")
        for count in self.channels:
            check_number("channels", count, whole=True)
        if self.residual and self.loss == "bce":
            raise ValueError("residual=True adds to the image itself, which loss='bce' cannot; use loss='mse'")

    def transform(self, X: ArrayLike) -> Floats:
        self._check_has_code("transform")
        return super().transform(X)

    def inverse_transform(self, X: ArrayLike) -> Floats:
        self._check_has_code("inverse_transform")
        return super().inverse_transform(X)

    @property
    def has_code(self) -> bool:
        return not (self.skip or self.residual)

    def _check_has_code(self, method: str) -> None:
        if not self.has_code:
            name = "skip" if self.skip else "residual"
            raise ValueError(
                f"{method} needs a code that determines the image, but with {name}=True detail passes beside it; "
                "use reconstruct, or train without skip and residual"
            )

    _network_parameters = ("channels", "upsample", "skip", "residual", "norm", "norm_momentum")

    def _build(self) -> Codec:
        return ConvCodec(
            self.image_shape_,
            tuple(self.channels),
            self.upsample,
            skip=self.skip,
            residual=self.residual,
            norm=self.norm,
            norm_momentum=self.norm_momentum,
        )
