"""Image files to a table of codes, and a table of codes to image files."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hourglass.atomic import check_writable
from hourglass.errors import OptionError
from hourglass.estimators import Autoencoder
from hourglass.imagefiles.code_tables import Codes, check_codes_file, read_codes, write_codes
from hourglass.imagefiles.crops import read_sized
from hourglass.imagefiles.folders import Found, find_images
from hourglass.imagefiles.formats import suffixes
from hourglass.imagefiles.processing import FILE_ERRORS, Outcome
from hourglass.imagefiles.ranges import Ranges
from hourglass.imagefiles.streams import write_png


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
    """Write an image for each code of a table, as a PNG file with 8 bits.

    Parameters
    ----------
    estimator : DenseAutoencoder or ConvAutoencoder
        The fitted model whose codes they are.
    codes : path-like
        Path of a table that :func:`encode_images` wrote.
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
    FileExistsError
        When an output exists and ``overwrite`` is False.
    ValueError
        When ``codes`` is not a table of codes, when two codes would have the same file, or when a file would lie
        outside ``target``.
    OSError
        When ``codes`` cannot be read or ``target`` cannot be written.
    """
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
    paths: Iterable[Path],
    root: Path,
    *,
    ranges: Ranges | None = None,
    resizing: bool = False,
    on_outcome: Callable[[Outcome], None] = lambda outcome: None,
) -> tuple[list[str], Codes]:
    """Compute the codes of image files.

    Parameters
    ----------
    estimator : DenseAutoencoder or ConvAutoencoder
        A fitted model that has a code.
    paths : iterable of Path
        Paths of the image files. Files that cannot be encoded are left out.
    root : Path
        Folder that contains all files.
    ranges : Ranges, optional
        Rule by which the range of each file's numbers is found. By default it is ``Ranges()``: the rule "auto".
    resizing : bool, default=False
        Whether images of another size are resized to the size of the model's images. Otherwise they are errors.
    on_outcome : callable, optional
        Function that is called with the :class:`Outcome` of each file, with its error if it has one. By default
        nothing is called.

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


def read_for_model(
    estimator: Autoencoder,
    sources: Sequence[str | os.PathLike[str]],
    *,
    most: int,
    ranges: Ranges | None = None,
    resizing: bool = False,
    hidden: bool = False,
    on_found: Callable[[Found], None] = _ignore,
    on_outcome: Callable[[Outcome], None] = _ignore,
) -> tuple[list[str], NDArray[np.float32]]:
    """Read image files, all of them at once, as arrays of the size that a model takes.

    Parameters
    ----------
    estimator : Autoencoder
        A fitted model.
    sources : sequence of path-like
        Folders of images, and image files.
    most : int
        The largest number of files.
    ranges : Ranges, optional
        Rule by which the range of each file's numbers is found. By default it is ``Ranges()``: the rule "auto".
    resizing : bool, default=False
        Whether images of other sizes are resized. If not, each of them is reported to ``on_outcome`` as an error.
    hidden : bool, default=False
        Whether to take hidden files and those in hidden folders; see :func:`hourglass.imagefiles.find_images`.
    on_found : callable, optional
        Function that is called with the :class:`Found` files before they are read. By default nothing is called.
    on_outcome : callable, optional
        Function that is called with the :class:`Outcome` of each file. By default nothing is called.

    Returns
    -------
    names : list of str
        Paths of the images that could be read, as found.
    images : ndarray of shape (n, h, w, c), float32
        These images, on the scale [0, 1].

    Raises
    ------
    OptionError
        When there are more files than ``most``; a ValueError.
    FileNotFoundError
        When a source does not exist, or is a folder without image files.
    """
    found = Found()
    for source in sources:
        each = find_images(source, hidden=hidden)
        found.paths.extend(each.paths)
        found.left_out.update(each.left_out)
    found.paths[:] = dict.fromkeys(found.paths)  # a file that is named twice is read once
    if len(found) > most:
        raise OptionError(f"{len(found):,} images were found, and at most {most:,} are taken; name a part of them")
    on_found(found)
    names, images = [], []
    for path in found.paths:
        try:
            image = read_sized(path, estimator.image_shape_, ranges or Ranges(), resizing=resizing)
            images.append(image.pixels)
            names.append(path.as_posix())
        except FILE_ERRORS as error:
            on_outcome(Outcome(path, error=error))
        else:
            on_outcome(Outcome(path, ranges=(image.value_range,)))
    return names, np.array(images, np.float32).reshape(len(images), *estimator.image_shape_)


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
