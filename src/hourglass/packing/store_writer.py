"""The Zarr that is packed, from its creation to its completion."""

import os
import shutil
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hourglass.atomic import LOCK, check_writable, locked
from hourglass.packing.block_notes import store_notes
from hourglass.packing.file_list import FileList
from hourglass.packing.store_arrays import OVERWRITES, create_arrays, is_complete, overwrites, unwritten
from hourglass.packing.survey import Survey
from hourglass.training.zarr_chunks import BlockSize
from hourglass.training.zarr_store import FORMAT, KEY, is_url, open_group, read_attributes, unfinished_place


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
        # Where the Zarr that is replaced waits until the new one is in its place.
        self._old = Path() if self.local is None else self.local.with_name(f".{self.local.name}.old")
        self._overwrites = self._resumes = False

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
        FileNotFoundError
            When the bucket of an address does not exist.
        OSError
            When the folder cannot be written into, or the file system of an address refuses.
        """
        if self.local is None:
            there = self._at_address()
            interrupted = there is not None and there["complete"] is False
        else:
            check_writable(self.local.absolute().parent)
            there = None
            interrupted = Path(self.place).exists()
            if self._is_there():
                there = self._attributes(self.out)
                if not there:
                    raise self._foreign()
        self._overwrites = overwrite
        if overwrite:
            return None
        if interrupted and self.local is not None and there is not None:
            interrupted = self._is_unfinished()
            if interrupted and resume:
                self._overwrites = overwrites(open_group(self.place, mode="r", options=self.options))
                if not self._overwrites:
                    raise self._appeared()
        if interrupted:
            if not resume:
                raise self._interrupted()
            self._resumes = True
            return None
        if there is not None and not resume:
            raise FileExistsError(f"{self.out} exists; overwrite (--overwrite) replaces it")
        return None if there is None else str(there["request"])

    def _is_unfinished(self) -> bool:
        """Whether an interrupted packing is there, and not only remains of one."""
        try:
            return bool(self._attributes(self.place))
        except OSError:  # its description is torn
            return False

    def _is_there(self) -> bool:
        """Whether something that could be lost is at a place on this machine."""
        if self.local is None or not self.local.exists():
            return False
        return not self.local.is_dir() or any(self.local.iterdir())

    def _at_address(self) -> dict[str, Any] | None:
        """Attributes of the Zarr of images at an address, or None where there is nothing."""
        there = self._attributes(self.out)
        if there is None:
            try:
                self._check_empty()
            except OSError:
                raise
            except Exception as error:  # each file system has errors of its own
                raise OSError(f"{self.out} cannot be listed ({type(error).__name__}: {error})") from error
        if there == {}:
            raise self._foreign()
        return there

    def _check_empty(self) -> None:
        """Check that an address is in a bucket that exists, and that no object is below it."""
        from fsspec.core import url_to_fs

        files, inside = url_to_fs(str(self.out), **{**(self.options or {}), "use_listings_cache": False})
        bucket = inside.strip("/").partition("/")[0]
        try:
            files.info(bucket)
        except FileNotFoundError as error:
            raise FileNotFoundError(f"{self.out}: {bucket} does not exist; make it, or name another place") from error
        try:
            files.info(inside)
        except FileNotFoundError:
            return
        raise self._foreign()

    def _foreign(self) -> FileExistsError:
        return FileExistsError(
            f"{self.out} exists, and is not a Zarr that `hourglass pack` has written; choose another name"
        )

    def _appeared(self) -> FileExistsError:
        return FileExistsError(
            f"{self.out} was not there when its packing began; move it away, and resume (--resume), which keeps what "
            "is packed"
        )

    def _interrupted(self) -> FileExistsError:
        return FileExistsError(
            f"packing {self.out} was interrupted; resume (--resume) does the rest, overwrite (--overwrite) begins again"
        )

    def _attributes(self, place: str | os.PathLike[str]) -> dict[str, Any] | None:
        """Attributes of a Zarr of images; empty for a Zarr of another kind, None where there is no Zarr."""
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
                self._settle(overwrite=overwrite)
                yield self._to_resume(request, overwrite=overwrite)
            finally:
                if [path.name for path in Path(self.place).glob("*")] == [LOCK]:  # nothing was written
                    shutil.rmtree(self.place)

    def _settle(self, *, overwrite: bool) -> None:
        """Deal with the Zarr that an interrupted replacement has set aside."""
        if self.local is None or not self._old.exists():
            return
        if self.local.exists():
            shutil.rmtree(self._old)
        elif overwrite:  # until it is replaced again
            self._old.replace(self.local)

    def _to_resume(self, request: str, *, overwrite: bool) -> Any:
        if overwrite:
            return None
        there = self._attributes(self.place)
        if not there or not there["request"]:  # it was interrupted before it had all its arrays
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
        attributes = {
            "format": FORMAT, "complete": False, "white": 2 ** found.kind[1] - 1, "label_names": files.label_names,
            "prepared": prepared, "request": "",
        }  # fmt: skip
        choice = {OVERWRITES: self._overwrites}  # kept by the group until there is an array that keeps it
        group = self._new_group(attributes | choice)
        create_arrays(group, files, found, size, choice)
        group.attrs[KEY] = attributes | {"request": request}
        return group

    def _new_group(self, attributes: Mapping[str, Any]) -> Any:
        if self.local is not None:
            for path in Path(self.place).iterdir():
                if path.is_dir():
                    shutil.rmtree(path)
                elif path.name != LOCK:
                    path.unlink()
            return open_group(self.place, mode="a", options=self.options, attributes=attributes)  # the lock stays
        there = self._at_address()  # asked again, since hours may have passed
        if there is None:
            return open_group(self.place, mode="w-", options=self.options, attributes=attributes)
        if not self._overwrites and (there["complete"] or not self._resumes):
            raise FileExistsError(f"{self.out} has appeared since the command began; another process may pack it")
        # First the old Zarr is no longer complete, and then its arrays are deleted, so that it can always be resumed.
        group = open_group(self.place, mode="r+", options=self.options)
        group.attrs[KEY] = dict(attributes)
        with warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", ".*not recognized as a component", UserWarning
            )  # what is left of an array
            names = list(group.keys())
        for name in names:
            del group[name]
        return group

    def complete(self, group: Any) -> None:
        """Store the checksums, call the Zarr complete, and put it in its place.

        When this is interrupted, it can be repeated.

        Parameters
        ----------
        group : zarr.Group
            The group, all of whose blocks are written.

        Raises
        ------
        FileExistsError
            When something has appeared at the place of the Zarr.
        OSError
            When a block is no longer there.
        """
        if self._is_there() and not (self._attributes(self.out) and overwrites(group)):
            raise self._appeared()
        if not is_complete(group):
            if missing := len(unwritten(group)):
                raise OSError(
                    f"{self.out}: {missing} blocks are not there any more; another process may have packed the same "
                    "Zarr; resume (--resume) writes them again"
                )
            store_notes(group)
            group.attrs[KEY] = dict(group.attrs)[KEY] | {"complete": True}
        if self.local is not None:
            for partial in Path(self.place).rglob("*.partial"):  # of zarr, in processes that were killed
                partial.unlink()
            (Path(self.place) / LOCK).unlink(missing_ok=True)
            if self.local.exists():
                self.local.replace(self._old)
            try:
                Path(self.place).replace(self.local)
            except BaseException:
                if self._old.exists() and not self.local.exists():
                    self._old.replace(self.local)
                raise
        self.tidy()

    def tidy(self) -> None:
        """Delete what a complete Zarr no longer needs: the notes of its packing, and the Zarr that it replaced."""
        if self.local is None:
            group = open_group(self.place, mode="r+", options=self.options)
            if "unfinished" in group:
                del group["unfinished"]
        else:
            for folder in (self.local / "unfinished", self._old):
                shutil.rmtree(folder, ignore_errors=True)
