"""A study: a question, the trainings that answer it, and what they say."""

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
    """Many trainings that differ in what a question asks about.

    Parameters
    ----------
    name : str
        As on the command line.
    title : str
        A line for people.
    question : str
    setting : str
        How it is measured, in a sentence or two, with ``{updates}`` and ``{seeds}`` to be filled in.
    source : str
        Where the claim or the method is from.
    updates, seeds : int
        Of each training, and trainings of each kind, where nobody says.
    plan : callable
        Of seeds and updates, to the cells.
    measure : callable
        Of a cell and the data, to numbers; a function that other processes can import.
    answer : callable
        Of the rows, to a sentence or several, every claim with its interval.
    table : callable
        Of the rows, to lines of words, the first of which are headings.
    figures : callable
        Of the rows, to figures by name.
    """

    name: str
    title: str
    question: str
    setting: str
    source: str
    updates: int
    seeds: int
    plan: Callable[[int, int], list[Cell]]
    measure: Measure
    answer: Callable[[Rows], str]
    table: Callable[[Rows], Table]
    figures: Callable[[Rows], "dict[str, Figure]"]


def markdown(table: Table) -> str:
    """Lines of words as a Markdown table."""
    heading, *lines = table
    return "\n".join(f"| {' | '.join(line)} |" for line in (heading, ["---"] * len(heading), *lines))
