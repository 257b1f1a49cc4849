"""What a training of a denoiser gained, on images that it did not learn from."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hourglass.estimators import Autoencoder
from hourglass.estimators.checks import accepted_range
from hourglass.image_training.packed_images import PackedImages
from hourglass.imagefiles import ImageFolderSource, TrainingImages
from hourglass.models import load_named
from hourglass.runtime import ranks
from hourglass.training.few_blocks import held_in_few_blocks

# With at least so many files, a tenth of them is held out, or of a Zarr as many as have the crops that are measured.
_FEWEST_FILES = 4
_SHARE = 0.1
# Crops of the held-out files that are measured, and the steps from one validation to the next.
_CROPS = 128
_VALIDATE_EVERY = 75
# Mean squared errors below it count as this one, so that equal images have 100 dB.
_SMALLEST_ERROR = 1e-10

Images = NDArray[np.float32]


@dataclass(frozen=True)
class Gain:
    """PSNR in dB of held-out images, before and after a training.

    Parameters
    ----------
    files : int
        Number of files that were measured.
    noisy : float
        PSNR of the noisy images.
    before : float or None
        PSNR with the model that the training began from; None where it began from scratch.
    after : float
        PSNR with the model that was kept.
    """

    files: int
    noisy: float
    before: float | None
    after: float

    def __str__(self) -> str:
        said = f"held-out images ({self.files}): {self.noisy:.2f} dB before denoising, {self.after:.2f} dB after"
        if self.before is None:
            return said
        if self.after <= self.before:
            return f"{said}; nothing was gained over the model it began from, which was kept"
        return f"{said}; {self.after - self.before:.2f} dB were gained over the model it began from"


def fit_and_compare(estimator: Autoencoder, taken: TrainingImages | ImageFolderSource | PackedImages) -> str | None:
    """Train, keep the weights that are best on held-out images, and say what was gained.

    Parameters
    ----------
    estimator : Autoencoder
        Unfitted; fitted afterwards.
    taken : TrainingImages, ImageFolderSource or PackedImages
        What to train on.

    Returns
    -------
    str or None
        Line that says what was gained, or why that was not measured. None for a network that cannot begin from a
        denoiser.
    """
    denoises = "begin_from" in estimator.get_params()
    if isinstance(taken, TrainingImages):
        estimator.fit(taken.images)
        return _unmeasured("images that are resized (--resize) are not held out") if denoises else None
    groups = np.arange(len(taken)) if taken.groups is None else taken.groups
    count = len(np.unique(groups))
    why = None
    if estimator.self_supervised:
        why = "there are no clean images to compare with"
    elif estimator.validation_fraction:
        why = "validation_fraction decides what is held out"
    elif count < _FEWEST_FILES:
        why = f"it takes at least {_FEWEST_FILES} files to hold one out"
    if not denoises or why is not None:
        estimator.fit(taken)
        return _unmeasured(why) if denoises and why is not None else None
    generator, most = np.random.default_rng(estimator.random_state), max(1, round(_SHARE * count))
    if isinstance(taken, PackedImages):
        held, rows = held_in_few_blocks(taken.row_blocks, groups, most, generator, most=_CROPS)
    else:
        held = generator.permutation(count)[:most]
        rows = np.flatnonzero(np.isin(groups, held))[:_CROPS]
    is_held = np.isin(groups, held)
    noisy, clean = _crops(estimator, taken, rows)
    kept = {name: getattr(estimator, name) for name in ("patience", "validate_every")}
    # With a patience that never ends, the training does all its steps, and the best weights are kept.
    estimator.set_params(patience=kept["patience"] or 10**9, validate_every=kept["validate_every"] or _VALIDATE_EVERY)
    estimator.fit(taken.subset(np.flatnonzero(~is_held)), validation_data=(noisy, clean))
    estimator.set_params(**kept)
    before, after = ranks.on_first(lambda: _compare(estimator, noisy, clean))
    if before is not None and after <= before:
        _go_back(estimator)
        after = before
    return str(Gain(len(np.unique(groups[rows])), _psnr(noisy, clean), before, after))


def _unmeasured(why: str) -> str:
    return f"what was gained was not measured: {why}"


def _compare(estimator: Any, noisy: Images, clean: Images) -> tuple[float | None, float]:
    """PSNR of the model that a fitted estimator began from, if there is one, and of the estimator."""
    after = _psnr(_restored(estimator, noisy), clean)
    return None if estimator.begin_from is None else _psnr(_restored(_start(estimator), noisy), clean), after


def _start(estimator: Any) -> Any:
    """The model that an estimator began from."""
    starts = load_named(estimator.begin_from, device=estimator.device)
    return next(each for each in starts if each.image_shape_[2] == estimator.image_shape_[2])


def _go_back(estimator: Any) -> None:
    """Give an estimator the weights that it began from."""
    start = _start(estimator)
    estimator.network_.load_state_dict(start.network_.state_dict())
    estimator._learnt_levels = start.takes_noise_level
    estimator.__dict__.pop("_optimiser", None)  # its moments are those of the weights that were discarded


def _crops(
    estimator: Autoencoder, taken: ImageFolderSource | PackedImages, rows: NDArray[np.intp]
) -> tuple[Images, Images]:
    """Noisy and clean crops of some rows, in the range that a model trained on these files accepts."""
    inputs, targets = taken.take(torch.from_numpy(rows), 0)
    corrupt = estimator._corrupt(taken.has_targets)
    noisy = inputs
    if corrupt is not None:
        corrupted = corrupt(inputs.clone(), torch.Generator().manual_seed(0))
        noisy = corrupted[0] if isinstance(corrupted, tuple) else corrupted
    first, second = (np.ascontiguousarray(part.permute(0, 2, 3, 1).numpy()) for part in (noisy, targets))
    return _clipped(first, taken.value_range()), second


def _restored(model: Autoencoder, noisy: Images) -> Images:
    """Images to which a model's change is added; the model sees them clipped, as images of files are for it."""
    seen = _clipped(noisy, model.pixel_range_)
    return noisy + (np.asarray(model.reconstruct(seen), np.float32) - seen)


def _clipped(images: Images, known: tuple[float, float]) -> Images:
    """Images without numbers outside the range that a model of images in the range ``known`` accepts."""
    ends = np.array(accepted_range(known))
    # The nearest numbers of float32 may lie outside the ends.
    low, high = np.nextafter(ends.astype(np.float32), np.float32(ends.mean()))
    return np.clip(images, low, high)


def _psnr(images: Images, clean: Images) -> float:
    """PSNR in dB of the mean error over all images, for the range [0, 1]."""
    error = float(np.mean(np.square(images - clean), dtype=np.float64))
    return -10 * math.log10(max(error, _SMALLEST_ERROR))
