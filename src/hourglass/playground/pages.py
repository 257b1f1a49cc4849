"""The files of the page."""

import os
from collections.abc import Mapping
from pathlib import Path

from hourglass.atomic import check_free, check_writable, write_together

STATIC = Path(__file__).parent / "static"
"""Folder in the package that has the page's files."""


# What marks a page that has the tab on images of one's own.
_PLAIN, _WITH_INSPECTION = '<html lang="en">', '<html lang="en" data-inspect>'


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
        Whether files of the same names are replaced.

    Returns
    -------
    list of Path
        The files, sorted.

    Raises
    ------
    FileExistsError
        When a file exists and ``overwrite`` is not set. Nothing is written then.
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
    check_writable(folder)
    check_free(*contents, overwrite=overwrite)
    for parent in {path.parent for path in contents}:
        parent.mkdir(parents=True, exist_ok=True)
    write_together(contents)
    return sorted(contents)
