"""Checks that every public class, method and function says in numpydoc's form what it takes and gives.

Usage: tools/check_docstrings.py. Public is what a room lists in ``__all__``, and what the modules without one define
without an underscore; of a class, its own methods and properties too. numpydoc's codes: GL08 no docstring; PR01
and PR02 parameters that are missing or not there; PR07 one without description; RT01 no Returns; YD01 no Yields.
"""

import importlib
import inspect
import sys
from collections.abc import Iterator
from typing import Any

from numpydoc.validate import validate

CODES = ("GL08", "PR01", "PR02", "PR07", "RT01", "YD01")
ROOMS = (
    "", "data", "denoising", "estimators", "experiments", "image_training", "imagefiles", "lab", "nn", "plots",
    "training",
)  # fmt: skip
MODULES = ("export", "metrics", "models", "report", "running")


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
    """The object's name and those of a class's own public methods and properties."""
    yield name
    if inspect.isclass(value):
        for member, what in vars(value).items():
            kinds: Any = (property, classmethod, staticmethod)
            if not member.startswith("_") and (inspect.isfunction(what) or isinstance(what, kinds)):
                yield f"{name}.{member}"


def main() -> int:
    """Print what is wrong; 1 where something is."""
    wrong = 0
    for name, value in sorted(public(), key=lambda pair: pair[0]):
        for each in with_members(name, value):
            for code, message in validate(each)["errors"]:
                # Python gives a protocol the signature (*args, **kwargs), which says nothing.
                if code in CODES and not (code == "PR01" and each == name and getattr(value, "_is_protocol", False)):
                    print(f"{each}: {code} {message}")
                    wrong += 1
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
