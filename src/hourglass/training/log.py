"""The log of a training: the lines that its display prints where there is no terminal, kept for its report."""

import re
from pathlib import Path

from hourglass.atomic import write_whole
from hourglass.training.history import Record
from hourglass.training.progress import PlainProgress, Progress

_STEP = re.compile(r"\bstep (\d+)/")


class LoggedProgress(PlainProgress):
    """Display that passes everything to another display, and keeps the lines of a :class:`PlainProgress`.

    Parameters
    ----------
    shown : Progress
        Display that the person sees; it may show a bar, or nothing.
    description : str
        Text at the beginning of every line.
    path : Path, optional
        File that gets each line as soon as it is complete, so that a training that is resumed has the lines from before
        the interruption. Lines of steps that are repeated, since no checkpoint was written after them, are dropped. By
        default the lines are only kept in memory.
    """

    def __init__(self, shown: Progress, description: str, path: Path | None = None) -> None:
        super().__init__(description)
        self.shown, self.path = shown, path
        self.lines: list[str] = []
        self._begun = False  # whether the file has the lines of this training, and gets more at its end

    @property
    def text(self) -> str:
        """All lines of the training so far, each with a line feed at its end."""
        return "".join(f"{line}\n" for line in self.lines)

    def start(self, n_steps: int) -> None:
        """Begin to show a training; the log is empty.

        Parameters
        ----------
        n_steps : int
            Number of steps of the whole training.
        """
        super().start(n_steps)
        self.lines, self._begun = [], False
        self.shown.start(n_steps)

    def resume(self, step: int, n_steps: int) -> None:
        """Take over the lines from before the interruption, and say that the training is resumed.

        Parameters
        ----------
        step : int
            Number of the last step of the checkpoint; lines of later steps are dropped.
        n_steps : int
            Number of steps of the whole training.
        """
        if self.path is not None and self.path.exists():
            before = self.path.read_text(encoding="utf-8", errors="replace").splitlines()
            self.lines = [line for line in before if not ((found := _STEP.search(line)) and int(found[1]) > step)]
        super().resume(step, n_steps)

    def advance(self, step: int, images_per_second: float, seconds_left: float) -> None:
        """Pass on how far the training is, and note the speed for the line of the next report.

        Parameters
        ----------
        step : int
            Number of steps done.
        images_per_second : float
            Speed so far.
        seconds_left : float
            Estimated time to the end of training, in seconds.
        """
        super().advance(step, images_per_second, seconds_left)
        self.shown.advance(step, images_per_second, seconds_left)

    def report(self, step: int, record: Record) -> None:
        """Keep a line with the measured numbers, and pass them on.

        Parameters
        ----------
        step : int
            Number of the step, from 1.
        record : dict of str to float
            Measured numbers by name.
        """
        super().report(step, record)
        self.shown.report(step, record)

    def note(self, message: str) -> None:
        """Keep a message, and pass it on.

        Parameters
        ----------
        message : str
            Message of one line.
        """
        super().note(message)
        self.shown.note(message)

    def stop(self) -> None:
        """End the display that is shown."""
        self.shown.stop()

    def _print(self, line: str) -> None:
        self.lines.append(line)
        if self.path is None:
            return
        if self._begun:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(f"{line}\n")
        else:
            write_whole(self.path, self.text.encode())
            self._begun = True
