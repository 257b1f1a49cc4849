"""Denoisers whose network can be told the level of the noise."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from hourglass.denoising.corruption import GaussianNoise, with_level
from hourglass.denoising.noise_bound import SMALLEST, Window, bound_of_windows, rms_in_detail, windows_of
from hourglass.denoising.noise_level import NoiseLevel, check_noise_level
from hourglass.estimators.autoencoder_base import Autoencoder
from hourglass.estimators.checks import Corrupt, pixel_width
from hourglass.estimators.exported import ExportedPart, ExportedRestorer, image_shapes
from hourglass.estimators.fitting import Floats
from hourglass.estimators.given import by_blocks, check_images, is_stored
from hourglass.estimators.pieces import Cut
from hourglass.estimators.strips import Read, Write, restore_strips
from hourglass.runtime.hardware import saves_memory

# Noise of the training images where nothing else is said; FFDNet learns from levels up to 55/255 too.
_ANY_LEVEL = GaussianNoise((1 / 2550, 55 / 255), clip=False)
# Share of the training images whose level the network is told, so that it learns to do with and without.
_TOLD = 0.5
# Pixels of a block where a process saves memory: the network takes 300 bytes a pixel, half of what others do, and the
# wide halo makes small blocks slow.
_SMALL_BLOCK = 250_000
# The network's sign for a level that is unknown.
_UNKNOWN = -1.0
# A network takes at most so many times as much from an image as it can have noise.
_MOST = 1.5
# Pixels on which the level is found.
_LOOKED_AT = 300_000


@dataclass(kw_only=True, eq=False, repr=False)
class LevelAwareDenoiser(Autoencoder):
    """Abstract base class of denoisers of images of any size whose network takes the level of the noise.

    The network is called with images ``(n, c, h, w)`` and levels ``(n,)`` or ``(1,)``, where a negative level is
    unknown, and adds to its input. The parameters are those of :class:`Autoencoder`.
    """

    any_size = True

    @property
    def takes_noise_level(self) -> bool:  # type: ignore[override]  # a class constant elsewhere; here it depends on the training
        """Whether the network learnt levels: not so from noisy images alone, nor from pairs without added noise."""
        return getattr(self, "_learnt_levels", True)

    @property
    def _adds_to_input(self) -> bool:
        return True

    @property
    def _bfloat16_pays(self) -> bool:
        return True

    def check_parameters(self) -> None:
        """Check every parameter; ``fit`` does it first.

        Raises
        ------
        ValueError
            When a parameter is out of its range, or two contradict each other.
        """
        super().check_parameters()
        if self._activation is not None:
            raise ValueError(f"loss={self.loss!r} cannot be used by a network that adds to its input; use loss='mae'")

    @property
    def has_code(self) -> bool:
        """False: no code determines the image."""
        return False

    @property
    def effective_corruption(self) -> Corrupt | None:
        """Corruption of training images that are their own targets: ``corruption``, ``noise``, or any level."""
        return super().effective_corruption or (None if self.self_supervised else _ANY_LEVEL)

    def _corrupt(
        self, has_targets: bool = False, *, continues: bool = False
    ) -> Callable[[Tensor, torch.Generator], Any] | None:
        corruption = super().effective_corruption if has_targets else self.effective_corruption
        # What continues from a network that knows levels does not make it forget them.
        self._learnt_levels = corruption is not None or (continues and self.takes_noise_level)
        if corruption is None:
            return None

        def corrupt(images: Tensor, generator: torch.Generator) -> tuple[Tensor, None, Tensor]:
            noisy, level = with_level(corruption, images, generator)
            told = torch.rand(level.shape, generator=generator, device=level.device) < _TOLD
            return noisy, None, torch.where(told, level, _UNKNOWN)

        return corrupt

    def reconstruct(self, X: ArrayLike, noise_level: float | ArrayLike | None = None) -> Floats:
        """Remove the noise of images.

        Parameters
        ----------
        X : array-like of shape (n, h, w), (n, h, w, c) or (n, features)
            Images of any height and width. Unsigned bytes are scaled by 1/255, other numbers are taken as they are.
        noise_level : float or array-like of shape (n,), optional
            Standard deviation of the noise, of all images or of each, at least 0, on the scale of the pixels, which is
            [0, 1] for bytes. By default it is unknown, and the network judges the noise by the images.

        Returns
        -------
        ndarray of the shape of X, float64 where X is, else float32
            Restored images; in [0, 1] with ``undo_clipping``, otherwise unbounded.

        Raises
        ------
        NotFittedError
            When the denoiser has not been fitted.
        ValueError
            When the images have other channels or another scale than those of training, or a level is negative, not
            finite or, as for bytes, above 1.
        """
        if noise_level is None:
            return super().reconstruct(X)
        if not self.takes_noise_level:
            raise ValueError(
                f"noise_level={noise_level!r}, but this model learnt no levels, as its images were noisy already; "
                "leave noise_level out"
            )
        levels = _levels(noise_level, len(np.atleast_1d(np.asanyarray(X))))
        if is_stored(X) and levels.ndim == 0:
            return by_blocks(lambda block: self.reconstruct(block, levels), X)
        images, _ = check_images(self, X, any_size=True)
        check_noise_level(float(levels.max(initial=0)), pixel_width(self.pixel_range_))
        if levels.ndim == 0:
            restored = self._restore(images, float(levels))
        else:
            parts = [self._restore(images[i : i + 1], float(level)) for i, level in enumerate(levels)]
            restored = np.concatenate(parts) if parts else images
        return self._unclip(restored, images).reshape(np.shape(X))

    def denoise_image(self, image: Floats, noise: NoiseLevel) -> tuple[Floats, float | None]:
        """Denoise one image of any size at a level that is given, or found in the image; see :meth:`denoise_strips`.

        Parameters
        ----------
        image : ndarray of shape (h, w, c), float32 or float64
            Image, on the scale of training.
        noise : NoiseLevel
            Level of the noise, or that it is to be found.

        Returns
        -------
        restored : ndarray of shape (h, w, c), of the dtype of ``image``
            Image without noise, in a new array.
        level : float
            Standard deviation of the noise that was given or found, without the factor ``noise.strength``.
        """
        restored = image.copy()

        def write(rows: slice, change: Floats) -> None:
            np.add(image[rows], change, out=restored[rows])

        everything = slice(0, len(image))
        return restored, self.denoise_strips(image.__getitem__, [(everything,) * 3], write, noise)

    def denoise_strips(self, read: Read, strips: Sequence[Cut], write: Write, noise: NoiseLevel) -> float | None:
        """Denoise one image strip by strip, at a level that is given, or found in the image.

        To find the level, the network first denoises a part of the image without being told one, and the level is the
        root mean square of what it takes away. Two things are beyond its judgement: an image without noise
        (:func:`hourglass.denoising.noise_bound` finds 0) is left unchanged, and from any image at most one and a half
        times as much is taken as it can have noise.

        Parameters
        ----------
        read : callable
            Function that returns some rows of the image as an array ``(rows, w, c)``, float32 or float64.
        strips : sequence of (read, inner, written)
            Strips of the image, as ``hourglass.estimators.strips.cut_into_strips`` returns them.
        write : callable
            Function that is called with the rows and the change of each strip, and with another change of the same
            rows where a second pass is needed. Without noise it is not called.
        noise : NoiseLevel
            Level of the noise, 0 for an image that is to stay as it is, or that it is to be found.

        Returns
        -------
        float
            Standard deviation of the noise that was given or found, without the factor ``noise.strength``.

        Raises
        ------
        ValueError
            When a level or a strength above 1 is given to a model that learnt no levels.
        """

        def restore_at(level: float | None) -> Callable[[Floats], Floats]:
            level = None if level is None else min(level, pixel_width(self.pixel_range_))

            def restore(pixels: Floats) -> Floats:
                restored: Floats = self.reconstruct(pixels[None], noise_level=level)[0]
                return restored

            return restore

        # Below 1 only a share of the noise is taken away, since the network hardly heeds a level that is too low.
        share, more = min(noise.strength, 1.0), max(noise.strength, 1.0)
        if more > 1 and not self.takes_noise_level:
            raise ValueError(f"strength={noise.strength:g} is above 1, but this model learnt no levels; leave it out")
        if noise.level == 0:
            return 0.0
        if not isinstance(noise.level, str):
            restore_strips(restore_at(noise.level * more), read, strips, write, factor=share)
            return float(noise.level)
        height, width = _size(read, strips)
        if 0 in (height, width):
            return 0.0
        known = min(height, width) >= SMALLEST
        most = bound_of_windows(_seen(read, windows_of(height, width))) if known else math.inf
        if most == 0:
            return 0.0
        found = _found(restore_at(None), _seen(read, windows_of(height, width, _LOOKED_AT)))
        level = most if found > _MOST * most else found
        restore = restore_at(level * more if self.takes_noise_level else None)
        taken = restore_strips(restore, read, strips, write, factor=share)
        if taken > _MOST * most * more:
            restore_strips(restore, read, strips, write, factor=share * most / taken)
        return level

    def _restore(self, images: Floats, level: float = _UNKNOWN) -> Floats:
        def apply(network: Any, rows: Tensor) -> Tensor:
            restored: Tensor = network(rows, rows.new_full((len(rows),), level))
            return restored

        return self._infer(apply, images, halo=self.network_.halo, block=_SMALL_BLOCK if saves_memory() else None)

    def _facts(self) -> dict[str, Any]:
        return super()._facts() | {"noise_level": "told or unknown" if self.takes_noise_level else "unknown"}

    def fitted_state(self) -> dict[str, Any]:
        """Return what a fitted denoiser has learnt besides its network's weights, as JSON holds it.

        Returns
        -------
        dict
            ``fitted`` in the file ``model.json``; :meth:`restore_state` takes it.
        """
        return super().fitted_state() | {"takes_noise_level": self.takes_noise_level}

    def restore_state(self, state: Mapping[str, Any]) -> None:
        """Take over what :meth:`fitted_state` returned.

        Parameters
        ----------
        state : mapping
            As JSON gives it back.

        Raises
        ------
        KeyError, TypeError, ValueError
            When it is damaged.
        """
        super().restore_state(state)
        self._learnt_levels = bool(state.get("takes_noise_level", True))

    def export_part(self, part: str = "whole") -> ExportedPart:
        """Return the fitted denoiser as a module that can be exported.

        Parameters
        ----------
        part : {"whole"}, default="whole"
            A denoiser has no other part.

        Returns
        -------
        ExportedPart
            Its module has the level of the noise as a second input, which is unknown by default.

        Raises
        ------
        ValueError
            When ``part`` is another one, or ``undo_clipping`` is set.
        """
        if part != "whole":
            raise ValueError(f"this network cannot be divided; export it whole, without part={part!r}")
        if self.undo_clipping is not None:
            raise ValueError("undo_clipping cannot go into the file of this network; set_params(undo_clipping=None)")

        def expected(images: NDArray[Any], noise_level: float | None = None) -> NDArray[Any]:
            # In float64, which is never computed in bfloat16.
            scaled = images.astype(np.float64) / (255 if images.dtype == np.uint8 else 1)
            return self.reconstruct(scaled, noise_level=noise_level)

        return ExportedPart(
            module=ExportedRestorer(self.network_),
            outputs=("restored", "restored_bytes"),
            expected=expected,
            shapes=image_shapes(self.image_shape_, self.network_.stride),
            any_size=True,
            options={"noise_level": _UNKNOWN} if self.takes_noise_level else {},
        )


def _size(read: Read, strips: Sequence[Cut]) -> tuple[int, int]:
    """Height and width of an image."""
    height = max((written.stop for *_, written in strips), default=0)
    return height, read(slice(0, 1)).shape[1] if height else 0


def _seen(read: Read, windows: Sequence[Window]) -> Iterator[Floats]:
    """Windows of an image."""
    return (np.ascontiguousarray(read(rows)[:, columns]) for rows, columns in windows)


def _found(restore: Callable[[Floats], Floats], windows: Iterable[Floats]) -> float:
    """Root mean square of what a network takes away where an image is not even; of small windows, everywhere."""
    sums = []
    for window in windows:
        change = restore(window) - window
        small = min(window.shape[:2]) < SMALLEST
        sums.append((float(np.square(change).sum()), change.size) if small else rms_in_detail(window, change))
    total, count = map(sum, zip(*sums, strict=True))
    return math.sqrt(total / count) if count else 0.0


def _levels(value: Any, count: int) -> NDArray[np.float64]:
    """One level, or one for each image, at least 0 and finite."""
    try:
        levels = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        levels = np.array(np.nan)
    if levels.shape not in ((), (count,)) or not np.isfinite(levels).all() or (levels < 0).any():
        raise ValueError(
            f"noise_level={value!r}; expected a number of at least 0, or one for each of the {count} images"
        )
    return levels
