"""One self-contained HTML page from a folder of runs."""

import base64
import json
import os
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hourglass.atomic import write_whole
from hourglass.estimators import Autoencoder, ConvClassifier
from hourglass.estimators.facts import normalisation_of, ruling_parameters
from hourglass.experiments import EXPERIMENTS, RECIPES, StoredRun, stored_runs
from hourglass.experiments.captions import (
    CAPTIONS,
    LENGTH,
    baseline_note,
    caption,
    comparison_caption,
    length,
    listed,
    title,
)
from hourglass.experiments.measures import DIGITS, MEASURES, METHODS, mean_and_deviation
from hourglass.lab import stored_findings
from hourglass.plots import classifier_curves, save_figure
from hourglass.training import History, optimiser_in_words

PAGE, COMPARISON = "report.html", "bn-comparison"
KINDS = {"Autoencoders": "test_bce", "Classifiers": "test_accuracy"}
"""Kinds of networks, and a measure that only that kind has."""


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
    def estimator(self) -> Autoencoder | ConvClassifier | None:
        """Unfitted estimator with the runs' parameters; None where the experiment is unknown.

        A parameter that a run does not name has its default: it was None, or the run is older than the parameter.
        """
        experiment = EXPERIMENTS.get(self.name)
        if experiment is None:
            return None
        kind = type(experiment.estimator)
        known = kind().get_params()
        return kind(**{name: value for name, value in self.result["parameters"].items() if name in known})

    @property
    def changes(self) -> dict[str, Any]:
        """Parameters that are not the recipe's, by name; empty where all are."""
        if self.estimator is None or self.recipe not in RECIPES:
            return {}
        own, given = (
            json.loads(json.dumps(ruling_parameters(estimator), default=str))
            for estimator in (EXPERIMENTS[self.name].configure(self.recipe), self.estimator)
        )
        gone = dict.fromkeys(name for name in own if name not in given and name not in ("epochs", "n_steps"))
        return {name: value for name, value in given.items() if own.get(name) != value} | gone

    @property
    def changed(self) -> str:
        """:attr:`changes` as text."""
        return as_text(self.changes)

    @property
    def title(self) -> str:
        """What was trained, from the parameters."""
        return self.name if self.estimator is None else title(self.estimator)

    @property
    def constants(self) -> dict[str, str]:
        """Constants that are no parameters: those of the normalisation and of the optimiser, by what they are of."""
        if self.estimator is None:
            return {}
        optimiser = optimiser_in_words(self.estimator.optimiser)
        return {"normalisation's constants": normalisation_of(self.estimator), "optimiser's constants": optimiser}

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
        """Figures of the first seed, in the order of their captions."""
        known = list(CAPTIONS)
        place = {name: known.index(name) if name in known else len(known) for name in self.runs[0].figures}
        return {name: self.runs[0].figures[name] for name in sorted(place, key=lambda name: place[name])}

    @property
    def captions(self) -> dict[str, str]:
        """Caption of each figure, by its name."""
        seed = f" Seed {self.result['seed']}." if len(self.runs) > 1 else ""
        return {name: caption(name, self.estimator) + seed for name in self.figures}

    @property
    def baseline_note(self) -> str:
        """How the methods without a network were set."""
        return baseline_note(self.result["baselines"])

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
    compared = compared_groups(groups)
    comparison = draw_comparison(compared, out / f"{COMPARISON}.png")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("hourglass", "templates"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    page = environment.get_template("report.html.jinja").render(
        groups=groups,
        studies=studies,
        experiments=EXPERIMENTS,
        measures=MEASURES,
        methods=METHODS,
        subject=subject(groups, studies=bool(studies)),
        comparison=comparison,
        comparison_caption=compared and describe_comparison(compared),
        embed=embed,
        digits=DIGITS,
        kinds=KINDS,
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


def subject(groups: Sequence[Group], *, studies: bool) -> str:
    """What a page is about, in a line: the kinds of networks and the data that they were trained on."""
    parts = []
    for kind, measure in KINDS.items():
        data = dict.fromkeys(group.result["dataset"] for group in groups if measure in group.result["metrics"])
        if data:
            parts.append(f"{kind.lower()} trained on {listed(list(data))}")
    said = listed(parts + ["studies of batch normalisation"] * studies)
    return f"{said[:1].upper()}{said[1:]}."


def compared_groups(groups: Sequence[Group]) -> list[Group]:
    """Classifiers of one data set and recipe that can be drawn on common axes: two or more, or none."""
    kinds = dict.fromkeys((group.result["dataset"], group.recipe) for group in groups)
    for kind in sorted(kinds, key=lambda kind: RECIPES.index(kind[1])):
        chosen = [
            group
            for group in groups
            if (group.result["dataset"], group.recipe) == kind and KINDS["Classifiers"] in group.result["metrics"]
        ]
        if len(chosen) > 1 and _comparable(run.history() for group in chosen for run in group.runs):
            return chosen
    return []


def draw_comparison(compared: Sequence[Group], path: Path) -> Path | None:
    """Draw the groups that :func:`compared_groups` chose; None, and no file, where there are none."""
    if not compared:
        path.unlink(missing_ok=True)
        return None
    histories = [[run.history() for run in group.runs] for group in compared]
    save_figure(classifier_curves(dict(zip(legends(compared), histories, strict=True))), path)
    return path


def legends(compared: Sequence[Group]) -> list[str]:
    """Name of each group among the others: its experiment, and the changes that not all of them share."""
    shared = common_changes(compared)
    own = [{name: value for name, value in group.changes.items() if name not in shared} for group in compared]
    return [f"{group.name} {as_text(changes)}".strip() for group, changes in zip(compared, own, strict=True)]


def common_changes(groups: Sequence[Group]) -> dict[str, Any]:
    """Changes that are the same in all groups."""
    first, *others = (group.changes for group in groups)
    return {
        name: value for name, value in first.items() if all(name in other and other[name] == value for other in others)
    }


def as_text(changes: Mapping[str, Any]) -> str:
    """Parameters as ``name=value, …``."""
    return ", ".join(f"{name}={value}" for name, value in changes.items())


def describe_comparison(compared: Sequence[Group]) -> str:
    """Caption of the comparison: what was trained, how, and how it was measured."""
    first = compared[0].result
    shared = {name: value for name, value in common_changes(compared).items() if name not in LENGTH}
    recipe = f"{first['recipe']} recipe" + (f" ({as_text(shared)})" if shared else "")
    how = f"the {recipe} on {first['dataset']}, {length(first['parameters'])}"
    networks = zip(legends(compared), (group.estimator for group in compared), strict=True)
    return comparison_caption(how, {name: each for name, each in networks if isinstance(each, ConvClassifier)})


def _comparable(histories: Iterable[History]) -> bool:
    """Whether all were reported at the same steps."""
    return len({tuple(history.reports) for history in histories}) == 1


def embed(path: Path) -> str:
    """A PNG as a data address."""
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()
