"""Everything that a training's next step depends on, and the record of the steps before."""

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from hourglass.training.history import History
from hourglass.training.optimisers import optimiser_tensors, restore_optimiser
from hourglass.training.sampler import Order
from hourglass.training.stopping import EarlyStopping
from hourglass.training.stopwatch import Stopwatch

_SERIES = ("loss", "learning_rate", "epoch")


@dataclass
class State:
    """State of a training, as its events are told it and as a checkpoint keeps it.

    Parameters
    ----------
    module : torch.nn.Module
    optimiser : torch.optim.Optimizer
    sampler : Order
    generators : sequence of torch.Generator
        Those that the corruption draws from.
    stopping : EarlyStopping or None
    n_steps : int
        Steps to do.
    epoch_size : int
        Rows that count as an epoch.

    Attributes
    ----------
    history : History
        Its losses may lag behind the steps; :meth:`collect_losses` brings them up.
    stopwatch : Stopwatch
    index : torch.Tensor
        Rows of the last step's batch.
    seen : int
        Rows in all batches so far.
    early : bool
        Whether training ends before its last step.
    """

    module: nn.Module
    optimiser: torch.optim.Optimizer
    sampler: Order
    generators: Sequence[torch.Generator]
    stopping: EarlyStopping | None
    n_steps: int
    epoch_size: int
    history: History = field(default_factory=History)
    stopwatch: Stopwatch = field(default_factory=Stopwatch)
    index: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))
    seen: int = 0
    early: bool = False
    _losses: list[Tensor] = field(default_factory=list)

    @property
    def step(self) -> int:
        """Steps done."""
        return len(self.history.epoch)

    @property
    def over(self) -> bool:
        """Whether no step is left to do."""
        return self.early or self.step >= self.n_steps

    def record(self, index: Tensor, loss: Tensor, rate: float) -> None:
        """Note a step: its batch, its loss, which stays on the device, and its learning rate."""
        self.index = index
        self.seen += len(index)
        self._losses.append(loss)
        self.history.learning_rate.append(rate)
        self.history.epoch.append(self.seen / self.epoch_size)
        self.stopwatch.pass_step(self.step, self.seen)

    def collect_losses(self) -> None:
        """Wait for the losses of the steps so far; FloatingPointError when one is not finite names its step."""
        losses = torch.stack(self._losses).tolist() if self._losses else []
        self._losses.clear()
        for loss in losses:
            self.history.loss.append(loss)
            if not math.isfinite(loss):
                step = len(self.history.loss)
                rate = self.history.learning_rate[step - 1]
                raise FloatingPointError(
                    f"the loss is {loss} at step {step} of {self.n_steps} (learning rate {rate:.3g}): "
                    "training has diverged; try a smaller learning_rate, and look for NaN or very large "
                    "values in the images"
                )

    def check_weights(self) -> None:
        """Raise FloatingPointError when a weight is not finite: then a gradient was not."""
        for name, p in self.module.named_parameters():
            if not p.isfinite().all():
                rate = self.history.learning_rate[-1]
                raise FloatingPointError(
                    f"{name} is not finite after step {self.step} of {self.n_steps} (learning rate {rate:.3g}): "
                    "its gradient overflowed; try a smaller learning_rate, and look for very large values in the images"
                )

    def truncate(self) -> None:
        """Bring the record to the last whole step, for a training that was interrupted within one."""
        with suppress(FloatingPointError):
            self.collect_losses()
        recorded = [getattr(self.history, name) for name in _SERIES]
        for series in recorded:
            del series[min(map(len, recorded)) :]

    def gather(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors and JSON values from which :meth:`restore` resumes; losses have to be collected."""
        history = self.history
        tensors = {f"module.{name}": value for name, value in self.module.state_dict().items()}
        tensors |= {f"optimiser.{name}": value for name, value in optimiser_tensors(self.optimiser).items()}
        tensors |= {f"sampler.{name}": value for name, value in self.sampler.state.items()}
        for i, generator in enumerate(self.generators):
            tensors[f"generator.{i}"] = generator.get_state()
        for name in _SERIES:
            tensors[f"history.{name}"] = torch.tensor(getattr(history, name), dtype=torch.float64)
        values: dict[str, Any] = {
            "over": self.over,
            "early": self.early,
            "seconds": self.stopwatch.seconds,
            "reports": {str(step): report for step, report in history.reports.items()},
        }
        if self.stopping is not None:
            best, values["stopping"] = self.stopping.state
            tensors |= {f"best.{name}": value for name, value in best.items()}
        return tensors, values

    def restore(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """Undo :meth:`gather`."""

        def part(prefix: str) -> dict[str, Tensor]:
            return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}

        self.module.load_state_dict(part("module."))
        restore_optimiser(self.optimiser, part("optimiser."))
        self.sampler.state = part("sampler.")
        for i, generator in enumerate(self.generators):
            generator.set_state(tensors[f"generator.{i}"])
        loss, learning_rate, epoch = (tensors[f"history.{name}"].tolist() for name in _SERIES)
        reports = {int(step): report for step, report in values["reports"].items()}
        self.history = History(loss, learning_rate, epoch, reports)
        self.seen = round(epoch[-1] * self.epoch_size) if epoch else 0
        # A training that early stopping ended is over, however long it might have been.
        self.early = bool(values.get("early"))
        self.stopwatch.set(values["seconds"])
        if self.stopping is not None:
            self.stopping.state = part("best."), values["stopping"]
