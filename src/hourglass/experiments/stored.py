"""Runs that are read from their folders without their models."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hourglass.experiments.result import HISTORY, RESULT, damaged, read_log, read_result, run_table, summary
from hourglass.persistence import METADATA
from hourglass.training import History

# What the data sets of the package have in common, for runs without a model.
_OF_THE_PACKAGE = ("sample", "mnist", "fashion-mnist")
_IMAGE_SHAPE, _CLASSES = (28, 28, 1), 10


@dataclass(frozen=True, repr=False)
class StoredRun:
    """A run that is read from its folder without its model.

    Parameters
    ----------
    folder : Path
        Folder of the run.
    result : dict of str to JSON values
        Content of ``result.json``, in the present format.
    """

    folder: Path
    result: dict[str, Any]

    def __repr__(self) -> str:
        return f"StoredRun({str(self.folder)!r}: {summary(self.result)})"

    def _repr_html_(self) -> str:
        return run_table(self.result)

    @property
    def figures(self) -> dict[str, Path]:
        """Files of the figures by the figure's name, in alphabetical order."""
        return {path.stem: path for path in sorted(self.folder.glob("*.png"))}

    @property
    def log(self) -> str:
        """Lines of the training's log; empty where the run is of an older version."""
        return read_log(self.folder)

    @property
    def image_shape(self) -> tuple[int, int, int] | None:
        """Height, width and channels of the images; None where nothing says it."""
        try:
            height, width, channels = self._fitted["image_shape"]
        except (KeyError, TypeError, ValueError):
            return _IMAGE_SHAPE if self.result["dataset"] in _OF_THE_PACKAGE else None
        return int(height), int(width), int(channels)

    @property
    def n_classes(self) -> int | None:
        """Number of classes that a classifier distinguishes; None where nothing says it."""
        classes = self._fitted.get("classes")
        if isinstance(classes, dict):  # with their type
            classes = classes.get("values")
        if isinstance(classes, list):
            return len(classes)
        return _CLASSES if self.result["dataset"] in _OF_THE_PACKAGE else None

    @property
    def _fitted(self) -> dict[str, Any]:
        """What the file of the model says of the trained network; empty where it is missing or damaged."""
        try:
            return dict(json.loads((self.folder / METADATA).read_text(encoding="utf-8"))["fitted"])
        except (OSError, ValueError, KeyError, TypeError):
            return {}

    def history(self) -> History:
        """Read the losses and reports during training.

        Returns
        -------
        History
            Content of ``history.csv``.

        Raises
        ------
        ValueError
            When the file is missing or damaged.
        """
        try:
            return History.read_csv(self.folder / HISTORY)
        except (FileNotFoundError, KeyError, TypeError, ValueError) as error:
            raise damaged(self.folder, error) from error


def stored_runs(out: Path) -> list[StoredRun]:
    """Read every complete run under a folder.

    Parameters
    ----------
    out : Path
        Folder of all runs.

    Returns
    -------
    list of StoredRun
        Runs in the order of experiment and recipe, then seed; empty where there are none.

    Raises
    ------
    ValueError
        When a ``result.json`` is damaged, or of a later format.
    """
    found = [(path, re.fullmatch(r"seed-(\d+)", path.parent.name)) for path in out.glob(f"*/seed-*/{RESULT}")]
    numbered = [(path.parts[-3], int(match[1]), path) for path, match in found if match]
    paths = [path for _, _, path in sorted(numbered)]
    return [StoredRun(path.parent, read_result(path)) for path in paths]
