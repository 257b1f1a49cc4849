"""Images in memory."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hourglass.data.arrays import has_channels_first
from hourglass.data.preview import preview


@dataclass(frozen=True, eq=False, repr=False)
class Images:
    """A stack of images, with labels where there are any.

    A notebook shows the first of them.

    Parameters
    ----------
    images : ndarray of shape (n, height, width, channels), float32
        In [0, 1].
    labels : ndarray of shape (n,), int64, optional
        Class of each image.

    Raises
    ------
    ValueError
        When shape, dtype or range is another, the channels are plainly first, or images and labels differ in number.
    """

    images: NDArray[np.float32]
    labels: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        images, labels = self.images, self.labels
        if images.ndim != 4 or images.dtype != np.float32:
            raise ValueError(
                f"images are {images.dtype} of shape {images.shape}; expected float32 (n, height, width, channels)"
            )
        if has_channels_first(images.shape):
            raise ValueError(
                f"images have shape {images.shape}, which looks like channels first; expected (n, height, width, "
                "channels): use images.transpose(0, 2, 3, 1)"
            )
        if images.size and not (images.min() >= 0 and images.max() <= 1):
            raise ValueError(f"images span [{images.min():g}, {images.max():g}]; expected [0, 1], so divide by 255")
        if labels is not None and labels.shape != (len(images),):
            raise ValueError(f"{len(images)} images but labels of shape {labels.shape}; expected ({len(images)},)")

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        labels = "no labels" if self.labels is None else f"{len(np.unique(self.labels))} different labels"
        return f"Images({len(self):,} of {self._size}, {labels})"

    def _repr_html_(self) -> str:
        return preview({repr(self): (self.images, self.labels)})

    @property
    def _size(self) -> str:
        """Height, width and channels, for people."""
        return " × ".join(map(str, self.images.shape[1:]))

    def __getitem__(self, index: slice | NDArray[np.int64]) -> "Images":
        """Some of the images, with their labels."""
        return Images(self.images[index], None if self.labels is None else self.labels[index])


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Training and test images.

    A notebook shows the first of both.

    Parameters
    ----------
    name : str
        As :func:`hourglass.load` takes it.
    train, test : Images
        To learn from, and to score on.
    validation_size : int, default=0
        Number of training images, from the first on, that classifiers hold out for validation.
    """

    name: str
    train: Images
    test: Images
    validation_size: int = 0

    def split_validation(self) -> tuple[Images, Images]:
        """Divide the training images into those to train on and those held out for validation.

        Returns
        -------
        train, validation : Images
            The validation images are the first ``validation_size`` of all.
        """
        return self.train[self.validation_size :], self.train[: self.validation_size]

    def __repr__(self) -> str:
        train = f"{len(self.train):,} training"
        if self.train._size != self.test._size:
            train += f" images of {self.train._size}"
        held_out = f", {self.validation_size:,} held out" if self.validation_size else ""
        test = f"{len(self.test):,} test images of {self.test._size}"
        return f"Dataset({self.name!r}, {train} and {test}{held_out})"

    def _repr_html_(self) -> str:
        parts = {"training images": self.train, "test images": self.test}
        return preview({what: (part.images, part.labels) for what, part in parts.items()}, title=repr(self))
