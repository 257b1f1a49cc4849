"""Image files as arrays: every image of a file, or training images of one size from many files."""

import os
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hourglass.imagefiles.files import open_image
from hourglass.imagefiles.image import Pixels, Plane, Raw
from hourglass.imagefiles.missing import fill, missing
from hourglass.imagefiles.processing import FILE_ERRORS, Outcome
from hourglass.imagefiles.ranges import FileRanges, Ranges, Seen, TrainingRanges
from hourglass.imagefiles.value_ranges import UNKNOWN, ValueRange

COLOURS = ("auto", "grey", "rgb")
# Weights of red, green and blue in the brightness, by ITU-R BT.601, as in Pillow's mode "L".
LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)


def to_channels(pixels: Pixels, channels: int) -> Pixels:
    """Convert an image to grey (its brightness) or to RGB (three equal channels).

    Parameters
    ----------
    pixels : ndarray of shape (h, w, 1) or (h, w, 3), float32
        The image, grey or RGB.
    channels : {1, 3}
        Number of channels of the result.

    Returns
    -------
    ndarray of shape (h, w, channels), float32
        The converted image; ``pixels`` itself when it already has this number of channels.
    """
    if pixels.shape[2] == channels:
        return pixels
    return (pixels @ LUMA)[..., None] if channels == 1 else np.repeat(pixels, 3, axis=2)


def resize(pixels: Raw, size: tuple[int, int]) -> Raw:
    """Resize an image; when it becomes smaller, it is smoothed first.

    Parameters
    ----------
    pixels : ndarray of shape (h, w, c), integer or floating point
        The image.
    size : tuple of (int, int)
        Height and width of the result, in pixels.

    Returns
    -------
    ndarray of shape (*size, c)
        The resized image, in float64 if a number of ``pixels`` takes more than 4 bytes, else in float32. An image that
        already has the size is returned as it is, in its own dtype.
    """
    from skimage.transform import resize as skimage_resize

    if pixels.shape[:2] == size:
        return pixels
    precise = np.float64 if pixels.dtype.itemsize > 4 else np.float32
    resized = skimage_resize(pixels.astype(precise), size, anti_aliasing=True, preserve_range=True)
    return np.asarray(resized, dtype=precise)


@dataclass(frozen=True)
class ReadImage:
    """One image of a file.

    Parameters
    ----------
    name : Path
        Path of the file; when the file has several images, the number of the image follows, as in ``stack.tif[3]``.
    pixels : ndarray of shape (h, w, 1) or (h, w, 3), float32
        The image on the scale where ``value_range`` is [0, 1]. Pixels without data are filled by
        :func:`hourglass.imagefiles.missing.fill`.
    value_range : ValueRange
        Range of the file's numbers that became [0, 1].
    missing : ndarray of shape (h, w, 1) or (h, w, 3), bool
        True where the file has no data.
    """

    name: Path
    pixels: Pixels
    value_range: ValueRange
    missing: NDArray[np.bool_]


def read_images(path: Path, ranges: Ranges) -> Generator[ReadImage, None, None]:
    """Read the images of a file, one after another.

    Parameters
    ----------
    path : Path
        Path of the image file.
    ranges : Ranges
        Rule by which the range of the file's numbers is found.

    Yields
    ------
    ReadImage
        The next image, grey or RGB, of each plane in order. Alpha is left out.

    Raises
    ------
    OSError
        When the file cannot be read or is damaged.
    ValueError
        When the file is of a kind that is not supported, when all its numbers are equal, so that no range can be
        computed, or when an image has no data at all.
    """
    with closing(open_image(path)) as file:
        known, number = FileRanges(ranges, file.planes, str(path)), 0
        for plane in file.planes():
            value_range, holes = known.of_plane(plane), missing(plane)
            if value_range is UNKNOWN:
                raise ValueError(
                    f"{path} is constant, so that nothing says what is black and what is white; "
                    "give the range of its numbers (--range LOW,HIGH)"
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
    """Read the only image of a file, with the shape that a model expects.

    Parameters
    ----------
    path : Path
        Path of the image file.
    image_shape : tuple of (int, int, int)
        Height, width and channels (1 or 3) of the result. Colours are converted to this number of channels.
    ranges : Ranges
        Rule by which the range of the file's numbers is found.
    resizing : bool
        Whether an image of another height or width is resized; otherwise it is an error.

    Returns
    -------
    ReadImage
        The image. If it was resized, or its channels were converted, so that its ``missing`` no longer fits, no pixel
        counts as missing.

    Raises
    ------
    OSError
        When the file cannot be read or is damaged.
    ValueError
        When the file contains several images, when the size differs and ``resizing`` is False, or for the reasons of
        :func:`read_images`.
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
            "and a code has one length; resize (--resize) makes them fit"
        )
    pixels = resize(pixels, (height, width))
    known = image.missing if image.missing.shape == pixels.shape else np.zeros(pixels.shape, dtype=bool)
    return ReadImage(image.name, pixels, image.value_range, known)


@dataclass(frozen=True)
class TrainingImages:
    """Training images of one size.

    Parameters
    ----------
    images : ndarray of shape (n, h, w, c), float32
        The images, grey (c = 1) or RGB (c = 3), on the scale where the range of each file's numbers is [0, 1].
    ranges : dict of str to list of float
        Ranges that a model has to remember, by name of the number type; see
        ``hourglass.imagefiles.ranges.TrainingRanges.record``.
    bounded : bool
        Whether no number can lie outside [0, 1], so that noisy images may be clipped to this range.
    """

    images: NDArray[np.float32]
    ranges: dict[str, list[float]]
    bounded: bool

    def __len__(self) -> int:
        return len(self.images)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of the images."""
        height, width, channels = self.images.shape[1:]
        return height, width, channels


def training_images(
    paths: Sequence[str | os.PathLike[str]],
    *,
    size: tuple[int, int],
    colour: str = "auto",
    ranges: Ranges | None = None,
    on_outcome: Callable[[Outcome], None] | None = None,
) -> TrainingImages:
    """Read whole images from image files, and resize them to one size.

    Parameters
    ----------
    paths : sequence of path-like
        Paths of the image files, at least one.
    size : tuple of (int, int)
        Height and width of the training images, in pixels.
    colour : {"auto", "grey", "rgb"}, default="auto"
        Channels of the training images. "auto" means RGB if any image has colour, else grey.
    ranges : Ranges, optional
        Rule by which the range of each file's numbers is found. By default it is ``Ranges()``: the rule "auto".
    on_outcome : callable, optional
        Function that is called with the :class:`Outcome` of each file; files that cannot be read are then left out.
        By default, the error of the first such file is raised.

    Returns
    -------
    TrainingImages
        The images, and the ranges of their files' numbers.

    Raises
    ------
    OSError
        When a file cannot be read and ``on_outcome`` is not given.
    ValueError
        When no file could be read, or a file is not supported and ``on_outcome`` is not given.

    See Also
    --------
    hourglass.imagefiles.ImageFolderSource : Random crops of image files.
    """
    known = TrainingRanges(ranges or Ranges())
    resized: list[Decoded] = []
    for path in map(Path, paths):
        try:
            found = [Decoded(resize(image.values, size), image.seen) for image in decoded(path, known)]
        except FILE_ERRORS as error:
            if on_outcome is None:
                raise
            on_outcome(Outcome(path, error=error))
            continue
        if on_outcome is not None:
            on_outcome(Outcome(path))
        resized += found
    if not resized:
        raise ValueError("no image could be read, so that there is nothing to train on")
    value_ranges = [known.of(image.seen) for image in resized]
    images = [value_range.normalise(image.values) for image, value_range in zip(resized, value_ranges, strict=True)]
    channels = max(image.shape[2] for image in images) if colour == "auto" else 1 if colour == "grey" else 3
    return TrainingImages(
        np.stack([to_channels(image, channels) for image in images]),
        known.record(),
        all(value_range.bounded for value_range in value_ranges),
    )


@dataclass(frozen=True)
class Decoded:
    """An image with the file's own numbers, since the range is known only after all files have been read."""

    values: Raw
    seen: Seen


def decoded(path: Path, known: TrainingRanges) -> Iterator[Decoded]:
    """Read the images of a file that have data, and fill their missing pixels; ``known`` sees each plane."""
    for plane, images in filled(path):
        seen = known.see(plane)
        yield from (Decoded(values, seen) for values in images)


def filled(path: Path) -> Iterator[tuple[Plane, list[Raw]]]:
    """Read each plane of a file, and its images that have data, with the file's own numbers and without holes."""
    with closing(open_image(path)) as file:
        for plane in file.planes():
            holes, images = missing(plane), []
            for bands in plane.groups:
                if holes[..., bands].all():  # without any data, nothing can be learnt
                    continue
                values = plane.values[..., bands].copy()
                fill(values, holes[..., bands])
                images.append(values)
            yield plane, images
