"""Measuring the layers of a network that is named, stored, or given."""

import difflib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hourglass.errors import OptionError
from hourglass.estimators import NetworkEstimator
from hourglass.estimators.description import USUAL_SHAPE
from hourglass.experiments import EXPERIMENTS
from hourglass.inspection.table import LayerTable
from hourglass.models import load_model, load_pretrained
from hourglass.nn import record_layers
from hourglass.pretrained import PRETRAINED


def layers_of(
    model: str | os.PathLike[str] | NetworkEstimator | nn.Module,
    image_shape: Sequence[int] | None = None,
    *,
    parameters: Mapping[str, Any] | None = None,
) -> LayerTable:
    """Measure the layers of a network while it computes one image.

    Parameters
    ----------
    model : str, path-like, estimator or torch.nn.Module
        Name of an experiment or of a model in the package; folder of a model or of a run; estimator, fitted or not; or
        a network that takes images ``(n, c, h, w)``. ``"photo"`` is the model of colour images. A folder with the name
        of an experiment or a model is given with its path, as ``./photo``.
    image_shape : sequence of two or three int, optional
        Height and width of the image, and its channels. By default they are those that the model was trained with,
        those of the parameter ``image_shape`` or of the network's attribute of that name, or else (28, 28, 1).
    parameters : mapping of str to Any, optional
        Parameters of an experiment's estimator that replace those of its classic recipe. By default none is replaced.

    Returns
    -------
    LayerTable
        The layers with their kernels, sizes of their outputs, numbers of parameters and multiplications. Printing it
        shows a table.

    Raises
    ------
    OptionError
        When there is no such model, the network does not take images of this shape, a parameter is unknown or out of
        its range, or ``parameters`` are given with something else than an experiment.
    ValueError
        When the files of a folder are damaged or do not fit together.

    Examples
    --------
    >>> import hourglass as hg
    >>> table = hg.layers_of(hg.ConvAutoencoder(channels=(8, 4)))
    >>> [layer.output for layer in table if layer.kind == "max pool"]
    [(14, 14, 8), (7, 7, 4)]
    >>> print(table.summary)
    889 parameters, 423,360 multiplications for one image. The code has 196 of 784 numbers, 25%.
    """
    title = ""
    if isinstance(model, str | os.PathLike):
        title = f"{os.fspath(model)}: "
        if model in EXPERIMENTS:
            model, parameters = _configured(str(model), parameters or {}), None
        else:
            model = _load(model)
    if parameters:
        raise OptionError("only an experiment's parameters can be set; a model has those that it was trained with")
    if isinstance(model, nn.Module):
        title += type(model).__name__
        shape = _shape(image_shape, getattr(model, "image_shape", None))
        network = model
    elif hasattr(model, "network_"):
        title += model.title
        shape = _shape(image_shape, model.image_shape_)
        network = model.network_
    else:
        title += model.title
        shape = _shape(image_shape, model.image_shape)
        network = model.untrained_network(shape)
    height, width, channels = shape
    image = torch.rand(1, channels, height, width, generator=torch.Generator().manual_seed(0))
    try:
        layers = record_layers(network, image)
    except (ValueError, RuntimeError) as error:
        raise OptionError(f"the network does not take images of {height}×{width}×{channels}: {error}") from error
    return LayerTable(f"{title}; images of {height}×{width}×{channels}", tuple(layers))


def _shape(given: Sequence[int] | None, own: Sequence[int] | None) -> tuple[int, int, int]:
    """Height, width and channels: those given, else the model's own, else those of a digit."""
    if given is None:
        height, width, channels = own or USUAL_SHAPE
        return height, width, channels
    shape = (*given, *(own or USUAL_SHAPE)[2:])[:3] if len(given) == 2 else tuple(given)
    if len(shape) != 3 or min(shape) < 1:
        raise OptionError(f"image_shape={tuple(given)}; expected height, width and perhaps channels, each 1 or more")
    return shape[0], shape[1], shape[2]


def _configured(name: str, parameters: Mapping[str, Any]) -> NetworkEstimator:
    """Estimator of an experiment."""
    try:
        return EXPERIMENTS[name].configure(**parameters)
    except ValueError as error:
        raise OptionError(str(error)) from error


def _load(model: str | os.PathLike[str]) -> NetworkEstimator:
    """Read the model of a name or a folder."""
    if model in PRETRAINED:
        return load_pretrained(str(model), device="cpu")
    if Path(model).is_dir():
        return load_model(model, device="cpu")
    known = [*EXPERIMENTS, *PRETRAINED]
    near = difflib.get_close_matches(os.fspath(model), known)
    raise OptionError(
        f"{os.fspath(model)!r} is neither an experiment, nor a model of the package, nor a folder; "
        + (f"did you mean {' or '.join(near)}?" if near else f"choose one of {', '.join(known)}, or a model's folder")
    )
