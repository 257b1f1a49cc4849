"""Errors that explain a mistake to somebody who is learning."""

import traceback


class LessonError(AssertionError):
    """Base of the errors that a check raises; a notebook shows their text alone, without a traceback.

    Where the learner's own function raised something, its traceback is shown too.
    """

    def _render_traceback_(self) -> list[str]:
        """Lines that IPython prints in place of a traceback."""
        raised = self.__cause__
        before = [] if raised is None else "".join(traceback.format_exception(raised)).splitlines()
        return [*before, f"{type(self).__name__}: {self}"]
