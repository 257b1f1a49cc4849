"""Tensors and metadata to a folder and back: safetensors and JSON, never pickle."""

import hashlib
import json
import os
import stat
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor

FORMAT = 1
# Begins the names of files that are not yet whole.
PARTIAL = ".part-"
# Of a document; real ones have some thousand bytes.
LARGEST_METADATA = 16 << 20
LARGEST_TENSORS = 16 << 30
LOCK = ".lock"
TENSORS, METADATA, OPTIMISER = "model.safetensors", "model.json", "optimiser.safetensors"


def write_model(
    folder: str | os.PathLike[str],
    tensors: Mapping[str, Tensor],
    metadata: Mapping[str, Any],
    *,
    optimiser: Mapping[str, Tensor] | None = None,
) -> None:
    """Write ``model.safetensors`` and ``model.json`` into a folder, which is made where there is none.

    Each file appears whole or not at all; ``model.json`` comes last and names the others' checksums.

    Parameters
    ----------
    folder : path-like
    tensors : mapping of str to torch.Tensor
    metadata : mapping
        Anything that JSON can hold.
    optimiser : mapping of str to torch.Tensor, optional
        State of the optimiser, for ``optimiser.safetensors``; without it a file of that name is removed.

    Raises
    ------
    OSError
        When the folder cannot be written.
    TypeError
        When the metadata do not fit into JSON.
    """
    folder = Path(folder)
    stored, checksum = pack_tensors(tensors)
    document = {"format": FORMAT, "sha256": checksum, **metadata}
    state: bytes | None = None
    if optimiser is not None:
        state, document["optimiser_sha256"] = pack_tensors(optimiser)
    text = json.dumps(document, indent=2, allow_nan=False) + "\n"
    folder.mkdir(parents=True, exist_ok=True)
    contents = {folder / TENSORS: stored} | ({} if state is None else {folder / OPTIMISER: state})
    write_together(contents | {folder / METADATA: text.encode()}, durable=True)
    if state is None:  # that of another model, which was here before
        (folder / OPTIMISER).unlink(missing_ok=True)


def read_model(
    folder: str | os.PathLike[str],
) -> tuple[dict[str, Tensor], dict[str, Any], dict[str, Tensor] | None]:
    """Read what :func:`write_model` wrote: tensors, metadata and, where it is there, the optimiser's state.

    Warns
    -----
    UserWarning
        When the optimiser's state is damaged; it is left out.

    Raises
    ------
    FileNotFoundError
        When one of the files is missing.
    ValueError
        When they are damaged, do not belong together, or are of a later format.
    """
    folder = Path(folder)
    for name in (METADATA, TENSORS):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{folder} holds no {name}; name a folder that a run or save() wrote")
    if (folder / METADATA).stat().st_size > LARGEST_METADATA:
        raise ValueError(f"{folder / METADATA} has more than {LARGEST_METADATA:,} bytes; it is not a model's")
    try:
        metadata = json.loads((folder / METADATA).read_text(encoding="utf-8"))
        version = metadata["format"]
        checksum = metadata["sha256"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(
            f"{folder / METADATA} is damaged or not a model's ({error!r}); save the model again"
        ) from error
    if version != FORMAT:
        raise ValueError(
            f"{folder / METADATA} has format {version}, this version reads format {FORMAT}; upgrade hourglass-lab"
        )
    tensors = read_tensors(folder / TENSORS, checksum)
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise ValueError(f"{folder / TENSORS} has NaN or infinity in {name}; its training diverged, train it again")
    return tensors, metadata, _read_optimiser(folder / OPTIMISER, metadata.get("optimiser_sha256"))


def _read_optimiser(path: Path, checksum: Any) -> dict[str, Tensor] | None:
    """State of the optimiser; None where the model came without it."""
    if checksum is None or not path.exists():
        return None
    try:
        return read_tensors(path, str(checksum))
    except (OSError, ValueError) as error:
        warnings.warn(f"{error}; the model is whole, and training on will warm up", stacklevel=4)
        return None


def pack_tensors(tensors: Mapping[str, Tensor]) -> tuple[bytes, str]:
    """Tensors as a safetensors file holds them, and the checksum of that."""
    from safetensors.torch import save

    stored: bytes = save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})
    return stored, hashlib.sha256(stored).hexdigest()


def read_tensors(path: Path, checksum: str) -> dict[str, Tensor]:
    """Read what :func:`pack_tensors` made, from a file.

    Raises
    ------
    OSError
        When it cannot be read.
    ValueError
        When its checksum is another, it is too large, or no such file.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    if not path.is_file() or path.stat().st_size > LARGEST_TENSORS:
        raise ValueError(f"{path} is no file of up to {LARGEST_TENSORS >> 30} GiB")
    stored = path.read_bytes()
    if hashlib.sha256(stored).hexdigest() != checksum:
        raise ValueError(f"{path} is damaged or another model's: its checksum is not the one that was written down")
    try:
        tensors: dict[str, Tensor] = load(stored)
    except (SafetensorError, KeyError, OverflowError) as error:
        raise ValueError(f"{path} is not a safetensors file ({error})") from error
    return tensors


def differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    """What differs between two records, in words; empty where nothing does."""

    def shown(record: Mapping[str, Any], name: str) -> str:
        return repr(record[name]) if name in record else "absent"

    return "; ".join(
        f"{name} is {shown(there, name)} there, {shown(here, name)} here"
        for name in {**there, **here}
        if shown(there, name) != shown(here, name)
    )


@contextmanager
def locked(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Keep a folder, which is made, for this process; the system lets go of it when the process ends, however it does.

    Raises
    ------
    BlockingIOError
        When another process has it.
    OSError
        When the folder cannot be written.
    """
    from filelock import FileLock, Timeout

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


def check_writable(folder: str | os.PathLike[str]) -> None:
    """Raise OSError, before any work is done, unless a folder is there or can be made, and can be written into."""
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


def write_whole(path: Path, content: bytes, *, durable: bool = False) -> None:
    """Write a file that appears whole or not at all, and leave none behind on failure.

    Parameters
    ----------
    path : Path
        Its folder exists.
    content : bytes
    durable : bool, default=False
        Wait until the disk has it, so that the file outlives a power failure too.
    """
    write_together({path: content}, durable=durable)


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A new file that takes the place of ``path`` when the block ends, and is removed when the block raises.

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
    """Wait until the disk has a folder's list of names, and with ``files`` what is in its files."""
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
