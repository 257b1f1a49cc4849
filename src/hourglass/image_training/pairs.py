"""Pairs of images: which file of one folder belongs to which of another."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from hourglass.atomic import check_local
from hourglass.errors import OptionError
from hourglass.imagefiles import Outcome, find_images


def find_targets(
    paths: Sequence[Path],
    folder: str | os.PathLike[str],
    targets: str | os.PathLike[str],
    on_outcome: Callable[[Outcome], None] | None = None,
    *,
    hidden: bool = False,
) -> dict[Path, Path]:
    """Find the target of each image: the file of the same relative path, apart from the suffix.

    Parameters
    ----------
    paths : sequence of Path
        Image files in ``folder``.
    folder : path-like
        Folder of the images, or the only image.
    targets : path-like
        Folder of the targets, or the only target.
    on_outcome : callable, optional
        Function that is called with the :class:`hourglass.imagefiles.Outcome` of each image and each target without a
        partner, which are then left out. By default the error of the first one is raised.
    hidden : bool, default=False
        Whether files whose names begin with a dot are used as targets, too. See
        :func:`hourglass.imagefiles.find_images`.

    Returns
    -------
    dict of Path to Path
        Target of each image that has one.

    Raises
    ------
    FileNotFoundError
        When ``targets`` does not exist, or a file has no partner and there is no ``on_outcome``.
    OptionError
        When no image has a target, or two files of one folder differ in their suffixes alone.
    AddressError
        When ``targets`` is an address; a ValueError.
    """
    check_local(targets, "the folder of targets (--targets)")
    roots = [Path(folder), Path(targets)]
    if roots[0].is_file() and roots[1].is_file():
        return {roots[0]: roots[1]}
    named = [_by_name(paths, roots[0]), _by_name(find_images(targets, hidden=hidden).paths, roots[1])]
    pairs = {path: named[1][name] for name, path in named[0].items() if name in named[1]}
    if not pairs:
        raise OptionError(
            f"no image in {roots[1]} has the relative path of one in {roots[0]}; give both folders the same names"
        )
    for own, other, root in ((named[0], named[1], roots[1]), (named[1], named[0], roots[0])):
        for name, path in own.items():
            if name in other:
                continue
            error = FileNotFoundError(f"{path} is left out, as {root} has no image {name}")
            if on_outcome is None:
                raise error
            on_outcome(Outcome(path, error=error))
    return pairs


def _by_name(paths: Sequence[Path], root: Path) -> dict[str, Path]:
    """Files by their path relative to a folder, without the suffix."""
    named: dict[str, Path] = {}
    for path in paths:
        name = path.relative_to(root).with_suffix("").as_posix() if root.is_dir() else path.stem
        if name in named:
            raise OptionError(f"{path} and {named[name]} differ in their suffixes alone; rename or remove one of them")
        named[name] = path
    return named
