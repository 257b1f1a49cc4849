"""Checkpoints of a training run: all that it needs to go on as if nothing had happened."""

import hashlib
import json
import math
import os
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from hourglass.atomic import PARTIAL, write_whole
from hourglass.persistence import differences, pack_tensors, read_tensors
from hourglass.renames import FORMAT

KEPT = 2
UNITS = ("s", "steps", "epochs")
NEVER = "never"

# What a training may have had less of: one that goes on for longer begins where the shorter one ended.
LENGTHS = ("n_steps", "epochs")

_NAME = re.compile(r"checkpoint-(\d{9})\.(json|safetensors)")
# Upper bound for a document, in bytes; larger files are not read.
LARGEST_DOCUMENT = 256 << 20

State = tuple[dict[str, Tensor], dict[str, Any]]


@dataclass(frozen=True)
class Interval:
    """How often to write a checkpoint.

    Parameters
    ----------
    count : float
        Infinite for never.
    unit : {"s", "steps", "epochs"}
    """

    count: float
    unit: str = "s"

    @classmethod
    def parse(cls, text: str | float) -> "Interval":
        """``"60s"``, ``"100steps"``, ``"2epochs"``, ``"never"``; a number alone counts seconds.

        Raises
        ------
        ValueError
            When the text is none of these, or its number not above 0.
        """
        if text == NEVER:
            return cls(math.inf)
        number = r"((?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?)"
        match = re.fullmatch(rf"{number}\s*(s|steps?|epochs?)?", str(text).strip())
        if match is None or not 0 < float(match[1]) < math.inf:
            raise ValueError(
                f"checkpoint_every={text!r}; expected a number above 0 of s, steps or epochs, as '60s', or 'never'"
            )
        unit = match[2] or "s"
        return cls(float(match[1]), unit if unit in UNITS else f"{unit}s")

    def is_due(self, seconds: float, steps: int, epochs: float) -> bool:
        """Whether a checkpoint is due, so much after the last one."""
        return {"s": seconds, "steps": steps, "epochs": epochs}[self.unit] >= self.count


class ForeignError(ValueError):
    """A checkpoint that is whole, and another version's."""


class Checkpoints:
    """The last two checkpoints of one training run, in a folder of their own.

    Each is a file of tensors and, written after it, one of JSON with the checksums of both; both are on the disk before
    the next step begins, and a checkpoint counts from the moment that the second is there.

    Parameters
    ----------
    folder : path-like
        Made when the first is written.
    identity : mapping of str to JSON values
        What must be equal for a run to resume from a checkpoint: kind, parameters, data. Only its ``n_steps``, with
        ``epochs``, may be more than they were: the run is lengthened.
    every : Interval
    surroundings : mapping of str to JSON values, optional
        What must be equal for equal bits, and is else warned of: version, number of threads.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        identity: Mapping[str, Any],
        every: Interval,
        surroundings: Mapping[str, Any] | None = None,
    ) -> None:
        self.folder = Path(folder)
        # As a file gives it back: tuples are lists.
        self.identity: dict[str, Any] = json.loads(json.dumps(identity))
        self.every = every
        self.surroundings = dict(surroundings or {})

    def save(self, step: int, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """Write a checkpoint after a step, and remove those before the last two.

        Raises
        ------
        OSError
            When it cannot be written; the ones before are as they were.
        """
        stored, checksum = pack_tensors(tensors)
        document = {
            "format": FORMAT,
            "step": step,
            "identity": self.identity,
            "surroundings": self.surroundings,
            "sha256": checksum,
            "values": values,
        }
        text = json.dumps(document | {"checksum": _checksum(document)}, allow_nan=True)
        self.folder.mkdir(parents=True, exist_ok=True)
        name = self.folder / f"checkpoint-{step:09}"
        write_whole(name.with_suffix(".safetensors"), stored, durable=True)
        write_whole(name.with_suffix(".json"), text.encode(), durable=True)
        # Those of later steps are damaged, or this one would not have been written.
        kept = {path.stem for path in [path for path in self._documents() if path.stem <= name.name][:KEPT]}
        for path in self.folder.iterdir():
            stale = path.name.startswith(PARTIAL) or (_NAME.fullmatch(path.name) and path.stem not in kept)
            if stale and not path.is_dir():
                path.unlink(missing_ok=True)

    def load(self) -> State | None:
        """Tensors and values of the newest checkpoint that is whole, or None where there is none.

        Raises
        ------
        ValueError
            When it is another run's or another version's; says what differs.

        Warns
        -----
        UserWarning
            For each that is damaged, with its name.
        """
        for path in self._documents():
            try:
                tensors, document = _read(path)
            except ForeignError:
                raise
            except (ValueError, OSError, KeyError, TypeError, RecursionError) as error:
                warnings.warn(f"{path} is damaged ({error}); it is passed over", stacklevel=2)
                continue
            self._check(path, document)
            return tensors, document["values"]
        return None

    def _documents(self) -> list[Path]:
        """Of every checkpoint that was written to its end, the newest first."""
        if not self.folder.is_dir():
            return []
        found = (path for path in self.folder.glob("*.json") if _NAME.fullmatch(path.name) and path.is_file())
        return sorted(found, reverse=True)

    def _check(self, path: Path, document: Mapping[str, Any]) -> None:
        there, here = dict(document["identity"]), dict(self.identity)
        if int(there.get("n_steps", 0)) < int(here.get("n_steps", 0)):
            for name in LENGTHS:
                there.pop(name, None), here.pop(name, None)
        if said := differences(there, here):
            raise ValueError(
                f"{path.parent} holds another run's checkpoint: {said}; "
                "repeat that run's settings to go on, or choose another folder"
            )
        for name, here in self.surroundings.items():
            there = document["surroundings"].get(name)
            if there != here:
                warnings.warn(
                    f"{path.parent}: {name} was {there!r}, now it is {here!r}; the run goes on, but its last digits "
                    "will differ from those of one that was not interrupted",
                    stacklevel=3,
                )


def _read(path: Path) -> State:
    if path.stat().st_size > LARGEST_DOCUMENT:
        raise ValueError("it is too large")
    document = json.loads(path.read_bytes())
    if not isinstance(document, dict):
        raise ValueError("it is no document")
    checksum = document.pop("checksum")
    if checksum != _checksum(document):
        raise ValueError("its checksum is wrong")
    if document["format"] != FORMAT:
        raise ForeignError(
            f"{path} has format {document['format']!r}, this version reads {FORMAT}; "
            "go on with the version that wrote it, or choose another folder"
        )
    if not all(isinstance(document[name], dict) for name in ("identity", "surroundings", "values")):
        raise ValueError("it lacks what a checkpoint has")
    return read_tensors(path.with_suffix(".safetensors"), document["sha256"]), document


def _checksum(document: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()
