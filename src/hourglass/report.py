"""One self-contained HTML page from a folder of runs."""

import base64
import json
import os
import re
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hourglass.experiments import EXPERIMENTS, RECIPES, StoredRun, stored_runs
from hourglass.experiments.measures import DIGITS, MEASURES, METHODS, mean_and_deviation
from hourglass.lab import stored_findings
from hourglass.persistence import write_whole
from hourglass.plots import classifier_curves, save_figure

PAGE, COMPARISON = "report.html", "bn-comparison"

CAPTIONS = {
    "reconstructions": "Ten test images; each column is one digit.",
    "codes": "The same ten and their codes: the numbers that the decoder gets to see.",
    "curve": "Loss in training (mean between reports, on what the network was shown) and on test images, "
    "on which nothing was chosen.",
    "curves": "Loss and accuracy in inference mode, of the batch trained on last and of the validation images.",
    "checkerboards": "A transposed 3×3 convolution of stride 2 sums one, two or four contributions into a pixel, by "
    "its place: a checkerboard before any training, and still there early on. Resizing first treats all pixels alike.",
}


@dataclass(frozen=True)
class Group:
    """The runs of one experiment with one recipe on one data set: they differ in their seed."""

    runs: list[StoredRun]

    @property
    def result(self) -> dict[str, Any]:
        return self.runs[0].result

    @property
    def name(self) -> str:
        return str(self.result["experiment"])

    @property
    def recipe(self) -> str:
        return str(self.result["recipe"])

    @property
    def changed(self) -> str:
        """Parameters that are not the recipe's, as text; empty where all are."""
        experiment = EXPERIMENTS.get(self.name)
        if experiment is None or self.recipe not in RECIPES:
            return ""
        own = json.loads(json.dumps(experiment.configure(self.recipe).get_params(), default=str))
        given = self.result["parameters"]
        return ", ".join(f"{name}={value}" for name, value in given.items() if own.get(name) != value)

    @property
    def anchor(self) -> str:
        """Address of its section on the page."""
        return "-".join(re.findall(r"[\w.]+", f"{self.name}-{self.recipe}-{self.result['dataset']}-{self.changed}"))

    @property
    def metrics(self) -> dict[str, str]:
        """Mean ± standard deviation over the seeds, as text, by measure."""
        names = [name for name in MEASURES if name in self.result["metrics"]]
        values = {name: [run.result["metrics"][name] for run in self.runs] for name in names}
        return {name: mean_and_deviation(values[name], DIGITS[name]) for name in names}

    @property
    def figures(self) -> dict[str, Path]:
        """The first seed's, in the order in which they are explained."""
        known = list(CAPTIONS)
        place = {name: known.index(name) if name in known else len(known) for name in self.runs[0].figures}
        return {name: self.runs[0].figures[name] for name in sorted(place, key=lambda name: place[name])}

    @property
    def train_seconds(self) -> str:
        return mean_and_deviation([run.result["timing"]["train_seconds"] for run in self.runs], 1)

    @property
    def images_per_second(self) -> str:
        rates = [run.result["timing"]["images_per_second"] for run in self.runs]
        known = [rate for rate in rates if rate is not None]
        return f"{statistics.fmean(known):,.0f}" if known else "–"


def write_report(out: str | os.PathLike[str]) -> Path:
    """Write ``report.html`` from every complete run, and every study's trainings, in a folder.

    Parameters
    ----------
    out : path-like
        As ``hourglass run --out`` left it.

    Returns
    -------
    Path
        The page: it links to nothing outside itself.

    Raises
    ------
    FileNotFoundError
        When the folder holds no complete run and no study.
    """
    import jinja2

    out = Path(out)
    groups = groups_of(stored_runs(out))
    studies = [(found, found.draw(out / found.study.name)) for found in stored_findings(out)]
    if not groups and not studies:
        raise FileNotFoundError(f"{out} holds no complete run; `hourglass run NAME --out {out}` makes one")
    comparison = draw_comparison(groups, out / f"{COMPARISON}.png")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("hourglass", "templates"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    page = environment.get_template("report.html.jinja").render(
        groups=groups,
        studies=studies,
        experiments=EXPERIMENTS,
        measures=MEASURES,
        methods=METHODS,
        captions=CAPTIONS,
        comparison=comparison,
        embed=embed,
        digits=DIGITS,
    )
    write_whole(out / PAGE, page.encode())
    return out / PAGE


def groups_of(runs: Iterable[StoredRun]) -> list[Group]:
    """Runs gathered by experiment and recipe, in the order in which experiments are declared."""
    gathered: dict[tuple[str, ...], list[StoredRun]] = {}
    for run in runs:
        result = run.result
        key = tuple(str(result[name]) for name in ("experiment", "recipe", "dataset"))
        # Runs are seeds of one setting only where every parameter is the same.
        gathered.setdefault((*key, json.dumps(result["parameters"], sort_keys=True)), []).append(run)
    order = list(EXPERIMENTS)
    keys = sorted(gathered, key=lambda key: (order.index(key[0]) if key[0] in order else len(order), key))
    return [Group(gathered[key]) for key in keys]


def draw_comparison(groups: Sequence[Group], path: Path) -> Path | None:
    """Draw the classifiers of one data set and recipe on common axes; None where there are fewer than two."""
    kinds = dict.fromkeys((group.result["dataset"], group.recipe) for group in groups)
    for dataset, recipe in sorted(kinds, key=lambda kind: RECIPES.index(kind[1])):
        histories = {
            f"{group.name} {group.changed}".strip(): [run.history() for run in group.runs]
            for group in groups
            if (group.result["dataset"], group.recipe) == (dataset, recipe)
            and "test_accuracy" in group.result["metrics"]
        }
        if len(histories) > 1 and _comparable(histories.values()):
            save_figure(classifier_curves(histories), path)
            return path
    path.unlink(missing_ok=True)
    return None


def _comparable(histories: Iterable[list[Any]]) -> bool:
    """Whether all were reported at the same batches."""
    return len({tuple(history.reports) for group in histories for history in group}) == 1


def embed(path: Path) -> str:
    """A PNG as a data address."""
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()
