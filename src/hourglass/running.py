"""Experiments and studies, one after another, into one folder with its report."""

import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hourglass import experiments, lab, report
from hourglass.data import Dataset
from hourglass.errors import OptionError
from hourglass.experiments import EXPERIMENTS, OF_NOTEBOOKS, Result, Run
from hourglass.lab import STUDIES, Findings
from hourglass.runtime import ranks
from hourglass.runtime.workers import Workers

# Names that stand for all entries of a table, as it is when they are used.
GROUPS: dict[str, Mapping[str, Any]] = {
    "all": EXPERIMENTS,
    "notebooks": {name: EXPERIMENTS[name] for name in OF_NOTEBOOKS},
    "bn-lab": STUDIES,
}


def _ignore(_: object) -> None:
    pass


def run_many(
    names: str | Iterable[str],
    *,
    out: str | os.PathLike[str],
    dataset: str | Dataset = "sample",
    data_dir: str | os.PathLike[str] | None = None,
    recipe: str = "classic",
    seeds: int | Iterable[int] | None = None,
    resume: bool | None = None,
    checkpoint_every: str | float = "60s",
    jobs: int | None = None,
    cluster: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    verbose: int = 0,
    on_begun: Callable[[], None] = lambda: None,
    on_run: Callable[[Run], None] = _ignore,
    on_result: Callable[[Result | Findings], None] = _ignore,
    on_report: Callable[[Path], None] = _ignore,
    say: Callable[[str], None] = _ignore,
    command: str | None = None,
) -> list[Result | Findings]:
    """Run experiments and studies into a folder and write its report, as ``hourglass run`` does.

    The report is written again after each of them, also when a later one fails.

    Parameters
    ----------
    names : str or iterable of str
        Experiments and studies, as ``hourglass list`` shows them; ``"all"`` stands for all experiments,
        ``"notebooks"`` for those of the lessons' notebooks, and ``"bn-lab"`` for all studies. Experiments are run
        first.
    out : path-like
        Folder for the files of every run and for ``report.html``.
    dataset : {"sample", "mnist", "fashion-mnist"}, str or Dataset, default="sample"
        Images and labels; ``"sample"`` needs no download. For experiments also the path or address of a Zarr that
        ``hourglass pack`` has written; see :func:`hourglass.experiments.load_dataset`.
    data_dir : path-like, optional
        Folder with the data set's files; see :func:`hourglass.load`.
    recipe : {"classic", "fast"}, default="classic"
        Recipe of the experiments; see :func:`hourglass.run`.
    seeds : int or iterable of int, optional
        Number of seeds, which are then 0, 1, 2, …, or for experiments the seeds themselves. By default experiments
        have the seed 0, and studies as many as they declare.
    resume : bool, optional
        Whether finished runs of experiments are kept and an unfinished one is resumed; by default where ``out`` holds
        an unfinished one. Studies always resume.
    checkpoint_every : str or float, default="60s"
        How often an experiment's run writes its state; see :class:`hourglass.DenseAutoencoder`.
    jobs : int, optional
        Processes at once of a study on this machine, at least 1; by default one for each core.
    cluster : str, optional
        Address of a cluster on which studies run; see :func:`hourglass.lab.run_study`. Experiments run in this process.
    parameters : mapping of str to object, optional
        Parameters of the experiments' estimators, in place of the recipe's, such as ``{"epochs": 5}``; studies take
        ``n_steps`` alone. The command's ``--set``.
    verbose : int, default=0
        1 shows the progress of each training on standard error.
    on_begun : callable, optional
        Function that is called without arguments when everything that may be refused was checked.
    on_run : callable, optional
        Function that is called with each finished :class:`hourglass.Run` of an experiment.
    on_result : callable, optional
        Function that is called with what each experiment or study returned.
    on_report : callable, optional
        Function that is called at the end with the path of the report, also after an error.
    say : callable, optional
        Function that is called with a line of text on what is done between the trainings.
    command : str, optional
        Command line that the experiments' runs record, and that the report shows; by default none.

    Returns
    -------
    list of Result and Findings
        One for each experiment (:class:`hourglass.Result`) and study (:class:`hourglass.lab.Findings`).

    Raises
    ------
    OptionError
        When a name or a parameter is unknown, out of range, or none of a study's, or when ``cluster`` is given without
        a study; a ValueError, raised before anything is trained.
    FileExistsError
        When ``out`` holds one of the runs, and ``resume`` does not say to keep it.
    ValueError
        When ``out`` holds a run with other settings, or the data do not fit.
    BlockingIOError
        When another process is at work in ``out``.
    Interrupted
        When SIGINT or SIGTERM arrives during training; the checkpoint has been written.
    ConnectionError
        When the data can be neither found nor downloaded, or the cluster does not answer.
    WorkerLostError
        When a worker ended before its training of a study was done; the same call resumes.
    FloatingPointError
        When training diverges.

    See Also
    --------
    hourglass.run : Runs one experiment, in memory where no folder is named.
    hourglass.lab.run_study : Runs one study.

    Examples
    --------
    >>> import hourglass as hg
    >>> results = hg.run_many(["dense", "conv"], out="runs/first", recipe="fast")  # doctest: +SKIP
    >>> results[0].mean("test_psnr_db")  # doctest: +SKIP
    """
    chosen, studies = split([names] if isinstance(names, str) else list(names))
    for option, value in (("jobs", jobs), ("cluster", cluster)):
        if value is not None and not studies:
            raise OptionError(
                f"{option} (--{option}) is for studies; {chosen[0]} is an experiment, which this process trains, or "
                "several that torchrun starts"
            )
    try:
        Workers(1 if jobs is None else jobs, cluster)
    except ValueError as error:
        raise OptionError(str(error)) from error
    folder = Path(out)
    count, several = _seeds(seeds, studies)
    changed = dict(parameters or {})
    _check_parameters(chosen, studies, recipe, changed | {"checkpoint_every": checkpoint_every})
    if ranks.count() > 1 and studies:
        raise OptionError(
            f"{studies[0]} is a study, whose trainings are small; run it without torchrun, with jobs (--jobs)"
        )
    going_on = ranks.on_first(lambda: experiments.check_out(folder, chosen, recipe, several, resume=resume))
    if going_on and not resume:
        say(f"{folder} holds an unfinished run, which is resumed")
    loaded = experiments.load_dataset(dataset, data_dir)
    if studies and experiments.is_stored(loaded):
        raise OptionError(
            f"{studies[0]} is a study, which takes data in memory; choose a data set by its name (dataset)"
        )
    on_begun()
    results: list[Result | Findings] = []
    finished: list[Run] = []

    def note(run: Run) -> None:
        finished.append(run)
        on_run(run)

    try:
        for name in chosen:
            result = experiments.run(
                name,
                dataset=loaded,
                recipe=recipe,
                seeds=several,
                out=folder,
                resume=going_on,
                checkpoint_every=checkpoint_every,
                verbose=verbose,
                on_run=note,
                say=say,
                command=command,
                **changed,
            )
            results.append(result)
            on_result(result)
            ranks.at_first(lambda: report.write_report(folder))
        for name in studies:
            findings = lab.run_study(
                name,
                dataset=loaded,
                out=folder,
                seeds=count,
                n_steps=changed.get("n_steps"),
                jobs=jobs,
                cluster=cluster,
                say=say,
            )
            results.append(findings)
            on_result(findings)
    finally:
        # Whatever ended it, what was finished is on the page.
        if ranks.is_first() and (finished or results or studies):
            _report(folder, on_report)
    return results


def split(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Divide names into those of experiments and those of studies, each once.

    Parameters
    ----------
    names : sequence of str
        Experiments, studies and groups of them.

    Returns
    -------
    experiments : list of str
        Names of experiments.
    studies : list of str
        Names of studies.

    Raises
    ------
    OptionError
        When a name is unknown.
    """
    words = list(dict.fromkeys(word for name in names for word in GROUPS.get(name, (name,))))
    for word in words:
        if word not in EXPERIMENTS and word not in STUDIES:
            *known, last = [*EXPERIMENTS, *STUDIES, *GROUPS]
            raise OptionError(f"experiment {word!r} is unknown; choose one of {', '.join(known)} or {last}")
    return [word for word in words if word in EXPERIMENTS], [word for word in words if word in STUDIES]


def _seeds(seeds: int | Iterable[int] | None, studies: Sequence[str]) -> tuple[int | None, Iterable[int]]:
    """Seeds as studies take them, a number, and as experiments do."""
    if seeds is None:
        return None, (0,)
    if isinstance(seeds, int):
        if seeds < 1:
            raise OptionError(f"seeds={seeds}; expected a number of seeds above 0, or the seeds themselves")
        return seeds, range(seeds)
    if studies:
        raise OptionError(f"seeds={seeds!r}; {studies[0]} is a study and takes the number of seeds")
    return None, seeds


def _check_parameters(chosen: Sequence[str], studies: Sequence[str], recipe: str, parameters: dict[str, Any]) -> None:
    strange = [name for name in parameters if name not in ("n_steps", "checkpoint_every")]
    if studies and strange:
        raise OptionError(f"{studies[0]} is a study, and has no {strange[0]}; its settings are its own")
    try:
        for name in chosen:
            experiments.find(name).configure(recipe, **parameters)
    except ValueError as error:
        raise OptionError(str(error)) from error


def _report(folder: Path, on_report: Callable[[Path], None]) -> None:
    """Write the page; where another error is on its way, that is the one to be told."""
    on_its_way = sys.exc_info()[0] is not None
    try:
        page = report.write_report(folder)
    except (OSError, ValueError):
        if not on_its_way:
            raise
        return
    on_report(page)
