"""The training loop: any module, any loss, any source of data."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack

import torch
from torch import Tensor, nn

from hourglass.runtime import ranks, tricks
from hourglass.runtime.forks import compute_alone_after_fork
from hourglass.runtime.hardware import keep_freed_memory
from hourglass.training.checkpoints import Checkpoints
from hourglass.training.events import Display, EarlyEnd, Evaluation, FiniteChecks, Listener, Report
from hourglass.training.history import History
from hourglass.training.interruption import Interruption
from hourglass.training.objectives import Corrupt, Objective, Supervised
from hourglass.training.parallel import DataParallel
from hourglass.training.progress import Progress
from hourglass.training.sampler import Order
from hourglass.training.saving import Saving
from hourglass.training.schedules import Schedule, constant
from hourglass.training.source import Source
from hourglass.training.state import State
from hourglass.training.stopping import EarlyStopping


class Trainer:
    """Trains a module by mini-batches.

    Parameters
    ----------
    module : torch.nn.Module
        Network to train, on the device of the data; its weights are changed in place.
    loss : callable
        Function that takes the module's output, the target and, where the source has weights, the weight of each row.
        It returns the mean loss as a scalar tensor.
    optimiser : torch.optim.Optimizer
        Optimiser of the module's parameters; the ``lr`` of each group is the peak that ``schedule`` scales.
    source : Source
        Training data, addressed by index.
    sampler : Order
        Indices of each batch, as ``source.order`` makes it.
    n_steps : int
        Number of training steps, each with one batch.
    schedule : callable, default=constant
        Function from the share of the steps done, in [0, 1), to a factor of the learning rate.
    corrupt : callable, optional
        Function applied to the inputs of every batch, not to the targets. It returns the corrupted inputs, alone or
        followed by a boolean mask of the outputs' shape or None; with a mask, the loss is computed at the masked places
        alone. Anything that follows the mask, such as the level of the noise, is passed to the module after the
        inputs. By default the inputs stay as they are.
    objective : Objective, optional
        What a step minimises, in place of ``loss`` and ``corrupt``. By default it is the loss of the outputs for the
        corrupted inputs.
    precision : {"float32", "bfloat16"}, default="float32"
        Precision of the forward pass; weights, loss and optimiser keep theirs.
    reports : sequence of Report, default=()
        Measurements made during training; their numbers are in ``history.reports``.
    stopping : EarlyStopping, optional
        Ends training early and restores the best weights; by default all steps are done.
    progress : Progress, optional
        Shows the course of the training; by default nothing is shown.
    checkpoints : Checkpoints, optional
        Where the state is written at intervals and at the end, and from where an unfinished run is resumed, bit for
        bit. SIGINT and SIGTERM then wait until the step is done and its checkpoint is written. By default no
        checkpoint is written.
    generators : sequence of torch.Generator, default=()
        Random generators of ``corrupt`` or ``objective``, whose state belongs to a checkpoint.

    Attributes
    ----------
    state : State
        Everything that the next step depends on, with the history.
    """

    def __init__(
        self,
        module: nn.Module,
        loss: Callable[..., Tensor],
        optimiser: torch.optim.Optimizer,
        source: Source,
        *,
        sampler: Order,
        n_steps: int,
        schedule: Schedule = constant,
        corrupt: Corrupt | None = None,
        objective: Objective | None = None,
        precision: str = "float32",
        reports: Sequence[Report] = (),
        stopping: EarlyStopping | None = None,
        progress: Progress | None = None,
        checkpoints: Checkpoints | None = None,
        generators: Sequence[torch.Generator] = (),
    ) -> None:
        self.module, self.optimiser = module, optimiser
        self.source, self.sampler = source, sampler
        self.n_steps, self.schedule = n_steps, schedule
        self.objective, self.precision = objective or Supervised(loss, corrupt), precision
        self.stopping = stopping
        self.progress = progress or Progress()
        self.checkpoints = checkpoints
        self.state = State(module, optimiser, sampler, generators, stopping, n_steps, len(source))
        self._evaluation = Evaluation(reports)
        self._parallel: DataParallel | None = None
        self._peaks = [group["lr"] for group in optimiser.param_groups]

    @property
    def history(self) -> History:
        """Record of the steps done so far; the losses of the last ones may be missing until they are collected."""
        return self.state.history

    @property
    def train_seconds(self) -> float:
        """Seconds in training so far, without the reports.

        After an interruption, the seconds before it are included.
        """
        return self.state.stopwatch.seconds

    @property
    def images_per_second(self) -> float | None:
        """Images per second without the first 20 steps; None before the end, or where there were no more steps."""
        return self.state.stopwatch.images_per_second

    def run(self) -> History:
        """Train until the last step, or until ``stopping`` ends the training.

        With ``checkpoints``, a run that is unfinished is resumed. The module is left in inference mode. Where
        ``torch.distributed`` is initialised, all processes of the group train together, and call this with equal
        arguments; that of rank 0 writes the checkpoints, which another number of processes can resume.

        Returns
        -------
        History
            Record of all steps.

        Raises
        ------
        FloatingPointError
            When a loss, or a weight at the end, is not finite; the message names the step and the learning rate.
        Interrupted
            When SIGINT or SIGTERM has come, with ``checkpoints``; the checkpoint is written.
        LostProcessError
            When another process of the group has ended or does not answer; a ConnectionError.
        KeyboardInterrupt
            When SIGINT has come, without ``checkpoints``; or a second time, with them.
        OSError
            When a checkpoint cannot be written.
        ValueError
            When the checkpoints belong to another run; with several processes, when a batch has fewer rows than there
            are processes, or a batch normalisation cannot be synchronised.
        """
        compute_alone_after_fork()
        if self.source.device.type == "cpu" and tricks.uses("allocator"):
            keep_freed_memory()
        self.module.train()
        self.progress.start(self.n_steps)
        with ExitStack() as closing:
            closing.callback(self.progress.stop)
            over = self.checkpoints is not None and self._resume(self.checkpoints)
            closing.callback(self.module.eval)
            if ranks.count() > 1 and not over:
                self._parallel = DataParallel(self.module)
            try:
                if self.checkpoints is None:
                    self._train(None)
                else:
                    with Interruption() as interruption:
                        saving = Saving(self.checkpoints, interruption, self.state)
                        if not over:
                            self._train(saving)
                    saving.end(self.state)
            except KeyboardInterrupt:
                self.state.truncate()
                raise
        if self.stopping is not None:
            self.stopping.restore(self.module)
        return self.history

    def _train(self, saving: Saving | None) -> None:
        """Do the steps that are left, and call the listeners at each event."""
        state, watch, evaluation = self.state, self.state.stopwatch, self._evaluation
        listeners: list[Listener] = [FiniteChecks(evaluation), evaluation, Display(self.progress), EarlyEnd()]
        listeners += [] if saving is None else [saving]
        watch.start(state.step, state.seen)
        for step in range(state.step + 1, self.n_steps + 1):
            rate = self._set_learning_rate((step - 1) / self.n_steps)
            index = next(self.sampler)
            state.record(index, self.step(index), rate)
            for listener in listeners:
                listener.step_done(state)
            if evaluation.is_due(state):
                self._share_buffers()
                with watch.paused():
                    for listener in listeners:
                        listener.evaluation_due(state)
            if saving is not None and saving.is_due(state):
                self._share_buffers()
                for listener in listeners:
                    listener.checkpoint_due(state)
            if state.over:
                break
        self._share_buffers()
        state.check_weights()
        watch.stop(state.step, state.seen)

    def step(self, index: Tensor) -> Tensor:
        """Do one training step: forward pass, loss, gradient, and the optimiser's change of the weights.

        Parameters
        ----------
        index : torch.Tensor of shape (batch_size,), int64
            Rows of the source that make the batch.

        Returns
        -------
        torch.Tensor of shape ()
            Loss of the batch before the weights were changed, without gradient, on the device of the data; of several
            processes, the part that this one adds to it.
        """
        step, done = self.state.step + 1, self.state.step / self.n_steps
        if self._parallel is None:
            drawn = self.objective.draw(*self.source.take(index, step), self.source.weights(index))
            loss = self.objective(self._forward, drawn, done)
        else:
            drawn, share = self._parallel.part(self.source, self.objective, index, step)
            loss = self.objective(self._forward, drawn, done) * share
        self.optimiser.zero_grad()
        if self._parallel is None:
            loss.backward()
        else:
            self._parallel.backward(loss)
        self.optimiser.step()
        return loss.detach()

    def _forward(self, inputs: Tensor, *further: Tensor) -> Tensor:
        with torch.autocast(inputs.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
            output: Tensor = self._computing(inputs, *further)
        return output

    @property
    def _computing(self) -> nn.Module:
        """The module as it is called in training steps."""
        return self.module if self._parallel is None else self._parallel.module

    def _share_buffers(self) -> None:
        if self._parallel is not None:
            self._parallel.share_buffers()

    def _resume(self, checkpoints: Checkpoints) -> bool:
        """Restore the newest checkpoint; True where no step is left to do."""
        stored = ranks.on_first(checkpoints.load)
        if stored is None:
            return False
        try:
            self.state.restore(*stored)
        except (KeyError, IndexError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise ValueError(
                f"{checkpoints.folder}: its checkpoint does not fit this run ({error}); choose another folder"
            ) from error
        self.progress.resume(self.state.step, self.n_steps)
        return self.state.over

    def _set_learning_rate(self, done: float) -> float:
        factor = self.schedule(done)
        for group, peak in zip(self.optimiser.param_groups, self._peaks, strict=True):
            group["lr"] = peak * factor
        return float(self._peaks[0] * factor)
