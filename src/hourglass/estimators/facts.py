"""What an estimator was trained with, for people: parameters, normalisation and optimiser."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from sklearn.base import clone
from torch import nn

from hourglass.estimators.base import NetworkEstimator
from hourglass.estimators.classifier import ConvClassifier
from hourglass.nn.internals import AnyNorm

# Of the place of a training, not of what is trained.
_OF_THE_MACHINE = ("device", "verbose", "checkpoint_dir", "checkpoint_every")


def ruling_parameters(estimator: NetworkEstimator) -> dict[str, Any]:
    """Parameters that decide what is trained, and how.

    Returns
    -------
    dict of str to object
        By name. Of ``epochs`` and ``n_steps`` only the one that rules; without parameters that are None, and without
        those of the machine, such as ``device``.
    """
    idle = "epochs" if estimator.n_steps is not None else "n_steps"
    return {
        name: value
        for name, value in estimator.get_params().items()
        if name not in (*_OF_THE_MACHINE, idle) and value is not None
    }


def is_longer(wanted: Mapping[str, Any], there: Mapping[str, Any]) -> bool:
    """Whether a training is wanted that differs from the one that is there in nothing but more epochs or steps."""
    lengths = [name for name in ("epochs", "n_steps") if name in wanted and wanted[name] != there.get(name)]
    return (
        len(lengths) == 1
        and wanted[lengths[0]] > there.get(lengths[0], math.inf)
        and {**there, lengths[0]: None} == {**wanted, lengths[0]: None}
    )


def normalisation(network: nn.Module) -> str:
    """Each kind of normalisation layer in a network, with its ε and momentum as the layers hold them, or "none"."""
    found = [layer for layer in network.modules() if isinstance(layer, AnyNorm | nn.GroupNorm | nn.LayerNorm)]
    return "; ".join(dict.fromkeys(_layer_in_words(layer) for layer in found)) or "none"


def normalisation_of(estimator: NetworkEstimator) -> str:
    """:func:`normalisation` of the network that an unfitted estimator would train on images of 28 × 28 pixels."""
    probe: Any = clone(estimator)
    probe.image_shape_ = (28, 28, 1)
    if isinstance(probe, ConvClassifier):
        probe.classes_ = np.arange(10)
    with torch.device("meta"):
        return normalisation(probe._build())


def _layer_in_words(layer: Any) -> str:
    said = f"{type(layer).__name__}, ε = {layer.eps:g}"
    if not hasattr(layer, "momentum"):
        return said
    momentum = "an equal share of every batch" if layer.momentum is None else f"{layer.momentum:g}"
    return f"{said}, momentum = {momentum}"
