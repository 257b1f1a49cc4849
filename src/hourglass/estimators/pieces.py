"""One way through a network for images of any number and size: in pieces of bounded memory, several at once.

Small images go together, as many as fit the cache. A large image is cut into blocks in both directions, each computed
with the halo of the network, so that the result is that of the whole image. Networks without a halo, which take one
size or look at the whole image at once, get overlapping tiles that fade into each other.
"""

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hourglass.runtime import tricks
from hourglass.runtime.hardware import saves_memory
from hourglass.runtime.threads import on_threads

# Pixels in one piece of small images: enough to fill the vector units, few enough for the cache.
PIECE = 200_000
# Pixels of the largest image that is computed whole, and of a block with its halo. The maps of the digits' denoiser
# take 700 bytes a pixel, in each of the threads. Smaller blocks compute more of their neighbours, and are taken where
# a process saves memory, as it does with folders of images.
BLOCK, SMALL_BLOCK = 600_000, 80_000
# A block measures at least so many halos each way, its own included: those of deep networks are wide.
_HALOS = 6
# Pixels of the tiles that go through a network at a time: several pieces for each of some threads.
_TILES = 16 * PIECE

# Threads that work on files at once share the memory of a device.
_one_at_a_time = threading.Lock()

Place = tuple[slice, ...]
Cut = tuple[slice, slice, slice]


def apply_in_pieces(
    function: Callable[[Tensor], Tensor],
    rows: Tensor,
    shape: Sequence[int],
    *,
    activation: Callable[..., Tensor] | None = None,
    halo: tuple[int, int] | None = None,
    check: Callable[[Tensor], None] | None = None,
    block: int | None = None,
) -> Tensor:
    """Apply a function of rows to all of them.

    On the CPU as many pieces are computed at once as PyTorch has threads, elsewhere one after another. Besides rows and
    result, each piece in progress takes the memory that the function needs for ``block`` pixels.

    Parameters
    ----------
    function : callable
        Function that takes some of the rows and returns as many rows.
    rows : torch.Tensor of shape (n, ...)
        Images ``(n, c, h, w)``, or codes.
    shape : sequence of int
        Height and width of the image that a row is or becomes.
    activation : callable, optional
        Function of the outputs that takes ``out=``, as :func:`torch.sigmoid`.
    halo : (stride, radius), optional
        Stride and receptive radius in pixels of a network that takes images of any size. Images of more than ``block``
        pixels are cut into blocks that begin at multiples of the stride, each computed with at least ``radius``
        pixels of its neighbours, so that the result is the same.
    check : callable, optional
        Called with each piece of the rows before it is computed; raises where the piece is not what it should be.
    block : int, optional
        Largest number of pixels of a block with its halo; more where that would leave less than four halos of the
        block itself each way. By default 600,000, or 80,000 where the process saves memory.

    Returns
    -------
    torch.Tensor of shape (n, ...), of the dtype and on the device of rows
        Images are laid out channels last.

    Raises
    ------
    Exception
        Whatever ``check`` raises.
    """
    if block is None:
        block = SMALL_BLOCK if saves_memory() else BLOCK
    places = list(_places(rows, shape, halo, block))
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
        with _one_at_a_time:
            for place in places:
                compute(place)
    return result[0]


def _places(
    rows: Tensor, shape: Sequence[int], halo: tuple[int, int] | None, block: int
) -> Iterator[tuple[Place, Place, Place]]:
    """Of each piece: where it is read, what of its output counts, where that goes."""
    height, width = shape[0], shape[1]
    if halo is not None and height * width > block and tricks.uses("pieces"):
        down, across = cut(height, width, halo, block)
        every = slice(None)
        for row in range(len(rows)):
            one = slice(row, row + 1)
            for top in down:
                for left in across:
                    read, inner, written = zip(top, left, strict=True)
                    yield (one, every, *read), (every, every, *inner), (one, every, *written)
        return
    count = max(1, PIECE // (height * width))
    for start in range(0, max(len(rows), 1), count):  # of no rows, one empty piece
        some = (slice(start, start + count),)
        yield some, (), some


def cut(height: int, width: int, halo: tuple[int, int], block: int) -> tuple[list[Cut], list[Cut]]:
    """Cut an image into blocks, such that the fewest pixels are computed twice.

    Parameters
    ----------
    height, width : int
        Size of the image, in pixels.
    halo : (stride, radius)
        As for :func:`apply_in_pieces`.
    block : int
        Largest number of pixels of a block with its halo, as for :func:`apply_in_pieces`.

    Returns
    -------
    down, across : list of (read, inner, written)
        For each row and each column of blocks three slices: of the image, what a block is computed from; of the
        block's output, what counts; of the result, where that goes.
    """
    stride, radius = halo
    margin = math.ceil(radius / stride) * stride
    most = max(block, (max(_HALOS * margin, 3 * stride)) ** 2)
    best: tuple[int, int, int] | None = None
    for columns in range(1, math.ceil(width / stride) + 1):
        across = math.ceil(width / columns / stride) * stride
        largest = (most // min(across + 2 * margin, width) - 2 * margin) // stride * stride
        if most // min(across + 2 * margin, width) >= height:
            largest = height
        if largest < stride:
            continue
        rows = math.ceil(height / largest)
        down = math.ceil(height / rows / stride) * stride
        computed = (height + 2 * margin * (rows - 1)) * (width + 2 * margin * (columns - 1))
        if best is None or computed < best[0]:
            best = computed, down, across
        if rows == 1:  # more columns compute more
            break
    _, down, across = best or (0, stride, stride)
    return cut_axis(height, down, margin), cut_axis(width, across, margin)


def cut_axis(length: int, step: int, margin: int) -> list[Cut]:
    """Cut an axis into parts that overlap.

    Parameters
    ----------
    length : int
        Of the axis, in pixels.
    step : int
        Pixels from the begin of one part to that of the next.
    margin : int
        Pixels on both sides of a part from which it is computed too.

    Returns
    -------
    list of (read, inner, written)
        As :func:`cut` returns them for two axes.
    """
    found = []
    for begin in range(0, length, step):
        end = min(begin + step, length)
        first, last = max(begin - margin, 0), min(end + margin, length)
        found.append((slice(first, last), slice(begin - first, end - first), slice(begin, end)))
    return found


def apply_in_tiles(
    function: Callable[[NDArray[Any]], NDArray[Any]],
    image: NDArray[Any],
    size: tuple[int, int],
    overlap: tuple[int, int],
) -> NDArray[Any]:
    """Apply a function of images of one size to a larger or smaller image: tile by tile, one fading into the next.

    The result is not that of a function that takes the whole image: what a tile does not see has no part in it. Where
    the network has a halo, :func:`apply_in_pieces` is exact.

    Parameters
    ----------
    function : callable
        Function that takes images ``(n, tall, wide, c)`` and returns as many of the same shape.
    image : ndarray of shape (h, w, c), float32 or float64
        The image.
    size : (tall, wide)
        Height and width of a tile; an image that is smaller is continued by its edges.
    overlap : (int, int)
        Pixels over which a tile fades into the one below and the one beside it, at least 0 and at most half a tile
        (rounded up).

    Returns
    -------
    ndarray of shape (h, w, c), of the dtype of the image
        The blended results.
    """
    height, width, channels = image.shape
    (tall, wide), beyond = size, [max(size[0] - image.shape[0], 0), max(size[1] - image.shape[1], 0)]
    padded = np.pad(image, ((0, beyond[0]), (0, beyond[1]), (0, 0)), mode="edge") if any(beyond) else image
    result = np.zeros(padded.shape, dtype=image.dtype)
    down, across = (_fading(*axis) for axis in zip(padded.shape, size, overlap, strict=False))
    places = [(top, left) for top in down for left in across]
    count = max(1, _TILES // (tall * wide))
    for start in range(0, len(places), count):
        some = places[start : start + count]
        tiles = np.empty((len(some), tall, wide, channels), dtype=image.dtype)
        for tile, ((top, _), (left, _)) in zip(tiles, some, strict=True):
            tile[...] = padded[top : top + tall, left : left + wide]
        for tile, ((top, low), (left, high)) in zip(function(tiles), some, strict=True):
            weights = np.multiply.outer(low, high).astype(image.dtype)
            result[top : top + tall, left : left + wide] += tile * weights[..., None]
    return result[:height, :width]


def _fading(length: int, tile: int, overlap: int) -> list[tuple[int, NDArray[np.float64]]]:
    """Begin and weights of each tile along one axis; the weights at each place sum to 1."""
    starts = sorted({*range(0, length - tile, max(tile - overlap, 1)), length - tile})
    places = np.arange(1, tile + 1)
    ramp = np.minimum(np.minimum(places, places[::-1]), max(overlap, 1)).astype(np.float64)
    total = np.zeros(length)
    for start in starts:
        total[start : start + tile] += ramp
    return [(start, ramp / total[start : start + tile]) for start in starts]


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
