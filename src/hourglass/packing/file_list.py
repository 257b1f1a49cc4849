"""The files of a Zarr: their names, their labels, and a text that identifies them."""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from hourglass.imagefiles import Found, find_images
from hourglass.imagefiles.remote import RemotePath, filesystem, place

# Seed of the order of files that have labels.
_SEED = 0


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
    states : dict of Path to tuple of (int, str), optional
        Size in bytes of files, and a text that changes when the file is written again; of remote files that were
        listed. The file system is asked for those of the others.
    """

    paths: list[Path]
    names: list[str]
    left_out: Counter[str]
    states: dict[Path, tuple[int, str]] = field(default_factory=dict)

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

    def mixed(self) -> "FileList":
        """The same files in a random order, which is always the same for the same number of files."""
        order = np.random.default_rng(_SEED).permutation(len(self)).tolist()
        return replace(self, paths=[self.paths[i] for i in order], names=[self.names[i] for i in order])

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
        states = (self.states.get(path) or _state(path) for path in self.paths)
        files = list(zip(self.names, states, strict=True))
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
        The files: those of each source sorted by path; if there are labels, all in a random order, so that neighbours
        have different labels.

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
    states = {path: state for source, _ in found for path, state in _listed(source).items()}
    listed = FileList(paths, names, sum((files.left_out for _, files in found), Counter[str]()), states)
    return listed.mixed() if listed.label_names else listed


def _listed(folder: Path) -> dict[Path, tuple[int, str]]:
    """States of all files of a remote folder, by one listing."""
    if not isinstance(folder, RemotePath):
        return {}
    files, inside = filesystem(folder)
    root = inside.rstrip("/")
    return {
        folder / name[len(root) :].lstrip("/"): _state_of(known)
        for name, known in files.find(inside, detail=True).items()
        if name.startswith(f"{root}/")
    }


def _state(path: Path) -> tuple[int, str]:
    """Size of a file in bytes, and what changes when it is written again."""
    if isinstance(path, RemotePath):
        files, inside = filesystem(path)
        return _state_of(files.info(inside))
    state = path.stat()
    return state.st_size, str(state.st_mtime_ns)


# What file systems call that which changes when a file is written again.
_CHANGING = ("ETag", "etag", "mtime", "LastModified", "last_modified", "modified", "updated", "created")


def _state_of(known: Mapping[str, Any]) -> tuple[int, str]:
    changing = next((known[name] for name in _CHANGING if known.get(name)), None)
    return int(known["size"]), str(changing)
