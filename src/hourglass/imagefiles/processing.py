"""A run over image files: each is read, restored and written completely or not at all, and no failure is hidden."""

import errno
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import torch

from hourglass.imagefiles.files import open_image
from hourglass.imagefiles.image import ImageFile, Plane, Raw
from hourglass.imagefiles.ranges import FileRanges, Ranges
from hourglass.imagefiles.value_ranges import ValueRange
from hourglass.runtime.hardware import give_memory_back
from hourglass.runtime.threads import lone_workers

# Errors of one file that do not end the run, since the other files can still be processed.
FILE_ERRORS = (OSError, ValueError, MemoryError)
# Error numbers after which no further file can be written.
_ENDS_ALL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)

# Numbers of all images that are in work at once: 8 million colour pixels, divided among the threads.
_MOST_AT_ONCE = 24_000_000

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


class OutputFullError(OSError):
    """Error after which no further output can be written: the disk is full or has become read-only."""


def process(
    pairs: Sequence[tuple[Path, Path]], restore: Restore, *, ranges: Ranges | None = None, resume: bool = False
) -> Iterator[Outcome]:
    """Read and restore each input and write its output.

    Several files are in work at once, each on a thread of its own that reads, computes and writes. Stacks and large
    images, of more than 8 million colour pixels divided by the number of threads, are processed by themselves on all
    threads, with one plane in memory at a time.

    Parameters
    ----------
    pairs : sequence of tuple of (Path, Path)
        Input and output of each file, as :func:`plan` returns them.
    restore : callable
        Function that takes a :class:`Plane` and its :class:`ValueRange`. It returns an array of the shape and dtype of
        the plane's ``values``, and the levels of the noise that it removed, as :meth:`ImageRestorer.restore` does.
    ranges : Ranges, optional
        Rule by which the range of each file's numbers is found. By default it is ``Ranges()``: the rule "auto"
        without a model's ranges.
    resume : bool, default=False
        Whether files whose output exists are left out.

    Yields
    ------
    Outcome
        The outcome of each pair, in order. A file that cannot be read or written does not end the run.

    Raises
    ------
    OutputFullError
        When the disk is full or read-only.
    """
    give_memory_back()
    threads = torch.get_num_threads()
    work = _Work(restore, ranges or Ranges(), resume=resume, threads=threads)
    pool = lone_workers()
    waiting: deque[Future[Outcome | None]] = deque()
    begun = 0
    try:
        for source, target in pairs:
            while begun < len(pairs) and len(waiting) <= threads:
                waiting.append(pool.submit(work.process_if_small, *pairs[begun]))
                begun += 1
            outcome = waiting.popleft().result()
            if outcome is None:
                wait(waiting)  # a large image has all threads, and most of the memory, for itself
                outcome = work.process_one(source, target)
            yield _checked(outcome, target)
    finally:
        for future in waiting:
            future.cancel()
        wait(waiting)


@dataclass(frozen=True)
class _Work:
    """How a file is processed."""

    restore: Restore
    ranges: Ranges
    resume: bool
    threads: int

    def process_if_small(self, source: Path, target: Path) -> Outcome | None:
        """Process a file, unless its numbers take so much memory that it should be alone; then None."""
        if self.resume and target.exists():
            return Outcome(source, skipped=True)
        try:
            most = _MOST_AT_ONCE / self.threads
            if source.stat().st_size > most:
                return None
            with closing(open_image(source)) as file:
                if len(file) > 1:
                    return None
                [plane] = file.planes()
                return None if plane.values.size > most else self._process(file, [plane], source, target)
        except FILE_ERRORS as error:
            return Outcome(source, error=error)

    def process_one(self, source: Path, target: Path) -> Outcome:
        """Process a file of any size and number of planes, with one plane in memory at a time."""
        try:
            with closing(open_image(source)) as file:
                return self._process(file, file.planes(), source, target)
        except FILE_ERRORS as error:
            return Outcome(source, error=error)

    def _process(self, file: ImageFile, planes: Iterable[Plane], source: Path, target: Path) -> Outcome:
        found = FileRanges(self.ranges, file.planes, str(source))
        levels: list[float] = []

        def restored(plane: Plane) -> Raw:
            values, of_plane = self.restore(plane, found.of_plane(plane))
            levels.extend(of_plane)
            return values

        target.parent.mkdir(parents=True, exist_ok=True)
        file.write(target, (restored(plane) for plane in planes))
        return Outcome(source, ranges=tuple(found.found), noise_levels=tuple(levels))


def _checked(outcome: Outcome, target: Path) -> Outcome:
    """The outcome of a file; raises OutputFullError if no other one can be written."""
    if isinstance(outcome.error, OSError) and outcome.error.errno in _ENDS_ALL:
        how = "for it and those behind it" if outcome.source == target else "with --resume"
        raise OutputFullError(
            f"{os.strerror(outcome.error.errno)}: stopped at {outcome.source}; make room, then repeat the command {how}"
        ) from outcome.error
    return outcome
