"""Training on a Zarr of images, whose size and numbers were chosen when it was packed."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hourglass.errors import OptionError
from hourglass.imagefiles import Found, Outcome
from hourglass.training import ZarrSource


class PackedImages(ZarrSource):
    """Images of a Zarr, with what the training of a model of image files needs to know.

    Parameters
    ----------
    location : path-like or str
        Path or address of the Zarr.
    value_range : {"auto", "full"} or tuple of (float, float), default="auto"
        As in :class:`ZarrSource`.
    """

    def __init__(self, location: str | os.PathLike[str], value_range: str | tuple[float, float] = "auto") -> None:
        super().__init__(location, value_range=value_range)
        self._wanted = value_range

    @property
    def bounded(self) -> bool:
        """Whether no number of files like these can lie outside the range."""
        return self.number_range == (0, self.white)

    @property
    def ranges(self) -> dict[str, list[float]]:
        """Ranges that a model has to remember, by name of the number type, as training on files notes them."""
        if isinstance(self._wanted, tuple):
            return {"": list(self.number_range)}
        return {} if self._wanted == "full" or self.dtype == np.uint8 else {self.dtype.name: list(self.number_range)}


def refuse_options(location: object, given: Mapping[str, Any]) -> None:
    """Raise OptionError where an option is given that only image files have.

    Parameters
    ----------
    location : object
        Place of the Zarr, for the message.
    given : mapping of str to object
        Options by name; None and False are not given.
    """
    for name, value in given.items():
        if value is not None and value is not False:
            raise OptionError(
                f"{name} (--{name.replace('_', '-')}) is for image files, and {location} is a Zarr, whose images are "
                "trained on as they were packed; leave it out, or pack the images in another way"
            )


def open_packed(
    location: str | os.PathLike[str],
    value_range: str | tuple[float, float],
    on_found: Callable[[Found], None],
    on_outcome: Callable[[Outcome], None] | None,
) -> tuple[PackedImages, int]:
    """Open the Zarr that :func:`train_on_images` trains on.

    Parameters
    ----------
    location : path-like or str
        Path or address of the Zarr.
    value_range : {"auto", "full"} or tuple of (float, float)
        As in :class:`ZarrSource`.
    on_found, on_outcome : callable
        As in :func:`train_on_images`; the Zarr counts as one file.

    Returns
    -------
    taken : PackedImages
        The images.
    files : int
        Number of files that were packed.
    """
    taken = PackedImages(location, value_range)
    on_found(Found([Path(location)]))
    if on_outcome is not None:
        on_outcome(Outcome(Path(location)))
    return taken, len(taken.names)
