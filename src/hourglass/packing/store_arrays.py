"""The arrays of a Zarr that is packed: what describes the images, and which blocks are written."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hourglass.packing.block_notes import note_bytes, without_note
from hourglass.packing.file_list import FileList
from hourglass.packing.survey import Rows, Survey
from hourglass.training.zarr_chunks import BlockSize
from hourglass.training.zarr_store import KEY, array_of

OVERWRITES = "overwrites"
"""Attribute of an unfinished group, or of its notes: whether it is to replace a Zarr that exists."""

# Numbers in a chunk of the arrays that describe the images.
_CHUNK = 1 << 18


def create_arrays(group: Any, files: FileList, found: Survey, size: BlockSize, choice: Mapping[str, bool]) -> None:
    """Create the arrays of a group, with everything but the images.

    Arrays that have these names already are deleted first. An interrupted deletion may have left parts of them.

    Parameters
    ----------
    group : zarr.Group
        The group.
    files : FileList
        The files.
    found : Survey
        The images.
    size : BlockSize
        Number of images in a block.
    choice : mapping of str to bool
        The attribute :data:`OVERWRITES`, which the notes keep.
    """
    count, shape = len(found.rows), found.image_shape
    note = note_bytes(size.block, shape)
    group.create_array(
        "images", shape=(count, *shape), dtype=found.kind[0], shards=(size.block, *shape),
        chunks=(size.chunk, *shape), fill_value=0, overwrite=True,
    )  # fmt: skip
    group.create_array(
        "unfinished", shape=(size.blocks(count), note), dtype="uint8", chunks=(1, note), fill_value=0,
        compressors=None, attributes=dict(choice), overwrite=True,
    )  # fmt: skip
    columns = {name: getattr(found.rows, name) for name in ("files", "planes", "corners", "sizes")}
    if files.labels:
        columns["labels"] = np.array(files.labels, np.int32)[found.rows.files]
    columns["names"] = _padded(files.names)
    for name, values in columns.items():
        _store(group, name, values)


def rows_of(group: Any, location: object) -> Rows:
    """Read where each image of a group comes from.

    Parameters
    ----------
    group : zarr.Group
        The group.
    location : object
        Its place, for messages.

    Returns
    -------
    Rows
        The files, planes, corners and sizes.
    """
    axes = {"files": 1, "planes": 1, "corners": 2, "sizes": 2}
    return Rows(**{name: np.asarray(array_of(group, name, location, axes=axes[name])[:]) for name in axes})


def overwrites(group: Any) -> bool:
    """Tell whether an unfinished group is to replace a Zarr that exists.

    Parameters
    ----------
    group : zarr.Group
        The group.

    Returns
    -------
    bool
        True when the user asked to overwrite as this packing began.
    """
    kept = group["unfinished"].attrs if "unfinished" in group else dict(group.attrs)[KEY]
    return bool(kept.get(OVERWRITES, False))


def unwritten(group: Any) -> list[int]:
    """Find the blocks that are not finished.

    Parameters
    ----------
    group : zarr.Group
        The group.

    Returns
    -------
    list of int
        Their numbers, in order.
    """
    return [] if is_complete(group) else without_note(group)


def is_complete(group: Any) -> bool:
    """Tell whether all blocks of a group are written and their checksums stored.

    Parameters
    ----------
    group : zarr.Group
        The group.

    Returns
    -------
    bool
        True when the attributes of the group say that it is complete.
    """
    return bool(dict(group.attrs)[KEY]["complete"])


def _store(group: Any, name: str, values: NDArray[Any]) -> None:
    chunk = max(1, _CHUNK // max(1, values[:1].size))
    chunks = (min(len(values), chunk), *values.shape[1:])
    group.create_array(name, shape=values.shape, dtype=values.dtype, chunks=chunks, overwrite=True)[:] = values


def _padded(names: Sequence[str]) -> NDArray[np.uint8]:
    encoded = [name.encode("utf-8", "surrogateescape") for name in names]
    longest = max(map(len, encoded))
    return np.frombuffer(b"".join(each.ljust(longest, b"\0") for each in encoded), np.uint8).reshape(-1, longest)
