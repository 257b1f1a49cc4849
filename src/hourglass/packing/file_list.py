"""The files of a Zarr: their names, their labels, and a text that identifies them."""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from hourglass.imagefiles import Found, find_images
from hourglass.imagefiles.remote import RemotePath, filesystem, place


@dataclass(frozen=True)
class FileList:
    """Files to pack, in the order of their images.

    Parameters
    ----------
    paths : list of Path
        The files.
    names : list of str
        Name of each file: its path below the folder that was given, with ``/`` between the parts. If several folders
        were given, it begins with the name of the folder.
    left_out : collections.Counter of str
        Number of files that were left out because their format is not supported, by suffix.
    """

    paths: list[Path]
    names: list[str]
    left_out: Counter[str]

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def label_names(self) -> list[str]:
        """Names of the first folders of all names, sorted; empty if a file is in none, or all are in the same one."""
        first = [PurePosixPath(name).parts for name in self.names]
        folders = sorted({parts[0] for parts in first})
        return folders if len(folders) > 1 and all(len(parts) > 1 for parts in first) else []

    @property
    def labels(self) -> list[int]:
        """Label of each file, a number in ``label_names``; empty if there are no labels."""
        numbers = {name: i for i, name in enumerate(self.label_names)}
        return [numbers[PurePosixPath(name).parts[0]] for name in self.names] if numbers else []

    def identity(self, *options: object) -> str:
        """Text that is equal for equal files and options.

        Parameters
        ----------
        *options : object
            Values that JSON can hold.

        Returns
        -------
        str
            SHA-256 of the names, the sizes in bytes and the times of change of the files, and of the options.

        Raises
        ------
        OSError
            When a file is no longer there.
        """
        files = list(zip(self.names, map(_state, self.paths), strict=True))
        return hashlib.sha256(json.dumps([files, options]).encode()).hexdigest()


def list_files(sources: Sequence[str | os.PathLike[str]], out: Path | None, *, hidden: bool) -> FileList:
    """Find the files to pack.

    Parameters
    ----------
    sources : sequence of path-like
        Files and folders, which are searched with their subfolders.
    out : Path or None
        Folder that is left out, that of the Zarr, if it is on this machine.
    hidden : bool
        Whether hidden files and folders are included.

    Returns
    -------
    FileList
        The files, those of each source sorted by path.

    Raises
    ------
    FileNotFoundError
        When a source does not exist, or is a folder without image files.
    ValueError
        When two files would have the same name.
    """
    found: list[tuple[Path, Found]] = [(place(each), find_images(each, beside=out, hidden=hidden)) for each in sources]
    paths: list[Path] = []
    names: list[str] = []
    for source, files in found:
        paths += files.paths
        base = f"{source.resolve().name}/" if len(found) > 1 and source.is_dir() else ""
        names += [
            base + "/".join(path.relative_to(source).parts) if path != source else path.name for path in files.paths
        ]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ValueError(f"two files would have the name {twice[0]}; name each once, or rename one")
    return FileList(paths, names, sum((files.left_out for _, files in found), Counter[str]()))


def _state(path: Path) -> tuple[int, str]:
    """Size of a file in bytes, and what changes when it is written again."""
    if isinstance(path, RemotePath):
        files, inside = filesystem(path)
        known = files.info(inside)
        return int(known["size"]), str(known.get("ETag") or known.get("mtime") or known.get("created"))
    state = path.stat()
    return state.st_size, str(state.st_mtime_ns)
