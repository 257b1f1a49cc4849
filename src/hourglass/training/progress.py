"""Display of a training's progress: a bar on a terminal, plain lines elsewhere, or nothing."""

import sys
from typing import TextIO

from hourglass.training.history import Record


class Progress:
    """Base class of the displays, which itself shows nothing.

    The training loop calls :meth:`start`, then :meth:`advance` after every step, :meth:`report` after those that were
    measured, and :meth:`stop` at the end, also after an error.
    """

    description: str = ""

    def start(self, n_steps: int) -> None:
        """Begin to show a training.

        Parameters
        ----------
        n_steps : int
            Number of steps of the whole training.
        """

    def advance(self, step: int, images_per_second: float, seconds_left: float) -> None:
        """Show how far the training is.

        Parameters
        ----------
        step : int
            Number of steps done.
        images_per_second : float
            Speed so far.
        seconds_left : float
            Estimated time to the end of training, in seconds.
        """

    def report(self, step: int, record: Record) -> None:
        """Show numbers that were measured after a step.

        Parameters
        ----------
        step : int
            Number of the step, from 1.
        record : dict of str to float
            Measured numbers by name.
        """

    def note(self, message: str) -> None:
        """Show a message that a person should read before training begins.

        Parameters
        ----------
        message : str
            Message of one line.
        """

    def stop(self) -> None:
        """End the display, whether the training succeeded or failed."""


class PlainProgress(Progress):
    """Display of one line of text for each report.

    Parameters
    ----------
    description : str, default="training"
        Text at the beginning of every line.
    stream : text file, optional
        File to print to; by default standard error.
    """

    def __init__(self, description: str = "training", stream: TextIO | None = None) -> None:
        self.description = description
        self.stream = stream
        self._n_steps = 0
        self._rate = ""

    def start(self, n_steps: int) -> None:
        """Begin to show a training; this prints nothing.

        Parameters
        ----------
        n_steps : int
            Number of steps of the whole training.
        """
        self._n_steps = n_steps

    def note(self, message: str) -> None:
        """Print a message.

        Parameters
        ----------
        message : str
            Message of one line.
        """
        print(f"{self.description}: {message}", file=self.stream or sys.stderr, flush=True)

    def advance(self, step: int, images_per_second: float, seconds_left: float) -> None:
        """Note speed and time left for the line of the next report; this prints nothing.

        Parameters
        ----------
        step : int
            Number of steps done.
        images_per_second : float
            Speed so far.
        seconds_left : float
            Estimated time to the end of training, in seconds.
        """
        self._rate = format_rate(images_per_second, seconds_left)

    def report(self, step: int, record: Record) -> None:
        """Print a line with the step, the measured numbers, the speed and the time left.

        Parameters
        ----------
        step : int
            Number of the step, from 1.
        record : dict of str to float
            Measured numbers by name.
        """
        line = f"{self.description}: step {step}/{self._n_steps}  {format_record(record)}  {self._rate}"
        print(line, file=self.stream or sys.stderr, flush=True)


class RichProgress(Progress):
    """Progress bar on standard error, with the last report, the speed and the time left.

    Parameters
    ----------
    description : str, default="training"
        Text in front of the bar.
    """

    def __init__(self, description: str = "training") -> None:
        self.description = description

    def start(self, n_steps: int) -> None:
        """Draw the bar.

        Parameters
        ----------
        n_steps : int
            Number of steps of the whole training, at which the bar is full.
        """
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
        """Move the bar, and update speed and time left.

        Parameters
        ----------
        step : int
            Number of steps done.
        images_per_second : float
            Speed so far.
        seconds_left : float
            Estimated time to the end of training, in seconds.
        """
        self._bars.update(self._task, completed=step, rate=format_rate(images_per_second, seconds_left))

    def report(self, step: int, record: Record) -> None:
        """Replace the measured numbers behind the bar.

        Parameters
        ----------
        step : int
            Number of the step, from 1.
        record : dict of str to float
            Measured numbers by name.
        """
        self._bars.update(self._task, record=format_record(record))

    def note(self, message: str) -> None:
        """Print a message above the bar.

        Parameters
        ----------
        message : str
            Message of one line.
        """
        self._bars.console.print(f"{self.description}: {message}", highlight=False)

    def stop(self) -> None:
        """Draw the bar for the last time, and give the terminal back."""
        self._bars.stop()


def progress_for(description: str, *, quiet: bool = False) -> Progress:
    """Choose the display that suits standard error.

    Parameters
    ----------
    description : str
        Text in front of the bar, or of every line.
    quiet : bool, default=False
        Whether to show nothing.

    Returns
    -------
    Progress
        A bar where standard error is a terminal, otherwise plain lines.
    """
    if quiet:
        return Progress()
    return RichProgress(description) if sys.stderr.isatty() else PlainProgress(description)


def format_record(record: Record) -> str:
    """Write measured numbers on one line, each with four significant digits.

    Parameters
    ----------
    record : dict of str to float
        Measured numbers by name.

    Returns
    -------
    str
        Names and numbers.
    """
    return "  ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in record.items())


def format_rate(images_per_second: float, seconds_left: float) -> str:
    """Write speed and time left on one line.

    Parameters
    ----------
    images_per_second : float
        Speed.
    seconds_left : float
        Time left in seconds.

    Returns
    -------
    str
        Such as ``"1,234 images/s  5:06 left"``.
    """
    left = round(seconds_left)
    clock = f"{left // 3600}:{left // 60 % 60:02}:{left % 60:02}" if left >= 3600 else f"{left // 60}:{left % 60:02}"
    return f"{images_per_second:,.0f} images/s  {clock} left"
