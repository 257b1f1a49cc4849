"""Everything that a trainer's next step depends on, as tensors and numbers, and back."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from hourglass.training.history import History
from hourglass.training.optimisers import optimiser_tensors, restore_optimiser
from hourglass.training.sampler import ShuffledSampler
from hourglass.training.stopping import EarlyStopping

_SERIES = ("loss", "learning_rate", "epoch")


class Trainer(Protocol):
    """What is needed of a :class:`hourglass.training.Trainer`."""

    module: nn.Module
    optimiser: torch.optim.Optimizer
    sampler: ShuffledSampler
    generators: Sequence[torch.Generator]
    stopping: EarlyStopping | None
    history: History
    train_seconds: float


def gather_state(
    trainer: Trainer, seconds: float, *, over: bool, early: bool
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Weights, optimiser, sampler, generators, history, early stopping; and the seconds spent."""
    history = trainer.history
    tensors = {f"module.{name}": value for name, value in trainer.module.state_dict().items()}
    tensors |= {f"optimiser.{name}": value for name, value in optimiser_tensors(trainer.optimiser).items()}
    tensors["sampler.left"], tensors["sampler.generator"] = trainer.sampler.state
    for i, generator in enumerate(trainer.generators):
        tensors[f"generator.{i}"] = generator.get_state()
    for name in _SERIES:
        tensors[f"history.{name}"] = torch.tensor(getattr(history, name), dtype=torch.float64)
    values: dict[str, Any] = {
        "over": over,
        "early": early,
        "seconds": seconds,
        "reports": {str(step): report for step, report in history.reports.items()},
    }
    if trainer.stopping is not None:
        best, values["stopping"] = trainer.stopping.state
        tensors |= {f"best.{name}": value for name, value in best.items()}
    return tensors, values


def restore_state(trainer: Trainer, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Undo :func:`gather_state`; gives the values back."""

    def part(prefix: str) -> dict[str, Tensor]:
        return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}

    trainer.module.load_state_dict(part("module."))
    restore_optimiser(trainer.optimiser, part("optimiser."))
    trainer.sampler.state = tensors["sampler.left"], tensors["sampler.generator"]
    for i, generator in enumerate(trainer.generators):
        generator.set_state(tensors[f"generator.{i}"])
    loss, learning_rate, epoch = (tensors[f"history.{name}"].tolist() for name in _SERIES)
    reports = {int(step): report for step, report in values["reports"].items()}
    trainer.history = History(loss, learning_rate, epoch, reports)
    trainer.train_seconds = values["seconds"]
    if trainer.stopping is not None:
        trainer.stopping.state = part("best."), values["stopping"]
    return values
