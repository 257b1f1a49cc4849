"""A run over image files: each is read, restored and written completely or not at all, and no failure is hidden."""

import errno
import os
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import torch

from hourglass.imagefiles.files import open_image
from hourglass.imagefiles.image import ImageFile, Plane, Raw
from hourglass.imagefiles.ranges import FileRanges, Ranges
from hourglass.imagefiles.reading import LargerThanWantedError, up_to
from hourglass.imagefiles.value_ranges import ValueRange
from hourglass.runtime.hardware import give_memory_back
from hourglass.runtime.threads import overlapped

# Errors of one file that do not end the run, since the other files can still be processed.
FILE_ERRORS = (OSError, ValueError, MemoryError)
# Error numbers after which no further file can be written.
_ENDS_ALL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)

# Numbers of all images that are in work at once: 12 million colour pixels.
_MOST_AT_ONCE = 36_000_000

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
) -> Generator[Outcome, None, None]:
    """Read and restore each input and write its output.

    While some images are restored, others are read and written: one more than PyTorch uses threads. Stacks, and images
    of more numbers than 36 million divided by that, are processed by themselves, with one plane in memory at a time. On
    two threads these are images of more than 4 million colour pixels.

    Parameters
    ----------
    pairs : sequence of tuple of (Path, Path)
        Input and output of each file, as :func:`plan` returns them.
    restore : callable
        Function that takes a :class:`Plane` and its :class:`ValueRange`, called on several threads at once. It returns
        an array of the shape and dtype of the plane's ``values``, and the levels of the noise that it removed, as
        :meth:`ImageRestorer.restore` does.
    ranges : Ranges, optional
        Rule by which the range of each file's numbers is found. By default it is ``Ranges()``: the rule "auto"
        without a model's ranges.
    resume : bool, default=False
        Whether files whose output exists are left out.

    Yields
    ------
    Outcome
        The outcome of each pair, in order. A file that cannot be read or written does not end the run. If the iterator
        is closed before its end, the files that are in work are finished or given up.

    Raises
    ------
    OutputFullError
        When the disk is full or read-only.
    """
    give_memory_back()
    most = _MOST_AT_ONCE // (torch.get_num_threads() + 1)
    work = _Work(restore, ranges or Ranges(), resume, most)
    with closing(overlapped(work.beside_others, work.alone, pairs)) as outcomes:
        for (source, target), outcome in zip(pairs, outcomes, strict=True):
            if isinstance(outcome.error, OSError) and outcome.error.errno in _ENDS_ALL:
                how = "for it and those behind it" if source == target else "with --resume"
                raise OutputFullError(
                    f"{os.strerror(outcome.error.errno)}: stopped at {source}; make room, then repeat the command {how}"
                ) from outcome.error
            yield outcome


@dataclass(frozen=True)
class _Work:
    """How each file is processed."""

    restore: Restore
    ranges: Ranges
    resume: bool
    most: int

    def beside_others(self, pair: tuple[Path, Path]) -> Outcome | None:
        """Process a file; None where it has several planes or a large one, and has to be alone."""
        source, target = pair
        if self.resume and target.exists():
            return Outcome(source, skipped=True)
        try:
            if source.stat().st_size > self.most:
                return None
            with up_to(self.most), closing(open_image(source)) as file:
                if len(file) > 1:
                    return None
                [plane] = file.planes()
                return None if plane.values.size > self.most else self._process(file, [plane], pair)
        except LargerThanWantedError:
            return None
        except FILE_ERRORS as error:
            return Outcome(source, error=error)

    def alone(self, pair: tuple[Path, Path]) -> Outcome:
        """Process a file of any size and number of planes, with one plane in memory at a time."""
        try:
            with closing(open_image(pair[0])) as file:
                return self._process(file, file.planes(), pair)
        except FILE_ERRORS as error:
            return Outcome(pair[0], error=error)

    def _process(self, file: ImageFile, planes: Iterable[Plane], pair: tuple[Path, Path]) -> Outcome:
        source, target = pair
        found = FileRanges(self.ranges, file.planes, str(source))
        levels: list[float] = []

        def restored(plane: Plane) -> Raw:
            value_range = found.of_plane(plane)
            values, of_plane = self.restore(plane, value_range)
            levels.extend(of_plane)
            return values

        target.parent.mkdir(parents=True, exist_ok=True)
        file.write(target, (restored(plane) for plane in planes))
        return Outcome(source, ranges=tuple(found.found), noise_levels=tuple(levels))
