"""Options of a training on images: the estimator with its parameters, the size of the images, the range of numbers."""

from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any

from hourglass.denoising import parse_corruption
from hourglass.denoising.corruption import Corruption
from hourglass.errors import OptionError
from hourglass.estimators import Autoencoder, ConvAutoencoder, DenseAutoencoder
from hourglass.imagefiles import Ranges, parse_range
from hourglass.training import LOSSES

NETWORKS: dict[str, type[Autoencoder]] = {"conv": ConvAutoencoder, "dense": DenseAutoencoder}
"""Every autoencoder that is trained on files, by its name on the command line; one from elsewhere is added by
``NETWORKS["name"] = MyAutoencoder``."""
CROP = 64
# What a denoiser of photographs needs: see docs/denoising.md.
_DENOISER: dict[str, Any] = {"skip": True, "channels": (32, 48, 64), "batch_size": 16, "learning_rate": 0.003}
_DENOISER_STEPS = 1500
# Without clean images, what is added to the noisy image would keep its noise. The loss is noisy too: at a rate of
# 0.003, inputs that differ by rounding gave models half a decibel apart, at 0.001 less than a tenth.
_WITHOUT_CLEAN_IMAGES: dict[str, Any] = {"residual": False, "learning_rate": 0.001}
# Parameters of the estimator that are options of their own, and the options.
_OPTIONS = {
    "random_state": "random_state (--seed)",
    "device": "device (--device)",
    "verbose": "verbose (--quiet)",
    "checkpoint_dir": "out (--out)",
    "checkpoint_every": "checkpoint_every (--checkpoint-every)",
}


def configure(
    network: str = "conv",
    *,
    noise: str | float | Corruption | None = None,
    self_supervised: bool = False,
    epochs: float | None = None,
    n_steps: int | None = None,
    parameters: Mapping[str, Any] | None = None,
) -> Autoencoder:
    """Return the unfitted estimator that :func:`train_on_images` trains.

    Parameters
    ----------
    network, noise, self_supervised, epochs, n_steps, parameters
        As in :func:`train_on_images`.

    Returns
    -------
    DenseAutoencoder or ConvAutoencoder
        Unfitted, with its parameters checked.

    Raises
    ------
    OptionError
        When options contradict each other or are out of range.
    """
    check_choice("network", network, NETWORKS)
    if noise is not None and self_supervised:
        raise OptionError("self_supervised learns from images that are noisy already; leave noise out")
    options = {"epochs": epochs, "n_steps": n_steps, "corruption": _corruption(noise)}
    options |= {"self_supervised": True if self_supervised else None}
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
    if network == "conv" and (noise is not None or self_supervised):
        loss = LOSSES.get(chosen.get("loss", "mse"))
        found = {"residual": loss is None or loss.activation is None}
        if self_supervised:
            found = _WITHOUT_CLEAN_IMAGES
        steps = {"n_steps": None if chosen.get("epochs") else _DENOISER_STEPS}
        chosen = _DENOISER | found | steps | chosen
    estimator = NETWORKS[network]()
    try:
        estimator.set_params(**chosen)
    except ValueError as error:
        raise OptionError(str(error)) from error
    return check(estimator)


def check(estimator: Autoencoder) -> Autoencoder:
    """Return an estimator, or raise OptionError where its parameters are out of range."""
    try:
        estimator.check_parameters()
    except ValueError as error:
        raise OptionError(str(error)) from error
    return estimator


def check_choice(name: str, value: str, choices: Sequence[str] | Mapping[str, object]) -> None:
    """Raise OptionError unless a value is one of the choices."""
    if value not in choices:
        raise OptionError(f"{name}={value!r} is unknown; choose one of {', '.join(choices)}")


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
