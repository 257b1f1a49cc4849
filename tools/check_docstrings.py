"""Checks that every public class, method and function says in numpydoc's form what it takes and gives.

Usage: tools/check_docstrings.py. Public is what a room lists in ``__all__``, and what the modules without one define
without an underscore; of a class, its methods and properties too, also those that it inherits from a class of this
package. numpydoc's codes: GL08 no docstring; PR01 and PR02 parameters that are missing or not there; PR07 one without
description; RT01 no Returns; YD01 no Yields.
"""

import importlib
import inspect
import pydoc
import sys
from collections.abc import Iterator
from typing import Any

from numpydoc.docscrape import get_doc_object
from numpydoc.validate import Validator, validate

CODES = ("GL08", "PR01", "PR02", "PR07", "RT01", "YD01")
ROOMS = (
    "", "data", "denoising", "estimators", "exercises", "experiments", "image_training", "imagefiles", "inspection",
    "lab", "lessons", "nn", "packing", "playground", "plots", "report", "training",
)  # fmt: skip
MODULES = (
    "array_denoising", "atomic", "errors", "export", "figure", "markup", "metrics", "models", "persistence", "renames",
    "running", "runtime.forks", "runtime.hardware", "runtime.internals", "runtime.silence",
    "runtime.threads", "runtime.tricks",
)  # fmt: skip


def public() -> Iterator[tuple[str, object]]:
    """Every public object with the dotted name under which it is defined, once."""
    found = {}
    for room in ROOMS:
        module = importlib.import_module(f"hourglass.{room}".rstrip("."))
        for name in module.__all__:
            found[id(getattr(module, name))] = getattr(module, name)
    for place in MODULES:
        module = importlib.import_module(f"hourglass.{place}")
        for name, value in vars(module).items():
            if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__:
                found[id(value)] = value
    for value in found.values():
        if inspect.isclass(value) or inspect.isfunction(value):
            yield f"{value.__module__}.{value.__qualname__}", value


def with_members(name: str, value: object) -> Iterator[str]:
    """The object's name and those of a class's public methods and properties, each as the place that defines it."""
    yield name
    for base in inspect.getmro(value) if inspect.isclass(value) else ():
        if base.__module__.partition(".")[0] == "hourglass":
            for member, what in vars(base).items():
                kinds: Any = (property, classmethod, staticmethod)
                ours = inspect.isfunction(what) and what.__module__ == base.__module__
                if not member.startswith("_") and (ours or isinstance(what, kinds)):
                    yield f"{base.__module__}.{base.__qualname__}.{member}"


def errors(name: str) -> Iterator[tuple[str, str]]:
    """Code and text of what is wrong with one docstring."""
    yield from validate(name)["errors"]
    docstring = Validator(get_doc_object(pydoc.locate(name)))
    for parameter in docstring.doc_all_parameters:
        # numpydoc looks at no description where the type is a set of choices.
        if (
            "{" in docstring.parameter_type(parameter)
            and not "".join(docstring.doc_all_parameters[parameter][1]).strip()
        ):
            yield "PR07", f'Parameter "{parameter}" has no description'


def main() -> int:
    """Print what is wrong; 1 where something is."""
    wrong = 0
    protocols = {name for name, value in public() if getattr(value, "_is_protocol", False)}
    for each in sorted({each for name, value in public() for each in with_members(name, value)}):
        for code, message in errors(each):
            # Python gives a protocol the signature (*args, **kwargs), which says nothing.
            if code in CODES and not (code == "PR01" and each in protocols):
                print(f"{each}: {code} {message}")
                wrong += 1
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
