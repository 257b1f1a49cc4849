"""Image files of folders, and the path of each output."""

import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hourglass.imagefiles.delivery import check_deliverable
from hourglass.imagefiles.formats import FORMATS, suffixes
from hourglass.imagefiles.remote import RemotePath, existing, list_files, place
from hourglass.imagefiles.shards import WHOLE, Shard

# Ending of the file next to an .npy file of codes that lists the images to which the codes belong.
NAMES_SUFFIX = ".names.json"
# Names, in lower case, of what operating systems store beside images: previews, and properties of files and folders.
_COMPANION_FOLDERS = {"@eadir", "__macosx", "lost+found"}
_COMPANIONS = {"thumbs.db", "desktop.ini", "ehthumbs.db"}


@dataclass
class Found:
    """Image files that were found, and a count of the other files.

    Parameters
    ----------
    paths : list of Path, optional
        The image files, sorted by path; by default an empty list.
    left_out : collections.Counter of str, optional
        Number of files that were left out because their format is not supported, by suffix such as ``.txt``; by
        default empty.
    """

    paths: list[Path] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)

    def __len__(self) -> int:
        return len(self.paths)


def find_images(source: str | os.PathLike[str], *, beside: Path | None = None, hidden: bool = False) -> Found:
    """Find the image files of a folder and its subfolders.

    Links to folders are not followed; a warning names each of them. A subfolder that cannot be read is listed among
    the files, so that it is reported by name when it is processed.

    Parameters
    ----------
    source : path-like
        A folder, or one file; a file is taken with any suffix. It may be an address such as
        ``s3://bucket/folder``; see :func:`hourglass.imagefiles.remote.place`.
    beside : Path, optional
        Folder that is left out with all its subfolders, for example the folder of the outputs. By default none is.
    hidden : bool, default=False
        Whether hidden files and folders are included: those whose name begins with a dot, and those that operating
        systems store beside images, such as ``@eaDir``, ``__MACOSX`` and ``Thumbs.db``.

    Returns
    -------
    Found
        The image files, sorted by path, and how many other files there were.

    Raises
    ------
    FileNotFoundError
        When ``source`` does not exist, or is a folder without image files.
    """
    source = place(source)
    if source.is_file():
        return Found([source])
    if not source.exists():
        raise FileNotFoundError(f"{source} is neither a folder nor a file")
    if not source.is_dir():
        return Found([source])  # a pipe or a device, which is reported by name when it is opened
    found = Found()
    if isinstance(source, RemotePath):
        _walk_remote(found, source, beside, hidden)
    else:
        _walk(found, source, beside, hidden)
    if not found.paths:
        there = f"; there are {in_words(found.left_out)}" if found.left_out else ""
        raise FileNotFoundError(f"{source} holds no image files ({', '.join(suffixes())}){there}")
    found.paths.sort()
    return found


def _walk(found: Found, source: Path, beside: Path | None, hidden: bool) -> None:
    """Find the image files of a local folder."""

    def unreadable(error: OSError) -> None:
        found.paths.append(Path(error.filename))

    # A folder that cannot be read takes the place of its files, and is reported by name when it is opened.
    for folder, folders, names in os.walk(source, onerror=unreadable):
        if beside is not None and Path(folder).resolve().is_relative_to(beside.resolve()):
            folders.clear()
            continue
        if not hidden:
            folders[:] = [name for name in folders if not _is_companion(name)]
            names = [name for name in names if not _is_companion(name)]
        for link in (Path(folder) / name for name in folders):
            if link.is_symlink():
                warnings.warn(f"{link} is a link to a folder and is left out", stacklevel=3)
        _sort_out(found, [Path(folder) / name for name in names], Path.exists)


def _walk_remote(found: Found, source: RemotePath, beside: Path | None, hidden: bool) -> None:
    """Find the image files of a remote folder, by one listing."""
    names = set(list_files(source))
    taken = [
        path
        for path in names
        if (beside is None or not path.is_relative_to(beside))
        and (hidden or not any(map(_is_companion, path.relative_to(source).parts)))
    ]
    _sort_out(found, taken, names.__contains__)


def _sort_out(found: Found, paths: Iterable[Path], exists: Callable[[Path], bool]) -> None:
    """Take the files of known formats, and count the others."""
    known = suffixes()
    for path in paths:
        suffix = path.suffix.lower()
        codes = suffix == ".npy" and exists(path.with_suffix(NAMES_SUFFIX))  # written by `hourglass encode`
        if suffix in known and not codes:
            found.paths.append(path)
        else:
            found.left_out[suffix or "without a suffix"] += 1


def in_words(left_out: Counter[str]) -> str:
    """Describe how many files of which suffix were left out.

    Parameters
    ----------
    left_out : collections.Counter of str
        Number of files by suffix.

    Returns
    -------
    str
        Text such as ``2 .heic, 1 .dcm``, the most frequent first.
    """
    return ", ".join(f"{count} {suffix}" for suffix, count in left_out.most_common())


def _is_companion(name: str) -> bool:
    return name.startswith(".") or name.lower() in _COMPANIONS | _COMPANION_FOLDERS


@dataclass(frozen=True)
class Plan:
    """Inputs and outputs of a run.

    Parameters
    ----------
    pairs : list of tuple of (Path, Path)
        Input and output of each file, in the order in which they are processed.
    left_out : collections.Counter of str
        Number of files that were left out because their format is not supported, by suffix such as ``.txt``.
    """

    pairs: list[tuple[Path, Path]]
    left_out: Counter[str]

    def __len__(self) -> int:
        return len(self.pairs)


def plan(
    sources: Sequence[str | os.PathLike[str]],
    target: str | os.PathLike[str] | None,
    *,
    overwrite: bool = False,
    resume: bool = False,
    named: bool = False,
    hidden: bool = False,
    shard: Shard = WHOLE,
) -> Plan:
    """Plan the inputs and outputs of a run; no file is written.

    Parameters
    ----------
    sources : sequence of path-like
        Files and folders of inputs. The files of a folder have the same relative path below ``target``; with several
        sources, this path begins with the name of the folder.
    target : path-like or None
        Folder of the outputs. With one input file, it may also be a file name of the same format. None means that
        each output replaces its input.
    overwrite : bool, default=False
        Whether existing outputs are replaced. An input is never replaced unless ``target`` is None.
    resume : bool, default=False
        Whether existing outputs are kept, and only the others are made.
    named : bool, default=False
        Whether the user named ``target`` as the output, with ``--out``. If not, an existing file is never replaced:
        it may be an input, since the shell expands ``*.png`` to all files.
    hidden : bool, default=False
        Whether hidden files and folders are included; see :func:`find_images`.
    shard : Shard, optional
        Part of the files that this run processes; by default all. Whether two inputs have one output, and whether an
        output is an input, is checked for all files.

    Returns
    -------
    Plan
        Input and output of each file of the shard, and how many files were left out.

    Raises
    ------
    FileNotFoundError
        When a source does not exist, or is a folder without image files.
    FileExistsError
        When an output exists and neither ``overwrite`` nor ``resume`` is given, when an output is an input, or when
        ``target`` is a file but has to be a folder.
    ValueError
        When two inputs would have the same output.
    OSError
        When the outputs cannot be written.
    """
    inputs = [place(source) for source in sources]
    if target is None:
        found = [find_images(each, hidden=hidden) for each in inputs]
        # The target of a link is replaced, not the link itself. A file that is named twice is processed once.
        real = dict.fromkeys(_real(path) for each in found for path in each.paths)
        pairs = [(path, path) for path in real]
        mine = shard.of(pairs)
    else:
        target = place(target)
        if _is_file_for(inputs, target):
            if target.exists() and not named:
                raise FileExistsError(
                    f"{target} exists, and may be an input; give a folder for the outputs, or name the output "
                    f"with overwriting allowed (--out {target} --overwrite)"
                )
            found, pairs = [Found([inputs[0]])], [(inputs[0], target)]
        else:
            _check_folder(target)
            found = [find_images(each, beside=_inside(target, each), hidden=hidden) for each in inputs]
            several = len(inputs) > 1
            pairs = [
                (path, target / inside)
                for each, files in zip(inputs, found, strict=True)
                for path, inside in zip(files.paths, _relative(files.paths, each, several=several), strict=True)
            ]
        _check_conflicts(pairs)
        mine = shard.of(pairs)
        if not overwrite and not resume:
            _check_free([output for _, output in mine])
    # The folders of a bucket are not made, and need no check of their own.
    folders = {RemotePath(*path.parts[:2]) if isinstance(path, RemotePath) else path.parent for _, path in mine}
    for folder in folders:
        check_deliverable(folder)
    return Plan(list(mine), sum((each.left_out for each in found), Counter[str]()))


def _is_file_for(inputs: Sequence[Path], target: Path) -> bool:
    """Whether the target is a file name with the format of the only input."""
    one = len(inputs) == 1 and inputs[0].is_file() and not target.is_dir()
    return one and bool(target.suffix) and _kind(target) == _kind(inputs[0])


def _kind(path: Path) -> str:
    """Name of the format to which the suffix belongs, or the suffix itself."""
    suffix = path.suffix.lower()
    return next((each.name for each in FORMATS if suffix in each.suffixes), suffix)


def _check_folder(target: Path) -> None:
    if target.exists() and not target.is_dir():
        raise FileExistsError(f"{target} is a file; name a folder for the output")
    if target.suffix.lower() in suffixes() and not target.is_dir():
        raise FileExistsError(
            f"{target} is the name of a file; name a folder for the output, which keeps names and kinds"
        )


def _inside(target: Path, source: Path) -> Path | None:
    """The folder of the outputs if it is a subfolder of the inputs' folder, else None."""
    inside = target.resolve().is_relative_to(source.resolve()) and target.resolve() != source.resolve()
    return target if inside else None


def _relative(paths: Sequence[Path], source: Path, *, several: bool) -> list[str]:
    """Where the output of each file lies in the folder of the outputs."""
    if not source.is_dir():
        return [path.name for path in paths]
    above = [source.resolve().name] if several else []
    return [str(Path(*above, *path.relative_to(source).parts)) for path in paths]


def _real(path: Path) -> Path:
    """The file itself where the path is that of a link; pathlib's resolve() raises where a link leads to itself."""
    return path if isinstance(path, RemotePath) else Path(os.path.realpath(path))


def _check_conflicts(pairs: Sequence[tuple[Path, Path]]) -> None:
    twice = [output for output, count in Counter(output for _, output in pairs).items() if count > 1]
    if twice:
        raise ValueError(f"two inputs would become {twice[0]}; give them in runs of their own")
    inputs = {_real(path) for path, _ in pairs}
    for _, output in pairs:
        if _real(output) in inputs:
            raise FileExistsError(
                f"{output} is an input; name another folder for the outputs, or replace the inputs (--in-place)"
            )


def _check_free(outputs: Sequence[Path]) -> None:
    if there := existing(outputs):
        raise FileExistsError(
            f"{len(there)} of {len(outputs)} outputs exist already ({min(there)}, …); "
            "overwrite (--overwrite) replaces them, resume (--resume) keeps them and does the others"
        )
