"""Images in: named data sets, IDX files, corruption and what undoes its bias."""

from hourglass.data.clipping import estimate_noise_level, expected_clipped, undo_clipping
from hourglass.data.corruption import (
    Blur,
    GaussianNoise,
    Masking,
    PoissonNoise,
    SaltAndPepper,
    parse_corruption,
)
from hourglass.data.idx import read_idx
from hourglass.data.images import Dataset, Images
from hourglass.data.sources import DATASETS, load
from hourglass.data.stacks import corrupt

__all__ = [
    "DATASETS",
    "Blur",
    "Dataset",
    "GaussianNoise",
    "Images",
    "Masking",
    "PoissonNoise",
    "SaltAndPepper",
    "corrupt",
    "estimate_noise_level",
    "expected_clipped",
    "load",
    "parse_corruption",
    "read_idx",
    "undo_clipping",
]
