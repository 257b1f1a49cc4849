"""Logs of the classifiers of the lesson on batch normalisation: printed by the notebooks, and measured by the package.

The table beside this module has both; ``tools/lesson_logs.py`` writes the measured rows. All numbers are of MNIST and
of inference mode.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

LOGS = Path(__file__).parent / "training_logs.csv"
COLUMNS = ("experiment", "source", "images", "step", "loss", "accuracy")
PRINTED = "printed"


@dataclass(frozen=True)
class Curve:
    """Loss and accuracy at some steps of a training.

    Parameters
    ----------
    step : ndarray of shape (n,), int64
        Number of training steps after which they were measured, from 1, increasing.
    loss : ndarray of shape (n,), float64
        Mean cross-entropy of ten sigmoids, in nats; NaN where only the accuracy was measured.
    accuracy : ndarray of shape (n,), float64
        Share of the images that are classified correctly, in [0, 1].
    """

    step: NDArray[np.int64]
    loss: NDArray[np.float64]
    accuracy: NDArray[np.float64]


def printed_logs() -> dict[str, dict[str, Curve]]:
    """Read what the three notebooks on batch normalisation printed when they ran, once each.

    Returns
    -------
    dict of str to dict of str to Curve
        Curves by experiment, ``"bn-none"``, ``"bn-layer"`` and ``"bn-manual"``, and by images: ``"training"``, the
        batch of 64 that was trained on last; ``"validation"``; ``"test"``; ``"one by one"``, the first 100 test images,
        each given to the network alone. The last two were measured only at the end, after 800 steps, which the log of
        ``"bn-manual"`` does not reach: it ends after 576 steps. The notebooks count batches from 0, so that what they
        print at batch 100 is measured after 101 steps.
    """
    return {experiment: logs[PRINTED] for experiment, logs in _read().items()}


def measured_logs() -> dict[str, list[dict[str, Curve]]]:
    """Read what this package recorded for the same trainings: the classic recipe with several seeds.

    Returns
    -------
    dict of str to list of dict of str to Curve
        Curves by experiment, in the order of the seeds from 0, and by images; see :func:`printed_logs`.
    """
    return {
        experiment: [curves for source, curves in logs.items() if source != PRINTED]
        for experiment, logs in _read().items()
    }


def _read() -> dict[str, dict[str, dict[str, Curve]]]:
    """Read the curves of the table by experiment, source and images, in the order of its rows."""
    rows: dict[str, dict[str, dict[str, list[tuple[int, float, float]]]]] = {}
    with LOGS.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            measured = (int(row["step"]), float(row["loss"] or "nan"), float(row["accuracy"]))
            logs = rows.setdefault(row["experiment"], {}).setdefault(row["source"], {})
            logs.setdefault(row["images"], []).append(measured)
    return {
        experiment: {
            source: {images: _curve(measured) for images, measured in curves.items()} for source, curves in logs.items()
        }
        for experiment, logs in rows.items()
    }


def _curve(measured: list[tuple[int, float, float]]) -> Curve:
    steps, losses, accuracies = zip(*measured, strict=True)
    return Curve(np.array(steps, dtype=np.int64), np.array(losses), np.array(accuracies))
