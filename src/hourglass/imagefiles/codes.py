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

from hourglass.atomic import write_whole
from hourglass.estimators import Autoencoder
from hourglass.imagefiles.crops import read_sized
from hourglass.imagefiles.folders import FILE_ERRORS, NAMES_SUFFIX, Outcome
from hourglass.imagefiles.formats import suffixes
from hourglass.imagefiles.ranges import Ranges
from hourglass.imagefiles.streams import write_png

CODE_SUFFIXES = (".npy", ".csv")
Codes = NDArray[np.float32]


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
