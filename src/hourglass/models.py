"""Fitted estimators to a folder and back."""

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted

import hourglass
from hourglass.data.corruption import CORRUPTIONS, corruption_from_json, corruption_to_json
from hourglass.estimators import Autoencoder, ConvAutoencoder, ConvClassifier, DenseAutoencoder, NetworkEstimator
from hourglass.estimators.base import CHECKPOINT_PARAMETERS
from hourglass.estimators.facts import normalisation, optimiser_in_words, ruling_parameters
from hourglass.persistence import read_model, write_model

ESTIMATORS: dict[str, type[NetworkEstimator]] = {
    cls.__name__: cls for cls in (ConvAutoencoder, ConvClassifier, DenseAutoencoder)
}

PRETRAINED = ("digits",)


def save(
    estimator: NetworkEstimator, folder: str | os.PathLike[str], *, notes: Mapping[str, Any] | None = None
) -> None:
    """Write a fitted estimator to a folder: weights as safetensors, the rest as JSON.

    Parameters
    ----------
    estimator : DenseAutoencoder, ConvAutoencoder or ConvClassifier
        Fitted.
    folder : path-like
        Made where there is none; a model in it is replaced.
    notes : mapping, optional
        Anything of JSON that should stand with the model, such as where its images came from; ``load_model`` gives
        it back as ``notes_``. By default what the estimator carries already.

    Raises
    ------
    NotFittedError
        When it has not been fitted.
    ValueError
        When its parameters no longer describe its network.
    TypeError
        When a parameter is an object, such as a callable ``noise``, that a file cannot hold.
    OSError
        When the folder cannot be written.
    """
    check_is_fitted(estimator, "network_")
    parameters = {}
    for name, value in estimator.get_params().items():
        if name in CHECKPOINT_PARAMETERS:
            continue
        value = _plain(value)
        if type(value) in CORRUPTIONS.values():
            value = corruption_to_json(value)
        if not isinstance(value, bool | int | float | str | tuple | list | dict | None):
            raise TypeError(
                f"{name}={value!r} cannot be written to a file; set it to None on the fitted estimator "
                f"(set_params({name}=None)) where it is needed for training only"
            )
        parameters[name] = value
    fitted = {
        "image_shape": estimator.image_shape_,
        "updates": estimator.n_updates_,
        "train_seconds": getattr(estimator, "train_seconds_", None),
        "precision": estimator.precision_,
        "flat": estimator._flat,
        "pixel_range": estimator.pixel_range_,
    }
    if hasattr(estimator, "feature_names_in_"):
        fitted["feature_names"] = estimator.feature_names_in_.tolist()
    if isinstance(estimator, ConvClassifier):
        fitted["classes"] = estimator.classes_.tolist()
    tensors = estimator.network_.state_dict()
    with torch.device("meta"):
        wanted = estimator._build().state_dict()
    if {name: tensor.shape for name, tensor in wanted.items()} != {name: t.shape for name, t in tensors.items()}:
        raise ValueError("the parameters were changed after fit and describe another network; fit again, then save")
    write_model(
        folder,
        tensors,
        {
            "estimator": type(estimator).__name__,
            "hourglass": hourglass.__version__,
            "parameters": parameters,
            "fitted": fitted,
            "notes": dict(getattr(estimator, "notes_", {}) if notes is None else notes),
        },
    )


def load_pretrained(name: str = "digits", *, device: str = "auto") -> Autoencoder:
    """Read a model that comes in the package.

    Parameters
    ----------
    name : {"digits"}
        ``digits``: a denoiser of handwritten digits; its README.md, beside it, is the model card.
    device : {"auto", "cpu", "cuda"}, default="auto"

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


def load_autoencoder(folder: str | os.PathLike[str], *, device: str = "auto") -> Autoencoder:
    """Read a fitted autoencoder; ValueError when the folder holds another kind of model."""
    estimator = load_model(folder, device=device)
    if not isinstance(estimator, Autoencoder):
        raise ValueError(f"{os.fspath(folder)} holds a {type(estimator).__name__}; this needs an autoencoder")
    return estimator


def load_model(folder: str | os.PathLike[str], *, device: str = "auto") -> NetworkEstimator:
    """Read a fitted estimator from a folder.

    Parameters
    ----------
    folder : path-like
        As :func:`save`, or a run, wrote it.
    device : {"auto", "cpu", "cuda"}, default="auto"

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
    from hourglass.training import resolve_device

    tensors, metadata = read_model(folder)
    try:
        if foreign := set(CHECKPOINT_PARAMETERS) & set(metadata["parameters"]):
            raise ValueError(f"{min(foreign)} is of a training, not of a model")
        estimator = ESTIMATORS[metadata["estimator"]](**_values(metadata["parameters"]))
        fitted = metadata["fitted"]
        estimator.image_shape_ = tuple(fitted["image_shape"])
        estimator.n_features_in_ = math.prod(estimator.image_shape_)
        estimator.n_updates_ = fitted["updates"]
        estimator.precision_ = fitted["precision"]
        estimator._flat = fitted.get("flat", False)
        low, high = fitted.get("pixel_range", (0, 1))
        estimator.pixel_range_ = low, high
        if fitted.get("train_seconds") is not None:
            estimator.train_seconds_ = fitted["train_seconds"]
        estimator.notes_ = metadata.get("notes", {})
        if "feature_names" in fitted:
            estimator.feature_names_in_ = np.array(fitted["feature_names"], dtype=object)
        if isinstance(estimator, ConvClassifier):
            estimator.classes_ = np.array(fitted["classes"])
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
    return estimator


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
        Among others ``model``, ``images``, ``weights``, ``updates``; ``normalisation`` and ``optimiser`` with their
        constants; ``parameters``, all that ruled the training, defaults too.
    """
    check_is_fitted(estimator, "network_")
    facts: dict[str, Any] = {
        "model": type(estimator).__name__,
        "images": " × ".join(map(str, estimator.image_shape_)) + " (height × width × channels)",
        "weights": sum(weight.numel() for weight in estimator.network_.parameters()),
        "updates": estimator.n_updates_,
    }
    if hasattr(estimator, "train_seconds_"):
        facts["train_seconds"] = round(estimator.train_seconds_, 1)
    if isinstance(estimator, Autoencoder):
        facts["code_size"] = estimator.network_.code_size if estimator.has_code else "none (skip or residual)"
        facts["any_size"] = isinstance(estimator, ConvAutoencoder)
        facts["pixels"] = "trained on {:g} to {:g}".format(*estimator.pixel_range_)
        facts["output"] = "in [0, 1]" if estimator.loss == "bce" or estimator.undo_clipping else "unbounded"
    if isinstance(estimator, ConvClassifier):
        facts["classes"] = estimator.classes_.tolist()
    facts["normalisation"] = normalisation(estimator.network_)
    facts["optimiser"] = optimiser_in_words(estimator.optimiser)
    facts["parameters"] = {
        name: corruption_to_json(value) if type(value) in CORRUPTIONS.values() else value
        for name, value in ruling_parameters(estimator).items()
    }
    notes = getattr(estimator, "notes_", {})
    return facts | ({"notes": notes} if notes else {})


def _plain(value: Any) -> Any:
    """A parameter with Python's own numbers for NumPy's."""
    if isinstance(value, list | tuple):
        return type(value)(_plain(item) for item in value)
    return value.item() if isinstance(value, np.generic) else value


def _values(parameters: dict[str, Any]) -> dict[str, Any]:
    """Undo what JSON did: lists for tuples, and a corruption's kind and strength for itself."""
    return {
        name: tuple(value)
        if isinstance(value, list)
        else corruption_from_json(value)
        if isinstance(value, dict)
        else value
        for name, value in parameters.items()
    }
