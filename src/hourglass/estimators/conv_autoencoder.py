"""The convolutional autoencoder with scikit-learn's interface."""

from dataclasses import dataclass

from hourglass.estimators.autoencoder_base import Autoencoder
from hourglass.estimators.checks import check_choice, check_norm, check_number
from hourglass.nn import DOWNSAMPLES, UPSAMPLES, Codec, ConvCodec
from hourglass.nn.norms import NormFactory, norm_in_words


@dataclass(kw_only=True, eq=False, repr=False)
class ConvAutoencoder(Autoencoder):
    """Convolutional autoencoder: each stage halves the image, and the decoder mirrors it.

    Parameters
    ----------
    channels : tuple of int, default=(16, 8, 8)
        Feature maps of each stage of the encoder; the decoder has them in reverse. The code has
        ``ceil(h / 2^s) · ceil(w / 2^s) · channels[-1]`` numbers after ``s`` stages, unless ``code_channels`` is given.
    upsample : {"nearest", "transposed", "transposed-2x2"}, default="nearest"
        How the decoder doubles the image: ``nearest`` repeats pixels and convolves them; ``transposed`` is a transposed
        convolution with a kernel of 3 × 3 and stride 2, which draws checkerboards; ``transposed-2x2`` has a kernel as
        large as its stride, which avoids them and takes less time.
    downsample : {"max-pool", "strided"}, default="max-pool"
        How the encoder halves the image: by the maximum of 2 × 2 pixels, which forgets where in them it was, or by a
        stride of 2 in its convolutions, which learn what to keep.
    code_channels : int above 0, optional
        Feature maps of the code, computed from those of the last stage by one more 3×3 convolution, so that the stages
        can be wide and the code small. By default the last stage's maps are the code.
    skip : bool, default=False
        Join the decoder with the encoder's maps (U-Net): for denoising natural images, where a narrow code
        must blur. There is then no code that determines the image, and ``transform`` refuses.
    residual : bool, default=False
        Predict what to take away from the image (DnCNN); wants ``loss="mse"`` or ``"mae"``, and no hidden pixels
        (``self_supervised="noise2self"``). ``transform`` refuses likewise.
    norm : str or callable, default="none"
        Normalisation before each ReLU: ``"none"``, ``"batch"``, ``"batch-manual"``, ``"layer"``, ``"group"``,
        ``"instance"``, ``"ghost"``, ``"renorm"`` or ``"batch-manual-local"``, as in :class:`hourglass.ConvClassifier`.
        Those that look at each image by itself see tiles of 512 × 512 pixels where an image file is larger. A class or
        function of the number of channels makes layers of your own, each a ``torch.nn.Module`` that takes maps
        ``(n, channels, h, w)``; where their output at a pixel depends in inference on other pixels, they need the
        attribute ``looks_at_whole_image = True``. The model can then not be saved.
    norm_momentum : float, default=0.1
        Share of the new batch in the moving statistics (PyTorch's convention; TensorFlow's 0.99 is 0.01). Unused by a
        normalisation of your own.
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
    downsample: str = "max-pool"
    code_channels: int | None = None
    skip: bool = False
    residual: bool = False
    norm: str | NormFactory = "none"
    norm_momentum: float = 0.1

    any_size = True
    _kind = "convolutional"
    _network_parameters = (
        "channels",
        "upsample",
        "downsample",
        "code_channels",
        "skip",
        "residual",
        "norm",
        "norm_momentum",
    )

    @property
    def _bfloat16_pays(self) -> bool:
        # The moments of a batch are computed in float32, and the casts cost more than the convolutions gain.
        return self.norm == "none"

    @property
    def _least_tensors(self) -> int:
        return len(self.channels)

    def check_parameters(self) -> None:
        """Check every parameter; ``fit`` does it first.

        Raises
        ------
        ValueError
            When a parameter is out of its range, or two contradict each other.
        """
        super().check_parameters()
        check_choice("upsample", self.upsample, UPSAMPLES)
        check_choice("downsample", self.downsample, DOWNSAMPLES)
        check_number("code_channels", self.code_channels, whole=True, optional=True)
        if self.skip and self.downsample == "strided":
            raise ValueError(
                "skip=True joins maps that downsample='strided' does not compute; use downsample='max-pool'"
            )
        check_norm(self.norm, self.norm_momentum, self.checkpoint_dir)
        if not isinstance(self.channels, tuple | list) or not self.channels:
            raise ValueError(f"channels={self.channels!r}; expected a tuple of whole numbers, as (16, 8, 8)")
        for count in self.channels:
            check_number("channels", count, whole=True)
        if self.residual and self._activation is not None:
            raise ValueError(f"residual=True adds to the image itself, which loss={self.loss!r} cannot; use loss='mse'")

    @property
    def _adds_to_input(self) -> bool:
        return self.residual

    @property
    def has_code(self) -> bool:
        """Whether a code alone determines the image: not with ``skip`` or ``residual``."""
        return not (self.skip or self.residual)

    def _check_has_code(self, method: str) -> None:
        if not self.has_code:
            name = "skip" if self.skip else "residual"
            raise ValueError(
                f"{method} needs a code that determines the image, but with {name}=True detail passes beside it; "
                "use reconstruct, or train without skip and residual"
            )

    def _build(self) -> Codec:
        return ConvCodec(
            self.image_shape_,
            tuple(self.channels),
            self.upsample,
            downsample=self.downsample,
            code_channels=self.code_channels,
            skip=self.skip,
            residual=self.residual,
            norm=self.norm,
            norm_momentum=self.norm_momentum,
        )

    def _size_in_words(self) -> str:
        said = f", {'-'.join(map(str, self.channels))} feature maps"
        if self.code_channels is not None:
            said += f" and {self.code_channels} in the code"
        return said if self.norm == "none" else f"{said}, {norm_in_words(self.norm)}"
