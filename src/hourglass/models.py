"""Fitted estimators to a folder and back."""

import math
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

import hourglass
from hourglass.denoising.corruption import CORRUPTIONS, corruption_from_json, corruption_to_json
from hourglass.estimators import Autoencoder, ConvAutoencoder, ConvClassifier, DenseAutoencoder, NetworkEstimator
from hourglass.estimators.facts import normalisation, ruling_parameters
from hourglass.estimators.fitting import CHECKPOINT_PARAMETERS, describes_network, remember_network
from hourglass.persistence import read_model, write_model
from hourglass.runtime.hardware import resolve_device
from hourglass.training import OPTIMISERS, optimiser_in_words, optimiser_tensors, restore_optimiser

ESTIMATORS: dict[str, type[NetworkEstimator]] = {
    cls.__name__: cls for cls in (ConvAutoencoder, ConvClassifier, DenseAutoencoder)
}

PRETRAINED = ("digits",)
CLASS_WEIGHT = "class-weight"


def save(
    estimator: NetworkEstimator,
    folder: str | os.PathLike[str],
    *,
    notes: Mapping[str, Any] | None = None,
    optimiser: bool = True,
) -> None:
    """Write a fitted estimator to a folder: weights as safetensors, the rest as JSON.

    The optimiser's state goes into a file of its own, ``optimiser.safetensors``, twice as large as the weights. Only
    training on needs it, and the folder may be handed on without it: training then warms up first.

    Parameters
    ----------
    estimator : DenseAutoencoder, ConvAutoencoder or ConvClassifier
        Fitted.
    folder : path-like
        Made where there is none; a model in it is replaced.
    notes : mapping, optional
        Anything of JSON that should stand with the model, such as where its images came from; ``load_model`` gives
        it back as ``notes_``. By default what the estimator carries already.
    optimiser : bool, default=True
        Whether the optimiser's state is written too.

    Raises
    ------
    NotFittedError
        When it has not been fitted.
    ValueError
        When its parameters no longer describe its network.
    TypeError
        When a parameter is an object, such as a callable ``corruption``, that a file cannot hold.
    OSError
        When the folder cannot be written.
    """
    check_is_fitted(estimator, "network_")
    parameters = {
        name: parameter_to_json(name, value)
        for name, value in estimator.get_params().items()
        if name not in CHECKPOINT_PARAMETERS
    }
    fitted = {
        "image_shape": estimator.image_shape_,
        "steps": estimator.n_steps_,
        "train_seconds": getattr(estimator, "train_seconds_", None),
        "precision": estimator.precision_,
        "flat": estimator._flat,
        "pixel_range": estimator.pixel_range_,
        "target_range": getattr(estimator, "_target_range", None),
        "annealed": getattr(estimator, "_annealed", True),
        "dead_units": getattr(estimator, "dead_units_", None),
    }
    if hasattr(estimator, "feature_names_in_"):
        fitted["feature_names"] = estimator.feature_names_in_.tolist()
    if isinstance(estimator, ConvClassifier):
        fitted["classes"] = _labels_to_json(estimator.classes_)
    if not describes_network(estimator):
        raise ValueError("the parameters were changed after fit and describe another network; fit again, then save")
    state = getattr(estimator, "_optimiser", None) if optimiser else None
    write_model(
        folder,
        estimator.network_.state_dict(),
        {
            "estimator": type(estimator).__name__,
            "hourglass": hourglass.__version__,
            "parameters": parameters,
            "fitted": fitted,
            "notes": dict(getattr(estimator, "notes_", {}) if notes is None else notes),
        },
        optimiser=None if state is None else optimiser_tensors(state),
    )


def load_pretrained(name: str = "digits", *, device: str | torch.device = "auto") -> Autoencoder:
    """Read a model that comes in the package.

    Parameters
    ----------
    name : {"digits"}
        ``digits``: a denoiser of handwritten digits; its README.md, beside it, is the model card.
    device : {"auto", "cpu", "cuda"} or torch.device, default="auto"

    Returns
    -------
    DenseAutoencoder or ConvAutoencoder

    Raises
    ------
    ValueError
        When there is none of that name.
    """
    if name not in PRETRAINED:
        raise ValueError(f"pretrained model {name!r} is unknown; choose one of {', '.join(PRETRAINED)}")
    return load_autoencoder(Path(__file__).parent / "pretrained" / name, device=device)


def load_autoencoder(folder: str | os.PathLike[str], *, device: str | torch.device = "auto") -> Autoencoder:
    """Read a fitted autoencoder; ValueError when the folder holds another kind of model."""
    estimator = load_model(folder, device=device)
    if not isinstance(estimator, Autoencoder):
        raise ValueError(f"{os.fspath(folder)} holds a {type(estimator).__name__}; this needs an autoencoder")
    return estimator


def load_model(folder: str | os.PathLike[str], *, device: str | torch.device = "auto") -> NetworkEstimator:
    """Read a fitted estimator from a folder.

    Parameters
    ----------
    folder : path-like
        As :func:`save`, or a run, wrote it.
    device : {"auto", "cpu", "cuda"} or torch.device, default="auto"

    Returns
    -------
    DenseAutoencoder, ConvAutoencoder or ConvClassifier
        Fitted, ready to transform or predict; the record of its training stays with the run.

    Raises
    ------
    FileNotFoundError
        When the folder holds no model.
    ValueError
        When its files are damaged or do not fit together.
    """
    tensors, metadata, optimiser = read_model(folder)
    try:
        parameters = metadata["parameters"]
        if foreign := set(CHECKPOINT_PARAMETERS) & set(parameters):
            raise ValueError(f"{min(foreign)} is of a training, not of a model")
        estimator = ESTIMATORS[metadata["estimator"]](**_values(parameters))
        fitted = metadata["fitted"]
        estimator.image_shape_ = tuple(fitted["image_shape"])
        estimator.n_features_in_ = math.prod(estimator.image_shape_)
        estimator.n_steps_ = fitted["steps"]
        estimator.precision_ = fitted["precision"]
        estimator._flat = fitted.get("flat", False)
        low, high = fitted.get("pixel_range", (0, 1))
        estimator.pixel_range_ = low, high
        if fitted.get("target_range") is not None:
            low, high = fitted["target_range"]
            estimator._target_range = float(low), float(high)
        estimator._annealed = fitted.get("annealed", True)
        remember_network(estimator)
        if fitted.get("dead_units") is not None:
            estimator.dead_units_ = {name: (dead, units) for name, (dead, units) in fitted["dead_units"].items()}
        if fitted.get("train_seconds") is not None:
            estimator.train_seconds_ = fitted["train_seconds"]
        estimator.notes_ = metadata.get("notes", {})
        if "feature_names" in fitted:
            estimator.feature_names_in_ = np.array(fitted["feature_names"], dtype=object)
        if isinstance(estimator, ConvClassifier):
            estimator.classes_ = _labels_from_json(fitted["classes"])
        _check_size(estimator, tensors)
        with torch.device("meta"):
            network = estimator._build()
        network.load_state_dict(tensors, assign=True)
    except (KeyError, TypeError, RuntimeError, ValueError, AttributeError, OverflowError) as error:
        raise ValueError(f"{os.fspath(folder)}: the model's files do not fit together ({error})") from error
    place = resolve_device(device)
    estimator.device_ = str(place)
    on_device: Any = network.to(place)  # torch's types know of no memory format
    estimator.network_ = on_device.to(memory_format=torch.channels_last).eval()
    if optimiser is not None:
        _restore_optimiser(estimator, optimiser, folder)
    return estimator


def _restore_optimiser(
    estimator: NetworkEstimator, tensors: Mapping[str, torch.Tensor], folder: str | os.PathLike[str]
) -> None:
    """Give the estimator the optimiser that trained its network; a state that does not fit is left, with a warning."""
    optimiser = OPTIMISERS[estimator.optimiser](estimator.network_.parameters(), estimator.learning_rate)
    try:
        restore_optimiser(optimiser, tensors)
    except (KeyError, ValueError, RuntimeError, TypeError) as error:
        warnings.warn(
            f"{os.fspath(folder)}: the optimiser's state does not fit the model ({error}); training on will warm up",
            stacklevel=3,
        )
        return
    estimator._optimiser = optimiser


def _check_size(estimator: NetworkEstimator, tensors: Mapping[str, Any]) -> None:
    """Raise ValueError where a network would be built that the tensors cannot be of, before it takes time or memory."""
    estimator.check_parameters()
    shape = estimator.image_shape_
    if len(shape) != 3 or any(type(length) is not int or length < 1 for length in shape) or math.prod(shape) > 2**31:
        raise ValueError(f"image_shape is {shape}")
    layers = getattr(estimator, "depth", None) or len(getattr(estimator, "channels", ()))
    if layers > len(tensors):
        raise ValueError(f"{layers} layers but {len(tensors)} tensors")


def describe(estimator: NetworkEstimator) -> dict[str, Any]:
    """What a fitted estimator is and how it was trained, for people.

    Returns
    -------
    dict
        Among others ``model``, ``images``, ``weights``, ``steps``; ``normalisation`` and ``optimiser`` with their
        constants; ``parameters``, all that ruled the training, defaults too.
    """
    check_is_fitted(estimator, "network_")
    facts: dict[str, Any] = {
        "model": type(estimator).__name__,
        "images": " × ".join(map(str, estimator.image_shape_)) + " (height × width × channels)",
        "weights": sum(weight.numel() for weight in estimator.network_.parameters()),
        "steps": estimator.n_steps_,
    }
    if hasattr(estimator, "train_seconds_"):
        facts["train_seconds"] = round(estimator.train_seconds_, 1)
    if isinstance(estimator, Autoencoder):
        facts["code_size"] = estimator.network_.code_size if estimator.has_code else "none (skip or residual)"
        facts["any_size"] = isinstance(estimator, ConvAutoencoder)
        facts["pixels"] = "trained on {:g} to {:g}".format(*estimator.pixel_range_)
        facts["output"] = "in [0, 1]" if estimator.loss == "bce" or estimator.undo_clipping else "unbounded"
    if isinstance(estimator, ConvClassifier):
        facts["classes"] = _labels_to_json(estimator.classes_)["values"]
    if dead := getattr(estimator, "dead_units_", None):
        facts["dead_units"] = _dead_in_words(dead)
    facts["normalisation"] = normalisation(estimator.network_)
    facts["optimiser"] = optimiser_in_words(estimator.optimiser)
    facts["parameters"] = {
        name: corruption_to_json(value) if type(value) in CORRUPTIONS.values() else value
        for name, value in ruling_parameters(estimator).items()
    }
    notes = getattr(estimator, "notes_", {})
    return facts | ({"notes": notes} if notes else {})


def _dead_in_words(dead: Mapping[str, tuple[int, int]]) -> str:
    """How many units give 0 for every image, of all and by layer."""
    total = f"{sum(count for count, _ in dead.values())} of {sum(units for _, units in dead.values())}"
    layers = ", ".join(f"{name}: {count} of {units}" for name, (count, units) in dead.items() if count)
    return f"{total} ({layers})" if layers else total


def parameter_to_json(name: str, value: Any) -> Any:
    """A parameter of an estimator as JSON holds it.

    Parameters
    ----------
    name : str
    value : object
        Numbers of NumPy's, corruptions, devices and weights of classes are taken too.

    Raises
    ------
    TypeError
        When it is another object, such as a callable ``corruption``.
    """
    value = _plain(value)
    if isinstance(value, torch.device):
        return str(value)
    if name == "class_weight" and isinstance(value, Mapping):
        labels = _labels_to_json(np.array(list(value)))
        return {"kind": CLASS_WEIGHT, "labels": labels, "weights": [float(weight) for weight in value.values()]}
    if type(value) in CORRUPTIONS.values():
        return corruption_to_json(value)
    if not isinstance(value, bool | int | float | str | tuple | list | None):
        raise TypeError(
            f"{name}={value!r} cannot be written to a file; set it to None on the fitted estimator "
            f"(set_params({name}=None)) where it is needed for training only"
        )
    return value


def _plain(value: Any) -> Any:
    """A parameter with Python's own numbers for NumPy's."""
    if isinstance(value, list | tuple):
        return type(value)(_plain(item) for item in value)
    return value.item() if isinstance(value, np.generic) else value


def _values(parameters: dict[str, Any]) -> dict[str, Any]:
    """Parameters as they were before JSON: tuples for lists, corruptions and weights of classes for their records."""

    def restored(value: Any) -> Any:
        if isinstance(value, dict) and value.get("kind") == CLASS_WEIGHT:
            return dict(zip(_labels_from_json(value["labels"]).tolist(), value["weights"], strict=True))
        if isinstance(value, dict):
            return corruption_from_json(value)
        return tuple(value) if isinstance(value, list) else value

    return {name: restored(value) for name, value in parameters.items()}


def _labels_to_json(labels: NDArray[Any]) -> dict[str, Any]:
    """Labels with their dtype; dates, times and bytes as text."""
    kind = labels.dtype.kind
    values = labels.astype(str).tolist() if kind in "mMS" else labels.tolist()
    if kind == "m":
        values = labels.astype(np.int64).tolist()
    return {"dtype": labels.dtype.str, "values": values}


def _labels_from_json(document: Any) -> NDArray[Any]:
    """Labels that :func:`_labels_to_json` wrote, or a plain list of them, as files had it before."""
    if isinstance(document, list):
        return np.array(document)
    return np.array(document["values"], dtype=np.dtype(document["dtype"]))
