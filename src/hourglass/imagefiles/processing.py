"""A run over image files: each is read, restored and written completely or not at all, and no failure is hidden."""

import errno
import os
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch

from hourglass.errors import OptionError
from hourglass.imagefiles.delivery import delivered
from hourglass.imagefiles.files import open_image
from hourglass.imagefiles.image import ImageFile, Plane, Raw
from hourglass.imagefiles.ranges import FileRanges, Ranges
from hourglass.imagefiles.reading import LargerThanWantedError, up_to
from hourglass.imagefiles.remote import existing, fetched, size_of
from hourglass.imagefiles.value_ranges import ValueRange
from hourglass.runtime.hardware import give_memory_back
from hourglass.runtime.threads import overlapped
from hourglass.runtime.workers import HERE, Workers, in_order, on_workers

Item = TypeVar("Item")

# Errors of one file that do not end the run, since the other files can still be processed.
FILE_ERRORS = (OSError, ValueError, MemoryError)
# Error numbers after which no further file can be written.
_ENDS_ALL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)

# Numbers of all images that are in work at once: 12 million colour pixels.
_MOST_AT_ONCE = 36_000_000

# Paths of the input and the output of a file.
Pair = tuple[Path, Path]
# Function that returns the new numbers of a plane, and the levels of the noise that it removed, if it knows them.
Restore = Callable[[Plane, ValueRange], tuple[Raw, tuple[float, ...]]]


@dataclass(frozen=True)
class Outcome:
    """Outcome of one file in a run.

    Parameters
    ----------
    source : Path
        The input file.
    error : Exception, optional
        The error because of which there is no output. None, the default, when there was none.
    skipped : bool, default=False
        Whether the file was left out because its output already existed.
    ranges : tuple of ValueRange, default=()
        The ranges of numbers that the network saw as [0, 1], one for each type of number in the file.
    noise_levels : tuple of float, default=()
        Levels of the noise in the file, as fractions of the range. Empty if nothing is known of them.
    """

    source: Path
    error: Exception | None = None
    skipped: bool = False
    ranges: tuple[ValueRange, ...] = ()
    noise_levels: tuple[float, ...] = ()

    def __reduce__(self) -> tuple[type["Outcome"], tuple[Any, ...]]:
        """What is sent to another process, where the type of the error may be unknown: one of Python's own types."""
        error = None if self.error is None else _plain(self.error)
        return Outcome, (self.source, error, self.skipped, self.ranges, self.noise_levels)


class OutputFullError(OSError):
    """Error after which no further output can be written: the disk is full or has become read-only."""


def process(
    pairs: Sequence[Pair],
    restore: Restore,
    *,
    ranges: Ranges | None = None,
    resume: bool = False,
    workers: Workers = HERE,
) -> Generator[Outcome, None, None]:
    """Read and restore each input and write its output.

    While some images are restored, others are read and written: one more than PyTorch uses threads. Stacks, and images
    of more numbers than 36 million divided by that, are processed by themselves, with one plane in memory at a time. On
    two threads these are images of more than 4 million colour pixels.

    On several workers, each takes some files at a time, and does with them the same. The outputs are the same. An input
    is replaced in this process alone: a worker that is lost leaves unknown which files it has done, and a file that was
    restored would be restored again.

    Parameters
    ----------
    pairs : sequence of tuple of (Path, Path)
        Input and output of each file, as :func:`plan` returns them.
    restore : callable
        Function that takes a :class:`Plane` and its :class:`ValueRange`, called on several threads at once. It returns
        an array of the shape and dtype of the plane's ``values``, and the levels of the noise that it removed, as
        :meth:`ImageRestorer.restore` does. It has to be one that pickle can send to other processes, if there are
        several workers.
    ranges : Ranges, optional
        Rule by which the range of each file's numbers is found. By default it is ``Ranges()``: the rule "auto"
        without a model's ranges.
    resume : bool, default=False
        Whether files whose output exists are left out.
    workers : Workers, optional
        Where the files are processed; by default in this process.

    Yields
    ------
    Outcome
        The outcome of each pair, in order. A file that cannot be read or written does not end the run. If the iterator
        is closed before its end, the files that are in work are finished or given up.

    Raises
    ------
    OptionError
        When an input is its own output, and there are several workers; raised before any file is read.
    OutputFullError
        When the disk is full or read-only.
    WorkerLostError, ConnectionError, ImportError
        As :func:`hourglass.runtime.workers.on_workers` raises them.
    """
    if workers != HERE and any(source == target for source, target in pairs):
        raise OptionError(
            "inputs are replaced (--in-place) in this process alone; leave jobs (--jobs) and cluster (--cluster) out, "
            "or name a folder for the output"
        )
    there = existing(target for _, target in pairs) if resume else set()
    left = [pair for pair in pairs if pair[1] not in there]
    with closing(_on(workers, left, restore, ranges or Ranges())) as outcomes:
        for source, target in pairs:
            outcome = Outcome(source, skipped=True) if target in there else next(outcomes)
            if (number := _ends_all(outcome)) is not None:
                how = "for it and those behind it" if source == target else "with --resume"
                raise OutputFullError(
                    f"{os.strerror(number)}: stopped at {source}; make room, then repeat the command {how}"
                ) from outcome.error
            yield outcome


def in_chunks(items: Sequence[Item], workers: Workers) -> list[Sequence[Item]]:
    """Divide files into tasks for workers.

    Parameters
    ----------
    items : sequence
        The files.
    workers : Workers
        In this process, each file is a task; on others, a task has 32 files at most, and there are 16 tasks at least.

    Returns
    -------
    list of sequence
        Parts of the sequence, in order.
    """
    size = 1 if workers == HERE else min(max(len(items) // 16, 1), 32)
    return [items[start : start + size] for start in range(0, len(items), size)]


def _plain(error: Exception) -> Exception:
    """An error of a type of Python's own, with the same message and number."""
    if isinstance(error, OSError) and error.errno is not None:
        return OSError(error.errno, error.strerror, error.filename)
    kind = next((kind for kind in FILE_ERRORS if isinstance(error, kind)), RuntimeError)
    return kind(str(error))


def _on(workers: Workers, pairs: Sequence[Pair], restore: Restore, ranges: Ranges) -> Generator[Outcome, None, None]:
    """Outcomes of all pairs, in order."""
    if workers == HERE:
        yield from _here(_Work(restore, ranges), pairs)
        return
    work = _Work(restore, ranges, workers.folder)
    with closing(in_order(on_workers(_do_chunk, in_chunks(pairs, workers), workers, work))) as chunks:
        for outcomes in chunks:
            yield from outcomes


def _here(work: "_Work", pairs: Sequence[Pair]) -> Generator[Outcome, None, None]:
    give_memory_back()
    with closing(_InProcess(work, _MOST_AT_ONCE // (torch.get_num_threads() + 1))) as here:
        yield from overlapped(here.beside_others, here.alone, pairs)


def _do_chunk(work: "_Work", pairs: Sequence[Pair]) -> list[Outcome]:
    """Process some files in a worker, up to the one after which no other can be written."""
    done = []
    with closing(_here(work, pairs)) as outcomes:
        for outcome in outcomes:
            done.append(outcome)
            if _ends_all(outcome) is not None:
                break
    return done


def _ends_all(outcome: Outcome) -> int | None:
    """Number of an error after which no other file can be written."""
    number = outcome.error.errno if isinstance(outcome.error, OSError) else None
    return number if number in _ENDS_ALL else None


@dataclass(frozen=True)
class _Work:
    """How each file is processed, and the folder of relative paths, if it is not the working folder."""

    restore: Restore
    ranges: Ranges
    folder: Path | None = None

    def process(self, file: ImageFile, planes: Iterable[Plane], pair: Pair) -> Outcome:
        """Restore the planes of a file that is open, and write its output."""
        source, target = pair
        found = FileRanges(self.ranges, file.planes, str(source))
        levels: list[float] = []

        def restored(plane: Plane) -> Raw:
            value_range = found.of_plane(plane)
            values, of_plane = self.restore(plane, value_range)
            levels.extend(of_plane)
            return values

        with delivered(target, self.folder) as path:
            file.write(path, (restored(plane) for plane in planes))
        return Outcome(source, ranges=tuple(found.found), noise_levels=tuple(levels))


class _InProcess:
    """Work on some files in this process; what was fetched to be looked at is kept for the work on it."""

    def __init__(self, work: _Work, most: int) -> None:
        self._work, self._most = work, most
        self._kept: dict[Path, tuple[Path, ExitStack]] = {}

    def beside_others(self, pair: Pair) -> Outcome | None:
        """Process a file; None where it has several planes or a large one, and has to be alone."""
        source = pair[0]
        try:
            if (size_of(source) or 0) > self._most:
                return None
            with ExitStack() as copy:
                path = copy.enter_context(fetched(source, self._work.folder))
                if (outcome := self._if_small(path, pair)) is not None:
                    return outcome
                self._kept[source] = path, copy.pop_all()
        except FILE_ERRORS as error:
            return Outcome(source, error=error)
        return None

    def _if_small(self, path: Path, pair: Pair) -> Outcome | None:
        if path.stat().st_size > self._most:
            return None
        try:
            with up_to(self._most), closing(open_image(path)) as file:
                if len(file) > 1:
                    return None
                [plane] = file.planes()
                return None if plane.values.size > self._most else self._work.process(file, [plane], pair)
        except LargerThanWantedError:
            return None

    def alone(self, pair: Pair) -> Outcome:
        """Process a file of any size and number of planes, with one plane in memory at a time."""
        source = pair[0]
        try:
            with ExitStack() as copy:
                if source in self._kept:
                    path, kept = self._kept.pop(source)
                    copy.enter_context(kept)
                else:
                    path = copy.enter_context(fetched(source, self._work.folder))
                with closing(open_image(path)) as file:
                    return self._work.process(file, file.planes(), pair)
        except FILE_ERRORS as error:
            return Outcome(source, error=error)

    def close(self) -> None:
        """Remove the copies of files on which no work was begun."""
        while self._kept:
            self._kept.popitem()[1][1].close()
