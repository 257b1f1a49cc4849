"""Tables of codes: one row of numbers for each image file, as .npy or .csv."""

import csv
import io
import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hourglass.atomic import check_free, write_whole
from hourglass.errors import OptionError
from hourglass.imagefiles.delivery import check_deliverable, delivered
from hourglass.imagefiles.folders import NAMES_SUFFIX
from hourglass.imagefiles.remote import RemotePath, existing, fetched, place

CODE_SUFFIXES = (".npy", ".csv")
Codes = NDArray[np.float32]


def check_codes_file(codes: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Check, before any work is done, that a table of codes can be written.

    Parameters
    ----------
    codes : path-like
        Path of the table, with the suffix ``.npy`` or ``.csv``.
    overwrite : bool, default=False
        Whether an existing table may be replaced.

    Returns
    -------
    Path
        Path of the table.

    Raises
    ------
    OptionError
        When the suffix is neither of the two.
    FileExistsError
        When the table or its file of names exists and ``overwrite`` is False.
    OSError
        When the folder of the table cannot be written.
    """
    path = place(codes)
    if path.suffix not in CODE_SUFFIXES:
        raise OptionError(f"{path} ends in neither of {', '.join(CODE_SUFFIXES)}")
    files = [path, *([names_file(path)] if path.suffix == ".npy" else [])]
    if not isinstance(path, RemotePath):
        check_free(*files, overwrite=overwrite)
        return path
    if not overwrite and (there := existing(files)):
        raise FileExistsError(f"{max(there)} exists; overwrite (--overwrite) replaces it")
    check_deliverable(path.parent)
    return path


def write_codes(path: str | os.PathLike[str], names: Sequence[str], codes: Codes) -> None:
    """Write a table of codes, completely or not at all.

    A ``.csv`` file has a header, and the name of the image in the first column. An ``.npy`` file is the array alone;
    the names are a list in a JSON file beside it (``codes.npy``, ``codes.names.json``).

    Parameters
    ----------
    path : path-like
        Path of the table, with the suffix ``.npy`` or ``.csv``. Its folder is made if it does not exist.
    names : sequence of str
        Name of each code's image.
    codes : ndarray of shape (n, code_size), float32
        The codes, one for each name.

    Raises
    ------
    OSError
        When a file cannot be written.
    ValueError
        When a ``.csv`` file would have another number of names than of codes.
    """
    path = place(path)
    if path.suffix == ".npy":
        array = io.BytesIO()
        np.save(array, codes)
        _write(names_file(path), (json.dumps(list(names), indent=0) + "\n").encode())
        _write(path, array.getvalue())
        return
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["file", *(f"code_{i}" for i in range(codes.shape[1]))])
    for name, code in zip(names, codes, strict=True):
        writer.writerow([name, *(f"{number:.9g}" for number in code.tolist())])
    # The name of a file can contain bytes that are not valid text.
    _write(path, text.getvalue().encode(errors="surrogateescape"))


def _write(path: Path, content: bytes) -> None:
    with delivered(path) as local:
        write_whole(local, content)


def names_file(path: Path) -> Path:
    """Return the path of the file with the names of the codes in an ``.npy`` file.

    Parameters
    ----------
    path : Path
        Path of the ``.npy`` file.

    Returns
    -------
    Path
        The same path with the ending ``.names.json``.
    """
    return path.with_suffix(NAMES_SUFFIX)


def read_codes(path: str | os.PathLike[str]) -> tuple[list[str], Codes]:
    """Read a table of codes that :func:`write_codes` wrote.

    Parameters
    ----------
    path : path-like
        Path or address of the table. A file with the suffix ``.npy`` is an array, any other file is read as CSV.

    Returns
    -------
    names : list of str
        Name of each code's image. Without a file of names, the codes of an ``.npy`` file are numbered: ``00000.png``,
        ``00001.png``, ….
    codes : ndarray of shape (n, code_size), float32
        The codes.

    Raises
    ------
    OSError
        When the file cannot be read.
    ValueError
        When the file is not a table of finite numbers, or the number of names is not that of the codes.
    """
    path = place(path)
    try:
        if path.suffix == ".npy":
            with fetched(path) as local:
                codes = np.load(local, allow_pickle=False)
            beside = names_file(path)
            if beside.is_file():
                with fetched(beside) as local:
                    names = [str(name) for name in json.loads(local.read_text(encoding="utf-8"))]
            else:
                names = [f"{i:05}.png" for i in range(len(codes))]
        else:
            with fetched(path) as local, local.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
                rows = list(csv.reader(file))[1:]
            names = [row[0] for row in rows]
            codes = np.array([row[1:] for row in rows], dtype=np.float32)
        if codes.ndim != 2 or len(names) != len(codes):
            raise ValueError(f"{len(names)} names and an array of shape {codes.shape}")
        if not np.isfinite(codes).all():
            raise ValueError("NaN or infinity among the numbers")
        return names, codes.astype(np.float32)
    except (ValueError, IndexError, TypeError, EOFError) as error:
        raise ValueError(f"{path} is not a table of codes ({error})") from error
