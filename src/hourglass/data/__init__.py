"""Images in: named data sets, IDX files."""

from hourglass.data.idx import read_idx
from hourglass.data.images import Dataset, Images
from hourglass.data.sources import DATASETS, load

__all__ = [
    "DATASETS",
    "Dataset",
    "Images",
    "load",
    "read_idx",
]
