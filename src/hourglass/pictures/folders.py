"""A folder in, a folder out: one picture at a time, nothing half-written, nothing lost."""

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hourglass.pictures.files import SUFFIXES, read_picture, write_picture
from hourglass.pictures.tiling import Pixels
from hourglass.training.hardware import give_memory_back, trim_memory

# What one file may raise without ending the run: the others are still worth doing.
FILE_ERRORS = (OSError, ValueError, MemoryError)


@dataclass(frozen=True)
class Outcome:
    """What became of one file.

    Attributes
    ----------
    source : Path
    error : Exception or None
        Why there is no output.
    skipped : bool
        Whether the output was there already.
    """

    source: Path
    error: Exception | None = None
    skipped: bool = False


def find_pictures(source: str | os.PathLike[str], *, beside: Path | None = None) -> list[Path]:
    """Image files of a folder and its subfolders, in order of name; or the one file that is named.

    Links to folders are not followed, which a warning says, and what lies in ``beside`` is left out.

    Raises
    ------
    FileNotFoundError
        When there is no such folder, or no image file in it.
    """
    source = Path(source)
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise FileNotFoundError(f"{source} is neither a folder nor a file")
    found: list[Path] = []

    def unreadable(error: OSError) -> None:
        found.append(Path(error.filename))

    # A folder that cannot be read stands for what it holds: it fails in its turn, by name.
    for folder, folders, names in os.walk(source, onerror=unreadable):
        if beside is not None and Path(folder).resolve().is_relative_to(beside.resolve()):
            continue
        for link in (Path(folder) / name for name in folders):
            if link.is_symlink():
                warnings.warn(f"{link} is a link to a folder and is left out", stacklevel=2)
        found += [Path(folder) / name for name in names if Path(name).suffix.lower() in SUFFIXES]
    if not found:
        raise FileNotFoundError(f"{source} holds no image files ({', '.join(SUFFIXES)})")
    return sorted(found)


def plan(
    source: str | os.PathLike[str], target: str | os.PathLike[str], *, overwrite: bool = False, resume: bool = False
) -> list[tuple[Path, Path]]:
    """Pairs of input and output, under the same relative name; nothing is written.

    Of a single input the output may be a file of the same kind too.

    Raises
    ------
    FileNotFoundError
        When there is no input.
    FileExistsError
        When an output exists and neither ``overwrite`` nor ``resume`` says what to do with it, or would be its
        own input.
    """
    source, target = Path(source), Path(target)
    if source.is_file() and target.suffix and target.suffix.lower() == source.suffix.lower() and not target.is_dir():
        if target.exists() and (not overwrite or target.samefile(source)):
            raise FileExistsError(f"{target} exists already; name another file for the output, or --overwrite it")
        return [(source, target)]
    if target.exists() and not target.is_dir():
        raise FileExistsError(f"{target} is a file; name a folder for the output")
    if target.suffix.lower() in SUFFIXES and not target.is_dir():
        raise FileExistsError(
            f"{target} is the name of a file; name a folder for the output, which keeps names and kinds"
        )
    root = source.parent if source.is_file() else source
    if target.resolve() == root.resolve():
        raise FileExistsError(f"{target} holds the inputs themselves; name another folder for the output")
    inside = target if target.resolve().is_relative_to(root.resolve()) else None
    pairs = [(path, target / path.relative_to(root)) for path in find_pictures(source, beside=inside)]
    there = [output for _, output in pairs if output.exists()]
    if there and not overwrite and not resume:
        raise FileExistsError(
            f"{len(there)} of {len(pairs)} outputs exist already ({there[0]}, …); "
            "--overwrite replaces them, --resume keeps them and does the others"
        )
    return pairs


def process(
    pairs: Sequence[tuple[Path, Path]], apply: Callable[[Pixels], Pixels], *, resume: bool = False
) -> Iterator[Outcome]:
    """Read, apply and write each pair, one picture in memory at a time.

    Parameters
    ----------
    pairs : sequence of (input, output)
        As :func:`plan` makes them.
    apply : callable
        Of pixels ``(h, w, c)``, c being 1 or 3, to pixels of the same shape.
    resume : bool, default=False
        Leave out those whose output exists.

    Yields
    ------
    Outcome
        For each pair, in order. A file that cannot be read or written does not end the run.
    """
    give_memory_back()
    for source, target in pairs:
        if resume and target.exists():
            yield Outcome(source, skipped=True)
            continue
        outcome = _process_one(source, target, apply)
        trim_memory()
        yield outcome


def _process_one(source: Path, target: Path, apply: Callable[[Pixels], Pixels]) -> Outcome:
    try:
        picture = read_picture(source)
        restored = apply(picture.pixels)
        target.parent.mkdir(parents=True, exist_ok=True)
        write_picture(target, picture, restored)
    except FILE_ERRORS as error:
        return Outcome(source, error=error)
    return Outcome(source)
