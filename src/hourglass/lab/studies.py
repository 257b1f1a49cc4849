"""Studies by name, run into a folder and read back from it."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hourglass import markup
from hourglass.atomic import check_writable, locked, write_whole
from hourglass.data import Dataset, load
from hourglass.lab import batch_size, claims, depth, fair, inference, lstm, momentum, shootout
from hourglass.lab.cells import IDENTITY, Cells, key, measure_cells
from hourglass.lab.study import Rows, Study, Table
from hourglass.plots import save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STUDIES: dict[str, Study] = {
    module.STUDY.name: module.STUDY for module in (fair, claims, momentum, batch_size, inference, depth, lstm, shootout)
}
"""Every study by name, in the order of the chapter."""

CELLS = "cells.jsonl"


@dataclass(frozen=True, eq=False, repr=False)
class Findings:
    """Rows of a study, and what the study reads from them.

    Parameters
    ----------
    study : Study
        The study that was run.
    rows : sequence of mapping
        One for each training, with ``cell``, ``measures`` and ``seconds``.
    """

    study: Study
    rows: Rows

    def __repr__(self) -> str:
        return f"Findings({self.study.name}, {len(self.rows)} trainings)"

    def _repr_html_(self) -> str:
        return markup.table(self.table, caption=self.answer)

    @property
    def answer(self) -> str:
        """The conclusion in words, with the numbers that carry it and their intervals."""
        return self.study.answer(self.rows)

    @property
    def setting(self) -> str:
        """How the study was measured, with its numbers of steps, seeds and images."""
        cells: list[Any] = [row["cell"] for row in self.rows]
        n_steps = " and ".join(str(count) for count in sorted({cell["n_steps"] for cell in cells}))
        seeds = len({cell["seed"] for cell in cells})
        said = self.study.setting.format(n_steps=n_steps, seeds=seeds)
        trained_on = int(cells[0]["trained_on"])
        images = f"{trained_on:,} training images; the held-out images are not among them"
        return f"{said} Data: {cells[0]['dataset']}, {images}."

    @property
    def table(self) -> Table:
        """Lines of words; the first line has the headings."""
        return self.study.table(self.rows)

    @property
    def figures(self) -> "dict[str, Figure]":
        """Figures by name."""
        return self.study.figures(self.rows)

    def draw(self, folder: Path) -> list[Path]:
        """Write the figures as PNG files.

        Parameters
        ----------
        folder : Path
            It is made where there is none.

        Returns
        -------
        list of Path
            The files, named after the study and the figure.
        """
        folder.mkdir(parents=True, exist_ok=True)
        paths = []
        for name, figure in self.figures.items():
            paths.append(folder / f"{self.study.name}-{name}.png")
            save_figure(figure, paths[-1])
        return paths


def find_study(name: str) -> Study:
    """Return the study of a name.

    Parameters
    ----------
    name : str
        As ``hourglass list`` shows it.

    Returns
    -------
    Study

    Raises
    ------
    ValueError
        When no study has that name.
    """
    if name not in STUDIES:
        raise ValueError(f"study {name!r} is unknown; choose one of {', '.join(STUDIES)}, or bn-lab for all")
    return STUDIES[name]


def run_study(
    name: str,
    *,
    dataset: str | Dataset = "sample",
    data_dir: str | os.PathLike[str] | None = None,
    out: str | os.PathLike[str],
    seeds: int | None = None,
    n_steps: int | None = None,
    jobs: int | None = None,
    cluster: str | None = None,
    say: Callable[[str], None] = lambda message: None,
) -> Findings:
    """Run a study, or those of its trainings that are not done yet.

    Every finished training is a line of ``<out>/<name>/cells.jsonl`` and is not repeated, so that the same call
    resumes a study that was stopped.

    Parameters
    ----------
    name : str
        Name of the study; ``hourglass list`` shows all.
    dataset : {"sample", "mnist", "fashion-mnist"} or Dataset, default="sample"
        What is trained and tested on.
    data_dir : path-like, optional
        Folder with the data set's files; see :func:`hourglass.load`.
    out : path-like
        Folder to which lines and figures are written.
    seeds : int, optional
        How many seeds, each of which trains every cell; by default the study's own number.
    n_steps : int, optional
        Steps of each training; by default the study's own number.
    jobs : int, optional
        Processes at once on this machine, each of one thread; by default one for each core.
    cluster : str, optional
        Address of a cluster whose workers do the trainings, in place of processes of this machine: ``tcp://HOST:PORT``
        of a Dask scheduler (extra ``dask``) or ``ray://HOST:PORT`` of a Ray head node (extra ``ray``).
    say : callable, optional
        Called after each training with a line that says how long the rest will take.

    Returns
    -------
    Findings
        Of all cells, those that were measured before among them.

    Raises
    ------
    ValueError
        When a name is unknown, a number is out of range, ``cluster`` is no address of a cluster or given together with
        ``jobs``, or a line in the folder is damaged.
    BlockingIOError
        When another process is working in ``out``.
    WorkerLostError
        When a process of this machine or a worker of Ray ended before its training was done; the same call resumes.
    ConnectionError
        When the cluster does not answer, or has no workers.
    ImportError
        When the extra for the cluster is not installed.

    Examples
    --------
    >>> from hourglass.lab import run_study
    >>> findings = run_study("bn-inference", out="/tmp/lab", seeds=1, n_steps=5, jobs=1)  # doctest: +SKIP
    >>> print(findings.answer)  # doctest: +SKIP
    """
    study = find_study(name)
    for what, value in (("seeds", seeds), ("n_steps", n_steps), ("jobs", jobs)):
        if value is not None and value < 1:
            raise ValueError(f"{what}={value}; expected a whole number above 0")
    folder = Path(out)
    check_writable(folder)
    data = load(dataset, data_dir) if isinstance(dataset, str) else dataset
    if data.train.labels is None or data.test.labels is None or not data.validation_size:
        raise ValueError(f"{data.name} has no labels or no held-out images; {name} needs both")
    cells = study.plan(seeds or study.seeds, n_steps or study.n_steps)
    with locked(folder):
        lines = Cells(folder / name / CELLS)
        rows = measure_cells(
            study.measure,
            cells,
            data,
            lines,
            jobs=jobs,
            cluster=cluster,
            say=lambda message: say(f"{name}: {message}"),
        )
        findings = Findings(study, rows)
        findings.draw(folder / name)
        write_whole(folder / name / "answer.txt", f"{findings.answer}\n".encode())
    return findings


def stored_findings(folder: str | os.PathLike[str]) -> list[Findings]:
    """Return the findings of the studies in a folder, from their complete seeds, in the order of the chapter.

    Where a study has lines of several data sets or numbers of steps, one of them is used: the one with the study's
    own number of steps, or else the one with the most rows.

    Parameters
    ----------
    folder : path-like
        What :func:`run_study` was given as ``out``.

    Returns
    -------
    list of Findings
        Studies of which no seed is complete are left out.
    """
    found = []
    for name, study in STUDIES.items():
        sizes: dict[tuple[Any, ...], dict[str, Any]] = {}
        for row in Cells(Path(folder) / name / CELLS).rows():
            known = tuple((part, row["cell"][part]) for part in IDENTITY)
            sizes.setdefault((known, row["cell"]["n_steps"]), {})[key(row["cell"])] = row
        complete = [
            (n_steps == study.n_steps, _complete(study, dict(known), n_steps, rows))
            for (known, n_steps), rows in sizes.items()
        ]
        if any(rows for _, rows in complete):
            found.append(Findings(study, max(complete, key=lambda each: (bool(each[1]), each[0], len(each[1])))[1]))
    return found


def _complete(study: Study, known: Mapping[str, str], n_steps: int, rows: Mapping[str, Any]) -> list[Any]:
    """Rows of the seeds of which every cell is measured; a stopped study has measured a part of its last ones."""
    seeds = 1 + max(row["cell"]["seed"] for row in rows.values())
    wanted: dict[int, list[Any]] = {}
    for cell in study.plan(seeds, n_steps):
        wanted.setdefault(cell["seed"], []).append(rows.get(key({**cell, **known})))
    return [row for found in wanted.values() if all(found) for row in found]
