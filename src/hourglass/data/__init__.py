"""Images in: named data sets, IDX files, corruption."""

from hourglass.data.corruption import GaussianNoise
from hourglass.data.idx import read_idx
from hourglass.data.images import Dataset, Images
from hourglass.data.sources import DATASETS, load

__all__ = ["DATASETS", "Dataset", "GaussianNoise", "Images", "load", "read_idx"]
