"""Denoisers that need no training: what the networks are compared with, and what reads a noise level."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from hourglass.denoising.clipping import undo_clipping
from hourglass.denoising.smoothing import total_variation
from hourglass.runtime.silence import libraries_silenced

Images = NDArray[np.floating[Any]]


class Denoiser(ABC):
    """A method that removes noise from each image of a stack without regard to the other images."""

    name: str
    """As tables call it."""

    @abstractmethod
    def _denoise(self, image: Images) -> Images:
        """Remove noise from one image ``(h, w, c)``."""

    def __call__(self, images: Images) -> Images:
        """Remove noise.

        Parameters
        ----------
        images : ndarray of shape (n, h, w, c), float32 or float64
            Noise levels are on the scale of these pixels.

        Returns
        -------
        ndarray of the same shape and dtype
        """
        # Some of scikit-image's functions drop the axis of a single channel, or compute in another precision.
        cleaned = [np.asarray(self._denoise(image), images.dtype).reshape(image.shape) for image in images]
        return np.stack(cleaned) if cleaned else images.copy()


@dataclass(frozen=True)
class TotalVariation(Denoiser):
    """Minimise the squared difference from the image plus ``weight`` times the sum of its gradients' lengths.

    Source: Chambolle, "An algorithm for total variation minimization and applications", Journal of Mathematical
    Imaging and Vision, 2004; as ``skimage.restoration.denoise_tv_chambolle``.

    Parameters
    ----------
    weight : float
        Above 0; larger is smoother.
    """

    weight: float
    name = "total variation"

    @classmethod
    def candidates(cls, level: float) -> list[Self]:
        """Weights among which the best one for noise of a level is found.

        Parameters
        ----------
        level : float
            Standard deviation of the noise, on the scale of the pixels.

        Returns
        -------
        list
            Five denoisers, with weights from 0.3 to 1.3 times the level.
        """
        return [cls(factor * level) for factor in (0.3, 0.5, 0.7, 1.0, 1.3)]

    def _denoise(self, image: Images) -> Images:
        return total_variation(image, self.weight)


@dataclass(frozen=True)
class NonLocalMeans(Denoiser):
    """Average pixels whose surroundings of 5 × 5 look alike, of those at most 6 pixels away.

    Source: Buades, Coll and Morel, "A non-local algorithm for image denoising", CVPR 2005; as
    ``skimage.restoration.denoise_nl_means``.

    Parameters
    ----------
    strength : float
        Above 0: how different surroundings may look, on the scale of the pixels.
    level : float, default=0.0
        Standard deviation of the noise, which is subtracted from the difference of two surroundings.
    """

    strength: float
    level: float = 0.0
    name = "non-local means"

    @classmethod
    def candidates(cls, level: float) -> list[Self]:
        """Strengths among which the best one for noise of a level is found.

        Parameters
        ----------
        level : float
            Standard deviation of the noise, on the scale of the pixels.

        Returns
        -------
        list
            Five denoisers, with strengths from 0.4 to 1.2 times the level.
        """
        return [cls(factor * level, level) for factor in (0.4, 0.6, 0.8, 1.0, 1.2)]

    def _denoise(self, image: Images) -> Images:
        from skimage.restoration import denoise_nl_means

        options = {"patch_size": 5, "patch_distance": 6, "fast_mode": True, "channel_axis": -1}
        return np.asarray(denoise_nl_means(image, h=self.strength, sigma=self.level, **options))


@dataclass(frozen=True)
class Wavelet(Denoiser):
    """Shrink wavelet coefficients by a threshold that adapts to each scale; colours as brightness and two differences.

    Source: Chang, Yu and Vetterli, "Adaptive wavelet thresholding for image denoising and compression", IEEE
    Transactions on Image Processing, 2000 (BayesShrink); as ``skimage.restoration.denoise_wavelet``.

    Parameters
    ----------
    level : float
        Standard deviation of the noise.
    """

    level: float
    name = "wavelet"

    @classmethod
    def candidates(cls, level: float) -> list[Self]:
        """Make the one that is told the level.

        Parameters
        ----------
        level : float
            Standard deviation of the noise, on the scale of the pixels.

        Returns
        -------
        list
            One denoiser.
        """
        return [cls(level)]

    def _denoise(self, image: Images) -> Images:
        from skimage.restoration import denoise_wavelet

        options = {"convert2ycbcr": image.shape[2] == 3, "rescale_sigma": True, "channel_axis": -1}
        with libraries_silenced:  # which warn that small images have few levels
            return np.asarray(denoise_wavelet(image, sigma=self.level, **options))


@dataclass(frozen=True)
class Median(Denoiser):
    """Replace each pixel by the median of the square around it, channel by channel.

    Parameters
    ----------
    size : int
        Side of the square, in pixels.
    """

    size: int
    name = "median"

    @classmethod
    def candidates(cls, level: float) -> list[Self]:
        """Return squares of two sizes; the level does not matter.

        Parameters
        ----------
        level : float
            Standard deviation of the noise, on the scale of the pixels.

        Returns
        -------
        list
            Two denoisers, of 3 × 3 and 5 × 5 pixels.
        """
        return [cls(3), cls(5)]

    def _denoise(self, image: Images) -> Images:
        from scipy.ndimage import median_filter

        return np.asarray(median_filter(image, size=(self.size, self.size, 1)))


@dataclass(frozen=True)
class WithoutClippingBias(Denoiser):
    """Another denoiser, after which the bias of clipping is undone by :func:`hourglass.denoising.undo_clipping`.

    Parameters
    ----------
    denoiser : Denoiser
        The method that is applied to the clipped images first; it averages pixels.
    level : float
        Standard deviation of the noise before it was clipped to [0, 1].
    """

    denoiser: Denoiser
    level: float

    @property
    def name(self) -> str:  # type: ignore[override]  # each other class has one name; here it is the wrapped denoiser's
        """The other's name."""
        return self.denoiser.name

    def _denoise(self, image: Images) -> Images:
        return undo_clipping(self.denoiser._denoise(image), self.level)


DENOISERS = (TotalVariation, NonLocalMeans, Wavelet, Median)
"""Every method; ``candidates(level)`` of each are the strengths to choose from."""
