"""Runs of an experiment: training, scores, comparison, figures."""

import json
import os
import shutil
import time
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from numbers import Integral
from pathlib import Path
from typing import Any

from sklearn.base import clone

from hourglass.atomic import check_writable, locked
from hourglass.data import Dataset
from hourglass.estimators import NetworkEstimator
from hourglass.estimators.identity import CHECKPOINT_PARAMETERS
from hourglass.estimators.records import parameter_to_json
from hourglass.experiments.baselines import Scores
from hourglass.experiments.declared import Experiment, find
from hourglass.experiments.environment import environment
from hourglass.experiments.evaluation import protocol_of
from hourglass.experiments.result import LOG, STATE, Result, Run, run_folder, unfinished_folder, unfinished_runs
from hourglass.experiments.store_data import load_dataset
from hourglass.persistence import differences, is_longer
from hourglass.runtime import ranks
from hourglass.runtime.hardware import resolve_device, resolve_precision
from hourglass.training import LoggedProgress, progress_for

# Parameters of the estimator that a run's files do not list: they are kept elsewhere, or do not change the result.
_NOT_PARAMETERS = ("device", "precision", "random_state", "verbose", *CHECKPOINT_PARAMETERS)


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
    command: str | None = None,
    **parameters: Any,
) -> Result:
    """Run an experiment.

    Where ``torch.distributed`` is initialised, the processes of the group train together, and that of rank 0 does
    everything else. Each calls this function with equal arguments, and gets the result.

    Parameters
    ----------
    name : str
        Name of the experiment, as ``hourglass list`` shows it.
    dataset : {"sample", "mnist", "fashion-mnist"}, str or Dataset, default="sample"
        Data set to train and test on: a name, the path or address of a Zarr that ``hourglass pack`` has written, or
        data in memory.
    data_dir : path-like, optional
        Folder of the data set's files; see :func:`hourglass.load`.
    recipe : {"classic", "fast"}, default="classic"
        ``classic`` is the notebooks' schedule; ``fast`` is ours, which reaches the same quality sooner.
    seeds : iterable of int, default=(0,)
        Seeds from 0, each for one training; at least one and none twice.
    out : path-like, optional
        Folder that gets each run's files; by default nothing is written.
    resume : bool, optional
        Whether to keep finished runs in ``out`` and to resume unfinished ones from their last checkpoints, bit for bit.
        By default True where ``out`` has an unfinished run. A finished run that differs only in fewer ``epochs`` or
        ``n_steps`` is lengthened. Runs that do not exist yet are begun.
    checkpoint_every : str or float, default="60s"
        How often a run in ``out`` writes a checkpoint; see :class:`hourglass.DenseAutoencoder`.
    verbose : int, default=0
        1 shows progress on standard error; 0 shows nothing.
    on_run : callable, optional
        Function that is called with each finished :class:`Run`.
    say : callable, optional
        Function that is called with a line of text on what happens between the trainings.
    command : str, optional
        Command line that the runs record, and that the report shows; by default none.
    **parameters : Any
        Parameters of the estimator that replace the recipe's, such as ``epochs``, ``device`` or ``precision``.

    Returns
    -------
    Result
        The runs, in the order of the seeds.

    Raises
    ------
    ValueError
        When a name or a parameter is unknown or out of range, before anything is trained; when a folder in ``out``
        belongs to a run with other settings.
    TypeError
        When a parameter is an object that a run's files cannot store, such as a callable ``corruption`` or ``norm``.
    FileExistsError
        When ``out`` has one of these runs already, and ``resume`` is not True.
    BlockingIOError
        When another process is writing to ``out``.
    Interrupted
        When SIGINT or SIGTERM has come, with ``out``; the checkpoint is written.
    ConnectionError
        When the data set is neither on this computer nor can be downloaded; when another process of the group has
        ended or does not answer.
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
    _parameters(estimator)  # raises where a run's files cannot store them
    device = resolve_device(estimator.device)
    resolve_precision(estimator.precision, device)
    if out is not None:
        resume = ranks.on_first(lambda: check_out(out, [name], recipe, seeds, resume=resume))
        estimator.set_params(checkpoint_every=checkpoint_every)
    data = load_dataset(dataset, data_dir)
    protocol_of(estimator).check(data, name)

    done: dict[int, Run] = {}
    with locked(out) if out is not None and ranks.is_first() else nullcontext():
        if out is not None:
            # Another process may have written since.
            ranks.at_first(lambda: check_out(out, [name], recipe, seeds, resume=resume))
        if out is not None and resume:
            done = ranks.on_first(lambda: _finished(Path(out), experiment, recipe, seeds, estimator, data, say))
        compared: dict[str, Scores] = {}
        if len(done) < len(seeds):
            protocol = protocol_of(estimator)
            compared = ranks.on_first(
                lambda: protocol.baselines(estimator, data, lambda message: say(f"{name}: {message}"))
            )
        for seed in seeds:
            if seed in done:
                continue
            done[seed] = _run_one(experiment, recipe, estimator, data, seed, compared, verbose, out, command)
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
    """Read the runs that are finished already, by seed; prepare those that are to be lengthened."""
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
                if (folder / LOG).exists():
                    shutil.copy2(folder / LOG, unfinished)
            continue
        if said := differences(there, wanted):
            raise ValueError(
                f"{folder} holds another run: {said}; repeat its settings, or choose another folder (--out)"
            )
        # Remains of a process that was killed before it could delete them.
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


def check_out(
    out: str | os.PathLike[str],
    names: Iterable[str],
    recipe: str,
    seeds: Iterable[int],
    *,
    resume: bool | None = None,
) -> bool:
    """Check, before anything is trained, that every run can be written.

    Parameters
    ----------
    out : path-like
        Folder of all runs.
    names : iterable of str
        Names of the experiments.
    recipe : {"classic", "fast"}
        Name of the recipe.
    seeds : iterable of int
        Seeds of the runs.
    resume : bool, optional
        Whether to keep finished runs and resume unfinished ones. By default True where ``out`` has an unfinished run.

    Returns
    -------
    bool
        The value of ``resume``, or its default for this folder.

    Raises
    ------
    FileExistsError
        When one of the runs is finished already, and ``resume`` is not True.
    OSError
        When ``out`` cannot be written to.
    """
    out = Path(out)
    check_writable(out)
    if resume is None:
        resume = bool(unfinished_runs(out))
    seeds = list(seeds)
    for folder in (run_folder(out, name, recipe, seed) for name in names for seed in seeds):
        if folder.exists() and not resume:
            raise FileExistsError(
                f"{folder} holds a finished run; resume (--resume) leaves it and does the others, or choose another "
                "folder (--out)"
            )
    return resume


def _run_one(
    experiment: Experiment,
    recipe: str,
    configured: NetworkEstimator,
    data: Dataset,
    seed: int,
    compared: dict[str, Scores],
    verbose: int,
    out: str | os.PathLike[str] | None,
    command: str | None,
) -> Run:
    started = time.perf_counter()
    estimator = clone(configured).set_params(random_state=seed)
    log = None
    if out is not None:
        unfinished = unfinished_folder(out, experiment.name, recipe, seed)
        ranks.at_first(lambda: _prepare(unfinished, seed))
        estimator.set_params(checkpoint_dir=unfinished)
        log = unfinished / LOG if ranks.is_first() else None
    description = f"{experiment.name} {recipe} seed {seed}"
    shown = progress_for(description, quiet=not verbose or not ranks.is_first())
    progress = LoggedProgress(shown, description, log)
    protocol = protocol_of(estimator)
    try:
        protocol.train(estimator, data, progress)
    except BaseException:
        # Without a checkpoint the training begins anew, and so does its log.
        if log is not None and not any(log.parent.glob("checkpoint-*")):
            log.unlink(missing_ok=True)
        raise
    figures: dict[str, Any] = {}  # of rank 0 alone, which writes them

    def finish() -> Scores:
        figures.update(protocol.figures(estimator, data, experiment.name, seed))
        return protocol.score(estimator, data)

    scores = ranks.on_first(finish)
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
        environment=environment(estimator) | ({} if command is None else {"command": command}),
        history=estimator.history_,
        estimator=estimator,
        figures=figures,
        log=progress.text,
    )
    if out is not None:
        ranks.at_first(lambda: _write(run, Path(out), unfinished))
    return run


def _prepare(unfinished: Path, seed: int) -> None:
    """Make the folder of an unfinished run."""
    unfinished.mkdir(parents=True, exist_ok=True)
    for remains in unfinished.parent.glob(f".seed-{seed}-*"):  # left by a process that was killed while it wrote
        shutil.rmtree(remains)


def _write(run: Run, out: Path, unfinished: Path) -> None:
    """Write a finished run, whose unfinished folder is then gone."""
    run.write(out, state=unfinished, replace=True)
    shutil.rmtree(unfinished)


def _parameters(estimator: NetworkEstimator) -> dict[str, Any]:
    ruling = {name: value for name, value in estimator.ruling_parameters().items() if name not in _NOT_PARAMETERS}
    return {name: parameter_to_json(name, value) for name, value in ruling.items()}
