"""Pages of the API reference, made from the sorted ``__all__`` of the public packages when the site is built.

A package has one page, with its functions and constants and a list of its classes; a class has a page of its own. An
object that several packages make public is described once, under its shortest name, and the others link to it.
"""

import importlib
import inspect
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from numpydoc.docscrape import NumpyDocString
from sphinx.errors import PycodeError
from sphinx.pycode import ModuleAnalyzer

from check_docstrings import ROOMS

# Public modules without ``__all__``: all that they define without an underscore is public.
PLAIN_MODULES = ("metrics", "runtime.tricks")
PACKAGES = tuple(sorted(f"hourglass.{room}".rstrip(".") for room in (*ROOMS, *PLAIN_MODULES)))


@dataclass(frozen=True)
class Entry:
    """A public object: the dotted name under which it is described, itself, and its role in Sphinx's Python domain."""

    name: str
    value: Any
    role: str


def public_names(package: str) -> list[str]:
    """Return the public names of a package or module, sorted as in its ``__all__``."""
    module = importlib.import_module(package)
    if hasattr(module, "__all__"):
        return list(module.__all__)
    own = [name for name, value in vars(module).items() if getattr(value, "__module__", None) == package]
    constants = [name for name in vars(module) if name.isupper() and constant_text(getattr(module, name), name)]
    return sorted(name for name in {*own, *constants} if not name.startswith("_"))


def role_of(value: object) -> str:
    """Return the Python domain's role for an object."""
    if inspect.ismodule(value):
        return "mod"
    if inspect.isclass(value):
        return "exc" if issubclass(value, BaseException) else "class"
    return "func" if inspect.isfunction(value) else "data"


@cache
def entries() -> dict[str, list[Entry]]:
    """Return every package with its public objects, each under the name where it is described."""
    described: dict[tuple[int, str], Entry] = {}
    found: dict[str, list[Entry]] = {}
    for package in PACKAGES:
        module = importlib.import_module(package)
        for name in public_names(package):
            value = getattr(module, name)
            entry = described.setdefault((id(value), name), Entry(f"{package}.{name}", value, role_of(value)))
            found.setdefault(package, []).append(entry)
    return found


@cache
def described_names() -> dict[str, str]:
    """Return for every public name the name under which it is described, and for short names too if they are unique."""
    names: dict[str, str] = {}
    short: dict[str, set[str]] = {}
    for package, chosen in entries().items():
        for entry in chosen:
            name = entry.name.rpartition(".")[2]
            names[f"{package}.{name}"] = entry.name
            short.setdefault(name, set()).add(entry.name)
    return names | {name: found.pop() for name, found in short.items() if len(found) == 1}


def constant_text(value: object, name: str) -> str:
    """Return the text below a constant's definition, in whichever module of the package that is."""
    for place, module in sorted(sys.modules.items()):
        if place.partition(".")[0] == "hourglass" and vars(module).get(name) is value:
            try:
                lines = ModuleAnalyzer.for_module(place).find_attr_docs().get(("", name), [])
            except PycodeError:
                continue
            if lines:
                return "\n".join(lines).strip()
    return ""


def summary(entry: Entry) -> str:
    """Return the first sentence or paragraph of an object's documentation, on one line."""
    if entry.role == "data":
        lines = constant_text(entry.value, entry.name.rpartition(".")[2]).partition("\n\n")[0].splitlines()
    else:
        lines = NumpyDocString(inspect.getdoc(entry.value) or "")["Summary"]
    return " ".join(line.strip() for line in lines)


def heading(text: str) -> str:
    """Return a page's title in reStructuredText."""
    return f"{text}\n{'=' * len(text)}\n"


def table(package: str, chosen: list[Entry]) -> str:
    """Return a table of objects with their summaries."""
    rows = [".. list-table::", "   :class: api-summary", "   :widths: auto", ""]
    for entry in chosen:
        shown = entry.name.removeprefix(f"{package}.").rpartition(".")[2]
        rows += [f"   * - :py:{entry.role}:`{shown} <{entry.name}>`", f"     - {summary(entry)}"]
    return "\n".join(rows) + "\n"


def constant(entry: Entry) -> str:
    """Return the description of a constant, with the names in it where it is a table."""
    package, _, short = entry.name.rpartition(".")
    lines = [f".. py:data:: {short}", f"   :module: {package}", f"   :type: {type(entry.value).__name__}", ""]
    lines += [f"   {line}".rstrip() for line in constant_text(entry.value, short).splitlines()]
    named = isinstance(entry.value, Iterable) and all(isinstance(each, str) for each in entry.value)
    if named and entry.value:
        lines += ["", f"   Names: {', '.join(f'``{each}``' for each in entry.value)}."]
    return "\n".join(lines) + "\n"


def package_page(package: str, chosen: list[Entry]) -> str:
    """Return the page of a package."""
    here = [entry for entry in chosen if entry.name.rpartition(".")[0] == package]
    classes = [entry for entry in here if entry.role in ("class", "exc")]
    parts = [heading(package), f".. automodule:: {package}\n   :no-members:\n", table(package, chosen)]
    if classes:
        parts.append("\n".join([".. toctree::", "   :hidden:", "", *(f"   {entry.name}" for entry in classes)]) + "\n")
    for entry in here:
        if entry.role == "func":
            parts.append(f".. autofunction:: {entry.name}\n")
        elif entry.role == "data":
            parts.append(constant(entry))
    return "\n".join(parts)


def class_page(entry: Entry) -> str:
    """Return the page of a class, with what it inherits from classes of this package."""
    # Python gives a protocol the signature (*args, **kwargs), which says nothing.
    signature = "()" if getattr(entry.value, "_is_protocol", False) else ""
    options = "   :members:\n   :inherited-members:\n"
    return f"{heading(entry.name.rpartition('.')[2])}\n.. autoclass:: {entry.name}{signature}\n{options}"


def pages() -> Iterator[tuple[str, str]]:
    """Return every page: its name without the ending, and its text in reStructuredText."""
    found = entries()
    for package, chosen in found.items():
        yield package, package_page(package, chosen)
    for name, entry in {entry.name: entry for chosen in found.values() for entry in chosen}.items():
        if entry.role in ("class", "exc"):
            yield name, class_page(entry)
