"""Training of an estimator's network: beside the one that it has, and taken over when it has succeeded."""

import copy
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hourglass.atomic import locked
from hourglass.estimators.checks import check_pixel_range, warn_if_dead
from hourglass.estimators.given import image_source
from hourglass.estimators.held_out import Corrupt, HeldOut, Measure, averages
from hourglass.estimators.identity import identity_of
from hourglass.estimators.pieces import apply_in_pieces
from hourglass.nn import Codec, dead_units
from hourglass.persistence import differences
from hourglass.runtime import ranks
from hourglass.runtime.forks import compute_alone_after_fork
from hourglass.runtime.hardware import deterministic_algorithms, resolve_device, resolve_precision
from hourglass.training import (
    LOSSES,
    OPTIMISERS,
    SCHEDULES,
    Checkpoints,
    EarlyStopping,
    Interval,
    Objective,
    Observer,
    Progress,
    Report,
    Source,
    Trainer,
    progress_for,
    warmed_up,
)

Estimator = Any
"""A :class:`hourglass.estimators.NetworkEstimator`, whose module imports this one."""

# What training lasts where nobody says: enough for a first look at any data, in seconds.
DEFAULT_STEPS = 500
# Share of the peak rate at which a network learns on whose rate has gone down to almost nothing.
CONTINUING_SHARE = 0.1
# Steps over which the rate rises where Adam has lost its moments.
WARM_UP = 100
# Training images on which units are counted that are off for all of them.
IMAGES_TO_COUNT_ON = 256

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True, kw_only=True)
class Task:
    """What one call of ``fit`` or ``partial_fit`` trains on, and how.

    Parameters
    ----------
    source : Source
    measure : callable
        Of outputs and targets, to numbers by name. They are recorded as ``validation_…`` and, with
        ``report_training``, of each reported batch as ``training_…``.
    prepare : callable, optional
        Called with a new network, before its first step.
    corrupt : callable, optional
        Of a batch and a generator; see :class:`hourglass.training.Trainer`.
    objective : callable, optional
        Of a generator on the device of the training, to the :class:`hourglass.training.Objective` of its steps.
    report_training : bool, default=False
    validation : HeldOut, optional
    progress : Progress, optional
        By default as the estimator's ``verbose`` says.
    observer : Observer, optional
    continues : bool, default=False
        Whether training goes on from the weights that the estimator has.
    one_pass : bool, default=False
        One pass over the images at one rate, as ``partial_fit`` does, in place of the schedule.
    """

    source: Source
    measure: Measure
    prepare: Callable[[Any], None] = lambda network: None
    corrupt: Corrupt | None = None
    objective: Callable[[torch.Generator], Objective] | None = None
    report_training: bool = False
    validation: HeldOut | None = None
    progress: Progress | None = None
    observer: Observer | None = None
    continues: bool = False
    one_pass: bool = False


@contextmanager
def transaction(estimator: Estimator) -> Iterator[None]:
    """Put an estimator back as it was, with the state of its random numbers, where the block raises.

    After KeyboardInterrupt in training what had been reached is kept as ``partly_trained_``, an estimator of its own.
    """
    before = dict(estimator.__dict__)
    streams = [stream for stream in before.values() if isinstance(stream, np.random.RandomState)]
    states = [stream.get_state() for stream in streams]
    try:
        yield
    except BaseException as error:
        reached = copy.copy(estimator) if estimator.__dict__.pop("_interrupted", False) else None
        estimator.__dict__.clear()
        estimator.__dict__.update(before)
        for stream, state in zip(streams, states, strict=True):
            stream.set_state(state)
        if isinstance(error, KeyboardInterrupt) and reached is not None:
            estimator.partly_trained_ = reached
            error.add_note(
                f"The estimator is as it was before this call; after {len(reached.history_)} steps the network that "
                "was in training is in partly_trained_, an estimator of its own."
            )
        raise
    estimator.__dict__.pop("partly_trained_", None)


def train(estimator: Estimator, task: Task) -> None:
    """Train a network as a task and the estimator's parameters say, and give the estimator what came of it.

    Until it has succeeded, the estimator keeps the network, the optimiser and the record that it had.
    """
    if estimator.patience is not None and task.validation is None and not task.one_pass:
        raise ValueError(
            f"patience={estimator.patience} needs held-out images to watch; "
            "set validation_fraction, as validation_fraction=0.1, or give fit validation_data"
        )
    compute_alone_after_fork()
    started = time.perf_counter()
    device = resolve_device(estimator.device)
    weights_seed, order_seed, noise_seed = (int(seed) for seed in estimator._random.randint(2**31 - 1, size=3))
    if task.continues:
        network, optimiser = _copies(estimator)
    else:
        network, optimiser = estimator._network(weights_seed), None
        task.prepare(network)
        network = network.to(device).to(memory_format=torch.channels_last)
    warm_up = task.continues and optimiser is None
    rate = _rate(estimator) if task.continues else estimator.learning_rate
    if optimiser is None:
        optimiser = OPTIMISERS[estimator.optimiser](network.parameters(), rate)
    for group in optimiser.param_groups:  # a schedule has left its last rate there
        group["lr"] = rate
    source = task.source.to(device)
    noise_generator = torch.Generator(device).manual_seed(noise_seed)
    epoch = math.ceil(len(source) / min(estimator.batch_size, len(source)))
    n_steps = epoch if task.one_pass else count_steps(estimator, len(source), epoch)
    schedule = SCHEDULES["constant" if task.one_pass else estimator.schedule]
    estimator.device_ = str(device)
    estimator.precision_ = resolve_precision(estimator.precision, device, pays=estimator._bfloat16_pays)
    corrupt, checkpoints = task.corrupt, None
    if ranks.count() > 1 or estimator.checkpoint_dir is not None:
        identity = identity_of(estimator, task.source, task.validation, n_steps)
        _check_same(identity | {"checkpoints": estimator.checkpoint_dir is not None, "order": order_seed})
        checkpoints = None if task.one_pass else _checkpoints(estimator, identity)
    trainer = Trainer(
        network,
        LOSSES[estimator.loss],
        optimiser,
        source,
        sampler=source.order(estimator.batch_size, torch.Generator().manual_seed(order_seed)),
        n_steps=n_steps,
        schedule=warmed_up(schedule, min(WARM_UP, n_steps) / n_steps) if warm_up else schedule,
        corrupt=None if corrupt is None else lambda images: corrupt(images, noise_generator),
        objective=None if task.objective is None else task.objective(noise_generator),
        precision=estimator.precision_,
        reports=_reports(estimator, task, network, source, estimator.report_every or epoch),
        stopping=EarlyStopping("validation_loss", estimator.patience)
        if estimator.patience and not task.one_pass
        else None,
        progress=_progress(estimator, task),
        checkpoints=checkpoints,
        generators=[noise_generator],
    )
    setup = time.perf_counter() - started
    kept = locked(trainer.checkpoints.folder) if trainer.checkpoints is not None and ranks.is_first() else nullcontext()
    try:
        with kept, deterministic_algorithms(wanted=estimator.deterministic):
            trainer.run()
    except KeyboardInterrupt:
        estimator._interrupted = len(trainer.history) > 0
        _take_over(estimator, task, trainer, setup)
        raise
    _take_over(estimator, task, trainer, setup)
    # From here on an interruption finds the training done.
    estimator._interrupted = True
    looked_at = source.first(IMAGES_TO_COUNT_ON)
    estimator.dead_units_ = dead_units(network, looked_at)
    warn_if_dead(network, looked_at)
    del estimator._interrupted


def check_validation(estimator: Estimator, validation_data: Any) -> tuple[Source, Any]:
    """Images and targets to measure, the images checked as those of training are."""
    if not isinstance(validation_data, tuple | list) or len(validation_data) != 2:
        raise ValueError("validation_data is no pair; expected (images, targets)")
    if estimator.validation_fraction is not None:
        raise ValueError(
            f"validation_data and validation_fraction={estimator.validation_fraction!r} both say what is held out; "
            "give one of them"
        )
    images, targets = validation_data
    source = image_source(estimator, images, "validation_data[0]")
    if len(source):
        check_pixel_range(*source.value_range(), estimator.pixel_range_, name="validation_data[0]")
    if len(source) != len(targets):
        raise ValueError(
            f"validation_data has {len(source)} images and {len(targets)} targets; give one target an image"
        )
    return source, targets


def start_at_mean(codec: Codec, source: Source, starting_bias: Callable[[Tensor], Tensor] | None) -> None:
    """Set the last layer's bias so that the untrained network gives about the mean of the wanted outputs."""
    mean = torch.from_numpy(source.mean_target()).float()
    # One bias for all pixels takes the logit of their common mean, not the mean of their logits.
    if codec.output_bias.numel() != mean.numel():
        mean = mean.mean((0, 1), keepdim=True)
    codec.set_output_bias(mean if starting_bias is None else starting_bias(mean))


def _take_over(estimator: Estimator, task: Task, trainer: Trainer, setup: float) -> None:
    """Give the estimator the network that was trained, its optimiser, and the record."""
    estimator.network_, estimator._optimiser = trainer.module, trainer.optimiser
    remember_network(estimator)
    estimator.__dict__.pop("dead_units_", None)  # of the network before
    if not task.continues:
        estimator.__dict__.pop("notes_", None)
    estimator.history_ = trainer.history
    estimator.n_steps_ = len(trainer.history) + (estimator.n_steps_ if task.continues else 0)
    estimator.train_seconds_ = setup + trainer.train_seconds
    estimator.images_per_second_ = trainer.images_per_second
    if not task.one_pass:
        estimator._annealed = estimator.schedule != "constant"
    elif not task.continues:
        estimator._annealed = False


def _copies(estimator: Estimator) -> tuple[Any, torch.optim.Optimizer | None]:
    """Copies of the network and of its optimiser, if that is there and of the kind that the parameters name."""
    optimiser = getattr(estimator, "_optimiser", None)
    if type(optimiser) is not OPTIMISERS[estimator.optimiser]:
        return copy.deepcopy(estimator.network_), None
    # Together, so that the one's parameters stay the other's.
    network, optimiser = copy.deepcopy((estimator.network_, optimiser))
    return network, optimiser


def _rate(estimator: Estimator) -> float:
    """Learning rate with which training goes on."""
    if estimator.continue_learning_rate is not None:
        return float(estimator.continue_learning_rate)
    return float(estimator.learning_rate) * (CONTINUING_SHARE if getattr(estimator, "_annealed", True) else 1)


def count_steps(estimator: Estimator, images: int, epoch: int) -> int:
    """How many steps ``fit`` does of so many images, of which an epoch takes so many steps."""
    if estimator.n_steps is not None:
        return int(estimator.n_steps)
    if estimator.epochs is not None:
        return math.ceil(float(estimator.epochs) * images / min(int(estimator.batch_size), images))
    return max(DEFAULT_STEPS, epoch)


def _reports(estimator: Estimator, task: Task, network: nn.Module, source: Source, every: int) -> list[Report]:
    def training_report(index: Tensor, step: int) -> dict[str, float]:
        if not task.report_training:
            return {}
        mine = index[ranks.part(len(index))]
        inputs, targets = source.take(mine, step)
        numbers = averages([(len(mine), task.measure(network(inputs), targets))])
        return {f"training_{name}": value for name, value in numbers.items()}

    reports = [Report(training_report, every)]
    if task.validation is not None:
        held_out = task.validation.to(source.device)

        def validation_report(index: Tensor, step: int) -> dict[str, float]:
            numbers = held_out.measure(
                lambda inputs: apply_in_pieces(network, inputs, estimator.image_shape_), task.measure
            )
            return {f"validation_{name}": value for name, value in numbers.items()}

        reports.append(Report(validation_report, estimator.validate_every or every))
    if (observer := task.observer) is not None:
        observer.begin(network.train())
        reports.append(Report(lambda index, step: observer.measure(network), every))
    return reports


def _progress(estimator: Estimator, task: Task) -> Progress:
    if not ranks.is_first():
        return Progress()
    return task.progress or progress_for(type(estimator).__name__, quiet=not estimator.verbose)


def _check_same(identity: dict[str, Any]) -> None:
    """Raise ValueError unless all processes train the same."""
    first, *others = ranks.gathered(identity)
    for rank, other in enumerate(others, 1):
        if said := differences(first, other):
            raise ValueError(
                f"rank 0 and rank {rank} do not train the same: {said}; start every process with the same command and "
                "the same files"
            )


def _checkpoints(estimator: Estimator, identity: dict[str, Any]) -> Checkpoints | None:
    if estimator.checkpoint_dir is None:
        return None
    surroundings = {
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "the number of processes": ranks.count(),
    }
    return Checkpoints(estimator.checkpoint_dir, identity, Interval.parse(estimator.checkpoint_every), surroundings)


def remember_network(estimator: Estimator) -> None:
    """Note the parameters that describe the network which the estimator has."""
    estimator._described = _description(estimator)


def describes_network(estimator: Estimator) -> bool:
    """Whether the parameters still describe the network that was trained with them."""
    return bool(estimator._described == _description(estimator))


def _description(estimator: Estimator) -> dict[str, Any]:
    """The parameters that say what a network computes; lists, such as a file gives back, are tuples."""
    values = {name: getattr(estimator, name) for name in estimator._network_parameters}
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    return values | {"output": estimator._activation}
