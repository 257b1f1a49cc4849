"""Restored copies of image files: one plane in memory at a time, nothing half-written, no failure passed over."""

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
from hourglass.runtime.hardware import give_memory_back, trim_memory

# What one file may raise without ending the run: the others are still worth doing.
FILE_ERRORS = (OSError, ValueError, MemoryError)
# After these nothing more can be written, whichever file comes next.
_ENDS_ALL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)

Restore = Callable[[Plane, ValueRange], Raw]


@dataclass(frozen=True)
class Outcome:
    """What became of one file.

    Attributes
    ----------
    source : Path
    error : Exception or None
        Why there is no output.
    skipped : bool
        Whether the output was there already.
    ranges : tuple of ValueRange
        The ranges of numbers that were [0, 1] to the network.
    """

    source: Path
    error: Exception | None = None
    skipped: bool = False
    ranges: tuple[ValueRange, ...] = ()


class OutputFullError(OSError):
    """No further output can be written: the disk is full, or has become read-only."""


def process(
    pairs: Sequence[tuple[Path, Path]], restore: Restore, *, ranges: Ranges | None = None, resume: bool = False
) -> Iterator[Outcome]:
    """Read, restore and write each pair, one plane in memory at a time.

    Parameters
    ----------
    pairs : sequence of (input, output)
        As :func:`plan` makes them.
    restore : callable
        Of a plane and its range of numbers, to an array of the shape and dtype of the plane's values.
    ranges : Ranges, optional
        By default, what ``auto`` finds without a model.
    resume : bool, default=False
        Leave out those whose output exists.

    Yields
    ------
    Outcome
        For each pair, in order. A file that cannot be read or written does not end the run.

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
        trim_memory()
        if isinstance(outcome.error, OSError) and outcome.error.errno in _ENDS_ALL:
            how = "for it and those behind it" if source == target else "with --resume"
            raise OutputFullError(
                f"{os.strerror(outcome.error.errno)}: stopped at {source}; make room, then repeat the command {how}"
            ) from outcome.error
        yield outcome


def _process_one(source: Path, target: Path, restore: Restore, ranges: Ranges) -> Outcome:
    try:
        with closing(open_image(source)) as file:
            found = FileRanges(ranges, file.planes, str(source))
            target.parent.mkdir(parents=True, exist_ok=True)
            file.write(target, (restore(plane, found.of_plane(plane)) for plane in file.planes()))
    except FILE_ERRORS as error:
        return Outcome(source, error=error)
    return Outcome(source, ranges=tuple(found.found))
