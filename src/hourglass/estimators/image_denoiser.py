"""The denoiser of images with scikit-learn's interface."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from hourglass.estimators.checks import check_number
from hourglass.estimators.level_aware import LevelAwareDenoiser
from hourglass.nn import RestorationNet
from hourglass.persistence import read_model
from hourglass.pretrained import PRETRAINED, folder_of, names_of


@dataclass(kw_only=True, eq=False, repr=False)
class ImageDenoiser(LevelAwareDenoiser):
    """Denoiser of photographs and other images of any size, told the level of the noise or not.

    The network is :class:`hourglass.nn.RestorationNet`. It learns from clean images, to which noise is added, or from
    pairs of images: noisy ones as ``X``, and as ``y`` clean ones, or noisy ones of the same scene (Lehtinen et al.,
    "Noise2Noise", ICML 2018). Noisy targets need ``loss="mse"``, since the mean of the noise is zero and its median
    need not be. Without ``noise`` and ``corruption``, images that are their own targets get normal noise of any level
    up to 55/255, which is not clipped, and images with targets stay as they are.

    The network adds to its input, so that ``loss="bce"`` and ``self_supervised="noise2self"`` are refused, and the
    untrained network returns its input whatever ``output_bias`` is.

    Parameters
    ----------
    widths : tuple of three int, default=(64, 96, 128)
        Feature maps at a half, a quarter and an eighth of the resolution.
    n_blocks : tuple of three int, default=(1, 1, 2)
        Residual blocks at each scale; the first two numbers count twice, on the way down and on the way up.
    begin_from : str, optional
        Name of a denoiser in the package, or folder of an ``ImageDenoiser``, with whose weights the training begins.
        ``"photo"`` is ``"photo-grey"`` for grey images. It has to have the same ``widths`` and ``n_blocks``. By default
        the network begins as one that returns its input.
    loss : {"mse", "mae", "bce"}, default="mae"
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
    batch_size : int, default=32
        Images in a batch; all of them where there are fewer.
    learning_rate : float, default=0.001
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
    >>> import numpy as np
    >>> import hourglass as hg
    >>> photo = hg.load_pretrained("photo")
    >>> noisy = np.full((1, 40, 60, 3), 0.5) + np.random.default_rng(0).normal(0, 0.1, (1, 40, 60, 3))
    >>> restored = photo.reconstruct(noisy, noise_level=0.1)
    >>> restored.shape, bool(np.std(restored) < 0.02)
    ((1, 40, 60, 3), True)
    """

    widths: tuple[int, int, int] = (64, 96, 128)
    n_blocks: tuple[int, int, int] = (1, 1, 2)
    begin_from: str | None = None
    loss: str = "mae"
    batch_size: int = 32
    learning_rate: float = 0.001

    _network_parameters = ("widths", "n_blocks")

    def check_parameters(self) -> None:
        """Check every parameter; ``fit`` does it first.

        Raises
        ------
        ValueError
            When a parameter is out of its range, or two contradict each other.
        """
        super().check_parameters()
        if not isinstance(self.begin_from, str | None):
            raise ValueError(
                f"begin_from={self.begin_from!r}; expected the name of a model or a folder as text, or None"
            )
        for name in ("widths", "n_blocks"):
            value = getattr(self, name)
            if not isinstance(value, tuple | list) or len(value) != 3:
                raise ValueError(f"{name}={value!r}; expected three whole numbers, one for each scale")
            for count in value:
                check_number(name, count, whole=True)

    @property
    def title(self) -> str:
        """Line that says what kind of network is trained, and its size."""
        return f"Denoiser of images, {'-'.join(map(str, self.widths))} feature maps"

    def _network(self, seed: int) -> Any:
        network = super()._network(seed)
        if self.begin_from is not None:
            weights, parameters, _ = read_denoiser(self.begin_from, self.image_shape_[2])
            mine = {"widths": list(self.widths), "n_blocks": list(self.n_blocks)}
            theirs = {name: parameters.get(name) for name in mine}
            if mine != theirs:
                needed = ", ".join(f"{name}={tuple(value or ())}" for name, value in theirs.items())
                raise ValueError(f"begin_from={self.begin_from!r} is a network of another size; set {needed}")
            try:
                network.load_state_dict(weights)
            except RuntimeError as error:
                raise ValueError(f"{self.begin_from}: the model's files do not fit together ({error})") from error
        return network

    def _identity(self) -> dict[str, str]:
        """What checkpoints note of the model that the training begins from, whose name or folder may get another."""
        if self.begin_from is None:
            return {}
        return {"begin_from_sha256": read_denoiser(self.begin_from, self.image_shape_[2])[2]}

    def _build(self) -> RestorationNet:
        return RestorationNet(self.image_shape_[2], tuple(self.widths), tuple(self.n_blocks))


def read_denoiser(model: str, channels: int) -> tuple[dict[str, Tensor], dict[str, Any], str]:
    """Read the weights and parameters of a saved ``ImageDenoiser``.

    Parameters
    ----------
    model : str
        Name of a model in the package, or a folder.
    channels : {1, 3}
        Channels of the images to denoise.

    Returns
    -------
    weights : dict of str to torch.Tensor
        Weights by name, float32.
    parameters : dict
        Parameters of the estimator, as JSON holds them.
    checksum : str
        SHA-256 of the file of the weights.

    Raises
    ------
    FileNotFoundError
        When there is no such model.
    ValueError
        When it is another kind of model, is damaged, or is for images of other channels.
    """
    folders = [folder_of(name) for name in names_of(model)] if model in PRETRAINED else [Path(model)]
    for folder in folders:
        tensors, metadata, _ = read_model(folder)
        try:
            kind, its_channels = metadata["estimator"], metadata["fitted"]["image_shape"][2]
            parameters, checksum = dict(metadata["parameters"]), str(metadata["sha256"])
            if kind == ImageDenoiser.__name__:
                parameters |= {name: list(parameters[name]) for name in ImageDenoiser._network_parameters}
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise ValueError(f"{folder}: the model's files do not fit together ({error!r})") from error
        if kind != ImageDenoiser.__name__:
            raise ValueError(f"{model} is a {kind}; a denoiser can begin from an ImageDenoiser")
        if its_channels == channels:
            return {name: tensor.float() for name, tensor in tensors.items()}, parameters, checksum
    raise ValueError(f"{model} is for images of other channels, and these have {channels}; begin from another model")
