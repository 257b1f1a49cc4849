"""Training data in a Zarr, on a disk or in an object store, of which only some blocks are in memory."""

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hourglass.training.block_cache import BlockCache
from hourglass.training.block_order import AHEAD
from hourglass.training.row_blocks import RowBlocks
from hourglass.training.rows import BLOCK, Batch
from hourglass.training.source import Source
from hourglass.training.zarr_reader import BlockReader
from hourglass.training.zarr_store import array_of, open_complete

# Bytes of the blocks that are in memory.
MEMORY = 64 << 20


class ZarrSource(Source):
    """Images in a Zarr that ``hourglass pack`` has written, read block by block.

    A training reads each block once an epoch, ahead in threads, and mixes the rows of several blocks
    (:class:`BlockOrder` describes the order). In memory are at most ``memory`` bytes of blocks as they are stored, what
    decoding two blocks at the same time takes, and the batch as float32; and for each image of the data about 40 bytes
    of labels, numbers of files and order (briefly, where images are held out, about 110). Each block is compared with
    its checksum.

    Parameters
    ----------
    location : path-like or str
        Path of the Zarr, or an address that fsspec knows, such as ``s3://bucket/images.zarr``.
    memory : int, default=67108864
        Bytes of blocks in memory. With more, more blocks are mixed. At least five blocks are in memory, and never more
        than there are.
    value_range : {"auto", "full"} or tuple of (float, float), default="auto"
        Stored numbers that become 0 and 1. ``"full"`` takes 0 and ``white``, and so does ``"auto"`` for files of 8 bits
        and for those that declare how many of their 16 bits are in use. For other files of 16 bits ``"auto"`` takes the
        smallest and the largest number of all images. Numbers outside a range that is given are below 0 or above 1.
    storage_options : mapping of str to object, optional
        Options of the file system of an address, as fsspec takes them.

    Attributes
    ----------
    location : str
        The place, as given.
    image_shape : tuple of (int, int, int)
        Height, width and channels of the images.
    dtype : numpy.dtype
        Type of the stored numbers, uint8 or uint16.
    white : int
        Largest number that the files could store, such as 255.
    number_range : tuple of (float, float)
        Stored numbers that become 0 and 1.
    label_names : tuple of str
        Names of the labels 0, 1, 2, …; empty where there are no labels.
    prepared : str
        How the images were made of the files, in words.
    block_bytes : int
        Bytes of a block in memory.
    most_blocks : int
        Number of blocks that are in memory at most, those that are being read included.

    Raises
    ------
    FileNotFoundError
        When there is no Zarr.
    ImportError
        When the extra ``zarr`` is not installed, or ``s3`` for an address.
    OSError
        When it cannot be read.
    ValueError
        When ``hourglass pack`` has not written it or was interrupted, when it is damaged, or when ``value_range`` is
        none of the three.

    See Also
    --------
    hourglass.pack_images : Writes such a Zarr.

    Examples
    --------
    >>> import hourglass as hg
    >>> source = hg.training.ZarrSource("digits.zarr")  # doctest: +SKIP
    >>> hg.DenseAutoencoder(n_steps=100).fit(source)  # doctest: +SKIP
    """

    has_common_range = True

    def __init__(
        self,
        location: str | os.PathLike[str],
        *,
        memory: int = MEMORY,
        value_range: str | tuple[float, float] = "auto",
        storage_options: Mapping[str, Any] | None = None,
    ) -> None:
        self.location = os.fspath(location)
        self._group, attributes = open_complete(location, storage_options)
        images = array_of(self._group, "images", location, axes=4)
        checksums = np.asarray(array_of(self._group, "checksums", location, axes=2)[:])
        self._extremes = np.asarray(array_of(self._group, "extremes", location, axes=2)[:])
        self._size = int(images.shape[0])
        height, width, channels = (int(length) for length in images.shape[1:])
        self.image_shape = (height, width, channels)
        self.dtype = np.dtype(images.dtype)
        self.white = int(attributes["white"])
        self.label_names = tuple(attributes["label_names"])
        self.prepared = str(attributes["prepared"])
        self._rows_in_block = int((images.shards or images.chunks)[0])
        count = -(-self._size // self._rows_in_block)
        if checksums.shape != (count, 32) or self._extremes.shape != (count, 2):
            raise ValueError(
                f"{location} is damaged: it has {count} blocks, but not {count} checksums; pack the images again"
            )
        self._sums = array_of(self._group, "sums", location, axes=4) if "sums" in self._group else None
        self.number_range = self._range_of(value_range)
        self._digest = hashlib.sha256(checksums.tobytes()).hexdigest()[:16]
        self.block_bytes = self._rows_in_block * height * width * channels * self.dtype.itemsize
        self.most_blocks = min(count, max(memory // self.block_bytes, AHEAD + 2))
        self._starts = np.append(np.arange(count) * self._rows_in_block, self._size)
        self._cache = BlockCache(
            BlockReader(images, checksums, self._rows_in_block, self.location), max(self.most_blocks, 1)
        )

    def __len__(self) -> int:
        """Return the number of images."""
        return self._size

    def take(self, index: Tensor, step: int) -> Batch:
        """Read some images.

        Parameters
        ----------
        index : torch.Tensor of shape (n,), int64
            Indices of the images, in [0, size), in any order.
        step : int
            Number of the training step; ignored, since the images are the same in every step.

        Returns
        -------
        inputs, targets : torch.Tensor of shape (n, c, h, w), float32, on ``device``
            The images, scaled so that ``number_range`` becomes [0, 1]; twice the same tensor, channels last in memory.

        Raises
        ------
        IndexError
            When there is no such image.
        OSError
            When a block cannot be read.
        ValueError
            When a block is damaged or missing.
        """
        places = index.cpu().numpy()
        if len(places) and not 0 <= places.min() <= places.max() < self._size:
            wrong = places.min() if places.min() < 0 else places.max()
            raise IndexError(
                f"{self.location} has {self._size:,} images, numbered from 0, and none is number {wrong:,}"
            )
        blocks = places // self._rows_in_block
        stored = np.empty((len(places), *self.image_shape), self.dtype)
        for number, rows in self._cache.get(list(dict.fromkeys(blocks.tolist()))):
            here = np.flatnonzero(blocks == number)
            stored[here] = rows[places[here] - number * self._rows_in_block]
            del rows  # so that it can leave the memory before the next one is read
        batch = torch.from_numpy(self._scaled(stored)).to(self.device).permute(0, 3, 1, 2)
        return batch, batch

    @property
    def row_blocks(self) -> RowBlocks:
        """Blocks of the images, in the order of their storage."""
        window = self.most_blocks if self.most_blocks == len(self._starts) - 1 else self.most_blocks - AHEAD - 1
        return RowBlocks(self._starts, window, announce=self._cache.announce)

    @property
    def fingerprint(self) -> Mapping[str, str]:
        """Number, shape, type, range and checksums of the images under the name ``images``; no image is read."""
        height, width, channels = self.image_shape
        of = f"{self._size:,} of {height} × {width} × {channels}"
        low, high = self.number_range
        return {"images": f"{of}, {self.dtype.name} from {low:.9g} to {high:.9g}, {self._digest}"}

    @cached_property
    def labels(self) -> NDArray[np.int64] | None:
        """Label of each image ``(size,)``, int64, a number of ``label_names``; None where there are no labels."""
        return self._column("labels") if self.label_names else None

    @cached_property
    def groups(self) -> NDArray[np.int64] | None:
        """Number of the file of each image ``(size,)``, int64; None where every file has one image."""
        files = self._column("files")
        return None if len(files) == int(files[-1]) + 1 else files  # they are numbered in order, from 0

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Path of each file, by the number of the file, relative to the folder that was packed."""
        padded = np.asarray(array_of(self._group, "names", self.location, axes=2)[:])
        return tuple(row.tobytes().rstrip(b"\0").decode("utf-8", "surrogateescape") for row in padded)

    def blocks(self) -> Iterator[Batch]:
        """Iterate over all images once, in order; the next blocks are read ahead.

        Yields
        ------
        inputs, targets : torch.Tensor of shape (n, c, h, w), on ``device``
            The next images, about 16 MB.
        """
        rows = max(1, BLOCK // (4 * int(np.prod(self.image_shape))))
        for number in self._in_turn(range(len(self._starts) - 1)):
            start, end = self._starts[number : number + 2].tolist()
            for first in range(start, end, rows):
                yield self.take(self._rows(first, min(first + rows, end)), 0)

    def mean_target(self, rows: Tensor | None = None) -> NDArray[np.float64]:
        """Compute the mean image; only blocks that have other rows too are read, or all if no sums are stored.

        Parameters
        ----------
        rows : torch.Tensor of shape (n,), int64, optional
            Indices of the images, at least one; by default all images.

        Returns
        -------
        ndarray of shape (h, w, c), float64
            Mean, exact but for rounding. The sum of each block is stored if a block has 32 images or more.
        """
        count = self._size if rows is None else len(rows)
        chosen = self._rows_of_blocks(None if rows is None else np.sort(rows.cpu().numpy()))
        summed = np.zeros(len(self._starts) - 1, bool)
        if self._sums is not None:
            summed[[number for number, here in chosen.items() if here is None]] = True
        total = self._stored_sums(summed)
        for number in self._in_turn([number for number in chosen if not summed[number]]):
            here = chosen[number]
            for _, block in self._cache.get([number]):
                total += (block if here is None else block[here]).sum(0, dtype=np.uint64)
                del block
        low, high = self.number_range
        return np.asarray((total - count * low) / (count * (high - low)))

    def value_range(self) -> tuple[float, float]:
        """Find the smallest and the largest number of all images, which are stored; no image is read.

        Returns
        -------
        low, high : float
            Smallest and largest number, scaled as the images are.
        """
        low, high = self._scaled(np.array([self._extremes[:, 0].min(), self._extremes[:, 1].max()]))
        return float(low), float(high)

    def _range_of(self, wanted: str | tuple[float, float]) -> tuple[float, float]:
        if isinstance(wanted, tuple):
            low, high = (float(end) for end in wanted)
            if np.isfinite([low, high]).all() and low < high:
                return low, high
        elif wanted in ("auto", "full"):
            low, high = float(self._extremes[:, 0].min()), float(self._extremes[:, 1].max())
            declared = wanted == "full" or self.white < np.iinfo(np.uint16).max
            return (0.0, float(self.white)) if declared or low == high else (low, high)
        raise ValueError(f"value_range={wanted!r}; expected 'auto', 'full' or two numbers, the smaller one first")

    def _scaled(self, stored: NDArray[Any]) -> NDArray[np.float32]:
        low, high = self.number_range
        if low == 0:
            return np.asarray(np.divide(stored, np.float32(high), dtype=np.float32))
        scaled = np.asarray(np.subtract(stored, np.float32(low), dtype=np.float32))
        scaled /= np.float32(high - low)
        return scaled

    def _in_turn(self, numbers: Sequence[int]) -> Iterator[int]:
        """Iterate over numbers of blocks, and have the next ones read ahead."""
        for place, number in enumerate(numbers):
            self._cache.announce([number], numbers[place + 1 : place + 1 + AHEAD])
            yield number

    def _rows_of_blocks(self, rows: NDArray[np.int64] | None) -> dict[int, NDArray[np.int64] | None]:
        """Places, in each block, of some rows in ascending order; None where the block has no other rows."""
        if rows is None:
            return dict.fromkeys(range(len(self._starts) - 1))
        ends = np.searchsorted(rows, self._starts)
        found: dict[int, NDArray[np.int64] | None] = {}
        for number in np.flatnonzero(np.diff(ends)).tolist():
            here = rows[ends[number] : ends[number + 1]] - self._starts[number]
            size = self._starts[number + 1] - self._starts[number]
            found[number] = None if np.array_equal(here, np.arange(size)) else here
        return found

    def _stored_sums(self, chosen: NDArray[np.bool_]) -> NDArray[np.uint64]:
        """Add the stored sums of some blocks."""
        total = np.zeros(self.image_shape, np.uint64)
        if self._sums is not None:
            step = int(self._sums.chunks[0])
            for start in range(0, len(chosen), step):
                some = chosen[start : start + step]
                if some.any():
                    total += np.asarray(self._sums[start : start + step])[some].sum(0, dtype=np.uint64)
        return total

    def _column(self, name: str) -> NDArray[np.int64]:
        column = np.asarray(array_of(self._group, name, self.location, axes=1)[:], dtype=np.int64)
        if column.shape != (self._size,):
            raise ValueError(
                f"{self.location} is damaged: {name} has not one entry for each image; pack the images again"
            )
        return column
