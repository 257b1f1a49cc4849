"""State of a training: everything that its next step depends on, and the record of the steps before."""

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from hourglass.runtime import ranks
from hourglass.training.history import History
from hourglass.training.optimiser_state import optimiser_tensors, restore_optimiser
from hourglass.training.sampler import Order
from hourglass.training.stopping import EarlyStopping
from hourglass.training.stopwatch import Stopwatch

_SERIES = ("loss", "learning_rate", "epoch")


@dataclass
class State:
    """State of a training, as its listeners receive it and as a checkpoint keeps it.

    Parameters
    ----------
    module : torch.nn.Module
        Network in training.
    optimiser : torch.optim.Optimizer
        Optimiser of its parameters.
    sampler : Order
        Indices of each batch.
    generators : sequence of torch.Generator
        Random generators that the corruption draws from.
    stopping : EarlyStopping or None
        Early stopping, if any.
    n_steps : int
        Number of steps of the whole training.
    epoch_size : int
        Number of rows that make one epoch.
    history : History, optional
        Record of the steps; losses may be missing until :meth:`collect_losses`. By default empty.
    stopwatch : Stopwatch, optional
        Time in training; by default a new one.
    index : torch.Tensor of shape (batch_size,), int64, optional
        Rows of the last step's batch; by default none.
    seen : int, default=0
        Number of rows in all batches so far.
    early : bool, default=False
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
        """Number of steps done."""
        return len(self.history.epoch)

    @property
    def over(self) -> bool:
        """Whether no step is left to do."""
        return self.early or self.step >= self.n_steps

    def record(self, index: Tensor, loss: Tensor, rate: float) -> None:
        """Record a step.

        Parameters
        ----------
        index : torch.Tensor of shape (batch_size,), int64
            Rows of its batch.
        loss : torch.Tensor of shape ()
            Its loss, which stays on the device until the losses are collected.
        rate : float
            Its learning rate.
        """
        self.index = index
        self.seen += len(index)
        self._losses.append(loss)
        self.history.learning_rate.append(rate)
        self.history.epoch.append(self.seen / self.epoch_size)
        self.stopwatch.pass_step(self.step, self.seen)

    def collect_losses(self) -> None:
        """Wait for the losses of all steps so far, and append them to the history.

        With several processes, the parts that each has of them are added up.

        Raises
        ------
        FloatingPointError
            When a loss is not finite; the message names its step.
        """
        losses = ranks.total(torch.stack(self._losses)).tolist() if self._losses else []
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
        """Check that all weights are finite.

        Raises
        ------
        FloatingPointError
            When one is not, because its gradient was not; the message names the parameter.
        """
        for name, p in self.module.named_parameters():
            if not p.isfinite().all():
                rate = self.history.learning_rate[-1]
                raise FloatingPointError(
                    f"{name} is not finite after step {self.step} of {self.n_steps} (learning rate {rate:.3g}): "
                    "its gradient overflowed; try a smaller learning_rate, and look for very large values in the images"
                )

    def truncate(self) -> None:
        """Shorten the record to the last complete step, for a training that was interrupted within a step.

        With several processes, to the last step whose loss was collected, since the others may be in another step.
        """
        if ranks.count() == 1:
            with suppress(FloatingPointError):
                self.collect_losses()
        recorded = [getattr(self.history, name) for name in _SERIES]
        for series in recorded:
            del series[min(map(len, recorded)) :]

    def gather(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Collect everything from which :meth:`restore` resumes; the losses must have been collected.

        Returns
        -------
        tensors : dict of str to torch.Tensor
            Weights, state of the optimiser, the sampler and the generators, and the history, by name.
        values : dict of str to JSON values
            Seconds, reports and early stopping.
        """
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
        """Restore what :meth:`gather` collected.

        Parameters
        ----------
        tensors : mapping of str to torch.Tensor
            Tensors by name.
        values : mapping of str to JSON values
            The other values by name.
        """

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
        # A training that early stopping ended stays ended, also when more steps are asked for.
        self.early = bool(values.get("early"))
        self.stopwatch.set(values["seconds"])
        if self.stopping is not None:
            self.stopping.state = part("best."), values["stopping"]
