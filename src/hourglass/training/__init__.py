"""Training of any PyTorch module; knows neither codecs nor noise nor experiments."""

from hourglass.training.block_order import BlockOrder
from hourglass.training.checkpoints import Checkpoints, Interval
from hourglass.training.events import Listener, Observer, Report
from hourglass.training.history import History
from hourglass.training.interruption import Interrupted
from hourglass.training.log import LoggedProgress
from hourglass.training.loop import Trainer
from hourglass.training.losses import LOSSES, Loss, class_losses, image_losses
from hourglass.training.memmap import MemmapSource
from hourglass.training.objectives import Drawn, NeighborToNeighbor, Objective, Supervised
from hourglass.training.optimiser_state import optimiser_tensors, restore_optimiser
from hourglass.training.optimisers import OPTIMISERS, SGD, Adam, optimiser_in_words
from hourglass.training.progress import PlainProgress, Progress, RichProgress, progress_for
from hourglass.training.resident import ResidentSource
from hourglass.training.row_blocks import RowBlocks
from hourglass.training.sampler import Order, ShuffledSampler
from hourglass.training.schedules import SCHEDULES, warmed_up
from hourglass.training.source import Source
from hourglass.training.stopping import EarlyStopping
from hourglass.training.zarr_source import ZarrSource

__all__ = [
    "LOSSES",
    "OPTIMISERS",
    "SCHEDULES",
    "SGD",
    "Adam",
    "BlockOrder",
    "Checkpoints",
    "Drawn",
    "EarlyStopping",
    "History",
    "Interrupted",
    "Interval",
    "Listener",
    "LoggedProgress",
    "Loss",
    "MemmapSource",
    "NeighborToNeighbor",
    "Objective",
    "Observer",
    "Order",
    "PlainProgress",
    "Progress",
    "Report",
    "ResidentSource",
    "RichProgress",
    "RowBlocks",
    "ShuffledSampler",
    "Source",
    "Supervised",
    "Trainer",
    "ZarrSource",
    "class_losses",
    "image_losses",
    "optimiser_in_words",
    "optimiser_tensors",
    "progress_for",
    "restore_optimiser",
    "warmed_up",
]
