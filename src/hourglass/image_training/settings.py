"""Options of a training on images: the estimator with its parameters, the size of the images, the range of numbers."""

import os
from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any

from hourglass.denoising import parse_corruption
from hourglass.denoising.corruption import Corruption
from hourglass.errors import OptionError
from hourglass.estimators import Autoencoder, ConvAutoencoder, DenseAutoencoder, ImageDenoiser
from hourglass.estimators.image_denoiser import read_denoiser
from hourglass.imagefiles import Ranges, parse_range
from hourglass.pretrained import PRETRAINED
from hourglass.training import LOSSES

NETWORKS: dict[str, type[Autoencoder]] = {
    "conv": ConvAutoencoder,
    "dense": DenseAutoencoder,
    "denoiser": ImageDenoiser,
}
"""Every autoencoder that is trained on files, by its name on the command line; one from elsewhere is added by
``NETWORKS["name"] = MyAutoencoder``."""
SCRATCH = "scratch"
# Parameters that a denoiser takes from the model that it begins from.
SIZES = ("widths", "n_blocks")
CROP = 64
N_CROPS = 4096
# A denoiser that begins from weights drawn at random, and one that begins from a trained one: see docs/denoising.md.
_FROM_SCRATCH: dict[str, Any] = {"batch_size": 16, "learning_rate": 0.001, "n_steps": 6000, "precision": "auto"}
_FROM_MODEL: dict[str, Any] = {"batch_size": 16, "learning_rate": 0.0001, "n_steps": 1500, "precision": "auto"}
# Targets may be noisy, and the mean absolute error would find their median.
_NOISY_TARGETS: dict[str, Any] = {"loss": "mse"}
# A denoiser of the kind of the compressing autoencoder. Without clean images to learn from, its loss is noisy: at a
# rate of 0.003, inputs that differ by rounding gave models half a decibel apart, at 0.001 less than a tenth.
_CONV_DENOISER: dict[str, Any] = {"skip": True, "channels": (32, 48, 64), "batch_size": 16, "n_steps": 1500}
_CONV_RATES = {False: 0.003, True: 0.001}
# Parameters of the estimator that are options of their own, and the options.
_OPTIONS = {
    "random_state": "random_state (--seed)",
    "begin_from": "begin_from (--from)",
    "device": "device (--device)",
    "verbose": "verbose (--quiet)",
    "checkpoint_dir": "out (--out)",
    "checkpoint_every": "checkpoint_every (--checkpoint-every)",
}


def configure(
    network: str | None = None,
    *,
    noise: str | float | Corruption | None = None,
    targets: bool = False,
    self_supervised: bool | str = False,
    begin_from: str | os.PathLike[str] | None = None,
    epochs: float | None = None,
    n_steps: int | None = None,
    parameters: Mapping[str, Any] | None = None,
) -> Autoencoder:
    """Return the unfitted estimator that :func:`train_on_images` trains.

    Parameters
    ----------
    network, noise, self_supervised, begin_from, epochs, n_steps, parameters
        As in :func:`train_on_images`.
    targets : bool, default=False
        Whether there are images for the network's output to be compared with.

    Returns
    -------
    Autoencoder
        Unfitted, with its parameters checked.

    Raises
    ------
    OptionError
        When options contradict each other or are out of range.
    """
    denoises = noise is not None or targets or bool(self_supervised)
    if network is None:
        network = "denoiser" if denoises else "conv"
    check_choice("network", network, NETWORKS)
    if noise is not None and self_supervised:
        raise OptionError("self_supervised learns from images that are noisy already; leave noise out")
    if targets and self_supervised:
        raise OptionError("self_supervised learns from the noisy images alone; leave targets out")
    if isinstance(begin_from, os.PathLike):
        begin_from = _folder_as_text(begin_from)
    if network == "denoiser":
        begin_from = "photo" if begin_from is None else begin_from
    elif begin_from not in (None, SCRATCH):
        raise OptionError(
            f"begin_from={begin_from!r} (--from) is a denoiser, and network={network!r} is none; leave it out"
        )
    options: dict[str, Any] = {"epochs": epochs, "n_steps": n_steps, "corruption": _corruption(noise)}
    options |= {"self_supervised": self_supervised or None}
    given = {name: value for name, value in options.items() if value is not None}
    chosen = dict(parameters or {})
    for name in chosen:
        if name in _OPTIONS:
            raise OptionError(f"{name} is not set among the parameters (--set); use {_OPTIONS[name]}")
        if name in given:
            raise OptionError(f"{name} is set twice, by its option and among the parameters (--set); give one of them")
    chosen |= given
    if chosen.get("epochs") is not None and chosen.get("n_steps") is not None:
        raise OptionError("epochs and n_steps both say how long to train; give one of them")
    defaults: dict[str, Any] = {}
    if network == "denoiser":
        defaults = dict(_FROM_SCRATCH if begin_from == SCRATCH else _FROM_MODEL | {"begin_from": begin_from})
        defaults |= _NOISY_TARGETS if targets or self_supervised else {}
    elif network == "conv" and denoises:
        loss = LOSSES.get(chosen.get("loss", "mse"))
        adds = (loss is None or loss.activation is None) and self_supervised not in (True, "noise2self")
        defaults = _CONV_DENOISER | {"residual": adds, "learning_rate": _CONV_RATES[bool(self_supervised)]}
    if defaults.get("begin_from") and (sized := set(SIZES) & chosen.keys()):
        raise OptionError(
            f"{min(sized)} is that of {begin_from}, from which the training begins; leave it out, or begin "
            "from scratch (--from scratch)"
        )
    if chosen.get("epochs"):
        defaults.pop("n_steps", None)
    estimator = NETWORKS[network]()
    try:
        estimator.set_params(**defaults | chosen)
    except ValueError as error:
        raise OptionError(str(error)) from error
    return check(estimator)


def fit_to_model(estimator: Autoencoder, channels: int) -> None:
    """Give a denoiser the size of the model that it begins from, if it begins from one.

    Parameters
    ----------
    estimator : Autoencoder
        Unfitted; its ``widths`` and ``n_blocks`` are changed.
    channels : int
        Channels of the images.

    Raises
    ------
    FileNotFoundError
        When there is no such model.
    ValueError
        When it is no denoiser, or one of images of other channels.
    """
    parameters = estimator.get_params()
    if parameters.get("begin_from") is None:
        return
    _, there, _ = read_denoiser(parameters["begin_from"], channels)
    estimator.set_params(**{name: tuple(there[name]) for name in SIZES})


def check(estimator: Autoencoder) -> Autoencoder:
    """Return an estimator, or raise OptionError where its parameters are out of range."""
    try:
        estimator.check_parameters()
    except ValueError as error:
        raise OptionError(str(error)) from error
    return estimator


def check_halves(estimator: Autoencoder, size: tuple[int, int]) -> None:
    """Raise OptionError where images of a size are too small to be divided into halves, if the method does that."""
    if estimator.method == "neighbor2neighbor" and min(size) < 2:
        raise OptionError(
            f"self_supervised='neighbor2neighbor' divides cells of 2 × 2 pixels, and the images have {size[0]} × "
            f"{size[1]} pixels; take larger ones (--crop, --resize)"
        )


def check_choice(name: str, value: str, choices: Sequence[str] | Mapping[str, object]) -> None:
    """Raise OptionError unless a value is one of the choices."""
    if value not in choices:
        raise OptionError(f"{name}={value!r} is unknown; choose one of {', '.join(choices)}")


def _folder_as_text(folder: os.PathLike[str]) -> str:
    """A path as text that is not taken for the name of a model."""
    text = os.fspath(folder)
    return os.path.join(os.curdir, text) if text in (SCRATCH, *PRETRAINED) else text  # noqa: PTH118 - Path drops "./"


def _corruption(noise: str | float | Corruption | None) -> Corruption | None:
    if not isinstance(noise, str | int | float):
        return noise
    try:
        return parse_corruption(str(noise))
    except ValueError as error:
        raise OptionError(str(error)) from error


def size_of(crop: int | None, resize: tuple[int, int] | None) -> tuple[int, int]:
    """Height and width in pixels of the images to train on."""
    if crop is not None and resize is not None:
        raise OptionError("crop and resize both say what to train on; give one of them")
    size = resize if resize is not None else (CROP if crop is None else crop,) * 2
    if len(size) != 2 or any(not isinstance(side, Integral) or side < 1 for side in size):
        given = f"crop={crop!r}" if resize is None else f"resize={resize!r}"
        raise OptionError(f"{given}; expected whole numbers of pixels above 0, such as crop=64 or resize=(64, 64)")
    return int(size[0]), int(size[1])


def ranges_of(value_range: str | tuple[float, float]) -> tuple[Ranges, str]:
    """How the range of each file is found, and that in words."""
    said = value_range if isinstance(value_range, str) else ",".join(map(str, value_range))
    try:
        return Ranges(parse_range(said)), said
    except ValueError as error:
        raise OptionError(str(error)) from error
