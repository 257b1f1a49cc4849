"""What an estimator is given: images as arrays, in files or as a source, checked."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import issparse
from sklearn.utils.validation import _check_y, check_array, check_consistent_length, check_is_fitted, validate_data

from hourglass.data.arrays import check_image_shape, check_unit_range, infer_image_shape, to_images
from hourglass.estimators.checks import check_bytes_fit, check_pixel_range, warn_if_scaled_down
from hourglass.estimators.pieces import to_tensor
from hourglass.training import MemmapSource, ResidentSource, Source

Estimator = Any
"""A :class:`hourglass.estimators.NetworkEstimator`, whose module imports this one."""

Floats = NDArray[np.floating[Any]]

# Integers and half precision become the first.
DTYPES = (np.float32, np.float64)
# Bytes of a file that inference reads at once.
_BLOCK = 16 << 20


def check_images(
    estimator: Estimator,
    X: Any,
    y: Any = None,
    *,
    fitting: bool = False,
    continuing: bool = False,
    unit_range: str | None = None,
    any_size: bool = False,
) -> tuple[Floats, Any]:
    """Images ``(n, h, w, c)``, float32 or float64 as they came, and ``y`` as scikit-learn checks it.

    Parameters
    ----------
    X, y
        As the public methods take them.
    fitting : bool, default=False
        Whether the model takes its image shape and pixel range from these images.
    continuing : bool, default=False
        Whether a network that was trained before continues to train on these images.
    unit_range : str, optional
        Parameter that needs pixels in [0, 1], for the error message; by default any range is accepted.
    any_size : bool, default=False
        Whether images of another height and width are accepted.
    """
    if not fitting:
        check_is_fitted(estimator, "network_")
    array = X if hasattr(X, "columns") or issparse(X) else np.asarray(X)
    stacked = array.ndim > 2
    shape = estimator.image_shape if fitting else estimator.image_shape_
    shape = shape and tuple(shape)  # three numbers, as check_parameters has seen
    if stacked:
        shape = shape or infer_image_shape(array.shape, square=estimator._square_images)
        if any_size and array.shape[3:] in ((), (shape[2],)) and array.size:
            shape = (*array.shape[1:3], shape[2])
        check_image_shape(array.shape, shape, name="X")
        dtypes = {array.dtype}
        array = array.reshape(len(array), -1)
    else:
        dtypes = set(getattr(array, "dtypes", ())) or {getattr(array, "dtype", None)}
    training = fitting or continuing
    check_width = not stacked or fitting
    # In inference the numbers are looked at piece by piece, when they are in the cache anyway.
    rows, y = _validated(estimator, array, y, fitting=fitting, check_width=check_width, ensure_all_finite=training)
    if shape is None:
        shape = infer_image_shape(rows.shape, square=estimator._square_images)
    check_image_shape(rows.shape, shape, name="X")
    images = rows.reshape(len(rows), *shape)
    if dtypes == {np.dtype(np.uint8)}:
        if not fitting:
            check_bytes_fit(estimator.pixel_range_)
        images = images / images.dtype.type(255)
    if unit_range is not None:
        check_unit_range(images, unit_range, name="X")
    span = (float(images.min()), float(images.max())) if training else None
    if fitting and span:
        estimator.pixel_range_ = span
        estimator.image_shape_ = tuple(int(length) for length in shape)
        estimator._flat = not stacked
    elif continuing and span:
        check_pixel_range(*span, estimator.pixel_range_, name="X")
        estimator.pixel_range_ = min(span[0], estimator.pixel_range_[0]), max(span[1], estimator.pixel_range_[1])
    else:
        warn_if_scaled_down(images, estimator.pixel_range_)
    return images, y


def training_source(
    estimator: Estimator, X: Any, *, fitting: bool, continuing: bool, unit_range: str | None = None
) -> Source:
    """Images to train on: a source as it is, an array in a file as one, and all else as float32 in memory.

    Parameters
    ----------
    X
        As the public methods take it.
    fitting, continuing, unit_range
        As in :func:`check_images`.
    """
    if not isinstance(X, Source) and not is_stored(X):
        images, _ = check_images(estimator, X, fitting=fitting, continuing=continuing, unit_range=unit_range)
        return resident(images.astype(np.float32, copy=False))
    known: tuple[float, float] = getattr(estimator, "pixel_range_", (0.0, 0.0))  # looked at where there is one
    if isinstance(X, Source):
        first = X.first(1)
        if first.dim() != 4:
            raise ValueError(f"the source has inputs of shape {('n', *first.shape[1:])}; expected images (n, c, h, w)")
        one = first.permute(0, 2, 3, 1).cpu().numpy()
    else:
        if X.ndim > 2 and estimator.image_shape is None:
            infer_image_shape(X.shape, square=estimator._square_images)
        one = np.asarray(X[:1])
    # The first image says what the others are; all are read for the range of their numbers alone.
    check_images(estimator, one, fitting=fitting, continuing=continuing)
    source = X if isinstance(X, Source) else MemmapSource(X, estimator.image_shape_)
    low, high = _checked_range(source, "X", unit_range)
    if not fitting:
        check_pixel_range(low, high, known, name="X")
        low, high = min(low, known[0]), max(high, known[1])
    estimator.pixel_range_ = low, high
    return source


def labelled_source(
    estimator: Estimator, X: Any, y: Any, *, fitting: bool, continuing: bool
) -> tuple[Source, NDArray[Any]]:
    """Images to train on, as :func:`training_source` returns them, and their labels as scikit-learn checks them."""
    if not isinstance(X, Source) and not is_stored(X):
        images, labels = check_images(estimator, X, y, fitting=fitting, continuing=continuing)
        return resident(images.astype(np.float32, copy=False)), labels
    labels = _check_y(y, estimator=estimator)
    check_consistent_length(labels, range(len(X)))
    return training_source(estimator, X, fitting=fitting, continuing=continuing), labels


def image_source(estimator: Estimator, values: ArrayLike, name: str, *, unit_range: str | None = None) -> Source:
    """Images of the fitted shape, such as targets, as a source; an array in a file stays there.

    Parameters
    ----------
    values : array-like of shape (n, h, w), (n, h, w, c) or (n, features)
    name : str
        What to call them in errors.
    unit_range : str, optional
        Parameter that needs pixels in [0, 1].
    """
    shape = estimator.image_shape_
    if not is_stored(values):
        return resident(to_images(values, shape, unit_range=unit_range, name=name))
    check_image_shape(np.shape(values), shape, name=name)
    source = MemmapSource(np.asanyarray(values), shape)
    _checked_range(source, name, unit_range)
    return source


def resident(images: Floats) -> ResidentSource:
    """Images ``(n, h, w, c)`` as a source in memory, on the CPU."""
    return ResidentSource(to_tensor(images, torch.device("cpu")))


def is_stored(values: Any) -> bool:
    """Whether values are an array in a file, of images that can be read batch by batch."""
    return isinstance(values, np.memmap) and values.dtype.kind in "buif" and values.ndim > 1 and values.size > 0


def by_blocks(function: Callable[[NDArray[Any]], NDArray[Any]], values: Any) -> NDArray[Any]:
    """Apply a function of images to an array in a file, block by block; returns the results together."""
    size = max(1, _BLOCK // values[:1].nbytes)
    result: NDArray[Any] | None = None
    for start in range(0, len(values), size):
        part = function(np.array(values[start : start + size]))
        if result is None:
            result = np.empty((len(values), *part.shape[1:]), part.dtype)
        result[start : start + size] = part
    return np.asarray(result)


def _checked_range(source: Source, name: str, unit_range: str | None) -> tuple[float, float]:
    low, high = source.value_range()
    if not np.isfinite([low, high]).all():
        raise ValueError(f"Input {name} contains NaN or infinity; remove or replace those values")
    if unit_range is not None:
        check_unit_range(np.array([low, high]), unit_range, name=name)
    return low, high


def _validated(
    estimator: Estimator, rows: Any, y: Any, *, fitting: bool, check_width: bool, ensure_all_finite: bool
) -> tuple[Floats, Any]:
    options: dict[str, Any] = {"dtype": DTYPES, "ensure_all_finite": ensure_all_finite}
    if y is not None:
        both: tuple[Floats, Any] = validate_data(estimator, rows, y, reset=fitting, **options)
        return both
    if check_width:
        return validate_data(estimator, rows, reset=fitting, **options), None
    return check_array(rows, estimator=estimator, input_name="X", **options), None
