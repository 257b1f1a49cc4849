"""Fitted estimators to a folder and back."""

import math
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from sklearn.utils.validation import check_is_fitted

import hourglass
from hourglass.estimators import ESTIMATORS, Autoencoder, NetworkEstimator
from hourglass.estimators.fitting import describes_network, remember_network
from hourglass.estimators.identity import CHECKPOINT_PARAMETERS
from hourglass.estimators.records import parameter_to_json, parameters_from_json
from hourglass.persistence import read_model, write_model
from hourglass.pretrained import PRETRAINED, folder_of, names_of
from hourglass.runtime.hardware import resolve_device
from hourglass.training import OPTIMISERS, optimiser_tensors, restore_optimiser


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
    estimator : DenseAutoencoder, ConvAutoencoder, ImageDenoiser or ConvClassifier
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
        When a parameter is an object, such as a callable ``corruption`` or ``norm``, that a file cannot hold.
    OSError
        When the folder cannot be written.
    """
    check_is_fitted(estimator, "network_")
    parameters = {
        name: parameter_to_json(name, value)
        for name, value in estimator.get_params().items()
        if name not in CHECKPOINT_PARAMETERS
    }
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
            "fitted": estimator.fitted_state(),
            "notes": dict(getattr(estimator, "notes_", {}) if notes is None else notes),
        },
        optimiser=None if state is None else optimiser_tensors(state),
    )


def load_pretrained(name: str = "photo", *, device: str | torch.device = "auto") -> Autoencoder:
    """Read a model that comes in the package.

    Parameters
    ----------
    name : {"photo", "photo-grey", "digits"}, default="photo"
        ``photo`` and ``photo-grey`` denoise photographs and other images, in colour and in grey; ``digits`` denoises
        handwritten digits. Each has a model card, ``README.md`` in its folder.
    device : {"auto", "cpu", "cuda"} or torch.device, default="auto"
        Where to compute; ``auto`` takes the GPU where there is one.

    Returns
    -------
    ImageDenoiser or ConvAutoencoder
        Fitted.

    Raises
    ------
    ValueError
        When there is none of that name.
    """
    if name not in PRETRAINED:
        raise ValueError(f"pretrained model {name!r} is unknown; choose one of {', '.join(PRETRAINED)}")
    return load_autoencoder(folder_of(name), device=device)


def load_named(model: str | os.PathLike[str], *, device: str | torch.device = "auto") -> tuple[Autoencoder, ...]:
    """Read the autoencoders of a name, or the one in a folder.

    Parameters
    ----------
    model : str or path-like
        Name of a model in the package, or a folder as :func:`save` writes it. ``"photo"`` is two models, for colour
        and for grey images. A folder of such a name is given with its path, as ``./photo``.
    device : {"auto", "cpu", "cuda"} or torch.device, default="auto"
        Where to compute; ``auto`` takes the GPU where there is one.

    Returns
    -------
    tuple of Autoencoder
        One or two fitted models.

    Raises
    ------
    FileNotFoundError
        When there is neither such a name nor a model in such a folder.
    ValueError
        When the folder holds another kind of model, or its files are damaged or do not fit together.
    """
    if model in PRETRAINED:
        return tuple(load_pretrained(name, device=device) for name in names_of(str(model)))
    if not Path(model).exists():
        raise FileNotFoundError(
            f"{os.fspath(model)} is neither a folder nor a model of the package ({', '.join(PRETRAINED)})"
        )
    return (load_autoencoder(model, device=device),)


def load_autoencoder(folder: str | os.PathLike[str], *, device: str | torch.device = "auto") -> Autoencoder:
    """Read a fitted autoencoder from a folder.

    Parameters
    ----------
    folder : path-like
        As :func:`save`, or a run, wrote it.
    device : {"auto", "cpu", "cuda"} or torch.device, default="auto"
        Where to compute; ``auto`` takes the GPU where there is one.

    Returns
    -------
    Autoencoder
        Fitted, ready to transform and reconstruct.

    Raises
    ------
    FileNotFoundError
        When the folder holds no model.
    ValueError
        When it holds another kind of model, or its files are damaged or do not fit together.
    """
    estimator = load_model(folder, device=device)
    if estimator.task != Autoencoder.task:
        raise ValueError(f"{os.fspath(folder)} holds a {type(estimator).__name__}; this needs an autoencoder")
    return cast(Autoencoder, estimator)


def load_model(folder: str | os.PathLike[str], *, device: str | torch.device = "auto") -> NetworkEstimator:
    """Read a fitted estimator from a folder.

    Parameters
    ----------
    folder : path-like
        As :func:`save`, or a run, wrote it.
    device : {"auto", "cpu", "cuda"} or torch.device, default="auto"
        Device of the network.

    Returns
    -------
    DenseAutoencoder, ConvAutoencoder, ImageDenoiser or ConvClassifier
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
        estimator = _class_named(metadata["estimator"])(**parameters_from_json(parameters))
        estimator.restore_state(metadata["fitted"])
        estimator.notes_ = metadata.get("notes", {})
        remember_network(estimator)
        _check_size(estimator, tensors)
        with torch.device("meta"):
            network = estimator._build()
        # Models for the package are stored in half the precision in which they compute.
        network.load_state_dict({name: tensor.float() for name, tensor in tensors.items()}, assign=True)
    except (KeyError, TypeError, RuntimeError, ValueError, AttributeError, OverflowError) as error:
        raise ValueError(f"{os.fspath(folder)}: the model's files do not fit together ({error})") from error
    place = resolve_device(device)
    estimator.device_ = str(place)
    estimator._asked_device = device  # other processes, to which the model is sent, have devices of their own
    on_device: Any = network.to(place)  # torch's types know of no memory format
    estimator.network_ = on_device.to(memory_format=torch.channels_last).eval()
    if optimiser is not None:
        _restore_optimiser(estimator, optimiser, folder)
    return estimator


def _class_named(name: str) -> type[NetworkEstimator]:
    if name not in ESTIMATORS:
        raise ValueError(
            f"its estimator {name!r} is none of {', '.join(ESTIMATORS)}; import the module that defines the class and "
            f"adds it to hourglass.estimators.ESTIMATORS, then read the model again"
        )
    return ESTIMATORS[name]


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
    if estimator._least_tensors > len(tensors):
        raise ValueError(f"{estimator._least_tensors} layers but {len(tensors)} tensors")
