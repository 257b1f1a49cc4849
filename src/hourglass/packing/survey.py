"""A first look at every file, so that errors and odd sizes are found before anything is written."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hourglass.imagefiles import Outcome
from hourglass.imagefiles.crops import filled
from hourglass.imagefiles.image import Plane, Raw
from hourglass.imagefiles.processing import FILE_ERRORS
from hourglass.imagefiles.remote import fetched, place
from hourglass.packing.file_list import FileList
from hourglass.runtime.workers import Workers, on_workers

# Types of numbers that are packed.
DTYPES = ("uint8", "uint16")
# Number of files that are a task.
_AT_ONCE = 16

Size = tuple[int, int]


@dataclass(frozen=True)
class SeenImage:
    """What is known of an image without its pixels.

    Parameters
    ----------
    size : tuple of (int, int)
        Height and width in pixels.
    channels : int
        1 for grey, 3 for RGB.
    kind : tuple of (str, int)
        Type of the numbers, and how many of its bits are in use.
    """

    size: Size
    channels: int
    kind: tuple[str, int]


@dataclass(frozen=True, eq=False)
class Rows:
    """Where each image of the Zarr comes from.

    Parameters
    ----------
    files : ndarray of shape (n,), int32
        Number of the file.
    planes : ndarray of shape (n,), int32
        Number of the image in the file.
    corners : ndarray of shape (n, 2), int32
        First row and first column in that image.
    sizes : ndarray of shape (n, 2), int32
        Height and width of that image.
    """

    files: NDArray[np.int32]
    planes: NDArray[np.int32]
    corners: NDArray[np.int32]
    sizes: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.files)


@dataclass(frozen=True)
class Survey:
    """Images of all files.

    Parameters
    ----------
    rows : Rows
        Where each image of the Zarr comes from.
    image_shape : tuple of (int, int, int)
        Height, width and channels of the images.
    kind : tuple of (str, int)
        Type of the numbers, and how many of its bits are in use.
    """

    rows: Rows
    image_shape: tuple[int, int, int]
    kind: tuple[str, int]


def look(files: FileList, crop: Size | None, workers: Workers, on_outcome: Callable[[Outcome], None] | None) -> Survey:
    """Decode every file once, and decide which images are packed.

    Parameters
    ----------
    files : FileList
        The files.
    crop : tuple of (int, int) or None
        Height and width of the crops; None packs whole images.
    workers : Workers
        Processes that decode.
    on_outcome : callable or None
        Function that is called with the outcome of each file. Without it the error of the first file is raised.

    Returns
    -------
    Survey
        The images.

    Raises
    ------
    OSError
        When a file cannot be read.
    ValueError
        When a file cannot be packed, or the files do not fit together.
    """
    seen: list[tuple[SeenImage, ...]] = [()] * len(files)
    known: dict[tuple[SeenImage, ...], tuple[SeenImage, ...]] = {}  # so that equal files share one object in memory
    failed = 0
    tasks = [list(range(start, min(start + _AT_ONCE, len(files)))) for start in range(0, len(files), _AT_ONCE)]
    for number, found in on_workers(_look_at, tasks, workers, [str(path) for path in files.paths]):
        for file, images in zip(tasks[number], found, strict=True):
            error = images if isinstance(images, Exception) else _refusal(images, files.paths[file], crop)
            if error is not None:
                failed += 1
                if on_outcome is None:
                    raise error
            elif not isinstance(images, Exception):
                seen[file] = known.setdefault(tuple(images), tuple(images))
            if on_outcome is not None:
                on_outcome(Outcome(files.paths[file], error=error))
    if failed:
        raise ValueError(
            f"{failed} of {len(files)} files cannot be packed, and nothing was written; repair them or leave them out"
        )
    return _together(files, seen, crop)


def crop_corners(size: Size, crop: Size) -> NDArray[np.int32]:
    """First row and column of the crops of an image: side by side, and centred where they do not fill it.

    Parameters
    ----------
    size : tuple of (int, int)
        Height and width of the image.
    crop : tuple of (int, int)
        Height and width of a crop, not larger.

    Returns
    -------
    ndarray of shape (n, 2), int32
        The corners, row by row.
    """
    tops, lefts = (
        (whole % part) // 2 + part * np.arange(whole // part) for whole, part in zip(size, crop, strict=True)
    )
    return np.stack(np.meshgrid(tops, lefts, indexing="ij"), -1).reshape(-1, 2).astype(np.int32)


def images_of(path: str) -> Iterator[tuple[Plane, Raw]]:
    """Decode a file, image by image.

    Parameters
    ----------
    path : str
        Path or address of the file.

    Yields
    ------
    plane : Plane
        Plane of the file that contains the image.
    values : ndarray of shape (h, w, 1) or (h, w, 3)
        The image with the file's own numbers, and without missing pixels.

    Raises
    ------
    OSError
        When the file cannot be read or is damaged.
    ValueError
        When the file is of a kind that is not supported.
    """
    with fetched(place(path)) as local:
        for plane, images in filled(local):
            for values in images:
                yield plane, values


def _look_at(paths: Sequence[str], places: Sequence[int]) -> list[list[SeenImage] | Exception]:
    """Images of some files, or the error of a file."""
    return [_images_of(paths[number]) for number in places]


def _images_of(path: str) -> list[SeenImage] | Exception:
    try:
        return [
            SeenImage((values.shape[0], values.shape[1]), values.shape[2], (plane.numbers.kind, plane.numbers.bits))
            for plane, values in images_of(path)
        ]
    except FILE_ERRORS as error:  # of a type that other processes can return
        return (OSError if isinstance(error, OSError) else ValueError)(str(error))


def _refusal(images: Sequence[SeenImage], path: Path, crop: Size | None) -> ValueError | None:
    """Why a file cannot be packed, whatever the others are; None where it can."""
    if not images:
        return ValueError(f"{path} has no image with data; leave it out")
    for image in images:
        if image.kind[0] not in DTYPES:
            return ValueError(f"{path} has {image.kind[0]} numbers, and a Zarr takes {' or '.join(DTYPES)}; convert it")
        if crop is not None and any(side < part for side, part in zip(image.size, crop, strict=True)):
            return ValueError(
                f"{path} has {_in_words(image.size)} pixels, less than a crop of {_in_words(crop)}; take smaller "
                "crops (--crop), or leave it out"
            )
    return None


def _together(files: FileList, seen: list[tuple[SeenImage, ...]], crop: Size | None) -> Survey:
    kind = Counter(image.kind for images in seen for image in images).most_common(1)[0][0]
    size = Counter(image.size for images in seen for image in images).most_common(1)[0][0]
    for file, image in ((file, image) for file, images in enumerate(seen) for image in images):
        if image.kind != kind:
            raise ValueError(
                f"{files.paths[file]} has {image.kind[1]}-bit numbers, most files have {kind[1]}-bit numbers; pack "
                "those of one kind"
            )
        if crop is None and image.size != size:
            raise ValueError(
                f"{files.paths[file]} has {_in_words(image.size)} pixels, most images have {_in_words(size)}; pack "
                "images of one size, or crops of one size (--crop)"
            )
    corners = {image: _corners(image.size, crop) for image in set(chain.from_iterable(seen))}
    counts = [sum(len(corners[image]) for image in images) for images in seen]
    rows = Rows(
        np.repeat(np.arange(len(seen), dtype=np.int32), counts),
        *(np.empty((sum(counts), *axes), np.int32) for axes in ((), (2,), (2,))),
    )
    row = 0
    for images in seen:
        for number, image in enumerate(images):
            end = row + len(corners[image])
            rows.planes[row:end], rows.corners[row:end], rows.sizes[row:end] = number, corners[image], image.size
            row = end
    return Survey(rows, (*(crop or size), max(image.channels for image in corners)), kind)


def _corners(size: Size, crop: Size | None) -> NDArray[np.int32]:
    return np.zeros((1, 2), np.int32) if crop is None else crop_corners(size, crop)


def _in_words(size: Size) -> str:
    return f"{size[0]} × {size[1]}"
