"""Ways to corrupt images: what a denoiser learns to undo.

A corruption is a callable that takes a batch ``(n, c, h, w)`` and a ``torch.Generator`` on its device;
``hourglass.denoising.corrupt`` applies one to an array of images ``(n, h, w, c)``. Where a strength is given as a pair,
each image draws its own uniformly between the two.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hourglass.data.arrays import MOST_CHANNELS
from hourglass.runtime.forks import compute_alone_after_fork

Strength = float | tuple[float, float]
# How far noise may lead out of [0, 1] before the scale must be another.
_OUTSIDE = 2
# Deviations at which a Gaussian kernel is cut.
_KERNEL_REACH = 4


class _Corruption(ABC):
    """Abstract base class: checks a batch before it is corrupted."""

    def __call__(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Corrupt a batch.

        Parameters
        ----------
        images : torch.Tensor of shape (n, c, h, w), floating point
            Left as it is.
        generator : torch.Generator, optional
            On the device of ``images``; by default PyTorch's global one.

        Returns
        -------
        torch.Tensor of the same shape, dtype and device

        Raises
        ------
        ValueError
            When the batch has another number of axes, its channels are last, or a corruption that keeps to [0, 1] is
            given pixels of another scale, such as 0 to 255.
        TypeError
            When the batch is no floating-point tensor.
        """
        compute_alone_after_fork()
        _check_batch(images)
        if clips(self):
            _check_scale(images)
        return self._corrupt(images, generator)

    @abstractmethod
    def _corrupt(self, images: Tensor, generator: torch.Generator | None) -> Tensor: ...


@dataclass(frozen=True)
class GaussianNoise(_Corruption):
    """Add normal noise to every pixel and clip: ``clip(x + level · N(0, 1), 0, 1)``.

    Parameters
    ----------
    level : float or pair of float
        Standard deviation, on the pixels' scale of [0, 1].
    clip : bool, default=True
        Whether values are clipped to [0, 1], as in a file of bytes.
    """

    level: Strength
    clip: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "level", _plain(self.level))
        _check("level", self.level, math.inf)
        if not isinstance(self.clip, bool):
            raise ValueError(f"clip={self.clip!r}; expected True or False")

    def _corrupt(self, images: Tensor, generator: torch.Generator | None) -> Tensor:
        noise = torch.randn(images.shape, generator=generator, dtype=images.dtype, device=images.device)
        return self.add(images, noise, _draw(self.level, images, generator))

    def with_level(self, images: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Corrupt a batch and say the level of each image.

        Parameters
        ----------
        images : torch.Tensor of shape (n, c, h, w), floating point
            Left as it is.
        generator : torch.Generator, optional
            On the device of ``images``; by default PyTorch's global one.

        Returns
        -------
        noisy : torch.Tensor of the same shape
            Images with noise.
        level : torch.Tensor of shape (n,)
            Standard deviation of each image's noise before it was clipped.
        """
        level = _draw(self.level, images, generator)
        noise = torch.randn(images.shape, generator=generator, dtype=images.dtype, device=images.device)
        return self.add(images, noise, level), level.flatten()

    def add(self, images: Tensor, noise: Tensor, level: Tensor | float) -> Tensor:
        """Put a draw of standard normal numbers onto images.

        Parameters
        ----------
        images : torch.Tensor of shape (n, c, h, w)
            Left as it is.
        noise : torch.Tensor of the same shape
            Standard normal numbers, which are overwritten.
        level : torch.Tensor or float
            Standard deviation, of all images or of each, as ``(n, 1, 1, 1)``.

        Returns
        -------
        torch.Tensor of the same shape
            It takes the memory of ``noise``.
        """
        noisy = noise.mul_(level).add_(images)
        return noisy.clamp_(0, 1) if self.clip else noisy


@dataclass(frozen=True)
class PoissonNoise(_Corruption):
    """Count photons: ``clip(Poisson(x · peak) / peak, 0, 1)``; dark places are less noisy.

    Parameters
    ----------
    peak : float or pair of float
        Photons that a white pixel receives; fewer are noisier.
    clip : bool, default=True
        Whether values are clipped to [0, 1], as in a file of bytes. Otherwise pixels below 0 stay as they are, since
        they receive no photons.
    """

    peak: Strength
    clip: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "peak", _plain(self.peak))
        _check("peak", self.peak, math.inf)

    def _corrupt(self, images: Tensor, generator: torch.Generator | None) -> Tensor:
        peak = _draw(self.peak, images, generator)
        counted = torch.poisson(images.clamp(min=0) * peak, generator=generator).div_(peak)
        return counted.clamp_(0, 1) if self.clip else counted.add_(images.clamp(max=0))


@dataclass(frozen=True)
class SaltAndPepper(_Corruption):
    """Turn pixels black or white, all channels alike.

    Parameters
    ----------
    share : float or pair of float
        Of the pixels, in (0, 1]; half of them become black.
    clip : bool, default=True
        Whether the images have to be in [0, 1], as in a file of bytes. Otherwise pixels outside stay as they are.
    """

    share: Strength
    clip: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "share", _plain(self.share))
        _check("share", self.share, 1)

    def _corrupt(self, images: Tensor, generator: torch.Generator | None) -> Tensor:
        draw = _uniform(images[:, :1], generator)
        share = _draw(self.share, images, generator)
        return torch.where(draw < share, (draw < share / 2).to(images.dtype), images)


@dataclass(frozen=True)
class Masking(_Corruption):
    """Turn pixels black, all channels alike.

    Source: Vincent et al., "Extracting and composing robust features with denoising autoencoders", ICML 2008.

    Parameters
    ----------
    share : float or pair of float
        Of the pixels, in (0, 1].
    """

    share: Strength

    def __post_init__(self) -> None:
        object.__setattr__(self, "share", _plain(self.share))
        _check("share", self.share, 1)

    def _corrupt(self, images: Tensor, generator: torch.Generator | None) -> Tensor:
        hidden = _uniform(images[:, :1], generator) < _draw(self.share, images, generator)
        return images.masked_fill(hidden, 0)


@dataclass(frozen=True)
class Blur(_Corruption):
    """Blur by a Gaussian kernel; the border is continued.

    Parameters
    ----------
    sigma : float or pair of float
        Standard deviation of the kernel, in pixels.
    """

    sigma: Strength

    def __post_init__(self) -> None:
        object.__setattr__(self, "sigma", _plain(self.sigma))
        _check("sigma", self.sigma, math.inf)

    def _corrupt(self, images: Tensor, generator: torch.Generator | None) -> Tensor:
        n, c, h, w = images.shape
        widest = self.sigma[1] if isinstance(self.sigma, tuple) else self.sigma
        reach = math.ceil(_KERNEL_REACH * widest)
        places = torch.arange(-reach, reach + 1, dtype=images.dtype, device=images.device)
        kernels = torch.exp(-places.square() / (2 * _draw(self.sigma, images, generator).reshape(n, 1).square()))
        kernels = (kernels / kernels.sum(1, keepdim=True)).repeat_interleave(c, 0)  # (n·c, 2·reach + 1)
        # One group for each image and channel, since each image has a kernel of its own.
        x = F.pad(images.reshape(1, n * c, h, w), (reach,) * 4, mode="replicate")
        x = F.conv2d(x, kernels[:, None, :, None], groups=n * c)
        return F.conv2d(x, kernels[:, None, None, :], groups=n * c).reshape(n, c, h, w)


def clips(corruption: object) -> bool:
    """Whether a corruption is one of the table that keeps to [0, 1], and would destroy images on another scale."""
    return type(corruption) in CORRUPTIONS.values() and bool(getattr(corruption, "clip", False))


def unclipped(corruption: Any) -> Any:
    """The same corruption for images whose numbers may lie outside [0, 1]."""
    return replace(corruption, clip=False) if clips(corruption) else corruption


def with_level(corruption: Any, images: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
    """Corrupt a batch and say by how much.

    Parameters
    ----------
    corruption : callable
        Function that takes a batch and a generator, as those of this module.
    images : torch.Tensor of shape (n, c, h, w), floating point
        Left as it is.
    generator : torch.Generator, optional
        On the device of ``images``; by default PyTorch's global one.

    Returns
    -------
    corrupted : torch.Tensor of the same shape
        Corrupted images.
    level : torch.Tensor of shape (n,)
        Standard deviation of normal noise; of other corruptions the root mean square of the change.
    """
    if isinstance(corruption, GaussianNoise):
        return corruption.with_level(images, generator)
    corrupted = corruption(images.clone(), generator)
    return corrupted, (corrupted - images).square().mean((1, 2, 3)).sqrt()


Corruption = GaussianNoise | PoissonNoise | SaltAndPepper | Masking | Blur

CORRUPTIONS: dict[str, type[Corruption]] = {
    "gaussian": GaussianNoise,
    "poisson": PoissonNoise,
    "salt-and-pepper": SaltAndPepper,
    "masking": Masking,
    "blur": Blur,
}
"""Every corruption by its name, as files and the command line have it; one from elsewhere is added by
``CORRUPTIONS["name"] = Class``: a frozen dataclass, called with images ``(n, c, h, w)`` and a generator, whose first
field is its strength. With a field ``clip`` it says whether it keeps to [0, 1]."""


def _check_batch(images: Tensor) -> None:
    """Raise ValueError unless a batch is ``(n, c, h, w)``, as far as its shape tells."""
    if not isinstance(images, Tensor) or not images.is_floating_point():
        what = f"a tensor of {images.dtype}" if isinstance(images, Tensor) else f"a {type(images).__name__}"
        raise TypeError(
            f"the batch is {what}; a corruption expects a floating-point torch.Tensor (n, c, h, w), and "
            "hourglass.denoising.corrupt takes arrays, of bytes too"
        )
    shape = tuple(images.shape)
    if len(shape) != 4:
        raise ValueError(
            f"the batch has shape {shape}; a corruption expects (n, c, h, w), "
            "and hourglass.denoising.corrupt takes arrays (n, h, w) and (n, h, w, c)"
        )
    if 1 <= shape[3] <= MOST_CHANNELS < min(shape[1:3]):
        raise ValueError(
            f"the batch has shape {shape}, with its channels last; a corruption expects (n, c, h, w), "
            "and hourglass.denoising.corrupt takes arrays (n, h, w, c)"
        )


def _check_scale(images: Tensor) -> None:
    """Raise ValueError where pixels are plainly on another scale than [0, 1]; a GPU, which would wait, is not asked."""
    if images.device.type != "cpu" or not images.numel() or torch.compiler.is_compiling():
        return
    try:
        low, high = (float(end) for end in torch.aminmax(images))
    except RuntimeError:  # under torch.func.vmap there are no single numbers
        return
    if low < -_OUTSIDE or high > 1 + _OUTSIDE:
        raise ValueError(
            f"the batch spans [{low:g}, {high:g}], and this corruption keeps to [0, 1]; divide bytes by 255, or set "
            "clip=False where the corruption has it"
        )


def _check(name: str, strength: Any, largest: float) -> None:
    ends = strength if isinstance(strength, tuple) else (strength, strength)
    if len(ends) != 2 or not all(isinstance(end, Real) and not isinstance(end, bool) for end in ends):
        raise ValueError(f"{name}={strength!r}; expected a number, or a pair (lowest, highest)")
    low, high = ends
    if not 0 < low <= high <= largest or math.isinf(high):
        limit = f" and at most {largest:g}" if math.isfinite(largest) else ""
        raise ValueError(f"{name}={strength!r}; expected above 0{limit}, the lower end first")


def _plain(strength: Any) -> Any:
    """A strength as a number of Python's, or a tuple of them: NumPy's numbers and lists are taken too."""
    if isinstance(strength, list | tuple | np.ndarray) and np.ndim(strength) == 1:
        return tuple(_plain(end) for end in strength)
    return strength.item() if isinstance(strength, np.generic) else strength


def _draw(strength: Strength, images: Tensor, generator: torch.Generator | None) -> Tensor:
    """One strength for each image, of shape (n, 1, …), on the images' device."""
    shape = (len(images), *[1] * (images.dim() - 1))
    if not isinstance(strength, tuple):
        return torch.full(shape, strength, dtype=images.dtype, device=images.device)
    low, high = strength
    return _uniform(images.new_empty(shape), generator).mul_(high - low).add_(low)


def _uniform(like: Tensor, generator: torch.Generator | None) -> Tensor:
    return torch.rand(like.shape, generator=generator, dtype=like.dtype, device=like.device)
