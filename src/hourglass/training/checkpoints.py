"""Checkpoints of a training run, from which it is resumed as if it had never stopped."""

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

# A training that asks for more of these resumes from the end of a shorter one.
LENGTHS = ("n_steps", "epochs")

_NAME = re.compile(r"checkpoint-(\d{9})\.(json|safetensors)")
# Upper bound for the JSON file, in bytes; larger files are not read.
LARGEST_DOCUMENT = 256 << 20

State = tuple[dict[str, Tensor], dict[str, Any]]


@dataclass(frozen=True)
class Interval:
    """How often a checkpoint is written.

    Parameters
    ----------
    count : float
        Length of the interval in ``unit``, above 0; infinity means that no checkpoint is due before the training ends.
    unit : {"s", "steps", "epochs"}, default="s"
        Seconds, training steps, or passes over the data.
    """

    count: float
    unit: str = "s"

    @classmethod
    def parse(cls, text: str | float) -> "Interval":
        """Read an interval from a text or a number.

        Parameters
        ----------
        text : str or float
            A number above 0 with its unit, such as ``"60s"``, ``"100steps"`` or ``"2epochs"``, or ``"never"``. A number
            without a unit means seconds.

        Returns
        -------
        Interval
            The interval; its ``count`` is infinite for ``"never"``.

        Raises
        ------
        ValueError
            When the text has another form, or its number is not above 0.
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
        """Tell whether a checkpoint is due.

        Parameters
        ----------
        seconds : float
            Time in seconds since the last checkpoint.
        steps : int
            Training steps since the last checkpoint.
        epochs : float
            Passes over the data since the last checkpoint.

        Returns
        -------
        bool
            True when the one of the three that the interval's unit names has reached ``count``.
        """
        return {"s": seconds, "steps": steps, "epochs": epochs}[self.unit] >= self.count


class ForeignError(ValueError):
    """A checkpoint is intact, but another version of the package wrote it."""


class Checkpoints:
    """The last two checkpoints of one training run, in a folder of their own.

    A checkpoint is two files: the tensors, and a JSON file with the checksums of both, written after the tensors. Both
    are on the disk before the next step begins. A checkpoint counts only when its JSON file exists.

    Parameters
    ----------
    folder : path-like
        Folder of the checkpoints; it is created when the first one is written.
    identity : mapping of str to JSON values
        What must be equal for a run to resume from a checkpoint: kind, parameters, data. One difference is allowed: a
        run may ask for more ``n_steps``, and then for other ``epochs``, and so lengthen an earlier run.
    every : Interval
        How often the training loop writes a checkpoint.
    surroundings : mapping of str to JSON values, optional
        What must be equal for results that are equal bit for bit, such as the version and the number of threads. A
        difference causes a warning. By default nothing is compared.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        identity: Mapping[str, Any],
        every: Interval,
        surroundings: Mapping[str, Any] | None = None,
    ) -> None:
        self.folder = Path(folder)
        # As it is read from a file: tuples become lists.
        self.identity: dict[str, Any] = json.loads(json.dumps(identity))
        self.every = every
        self.surroundings = dict(surroundings or {})

    def save(self, step: int, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """Write a checkpoint, and delete all but the last two.

        Parameters
        ----------
        step : int
            Number of the training step that was done last, from 1.
        tensors : mapping of str to torch.Tensor
            Tensors of the state, of any shape and dtype, by name.
        values : mapping of str to JSON values
            The rest of the state; NaN and infinity are allowed.

        Raises
        ------
        OSError
            When the checkpoint cannot be written; earlier checkpoints stay as they were.
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
        # Checkpoints of later steps are damaged; otherwise the run would have resumed from them.
        kept = {path.stem for path in [path for path in self._documents() if path.stem <= name.name][:KEPT]}
        for path in self.folder.iterdir():
            stale = path.name.startswith(PARTIAL) or (_NAME.fullmatch(path.name) and path.stem not in kept)
            if stale and not path.is_dir():
                path.unlink(missing_ok=True)

    def load(self) -> State | None:
        """Read the newest checkpoint that is intact.

        Returns
        -------
        tuple of dict or None
            The tensors by name, on the CPU, and the other values by name, as :meth:`save` was given them. None where no
            checkpoint is intact.

        Raises
        ------
        ValueError
            When the checkpoint was written by another run, or by another version of the package; the message says what
            differs.

        Warns
        -----
        UserWarning
            For each damaged checkpoint, with its path; and for each of ``surroundings`` that differs.
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
        """JSON files of all checkpoints that were written completely, the newest first."""
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
            there = document["surroundings"].get(name, here)  # an older version may not have noted it
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
