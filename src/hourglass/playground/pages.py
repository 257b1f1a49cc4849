"""The files of the page."""

import os
from pathlib import Path

from hourglass.atomic import check_free, check_writable, write_together

STATIC = Path(__file__).parent / "static"
"""Folder in the package that has the page's files."""


def write_page(folder: str | os.PathLike[str], *, overwrite: bool = False) -> list[Path]:
    """Write the page into a folder, which any web host can show: it needs no server of its own.

    Parameters
    ----------
    folder : path-like
        Folder for the files; it is made if it does not exist.
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
    check_writable(folder)
    check_free(*contents, overwrite=overwrite)
    for parent in {path.parent for path in contents}:
        parent.mkdir(parents=True, exist_ok=True)
    write_together(contents)
    return list(contents)
