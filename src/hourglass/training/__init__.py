"""Training of any PyTorch module; knows neither codecs nor noise nor experiments."""

from hourglass.training.checkpoints import Checkpoints, Interval
from hourglass.training.history import History
from hourglass.training.interruption import Interrupted
from hourglass.training.loop import Observer, Report, Trainer
from hourglass.training.losses import LOSSES, Loss, class_losses, image_losses
from hourglass.training.optimisers import OPTIMISERS, SGD, Adam, optimiser_tensors, restore_optimiser
from hourglass.training.progress import PlainProgress, Progress, RichProgress, progress_for
from hourglass.training.sampler import ShuffledSampler
from hourglass.training.schedules import SCHEDULES, warmed_up
from hourglass.training.stopping import EarlyStopping

__all__ = [
    "LOSSES",
    "OPTIMISERS",
    "SCHEDULES",
    "SGD",
    "Adam",
    "Checkpoints",
    "EarlyStopping",
    "History",
    "Interrupted",
    "Interval",
    "Loss",
    "Observer",
    "PlainProgress",
    "Progress",
    "Report",
    "RichProgress",
    "ShuffledSampler",
    "Trainer",
    "class_losses",
    "image_losses",
    "optimiser_tensors",
    "progress_for",
    "restore_optimiser",
    "warmed_up",
]
