"""What a run leaves: numbers, and a folder of files."""

import json
import os
import re
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

RESULT, HISTORY = "result.json", "history.csv"
UNFINISHED = ".unfinished"
STATE = "state"


@dataclass(frozen=True, eq=False, repr=False)
class Run:
    """One training and what came of it.

    A notebook shows the metrics beside those of the methods that need no network.

    Attributes
    ----------
    experiment, recipe, dataset : str
    seed : int
    parameters : dict
        Of the estimator; ``epochs`` or ``n_steps``, whichever ruled.
    metrics : dict of str to float
        Autoencoders: ``test_bce`` (nats a pixel), ``test_mse``, ``test_psnr_db``, ``test_ssim``; classifiers:
        ``validation_loss``, ``validation_accuracy``, ``test_loss``, ``test_accuracy``,
        ``single_image_accuracy``, ``single_image_agreement``.
    baselines : dict of str to dict
        The same measures for other methods, by their name.
    timing : dict of str to float
        ``train_seconds``: all of training but evaluation; ``images_per_second``: in training, without the
        first 20 steps, None where there were no more; ``total_seconds``: with evaluation.
    environment : dict
        Versions, device, precision, threads.
    history : History
    estimator : NetworkEstimator
        Fitted.
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

    def __repr__(self) -> str:
        return f"Run({_summary(self.to_json())})"

    def _repr_html_(self) -> str:
        return _run_table(self.to_json())

    def to_json(self) -> dict[str, Any]:
        """What ``result.json`` holds."""
        names = ("experiment", "recipe", "dataset", "seed", "parameters", "metrics", "baselines", "timing")
        return {"format": FORMAT} | {name: getattr(self, name) for name in (*names, "environment")}

    def write(self, out: Path, *, state: Path | None = None, replace: bool = False) -> Path:
        """Write the run's folder under ``out``; it appears only whole.

        Parameters
        ----------
        out : Path
        state : Path, optional
            Folder of the run's last checkpoint, which is kept with it: from there it can be lengthened.
        replace : bool, default=False
            Whether to put it in the place of a shorter run.

        Raises
        ------
        FileExistsError
            When it is there already, without ``replace``.
        """
        final = run_folder(out, self.experiment, self.recipe, self.seed)
        final.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(dir=final.parent, prefix=f".{final.name}-"))
        try:
            save(self.estimator, partial)
            self.history.write_csv(partial / HISTORY)
            for name, figure in self.figures.items():
                save_figure(figure, partial / f"{name}.png")
            text = json.dumps(self.to_json(), indent=2, allow_nan=False) + "\n"
            (partial / RESULT).write_text(text, encoding="utf-8")
            if state is not None:
                shutil.copytree(state, partial / STATE, ignore=shutil.ignore_patterns(".*"))
            partial.chmod(0o755)
            if final.exists() and not replace:
                raise FileExistsError(f"{final} is there already; choose another --out")
            sync_folder(partial, files=True)
            if final.exists():
                # Were the run lost between the two steps, its last checkpoint would still be there.
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
        """Read what :meth:`write` wrote; the figures stay files.

        Raises
        ------
        OSError
            When a file is missing.
        ValueError
            When one is damaged, or of a later format.
        """
        try:
            document = _read_result(folder / RESULT)
            del document["format"]
            history = History.read_csv(folder / HISTORY)
            return cls(**document, history=history, estimator=load_model(folder), figures={})
        except FormatError:
            raise
        except (TypeError, KeyError, ValueError) as error:
            raise _damaged(folder, error) from error


@dataclass(frozen=True, eq=False, repr=False)
class Result:
    """Runs of one experiment that differ in their seed.

    A notebook shows every metric's mean and standard deviation, and each seed's.

    Attributes
    ----------
    experiment, recipe, dataset : str
    runs : tuple of Run
    """

    experiment: str
    recipe: str
    dataset: str
    runs: tuple[Run, ...]

    def __repr__(self) -> str:
        return f"Result({_summary(*(run.to_json() for run in self.runs))})" if self.runs else "Result(no runs)"

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
        """Every metric's values, in the order of the runs."""
        return {name: [run.metrics[name] for run in self.runs] for name in self.runs[0].metrics}

    def mean(self, metric: str) -> float:
        """Mean over the seeds."""
        return statistics.fmean(self.scores[metric])

    def std(self, metric: str) -> float:
        """Sample standard deviation over the seeds; 0 for one."""
        values = self.scores[metric]
        return statistics.stdev(values) if len(values) > 1 else 0.0


def run_folder(out: str | os.PathLike[str], experiment: str, recipe: str, seed: int) -> Path:
    """Where a run's files are."""
    return Path(out) / f"{experiment}-{recipe}" / f"seed-{seed}"


def unfinished_folder(out: str | os.PathLike[str], experiment: str, recipe: str, seed: int) -> Path:
    """Where a run keeps its checkpoints until its files are written."""
    folder = run_folder(out, experiment, recipe, seed)
    return folder.with_name(f"{folder.name}{UNFINISHED}")


def unfinished_runs(out: str | os.PathLike[str]) -> list[Path]:
    """Folders of the runs that were begun and not finished."""
    return sorted(Path(out).glob(f"*/seed-*{UNFINISHED}"))


@dataclass(frozen=True, repr=False)
class StoredRun:
    """A run's folder, read back: its numbers, and where its figures are."""

    folder: Path
    result: dict[str, Any]

    def __repr__(self) -> str:
        return f"StoredRun({str(self.folder)!r}: {_summary(self.result)})"

    def _repr_html_(self) -> str:
        return _run_table(self.result)

    @property
    def figures(self) -> dict[str, Path]:
        return {path.stem: path for path in sorted(self.folder.glob("*.png"))}

    def history(self) -> History:
        """Losses and metrics while training.

        Raises
        ------
        ValueError
            When the file is missing or damaged.
        """
        try:
            return History.read_csv(self.folder / HISTORY)
        except (FileNotFoundError, ValueError) as error:
            raise _damaged(self.folder, error) from error


def stored_runs(out: Path) -> list[StoredRun]:
    """Every complete run under a folder."""
    found = [(path, re.fullmatch(r"seed-(\d+)", path.parent.name)) for path in out.glob(f"*/seed-*/{RESULT}")]
    numbered = [(path.parts[-3], int(match[1]), path) for path, match in found if match]
    paths = [path for _, _, path in sorted(numbered)]
    return [StoredRun(path.parent, _read_result(path)) for path in paths]


def _setting(*results: Mapping[str, Any]) -> str:
    """What was run, on what data and with which seeds, from the contents of ``result.json``."""
    first = results[0]
    seeds = f"{len(results)} seeds" if len(results) > 1 else f"seed {first['seed']}"
    return f"{first['experiment']}, {first['recipe']} recipe, on {first['dataset']}, {seeds}"


def _summary(*results: Mapping[str, Any]) -> str:
    """What was run, and its scores on the test images, in a line or two."""
    scores = [name for name in results[0]["metrics"] if name.startswith("test_")]
    said = [f"{name} {written([result['metrics'][name] for result in results], name)}" for name in scores]
    return f"{_setting(*results)}: {', '.join(said)}"


def _run_table(result: Mapping[str, Any]) -> str:
    """Metrics of a run and of what it is compared with, as HTML."""
    methods = result["baselines"]
    lines = [["", str(result["experiment"]), *(METHODS.get(method, method) for method in methods)]]
    columns = [result["metrics"], *methods.values()]
    lines += [[heading(name), *(written([scores[name]], name) for scores in columns)] for name in result["metrics"]]
    return table(lines, caption=_setting(result))


def _damaged(folder: Path, error: Exception) -> ValueError:
    found = f"{HISTORY} is missing" if isinstance(error, FileNotFoundError) else error
    return ValueError(f"{folder} is damaged ({found}); move it away and run it again")


def _read_result(path: Path) -> dict[str, Any]:
    try:
        return present_result(json.loads(path.read_text(encoding="utf-8")))
    except FormatError as error:
        raise FormatError(f"{path}: {error}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is damaged ({error}); move its folder away and run it again") from error
