"""Display of a training's progress: a bar on a terminal, plain lines elsewhere, or nothing; and its log."""

import math
import sys
from typing import TextIO

from hourglass.training.history import Record

# How the numbers of a report are measured, by the first word of their names; and the same in brief.
_MEASURED = {
    "training": ("inference mode, this batch", "inference mode"),
    "validation": ("inference mode, validation images", "validation"),
}


class Progress:
    """Base class of the displays, which itself shows nothing.

    The training loop calls :meth:`start`, then :meth:`resume` where a checkpoint was read, :meth:`advance` after every
    step, :meth:`report` after those that were measured, and :meth:`stop` at the end, also after an error.
    """

    description: str = ""

    def start(self, n_steps: int) -> None:
        """Begin to show a training.

        Parameters
        ----------
        n_steps : int
            Number of steps of the whole training.
        """

    def resume(self, step: int, n_steps: int) -> None:
        """Say that the training is resumed.

        Parameters
        ----------
        step : int
            Number of the last step of the checkpoint.
        n_steps : int
            Number of steps of the whole training.
        """
        self.note(f"going on from step {step} of {n_steps}")

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
            Measured numbers by name. ``epoch`` is the number of passes over the data, ``loss`` the mean loss of the
            batches since the last report, in training mode; all others are measured in inference mode: ``training_…``
            on the batch of this step, ``validation_…`` on the validation images.
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
        self._print(f"{self.description}: {message}")

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
        """Print a line with epoch and step, the measured numbers, the speed and the time left.

        Parameters
        ----------
        step : int
            Number of the step, from 1.
        record : dict of str to float
            Measured numbers by name.
        """
        parts = [format_place(step, self._n_steps, record), *format_record(record), self._rate]
        self._print(f"{self.description}: {' | '.join(parts)}")

    def _print(self, line: str) -> None:
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
        self._bars.update(self._task, record=" | ".join(format_record(record, brief=True)))

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


def format_place(step: int, n_steps: int, record: Record) -> str:
    """Write how far a training is.

    Parameters
    ----------
    step : int
        Number of the step, from 1.
    n_steps : int
        Number of steps of the whole training.
    record : dict of str to float
        Measured numbers; ``epoch``, the number of passes over the data, need not be among them.

    Returns
    -------
    str
        Such as ``"epoch 2/20, step 451/6000"``: the pass that the step belongs to, of all that are begun.
    """
    said = f"step {step}/{n_steps}"
    if "epoch" not in record:
        return said
    # Rounded, so that a whole number of passes is not taken for a little more.
    done, whole = (math.ceil(round(passes, 6)) for passes in (record["epoch"], record["epoch"] / step * n_steps))
    return f"epoch {done}/{whole}, {said}"


def format_record(record: Record, *, brief: bool = False) -> list[str]:
    """Write measured numbers, each with about four digits, and say how they were measured.

    Parameters
    ----------
    record : dict of str to float
        Measured numbers by name, as :meth:`Progress.report` takes them.
    brief : bool, default=False
        Whether to name only the mode, for a line that has little room.

    Returns
    -------
    list of str
        Such as ``["training mode, mean since the last report: loss 0.1234", "inference mode, this batch: loss 0.1201,
        accuracy 0.9844"]``; one text for each way of measuring.
    """
    told: dict[str, list[str]] = {}
    for name, value in record.items():
        if name == "epoch":
            continue
        part, _, measure = name.partition("_")
        if name == "loss":
            how, short, measure = "training mode, mean since the last report", "training mode", name
        elif part in _MEASURED and measure:
            how, short = _MEASURED[part]
        else:
            how, short, measure = "", "", name
        told.setdefault(short if brief else how, []).append(f"{measure.replace('_', ' ')} {_number(value)}")
    return [f"{how}: {', '.join(numbers)}" if how else ", ".join(numbers) for how, numbers in told.items()]


def _number(value: float) -> str:
    return f"{value:.4f}" if value == 0 or 1e-3 <= abs(value) < 100 else f"{value:.4g}"


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
        Such as ``"1,234 images/s, 5:06 left"``.
    """
    left = round(seconds_left)
    clock = f"{left // 3600}:{left // 60 % 60:02}:{left % 60:02}" if left >= 3600 else f"{left // 60}:{left % 60:02}"
    return f"{images_per_second:,.0f} images/s, {clock} left"
