"""What a training of a denoiser gained, on images that it did not learn from."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hourglass.estimators import Autoencoder
from hourglass.imagefiles import ImageFolderSource, TrainingImages
from hourglass.metrics import psnr
from hourglass.models import load_named

# Of so many files on, every tenth one is held out.
_FEWEST_FILES = 4
_SHARE = 0.1
# Crops of the held-out files that are looked at, and the steps from one look to the next.
_CROPS = 128
_VALIDATE_EVERY = 75


@dataclass(frozen=True)
class Gain:
    """Mean PSNR in dB on held-out images, before and after a training.

    Parameters
    ----------
    files : int
        Number of files that were held out.
    noisy : float
        Of the noisy images.
    before : float or None
        Of the model that the training began from; None where it began from scratch.
    after : float
        Of the model that was kept.
    """

    files: int
    noisy: float
    before: float | None
    after: float

    def __str__(self) -> str:
        where = "on the held-out image" if self.files == 1 else f"on {self.files} held-out images"
        said = f"{where}: {self.after:.2f} dB, of noisy images with {self.noisy:.2f} dB"
        if self.before is None:
            return said
        if self.after <= self.before:
            return f"{said}; nothing was gained over the model it began from, which was kept"
        return f"{said}; {self.after - self.before:.2f} dB were gained over the model it began from"


def fit_and_compare(estimator: Autoencoder, taken: TrainingImages | ImageFolderSource) -> Gain | None:
    """Train, keep the weights that are best on held-out images, and say what was gained.

    Parameters
    ----------
    estimator : Autoencoder
        Unfitted; fitted afterwards.
    taken : TrainingImages or ImageFolderSource
        What to train on.

    Returns
    -------
    Gain or None
        None where nothing was held out: the model compresses, learns from noisy images alone or has a
        ``validation_fraction`` of its own, or there are too few files.
    """
    parameters = estimator.get_params()
    if isinstance(taken, TrainingImages):
        estimator.fit(taken.images)
        return None
    groups = taken.groups
    count = len(np.unique(groups))
    compares = "begin_from" in parameters and not estimator.self_supervised
    if not compares or estimator.validation_fraction or count < _FEWEST_FILES:
        estimator.fit(taken)
        return None
    held = np.random.default_rng(estimator.random_state).permutation(count)[: max(1, round(_SHARE * count))]
    is_held = np.isin(groups, held)
    noisy, clean = _crops(estimator, taken, np.flatnonzero(is_held))
    kept = {name: parameters[name] for name in ("patience", "validate_every")}
    # With a patience that never ends, the training does all its steps, and the best weights are kept.
    estimator.set_params(patience=kept["patience"] or 10**9, validate_every=kept["validate_every"] or _VALIDATE_EVERY)
    estimator.fit(taken.subset(np.flatnonzero(~is_held)), validation_data=(noisy, clean))
    estimator.set_params(**kept)

    def quality(images: NDArray[Any]) -> float:
        return float(np.mean([psnr(one, other, data_range=1) for one, other in zip(clean, images, strict=True)]))

    after, before = quality(estimator.reconstruct(noisy)), None
    if (began := parameters["begin_from"]) is not None:
        channels = taken.image_shape[2]
        [start] = [each for each in load_named(began, device=estimator.device) if each.image_shape_[2] == channels]
        before = quality(start.reconstruct(noisy))
        if after <= before:
            estimator.network_.load_state_dict(start.network_.state_dict())
            after = before
    return Gain(len(held), quality(noisy), before, after)


def _crops(
    estimator: Autoencoder, taken: ImageFolderSource, rows: NDArray[np.intp]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Noisy and clean crops of some rows."""
    inputs, targets = taken.take(torch.from_numpy(rows[:_CROPS]), 0)
    clean = targets
    corruption: Any = None if taken.has_targets and estimator.corruption is None else estimator.effective_corruption
    noisy = inputs if corruption is None else corruption(inputs.clone(), torch.Generator().manual_seed(0))
    first, second = (np.ascontiguousarray(part.permute(0, 2, 3, 1).numpy()) for part in (noisy, clean))
    return first, second
