"""Cells of a study: one training each, measured in parallel and never twice."""

import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from hourglass.data import Dataset
from hourglass.persistence import fingerprint
from hourglass.renames import FORMAT, FormatError, present_row
from hourglass.runtime.workers import Workers, on_workers

Cell = Mapping[str, Any]
Measures = dict[str, Any]
Measure = Callable[[Cell, Dataset], Measures]
Say = Callable[[str], None]


# A worker of Dask may have several threads, which would share PyTorch's random generator and its number of threads.
_ONE_AT_A_TIME = threading.Lock()


class Cells:
    """File of measured cells, each a JSON line with the cell's settings and its measures.

    An incomplete last line, left by a process that was killed, is ignored and overwritten.

    Parameters
    ----------
    path : path-like
        The file; it is created with the first line.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def rows(self) -> list[dict[str, Any]]:
        """Return every complete line, with the names of the present format.

        Returns
        -------
        list of dict
            Each with ``cell``, ``measures`` and ``seconds``.

        Raises
        ------
        ValueError
            When a complete line is not JSON or no line of a study, which means that the file is damaged, or when it is
            of a later format.
        """
        rows = []
        for number, line in enumerate(self._lines(), 1):
            try:
                rows.append(present_row(json.loads(line)))
            except FormatError as error:
                raise ValueError(f"{self.path}: line {number}: {error}") from error
            except (KeyError, TypeError, AttributeError) as error:
                raise ValueError(
                    f"{self.path}: line {number} is no line of a study ({error!r}); "
                    "move the file away and measure again"
                ) from error
        return rows

    def append(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Append a line and sync it to the disk.

        Parameters
        ----------
        row : mapping
            Anything that JSON can hold, with the present names.

        Returns
        -------
        dict
            The row with its format, as it was written.
        """
        complete = {"format": FORMAT, **row}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        whole = sum(len(line) for line in self._lines()) if self.path.exists() else 0
        with self.path.open("r+b" if self.path.exists() else "wb") as file:
            file.truncate(whole)
            file.seek(whole)
            file.write(json.dumps(complete, allow_nan=False).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        return complete

    def _lines(self) -> list[bytes]:
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return []
        *lines, rest = content.splitlines(keepends=True) or [b""]
        if rest.endswith(b"\n"):
            lines.append(rest)
        for number, line in enumerate(lines, 1):
            try:
                json.loads(line)
            except ValueError as error:
                raise ValueError(
                    f"{self.path}: line {number} is no JSON ({error}); move the file away and measure again"
                ) from error
        return lines


def key(cell: Cell) -> str:
    """Text that is equal for equal cells."""
    return json.dumps(cell, sort_keys=True)


IDENTITY = ("dataset", "images", "rest", "trained_on")
"""Settings of a cell that identify its data."""


def identified(data: Dataset) -> dict[str, str]:
    """Return the settings that identify data in a cell."""
    others = (data.train.labels, data.test.images, data.test.labels)
    prints = [str(data.validation_size), *(fingerprint(np.asarray(values)) for values in others)]
    return {
        "dataset": data.name,
        "images": fingerprint(data.train.images),
        "rest": hashlib.sha256(" ".join(prints).encode()).hexdigest()[:16],
        "trained_on": str(len(data.train) - data.validation_size),
    }


def measure_cells(
    measure: Measure,
    cells: Sequence[Cell],
    data: Dataset,
    file: Cells,
    *,
    jobs: int | None = None,
    cluster: str | None = None,
    say: Say = lambda message: None,
) -> list[dict[str, Any]]:
    """Measure the cells that are not in the file yet, each in a process of one thread, and append them to it.

    Parameters
    ----------
    measure : callable
        Function that takes a cell and the data, and returns measures that JSON can store; it must be importable.
    cells : sequence of mapping
        Settings that JSON can store.
    data : Dataset
        Data on which all cells are measured.
    file : Cells
        Where rows are read and appended.
    jobs : int, optional
        Processes at once on this machine; by default one for each core that this process may use.
    cluster : str, optional
        Address of a cluster whose workers measure the cells, in place of processes of this machine; see
        :class:`hourglass.runtime.workers.Workers`. A worker process measures one cell at a time, however many threads
        it has.
    say : callable, optional
        Called after each cell with a line that says how many are done and how long the rest will take.

    Returns
    -------
    list of dict
        A row for each cell, in the order of the cells, with ``format``, ``cell``, ``measures`` and ``seconds``.

    Raises
    ------
    ValueError
        When ``jobs`` or ``cluster`` is none that :class:`hourglass.runtime.workers.Workers` takes.
    Exception
        An error that ``measure`` raised, or one of :func:`hourglass.runtime.workers.on_workers`. What was measured
        before is in the file.
    """
    from joblib import cpu_count

    from hourglass.nn import NORMS

    workers = Workers(jobs if jobs is not None else 1 if cluster else cpu_count(), cluster)

    known = identified(data)
    wanted = {key(full): full for full in ({**cell, **known} for cell in cells)}
    done = {key(row["cell"]): row for row in file.rows()}
    left = [cell for name, cell in wanted.items() if name not in done]
    if left and len(left) < len(wanted):
        say(f"{len(wanted) - len(left)} of {len(wanted)} cells are there already, left as they are")
    started = time.monotonic()
    shared = (measure, data, dict(NORMS))
    with closing(on_workers(_measure_one, left, workers, shared, finish=False)) as rows:
        for count, (_, row) in enumerate(rows, 1):
            done[key(row["cell"])] = file.append(row)
            per_cell = (time.monotonic() - started) / count
            say(f"{count} of {len(left)} cells, {_duration(per_cell * (len(left) - count))} left")
    return [done[name] for name in wanted]


def _measure_one(shared: tuple[Measure, Dataset, Mapping[str, Any]], cell: Cell) -> dict[str, Any]:
    import torch

    from hourglass.nn import NORMS

    measure, data, norms = shared
    NORMS.update(norms)  # another process has not seen what was added to the table
    with _ONE_AT_A_TIME:
        threads = torch.get_num_threads()
        # Processes beat threads for small networks: two of one thread reach 3,250 images/s, one of two threads 2,440.
        # With one thread each, timings also do not depend on how many cells are left.
        torch.set_num_threads(1)
        started = time.perf_counter()
        try:
            measures = measure(cell, data)
        finally:
            torch.set_num_threads(threads)
        seconds = round(time.perf_counter() - started, 2)
    return {"cell": dict(cell), "measures": measures, "seconds": seconds}


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


def grouped(
    rows: Sequence[Mapping[str, Any]], *names: str
) -> Iterator[tuple[tuple[Any, ...], list[Mapping[str, Any]]]]:
    """Group rows by settings of their cells, in order of first appearance; each group is in the order of seeds."""
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault(tuple(row["cell"][name] for name in names), []).append(row)
    for values, group in groups.items():
        yield values, sorted(group, key=lambda row: row["cell"].get("seed", 0))
