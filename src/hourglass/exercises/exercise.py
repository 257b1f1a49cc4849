"""An exercise: its task in two languages, a hint, and a check that explains what is wrong."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from importlib import resources
from typing import Any

from hourglass.exercises.attempt import Attempt, WrongError
from hourglass.exercises.lesson_error import LessonError
from hourglass.lessons import LANGUAGES

LEVELS = {"en": ("easy", "medium", "hard"), "zh": ("容易", "中等", "较难")}
_HINT = {"en": "\n## Hint\n", "zh": "\n## 提示\n"}


class ExerciseError(LessonError):
    """What is wrong with an answer to an exercise, in words.

    Parameters
    ----------
    exercise : str
        Name of the exercise.
    said : str
        Explanation of the mistake.

    Attributes
    ----------
    exercise, said : str
        As given.
    """

    def __init__(self, exercise: str, said: str) -> None:
        self.exercise, self.said = exercise, said
        super().__init__(f"{exercise}: {said}")


@dataclass(frozen=True)
class Passed:
    """What a check returns for a right answer.

    Parameters
    ----------
    exercise : str
        Name of the exercise.
    language : {"en", "zh"}, default="en"
        Language of the text.
    """

    exercise: str
    language: str = "en"

    def __repr__(self) -> str:
        return f"{self.exercise}: passed" if self.language == "en" else f"{self.exercise}：通过"


@dataclass(frozen=True)
class Exercise:
    """An exercise for somebody who knows Python and a little calculus.

    In a notebook a cell that ends with an exercise shows its task, and ``print(exercise)`` prints it.

    Parameters
    ----------
    name : str
        Name of the exercise, and of the function that is to be written.
    level : {0, 1, 2}
        Easy, medium or hard.
    trial : callable
        Function that tries an attempt, and raises where it is wrong.
    language : {"en", "zh"}, default="en"
        Language of task, hint and explanations: English or Chinese.

    Examples
    --------
    >>> import hourglass as hg
    >>> hg.exercises.moments
    <exercise moments: Mean and variance of feature maps>
    >>> def moments(x):
    ...     return x.mean(axis=(0, 2, 3)), x.var(axis=(0, 2, 3))
    >>> hg.exercises.moments.check(moments)
    moments: passed
    """

    name: str
    level: int
    trial: Callable[[Attempt], None]
    language: str = "en"

    @cached_property
    def _text(self) -> tuple[str, str]:
        """Task and hint."""
        file = resources.files("hourglass.exercises") / "texts" / f"{self.name}.{self.language}.md"
        task, _, hint = file.read_text(encoding="utf-8").partition(_HINT[self.language])
        return task.strip(), hint.strip()

    @property
    def title(self) -> str:
        """Title of the task."""
        return self.task.partition("\n")[0].removeprefix("# ")

    @property
    def task(self) -> str:
        """The task as Markdown: what is to be computed, and the function's signature with the shapes."""
        return self._text[0]

    @property
    def hint(self) -> "Hint":
        """Help for somebody who is stuck, as Markdown."""
        return Hint(self._text[1])

    @property
    def level_in_brackets(self) -> str:
        """How hard it is, in a word in brackets."""
        word = LEVELS[self.language][self.level]
        return f"({word})" if self.language == "en" else f"（{word}）"

    def in_language(self, language: str) -> "Exercise":
        """Return the same exercise in another language.

        Parameters
        ----------
        language : {"en", "zh"}
            English or Chinese.

        Returns
        -------
        Exercise
            With task, hint and explanations in that language.

        Raises
        ------
        ValueError
            When the language is unknown.
        """
        if language not in LANGUAGES:
            raise ValueError(f"language={language!r} is unknown; choose one of {', '.join(LANGUAGES)}")
        return replace(self, language=language)

    def check(self, function: Callable[..., Any]) -> Passed:
        """Try a function on small examples and on random ones; the same ones each time.

        Parameters
        ----------
        function : callable
            The answer: a function with the arguments that the task names. It may return NumPy arrays, tensors or lists.

        Returns
        -------
        Passed
            When every result is right.

        Raises
        ------
        ExerciseError
            When something is wrong; it explains the first thing.
        TypeError
            When the argument is no function.
        """
        if not callable(function):
            raise TypeError(
                f"check was given a {type(function).__name__}; give it the function itself, without calling it, as "
                f"exercises.{self.name}.check({self.name})"
            )
        try:
            self.trial(Attempt(function))
        except WrongError as error:
            raise ExerciseError(self.name, getattr(error.said, self.language)) from error.__cause__
        return Passed(self.name, self.language)

    def __repr__(self) -> str:
        return f"<exercise {self.name}: {self.title}>"

    def __str__(self) -> str:
        return self.task

    def _repr_markdown_(self) -> str:
        return self.task


class Hint(str):
    """Text that a notebook shows as Markdown.

    A string with the hint of an exercise.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)

    def _repr_markdown_(self) -> str:
        return str(self)


class Course(tuple[Exercise, ...]):
    """Exercises in order, from easy to hard; a cell that ends with it shows their list.

    Parameters
    ----------
    iterable : iterable of Exercise
        The exercises.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return "\n".join(
            f"{number}  {each.name:14}{each.title} {each.level_in_brackets}" for number, each in enumerate(self, 1)
        )

    def _repr_markdown_(self) -> str:
        return "\n".join(
            f"{number}. `{each.name}`: {each.title} {each.level_in_brackets}" for number, each in enumerate(self, 1)
        )
