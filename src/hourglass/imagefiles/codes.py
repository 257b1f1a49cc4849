"""Image files to a table of codes, and a table of codes to image files."""

import itertools
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hourglass.atomic import check_local, check_writable
from hourglass.estimators import Autoencoder
from hourglass.estimators.sending import Sent
from hourglass.imagefiles.code_tables import Codes, check_codes_file, read_codes, write_codes
from hourglass.imagefiles.crops import read_sized
from hourglass.imagefiles.folders import Found, find_images
from hourglass.imagefiles.formats import suffixes
from hourglass.imagefiles.processing import FILE_ERRORS, Outcome, in_chunks
from hourglass.imagefiles.ranges import Ranges
from hourglass.imagefiles.remote import fetched, place
from hourglass.imagefiles.shards import WHOLE, Shard
from hourglass.imagefiles.streams import write_png
from hourglass.runtime.workers import HERE, Workers, in_order, on_workers


def _ignore(_: object) -> None:
    pass


def encode_images(
    estimator: Autoencoder,
    source: str | os.PathLike[str],
    codes: str | os.PathLike[str],
    *,
    ranges: Ranges | None = None,
    resizing: bool = False,
    hidden: bool = False,
    overwrite: bool = False,
    shard: Shard = WHOLE,
    workers: Workers = HERE,
    on_found: Callable[[Found], None] = _ignore,
    on_outcome: Callable[[Outcome], None] = _ignore,
) -> None:
    """Write the codes of the images in a folder, or of one image file, as a table.

    No table is written if no file could be read.

    Parameters
    ----------
    estimator : DenseAutoencoder or ConvAutoencoder
        A fitted model that has a code.
    source : path-like
        Folder of images, or one image file.
    codes : path-like
        Path of the table, with the suffix ``.npy`` or ``.csv``; see
        :func:`hourglass.imagefiles.code_tables.write_codes`.
    ranges : Ranges, optional
        Rule by which the range of each file's numbers is found. By default it is ``Ranges()``: the rule "auto".
    resizing : bool, default=False
        Whether images of another size are resized to the size of the model's images. Otherwise they are errors, which
        go to ``on_outcome``.
    hidden : bool, default=False
        Whether hidden files and folders are included; see :func:`hourglass.imagefiles.find_images`.
    overwrite : bool, default=False
        Whether an existing table is replaced.
    shard : Shard, optional
        Part of the files that is encoded; by default all. The table of a shard is
        :meth:`hourglass.imagefiles.shards.Shard.named` after ``codes``.
    workers : Workers, optional
        Where the files are read and encoded; by default in this process.
    on_found : callable, optional
        Function that is called with the :class:`Found` files before they are read. By default nothing is called.
    on_outcome : callable, optional
        Function that is called with the :class:`Outcome` of each file.

    Raises
    ------
    OptionError
        When ``codes`` has another suffix.
    FileNotFoundError
        When ``source`` does not exist, or is a folder without image files.
    FileExistsError
        When the table exists and ``overwrite`` is False.
    OSError
        When the table cannot be written.
    ValueError
        When the model has no code.
    WorkerLostError, ConnectionError, ImportError
        As :func:`hourglass.runtime.workers.on_workers` raises them.
    """
    path, source = check_codes_file(shard.named(place(codes)), overwrite=overwrite), place(source)
    found = find_images(source, hidden=hidden)
    found.paths[:] = shard.of(found.paths)
    on_found(found)
    root = source if source.is_dir() else source.parent
    names, rows = encode_files(
        estimator, found.paths, root, ranges=ranges, resizing=resizing, workers=workers, on_outcome=on_outcome
    )
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
    """Write an image for each code of a table, as a PNG file with 8 bits.

    Parameters
    ----------
    estimator : DenseAutoencoder or ConvAutoencoder
        The fitted model whose codes they are.
    codes : path-like
        Path or address of a table that :func:`encode_images` wrote.
    target : path-like
        Folder of the images.
    overwrite : bool, default=False
        Whether existing files are replaced.
    on_found : callable, optional
        Function that is called with the files that will be written, as :class:`Found`. By default nothing is called.
    on_outcome : callable, optional
        Function that is called with the :class:`Outcome` of each file. By default nothing is called.

    Raises
    ------
    AddressError
        When ``target`` is an address; a ValueError.
    FileExistsError
        When an output exists and ``overwrite`` is False.
    ValueError
        When ``codes`` is not a table of codes, when two codes would have the same file, or when a file would lie
        outside ``target``.
    OSError
        When ``codes`` cannot be read or ``target`` cannot be written.
    """
    check_local(target)
    names, rows = read_codes(codes)
    images = list(decode_files(estimator, names, rows, Path(target)))
    there = [path for path, _ in images if path.exists()]
    if there and not overwrite:
        raise FileExistsError(
            f"{len(there)} outputs exist already ({there[0]}, …); overwrite (--overwrite) replaces them"
        )
    check_writable(target)
    on_found(Found([path for path, _ in images]))
    for path, pixels in images:
        write_decoded(path, pixels)
        on_outcome(Outcome(path))


def encode_files(
    estimator: Autoencoder,
    paths: Sequence[Path],
    root: Path,
    *,
    ranges: Ranges | None = None,
    resizing: bool = False,
    workers: Workers = HERE,
    on_outcome: Callable[[Outcome], None] = lambda outcome: None,
) -> tuple[list[str], Codes]:
    """Compute the codes of image files.

    Parameters
    ----------
    estimator : DenseAutoencoder or ConvAutoencoder
        A fitted model that has a code.
    paths : sequence of Path
        Paths of the image files. Files that cannot be encoded are left out.
    root : Path
        Folder that contains all files.
    ranges : Ranges, optional
        Rule by which the range of each file's numbers is found. By default it is ``Ranges()``: the rule "auto".
    resizing : bool, default=False
        Whether images of another size are resized to the size of the model's images. Otherwise they are errors.
    workers : Workers, optional
        Where the files are read and encoded; by default in this process.
    on_outcome : callable, optional
        Function that is called with the :class:`Outcome` of each file, in order, with its error if it has one. By
        default nothing is called.

    Returns
    -------
    names : list of str
        Paths of the encoded files relative to ``root``, with forward slashes.
    codes : ndarray of shape (n, code_size), float32
        Code of each of these files.

    Raises
    ------
    ValueError
        When the model has no code.
    """
    if not estimator.has_code:
        raise ValueError(
            "the model has skip connections or predicts a residue, and no code; train one without noise (--noise)"
        )
    names, codes = [], []
    how = _Encoding(Sent(estimator), ranges or Ranges(), resizing, workers.folder)
    with closing(in_order(on_workers(_encode_chunk, in_chunks(paths, workers), workers, how))) as encoded:
        for outcome, code in itertools.chain.from_iterable(encoded):
            if code is not None:
                codes.append(code)
                names.append(outcome.source.relative_to(root).as_posix())
            on_outcome(outcome)
    size = estimator.network_.code_size
    return names, np.array(codes, dtype=np.float32).reshape(len(codes), size)


@dataclass(frozen=True)
class _Encoding:
    """How each file is encoded, and the folder of relative paths, if it is not the working folder."""

    model: Sent[Autoencoder]
    ranges: Ranges
    resizing: bool
    folder: Path | None


def _encode_chunk(how: _Encoding, paths: Sequence[Path]) -> list[tuple[Outcome, NDArray[np.float32] | None]]:
    """Read and encode some files."""
    estimator = how.model.estimator
    found: list[tuple[Outcome, NDArray[np.float32] | None]] = []
    for path in paths:
        try:
            with fetched(path, how.folder) as local:
                image = read_sized(local, estimator.image_shape_, how.ranges, resizing=how.resizing)
            found.append((Outcome(path, ranges=(image.value_range,)), estimator.transform(image.pixels[None])[0]))
        except FILE_ERRORS as error:
            found.append((Outcome(path, error=error), None))
    return found


def decode_files(
    estimator: Autoencoder, names: Sequence[str], codes: Codes, target: Path
) -> Iterable[tuple[Path, NDArray[np.float32]]]:
    """Compute the image of each code, and the path of its PNG file.

    Parameters
    ----------
    estimator : DenseAutoencoder or ConvAutoencoder
        The fitted model whose codes they are.
    names : sequence of str
        Name of each code's image, as in the table.
    codes : ndarray of shape (n, code_size), float32
        The codes.
    target : Path
        Folder of the images.

    Yields
    ------
    path : Path
        Path of the image file, in ``target``.
    pixels : ndarray of shape (h, w, c), float32
        The image, with pixels about in [0, 1].

    Raises
    ------
    ValueError
        When a name leads out of the folder, or two codes would have the same file.
    """
    for name, path, code in zip(names, png_names(names), codes, strict=True):
        if not (target / path).resolve().is_relative_to(target.resolve()):
            raise ValueError(f"{name!r} leads out of the folder {target}; mend the table's names")
        yield target / path, estimator.inverse_transform(code[None]).reshape(estimator.image_shape_)


def png_names(names: Sequence[str]) -> list[Path]:
    """Make names of PNG files: ``a.jpg`` becomes ``a.png``, or ``a.jpg.png`` if ``a.png`` is among the names too.

    Parameters
    ----------
    names : sequence of str
        Names of image files.

    Returns
    -------
    list of Path
        A different name for each, with the suffix ``.png``.

    Raises
    ------
    ValueError
        When two names would be equal nevertheless.
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
    """Write an image as a PNG file with 8 bits.

    Parameters
    ----------
    path : Path
        Path of the file. Its folder is made if it does not exist.
    pixels : ndarray of shape (h, w, 1) or (h, w, 3), float32
        The image; numbers outside [0, 1] are clipped.

    Raises
    ------
    OSError
        When the file cannot be written.
    """
    write_png(path, np.rint(np.clip(pixels, 0, 1) * 255).astype(np.uint8))
