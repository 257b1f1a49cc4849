"""The screen of ``hourglass list``: experiments and studies, with the time that each takes, and the data sets."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

    from hourglass.experiments import Experiment
    from hourglass.lab import Study

# Minutes on two cores of an AMD EPYC, from docs/results: of an experiment, by recipe, the mean total time of one seed
# on full MNIST (result.json); of a study, with its own number of seeds, the sum of its trainings' times, two at once
# (cells.jsonl). tests/test_cli_screens.py compares them with the files.
MINUTES: Mapping[str, Mapping[str, float]] = {
    "dense": {"classic": 0.2, "fast": 0.1},
    "conv": {"classic": 3.9, "fast": 0.4},
    "denoise": {"classic": 12.4, "fast": 1.8},
    "bn-none": {"classic": 0.3, "fast": 0.3},
    "bn-layer": {"classic": 0.4, "fast": 0.4},
    "bn-manual": {"classic": 0.5, "fast": 0.5},
    "dense-better": {"classic": 1.9, "fast": 0.4},
    "conv-better": {"classic": 4.3, "fast": 1.8},
    "denoise-better": {"classic": 3.0, "fast": 1.4},
    "bn-fair": {"": 68},
    "bn-claims": {"": 88},
    "bn-momentum": {"": 5},
    "bn-batch-size": {"": 11},
    "bn-inference": {"": 2},
    "bn-depth": {"": 6},
    "bn-lstm": {"": 34},
    "norm-shootout": {"": 10},
}
MEASURED = (
    "Times are of two cores of an AMD EPYC: of an experiment for one seed on full MNIST, of a study with its own "
    "number of seeds. On the default data, 5,000 digits, the autoencoders' classic recipe takes a fifteenth of the "
    "steps."
)


def show() -> None:
    """Print the experiments, the studies and the data sets."""
    from rich.console import Console
    from rich.text import Text

    from hourglass.data import DATASETS
    from hourglass.experiments import EXPERIMENTS
    from hourglass.lab import STUDIES

    console = Console(highlight=False)
    for title, entries in (
        ("Experiments (`hourglass run all` runs all of them)", EXPERIMENTS),
        ("Studies of batch normalisation (`hourglass run bn-lab` runs the eight)", STUDIES),
    ):
        console.print(Text(title, style="bold underline"), end="\n\n")
        console.print(_table(entries.values()))
    console.print(Text(MEASURED))
    console.print(Text(f"\nData sets (`hourglass run --dataset`): {', '.join(DATASETS)}"))


def how_long(name: str) -> str:
    """Say how long an experiment or a study takes, such as ``12 minutes (fast: 2 minutes)``."""
    minutes = MINUTES[name]
    said = [f"{round(each)} minutes" if each >= 1 else "under a minute" for each in minutes.values()]
    return said[0] if len(set(said)) == 1 else f"{said[0]} (with the fast recipe {said[1]})"


def _table(entries: "Iterable[Experiment | Study]") -> "Table":
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, style="bold", width=max(map(len, MINUTES)))
    table.add_column()
    for entry in entries:
        about = Text.assemble(entry.title, ("\n" + entry.question, "dim"), f"\n{how_long(entry.name)}\n")
        table.add_row(entry.name, about)
    return table
