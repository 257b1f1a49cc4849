"""Files at addresses such as s3://bucket/folder, through fsspec: listed and fetched."""

import contextlib
import os
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PosixPath, PurePosixPath
from typing import Any, Self

from hourglass.atomic import is_address
from hourglass.imagefiles.named_errors import naming


class RemotePath(PosixPath):
    """Path of a file or folder that fsspec reaches, such as ``s3://bucket/folder/a.png``.

    It is taken apart and put together as every path is. Of the methods that ask for files, it has those below; the
    files themselves are read by :func:`fetched`, and written by :func:`hourglass.imagefiles.delivery.delivered`.
    """

    def __str__(self) -> str:
        first, separator, rest = super().__str__().partition("/")
        # What lies below a folder, as relative_to() returns it, has no scheme.
        return f"{first}//{rest}" if separator and is_address(first) else f"{first}{separator}{rest}"

    def exists(self, *, follow_symlinks: bool = True) -> bool:
        return self.is_file() or self.is_dir()

    def is_file(self) -> bool:
        return self._kind() == "file"

    def is_dir(self) -> bool:
        return self._kind() == "directory"

    def resolve(self, strict: bool = False) -> Self:
        return self

    def _kind(self) -> str | None:
        with errors_of_the_system(self):
            files, path = filesystem(self)
            with contextlib.suppress(FileNotFoundError):
                return str(files.info(path)["type"])
        return None


def place(path: str | os.PathLike[str]) -> Path:
    """Return the path of a file or folder, which may be an address.

    Parameters
    ----------
    path : path-like
        Path of a local file or folder, or an address that fsspec knows, such as ``s3://bucket/folder``.

    Returns
    -------
    Path
        A :class:`RemotePath` for an address; ``file:///folder`` is the local path ``/folder``. A local folder with
        a name such as ``s3:`` counts as an address unless it is given by its absolute path.

    Raises
    ------
    ValueError
        When the text is an address that a path would change, such as ``s3://bucket/a//b``.
    """
    if isinstance(path, RemotePath):
        return path
    text, path = path, Path(path)
    if not is_address(path):
        return path
    if path.parts[0] == "file:":
        return Path("/", *path.parts[1:])
    remote = RemotePath(path)
    if isinstance(text, str) and "://" in text and text.rstrip("/") not in (str(remote), str(remote).rstrip("/")):
        raise ValueError(f"{text} has an empty part or one that is a dot, and would name another file; rename it")
    return remote


def filesystem(path: RemotePath) -> tuple[Any, str]:
    """Return the file system of an address, and the address without its scheme.

    Parameters
    ----------
    path : RemotePath
        The address.

    Returns
    -------
    files : fsspec.AbstractFileSystem
        It does not remember what it listed before.
    path : str
        The path as the file system writes it, without the scheme.

    Raises
    ------
    ImportError
        When fsspec or the package for this scheme is not installed; the message names the extra.
    ValueError
        When fsspec does not know the scheme.
    """
    try:
        from fsspec import get_filesystem_class

        # Not url_to_fs(), which takes the "::" in a name for a chain of addresses.
        kind = get_filesystem_class(path.parts[0].removesuffix(":"))
        files = kind(**kind._get_kwargs_from_urls(str(path)), use_listings_cache=False)
    except ImportError as error:
        raise ImportError(
            f"{path} needs a package that is not installed ({' '.join(str(error).split())}); for s3:// it is the extra "
            "'s3': pip install 'hourglass-lab[s3]'"
        ) from error
    except ValueError as error:
        raise ValueError(f"{path} is no address of a file system that fsspec knows ({error})") from error
    return files, str(files._strip_protocol(str(path)))


def list_files(folder: RemotePath) -> list[RemotePath]:
    """List the files of a remote folder and of all its subfolders, by one request of the file system.

    Parameters
    ----------
    folder : RemotePath
        A folder; one that does not exist has no files.

    Returns
    -------
    list of RemotePath
        The files, in no particular order.

    Raises
    ------
    OSError
        When the file system cannot be reached or refuses.
    ImportError
        As :func:`filesystem` does.
    ValueError
        When the name of a file is none that a path can have, such as ``a//b.png``.
    """
    with errors_of_the_system(folder):
        files, path = filesystem(folder)
        try:
            names = files.find(path)
        except FileNotFoundError:
            return []
    root = path.rstrip("/")
    found = []
    for name in names:
        if not name.startswith(f"{root}/") or name.endswith("/"):  # what stands for a folder
            continue
        inside = name[len(root) + 1 :]
        if "/".join(PurePosixPath(inside).parts) != inside:
            raise ValueError(
                f"{folder}/{inside} cannot be read, as its name has an empty part or one that is a dot; rename it"
            )
        found.append(folder / inside)
    return found


def existing(paths: Iterable[Path]) -> set[Path]:
    """Return those of some paths that exist.

    Parameters
    ----------
    paths : iterable of Path
        Files. Of remote ones, the folder that holds all of them is listed once.

    Returns
    -------
    set of Path

    Raises
    ------
    OSError
        When a remote folder cannot be listed.
    """
    found: set[Path] = set()
    remote: defaultdict[tuple[str, ...], set[RemotePath]] = defaultdict(set)
    for path in paths:
        if isinstance(path, RemotePath):
            remote[path.parts[:2]].add(path)
        elif path.exists():
            found.add(path)
    for wanted in remote.values():
        common = os.path.commonpath([path.parent for path in wanted])
        found |= wanted.intersection(list_files(RemotePath(common)))
    return found


@contextmanager
def fetched(path: Path, folder: Path | None = None) -> Iterator[Path]:
    """Context with a local file of the same content as a file.

    Parameters
    ----------
    path : Path
        The file. A remote one is copied into a temporary folder for the duration of the context.
    folder : Path, optional
        Folder to which a relative local path belongs; by default the working folder.

    Yields
    ------
    Path
        The local file. Errors of type OSError and ValueError in the context name ``path`` in its place.

    Raises
    ------
    OSError
        When the file cannot be fetched.
    """
    if not isinstance(path, RemotePath):
        with below(folder, path) as local:
            yield local
        return
    with tempfile.TemporaryDirectory(prefix="hourglass-") as temporary:
        local = Path(temporary, path.name)
        with errors_of_the_system(path):
            files, inside = filesystem(path)
            files.get_file(inside, str(local))
        with naming(path, local):
            yield local


@contextmanager
def below(folder: Path | None, path: Path) -> Iterator[Path]:
    """Context with a local path that does not depend on the working folder, and errors that name it as it was given.

    Parameters
    ----------
    folder : Path or None
        Folder to which a relative path belongs; None for the working folder.
    path : Path
        Local path.

    Yields
    ------
    Path
    """
    if folder is None or path.is_absolute():
        yield path
        return
    with naming(path, folder / path):
        yield folder / path


def size_of(path: Path) -> int | None:
    """Return the size of a remote file in bytes.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    int or None
        None for a local file, and where the file system does not say.

    Raises
    ------
    OSError
        When the file does not exist, or the file system cannot be reached.
    """
    if not isinstance(path, RemotePath):
        return None
    with errors_of_the_system(path):
        files, inside = filesystem(path)
        size = files.info(inside).get("size")
    return None if size is None else int(size)


@contextmanager
def errors_of_the_system(path: RemotePath) -> Iterator[None]:
    """Turn the errors of clients of object stores, which are of all kinds, into OSError with the address.

    Parameters
    ----------
    path : RemotePath
        The address.

    Raises
    ------
    OSError
        In the place of other errors than ImportError and ValueError.
    """
    try:
        yield
    except (ImportError, ValueError):
        raise
    except OSError as error:
        if str(path) in str(error):
            raise
        kind = type(error) if isinstance(error, FileNotFoundError | PermissionError) else OSError
        raise kind(f"{path}: {error}") from error
    except Exception as error:
        raise OSError(f"{path}: {type(error).__name__}: {error}") from error
