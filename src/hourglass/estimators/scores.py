"""Scores of reconstructed images: minus the squared error, of all or of each."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hourglass.data.arrays import to_images
from hourglass.estimators.checks import check_pixel_range
from hourglass.estimators.fitting import Floats


class ReconstructionScores:
    """Methods that compare reconstructed images with their inputs or with targets; a base of :class:`Autoencoder`."""

    image_shape_: tuple[int, int, int]
    pixel_range_: tuple[float, float]
    _target_range: tuple[float, float] | None
    reconstruct: Any

    def score(self, X: ArrayLike, y: ArrayLike | None = None) -> float:
        """Minus the mean squared error of ``reconstruct(X)``, against ``y`` or, without it or with labels, ``X``.

        Parameters
        ----------
        X : array-like of shape (n, h, w), (n, h, w, c) or (n, features)
            Images to reconstruct.
        y : array-like of the same shape, optional
            Images that the output is compared with, by default ``X``. Labels, one number for each image, are ignored.

        Returns
        -------
        float
            At most 0; higher is better.

        Raises
        ------
        NotFittedError
            When the autoencoder has not been fitted.
        ValueError
            When ``X`` or ``y`` is of another size or scale than in training, or they differ in number.
        """
        output, target = self._compared(X, y)
        return -float(np.mean(np.square(output - target), dtype=np.float64))

    def score_samples(self, X: ArrayLike, y: ArrayLike | None = None) -> NDArray[np.float64]:
        """Minus each image's mean squared error, so that the images unlike those of training score lowest.

        Parameters
        ----------
        X : array-like of shape (n, h, w), (n, h, w, c) or (n, features)
            Images to reconstruct.
        y : array-like of the same shape, optional
            Images that the output is compared with, by default ``X``. Labels, one number for each image, are ignored.

        Returns
        -------
        ndarray of shape (n,), float64
            At most 0; their mean is :meth:`score`.

        Raises
        ------
        NotFittedError
            When the autoencoder has not been fitted.
        ValueError
            When ``X`` or ``y`` is of another size or scale than in training, or they differ in number.
        """
        output, target = self._compared(X, y)
        errors: NDArray[np.float64] = np.square(output - target, dtype=np.float64).reshape(len(output), -1).mean(1)
        return -errors

    def _compared(self, X: ArrayLike, y: ArrayLike | None) -> tuple[Floats, Floats]:
        """Reconstructed images, and what they are compared with, of equal shape."""
        output = self.reconstruct(X)  # first, since it says when nothing was fitted
        values, name = (y, "y") if y is not None and is_target(y) else (X, "X")
        shape = self.image_shape_
        if output.ndim > 2:
            shape = (*output.shape[1:3], shape[2])  # a convolutional one takes other sizes
        target = to_images(values, shape, name=name)
        if name == "y" and target.size:
            known = self._target_range or self.pixel_range_
            check_pixel_range(float(target.min()), float(target.max()), known, name=name)
        if len(target) != len(output):
            raise ValueError(f"X has {len(output)} images but {name} has {len(target)}; give one target an image")
        return output.reshape(target.shape), target


def is_target(y: ArrayLike) -> bool:
    """Whether ``y`` holds images, and not labels, one number an image."""
    return np.asarray(y).ndim != 1
