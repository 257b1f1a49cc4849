"""The image files of folders, and where the output of each goes."""

import os
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hourglass.atomic import check_writable
from hourglass.imagefiles.formats import FORMATS, suffixes

# Ends the name of the file that says to which images the codes in an .npy file belong.
NAMES_SUFFIX = ".names.json"
# What systems put beside images: previews, and the properties of files and folders.
_COMPANION_FOLDERS = {"@eadir", "__macosx", "lost+found"}
_COMPANIONS = {"thumbs.db", "desktop.ini", "ehthumbs.db"}


@dataclass
class Found:
    """Image files, and what else was there.

    Attributes
    ----------
    paths : list of Path
        In order of name.
    left_out : Counter
        How many files were left out since their kind is not read, by suffix.
    """

    paths: list[Path] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)

    def __len__(self) -> int:
        return len(self.paths)


def find_images(source: str | os.PathLike[str], *, beside: Path | None = None, hidden: bool = False) -> Found:
    """Image files of a folder and its subfolders, or the one file that is named.

    Links to folders are not followed, which a warning says, and what lies in ``beside`` is left out.

    Parameters
    ----------
    source : path-like
    beside : Path, optional
        A folder that is not looked into, such as that of the outputs.
    hidden : bool, default=False
        Whether files and folders are taken too that systems keep beside images: those whose name begins with a dot,
        ``@eaDir``, ``__MACOSX``.

    Raises
    ------
    FileNotFoundError
        When there is no such file or folder, or no image file in it.
    """
    source = Path(source)
    if source.is_file():
        return Found([source])
    if not source.exists():
        raise FileNotFoundError(f"{source} is neither a folder nor a file")
    if not source.is_dir():
        return Found([source])  # a pipe or a device, which is refused by name
    found, known = Found(), suffixes()

    def unreadable(error: OSError) -> None:
        found.paths.append(Path(error.filename))

    # A folder that cannot be read stands for what it holds: it fails in its turn, by name.
    for folder, folders, names in os.walk(source, onerror=unreadable):
        if beside is not None and Path(folder).resolve().is_relative_to(beside.resolve()):
            folders.clear()
            continue
        if not hidden:
            folders[:] = [name for name in folders if not _is_companion(name)]
            names = [name for name in names if not _is_companion(name)]
        for link in (Path(folder) / name for name in folders):
            if link.is_symlink():
                warnings.warn(f"{link} is a link to a folder and is left out", stacklevel=2)
        for name in names:
            path = Path(folder) / name
            suffix = path.suffix.lower()
            codes = suffix == ".npy" and path.with_suffix(NAMES_SUFFIX).exists()  # of `hourglass encode`
            if suffix in known and not codes:
                found.paths.append(path)
            else:
                found.left_out[suffix or "without a suffix"] += 1
    if not found.paths:
        there = f"; there are {in_words(found.left_out)}" if found.left_out else ""
        raise FileNotFoundError(f"{source} holds no image files ({', '.join(known)}){there}")
    found.paths.sort()
    return found


def in_words(left_out: Counter[str]) -> str:
    """How many files of which kinds: ``2 .heic, 1 .dcm``."""
    return ", ".join(f"{count} {suffix}" for suffix, count in left_out.most_common())


def _is_companion(name: str) -> bool:
    return name.startswith(".") or name.lower() in _COMPANIONS | _COMPANION_FOLDERS


@dataclass(frozen=True)
class Plan:
    """Inputs and outputs of a run.

    Attributes
    ----------
    pairs : list of (input, output)
    left_out : Counter
        As in :class:`Found`.
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
) -> Plan:
    """Inputs and outputs, under the same relative names; nothing is written.

    Parameters
    ----------
    sources : sequence of path-like
        Files and folders. The files of a folder keep their places in it; of several sources each folder keeps
        its name too.
    target : path-like or None
        A folder; of a single file also a file of the same kind. None puts each output in the place of its input.
    overwrite : bool, default=False
        Whether outputs that exist are replaced; inputs never are.
    resume : bool, default=False
        Whether outputs that exist are left as they are.
    named : bool, default=False
        Whether ``target`` was named as the output. Otherwise it may be a second input, as the shell makes one of
        ``*.png``, and a file that exists is not replaced.
    hidden : bool, default=False
        As in :func:`find_images`.

    Raises
    ------
    FileNotFoundError
        When there is no input.
    FileExistsError
        When an output exists and neither ``overwrite`` nor ``resume`` says what to do with it, or is an input.
    ValueError
        When two inputs would have one output.
    OSError
        When the outputs cannot be written.
    """
    inputs = [Path(source) for source in sources]
    if target is None:
        found = [find_images(each, hidden=hidden) for each in inputs]
        # What a link leads to is replaced, and not the link; what is named twice is done once.
        real = dict.fromkeys(Path(os.path.realpath(path)) for each in found for path in each.paths)
        pairs = [(path, path) for path in real]
    else:
        target = Path(target)
        if _is_file_for(inputs, target):
            if target.exists() and not named:
                raise FileExistsError(
                    f"{target} exists, and may be an input; give a folder for the outputs, or name the output "
                    f"with --out {target} --overwrite"
                )
            found, pairs = [Found([inputs[0]])], [(inputs[0], target)]
        else:
            _check_folder(target)
            found = [find_images(each, beside=_inside(target, each), hidden=hidden) for each in inputs]
            pairs = [
                (path, target / _relative(path, each, several=len(inputs) > 1))
                for each, files in zip(inputs, found, strict=True)
                for path in files.paths
            ]
        _check_outputs(pairs, overwrite=overwrite, resume=resume)
    for folder in {output.parent for _, output in pairs}:
        check_writable(folder)
    return Plan(pairs, sum((each.left_out for each in found), Counter[str]()))


def _is_file_for(inputs: Sequence[Path], target: Path) -> bool:
    """Whether the target is the name of a file of the same kind as the only input."""
    one = len(inputs) == 1 and inputs[0].is_file() and not target.is_dir()
    return one and bool(target.suffix) and _kind(target) == _kind(inputs[0])


def _kind(path: Path) -> str:
    """Format that the suffix of a name stands for, or the suffix itself."""
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
    """The folder of the outputs where it lies in that of the inputs, and is not that folder itself."""
    inside = target.resolve().is_relative_to(source.resolve()) and target.resolve() != source.resolve()
    return target if inside else None


def _relative(path: Path, source: Path, *, several: bool) -> Path:
    if source.is_dir():
        place = path.relative_to(source)
        return Path(source.resolve().name) / place if several else place
    return Path(path.name)


def _check_outputs(pairs: Sequence[tuple[Path, Path]], *, overwrite: bool, resume: bool) -> None:
    twice = [output for output, count in Counter(output for _, output in pairs).items() if count > 1]
    if twice:
        raise ValueError(f"two inputs would become {twice[0]}; give them in runs of their own")
    # pathlib's resolve() raises where a link leads to itself.
    inputs = {os.path.realpath(path) for path, _ in pairs}
    for _, output in pairs:
        if os.path.realpath(output) in inputs:
            raise FileExistsError(
                f"{output} is an input; name another folder for the outputs, or give --in-place to replace the inputs"
            )
    there = [output for _, output in pairs if output.exists()]
    if there and not overwrite and not resume:
        raise FileExistsError(
            f"{len(there)} of {len(pairs)} outputs exist already ({there[0]}, …); "
            "--overwrite replaces them, --resume keeps them and does the others"
        )
