"""Files that appear whole or not at all, folders that one process has at a time, and what the disk has for certain."""

import os
import re
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

# First part of the path that an address becomes, such as "s3:".
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")
# Begins the names of files that are not yet whole.
PARTIAL = ".part-"
LOCK = ".lock"


class AddressError(ValueError):
    """An address such as ``s3://bucket`` where a path of this machine is needed; raised before any work is begun."""

    exit_code = 2  # of the command line, as for every misuse


@contextmanager
def locked(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Keep a folder, which is made, for this process; the system lets go of it when the process ends, however it does.

    Parameters
    ----------
    folder : path-like
        Made with its parents where it is missing.

    Yields
    ------
    None
        The folder is this process's until the block ends.

    Raises
    ------
    AddressError
        When it is an address.
    BlockingIOError
        When another process has it.
    OSError
        When the folder cannot be written.
    """
    from filelock import FileLock, Timeout

    check_local(folder)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise BlockingIOError(
            f"{folder} is in use by another process; wait for it, or choose another folder"
        ) from error
    try:
        yield
    finally:
        lock.release()


def is_address(path: str | os.PathLike[str]) -> bool:
    """Tell whether a place is an address such as ``s3://bucket/folder``.

    Parameters
    ----------
    path : path-like
        The place.

    Returns
    -------
    bool
        True where the first part of the path is a scheme with its colon. A drive of Windows has one letter.
    """
    parts = Path(path).parts
    return bool(parts) and _SCHEME.fullmatch(parts[0]) is not None


def check_local(path: str | os.PathLike[str], what: str = "the output") -> None:
    """Raise an error if a place is an address, which would become a folder of that name.

    Parameters
    ----------
    path : path-like
        The place.
    what : str, default="the output"
        Name of the output in the error message.

    Raises
    ------
    AddressError
        When it is an address.
    """
    if is_address(path):
        address = "//".join(os.fspath(path).replace("//", "/").split("/", 1))  # pathlib keeps one of two slashes
        raise AddressError(f"{address} is an address, and {what} has to lie on this machine; give a path")


def check_writable(folder: str | os.PathLike[str]) -> None:
    """Raise an error, before any work is done, unless a folder is there or can be made, and can be written into.

    Parameters
    ----------
    folder : path-like
        Neither it nor its parents need exist; nothing is made.

    Raises
    ------
    AddressError
        When it is an address.
    FileExistsError
        When it or one of its parents is a file.
    OSError
        When the system does not let this process write there.
    """
    check_local(folder)
    folder = Path(folder)
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir():
        raise FileExistsError(f"{there} is a file; name another folder for the output")
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise OSError(
            f"{there} cannot be written into ({error.strerror}); name another folder for the output"
        ) from error


def check_free(*files: str | os.PathLike[str], overwrite: bool = False) -> None:
    """Raise an error, before any work is done, unless files can be written without replacing others.

    Parameters
    ----------
    *files : path-like
        Files to be written.
    overwrite : bool, default=False
        Let them replace those that exist.

    Raises
    ------
    AddressError
        When one is an address.
    FileExistsError
        When one exists and ``overwrite`` is not set.
    OSError
        When the folder of one cannot be written into.
    """
    for file in map(Path, files):
        check_local(file)
        if file.exists() and not overwrite:
            raise FileExistsError(f"{file} exists; overwrite (--overwrite) replaces it")
    for folder in {Path(file).parent for file in files}:
        check_writable(folder)


def write_whole(path: Path, content: bytes, *, durable: bool = False) -> None:
    """Write a file that appears whole or not at all, and leave none behind on failure.

    Parameters
    ----------
    path : Path
        Its folder exists.
    content : bytes
        All that the file will hold.
    durable : bool, default=False
        Wait until the disk has it, so that the file outlives a power failure too.
    """
    write_together({path: content}, durable=durable)


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A new file that takes the place of ``path`` when the block ends, and is removed when the block raises.

    Parameters
    ----------
    path : Path
        Its folder exists; a file of this name is replaced.

    Yields
    ------
    Path
        The new file, empty, in the same folder.

    Raises
    ------
    OSError
        When it cannot be made or put in place; the error names ``path``.
    """
    # mkstemp makes files for the owner alone; these are for whoever may read the folder.
    umask = os.umask(0)
    os.umask(umask)
    part: Path | None = None
    try:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=PARTIAL, suffix=path.suffix)
        os.close(descriptor)
        part = Path(name)
        yield part
        part.chmod(_mode(path, umask))
        part.replace(path)
    except OSError as error:
        if part is None or error.filename in (None, str(part)):
            _name_target(error, path)
        raise
    finally:
        if part is not None:
            part.unlink(missing_ok=True)


def write_together(contents: Mapping[Path, bytes], *, durable: bool = False) -> None:
    """Write files of one folder, each whole, in order; where one cannot be written, all stay as they were.

    Parameters
    ----------
    contents : mapping of Path to bytes
        All are written beside the old ones before the first takes its place.
    durable : bool, default=False
        As in :func:`write_whole`.
    """
    # mkstemp makes files for the owner alone; these are for whoever may read the folder.
    umask = os.umask(0)
    os.umask(umask)
    temporaries: dict[Path, Path] = {}
    current = Path()
    try:
        for current, content in contents.items():
            descriptor, temporary = tempfile.mkstemp(dir=current.parent, prefix=PARTIAL)
            temporaries[current] = Path(temporary)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                if durable:
                    file.flush()
                    os.fsync(file.fileno())
            temporaries[current].chmod(_mode(current, umask))
        for current, part in temporaries.items():
            part.replace(current)
            if durable:
                sync_folder(current.parent)
    except BaseException as error:
        for part in temporaries.values():
            part.unlink(missing_ok=True)
        _name_target(error, current)
        raise


def _mode(path: Path, umask: int) -> int:
    """Permissions of a file: those of the one that it replaces, or what the system gives to new ones."""
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return 0o666 & ~umask


def _name_target(error: BaseException, target: Path) -> None:
    """Let an error of the system name the file that was to be written, and not the one that it was written as first."""
    if isinstance(error, OSError) and error.errno is not None:
        error.filename, error.filename2 = str(target), None


def sync_folder(folder: Path, *, files: bool = False) -> None:
    """Wait until the disk has a folder's list of names.

    Parameters
    ----------
    folder : Path
        Folder.
    files : bool, default=False
        Wait for the contents of its files too.

    Raises
    ------
    OSError
        When a file cannot be opened, or the disk fails.
    """
    for path in (*(sorted(folder.iterdir()) if files else ()), folder):
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except OSError:
            if path == folder:  # not every system opens folders
                return
            raise
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
