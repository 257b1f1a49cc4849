"""The lesson's classifier in a study: trained as a cell says, with its accuracy in both modes."""

from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from hourglass.data import Dataset, Images
from hourglass.estimators import ConvClassifier
from hourglass.experiments import find
from hourglass.lab.cells import Cell
from hourglass.nn import batch_statistics
from hourglass.training import Observer

BATCH = 64
CHANCE = 0.1
"""Accuracy of guessing one of ten digits; a training that diverges counts as this."""
TRAINS = 0.5
"""Accuracy from which a training counts as successful."""

# Settings of the training that a cell can name; all others are the experiment's own.
_PARAMETERS = (
    "norm", "norm_momentum", "kernel_init", "activation", "depth", "learning_rate", "optimiser", "schedule",
    "batch_size",
)  # fmt: skip


def examples(part: Images, limit: int | None = None) -> tuple[Tensor, Tensor]:
    """Return the first ``limit`` images ``(n, c, h, w)`` and their labels ``(n,)`` as tensors."""
    few = part[:limit]
    # Copied, since the processes share the arrays read-only.
    images = torch.tensor(few.images).permute(0, 3, 1, 2)
    return images, torch.tensor(few.labels)


def train(cell: Cell, data: Dataset, observer: Observer | None = None, **parameters: Any) -> ConvClassifier:
    """Train the 20-layer classifier with the settings of a cell, on the images that are not held out."""
    chosen = {name: cell[name] for name in _PARAMETERS if name in cell} | parameters
    estimator = find("bn-layer").configure("classic", n_steps=cell["n_steps"], device="cpu", **chosen)
    classifier = cast(ConvClassifier, estimator)
    classifier.set_params(random_state=cell["seed"])
    part, _ = data.split_validation()
    return classifier.fit(part.images, np.asarray(part.labels), observer=observer)


@torch.no_grad()
def accuracy(network: nn.Module, part: tuple[Tensor, Tensor], batch_size: int = 500) -> float:
    """Share of images whose label has the largest logit, in the network's present mode."""
    images, labels = part
    right = sum(
        int((network(x).argmax(1) == y).sum())
        for x, y in zip(images.split(batch_size), labels.split(batch_size), strict=True)
    )
    return right / len(labels)


def accuracy_by_batch(network: nn.Module, part: tuple[Tensor, Tensor], batch_size: int = BATCH) -> float:
    """Accuracy where every batch is normalised by its own moments, as in training; only full batches are used."""
    images, labels = part
    whole = max(len(labels) // batch_size, 1) * batch_size
    return accuracy(batch_statistics(network), (images[:whole], labels[:whole]), batch_size)
