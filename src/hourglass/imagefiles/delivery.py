"""Outputs that appear as whole files, in folders of this machine and at addresses such as s3://bucket/folder."""

import contextlib
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hourglass.atomic import PARTIAL, check_writable
from hourglass.imagefiles.named_errors import naming
from hourglass.imagefiles.remote import RemotePath, below, errors_of_the_system, filesystem

# Schemes of stores in which an object appears as a whole.
_OBJECT_STORES = {
    "abfs", "abfss", "adl", "az", "gcs", "gs", "hf", "lakefs", "memory", "oci", "ocilake", "oss", "s3", "s3a", "tos",
    "tosfs",
}  # fmt: skip


def check_deliverable(folder: Path) -> None:
    """Raise an error, before any work is done, unless files can be delivered into a folder, as far as one can see.

    Parameters
    ----------
    folder : Path
        The folder, which need not exist. In an object store the bucket has to exist; others are not looked at.

    Raises
    ------
    OSError
        When a local folder cannot be written, when the bucket does not exist, or when the file system cannot be
        reached or refuses.
    """
    if not isinstance(folder, RemotePath):
        check_writable(folder)
        return
    if not _is_in_object_store(folder):
        return
    bucket = RemotePath(*folder.parts[:2])
    with contextlib.suppress(PermissionError):  # files may be written where the bucket itself may not be looked at
        if not bucket.exists():
            raise FileNotFoundError(f"{bucket} does not exist; make it, or name another place for the output")


@contextmanager
def delivered(path: Path, folder: Path | None = None) -> Iterator[Path]:
    """Context in which a file is written locally, and at whose end it is at its place.

    Parameters
    ----------
    path : Path
        The file. Its folder is made. A remote file is uploaded at the end of the context, and not at all if the context
        raises. It appears as a whole: object stores see to that, and elsewhere it is uploaded under another name in the
        same folder, which begins with ``.part-``, and then renamed. A file system that cannot rename copies it.
    folder : Path, optional
        Folder to which a relative local path belongs; by default the working folder.

    Yields
    ------
    Path
        Where to write the file. Errors of type OSError and ValueError in the context name ``path`` in its place.

    Raises
    ------
    OSError
        When the folder cannot be made or the file cannot be uploaded.
    """
    if not isinstance(path, RemotePath):
        with below(folder, path) as local:
            local.parent.mkdir(parents=True, exist_ok=True)
            yield local
        return
    with tempfile.TemporaryDirectory(prefix="hourglass-") as temporary:
        local = Path(temporary, path.name)
        with naming(path, local):
            yield local
        with errors_of_the_system(path):
            files, inside = filesystem(path)
            if _is_in_object_store(path):
                files.put_file(str(local), inside)
            else:
                _put_and_rename(files, local, inside)


def _is_in_object_store(path: RemotePath) -> bool:
    return path.parts[0].removesuffix(":") in _OBJECT_STORES


def _put_and_rename(files: Any, local: Path, inside: str) -> None:
    folder, _, name = inside.rpartition("/")
    part = f"{folder}/{PARTIAL}{secrets.token_hex(8)}-{name}"
    files.makedirs(folder, exist_ok=True)
    try:
        files.put_file(str(local), part)
        _rename(files, part, inside)
    except BaseException:
        with contextlib.suppress(Exception):  # the first error says more
            files.rm_file(part)
        raise


def _rename(files: Any, part: str, inside: str) -> None:
    """Rename a file, and replace one that exists, which some file systems refuse, with an error or without."""
    try:
        files.mv(part, inside)
    except Exception:
        if not files.exists(inside):
            raise
    if files.exists(part):
        if files.exists(inside):
            files.rm_file(inside)
        files.mv(part, inside)
        if files.exists(part):
            raise OSError("the file that was uploaded cannot be renamed")
