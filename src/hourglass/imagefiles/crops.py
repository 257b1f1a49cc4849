"""Images as arrays from image files: all of a file, or training images of one size from files of many."""

import os
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hourglass.imagefiles.files import open_image
from hourglass.imagefiles.image import ImageFile, Pixels, Raw
from hourglass.imagefiles.missing import fill, missing
from hourglass.imagefiles.processing import FILE_ERRORS, Outcome
from hourglass.imagefiles.ranges import FileRanges, Ranges, Seen, TrainingRanges
from hourglass.imagefiles.value_ranges import UNKNOWN, ValueRange

COLOURS = ("auto", "grey", "rgb")
# Weights of red, green and blue in brightness: ITU-R BT.601, as Pillow's "L".
LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)


def to_channels(pixels: Pixels, channels: int) -> Pixels:
    """Pixels ``(h, w, 1 or 3)`` as grey (their brightness) or RGB (three equal channels)."""
    if pixels.shape[2] == channels:
        return pixels
    return (pixels @ LUMA)[..., None] if channels == 1 else np.repeat(pixels, 3, axis=2)


def resize(pixels: Raw, size: tuple[int, int]) -> Raw:
    """Pixels resized to a height and width, smoothed first where that shrinks them; float64 stays so, else float32."""
    from skimage.transform import resize as skimage_resize

    if pixels.shape[:2] == size:
        return pixels
    precise = np.float64 if pixels.dtype.itemsize > 4 else np.float32
    resized = skimage_resize(pixels.astype(precise), size, anti_aliasing=True, preserve_range=True)
    return np.asarray(resized, dtype=precise)


@dataclass(frozen=True)
class ReadImage:
    """One image of a file.

    Attributes
    ----------
    name : Path
        That of the file, with the image's number, as ``stack.tif[3]``, where it has several.
    pixels : ndarray of shape (h, w, 1 or 3), float32
        On the scale where ``value_range`` is [0, 1].
    value_range : ValueRange
    missing : ndarray of shape (h, w, 1 or 3), bool
        Where the file has no data; such pixels have the value of the nearest that has some.
    """

    name: Path
    pixels: Pixels
    value_range: ValueRange
    missing: NDArray[np.bool_]


def read_images(path: Path, ranges: Ranges) -> Generator[ReadImage, None, None]:
    """Read the images of a file, one after another.

    Raises
    ------
    ValueError
        When nothing says what range the numbers have, since all are the same, or an image has no data at all.
    """
    with closing(open_image(path)) as file:
        known, number = FileRanges(ranges, file.planes, str(path)), 0
        for plane in file.planes():
            value_range, holes = known.of_plane(plane), missing(plane)
            if value_range is UNKNOWN:
                raise ValueError(
                    f"{path} is constant, so that nothing says what is black and what is white; "
                    "give the range of its numbers with --range LOW,HIGH"
                )
            several = len(file) > 1 or len(plane.groups) > 1
            for bands in plane.groups:
                pixels, without = value_range.normalise(plane.values[..., bands]), holes[..., bands]
                if without.all():
                    raise ValueError(f"{path} has an image without any data; leave it out")
                fill(pixels, without)
                name = path.with_name(f"{path.name}[{number}]") if several else path
                yield ReadImage(name, pixels, value_range, without)
                number += 1


def read_sized(path: Path, image_shape: tuple[int, int, int], ranges: Ranges, *, resizing: bool) -> ReadImage:
    """The image of a file as ``image_shape``: its channels made to fit, its size too with ``resizing``.

    Where pixels were put together from others, some of which are missing, all count as known.

    Raises
    ------
    ValueError
        When the file holds several images, or the size is another and must not be changed.
    """
    height, width, channels = image_shape
    images = read_images(path, ranges)
    image = next(images)
    if image.name != path:
        raise ValueError(f"{path} holds several images, and a code is that of one; split the file first")
    images.close()
    pixels = to_channels(image.pixels, channels)
    if pixels.shape[:2] != (height, width) and not resizing:
        raise ValueError(
            f"{path} has {pixels.shape[0]} × {pixels.shape[1]} pixels, the model's images {height} × {width}, "
            "and a code has one length; --resize makes them fit"
        )
    pixels = resize(pixels, (height, width))
    known = image.missing if image.missing.shape == pixels.shape else np.zeros(pixels.shape, dtype=bool)
    return ReadImage(image.name, pixels, image.value_range, known)


@dataclass(frozen=True)
class TrainingImages:
    """Images of one size to train on.

    Attributes
    ----------
    images : ndarray of shape (n, h, w, c), float32
        On the scale where the range of each file's numbers is [0, 1].
    ranges : dict
        What a model has to remember of these ranges; see :meth:`hourglass.imagefiles.ranges.TrainingRanges.record`.
    bounded : bool
        Whether no number can lie outside [0, 1], so that noise may be clipped to it.
    """

    images: NDArray[np.float32]
    ranges: dict[str, list[float]]
    bounded: bool


def training_images(
    paths: Sequence[str | os.PathLike[str]],
    *,
    size: tuple[int, int],
    whole: bool = False,
    count: int = 4096,
    colour: str = "auto",
    ranges: Ranges | None = None,
    random_state: int = 0,
    on_outcome: Callable[[Outcome], None] | None = None,
) -> TrainingImages:
    """Images of one size from image files.

    Parameters
    ----------
    paths : sequence of path-like
    size : tuple of int
        Height and width of the images.
    whole : bool, default=False
        Resize each image to that size, instead of cutting random places out of it; an image that is smaller
        than the cut is continued at its edge by reflection.
    count : int, default=4096
        Cuts from all files together, equally many from each; at least one.
    colour : {"auto", "grey", "rgb"}, default="auto"
        ``auto`` is RGB where any image has colour.
    ranges : Ranges, optional
        How the range of each file's numbers is found; by default as ``auto`` says.
    random_state : int, default=0
    on_outcome : callable, optional
        Called with the :class:`Outcome` of each file; by default the error of one that cannot be read is raised.

    Returns
    -------
    TrainingImages

    Raises
    ------
    ValueError
        When no file could be read.
    """
    random = np.random.default_rng(random_state)
    known = TrainingRanges(ranges or Ranges())
    each = -(-count // len(paths))
    cuts: list[_Cut] = []
    for path in map(Path, paths):
        try:
            with closing(open_image(path)) as file:
                found = list(_cuts_of(file, size, None if whole else each, random, known))
        except FILE_ERRORS as error:
            if on_outcome is None:
                raise
            on_outcome(Outcome(path, error=error))
            continue
        if on_outcome is not None:
            on_outcome(Outcome(path))
        cuts += found
    if not cuts:
        raise ValueError("no image could be read, so that there is nothing to train on")
    value_ranges = [known.of(cut.plane) for cut in cuts]
    images = [value_range.normalise(cut.values) for cut, value_range in zip(cuts, value_ranges, strict=True)]
    channels = max(image.shape[2] for image in images) if colour == "auto" else 1 if colour == "grey" else 3
    return TrainingImages(
        np.stack([to_channels(image, channels) for image in images]),
        known.record(),
        all(value_range.bounded for value_range in value_ranges),
    )


@dataclass(frozen=True)
class _Cut:
    """A part of a plane with its own numbers: their range is known when all files have been seen."""

    values: Raw
    plane: Seen


def _cuts_of(
    file: ImageFile, size: tuple[int, int], count: int | None, random: np.random.Generator, known: TrainingRanges
) -> Iterator[_Cut]:
    """Random cuts of a file's images, or with ``count`` None each image whole, resized."""
    planes = len(file)
    shares = [count] if planes == 1 else np.bincount(random.integers(planes, size=count or 0), minlength=planes)
    for plane, share in zip(file.planes(), shares, strict=True):
        seen, holes, groups = known.see(plane), missing(plane), plane.groups
        images = []
        for bands in groups:
            if holes[..., bands].all():  # which nothing can be learnt from
                continue
            values = plane.values[..., bands].copy()
            fill(values, holes[..., bands])
            images.append(values)
        if count is None:
            yield from (_Cut(resize(values, size), seen) for values in images)
        elif images:
            for i in range(int(share)):
                yield _Cut(_cut(images[i % len(images)], size, random), seen)


def _cut(pixels: Raw, size: tuple[int, int], random: np.random.Generator) -> Raw:
    height, width = size
    missing = [(0, max(wanted - there, 0)) for wanted, there in zip(size, pixels.shape, strict=False)]
    if any(after for _, after in missing):
        pixels = np.pad(pixels, [*missing, (0, 0)], mode="symmetric")
    top = random.integers(pixels.shape[0] - height + 1)
    left = random.integers(pixels.shape[1] - width + 1)
    return pixels[top : top + height, left : left + width].copy()
