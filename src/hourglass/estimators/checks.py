"""What estimators check: parameters before training, the network after it."""

import math
import warnings
from collections.abc import Callable, Iterable, Mapping
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

from hourglass.denoising.corruption import GaussianNoise, Strength
from hourglass.nn.norms import HOW_TO_NAME, NormFactory, check_known, norm_name

Corrupt = Callable[[Tensor, torch.Generator], Tensor]

# A largest pixel above it comes of images that were not scaled to [0, 1].
_BYTES_FROM = 50
# Images whose largest pixel is so many times smaller than in training were divided by 255 or more.
_SCALED_DOWN = 200


def check_number(name: str, value: Any, *, whole: bool = False, optional: bool = False) -> None:
    """Raise ValueError unless a parameter is a number above 0, or None where that is admitted."""
    if value is None and optional:
        return
    kind: Any = Integral if whole else Real
    # A bool is an int to Python, not to people.
    if isinstance(value, bool) or not isinstance(value, kind) or not 0 < value < math.inf:
        what = "a whole number" if whole else "a number"
        raise ValueError(f"{name}={value!r}; expected {what} above 0{' or None' if optional else ''}")


def check_choice(name: str, value: object, choices: Iterable[str]) -> None:
    """Raise ValueError unless a parameter is one of the choices."""
    if value not in (choices := list(choices)):
        raise ValueError(f"{name}={value!r} is unknown; choose one of {', '.join(choices)}")


def check_shape(name: str, value: object) -> None:
    """Raise ValueError unless a parameter is the shape of an image, or None."""
    if value is None:
        return
    if not isinstance(value, tuple | list) or len(value) != 3:
        raise ValueError(f"{name}={value!r}; expected (height, width, channels)")
    for length in value:
        check_number(name, length, whole=True)


def check_norm(norm: str | NormFactory, momentum: float, checkpoint_dir: object) -> None:
    """Raise ValueError unless a normalisation is known, its momentum a share, and checkpoints can name it."""
    check_known(norm)
    if checkpoint_dir is not None and not isinstance(norm, str):
        raise ValueError(
            f"norm={norm_name(norm)} with checkpoint_dir; a checkpoint stores names and cannot tell whether the "
            f"program of a class is still the same; {HOW_TO_NAME}"
        )
    check_number("norm_momentum", momentum)
    if momentum > 1:
        raise ValueError(f"norm_momentum={momentum!r}; expected the share of the new batch, at most 1")


def corruption_of(noise: Strength | None, corruption: Corrupt | None) -> Corrupt | None:
    """Corruption that the parameters ``noise`` and ``corruption`` describe; raises ValueError unless they describe one.

    Both None describe no corruption, which is None.
    """
    if corruption is None:
        if noise is None:
            return None
        try:
            return GaussianNoise(noise)
        except ValueError as error:
            raise ValueError(
                f"noise={noise!r}; expected a level above 0, a pair of them or None; a corruption of another kind is "
                "given as corruption"
            ) from error
    if noise is not None:
        raise ValueError(
            f"noise={noise!r} with corruption={corruption!r}; noise is short for corruption=GaussianNoise(noise), "
            "leave one of them out"
        )
    if not callable(corruption):
        raise ValueError(
            f"corruption={corruption!r}; expected a corruption of hourglass.denoising, another callable or None; "
            "a level is given as noise"
        )
    return corruption


def check_classes(labels: NDArray[Any]) -> NDArray[Any]:
    """Each label once, in order, of which there are several and which a file can hold; raises ValueError where not."""
    try:
        classes = np.unique(labels)
    except TypeError as error:
        kinds = ", ".join(sorted({type(label).__name__ for label in labels.tolist()}))
        raise ValueError(f"y mixes labels of types {kinds}, which have no order; make them all text") from error
    if len(classes) < 2:
        raise ValueError(f"y holds one class only ({classes[0]!r}); a classifier needs two or more")
    plain = classes.dtype.kind in "biufUSmM" or all(type(label) in (str, int, float, bool) for label in classes)
    if not plain:
        kinds = ", ".join(sorted({type(label).__name__ for label in classes.tolist()}))
        raise ValueError(f"y holds labels of type {kinds}; expected numbers, text, booleans, dates or times")
    return classes


def check_class_weight(value: Any) -> None:
    """Raise ValueError unless a parameter is None, ``"balanced"`` or weights of at least 0 by label."""
    if value is None or (isinstance(value, str) and value == "balanced"):
        return
    if not isinstance(value, Mapping):
        raise ValueError(f"class_weight={value!r}; expected a dictionary of weights by label, 'balanced' or None")
    for label, weight in value.items():
        if isinstance(weight, bool) or not isinstance(weight, Real) or not 0 <= float(weight) < math.inf:
            raise ValueError(f"class_weight has {weight!r} for {label!r}; expected a number of at least 0")


def check_random_state(value: Any) -> None:
    """Raise ValueError unless a parameter seeds a ``numpy.random.RandomState``."""
    if value is None or isinstance(value, np.random.RandomState):
        return
    if isinstance(value, bool) or not isinstance(value, Integral) or not 0 <= int(value) < 2**32:
        raise ValueError(f"random_state={value!r}; expected a whole number from 0, a numpy.random.RandomState or None")


def pixel_width(known: tuple[float, float]) -> float:
    """Width of the range of the training images, at least 1."""
    return max(known[1] - known[0], 1.0)


def accepted_range(known: tuple[float, float]) -> tuple[float, float]:
    """Range of the pixels that a model accepts: noise exceeds the range of its training images by at most its width."""
    room = pixel_width(known)
    return known[0] - room, known[1] + room


def check_pixel_range(low: float, high: float, known: tuple[float, float], *, name: str) -> None:
    """Raise ValueError where pixels from ``low`` to ``high`` are on another scale than those of training."""
    accepted = accepted_range(known)
    if low < accepted[0] or high > accepted[1]:
        bytes_ = known[0] >= -1 and known[1] <= 2 < high <= 255
        raise ValueError(
            f"{name} spans [{low:g}, {high:g}], but the model was trained on pixels in [{known[0]:g}, {known[1]:g}]; "
            + ("divide the images by 255" if bytes_ else "bring the images to that scale")
        )


def check_bytes_fit(known: tuple[float, float]) -> None:
    """Raise ValueError where bytes, which are scaled to [0, 1], are not on the scale of training."""
    if known[0] < -1 or known[1] > 2:
        raise ValueError(
            f"X holds bytes, which are scaled to [0, 1], but the model was trained on pixels in "
            f"[{known[0]:g}, {known[1]:g}]; give them as floating-point numbers on that scale, as X.astype('float32')"
        )


def warn_if_scaled_down(images: NDArray[Any], known: tuple[float, float]) -> None:
    """Warn where images are given as fractions, or as bytes, to a model that was trained on much larger numbers."""
    if known[1] > _BYTES_FROM and images.size and images.min() >= 0 and 0 < images.max() <= known[1] / _SCALED_DOWN:
        warnings.warn(
            f"X spans [{images.min():g}, {images.max():g}], and the model was trained on pixels in "
            f"[{known[0]:g}, {known[1]:g}]: have the images been scaled down?",
            stacklevel=3,
        )


def warn_if_dead(network: Any, x: Tensor) -> None:
    """Warn where every image has the same output: then all units of some layer are off, and nothing can be learnt."""
    rows = x[:64]
    if len(rows) < 2 or bool((rows == rows[:1]).all()):
        return
    with torch.inference_mode():
        output = network(rows)
    if bool((output == output[:1]).all()):
        warnings.warn(
            "the network gives the same output for every image: all units of a layer are off (dead ReLUs, counted by "
            "layer in dead_units_); "
            "try a smaller learning_rate or another random_state",
            ConvergenceWarning,
            stacklevel=4,
        )
