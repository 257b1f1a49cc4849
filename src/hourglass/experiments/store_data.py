"""Data sets of experiments: those with names, and Zarrs of images that stay where they are stored."""

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from hourglass.data import DATASETS, Dataset, Images, load
from hourglass.training import Source, ZarrSource
from hourglass.training.few_blocks import held_in_few_blocks
from hourglass.training.source import Subset
from hourglass.training.zarr_store import is_zarr

# Most bytes, as float32, of images of a Zarr that are in memory at once: of those to test on, and of any other part.
_IN_MEMORY = 32 << 20
# Largest share of the files whose images are tested on, and of those that classifiers validate on.
_SHARE = 0.1
_SEED = 0


class StoredRows(Subset):
    """Some images of a Zarr, which are read by slices and indices, like those of an array."""

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Number, height, width and channels of the images."""
        height, width, channels = self.source.image_shape  # type: ignore[attr-defined]  # of a ZarrSource
        return len(self), height, width, channels

    def __getitem__(self, index: slice | NDArray[np.int64]) -> NDArray[np.float32]:
        """Read some images as an array ``(n, h, w, c)``."""
        inputs, _ = self.source.take(self.rows[index], 0)
        return np.ascontiguousarray(inputs.permute(0, 2, 3, 1).cpu().numpy())

    def mean_target(self, rows: Tensor | None = None) -> NDArray[np.float64]:
        """Compute the mean image, that of all these images once for all trainings."""
        if rows is not None:
            return super().mean_target(rows)
        if not hasattr(self, "_mean"):
            self._mean = super().mean_target()
        return self._mean


@dataclass(frozen=True, eq=False, repr=False)
class StoredImages(Images):
    """Images that stay in a Zarr, with labels where there are any; small parts of them are read into memory."""

    images: Any  # StoredRows

    def __post_init__(self) -> None:
        pass  # the images were checked when they were packed

    def __getitem__(self, index: slice | NDArray[np.int64]) -> Images:
        """Some of the images, with their labels: in memory if they take at most 32 MB there."""
        labels = None if self.labels is None else self.labels[index]
        rows = self.images.rows[index].cpu().numpy()
        if len(rows) <= _most(self.images.source):
            return Images(self.images[index], labels)
        return StoredImages(StoredRows(self.images.source, rows), labels)


def load_dataset(dataset: str | os.PathLike[str] | Dataset, data_dir: str | os.PathLike[str] | None = None) -> Dataset:
    """Load a data set by its name, or open a Zarr of images.

    At most a tenth of the files of a Zarr are for testing, and at most another tenth for validating classifiers. Both
    are drawn at random, in the same way every time. They come from 16 blocks that are spread over the Zarr, or from all
    blocks if there are fewer, so that not all of the Zarr is read for them. They are fewer than a tenth of the files if
    their images would take more than 32 MB as float32. The other files are for training, and are read when needed.

    Parameters
    ----------
    dataset : str, path-like or Dataset
        Name in :data:`hourglass.DATASETS`; or path or address of a Zarr that ``hourglass pack`` has written; or a data
        set, which is returned.
    data_dir : path-like, optional
        Folder of the files of a data set with a name; see :func:`hourglass.load`.

    Returns
    -------
    Dataset
        The data set.

    Raises
    ------
    ValueError
        When the name is unknown, or the Zarr is damaged, not complete or of fewer than three files.
    OSError
        When it cannot be read.
    ImportError
        When the extra ``zarr`` or ``s3`` is missing.
    """
    if isinstance(dataset, Dataset):
        return dataset
    if isinstance(dataset, str) and (dataset in DATASETS or not is_zarr(dataset)):
        return load(dataset, data_dir)
    source = ZarrSource(dataset)
    trained, validated, tested = _divided(source)
    labels = source.labels

    def part(rows: NDArray[np.int64]) -> StoredImages:
        return StoredImages(StoredRows(source, rows), None if labels is None else labels[rows])

    train = part(np.concatenate([validated, trained]))
    return Dataset(os.fspath(dataset), train, part(tested)[:], validation_size=len(validated))


def is_stored(data: Dataset) -> bool:
    """Whether the training images of a data set stay where they are stored.

    Parameters
    ----------
    data : Dataset
        The data set.

    Returns
    -------
    bool
        False where they are in memory.
    """
    return isinstance(data.train.images, Source)


def in_memory(images: Any) -> NDArray[np.float32]:
    """Training images as an array: all that are in memory already; of others as many of 16 blocks as take 32 MB."""
    if not isinstance(images, StoredRows):
        return np.asarray(images)
    count, most = len(images), _most(images.source)
    blocks = images.row_blocks
    if blocks is None or count <= most:
        return images[:]
    generator = np.random.default_rng(_SEED)
    return images[held_in_few_blocks(blocks, np.arange(count), count, generator, most=most)[1]]


def _most(source: Any) -> int:
    return max(1, _IN_MEMORY // (4 * int(np.prod(source.image_shape))))


def _divided(source: ZarrSource) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Rows to train on, to validate and to test on, each sorted."""
    groups = source.groups
    files = np.arange(len(source)) if groups is None else groups
    count = int(files[-1]) + 1
    if count < 3:
        raise ValueError(
            f"{source.location} has images of {count} files; experiments train, validate and test on different files, "
            "and need three or more"
        )
    each, most = max(1, round(_SHARE * count)), _most(source)
    generator = np.random.default_rng(_SEED)
    of_test, tested = held_in_few_blocks(source.row_blocks, files, each, generator, most=most)
    of_validation, validated = held_in_few_blocks(source.row_blocks, files, each, generator, most=most, taken=of_test)
    trained = np.flatnonzero(np.isin(files, np.concatenate([of_test, of_validation]), invert=True))
    return trained, validated, tested
