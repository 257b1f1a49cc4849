"""What an estimator says of itself: to people, to the file of its model, and to an exported file."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from numbers import Real
from typing import Any, ClassVar, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator, clone
from sklearn.utils.validation import check_is_fitted
from torch import nn

from hourglass.data.arrays import Shape
from hourglass.denoising.corruption import CORRUPTIONS
from hourglass.denoising.notation import corruption_to_json
from hourglass.estimators.exported import ExportedPart
from hourglass.nn.norms import norm_name
from hourglass.runtime.internals import AnyNorm
from hourglass.training import optimiser_in_words

# Of the place of a training, not of what is trained.
_OF_THE_MACHINE = ("device", "verbose", "checkpoint_dir", "checkpoint_every")
# Images of which an unfitted estimator describes the network.
USUAL_SHAPE = (28, 28, 1)


class SelfDescribing(BaseEstimator, ABC):  # type: ignore[misc]  # scikit-learn has no type hints: its classes are Any
    """Base of :class:`NetworkEstimator`: description, saved state and exported parts."""

    task: ClassVar[str] = ""
    """``"reconstruction"`` or ``"classification"``: how an experiment trains and scores it."""

    network_: Any
    image_shape_: Shape
    pixel_range_: tuple[float, float]
    n_features_in_: int
    n_steps_: int
    precision_: str
    train_seconds_: float
    dead_units_: dict[str, tuple[int, int]]
    _flat: bool
    _annealed: bool
    _target_range: tuple[float, float] | None = None

    @abstractmethod
    def _build(self) -> nn.Module:
        """Make the network for ``image_shape_``, on the device that is current."""

    def _network(self, seed: int) -> Any:
        """Build the network and draw its weights, nothing from PyTorch's global generator."""
        with torch.random.fork_rng([]):
            torch.default_generator.manual_seed(seed)  # from which a normalisation of somebody's own may draw
            network: Any = self._build()
            network.reset_parameters(torch.Generator().manual_seed(seed))
        return network

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "network_")

    @property
    def title(self) -> str:
        """Line that says what kind of network is trained, and its size."""
        return type(self).__name__

    @property
    def curve_note(self) -> str:
        """Sentences on what the figure of a training's loss shows; empty where there is nothing to say."""
        patience = self.get_params().get("patience")
        if patience is None:
            return ""
        return (
            f"Training ends early after {patience} validations in a row without a new lowest loss on held-out "
            "training images."
        )

    def ruling_parameters(self) -> dict[str, Any]:
        """Parameters that decide what is trained, and how.

        Returns
        -------
        dict of str to object
            By name. Of ``epochs`` and ``n_steps`` only the one that rules; without parameters that are None, and
            without those of the machine, such as ``device``.
        """
        parameters = self.get_params()
        idle = "epochs" if parameters["n_steps"] is not None else "n_steps"
        return {
            name: value
            for name, value in parameters.items()
            if name not in (*_OF_THE_MACHINE, idle) and value is not None
        }

    def describe(self) -> dict[str, Any]:
        """Describe a fitted estimator and its training, for people.

        Returns
        -------
        dict
            Among others ``model``, ``images``, ``weights``, ``steps``; ``normalisation`` and ``optimiser`` with their
            constants; ``parameters``, all that ruled the training, defaults too.

        Raises
        ------
        NotFittedError
            When it has not been fitted.
        """
        check_is_fitted(self, "network_")
        facts: dict[str, Any] = {
            "model": type(self).__name__,
            "images": " × ".join(map(str, self.image_shape_)) + " (height × width × channels)",
            "weights": sum(weight.numel() for weight in self.network_.parameters()),
            "steps": self.n_steps_,
        }
        if hasattr(self, "train_seconds_"):
            facts["train_seconds"] = round(self.train_seconds_, 1)
        facts |= self._facts()
        if dead := getattr(self, "dead_units_", None):
            facts["dead_units"] = _dead_in_words(dead)
        facts |= self.describe_constants()
        facts["parameters"] = {
            name: _parameter_in_words(name, value) for name, value in self.ruling_parameters().items()
        }
        notes = getattr(self, "notes_", {})
        return facts | ({"notes": notes} if notes else {})

    def _facts(self) -> dict[str, Any]:
        """What :meth:`describe` says of this kind of estimator besides."""
        return {}

    def describe_constants(self) -> dict[str, str]:
        """Describe the constants that are no parameters.

        Returns
        -------
        dict of str to str
            ``normalisation``: each kind of normalisation layer with its ε and momentum as the layers hold them, or
            ``"none"``; before fitting, of the network for images of 28 × 28 pixels. ``optimiser``: its name and
            constants.
        """
        network = self.network_ if hasattr(self, "network_") else self._unfitted_network(USUAL_SHAPE)
        layers = "; ".join(dict.fromkeys(_layer_in_words(layer) for layer in _normalisations(network))) or "none"
        return {"normalisation": layers, "optimiser": optimiser_in_words(self.get_params()["optimiser"])}

    def untrained_network(self, image_shape: Shape = USUAL_SHAPE, seed: int = 0) -> Any:
        """Build a network that the parameters describe, with weights as they are drawn before training.

        Parameters
        ----------
        image_shape : tuple of int, default=(28, 28, 1)
            Height, width and channels of the images.
        seed : int, default=0
            Seed of the weights.

        Returns
        -------
        torch.nn.Module
            The network, in inference mode. That of a classifier has ten classes. ``fit`` may also
            start the output's bias at the mean of the images.

        Raises
        ------
        ValueError
            When a parameter is out of its range.
        """
        self.check_parameters()
        return self._probe(image_shape)._network(seed).eval()

    def _unfitted_network(self, image_shape: Shape) -> Any:
        """Network that would be trained on such images, without memory for its weights."""
        with torch.device("meta"):
            return self._probe(image_shape)._build()

    def _probe(self, image_shape: Shape) -> Self:
        """Unfitted copy that can build its network."""
        probe: Self = clone(self)
        probe.image_shape_ = tuple(image_shape)  # type: ignore[assignment]  # mypy cannot tell the length of this tuple, which is three
        probe._expect()
        return probe

    def check_parameters(self) -> None:
        """Check every parameter."""

    def _expect(self) -> None:
        """Set what :meth:`_build` needs of the targets, as before any were seen."""

    def fitted_state(self) -> dict[str, Any]:
        """Return what a fitted estimator has learnt besides its network's weights, as JSON holds it.

        Returns
        -------
        dict
            ``fitted`` in the file ``model.json``; :meth:`restore_state` takes it.
        """
        state = {
            "image_shape": self.image_shape_,
            "steps": self.n_steps_,
            "train_seconds": getattr(self, "train_seconds_", None),
            "precision": self.precision_,
            "flat": self._flat,
            "pixel_range": self.pixel_range_,
            "annealed": getattr(self, "_annealed", True),
            "dead_units": getattr(self, "dead_units_", None),
        }
        if hasattr(self, "feature_names_in_"):
            state["feature_names"] = self.feature_names_in_.tolist()
        return state

    def restore_state(self, state: Mapping[str, Any]) -> None:
        """Take over what :meth:`fitted_state` returned.

        Parameters
        ----------
        state : mapping
            As JSON gives it back. What older versions did not write has the value that it had then.

        Raises
        ------
        KeyError, TypeError, ValueError
            When it is damaged.
        """
        self.image_shape_ = tuple(state["image_shape"])
        self.n_features_in_ = math.prod(self.image_shape_)
        self.n_steps_ = state["steps"]
        self.precision_ = state["precision"]
        self._flat = state.get("flat", False)
        low, high = state.get("pixel_range", (0, 1))
        self.pixel_range_ = low, high
        self._annealed = state.get("annealed", True)
        if state.get("dead_units") is not None:
            self.dead_units_ = {name: (dead, units) for name, (dead, units) in state["dead_units"].items()}
        if state.get("train_seconds") is not None:
            self.train_seconds_ = state["train_seconds"]
        if "feature_names" in state:
            self.feature_names_in_ = np.array(state["feature_names"], dtype=object)

    @property
    def _least_tensors(self) -> int:
        """Number of tensors that the network has at least, from the parameters alone."""
        return 1

    def export_part(self, part: str = "whole") -> ExportedPart:
        """Return a part of a fitted estimator as a module that can be exported.

        Parameters
        ----------
        part : str, default="whole"
            Name of a part; which there are depends on the estimator.

        Returns
        -------
        ExportedPart

        Raises
        ------
        ValueError
            When the estimator has no such part.
        """
        raise ValueError(f"a {type(self).__name__} has no part {part!r} that can be exported")


def _normalisations(network: Any) -> list[Any]:
    """Normalisation layers of a network: those that it names, or else PyTorch's and ours."""
    if hasattr(network, "normalised_layers") and (pairs := network.normalised_layers()):
        return [network.get_submodule(name) for _, name in pairs]
    return [layer for layer in network.modules() if isinstance(layer, AnyNorm | nn.GroupNorm | nn.LayerNorm)]


def _layer_in_words(layer: Any) -> str:
    said = type(layer).__name__
    if isinstance(eps := getattr(layer, "eps", None), Real):  # a layer of somebody's own may have neither
        said += f", ε = {eps:g}"
    momentum = getattr(layer, "momentum", "absent")
    if momentum is None:
        return f"{said}, momentum = an equal share of every batch"
    return f"{said}, momentum = {momentum:g}" if isinstance(momentum, Real) else said


def _dead_in_words(dead: Mapping[str, tuple[int, int]]) -> str:
    """How many units give 0 for every image, of all and by layer."""
    total = f"{sum(count for count, _ in dead.values())} of {sum(units for _, units in dead.values())}"
    layers = ", ".join(f"{name}: {count} of {units}" for name, (count, units) in dead.items() if count)
    return f"{total} ({layers})" if layers else total


def _parameter_in_words(name: str, value: Any) -> Any:
    """A parameter as :meth:`SelfDescribing.describe` shows it, made of numbers and text."""
    if name == "norm" and callable(value):
        return norm_name(value)
    return corruption_to_json(value) if type(value) in CORRUPTIONS.values() else value
