"""Commands that torchrun starts in several processes, which then do one training together."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from hourglass.cli.app import Misuse, resuming
from hourglass.runtime.launched import Launched, launched

T = TypeVar("T")

# Seconds.
_TIMEOUT = 60.0
Timeout = Annotated[
    float | None,
    typer.Option(
        metavar="SECONDS",
        help="Under torchrun: time after which a process that does not answer counts as lost.  "
        f"[default: {_TIMEOUT:g}]",
        show_default=False,
        min=20,
    ),
]
# File in the folder of the results by which a process that torchrun has started again knows its own job.
_MARK = ".torchrun"
# Errors that this process has to report, and no other one.
_reported_here: list[BaseException] = []


class Job:
    """The job of torchrun that this process belongs to; without torchrun, this process is the whole job.

    Parameters
    ----------
    place : Launched or None
        Place of this process in the job.
    out : Path
        Folder of the results.
    """

    def __init__(self, place: Launched | None, out: Path) -> None:
        self.place, self._mark = place, out / _MARK
        self._name = os.environ.get("TORCHELASTIC_RUN_ID", "")

    @property
    def shows(self) -> bool:
        """Whether this process is the one that shows results."""
        return self.place is None or self.place.rank == 0

    def was_begun(self) -> bool:
        """Whether torchrun has started this job again after it had begun its work, so that it is to be resumed."""
        from hourglass.runtime import ranks

        if self.place is None or not ranks.greatest(self.place.restarts)[0]:
            return False
        return ranks.on_first(lambda: self._mark.is_file() and self._mark.read_text(encoding="utf-8") == self._name)

    def begin(self) -> None:
        """Remember that the work has begun, after everything that may be refused was checked."""
        if self.place is not None and self.shows:
            self._mark.parent.mkdir(parents=True, exist_ok=True)
            self._mark.write_text(self._name, encoding="utf-8")

    def beginning(self, function: Callable[[T], None]) -> Callable[[T], None]:
        """Return a function that remembers that the work has begun, and then calls another one."""

        def begin(argument: T) -> None:
            self.begin()
            function(argument)

        return begin

    def end(self) -> None:
        """Forget it, since the work is done."""
        if self.shows:
            self._mark.unlink(missing_ok=True)


def check_out_is_given(out: Path | None) -> None:
    """Refuse to run under torchrun without a folder of the person's own choice."""
    if out is None and launched() is not None:
        raise Misuse("torchrun needs --out, the folder in which its processes find the run again after a restart")


@contextmanager
def together(command: str, out: Path, *, timeout: float | None, device: object) -> Iterator[Job]:
    """Do what follows together with the other processes that torchrun has started; only that of rank 0 shows anything.

    ``command`` is the command line, and ``device`` what was chosen to compute on.
    """
    place = launched()
    job = Job(place, out)
    if place is None:
        if timeout is not None:
            raise Misuse("--timeout is for the processes that torchrun starts; without torchrun leave it out")
        yield job
        job.end()
        return
    from hourglass.runtime.ending import FollowerError
    from hourglass.runtime.launch import joined
    from hourglass.runtime.ranks import LostProcessError

    try:
        with joined(place, timeout=_TIMEOUT if timeout is None else timeout, use_gpu=device != "cpu"), _shown(job):
            yield job
            job.end()
    except FollowerError:
        raise
    except LostProcessError as error:
        again = place.again(command) if "--overwrite" in command.split() else resuming(command)
        raise _report(LostProcessError(f"{error}; to go on: {again}")) from error
    except BaseException as error:
        _report(error)
        raise


@contextmanager
def _shown(job: Job) -> Iterator[None]:
    if job.shows:
        yield
        return
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        yield


def is_silent(error: BaseException) -> bool:
    """Whether another process under torchrun says what has happened."""
    if getattr(error, "silent", False):
        return True
    try:
        place = launched()
    except ValueError:  # this is the error: a variable that torchrun sets is not a number
        return False
    # What is refused before the processes have joined is refused by all of them.
    return place is not None and place.rank > 0 and error not in _reported_here


def _report(error: BaseException) -> BaseException:
    """Remember that this process has to report an error."""
    _reported_here.append(error)
    return error
