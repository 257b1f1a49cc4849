"""A study: a question, the trainings that answer it, and how their rows are read."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hourglass.lab.cells import Cell, Measure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Row = Mapping[str, Any]
Rows = Sequence[Row]
Table = list[list[str]]


@dataclass(frozen=True, eq=False)
class Study:
    """Many trainings that differ in the settings that a question is about.

    Parameters
    ----------
    name : str
        Name on the command line.
    title : str
        Heading of its chapter.
    question : str
        The question that the trainings are to answer.
    setting : str
        How it is measured, in a few sentences, with the placeholders ``{n_steps}`` and ``{seeds}``.
    source : str
        Publication from which the claim or the method is taken.
    n_steps : int
        Default number of steps of each training.
    seeds : int
        Default number of seeds.
    plan : callable
        Function that takes a number of seeds and of steps, and returns the cells.
    measure : callable
        Function that takes a cell and the data, and returns measures; other processes must be able to import it.
    answer : callable
        Function that takes the rows and returns the answer: first the conclusion, then the numbers that carry it.
    table : callable
        Function that takes the rows and returns lines of words; the first line has the headings.
    figures : callable
        Function that takes the rows and returns figures by name.
    """

    name: str
    title: str
    question: str
    setting: str
    source: str
    n_steps: int
    seeds: int
    plan: Callable[[int, int], list[Cell]]
    measure: Measure
    answer: Callable[[Rows], str]
    table: Callable[[Rows], Table]
    figures: Callable[[Rows], "dict[str, Figure]"]


def markdown(table: Table) -> str:
    """Write lines of words as a Markdown table.

    Parameters
    ----------
    table : list of list of str
        Lines of cells; the first line has the headings.

    Returns
    -------
    str
    """
    heading, *lines = table
    return "\n".join(f"| {' | '.join(line)} |" for line in (heading, ["---"] * len(heading), *lines))
