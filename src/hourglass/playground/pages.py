"""The files of the page."""

import os
from collections.abc import Mapping
from pathlib import Path

from hourglass.atomic import check_free, check_writable, write_together

STATIC = Path(__file__).parent / "static"
"""Folder in the package that has the page's files."""


INSPECTION = "data/inspect.json"
"""File of a page that shows images of one's own, which the others of that page belong to."""
# What marks a page that has the tab on images of one's own.
_PLAIN, _WITH_INSPECTION = '<html lang="en">', '<html lang="en" data-inspect>'


def check_page(folder: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Check, before any work is done, that a page can be written.

    Parameters
    ----------
    folder : path-like
        Folder for the files, which need not exist.
    overwrite : bool, default=False
        Whether files that exist already may be replaced.

    Raises
    ------
    FileExistsError
        When the folder has a page and ``overwrite`` is not set.
    OSError
        When the folder cannot be written.
    """
    check_writable(folder)
    check_free(Path(folder) / "index.html", overwrite=overwrite)


def write_page(
    folder: str | os.PathLike[str], *, inspected: Mapping[str, bytes] | None = None, overwrite: bool = False
) -> list[Path]:
    """Write the page into a folder, which any web host can show: it needs no server of its own.

    Parameters
    ----------
    folder : path-like
        Folder for the files; it is made if it does not exist.
    inspected : mapping of str to bytes, optional
        Further files by their paths in the folder, for the tab that shows images of one's own; see
        :func:`hourglass.inspection.write_inspection`. By default the page has no such tab.
    overwrite : bool, default=False
        Whether to replace files that exist already.

    Returns
    -------
    list of Path
        The files, sorted.

    Raises
    ------
    FileExistsError
        When a file exists and ``overwrite`` is not set, or when a page without images would replace one with images,
        whose files would stay. Nothing is written then.
    OSError
        When the folder cannot be written.
    """
    folder = Path(folder)
    sources = sorted(path for path in STATIC.rglob("*") if path.is_file())
    contents = {folder / path.relative_to(STATIC): path.read_bytes() for path in sources}
    if inspected is not None:
        index = contents[folder / "index.html"]
        contents[folder / "index.html"] = index.replace(_PLAIN.encode(), _WITH_INSPECTION.encode())
        contents |= {folder / name: content for name, content in inspected.items()}
    elif (folder / INSPECTION).exists():
        raise FileExistsError(f"{folder} has a page with images; choose another folder, or remove this one first")
    check_writable(folder)
    check_free(*contents, overwrite=overwrite)
    for parent in {path.parent for path in contents}:
        parent.mkdir(parents=True, exist_ok=True)
    write_together(contents)
    return sorted(contents)
