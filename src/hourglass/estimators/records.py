"""Parameters and labels as JSON holds them, and back."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hourglass.denoising.corruption import CORRUPTIONS
from hourglass.denoising.notation import corruption_from_json, corruption_to_json
from hourglass.nn.norms import HOW_TO_NAME, norm_name

CLASS_WEIGHT = "class-weight"


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
        When it is another object, such as a callable ``corruption`` or ``norm``.
    """
    if name == "norm" and callable(value):
        raise TypeError(
            f"norm={norm_name(value)} cannot be written to a file, which stores names and no program; {HOW_TO_NAME} "
            "before fit, or write the weights alone: torch.save(estimator.network_.state_dict(), path)"
        )
    value = _plain(value)
    if isinstance(value, torch.device):
        return str(value)
    if name == "class_weight" and isinstance(value, Mapping):
        labels = labels_to_json(np.array(list(value)))
        return {"kind": CLASS_WEIGHT, "labels": labels, "weights": [float(weight) for weight in value.values()]}
    if type(value) in CORRUPTIONS.values():
        return corruption_to_json(value)
    if not isinstance(value, bool | int | float | str | tuple | list | None):
        raise TypeError(
            f"{name}={value!r} cannot be written to a file; set it to None on the fitted estimator "
            f"(set_params({name}=None)) where it is needed for training only"
        )
    return value


def parameters_from_json(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters as they were before JSON: tuples for lists, corruptions and weights of classes for their records."""

    def restored(value: Any) -> Any:
        if isinstance(value, dict) and value.get("kind") == CLASS_WEIGHT:
            return dict(zip(labels_from_json(value["labels"]).tolist(), value["weights"], strict=True))
        if isinstance(value, dict):
            return corruption_from_json(value)
        return tuple(value) if isinstance(value, list) else value

    return {name: restored(value) for name, value in parameters.items()}


def labels_to_json(labels: NDArray[Any]) -> dict[str, Any]:
    """Labels with their dtype; dates, times and bytes as text."""
    kind = labels.dtype.kind
    values = labels.astype(str).tolist() if kind in "mMS" else labels.tolist()
    if kind == "m":
        values = labels.astype(np.int64).tolist()
    return {"dtype": labels.dtype.str, "values": values}


def labels_from_json(document: Any) -> NDArray[Any]:
    """Labels that :func:`labels_to_json` wrote, or a plain list of them, as files had it before."""
    if isinstance(document, list):
        return np.array(document)
    return np.array(document["values"], dtype=np.dtype(document["dtype"]))


def _plain(value: Any) -> Any:
    """A parameter with Python's own numbers for NumPy's."""
    if isinstance(value, list | tuple):
        return type(value)(_plain(item) for item in value)
    return value.item() if isinstance(value, np.generic) else value
