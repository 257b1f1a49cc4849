"""A run over image files: each is read, restored and written completely or not at all, and no failure is hidden."""

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from hourglass.imagefiles.files import open_image
from hourglass.imagefiles.image import Plane, Raw
from hourglass.imagefiles.ranges import FileRanges, Ranges
from hourglass.imagefiles.value_ranges import ValueRange
from hourglass.runtime.hardware import give_memory_back

# Errors of one file that do not end the run, since the other files can still be processed.
FILE_ERRORS = (OSError, ValueError, MemoryError)
# Error numbers after which no further file can be written.
_ENDS_ALL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)

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
    """Read and restore each input and write its output, with one plane in memory at a time.

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
    ranges = ranges or Ranges()
    for source, target in pairs:
        if resume and target.exists():
            yield Outcome(source, skipped=True)
            continue
        outcome = _process_one(source, target, restore, ranges)
        if isinstance(outcome.error, OSError) and outcome.error.errno in _ENDS_ALL:
            how = "for it and those behind it" if source == target else "with --resume"
            raise OutputFullError(
                f"{os.strerror(outcome.error.errno)}: stopped at {source}; make room, then repeat the command {how}"
            ) from outcome.error
        yield outcome


def _process_one(source: Path, target: Path, restore: Restore, ranges: Ranges) -> Outcome:
    levels: list[float] = []

    def restored(plane: Plane, value_range: ValueRange) -> Raw:
        values, of_plane = restore(plane, value_range)
        levels.extend(of_plane)
        return values

    try:
        with closing(open_image(source)) as file:
            found = FileRanges(ranges, file.planes, str(source))
            target.parent.mkdir(parents=True, exist_ok=True)
            file.write(target, (restored(plane, found.of_plane(plane)) for plane in file.planes()))
    except FILE_ERRORS as error:
        return Outcome(source, error=error)
    return Outcome(source, ranges=tuple(found.found), noise_levels=tuple(levels))
