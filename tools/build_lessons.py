"""Builds the notebooks of the lessons from their texts in `lessons/`, which have each passage in every language.

Usage: scripts/lessons [--execute] [NAME ...] | --check

Code is executed once, on the sample data, and its outputs are common to all languages. Where only prose has changed,
the outputs are kept, unless `--execute` is given. `--check` executes nothing and fails when a notebook is older than
its text.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jupytext
import nbformat
from nbclient import NotebookClient

from hourglass.lessons import LANGUAGES, LESSONS

ROOT = Path(__file__).parents[1]
TEXTS = ROOT / "lessons"
BUILT = ROOT / "src" / "hourglass" / "lessons"
SECONDS = 600  # for one cell

Notebook = nbformat.NotebookNode


def read_text(name: str) -> Notebook:
    """Read a lesson's text.

    Parameters
    ----------
    name : str
        Name of the lesson.

    Returns
    -------
    NotebookNode
        Notebook with the passages of all languages, without outputs.
    """
    text: Notebook = jupytext.read(TEXTS / f"{name}.md", fmt="md:myst")
    text.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for number, cell in enumerate(text.cells):
        cell.id = f"cell-{number}"
    text.nbformat, text.nbformat_minor = 4, 5
    return text


def faults(text: Notebook) -> Iterator[str]:
    """Find passages without a counterpart in another language.

    Parameters
    ----------
    text : NotebookNode
        A lesson's text.

    Yields
    ------
    str
        Description of each fault.
    """
    passages: list[str] = []
    cells: list[Any] = [*text.cells, None]
    for cell in cells:
        if cell is not None and cell.cell_type == "markdown":
            language = cell.metadata.get("lang")
            if language not in LANGUAGES:
                yield f"a passage has the language {language!r}: {cell.source[:60]!r}"
            if not passages or passages[-1] == LANGUAGES[-1]:
                passages = []
            passages.append(language)
        if (cell is None or cell.cell_type == "code" or passages == list(LANGUAGES)) and passages:
            if passages != list(LANGUAGES):
                where = "at the end" if cell is None else f"before {cell.source[:60]!r}"
                yield f"passages in {', '.join(map(str, passages))} {where}; expected {', '.join(LANGUAGES)}"
            passages = []


def execute(text: Notebook) -> Notebook:
    """Run the code of a lesson.

    Parameters
    ----------
    text : NotebookNode
        Notebook without outputs.

    Returns
    -------
    NotebookNode
        The notebook with outputs, without times and other traces of the run.
    """
    NotebookClient(text, timeout=SECONDS, kernel_name="python3", record_timing=False).execute()
    for cell in text.cells:
        if cell.cell_type == "code":
            cell.metadata.pop("execution", None)
    return text


def with_known_outputs(name: str, text: Notebook) -> bool:
    """Give a lesson the outputs of its built notebook if both have the same code; return whether they have."""
    path = BUILT / f"{name}.ipynb"
    if not path.exists():
        return False
    code, built = ([cell for cell in each.cells if cell.cell_type == "code"] for each in (text, read_built(path)))
    if [cell.source for cell in code] != [cell.source for cell in built]:
        return False
    for cell, known in zip(code, built, strict=True):
        cell.outputs, cell.execution_count = known.outputs, known.execution_count
    return True


def read_built(path: Path) -> Notebook:
    """Read a notebook."""
    notebook: Notebook = nbformat.read(path, as_version=4)
    return notebook


def contents(notebook: Notebook) -> list[tuple[str, str, dict[str, Any]]]:
    """List what a lesson says, without outputs.

    Parameters
    ----------
    notebook : NotebookNode
        Text or built notebook.

    Returns
    -------
    list of tuple of (str, str, dict)
        Type, source and metadata of each cell.
    """
    return [(cell.cell_type, cell.source, dict(cell.metadata)) for cell in notebook.cells]


def is_current(name: str, text: Notebook) -> bool:
    """Whether the built notebook has the cells of the text."""
    path = BUILT / f"{name}.ipynb"
    return path.exists() and contents(read_built(path)) == contents(text)


def main() -> None:
    """Build the lessons that are named, or check all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", metavar="NAME", nargs="*", help=f"of {', '.join(LESSONS)}; by default all")
    parser.add_argument("--execute", action="store_true", help="execute code that has not changed too")
    parser.add_argument("--check", action="store_true", help="execute nothing; fail when a notebook is not current")
    options = parser.parse_args()
    if unknown := set(options.names) - set(LESSONS):
        parser.error(f"no lesson {unknown.pop()!r}; choose of {', '.join(LESSONS)}")
    wrong = []
    for name in options.names or LESSONS:
        text = read_text(name)
        found = [f"lessons/{name}.md: {fault}" for fault in faults(text)]
        wrong += found
        if options.check and not found and not is_current(name, text):
            wrong.append(f"lessons/{name}.md is newer than its notebook; run scripts/lessons {name}")
        if not options.check and not found:
            kept = not options.execute and with_known_outputs(name, text)
            nbformat.write(text if kept else execute(text), BUILT / f"{name}.ipynb")
            print(f"lessons: {name} built{', with the outputs it had' if kept else ''}")
    if wrong:
        sys.exit("\n".join(wrong))


if __name__ == "__main__":
    main()
