"""Running an experiment: train, score, compare, draw."""

import json
import os
import platform
import shutil
import time
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from sklearn.base import clone

import hourglass
from hourglass.atomic import check_writable, locked
from hourglass.data import Dataset, load
from hourglass.estimators import Autoencoder, ConvAutoencoder, ConvClassifier, NetworkEstimator
from hourglass.estimators.facts import is_longer, ruling_parameters
from hourglass.estimators.fitting import CHECKPOINT_PARAMETERS
from hourglass.experiments import evaluation
from hourglass.experiments.baselines import Scores, baselines
from hourglass.experiments.checkerboard import checkerboard_figure
from hourglass.experiments.declared import Experiment, find
from hourglass.experiments.result import STATE, Result, Run, run_folder, unfinished_folder, unfinished_runs
from hourglass.metrics import SMALLEST_FOR_SSIM
from hourglass.models import parameter_to_json
from hourglass.persistence import differences
from hourglass.plots import classifier_curves
from hourglass.runtime.hardware import resolve_device, resolve_precision
from hourglass.training import Progress, progress_for

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Where the numbers of a run's surroundings are kept, not among the parameters.
_NOT_PARAMETERS = ("device", "precision", "random_state", "verbose", *CHECKPOINT_PARAMETERS)
# Of the test images, for the curve: enough for a steady loss, few enough to cost nothing.
_CURVE_IMAGES = 1000


def run(
    name: str,
    *,
    dataset: str | Dataset = "sample",
    data_dir: str | os.PathLike[str] | None = None,
    recipe: str = "classic",
    seeds: Iterable[int] = (0,),
    out: str | os.PathLike[str] | None = None,
    resume: bool | None = None,
    checkpoint_every: str | float = "60s",
    verbose: int = 0,
    on_run: Callable[[Run], None] | None = None,
    say: Callable[[str], None] = lambda message: None,
    **parameters: Any,
) -> Result:
    """Run an experiment.

    Parameters
    ----------
    name : str
        One of the experiments, as ``hourglass list`` shows them.
    dataset : {"sample", "mnist", "fashion-mnist"} or Dataset, default="sample"
    data_dir : path-like, optional
        Where the data set's files are; see :func:`hourglass.load`.
    recipe : {"classic", "fast"}, default="classic"
        The notebooks' schedule, or ours that reaches its quality sooner.
    seeds : iterable of int, default=(0,)
        One training for each.
    out : path-like, optional
        Folder for each run's files; by default nothing is written.
    resume : bool, optional
        Leave finished runs in ``out`` as they are and resume an unfinished one from its last checkpoint, bit for
        bit; by default where ``out`` holds an unfinished one. A finished run that differs in nothing but fewer
        ``epochs`` or ``n_steps`` is lengthened. What is missing is begun.
    checkpoint_every : str or float, default="60s"
        How often a run in ``out`` writes its state; see :class:`hourglass.DenseAutoencoder`.
    verbose : int, default=0
        1 shows progress on standard error.
    on_run : callable, optional
        Called with each finished :class:`Run`.
    say : callable, optional
        Called with a line on what is done between the trainings.
    **parameters
        Of the estimator, in place of the recipe's, such as ``epochs``, ``device`` or ``precision``.

    Returns
    -------
    Result

    Raises
    ------
    ValueError
        When a name or a parameter is unknown or out of range, before anything is trained.
    TypeError
        When a parameter is an object that a run's files cannot hold, such as a callable ``corruption``.
    FileExistsError
        When ``out`` has one of these runs already, and ``resume`` does not say to leave it.
    BlockingIOError
        When another process is at work in ``out``.
    Interrupted
        By SIGINT or SIGTERM, when the checkpoint is written.
    ConnectionError
        When the data are neither here nor to be had.
    FloatingPointError
        When training diverges.

    Examples
    --------
    >>> import hourglass as hg
    >>> result = hg.run("dense", recipe="fast", n_steps=50)
    >>> sorted(result.scores)
    ['test_bce', 'test_mse', 'test_psnr_db', 'test_ssim']
    """
    experiment = find(name)
    seeds = _check_seeds(seeds)
    estimator = experiment.configure(recipe, **parameters)
    _parameters(estimator)  # which raises where a run's files could not hold them
    device = resolve_device(estimator.device)
    resolve_precision(estimator.precision, device)
    if out is not None:
        resume = check_out(out, [name], recipe, seeds, resume=resume)
        estimator.set_params(checkpoint_every=checkpoint_every)
    data = load(dataset, data_dir) if isinstance(dataset, str) else dataset
    _check_data(data, experiment)

    done: dict[int, Run] = {}
    with nullcontext() if out is None else locked(out):
        if out is not None:
            check_out(out, [name], recipe, seeds, resume=resume)  # another process may have been quicker
        if out is not None and resume:
            done = _finished(Path(out), experiment, recipe, seeds, estimator, data, say)
        compared = _compared(name, estimator, data, say) if len(done) < len(seeds) else {}
        for seed in seeds:
            if seed in done:
                continue
            done[seed] = _run_one(experiment, recipe, estimator, data, seed, compared, verbose, out)
            if on_run is not None:
                on_run(done[seed])
    return Result(name, recipe, data.name, tuple(done[seed] for seed in seeds))


def _finished(
    out: Path,
    experiment: Experiment,
    recipe: str,
    seeds: Iterable[int],
    estimator: NetworkEstimator,
    data: Dataset,
    say: Callable[[str], None],
) -> dict[int, Run]:
    """The runs that are there already, by seed."""
    found = {}
    for seed in seeds:
        folder = run_folder(out, experiment.name, recipe, seed)
        if not folder.exists():
            continue
        run = Run.read(folder)
        wanted = {"dataset": data.name} | json.loads(json.dumps(_parameters(estimator)))
        there = {"dataset": run.dataset} | run.parameters
        unfinished = unfinished_folder(out, experiment.name, recipe, seed)
        if is_longer(wanted, there) and (folder / STATE).is_dir():
            if not unfinished.exists():
                shutil.copytree(folder / STATE, unfinished)
            continue
        if said := differences(there, wanted):
            raise ValueError(f"{folder} holds another run: {said}; repeat its settings, or choose another --out")
        # Where it was killed between the last two steps.
        shutil.rmtree(unfinished, ignore_errors=True)
        say(f"{experiment.name} {recipe} seed {seed}: finished already, left as it is")
        found[seed] = run
    return found


def _check_seeds(seeds: Any) -> list[int]:
    numbers = list(seeds) if isinstance(seeds, Iterable) and not isinstance(seeds, str) else []
    whole = all(isinstance(seed, Integral) and not isinstance(seed, bool) and int(seed) >= 0 for seed in numbers)
    if not numbers or not whole or len(set(numbers)) < len(numbers):
        raise ValueError(f"seeds={seeds!r}; expected whole numbers from 0, at least one and none twice, as range(3)")
    return [int(seed) for seed in numbers]


def _compared(name: str, estimator: NetworkEstimator, data: Dataset, say: Callable[[str], None]) -> dict[str, Scores]:
    if not isinstance(estimator, Autoencoder):
        return {}
    level = evaluation.noise_level(estimator)
    say(f"{name}: scoring PCA" + (", total variation and non-local means" if level else ""))
    return baselines(data, estimator.code_size_for(data.train.images.shape[1:]), level)


def check_out(
    out: str | os.PathLike[str],
    names: Iterable[str],
    recipe: str,
    seeds: Iterable[int],
    *,
    resume: bool | None = None,
) -> bool:
    """Raise OSError, before anything is trained, unless every run can be written under ``out``.

    Returns
    -------
    bool
        Whether to leave finished runs and go on with unfinished ones: as ``resume`` says, or by what ``out`` holds.
    """
    out = Path(out)
    check_writable(out)
    if resume is None:
        resume = bool(unfinished_runs(out))
    seeds = list(seeds)
    for folder in (run_folder(out, name, recipe, seed) for name in names for seed in seeds):
        if folder.exists() and not resume:
            raise FileExistsError(
                f"{folder} holds a finished run; --resume leaves it and does the others, or choose another --out"
            )
    return resume


def _check_data(data: Dataset, experiment: Experiment) -> None:
    if isinstance(experiment.estimator, ConvClassifier):
        train, held = data.split_validation()
        if any(part.labels is None for part in (train, held, data.test)):
            raise ValueError(f"{data.name} has no labels; {experiment.name} is a classifier and needs them")
        if not len(held):
            raise ValueError(f"{data.name} holds out no validation images; {experiment.name} needs validation_size")
    elif min(data.test.images.shape[1:3]) < SMALLEST_FOR_SSIM:
        raise ValueError(
            f"{data.name} has images of {data.test.images.shape[1:3]} pixels; SSIM, with which "
            f"{experiment.name} is scored, needs {SMALLEST_FOR_SSIM} each way"
        )


def _run_one(
    experiment: Experiment,
    recipe: str,
    configured: Autoencoder | ConvClassifier,
    data: Dataset,
    seed: int,
    compared: dict[str, Scores],
    verbose: int,
    out: str | os.PathLike[str] | None,
) -> Run:
    started = time.perf_counter()
    estimator = clone(configured).set_params(random_state=seed)
    if out is not None:
        unfinished = unfinished_folder(out, experiment.name, recipe, seed)
        unfinished.mkdir(parents=True, exist_ok=True)
        for remains in unfinished.parent.glob(f".seed-{seed}-*"):  # of a write that was killed
            shutil.rmtree(remains)
        estimator.set_params(checkpoint_dir=unfinished)
    progress = progress_for(f"{experiment.name} {recipe} seed {seed}", quiet=not verbose)
    if isinstance(estimator, Autoencoder):
        scores, figures = _train_autoencoder(estimator, data, progress, seed)
    else:
        scores, figures = _train_classifier(estimator, data, progress, experiment.name)
    run = Run(
        experiment=experiment.name,
        recipe=recipe,
        dataset=data.name,
        seed=seed,
        parameters=_parameters(estimator),
        metrics=scores,
        baselines=compared,
        timing={
            "train_seconds": estimator.train_seconds_,
            "images_per_second": estimator.images_per_second_,
            "total_seconds": time.perf_counter() - started,
        },
        environment=environment(estimator),
        history=estimator.history_,
        estimator=estimator,
        figures=figures,
    )
    if out is not None:
        run.write(Path(out), state=unfinished, replace=True)
        shutil.rmtree(unfinished_folder(out, experiment.name, recipe, seed))
    return run


def _train_autoencoder(
    estimator: Autoencoder, data: Dataset, progress: Progress, seed: int
) -> tuple[Scores, dict[str, "Figure"]]:
    if estimator.validation_fraction is None:
        noisy = evaluation.test_inputs(data, evaluation.noise_level(estimator))
        shown = (noisy[:_CURVE_IMAGES], data.test.images[:_CURVE_IMAGES])
        estimator.fit(data.train.images, validation_data=shown, progress=progress)
    else:
        estimator.fit(data.train.images, progress=progress)
    figures = evaluation.autoencoder_figures(estimator, data)
    if isinstance(estimator, ConvAutoencoder) and estimator.noise is None:
        figures["checkerboards"] = checkerboard_figure(estimator, data, seed)
    return evaluation.score_autoencoder(estimator, data), figures


def _train_classifier(
    estimator: ConvClassifier, data: Dataset, progress: Progress, name: str
) -> tuple[Scores, dict[str, "Figure"]]:
    train, held = data.split_validation()
    labels, held_labels = np.asarray(train.labels), np.asarray(held.labels)
    estimator.fit(train.images, labels, validation_data=(held.images, held_labels), progress=progress)
    figures = {"curves": classifier_curves({name: [estimator.history_]})}
    return evaluation.score_classifier(estimator, data), figures


def _parameters(estimator: NetworkEstimator) -> dict[str, Any]:
    ruling = {name: value for name, value in ruling_parameters(estimator).items() if name not in _NOT_PARAMETERS}
    return {name: parameter_to_json(name, value) for name, value in ruling.items()}


def environment(estimator: NetworkEstimator) -> dict[str, Any]:
    """What produced the numbers: versions, processor, device, precision, threads."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "hourglass": hourglass.__version__,
        "platform": platform.platform(terse=True),
        "processor": _processor(estimator.device_),
        "device": estimator.device_,
        "precision": estimator.precision_,
        "threads": torch.get_num_threads(),
    }


def _processor(device: str) -> str:
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
