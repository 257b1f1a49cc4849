"""Results of runs: their numbers in memory, and a folder of files for each."""

import json
import os
import shutil
import statistics
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hourglass.atomic import sync_folder
from hourglass.estimators import NetworkEstimator
from hourglass.experiments.measures import METHODS, heading, written
from hourglass.markup import table
from hourglass.models import load_model, save
from hourglass.plots import save_figure
from hourglass.renames import FORMAT, FormatError, present_result
from hourglass.training import History

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RESULT, HISTORY, LOG = "result.json", "history.csv", "log.txt"
UNFINISHED = ".unfinished"
STATE = "state"


@dataclass(frozen=True, eq=False, repr=False)
class Run:
    """One training, with its scores and its figures.

    A notebook shows the metrics beside those of the methods without a network.

    Parameters
    ----------
    experiment : str
        Name of the experiment.
    recipe : {"classic", "fast"}
        Name of the recipe.
    dataset : str
        Name of the data set.
    seed : int
        Seed of the training, from 0.
    parameters : dict of str to JSON values
        Parameters of the estimator by name; of ``epochs`` and ``n_steps``, the one that decided the length.
    metrics : dict of str to float
        Of autoencoders ``test_bce`` (nats a pixel), ``test_mse``, ``test_psnr_db`` and ``test_ssim``; of classifiers
        ``validation_loss``, ``validation_accuracy``, ``test_loss``, ``test_accuracy``, ``single_image_accuracy`` and
        ``single_image_agreement``.
    baselines : dict of str to dict of str to float
        The same metrics for methods without a network, by the method's name.
    timing : dict of str to float or None
        ``train_seconds``, without evaluation; ``images_per_second`` in training without the first 20 steps, None where
        there were no more; ``total_seconds``, with evaluation.
    environment : dict of str to JSON values
        Versions, processor, device, precision and number of threads; ``date``, when the run was finished (UTC), and
        ``command``, its command line, if any. Runs of older versions have neither.
    history : History
        Losses and reports during training.
    estimator : NetworkEstimator
        The fitted estimator.
    figures : mapping of str to matplotlib.figure.Figure
        Figures by name; empty where the run was read from its folder.
    log : str, default=""
        Lines of the training's log; empty where the run is of an older version.
    """

    experiment: str
    recipe: str
    dataset: str
    seed: int
    parameters: dict[str, Any]
    metrics: dict[str, float]
    baselines: dict[str, dict[str, float]]
    timing: dict[str, float | None]
    environment: dict[str, Any]
    history: History
    estimator: NetworkEstimator
    figures: Mapping[str, "Figure"]
    log: str = ""

    def __repr__(self) -> str:
        return f"Run({summary(self.to_json())})"

    def _repr_html_(self) -> str:
        return run_table(self.to_json())

    def to_json(self) -> dict[str, Any]:
        """Collect what ``result.json`` contains.

        Returns
        -------
        dict of str to JSON values
            ``format`` and everything but history, estimator, figures and log, by name.
        """
        names = ("experiment", "recipe", "dataset", "seed", "parameters", "metrics", "baselines", "timing")
        return {"format": FORMAT} | {name: getattr(self, name) for name in (*names, "environment")}

    def write(self, out: Path, *, state: Path | None = None, replace: bool = False) -> Path:
        """Write the run's folder, which appears only when it is complete.

        Parameters
        ----------
        out : Path
            Folder of all runs; this run's is ``EXPERIMENT-RECIPE/seed-SEED`` in it.
        state : Path, optional
            Folder of the run's last checkpoint, which is copied: from it the run can be lengthened. By default the run
            cannot be lengthened.
        replace : bool, default=False
            Whether to replace a shorter run.

        Returns
        -------
        Path
            Folder of the run.

        Raises
        ------
        FileExistsError
            When the folder exists, without ``replace``.
        OSError
            When a file cannot be written; nothing is left of the new folder.
        """
        final = run_folder(out, self.experiment, self.recipe, self.seed)
        final.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(dir=final.parent, prefix=f".{final.name}-"))
        try:
            save(self.estimator, partial)
            self.history.write_csv(partial / HISTORY)
            if self.log:
                (partial / LOG).write_text(self.log, encoding="utf-8")
            for name, figure in self.figures.items():
                save_figure(figure, partial / f"{name}.png")
            text = json.dumps(self.to_json(), indent=2, allow_nan=False) + "\n"
            (partial / RESULT).write_text(text, encoding="utf-8")
            if state is not None:
                shutil.copytree(state, partial / STATE, ignore=shutil.ignore_patterns(".*", LOG))
            partial.chmod(0o755)
            if final.exists() and not replace:
                raise FileExistsError(f"{final} is there already; choose another folder (--out)")
            sync_folder(partial, files=True)
            if final.exists():
                # If the process ends between the two renames, the last checkpoint still exists.
                final.rename(partial.with_name(f"{partial.name}-shorter"))
            partial.rename(final)
            sync_folder(final.parent)
            shutil.rmtree(partial.with_name(f"{partial.name}-shorter"), ignore_errors=True)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        return final

    @classmethod
    def read(cls, folder: Path) -> "Run":
        """Read a run that :meth:`write` wrote; its figures are not read.

        Parameters
        ----------
        folder : Path
            Folder of the run.

        Returns
        -------
        Run
            The run, with the fitted estimator.

        Raises
        ------
        OSError
            When a file is missing or cannot be read.
        ValueError
            When a file is damaged, or of a later format.
        """
        try:
            document = read_result(folder / RESULT)
            del document["format"]
            history = History.read_csv(folder / HISTORY)
            return cls(**document, history=history, estimator=load_model(folder), figures={}, log=read_log(folder))
        except FormatError:
            raise
        except (TypeError, KeyError, ValueError) as error:
            raise damaged(folder, error) from error


@dataclass(frozen=True, eq=False, repr=False)
class Result:
    """Runs of one experiment that differ in their seeds.

    A notebook shows the mean, the standard deviation and the single values of every metric.

    Parameters
    ----------
    experiment : str
        Name of the experiment.
    recipe : {"classic", "fast"}
        Name of the recipe.
    dataset : str
        Name of the data set.
    runs : tuple of Run
        One run for each seed, in the order of the seeds that were asked for.
    """

    experiment: str
    recipe: str
    dataset: str
    runs: tuple[Run, ...]

    def __repr__(self) -> str:
        return f"Result({summary(*(run.to_json() for run in self.runs))})" if self.runs else "Result(no runs)"

    def _repr_html_(self) -> str:
        if not self.runs:
            return table([["no runs"]])
        scores = self.scores | {"train_seconds": [run.timing["train_seconds"] or 0.0 for run in self.runs]}
        lines = [["", "mean ± standard deviation", *(f"seed {run.seed}" for run in self.runs)]]
        for name, values in scores.items():
            lines.append([heading(name), written(values, name), *(written([value], name) for value in values)])
        if len(self.runs) == 1:
            lines = [[name, value] for name, _, value in lines]
        return table(lines, caption=_setting(*(run.to_json() for run in self.runs)))

    @property
    def scores(self) -> dict[str, list[float]]:
        """Values of every metric by name, in the order of the runs."""
        return {name: [run.metrics[name] for run in self.runs] for name in self.runs[0].metrics}

    def mean(self, metric: str) -> float:
        """Compute the mean of a metric over the seeds.

        Parameters
        ----------
        metric : str
            Name of the metric, such as ``"test_mse"``.

        Returns
        -------
        float
            Mean.

        Raises
        ------
        KeyError
            When the runs have no such metric.
        """
        return statistics.fmean(self.scores[metric])

    def std(self, metric: str) -> float:
        """Compute the sample standard deviation of a metric over the seeds.

        Parameters
        ----------
        metric : str
            Name of the metric, such as ``"test_mse"``.

        Returns
        -------
        float
            Standard deviation; 0 for a single seed.

        Raises
        ------
        KeyError
            When the runs have no such metric.
        """
        values = self.scores[metric]
        return statistics.stdev(values) if len(values) > 1 else 0.0


def run_folder(out: str | os.PathLike[str], experiment: str, recipe: str, seed: int) -> Path:
    """Return the folder of a run's files: ``EXPERIMENT-RECIPE/seed-SEED`` under ``out``."""
    return Path(out) / f"{experiment}-{recipe}" / f"seed-{seed}"


def unfinished_folder(out: str | os.PathLike[str], experiment: str, recipe: str, seed: int) -> Path:
    """Return the folder of a run's checkpoints until its files are written."""
    folder = run_folder(out, experiment, recipe, seed)
    return folder.with_name(f"{folder.name}{UNFINISHED}")


def unfinished_runs(out: str | os.PathLike[str]) -> list[Path]:
    """List the folders of the runs that were begun and not finished."""
    return sorted(Path(out).glob(f"*/seed-*{UNFINISHED}"))


def _setting(*results: Mapping[str, Any]) -> str:
    """Experiment, recipe, data set and seeds in words, from the contents of ``result.json``."""
    first = results[0]
    seeds = f"{len(results)} seeds" if len(results) > 1 else f"seed {first['seed']}"
    return f"{first['experiment']}, {first['recipe']} recipe, on {first['dataset']}, {seeds}"


def summary(*results: Mapping[str, Any]) -> str:
    """Setting and scores on the test images, in a line or two."""
    scores = [name for name in results[0]["metrics"] if name.startswith("test_")]
    said = [f"{name} {written([result['metrics'][name] for result in results], name)}" for name in scores]
    return f"{_setting(*results)}: {', '.join(said)}"


def run_table(result: Mapping[str, Any]) -> str:
    """HTML table of the metrics of a run and of the methods without a network."""
    methods = result["baselines"]
    lines = [["", str(result["experiment"]), *(METHODS.get(method, method) for method in methods)]]
    columns = [result["metrics"], *methods.values()]
    lines += [[heading(name), *(written([scores[name]], name) for scores in columns)] for name in result["metrics"]]
    return table(lines, caption=_setting(result))


def read_log(folder: Path) -> str:
    """Read the log of a run from its folder; empty where it has none, as those of older versions."""
    path = folder / LOG
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""


def damaged(folder: Path, error: Exception) -> ValueError:
    """Make the error that says that a run's folder is damaged."""
    found = f"{HISTORY} is missing" if isinstance(error, FileNotFoundError) else error
    return ValueError(f"{folder} is damaged ({found}); move it away and run it again")


def read_result(path: Path) -> dict[str, Any]:
    """Read a ``result.json`` of any format as one of the present format.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    dict of str to JSON values
        Its content.

    Raises
    ------
    FormatError
        When the file is of a later format.
    OSError
        When it cannot be read.
    ValueError
        When it is damaged.
    """
    try:
        return present_result(json.loads(path.read_text(encoding="utf-8")))
    except FormatError as error:
        raise FormatError(f"{path}: {error}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is damaged ({error}); move its folder away and run it again") from error
