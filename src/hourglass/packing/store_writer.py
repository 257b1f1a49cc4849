"""The Zarr that is packed, from its creation to its completion."""

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hourglass.atomic import LOCK, check_writable, locked
from hourglass.packing.file_list import FileList
from hourglass.packing.survey import Rows, Survey
from hourglass.training.zarr_chunks import BlockSize
from hourglass.training.zarr_store import FORMAT, KEY, array_of, is_url, open_group, read_attributes, unfinished_place

# Bytes of a note on a finished block: 1, the SHA-256, the smallest and the largest number.
_NOTE = 1 + 32 + 2 + 2
# Numbers in a chunk of the arrays that describe the images.
_CHUNK = 1 << 18


class StoreWriter:
    """A Zarr that is packed: on this machine in a folder beside its own, elsewhere where it will be.

    Parameters
    ----------
    out : path-like or str
        Path of the Zarr, or an address that fsspec knows.
    options : mapping of str to object or None
        Options of the file system of an address.
    """

    def __init__(self, out: str | os.PathLike[str], options: Mapping[str, Any] | None) -> None:
        self.out, self.options = out, options
        self.local = None if is_url(out) else Path(out)
        self.place = os.fspath(out) if self.local is None else str(unfinished_place(out))

    def check(self, *, resume: bool, overwrite: bool) -> str | None:
        """Check, before any work is done, that the Zarr may be written.

        Parameters
        ----------
        resume : bool
            Whether an interrupted packing is resumed.
        overwrite : bool
            Whether a Zarr of images that exists is replaced.

        Returns
        -------
        str or None
            If a complete Zarr is to be kept, the text that identifies its files and options.

        Raises
        ------
        FileExistsError
            When something exists that may not be replaced.
        OSError
            When the folder cannot be written into.
        """
        there = None
        if self.local is None:
            there = self._attributes(self.out)
            interrupted = there is not None and there.get("complete") is False
        else:
            check_writable(self.local.absolute().parent)
            interrupted = Path(self.place).exists()
            if self.local.exists() and (not self.local.is_dir() or any(self.local.iterdir())):
                there = self._attributes(self.out) or {}
        if there == {}:
            raise FileExistsError(
                f"{self.out} exists, and is not a Zarr that `hourglass pack` has written; choose another name"
            )
        if overwrite:
            return None
        if interrupted:
            if not resume:
                raise self._interrupted()
            return None
        if there is not None and not resume:
            raise FileExistsError(f"{self.out} exists; overwrite (--overwrite) replaces it")
        return None if there is None else str(there["request"])

    def _interrupted(self) -> FileExistsError:
        return FileExistsError(
            f"packing {self.out} was interrupted; resume (--resume) does the rest, overwrite (--overwrite) begins again"
        )

    def _attributes(self, place: str | os.PathLike[str]) -> dict[str, Any] | None:
        """Attributes of a Zarr of images; empty for a folder or a Zarr of another kind, None where there is nothing."""
        try:
            return read_attributes(open_group(place, mode="r", options=self.options), place)
        except FileNotFoundError:
            return None
        except (ValueError, TypeError):
            return {}

    @contextmanager
    def opened(self, request: str, *, overwrite: bool) -> Iterator[Any]:
        """Open what an interrupted packing has left, for this process alone where a folder can be locked.

        Parameters
        ----------
        request : str
            Text that identifies the files and the options.
        overwrite : bool
            Whether to begin again.

        Yields
        ------
        zarr.Group or None
            The group, or None where there is none to resume.

        Raises
        ------
        BlockingIOError
            When another process packs the same Zarr.
        ValueError
            When the interrupted packing had other files or options.
        """
        if self.local is None:
            yield self._to_resume(request, overwrite=overwrite)
            return
        with locked(self.place):
            try:
                yield self._to_resume(request, overwrite=overwrite)
            finally:
                if [path.name for path in Path(self.place).glob("*")] == [LOCK]:  # nothing was written
                    shutil.rmtree(self.place)

    def _to_resume(self, request: str, *, overwrite: bool) -> Any:
        there = self._attributes(self.place)
        if overwrite or not there:
            return None
        if there["request"] != request:
            raise ValueError(
                f"packing {self.out} was interrupted with other files or options, or files have changed since; repeat "
                "the same command, or begin again (--overwrite)"
            )
        return open_group(self.place, mode="r+", options=self.options)

    def create(self, files: FileList, found: Survey, size: BlockSize, prepared: str, request: str) -> Any:
        """Create the group with everything but the images.

        Parameters
        ----------
        files : FileList
            The files.
        found : Survey
            The images.
        size : BlockSize
            Number of images in a block.
        prepared : str
            How the images are made of the files, in words.
        request : str
            Text that identifies the files and the options.

        Returns
        -------
        zarr.Group
            The group, which is not complete.
        """
        count, blocks = len(found.rows), size.blocks(len(found.rows))
        group = self._new_group()
        dtype, bits = found.kind
        shape = found.image_shape
        group.create_array(
            "images", shape=(count, *shape), dtype=dtype, shards=(size.block, *shape), chunks=(size.chunk, *shape),
            fill_value=0,
        )  # fmt: skip
        group.create_array(
            "unfinished", shape=(blocks, _NOTE), dtype="uint8", chunks=(1, _NOTE), fill_value=0, compressors=None
        )
        columns = {name: getattr(found.rows, name) for name in ("files", "planes", "corners", "sizes")}
        if files.labels:
            columns["labels"] = np.array(files.labels, np.int32)[found.rows.files]
        columns["names"] = _padded(files.names)
        for name, values in columns.items():
            _store(group, name, values)
        group.attrs[KEY] = {
            "format": FORMAT, "complete": False, "white": 2**bits - 1, "label_names": files.label_names,
            "prepared": prepared, "request": request,
        }  # fmt: skip
        return group

    def _new_group(self) -> Any:
        if self.local is not None:  # beside the lock, which stays
            for path in Path(self.place).iterdir():
                if path.is_dir():
                    shutil.rmtree(path)
                elif path.name != LOCK:
                    path.unlink()
            return open_group(self.place, mode="a", options=self.options)
        return open_group(self.place, mode="w", options=self.options)

    def complete(self, group: Any) -> None:
        """Store the checksums, call the Zarr complete, and put it in its place.

        Parameters
        ----------
        group : zarr.Group
            The group, all of whose blocks are written.
        """
        notes = np.asarray(group["unfinished"][:])
        _store(group, "checksums", notes[:, 1:33].copy())
        _store(group, "extremes", notes[:, 33:].copy().view("<u2").astype(np.uint16))
        group.attrs[KEY] = dict(group.attrs)[KEY] | {"complete": True}
        del group["unfinished"]
        if self.local is None:
            return
        (Path(self.place) / LOCK).unlink(missing_ok=True)
        old = self.local.with_name(f".{self.local.name}.old")
        if self.local.exists():
            self.local.replace(old)
        Path(self.place).replace(self.local)
        shutil.rmtree(old, ignore_errors=True)


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
    notes = np.asarray(group["unfinished"][:])
    return [int(number) for number in np.flatnonzero(notes[:, 0] == 0)]


def _store(group: Any, name: str, values: NDArray[Any]) -> None:
    chunk = max(1, _CHUNK // max(1, values[:1].size))
    chunks = (min(len(values), chunk), *values.shape[1:])
    group.create_array(name, shape=values.shape, dtype=values.dtype, chunks=chunks, overwrite=True)[:] = values


def _padded(names: Sequence[str]) -> NDArray[np.uint8]:
    encoded = [name.encode("utf-8", "surrogateescape") for name in names]
    longest = max(map(len, encoded))
    return np.frombuffer(b"".join(each.ljust(longest, b"\0") for each in encoded), np.uint8).reshape(-1, longest)
