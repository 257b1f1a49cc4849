"""Every number that a training run records."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Record = dict[str, float]


@dataclass
class History:
    """Record of one training run.

    Attributes
    ----------
    loss : list of float
        Training loss of each update's batch, in training mode, before that update.
    learning_rate : list of float
        Rate of each update.
    epoch : list of float
        Passes over the data at the end of each update.
    reports : dict of int to dict of str to float
        What was measured after an update, by its number (from 1), in order.
    """

    loss: list[float] = field(default_factory=list)
    learning_rate: list[float] = field(default_factory=list)
    epoch: list[float] = field(default_factory=list)
    reports: dict[int, Record] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.loss)

    @property
    def measures(self) -> list[str]:
        """Names of everything reported, in order of first appearance."""
        return list(dict.fromkeys(name for report in self.reports.values() for name in report))

    def series(self, name: str) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Updates (from 1) at which a number was recorded, and its values.

        Raises
        ------
        KeyError
            When nothing of that name was recorded.
        """
        if name in ("loss", "learning_rate", "epoch"):
            values = np.array(getattr(self, name), dtype=np.float64)
            return np.arange(1, len(values) + 1), values
        rows = [(update, report[name]) for update, report in self.reports.items() if name in report]
        if not rows:
            raise KeyError(f"{name!r} was not recorded; there are {', '.join(self.measures) or 'no reports'}")
        updates, measured = zip(*rows, strict=True)
        return np.array(updates), np.array(measured, dtype=np.float64)

    def rows(self) -> Iterator[dict[str, float]]:
        """One row an update: its own numbers, and what was reported after it."""
        for i, (loss, rate, epoch) in enumerate(zip(self.loss, self.learning_rate, self.epoch, strict=True)):
            row = {"update": i + 1, "epoch": epoch, "learning_rate": rate, "loss": loss}
            yield row | self.reports.get(i + 1, {})

    def write_csv(self, path: Path) -> None:
        """Write :meth:`rows` with a header line; a number that was not measured is left empty."""
        names = ["update", "epoch", "learning_rate", "loss", *self.measures]
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, names, restval="", lineterminator="\n")
            writer.writeheader()
            for row in self.rows():
                writer.writerow({name: _shortest(value) for name, value in row.items()})

    @classmethod
    def read_csv(cls, path: Path) -> "History":
        """Read what :meth:`write_csv` wrote."""
        history = cls()
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                update = int(row.pop("update"))
                history.epoch.append(float(row.pop("epoch")))
                history.learning_rate.append(float(row.pop("learning_rate")))
                history.loss.append(float(row.pop("loss")))
                report = {name: float(value) for name, value in row.items() if value}
                if report:
                    history.reports[update] = report
        return history


def _shortest(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.9g}"
