"""Fitted estimators to a folder and back."""

import math
import os
from typing import Any

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted

import hourglass
from hourglass.data.corruption import CORRUPTIONS, corruption_from_json, corruption_to_json
from hourglass.estimators import ConvAutoencoder, ConvClassifier, DenseAutoencoder, NetworkEstimator
from hourglass.persistence import read_model, write_model

ESTIMATORS: dict[str, type[NetworkEstimator]] = {
    cls.__name__: cls for cls in (ConvAutoencoder, ConvClassifier, DenseAutoencoder)
}


def save(estimator: NetworkEstimator, folder: str | os.PathLike[str]) -> None:
    """Write a fitted estimator to a folder: weights as safetensors, the rest as JSON.

    Parameters
    ----------
    estimator : DenseAutoencoder, ConvAutoencoder or ConvClassifier
        Fitted.
    folder : path-like
        Made where there is none; a model in it is replaced.

    Raises
    ------
    NotFittedError
        When it has not been fitted.
    TypeError
        When a parameter is an object, such as a callable ``noise``, that a file cannot hold.
    OSError
        When the folder cannot be written.
    """
    check_is_fitted(estimator, "network_")
    parameters = {}
    for name, value in estimator.get_params().items():
        if isinstance(value, np.generic):
            value = value.item()  # the same number as Python's own
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
        "precision": estimator.precision_,
        "flat": estimator._flat,
    }
    if hasattr(estimator, "feature_names_in_"):
        fitted["feature_names"] = estimator.feature_names_in_.tolist()
    if isinstance(estimator, ConvClassifier):
        fitted["classes"] = estimator.classes_.tolist()
    write_model(
        folder,
        estimator.network_.state_dict(),
        {
            "estimator": type(estimator).__name__,
            "hourglass": hourglass.__version__,
            "parameters": parameters,
            "fitted": fitted,
        },
    )


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
        estimator = ESTIMATORS[metadata["estimator"]](**_values(metadata["parameters"]))
        fitted = metadata["fitted"]
        estimator.image_shape_ = tuple(fitted["image_shape"])
        estimator.n_features_in_ = math.prod(estimator.image_shape_)
        estimator.n_updates_ = fitted["updates"]
        estimator.precision_ = fitted["precision"]
        estimator._flat = fitted.get("flat", False)
        if "feature_names" in fitted:
            estimator.feature_names_in_ = np.array(fitted["feature_names"], dtype=object)
        if isinstance(estimator, ConvClassifier):
            estimator.classes_ = np.array(fitted["classes"])
        with torch.device("meta"):
            network = estimator._build()
        network.load_state_dict(tensors, assign=True)
    except (KeyError, TypeError, RuntimeError) as error:
        raise ValueError(f"{os.fspath(folder)}: the model's files do not fit together ({error})") from error
    place = resolve_device(device)
    estimator.device_ = str(place)
    estimator.network_ = network.to(place).eval()
    return estimator


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
