"""Every number that a training run records."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hourglass.markup import table
from hourglass.renames import present_columns

Record = dict[str, float]
# Rows of a history's table in a notebook, evenly spaced over its reports.
SHOWN = 10


@dataclass(repr=False)
class History:
    """Record of one training run.

    A notebook shows up to ten of its reports.

    Parameters
    ----------
    loss : list of float, default=[]
        Training loss of each step, computed on its batch, in training mode, before the weights are changed.
    learning_rate : list of float, default=[]
        Learning rate of each step.
    epoch : list of float, default=[]
        Passes over the data at the end of each step.
    reports : dict of int to dict of str to float, default={}
        Reports in the order of training: number of the step (from 1) to the numbers measured after it, by name.
    """

    loss: list[float] = field(default_factory=list)
    learning_rate: list[float] = field(default_factory=list)
    epoch: list[float] = field(default_factory=list)
    reports: dict[int, Record] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.loss)

    def __repr__(self) -> str:
        if not self.loss:
            return "History(no steps)"
        lasted = f"{len(self):,} steps, {self.epoch[-1]:.4g} epochs"
        measured = f"; reports of {', '.join(self.measures)}" if self.measures else ""
        return f"History({lasted}, loss {self.loss[0]:.4g} at first and {self.loss[-1]:.4g} at last{measured})"

    def _repr_html_(self) -> str:
        steps = [step for step in self.reports if step <= len(self)] or list(range(1, len(self) + 1))
        chosen = {steps[round(i)] for i in np.linspace(0, len(steps) - 1, SHOWN)} if steps else set()
        names = ["step", "epoch", "learning_rate", "loss", *self.measures]
        rows = [row for row in self.rows() if row["step"] in chosen]
        lines = [
            [f"{row['step']:,}", *(f"{row[name]:.4g}" if name in row else "" for name in names[1:])] for row in rows
        ]
        return table([[name.replace("_", " ") for name in names], *lines], caption=repr(self))

    @property
    def measures(self) -> list[str]:
        """Names of everything that was reported, in the order of first appearance."""
        return list(dict.fromkeys(name for report in self.reports.values() for name in report))

    def series(self, name: str) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Select everything that was recorded under one name.

        Parameters
        ----------
        name : str
            ``"loss"``, ``"learning_rate"``, ``"epoch"``, or one of :attr:`measures`.

        Returns
        -------
        steps : ndarray of shape (n,), int64
            Numbers of the steps, from 1, at which it was recorded.
        values : ndarray of shape (n,), float64
            The recorded values.

        Raises
        ------
        KeyError
            When nothing was recorded under this name.
        """
        if name in ("loss", "learning_rate", "epoch"):
            values = np.array(getattr(self, name), dtype=np.float64)
            return np.arange(1, len(values) + 1), values
        rows = [(step, report[name]) for step, report in self.reports.items() if name in report]
        if not rows:
            raise KeyError(f"{name!r} was not recorded; there are {', '.join(self.measures) or 'no reports'}")
        steps, measured = zip(*rows, strict=True)
        return np.array(steps), np.array(measured, dtype=np.float64)

    def rows(self) -> Iterator[dict[str, float]]:
        """Iterate over the steps.

        Yields
        ------
        dict of str to float
            ``step`` (from 1), ``epoch``, ``learning_rate``, ``loss``, and what was reported after this step, by name.
        """
        for i, (loss, rate, epoch) in enumerate(zip(self.loss, self.learning_rate, self.epoch, strict=True)):
            row = {"step": i + 1, "epoch": epoch, "learning_rate": rate, "loss": loss}
            yield row | self.reports.get(i + 1, {})

    def write_csv(self, path: Path) -> None:
        """Write the rows to a CSV file with a header line.

        A number that was not measured after a step is left empty. Numbers have nine significant digits.

        Parameters
        ----------
        path : Path
            File to write; an existing one is replaced.

        Raises
        ------
        OSError
            When the file cannot be written.
        """
        names = ["step", "epoch", "learning_rate", "loss", *self.measures]
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, names, restval="", lineterminator="\n")
            writer.writeheader()
            for row in self.rows():
                writer.writerow({name: _shortest(value) for name, value in row.items()})

    @classmethod
    def read_csv(cls, path: Path) -> "History":
        """Read a file that :meth:`write_csv` wrote.

        Parameters
        ----------
        path : Path
            File to read; column names of earlier versions are understood.

        Returns
        -------
        History
            The history in the file.

        Raises
        ------
        OSError
            When the file cannot be read.
        KeyError
            When the column ``step``, ``epoch``, ``learning_rate`` or ``loss`` is missing.
        TypeError
            When a line lacks one of these four values, or has more values than the header.
        ValueError
            When a value is not a number.
        """
        history = cls()
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            reader.fieldnames = present_columns(list(reader.fieldnames or ()))
            for row in reader:
                step = int(row.pop("step"))
                history.epoch.append(float(row.pop("epoch")))
                history.learning_rate.append(float(row.pop("learning_rate")))
                history.loss.append(float(row.pop("loss")))
                report = {name: float(value) for name, value in row.items() if value}
                if report:
                    history.reports[step] = report
        return history


def _shortest(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.9g}"
