"""Codes of image files to a table and back."""

import csv
import io
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hourglass.atomic import check_free, check_writable, write_whole
from hourglass.errors import OptionError
from hourglass.estimators import Autoencoder
from hourglass.imagefiles.crops import read_sized
from hourglass.imagefiles.folders import NAMES_SUFFIX, Found, find_images
from hourglass.imagefiles.formats import suffixes
from hourglass.imagefiles.processing import FILE_ERRORS, Outcome
from hourglass.imagefiles.ranges import Ranges
from hourglass.imagefiles.streams import write_png

CODE_SUFFIXES = (".npy", ".csv")
Codes = NDArray[np.float32]


def _ignore(_: object) -> None:
    pass


def check_codes_file(codes: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Check, before any work is done, that a table of codes can be written.

    Parameters
    ----------
    codes : path-like
        File to write, ``.npy`` or ``.csv``.
    overwrite : bool, default=False
        Whether a file that exists may be replaced.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    OptionError
        When its suffix is another one.
    FileExistsError
        When it exists, or the file of names beside it, and ``overwrite`` is not set.
    OSError
        When its folder cannot be written.
    """
    path = Path(codes)
    if path.suffix not in CODE_SUFFIXES:
        raise OptionError(f"{path} ends in neither of {', '.join(CODE_SUFFIXES)}")
    check_free(path, *([names_file(path)] if path.suffix == ".npy" else []), overwrite=overwrite)
    return path


def encode_images(
    estimator: Autoencoder,
    source: str | os.PathLike[str],
    codes: str | os.PathLike[str],
    *,
    ranges: Ranges | None = None,
    resizing: bool = False,
    hidden: bool = False,
    overwrite: bool = False,
    on_found: Callable[[Found], None] = _ignore,
    on_outcome: Callable[[Outcome], None] = _ignore,
) -> None:
    """Write the codes of an image file, or of a folder of them, as a table; nothing where no file could be read.

    Parameters
    ----------
    estimator : DenseAutoencoder or ConvAutoencoder
        Fitted.
    source : path-like
        Folder of images, or one image file.
    codes : path-like
        File to write, ``.npy`` or ``.csv``; see :func:`write_codes`.
    ranges : Ranges, optional
        How the range of each file's numbers is found; by default as ``auto`` says.
    resizing : bool, default=False
        Whether images of another size are resized to that of the model.
    hidden : bool, default=False
        As in :func:`hourglass.imagefiles.find_images`.
    overwrite : bool, default=False
        Whether a file that exists is replaced.
    on_found : callable, optional
        Function that is called with the :class:`Found` files before they are read.
    on_outcome : callable, optional
        Function that is called with the :class:`Outcome` of each file.

    Raises
    ------
    OptionError
        When ``codes`` has another suffix.
    FileNotFoundError
        When there is no image.
    FileExistsError
        When the table exists and ``overwrite`` is not set.
    ValueError
        When the model has no code.
    """
    path, source = check_codes_file(codes, overwrite=overwrite), Path(source)
    found = find_images(source, hidden=hidden)
    on_found(found)
    root = source if source.is_dir() else source.parent
    names, rows = encode_files(estimator, found.paths, root, ranges=ranges, resizing=resizing, on_outcome=on_outcome)
    if names:
        write_codes(path, names, rows)


def decode_images(
    estimator: Autoencoder,
    codes: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    on_found: Callable[[Found], None] = _ignore,
    on_outcome: Callable[[Outcome], None] = _ignore,
) -> None:
    """Write an image, PNG with 8 bits, for each code of a table.

    Parameters
    ----------
    estimator : DenseAutoencoder or ConvAutoencoder
        Fitted.
    codes : path-like
        Table as :func:`encode_images` wrote it.
    target : path-like
        Folder for the images.
    overwrite : bool, default=False
        Whether files that exist are replaced.
    on_found : callable, optional
        Function that is called with the files to write, as :class:`Found`.
    on_outcome : callable, optional
        Function that is called with the :class:`Outcome` of each file.

    Raises
    ------
    FileExistsError
        When an output exists and ``overwrite`` is not set.
    ValueError
        When ``codes`` is no table of codes, or its names do not make different files in ``target``.
    OSError
        When ``target`` cannot be written.
    """
    names, rows = read_codes(codes)
    images = list(decode_files(estimator, names, rows, Path(target)))
    there = [path for path, _ in images if path.exists()]
    if there and not overwrite:
        raise FileExistsError(f"{len(there)} outputs exist already ({there[0]}, …); --overwrite replaces them")
    check_writable(target)
    on_found(Found([path for path, _ in images]))
    for path, pixels in images:
        write_decoded(path, pixels)
        on_outcome(Outcome(path))


def encode_files(
    estimator: Autoencoder,
    paths: Iterable[Path],
    root: Path,
    *,
    ranges: Ranges | None = None,
    resizing: bool = False,
    on_outcome: Callable[[Outcome], None] = lambda outcome: None,
) -> tuple[list[str], Codes]:
    """Codes of image files, which must have the size that the model was trained on unless ``resizing``.

    Returns
    -------
    names : list of str
        Of the files, relative to ``root``, with forward slashes.
    codes : ndarray of shape (n, code_size), float32

    Raises
    ------
    ValueError
        When the model has no code; what a single file raises goes to ``on_outcome``.
    """
    if not estimator.has_code:
        raise ValueError("the model has skip connections or predicts a residue, and no code; train one without --noise")
    names, codes = [], []
    for path in paths:
        try:
            image = read_sized(path, estimator.image_shape_, ranges or Ranges(), resizing=resizing)
            codes.append(estimator.transform(image.pixels[None])[0])
            names.append(path.relative_to(root).as_posix())
        except FILE_ERRORS as error:
            on_outcome(Outcome(path, error=error))
        else:
            on_outcome(Outcome(path, ranges=(image.value_range,)))
    size = estimator.network_.code_size
    return names, np.array(codes, dtype=np.float32).reshape(len(codes), size)


def write_codes(path: str | os.PathLike[str], names: Sequence[str], codes: Codes) -> None:
    """Write codes, whole or not at all.

    ``.csv`` has a header and the file's name in the first column; ``.npy`` is the array alone, with a list of the names
    in JSON beside it (``codes.npy``, ``codes.names.json``).
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        array = io.BytesIO()
        np.save(array, codes)
        write_whole(names_file(path), (json.dumps(list(names), indent=0) + "\n").encode())
        write_whole(path, array.getvalue())
        return
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["file", *(f"code_{i}" for i in range(codes.shape[1]))])
    for name, code in zip(names, codes, strict=True):
        writer.writerow([name, *(f"{number:.9g}" for number in code.tolist())])
    # A file's name need not be text.
    write_whole(path, text.getvalue().encode(errors="surrogateescape"))


def names_file(path: Path) -> Path:
    """Where the names of the codes in an ``.npy`` file stand."""
    return path.with_suffix(NAMES_SUFFIX)


def read_codes(path: str | os.PathLike[str]) -> tuple[list[str], Codes]:
    """Read what :func:`write_codes` wrote; an ``.npy`` without names is numbered.

    Raises
    ------
    ValueError
        When the file holds no table of numbers.
    """
    path = Path(path)
    try:
        if path.suffix == ".npy":
            codes = np.load(path, allow_pickle=False)
            beside = names_file(path)
            names = (
                [str(name) for name in json.loads(beside.read_text(encoding="utf-8"))]
                if beside.is_file()
                else [f"{i:05}.png" for i in range(len(codes))]
            )
        else:
            with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
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


def decode_files(
    estimator: Autoencoder, names: Sequence[str], codes: Codes, target: Path
) -> Iterable[tuple[Path, NDArray[np.float32]]]:
    """Where each code's image goes, as PNG of 8 bits, and its pixels.

    Raises
    ------
    ValueError
        When a name leads out of the folder, or two codes have one name.
    """
    for name, path, code in zip(names, png_names(names), codes, strict=True):
        if not (target / path).resolve().is_relative_to(target.resolve()):
            raise ValueError(f"{name!r} leads out of the folder {target}; mend the table's names")
        yield target / path, estimator.inverse_transform(code[None]).reshape(estimator.image_shape_)


def png_names(names: Sequence[str]) -> list[Path]:
    """Names as PNG files: ``a.jpg`` becomes ``a.png``, and ``a.jpg.png`` where there is an ``a.png`` too.

    Raises
    ------
    ValueError
        When two are equal all the same.
    """
    short = [
        Path(name) if Path(name).suffix.lower() not in suffixes() else Path(name).with_suffix("") for name in names
    ]
    times = Counter(short)
    chosen = [
        Path(f"{brief if times[brief] == 1 or name.endswith('.png') else name}.png")
        for name, brief in zip(names, short, strict=True)
    ]
    twice = [path for path, count in Counter(chosen).items() if count > 1]
    if twice:
        raise ValueError(f"two codes would become {twice[0]}; mend the table's names")
    return chosen


def write_decoded(path: Path, pixels: NDArray[np.float32]) -> None:
    """Write pixels ``(h, w, 1 or 3)``, cut to [0, 1], as PNG of 8 bits."""
    write_png(path, np.rint(np.clip(pixels, 0, 1) * 255).astype(np.uint8))
