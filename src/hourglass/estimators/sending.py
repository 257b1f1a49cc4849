"""Fitted estimators on their way to other processes, which may have other devices."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch

from hourglass.estimators.base import NetworkEstimator
from hourglass.runtime.hardware import resolve_device

Model = TypeVar("Model", bound=NetworkEstimator)


@dataclass(frozen=True)
class Sent(Generic[Model]):
    """A fitted estimator, for pickle to send to another process.

    The network travels in the memory of the CPU, and without the state of its optimiser. Where it arrives, it is put on
    the device that was asked for when the estimator was read from a folder, or else on that of its parameter
    ``device``: ``"auto"`` is a GPU if that process has one.

    Parameters
    ----------
    estimator : NetworkEstimator
        The estimator, which does not change.
    """

    estimator: Model

    def __reduce__(self) -> tuple[Callable[..., "Sent[Model]"], tuple[Any, ...]]:
        twin: Any = copy.copy(self.estimator)
        vars(twin).pop("_optimiser", None)
        if torch.device(twin.device_).type != "cpu":
            twin.network_ = copy.deepcopy(twin.network_).cpu()
        return _received, (twin, getattr(twin, "_asked_device", twin.device))


def _received(estimator: Model, device: str | torch.device) -> "Sent[Model]":
    place: Any = resolve_device(device)
    estimator.device_ = str(place)
    if place.type != "cpu":
        estimator.network_ = estimator.network_.to(place).to(memory_format=torch.channels_last)
    return Sent(estimator)
