"""Showing how a training run goes: a bar on a terminal, plain lines elsewhere, or nothing."""

import sys
from typing import TextIO

from hourglass.training.history import Record


class Progress:
    """Shows nothing, and is what the others derive from.

    The training loop calls :meth:`start`, then :meth:`advance` after every step and :meth:`report` after
    those that were measured, and :meth:`stop` at the end, whatever ended it.
    """

    description: str = ""

    def start(self, n_steps: int) -> None:
        """Training of so many steps begins."""

    def advance(self, step: int, images_per_second: float, seconds_left: float) -> None:
        """So many steps are done."""

    def report(self, step: int, record: Record) -> None:
        """Something was measured after a step."""

    def note(self, message: str) -> None:
        """Something that a person should know before training begins."""

    def stop(self) -> None:
        """Training has ended, well or not."""


class PlainProgress(Progress):
    """One line for each report.

    Parameters
    ----------
    description : str, default="training"
        Begins every line.
    stream : file, default=standard error
    """

    def __init__(self, description: str = "training", stream: TextIO | None = None) -> None:
        self.description = description
        self.stream = stream
        self._n_steps = 0
        self._rate = ""

    def start(self, n_steps: int) -> None:
        self._n_steps = n_steps

    def note(self, message: str) -> None:
        print(f"{self.description}: {message}", file=self.stream or sys.stderr, flush=True)

    def advance(self, step: int, images_per_second: float, seconds_left: float) -> None:
        self._rate = format_rate(images_per_second, seconds_left)

    def report(self, step: int, record: Record) -> None:
        line = f"{self.description}: step {step}/{self._n_steps}  {format_record(record)}  {self._rate}"
        print(line, file=self.stream or sys.stderr, flush=True)


class RichProgress(Progress):
    """A bar with the last report, images per second and the time left, on standard error."""

    def __init__(self, description: str = "training") -> None:
        self.description = description

    def start(self, n_steps: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
        from rich.progress import Progress as Bars

        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TextColumn("{task.fields[record]}", style="dim"),
            console=Console(stderr=True),
            refresh_per_second=5,
        )
        self._task = self._bars.add_task(self.description, total=n_steps, rate="", record="")
        self._bars.start()

    def advance(self, step: int, images_per_second: float, seconds_left: float) -> None:
        self._bars.update(self._task, completed=step, rate=format_rate(images_per_second, seconds_left))

    def report(self, step: int, record: Record) -> None:
        self._bars.update(self._task, record=format_record(record))

    def note(self, message: str) -> None:
        self._bars.console.print(f"{self.description}: {message}", highlight=False)

    def stop(self) -> None:
        self._bars.stop()


def progress_for(description: str, *, quiet: bool = False) -> Progress:
    """The progress that suits standard error: a bar where it is a terminal, plain lines where not."""
    if quiet:
        return Progress()
    return RichProgress(description) if sys.stderr.isatty() else PlainProgress(description)


def format_record(record: Record) -> str:
    """What was measured, on one line."""
    return "  ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in record.items())


def format_rate(images_per_second: float, seconds_left: float) -> str:
    """Speed and time left, on one line."""
    left = round(seconds_left)
    clock = f"{left // 3600}:{left // 60 % 60:02}:{left % 60:02}" if left >= 3600 else f"{left // 60}:{left % 60:02}"
    return f"{images_per_second:,.0f} images/s  {clock} left"
