"""The training loop: any module, any loss, data resident as tensors."""

import math
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hourglass.runtime import tricks
from hourglass.runtime.forks import compute_alone_after_fork
from hourglass.runtime.hardware import keep_freed_memory
from hourglass.training.checkpoints import Checkpoints
from hourglass.training.history import History, Record
from hourglass.training.interruption import Interrupted, Interruption
from hourglass.training.optimisers import FlatParameters
from hourglass.training.progress import Progress
from hourglass.training.sampler import ShuffledSampler, take
from hourglass.training.schedules import Schedule, constant
from hourglass.training.state import gather_state, restore_state
from hourglass.training.stopping import EarlyStopping

# Returns the batch spoilt, and where wanted a mask of the places that the loss is over.
Corrupt = Callable[[Tensor], Tensor | tuple[Tensor, Tensor]]

# Steps that images_per_second leaves out: caches, threads and kernels settle in them.
WARMUP_STEPS = 20
# A look at the losses waits for the device, so that it is done once for many steps.
CHECK_EVERY = 50


@dataclass(frozen=True)
class Report:
    """Something measured now and then during training, in inference mode and outside the timing.

    Parameters
    ----------
    measure : callable
        Called with the indices of the step's batch; returns numbers by name.
    every : int
        Steps from one report to the next, beginning with the first; the last step is always reported.
    """

    measure: Callable[[Tensor], Record]
    every: int

    def is_due(self, step: int, last: int) -> bool:
        return step == last or (step - 1) % self.every == 0


class Observer:
    """Sees a network before and during training, outside of its time; the derived ones say what they look at."""

    def begin(self, network: nn.Module) -> None:
        """Look at the network before its first step, in training mode; hooks may be registered."""

    def measure(self, network: nn.Module) -> Record:
        """Numbers by name; the network is in inference mode, and gradients are off."""
        return {}


class Trainer:
    """Trains a module by mini-batches.

    Parameters
    ----------
    module : torch.nn.Module
        On the device of the data.
    loss : callable
        Of the module's output and the target, and of each image's weight where there are any, to a scalar: a mean.
    optimiser : torch.optim.Optimizer
        Of the module's parameters; each group's ``lr`` is the peak that ``schedule`` scales.
    inputs : torch.Tensor of shape (size, ...)
        Every training image, on the device.
    targets : torch.Tensor of shape (size, ...), optional
        What the output is compared with; by default the inputs themselves.
    weights : torch.Tensor of shape (size,), optional
        Of each image in the loss; by default all weigh alike. Their mean should be 1.
    sampler : ShuffledSampler
        Indices of each batch.
    n_steps : int
        Steps to do, each with one batch.
    schedule : callable, default=constant
        Share of the steps done, in [0, 1), to a factor of the learning rate.
    corrupt : callable, optional
        Applied to the inputs of every batch, not to the targets. Where it returns a pair of images and a mask
        of the outputs' shape, the loss is over the masked places alone.
    precision : {"float32", "bfloat16"}, default="float32"
        Of the forward pass; weights, loss and optimiser stay as they are.
    reports : sequence of Report, default=()
    stopping : EarlyStopping, optional
        Ends training early and restores the best weights; without it all steps are done.
    progress : Progress, optional
        Shows nothing by default.
    checkpoints : Checkpoints, optional
        Where the state is written to now and then and at the end, and where an unfinished run goes on from, bit for
        bit. SIGINT and SIGTERM then wait for the step and its checkpoint.
    generators : sequence of torch.Generator, default=()
        Those that ``corrupt`` draws from, whose state belongs to a checkpoint.

    Attributes
    ----------
    history : History
    train_seconds : float
        Time in training: everything but reports.
    images_per_second : float or None
        Over all steps but the first 20; None where there were no more.
    """

    def __init__(
        self,
        module: nn.Module,
        loss: Callable[..., Tensor],
        optimiser: torch.optim.Optimizer,
        inputs: Tensor,
        targets: Tensor | None = None,
        *,
        weights: Tensor | None = None,
        sampler: ShuffledSampler,
        n_steps: int,
        schedule: Schedule = constant,
        corrupt: Corrupt | None = None,
        precision: str = "float32",
        reports: Sequence[Report] = (),
        stopping: EarlyStopping | None = None,
        progress: Progress | None = None,
        checkpoints: Checkpoints | None = None,
        generators: Sequence[torch.Generator] = (),
    ) -> None:
        self.module = module
        self.loss = loss
        self.optimiser = optimiser
        self.inputs = inputs
        self.targets = inputs if targets is None else targets
        self.weights = weights
        if len({len(values) for values in (self.inputs, self.targets, weights) if values is not None}) > 1:
            raise ValueError(f"{len(inputs)} inputs, but another number of targets or weights; give one an input")
        self.sampler = sampler
        self.n_steps = n_steps
        self.schedule = schedule
        self.corrupt = corrupt
        self.precision = precision
        self.reports = reports
        self.stopping = stopping
        self.progress = progress or Progress()
        self.checkpoints = checkpoints
        self.generators = generators
        self.history = History()
        self.train_seconds = 0.0
        self.images_per_second: float | None = None
        self._peaks = [group["lr"] for group in optimiser.param_groups]
        self._losses: list[Tensor] = []
        self._flat: FlatParameters | None = None

    def run(self) -> History:
        """Do every step, or as many as ``stopping`` lets it.

        Raises
        ------
        FloatingPointError
            When a loss, or a weight at the end, is not finite: names the step and the learning rate.
        Interrupted
            When SIGINT or SIGTERM came, with ``checkpoints``.
        ValueError
            When the checkpoints are another run's.
        """
        compute_alone_after_fork()
        if self.inputs.device.type == "cpu" and tricks.uses("allocator"):
            keep_freed_memory()
        self.module.train()
        self.progress.start(self.n_steps)
        try:
            over = self.checkpoints is not None and self._resume(self.checkpoints)
        except BaseException:
            self.progress.stop()
            raise
        self._flat = FlatParameters(self.optimiser) if FlatParameters.suits(self.optimiser) else None
        try:
            with Interruption() if self.checkpoints is not None else nullcontext() as interruption:
                if not over:
                    self._run(interruption)
            # It may have come while the last checkpoint was written.
            if self.checkpoints is not None and interruption is not None and interruption.signal is not None:
                raise self._interrupted(self.checkpoints, interruption.signal)
        except KeyboardInterrupt:
            self._note_interruption()
            raise
        finally:
            self.progress.stop()
            if self._flat is not None:
                self._flat.release()
                self._flat = None
            self.module.eval()
        if self.stopping is not None:
            self.stopping.restore(self.module)
        return self.history

    def step(self, index: Tensor) -> Tensor:
        """One step from the batch of these indices; returns its loss."""
        inputs = take(self.inputs, index)
        # A corruption of somebody's own might write into its argument.
        same = self.targets is self.inputs and self.corrupt is None
        targets = inputs if same else take(self.targets, index)
        mask = None
        if self.corrupt is not None:
            spoilt = self.corrupt(inputs)
            inputs, mask = spoilt if isinstance(spoilt, tuple) else (spoilt, None)
        with torch.autocast(inputs.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
            output = self.module(inputs)
        output = output.to(targets.dtype)
        if mask is not None:
            output, targets = output[mask], targets[mask]
        loss = self.loss(output, targets, *(() if self.weights is None else (self.weights[index],)))
        if self._flat is not None:
            loss.backward()
            self._flat.step()
        else:
            self.optimiser.zero_grad()
            loss.backward()
            self.optimiser.step()
        return loss.detach()

    def _run(self, interruption: Interruption | None) -> None:
        done = len(self.history)
        seen = round(self.history.epoch[-1] * len(self.inputs)) if done else 0
        warm_seconds, warm_seen, warm_from = self.train_seconds, seen, max(done, WARMUP_STEPS)
        started = time.perf_counter()
        saved, saved_step, saved_seen = started, done, seen
        over = False
        for step in range(done + 1, self.n_steps + 1):
            rate = self._set_learning_rate((step - 1) / self.n_steps)
            index = next(self.sampler)
            self._losses.append(self.step(index))
            seen += len(index)
            self.history.learning_rate.append(rate)
            self.history.epoch.append(seen / len(self.inputs))
            due = [report for report in self.reports if report.is_due(step, self.n_steps)]
            last = step == self.n_steps
            if due or step == WARMUP_STEPS or last or step % CHECK_EVERY == 0:
                self._collect_losses()
            # A coarse clock may not have moved yet.
            elapsed = max(self.train_seconds + time.perf_counter() - started, 1e-9)
            if step == WARMUP_STEPS:
                warm_seconds, warm_seen = elapsed, seen
            self.progress.advance(step, seen / elapsed, elapsed / step * (self.n_steps - step))
            if due:
                self.train_seconds = elapsed
                record = self._report(step, index, due)
                over = self.stopping is not None and self.stopping.is_over(self.module, step, record)
                started = time.perf_counter()
            if self.checkpoints is not None:
                stop = interruption.signal if interruption is not None else None
                now = time.perf_counter()
                epochs = (seen - saved_seen) / len(self.inputs)
                enough = self.checkpoints.every.is_due(now - saved, step - saved_step, epochs)
                if stop or over or last or enough:
                    spent = self.train_seconds + now - started if due else elapsed
                    self._save(self.checkpoints, step, spent, over=over or last, early=over)
                    saved, saved_step, saved_seen = time.perf_counter(), step, seen
                if stop:
                    raise self._interrupted(self.checkpoints, stop)
            if over:
                break
        self._check_weights(len(self.history))
        self.train_seconds += time.perf_counter() - started
        if len(self.history) > warm_from:
            self.images_per_second = (seen - warm_seen) / max(self.train_seconds - warm_seconds, 1e-9)

    def _note_interruption(self) -> None:
        """Bring the record to the last whole step, for whoever wants the module as it is."""
        with suppress(FloatingPointError):
            self._collect_losses()
        recorded = self.history.loss, self.history.learning_rate, self.history.epoch
        for series in recorded:
            del series[min(map(len, recorded)) :]

    def _interrupted(self, checkpoints: Checkpoints, number: int) -> Interrupted:
        return Interrupted(
            f"stopped after step {len(self.history)} of {self.n_steps} by {signal.Signals(number).name}; "
            f"{checkpoints.folder} holds its state",
            number,
        )

    def _resume(self, checkpoints: Checkpoints) -> bool:
        """Take up the state of the newest checkpoint; True where nothing is left to do."""
        stored = checkpoints.load()
        if stored is None:
            return False
        try:
            values = restore_state(self, *stored)
        except (KeyError, IndexError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise ValueError(
                f"{checkpoints.folder}: its checkpoint does not fit this run ({error}); choose another folder"
            ) from error
        self.progress.note(f"going on from step {len(self.history)} of {self.n_steps}")
        # One that early stopping ended is over however long it might have been.
        return bool(values["over"]) and (bool(values.get("early")) or len(self.history) >= self.n_steps)

    def _save(self, checkpoints: Checkpoints, step: int, seconds: float, *, over: bool, early: bool) -> None:
        self._collect_losses()
        # What is no longer a number must not take the place of what was.
        self._check_weights(step)
        if self._flat is not None:
            self._flat.count()
        checkpoints.save(step, *gather_state(self, seconds, over=over, early=early))

    def _check_weights(self, step: int) -> None:
        """Raise FloatingPointError when a weight is not finite: then a gradient was not."""
        for name, p in self.module.named_parameters():
            if not p.isfinite().all():
                rate = self.history.learning_rate[-1]
                raise FloatingPointError(
                    f"{name} is not finite after step {step} of {self.n_steps} (learning rate {rate:.3g}): "
                    "its gradient overflowed; try a smaller learning_rate, and look for very large values in the images"
                )

    def _set_learning_rate(self, done: float) -> float:
        factor = self.schedule(done)
        for group, peak in zip(self.optimiser.param_groups, self._peaks, strict=True):
            group["lr"] = peak * factor
        return float(self._peaks[0] * factor)

    def _collect_losses(self) -> None:
        if not self._losses:
            return
        losses = torch.stack(self._losses).tolist()
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

    @torch.no_grad()
    def _report(self, step: int, index: Tensor, due: Sequence[Report]) -> Record:
        recent = self.history.loss[max(self.history.reports, default=0) :]
        shown: Record = {"loss": sum(recent) / len(recent)}
        record: Record = {}
        self.module.eval()
        for report in due:
            record |= report.measure(index)
        self.module.train()
        self.history.reports[step] = record
        self.progress.report(step, shown | record)
        return record
