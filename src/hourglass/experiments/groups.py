"""Groups of runs that differ only in their seed, and how each differs from its recipe."""

import json
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hourglass.estimators import NetworkEstimator
from hourglass.experiments.captions import CAPTIONS, baseline_note, caption
from hourglass.experiments.declared import EXPERIMENTS, RECIPES
from hourglass.experiments.measures import mean_and_deviation, shown, written
from hourglass.experiments.stored import StoredRun
from hourglass.nn.norms import has_moving_statistics


@dataclass(frozen=True)
class Group:
    """Runs of one experiment with the same recipe, parameters and data set, which differ only in their seed.

    Parameters
    ----------
    runs : list of StoredRun
        The runs, at least one.
    """

    runs: list[StoredRun]

    @property
    def result(self) -> dict[str, Any]:
        """Contents of ``result.json`` of the first run."""
        return self.runs[0].result

    @property
    def name(self) -> str:
        """Name of the experiment."""
        return str(self.result["experiment"])

    @property
    def recipe(self) -> str:
        """Name of the recipe."""
        return str(self.result["recipe"])

    @property
    def estimator(self) -> NetworkEstimator | None:
        """Unfitted estimator with the runs' parameters; None when the experiment is unknown.

        Parameters that the runs do not record have their defaults: they were None, or the runs are older than the
        parameter.
        """
        experiment = EXPERIMENTS.get(self.name)
        if experiment is None:
            return None
        kind = type(experiment.estimator)
        known = kind().get_params()
        return kind(**{name: value for name, value in self.result["parameters"].items() if name in known})

    @property
    def changes(self) -> dict[str, Any]:
        """Parameters that differ from the recipe's, by name, with the runs' values; empty when none differs."""
        if self.estimator is None or self.recipe not in RECIPES:
            return {}
        own, given = (
            json.loads(json.dumps(estimator.ruling_parameters(), default=str))
            for estimator in (EXPERIMENTS[self.name].configure(self.recipe), self.estimator)
        )
        gone = dict.fromkeys(name for name in own if name not in given and name not in ("epochs", "n_steps"))
        return {name: value for name, value in given.items() if own.get(name) != value} | gone

    @property
    def changed(self) -> str:
        """Parameters that differ from the recipe's, as text such as ``norm=layer, n_steps=500``."""
        return as_text(self.changes)

    @property
    def title(self) -> str:
        """Title of the section: the kind of network according to its parameters, or the experiment's name."""
        return self.name if self.estimator is None else self.estimator.title

    def scores(self, measure: str) -> dict[int, float]:
        """Return a measure of every run that has it.

        Parameters
        ----------
        measure : str
            Name of the measure.

        Returns
        -------
        dict of int to float
            Value by seed, in the order of the runs.
        """
        return {
            run.result["seed"]: run.result["metrics"][measure] for run in self.runs if measure in run.result["metrics"]
        }

    def values(self, measure: str) -> list[float]:
        """Return the values of a measure, one for each run that has it.

        Parameters
        ----------
        measure : str
            Name of the measure.

        Returns
        -------
        list of float
            The values, in the order of the runs.
        """
        return list(self.scores(measure).values())

    def has(self, measures: Iterable[str]) -> bool:
        """Tell whether every run has every one of some measures.

        Parameters
        ----------
        measures : iterable of str
            Names of measures.

        Returns
        -------
        bool
            True where none is missing.
        """
        return all(measure in run.result["metrics"] for measure in measures for run in self.runs)

    @property
    def code_size(self) -> int | None:
        """Number of numbers in a code; None where the network has no code, or the size of its images is unknown."""
        shape, estimator = self.runs[0].image_shape, self.estimator
        if shape is None or not getattr(estimator, "has_code", False):
            return None
        autoencoder: Any = estimator
        return int(autoencoder.code_size_for(shape))

    @property
    def n_classes(self) -> int | None:
        """Number of classes that a classifier distinguishes; None where nothing says it."""
        return self.runs[0].n_classes

    @property
    def moving_momentum(self) -> float | None:
        """Momentum of the moving statistics with which the network normalises in inference mode; None without them."""
        if self.estimator is None:
            return None
        parameters = self.estimator.get_params()
        return parameters["norm_momentum"] if has_moving_statistics(parameters.get("norm", "none")) else None

    @property
    def share_of_start(self) -> float | None:
        """Share of their starting value in the moving statistics after training, in [0, 1].

        It is the largest of all runs; None without moving statistics, or where the number of steps is unknown.
        """
        if self.moving_momentum is None:
            return None
        steps = [self.result["parameters"].get("n_steps")] * len(self.runs)
        with suppress(ValueError):  # a run without a history, whose training then had all its steps
            steps = [len(run.history()) for run in self.runs]
        return None if None in steps else max((1 - self.moving_momentum) ** count for count in steps)

    @property
    def commands(self) -> list[str]:
        """Command lines that made the runs, each once; empty where none is recorded."""
        return list(dict.fromkeys(filter(None, self._recorded("command"))))

    @property
    def dates(self) -> str:
        """When the runs were finished, as text such as ``2026-11-28 17:40 UTC``; empty where it is not recorded."""
        known = sorted(f"{str(date)[:16].replace('T', ' ')} UTC" for date in self._recorded("date") if date)
        return " to ".join(dict.fromkeys((known[0], known[-1]))) if known else ""

    def _recorded(self, name: str) -> list[Any]:
        return [run.result["environment"].get(name) for run in self.runs]

    @property
    def surroundings(self) -> dict[str, Any]:
        """Versions, processor, device, precision and number of threads of the first run, by name."""
        apart = ("command", "date")
        return {name: value for name, value in self.result["environment"].items() if name not in apart}

    @property
    def log(self) -> str:
        """Logs of all runs, one after another, as they were printed; empty where none is recorded."""
        return "".join(run.log for run in self.runs)

    @property
    def constants(self) -> dict[str, str]:
        """Constants of the normalisation and the optimiser, which are not parameters, as text by their origin."""
        if self.estimator is None:
            return {}
        return {f"{name}'s constants": said for name, said in self.estimator.describe_constants().items()}

    @property
    def anchor(self) -> str:
        """Anchor of the group's section on the page, for links."""
        return "-".join(re.findall(r"[\w.]+", f"{self.name}-{self.recipe}-{self.result['dataset']}-{self.changed}"))

    @property
    def metrics(self) -> dict[str, str]:
        """Mean ± standard deviation over the seeds, as text, by name of the measure."""
        names = shown(self.result["metrics"])
        return {name: written([run.result["metrics"][name] for run in self.runs], name) for name in names}

    @property
    def figures(self) -> dict[str, Path]:
        """Paths of the figures of the first seed, by name, in the order of their captions."""
        known = list(CAPTIONS)
        place = {name: known.index(name) if name in known else len(known) for name in self.runs[0].figures}
        return {name: self.runs[0].figures[name] for name in sorted(place, key=lambda name: place[name])}

    @property
    def captions(self) -> dict[str, str]:
        """Caption of each figure, by name of the figure."""
        seed = f" Seed {self.result['seed']}." if len(self.runs) > 1 else ""
        return {name: caption(name, self.estimator) + seed for name in self.figures}

    @property
    def baseline_note(self) -> str:
        """Note on the settings of the methods without a network."""
        return baseline_note(self.result["baselines"])

    @property
    def train_seconds(self) -> str:
        """Mean ± standard deviation of the training time over the seeds, in seconds, as text."""
        return mean_and_deviation([run.result["timing"]["train_seconds"] for run in self.runs], 1)

    @property
    def images_per_second(self) -> str:
        """Mean training speed over the seeds, in images per second, as text; "–" when no run recorded it."""
        rates = [run.result["timing"]["images_per_second"] for run in self.runs]
        known = [rate for rate in rates if rate is not None]
        return f"{statistics.fmean(known):,.0f}" if known else "–"


def groups_of(runs: Iterable[StoredRun]) -> list[Group]:
    """Group runs that differ only in their seed.

    Parameters
    ----------
    runs : iterable of StoredRun
        The runs, in any order.

    Returns
    -------
    list of Group
        The groups, in the order in which the experiments are declared; those of unknown experiments are last.
    """
    gathered: dict[tuple[str, ...], list[StoredRun]] = {}
    for run in runs:
        result = run.result
        key = tuple(str(result[name]) for name in ("experiment", "recipe", "dataset"))
        # Runs belong to one group only if all their parameters are equal.
        gathered.setdefault((*key, json.dumps(result["parameters"], sort_keys=True)), []).append(run)
    order = list(EXPERIMENTS)
    keys = sorted(gathered, key=lambda key: (order.index(key[0]) if key[0] in order else len(order), key))
    return [Group(gathered[key]) for key in keys]


def common_changes(groups: Sequence[Group]) -> dict[str, Any]:
    """Find the changes to the recipe's parameters that are the same in all groups.

    Parameters
    ----------
    groups : sequence of Group
        The groups, at least one.

    Returns
    -------
    dict of str to Any
        The common changes: value by name of the parameter.
    """
    first, *others = (group.changes for group in groups)
    return {
        name: value for name, value in first.items() if all(name in other and other[name] == value for other in others)
    }


def as_text(changes: Mapping[str, Any]) -> str:
    """Write parameters as text.

    Parameters
    ----------
    changes : mapping of str to Any
        Value by name of the parameter.

    Returns
    -------
    str
        Text such as ``norm=layer, n_steps=500``; empty when there are no parameters.
    """
    written = {name: f"{value:.12g}" if isinstance(value, float) else value for name, value in changes.items()}
    return ", ".join(f"{name}={value}" for name, value in written.items())
