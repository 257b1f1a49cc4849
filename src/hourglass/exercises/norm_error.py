"""The error of the check of batch normalisation, with the parts of its explanation."""

from hourglass.exercises.lesson_error import LessonError


class BatchNormError(LessonError):
    """What is wrong with a batch normalisation, in words.

    Parameters
    ----------
    part : str
        Part of batch normalisation that was tried, such as ``"gradient"``.
    done : str
        What was done with the layer.
    expected : str
        What should have come of it, and why.
    found : str
        What came of it.
    mistake : str
        The likely mistake, and the remedy.

    Attributes
    ----------
    part, done, expected, found, mistake : str
        As given.
    """

    def __init__(self, part: str, *, done: str, expected: str, found: str, mistake: str) -> None:
        self.part, self.done, self.expected, self.found, self.mistake = part, done, expected, found, mistake
        super().__init__(
            f"the part {part!r} is not right yet.\n\n"
            f"What was done: {done}\n\n"
            f"What was expected: {expected}\n\n"
            f"What came out: {found}\n\n"
            f"The likely mistake: {mistake}"
        )
