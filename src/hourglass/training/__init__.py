"""Training of any PyTorch module; knows neither codecs nor noise nor experiments."""

from hourglass.training.batches import ShuffledBatches
from hourglass.training.blindspot import BlindSpot
from hourglass.training.checkpoints import Checkpoints, Interval
from hourglass.training.hardware import (
    PRECISIONS,
    deterministic_algorithms,
    has_bfloat16,
    resolve_device,
    resolve_precision,
)
from hourglass.training.history import History
from hourglass.training.interruption import Interrupted
from hourglass.training.loop import Observer, Report, Trainer
from hourglass.training.losses import LOSSES
from hourglass.training.optimisers import OPTIMISERS, SGD, Adam, optimiser_tensors, restore_optimiser
from hourglass.training.progress import PlainProgress, Progress, RichProgress, progress_for
from hourglass.training.schedules import SCHEDULES, warmed_up
from hourglass.training.stopping import EarlyStopping
from hourglass.training.threads import on_threads

__all__ = [
    "LOSSES",
    "OPTIMISERS",
    "PRECISIONS",
    "SCHEDULES",
    "SGD",
    "Adam",
    "BlindSpot",
    "Checkpoints",
    "EarlyStopping",
    "History",
    "Interrupted",
    "Interval",
    "Observer",
    "PlainProgress",
    "Progress",
    "Report",
    "RichProgress",
    "ShuffledBatches",
    "Trainer",
    "deterministic_algorithms",
    "has_bfloat16",
    "on_threads",
    "optimiser_tensors",
    "progress_for",
    "resolve_device",
    "resolve_precision",
    "restore_optimiser",
    "warmed_up",
]
