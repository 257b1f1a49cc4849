"""Writing of runs of blocks, each file decoded once in a run."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hourglass.imagefiles.image import Raw
from hourglass.packing.block_notes import note_on
from hourglass.packing.survey import Rows, images_of
from hourglass.training.zarr_chunks import BlockSize
from hourglass.training.zarr_store import open_group

# Number of neighbouring blocks that are one task. A file with more blocks than this is one task as well, since each
# task decodes its files anew.
_RUN = 16


@dataclass(frozen=True)
class Packing:
    """What all runs need.

    Parameters
    ----------
    location : str
        Place of the group, which has its arrays.
    options : mapping of str to object or None
        Options of the file system of an address.
    paths : sequence of str
        The files.
    rows : Rows
        Where each image comes from.
    image_shape : tuple of (int, int, int)
        Height, width and channels of the images.
    dtype : str
        Type of the numbers.
    size : BlockSize
        Number of images in a block.
    """

    location: str
    options: Mapping[str, Any] | None
    paths: Sequence[str]
    rows: Rows
    image_shape: tuple[int, int, int]
    dtype: str
    size: BlockSize


def runs_of(numbers: Sequence[int], files: NDArray[np.int32], size: BlockSize) -> list[list[int]]:
    """Divide blocks into runs of neighbours.

    Parameters
    ----------
    numbers : sequence of int
        Numbers of the blocks to write, in order.
    files : ndarray of shape (n,), int32
        File of each image.
    size : BlockSize
        Number of images in a block.

    Returns
    -------
    list of list of int
        The runs; the blocks of one file are not divided.
    """
    runs: list[list[int]] = []
    for number in numbers:
        run = runs[-1] if runs else []
        neighbours = run and number == run[-1] + 1
        if neighbours and (len(run) < _RUN or files[number * size.block] == files[run[0] * size.block]):
            run.append(number)
        else:
            runs.append([number])
    return runs


def write_run(packing: Packing, numbers: Sequence[int]) -> list[int]:
    """Write neighbouring blocks, and note each as finished after it was written.

    Parameters
    ----------
    packing : Packing
        What all runs need.
    numbers : sequence of int
        Numbers of the blocks, in order.

    Returns
    -------
    list of int
        The numbers.

    Raises
    ------
    OSError
        When a file cannot be read, or a block cannot be written.
    ValueError
        When a file has changed.
    """
    group = open_group(packing.location, mode="r+", options=packing.options)
    images, notes = group["images"], group["unfinished"]
    start, end = numbers[0] * packing.size.block, min((numbers[-1] + 1) * packing.size.block, len(packing.rows))
    cropped = _cropped(packing, start, end)
    for number in numbers:
        first, last = number * packing.size.block, min((number + 1) * packing.size.block, end)
        block = np.empty((last - first, *packing.image_shape), packing.dtype)
        for row in range(last - first):
            block[row] = next(cropped)
        images[first:last] = block
        notes[number] = note_on(block, notes.shape[1])
    return list(numbers)


def _cropped(packing: Packing, start: int, end: int) -> Iterator[Raw]:
    """Images of neighbouring rows, for which each file is opened once."""
    rows, (height, width, _) = packing.rows, packing.image_shape
    for file, of_file in groupby(range(start, end), lambda row: int(rows.files[row])):
        images = enumerate(values for _, values in images_of(packing.paths[file]))
        for plane, of_image in groupby(of_file, lambda row: int(rows.planes[row])):
            image = next((image for number, image in images if number == plane), None)
            some = list(of_image)
            size = None if image is None else image.shape[:2]
            if image is None or size != tuple(rows.sizes[some[0]]) or image.dtype.name != packing.dtype:
                raise ValueError(f"{packing.paths[file]} has changed while it was packed; begin again (--overwrite)")
            for top, left in rows.corners[some].tolist():
                yield image[top : top + height, left : left + width]
