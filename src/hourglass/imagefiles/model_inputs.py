"""Image files, all at once, as arrays of the size that a model takes."""

import os
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from hourglass.errors import OptionError
from hourglass.estimators import Autoencoder
from hourglass.imagefiles.crops import read_sized
from hourglass.imagefiles.folders import Found, find_images
from hourglass.imagefiles.processing import FILE_ERRORS, Outcome
from hourglass.imagefiles.ranges import Ranges
from hourglass.imagefiles.remote import RemotePath, fetched


def _ignore(_: object) -> None:
    pass


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
        Folders of images, and image files: paths or addresses.
    most : int
        The largest number of files.
    ranges : Ranges, optional
        Rule by which the range of each file's numbers is found. By default it is ``Ranges()``: the rule "auto".
    resizing : bool, default=False
        Whether to resize images that do not have the size of the model. If not, each such image is reported to
        ``on_outcome`` as an error.
    hidden : bool, default=False
        Whether to include hidden files and files in hidden folders; see :func:`hourglass.imagefiles.find_images`.
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
            with fetched(path) as local:
                image = read_sized(local, estimator.image_shape_, ranges or Ranges(), resizing=resizing)
            images.append(image.pixels)
            names.append(str(path) if isinstance(path, RemotePath) else path.as_posix())
        except FILE_ERRORS as error:
            on_outcome(Outcome(path, error=error))
        else:
            on_outcome(Outcome(path, ranges=(image.value_range,)))
    return names, np.array(images, np.float32).reshape(len(images), *estimator.image_shape_)
