"""What a fitted autoencoder does with images and codes, and says of itself."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from hourglass.data.arrays import Shape
from hourglass.denoising.clipping import SMALLEST_FOR_LEVEL, estimate_noise_level, undo_clipping
from hourglass.denoising.corruption import Strength
from hourglass.estimators.base import NetworkEstimator
from hourglass.estimators.checks import Corrupt, corruption_of
from hourglass.estimators.exported import ExportedCodec, ExportedPart, image_shapes
from hourglass.estimators.fitting import Floats
from hourglass.estimators.given import DTYPES, by_blocks, check_images, is_stored
from hourglass.estimators.pieces import apply_in_tiles
from hourglass.estimators.scores import ReconstructionScores
from hourglass.estimators.strips import StripByStrip
from hourglass.training import LOSSES

ESTIMATE = "estimate"
TILE = 512
"""Side, in pixels, of the tiles for networks that normalise by the moments of their input image."""


@dataclass(kw_only=True, eq=False, repr=False)
class Reconstruction(
    ReconstructionScores,
    StripByStrip,
    ClassNamePrefixFeaturesOutMixin,  # type: ignore[misc]  # scikit-learn has no type hints: its classes are Any
    TransformerMixin,  # type: ignore[misc]  # scikit-learn has no type hints: its classes are Any
    NetworkEstimator,
):
    """Base of :class:`Autoencoder`, without its training."""

    loss: str = "mse"
    noise: Strength | None = None
    corruption: Corrupt | None = None
    self_supervised: bool | str = False
    undo_clipping: float | str | None = None
    output_bias: str = "mean"

    task: ClassVar[str] = "reconstruction"
    any_size: ClassVar[bool] = False
    """Whether :meth:`reconstruct` takes images of another height and width than those of training."""
    takes_noise_level: ClassVar[bool] = False
    """Whether :meth:`reconstruct` can be told the level of the noise, as its argument ``noise_level``."""
    _kind: ClassVar[str] = ""

    @property
    def has_code(self) -> bool:
        """Whether a code alone determines the image."""
        return True

    def transform(self, X: ArrayLike) -> Floats:
        """Encode images.

        Parameters
        ----------
        X : array-like of shape (n, h, w), (n, h, w, c) or (n, features)
            Images of the size of training. Unsigned bytes are scaled by 1/255, other numbers are taken as they are.

        Returns
        -------
        ndarray of shape (n, code_size), float64 where X is, else float32
            Codes, each number at least 0. A convolutional code is flattened in the order height, width, channel.

        Raises
        ------
        NotFittedError
            When the autoencoder has not been fitted.
        ValueError
            When it has no code, or the images are of another size or scale than those of training.
        """
        self._check_has_code("transform")
        if is_stored(X):
            return by_blocks(self.transform, X)
        images, _ = check_images(self, X)
        return self._infer(lambda network, rows: network.encode(rows), images)

    def inverse_transform(self, X: ArrayLike) -> Floats:
        """Decode codes.

        Parameters
        ----------
        X : array-like of shape (n, code_size)
            Codes, as :meth:`transform` returned them.

        Returns
        -------
        ndarray of shape (n, h, w, c), or (n, features) after flat images in ``fit``; float64 where X is, else float32
            In [0, 1] with ``loss="bce"``, unbounded with ``loss="mse"``.

        Raises
        ------
        NotFittedError
            When the autoencoder has not been fitted.
        ValueError
            When it has no code, the codes have another length, or ``undo_clipping`` is ``"estimate"``.
        """
        self._check_has_code("inverse_transform")
        check_is_fitted(self, "network_")
        codes = np.asarray(X)
        codes = np.ascontiguousarray(codes, dtype=codes.dtype if codes.dtype in DTYPES else np.float32)
        if codes.ndim != 2 or codes.shape[1] != self.network_.code_size:
            raise ValueError(f"X has shape {codes.shape}; expected codes ('n', {self.network_.code_size})")
        decoded = self._infer(lambda network, rows: network.decode(rows), codes, activation=self._activation)
        images = self._unclip(decoded, None)
        return images.reshape(len(images), -1) if self._flat else images

    def reconstruct(self, X: ArrayLike) -> Floats:
        """Encode and decode images: with ``noise`` or ``corruption``, the images without it.

        Networks that normalise by the moments of their input image (``norm`` "group", "instance" or "layer") see an
        image of more than 512 pixels in either direction as overlapping tiles of 512, whose results are blended.

        Parameters
        ----------
        X : array-like of shape (n, h, w), (n, h, w, c) or (n, features)
            Images; where :attr:`any_size` is true, of any height and width. Unsigned bytes are scaled by 1/255, other
            numbers are taken as they are.

        Returns
        -------
        ndarray of the shape of X, float64 where X is, else float32
            In [0, 1] with ``loss="bce"`` or ``undo_clipping``, unbounded with ``loss="mse"``.

        Raises
        ------
        NotFittedError
            When the autoencoder has not been fitted.
        ValueError
            When the images are of another size or scale than those of training.
        """
        if is_stored(X) and self.undo_clipping != ESTIMATE:  # a level is estimated from all images
            return by_blocks(self.reconstruct, X)
        images, _ = check_images(self, X, any_size=self.any_size)
        return self._unclip(self._restore(images), images).reshape(np.shape(X))

    def code_size_for(self, image_shape: Shape) -> int:
        """Count the numbers in a code of such images; nothing is trained.

        Parameters
        ----------
        image_shape : tuple of int
            Height, width, channels.

        Returns
        -------
        int

        Raises
        ------
        ValueError
            When the network has no code.
        """
        self._check_has_code("code_size_for")
        return int(self._unfitted_network(image_shape).code_size)

    def _restore(self, images: Floats) -> Floats:
        """Compute the network's output; in tiles where it normalises by the image and the images are large."""
        network = self.network_

        def whole(rows: Floats) -> Floats:
            return self._infer(
                lambda network, rows: network(rows), rows, activation=self._activation, halo=network.halo
            )

        height, width = images.shape[1:3]
        if not self.any_size or network.halo is not None or max(height, width) <= TILE or not len(images):
            return whole(images)
        size = min(height, TILE), min(width, TILE)
        fade = min(2 * network.receptive_radius + 1, TILE // 2)
        overlap = min(fade, math.ceil(size[0] / 2)), min(fade, math.ceil(size[1] / 2))
        return np.stack([apply_in_tiles(whole, image, size, overlap) for image in images])

    def _check_has_code(self, method: str) -> None:
        """Raise ValueError where no code determines the image."""
        if not self.has_code:
            raise ValueError(f"{method} needs a code that determines the image, and this network has none")

    @property
    def _n_features_out(self) -> int:
        self._check_has_code("get_feature_names_out")
        return int(self.network_.code_size)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    @property
    def _activation(self) -> Callable[..., Tensor] | None:
        return LOSSES[self.loss].activation if self.loss in LOSSES else None

    def _unclip(self, output: Floats, given: Floats | None) -> Floats:
        """Undo clipping where that is wanted."""
        level = self.undo_clipping
        if level is None:
            return output
        if level == ESTIMATE:
            if given is None:
                raise ValueError("undo_clipping='estimate' needs the noisy images, which a code is not; set a level")
            # Too few pixels to tell: taken as free of noise.
            level = estimate_noise_level(given) if min(given.shape[1:3]) >= SMALLEST_FOR_LEVEL else 0
            if level == 0:
                return output
        return undo_clipping(output, float(level)).astype(output.dtype)

    @property
    def effective_corruption(self) -> Corrupt | None:
        """Corruption of the training inputs: ``corruption``, or Gaussian noise of level ``noise``; None without both.

        Raises
        ------
        ValueError
            When both are given, ``noise`` is neither a level nor a pair of levels, or ``corruption`` is not callable.
        """
        return corruption_of(self.noise, self.corruption)

    @property
    def title(self) -> str:
        """Line that says what kind of network is trained, its size, and the noise that it learns to remove."""
        denoising = self.effective_corruption is not None or bool(self.self_supervised)
        said = " ".join(filter(None, ["denoising" if denoising else "", self._kind, "autoencoder"]))
        said = said[0].upper() + said[1:] + self._size_in_words()
        return said if self.noise is None else f"{said}, noise {self.noise}"

    def _size_in_words(self) -> str:
        """What the title says of the network's size, beginning with a comma."""
        return ""

    @property
    def curve_note(self) -> str:
        """Sentences on what the figure of a training's loss shows; empty where there is nothing to say."""
        noisy = f"Both are of images with noise of level {self.noise}, compared with the clean ones."
        return " ".join(filter(None, [noisy if self.noise is not None else "", super().curve_note]))

    def _facts(self) -> dict[str, Any]:
        bounds = (0, 1) if self.undo_clipping else LOSSES[self.loss].output_range
        return {
            "code_size": self.network_.code_size if self.has_code else "none (skip or residual)",
            "any_size": self.any_size,
            "pixels": "trained on {:g} to {:g}".format(*self.pixel_range_),
            "output": "unbounded" if bounds is None else "in [{:g}, {:g}]".format(*bounds),
        }

    def fitted_state(self) -> dict[str, Any]:
        """Return what a fitted autoencoder has learnt besides its network's weights, as JSON holds it.

        Returns
        -------
        dict
            ``fitted`` in the file ``model.json``; :meth:`restore_state` takes it.
        """
        return super().fitted_state() | {"target_range": self._target_range}

    def restore_state(self, state: Mapping[str, Any]) -> None:
        """Take over what :meth:`fitted_state` returned.

        Parameters
        ----------
        state : mapping
            As JSON gives it back. What older versions did not write has the value that it had then.

        Raises
        ------
        KeyError, TypeError, ValueError
            When it is damaged.
        """
        super().restore_state(state)
        if state.get("target_range") is not None:
            low, high = state["target_range"]
            self._target_range = float(low), float(high)

    def export_part(self, part: str = "whole") -> ExportedPart:
        """Return a part of a fitted autoencoder as a module that can be exported.

        Parameters
        ----------
        part : {"whole", "encoder", "decoder"}, default="whole"
            Images to images, images to codes, or codes to images.

        Returns
        -------
        ExportedPart

        Raises
        ------
        ValueError
            When ``undo_clipping`` is ``"estimate"``, or the network has no code by which it could be divided.
        """
        if self.undo_clipping == ESTIMATE:
            raise ValueError(
                "undo_clipping='estimate' cannot go into an ONNX file; set_params(undo_clipping=LEVEL) first"
            )
        if part != "whole" and not self.has_code:
            raise ValueError(
                f"with skip or residual the network cannot be divided; export it whole, without part={part!r}"
            )
        level = None if self.undo_clipping is None else float(self.undo_clipping)
        methods = {"whole": self.reconstruct, "encoder": self.transform, "decoder": self.inverse_transform}
        any_size = self.any_size and part == "whole"
        shapes = image_shapes(self.image_shape_, self.network_.stride if any_size else None)
        return ExportedPart(
            module=ExportedCodec(self.network_, part, LOSSES[self.loss], level),
            outputs=("codes",) if part == "encoder" else ("restored", "restored_bytes"),
            expected=methods[part],
            inputs="codes" if part == "decoder" else "images",
            shapes=[(n, self.network_.code_size) for n in (2, 5)] if part == "decoder" else shapes,
            any_size=any_size,
        )
