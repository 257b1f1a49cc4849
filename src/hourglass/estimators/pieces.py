"""Applying a network to many images, or to large ones: in pieces that fit the cache, several at once."""

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hourglass.runtime import tricks
from hourglass.runtime.threads import on_threads

# Pixels in one piece: enough to fill the vector units, few enough for the cache.
PIECE = 200_000
# How much higher a strip of a large image is than what it must see of its neighbours.
_STRIP = 8

Place = tuple[slice, ...]


def apply_in_pieces(
    function: Callable[[Tensor], Tensor],
    rows: Tensor,
    shape: Sequence[int],
    *,
    activation: Callable[..., Tensor] | None = None,
    halo: tuple[int, int] | None = None,
    check: Callable[[Tensor], None] | None = None,
) -> Tensor:
    """Apply a function of rows to all of them.

    Parameters
    ----------
    function : callable
        Of some of the rows, to as many rows.
    rows : torch.Tensor of shape (n, ...)
        Images ``(n, c, h, w)``, or codes.
    shape : sequence of int
        Height and width of the image that a row is or becomes.
    activation : callable, optional
        Of the outputs; takes ``out=``, as :func:`torch.sigmoid`.
    halo : (stride, radius), optional
        Of a network that takes images of any size, in pixels: large ones are cut into strips, each computed with
        so much of its neighbours that the result is the same.
    check : callable, optional
        Called with each piece of the rows before it is computed; raises where the piece is not what it should be.

    Returns
    -------
    torch.Tensor of shape (n, ...), of the dtype and on the device of rows
        Images are laid out channels last.

    Raises
    ------
    Exception
        Whatever ``check`` raises.
    """
    places = list(_places(rows, shape, halo))
    result: list[Tensor] = []
    lock = threading.Lock()

    @torch.inference_mode()
    def compute(place: tuple[Place, Place, Place]) -> None:
        source, inner, target = place
        piece = rows[source]
        if check is not None:
            check(piece)
        output = function(piece)[inner].to(rows.dtype)
        with lock:
            if not result:
                size = (len(rows), *output.shape[1:2], *rows.shape[2:]) if halo else (len(rows), *output.shape[1:])
                result.append(_empty(size, output))
        if activation is None:
            result[0][target].copy_(output)
        else:
            activation(output, out=result[0][target])

    if rows.device.type == "cpu" and tricks.uses("pieces"):
        on_threads(compute, places)
    else:
        for place in places:
            compute(place)
    return result[0]


def _places(rows: Tensor, shape: Sequence[int], halo: tuple[int, int] | None) -> Iterator[tuple[Place, Place, Place]]:
    """Of each piece: where it is read, what of its output counts, where that goes."""
    height, width = shape[0], shape[1]
    if halo is not None and height * width > 2 * PIECE and tricks.uses("pieces"):
        stride, radius = halo
        margin = math.ceil(radius / stride) * stride
        strip = max(math.ceil(PIECE / width / stride) * stride, _STRIP * margin)
        every = slice(None)
        for row in range(len(rows)):
            for top in range(0, height, strip):
                bottom = min(top + strip, height)
                first, last = max(top - margin, 0), min(bottom + margin, height)
                one = slice(row, row + 1)
                inner = (every, every, slice(top - first, bottom - first))
                yield (one, every, slice(first, last)), inner, (one, every, slice(top, bottom))
        return
    count = max(1, PIECE // (height * width))
    for start in range(0, max(len(rows), 1), count):  # of no rows, one empty piece
        some = (slice(start, start + count),)
        yield some, (), some


def _empty(size: tuple[int, ...], like: Tensor) -> Tensor:
    if len(size) != 4:
        return like.new_empty(size)
    n, channels, height, width = size
    return like.new_empty((n, height, width, channels)).permute(0, 3, 1, 2)


def to_tensor(values: NDArray[Any], device: torch.device, dtype: Any = np.float32) -> Tensor:
    """Rows on the device; images ``(n, h, w, c)`` become ``(n, c, h, w)``, channels last in memory as they were."""
    array = np.ascontiguousarray(values, dtype=dtype)
    # A copy where the array is read-only, since PyTorch has no such tensors.
    tensor = torch.from_numpy(array if array.flags.writeable else array.copy()).to(device)
    return tensor.permute(0, 3, 1, 2) if tensor.dim() == 4 else tensor
