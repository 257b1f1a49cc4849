"""Notes on the blocks that are written, from which a packing is resumed, and what a complete Zarr keeps of them."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hourglass.training.zarr_reader import checksum

# Bytes of a note without sums: 1, the SHA-256, the smallest and the largest number.
_HEAD = 1 + 32 + 2 + 2
# Fewest images in a block whose sum is stored: as 8 bytes a number it takes at most a quarter of the block.
_SUMMED = 32
# Bytes of the notes that are in memory at once.
_AT_ONCE = 16 << 20


def note_bytes(block: int, image_shape: tuple[int, ...]) -> int:
    """Count the bytes of the note on a block.

    Parameters
    ----------
    block : int
        Images in a block.
    image_shape : tuple of int
        Height, width and channels of the images.

    Returns
    -------
    int
        The number of bytes; more if the sum of the images is noted.
    """
    return _HEAD + (8 * math.prod(image_shape) if block >= _SUMMED else 0)


def note_on(block: NDArray[Any], size: int) -> NDArray[np.uint8]:
    """Note that a block is written, and what is in it.

    Parameters
    ----------
    block : ndarray of shape (n, h, w, c), uint8 or uint16
        The images.
    size : int
        Bytes of the note.

    Returns
    -------
    ndarray of shape (size,), uint8
        The note.
    """
    note = b"\1" + checksum(block) + np.array([block.min(), block.max()], "<u2").tobytes()
    if size > _HEAD:
        note += block.sum(0, dtype=np.uint64).astype("<u8").tobytes()
    return np.frombuffer(note, np.uint8)


def without_note(group: Any) -> list[int]:
    """Find the blocks that are not written.

    Parameters
    ----------
    group : zarr.Group
        The group, with its notes.

    Returns
    -------
    list of int
        Numbers of the blocks, in order.
    """
    return [int(number) for number in np.flatnonzero(np.asarray(group["unfinished"][:, 0]) == 0)]


def store_notes(group: Any) -> None:
    """Store the checksums, the extremes and, if they were noted, the sums of all blocks as arrays of the group.

    Parameters
    ----------
    group : zarr.Group
        The group, with a note on every block.
    """
    notes = group["unfinished"]
    count, size = notes.shape
    parts: dict[str, tuple[slice, np.dtype[Any], tuple[int, ...]]] = {
        "checksums": (slice(1, 33), np.dtype("u1"), (32,)),
        "extremes": (slice(33, _HEAD), np.dtype("<u2"), (2,)),
    }
    if size > _HEAD:
        parts["sums"] = (slice(_HEAD, size), np.dtype("<u8"), group["images"].shape[1:])
    step = min(count, max(1, _AT_ONCE // size))
    for name, (_, dtype, shape) in parts.items():
        group.create_array(
            name, shape=(count, *shape), dtype=dtype.newbyteorder("="), chunks=(step, *shape), overwrite=True
        )
    for start in range(0, count, step):
        some = np.asarray(notes[start : start + step])
        for name, (place, dtype, shape) in parts.items():
            values = np.ascontiguousarray(some[:, place]).view(dtype).reshape(-1, *shape)
            group[name][start : start + step] = values.astype(dtype.newbyteorder("="))
