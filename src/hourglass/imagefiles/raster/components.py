"""The components of a JPEG (luma, chroma, inks) that show given pixels.

A decoder shows less than a file stores: it clips numbers that ringing made larger than 255, and it smooths chroma when
it enlarges it. If the decoded image were encoded, each writing would lose this information again. Therefore the stored
coefficients are recovered here, and the change of the image is added to them. An unchanged image keeps its
coefficients.
"""

from functools import reduce
from math import ceil

import numpy as np
from numpy.typing import NDArray

from hourglass.imagefiles.image import Raw
from hourglass.imagefiles.raster.frames import Frame, as_levels, decode_components

# Luma and chroma from red, green and blue, by JFIF 1.02.
_TO_YCC = np.array([[0.299, 0.587, 0.114], [-0.168735892, -0.331264108, 0.5], [0.5, -0.418687589, -0.081312411]], "f4")
# When a pixel changes by this many levels or more, what its decoder clipped or smoothed is no longer restored.
_FORGETS = 8.0
_ITERATIONS = 40
_ROWS = 512


def padded_size(frame: Frame) -> tuple[int, int]:
    """Compute the size of an image in whole blocks.

    Parameters
    ----------
    frame : Frame
        The image.

    Returns
    -------
    width : int
        Width in pixels, up to the edge of the last block of every scan.
    height : int
        Height in pixels, up to the edge of the last block of every scan.
    """
    one_scan = sum(part.name == "SOS" for part in frame.parts) == 1
    most = [max(c[i] for c in frame.components) if one_scan and len(frame.components) > 1 else 1 for i in (1, 2)]
    width, height = (-(-size // (8 * n)) * 8 * n for size, n in zip((frame.width, frame.height), most, strict=True))
    return width, height


def components(frame: Frame, values: Raw, before: Raw) -> list[NDArray[np.uint8]]:
    """Compute the components of an image, in whole blocks.

    Parameters
    ----------
    frame : Frame
        The JPEG before the change.
    values : ndarray of shape (h, w, bands), uint8
        The new pixels, like those that :func:`~hourglass.imagefiles.raster.frames.decode` returns.
    before : ndarray of shape (h, w, bands), uint8
        The pixels that the frame shows.

    Returns
    -------
    list of ndarray of shape (rows, columns), uint8
        Each component at the size at which the file stores it, extended to the edge of its last block.
    """
    width, height = padded_size(frame)
    stored = decode_components(frame, width, height)
    change = np.empty(values.shape[:2], np.float32)
    for top in range(0, len(values), _ROWS):
        rows = slice(top, top + _ROWS)
        step = np.abs(values[rows].astype(np.int16) - before[rows])
        change[rows] = reduce(np.maximum, np.moveaxis(step, 2, 0))
    found = []
    for i, component in enumerate(frame.components):
        across, down = frame.ratio(component)
        table = np.array(frame.tables[component.table], np.float32)
        # Size in whole blocks of this component, which can be smaller than that of the image.
        size = [8 * ceil(ceil(n / ratio) / 8) for n, ratio in ((height, down), (width, across))]
        unclipped = _resized(shrunk(as_levels(stored[..., i]), across, down), size)
        if change.any():
            new, old = (shrunk(_component(frame, image, i), across, down) for image in (values, before))
            same = np.clip(1 - _largest(change, across, down) / _FORGETS, 0, 1)
            shown = unclipped[: new.shape[0], : new.shape[1]]
            change_here = new - shown + same * (shown - old)
            unclipped += _resized(change_here, size)
        found.append(_representable(unclipped, table))
    return found


def _resized(plane: NDArray[np.float32], size: list[int]) -> NDArray[np.float32]:
    """Crop a plane to a height and a width, or extend it by repeating its edges."""
    cropped = plane[: size[0], : size[1]]
    missing = [(0, n - m) for n, m in zip(size, cropped.shape, strict=True)]
    return np.pad(cropped, missing, mode="edge")


def _component(frame: Frame, image: Raw, i: int) -> Raw:
    """One component of an image, at the size of the image."""
    if i == 3 or frame.colour == "CMYK":
        return 255 - image[..., i] if frame.inverted else image[..., i]
    if frame.colour in ("grey", "RGB"):
        return image[..., i]
    # In YCCK, luma and chroma describe a colour, and Adobe's files invert this colour to inks.
    out = np.full(image.shape[:2], 128 if i else 0, np.float32)
    for band in range(3):
        inverse = frame.colour == "YCCK" and not frame.inverted
        out += _TO_YCC[i, band] * (255 - image[..., band] if inverse else image[..., band])
    return out


def _largest(change: NDArray[np.float32], across: int, down: int) -> NDArray[np.float32]:
    """Largest change among the pixels that each stored number represents."""
    height, width = change.shape
    padded = np.pad(change, ((0, -height % down), (0, -width % across)))
    rows: NDArray[np.float32] = reduce(np.maximum, (padded[i::down] for i in range(down)))
    return reduce(np.maximum, (rows[:, i::across] for i in range(across)))


def _blocks(plane: Raw) -> NDArray[np.float32]:
    """Blocks ``(n, 8, 8)`` of a plane, less 128."""
    height, width = plane.shape
    shaped = plane.reshape(height // 8, 8, width // 8, 8).swapaxes(1, 2).reshape(-1, 8, 8)
    return shaped.astype(np.float32) - np.float32(128)


def _plane(blocks: NDArray[np.float32], width: int) -> NDArray[np.float32]:
    shaped = blocks.reshape(-1, width // 8, 8, 8).swapaxes(1, 2)
    return shaped.reshape(-1, width) + np.float32(128)


def _representable(plane: NDArray[np.float32], table: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Find a plane within 0 to 255 whose quantised coefficients are the same, if there is one.

    The planes within this range form a convex set, and so do those with these coefficients. Alternating projections on
    the two sets converge to a plane in both, if there is one (Bregman, 1965). The file's original image is in both.
    """
    from scipy.fft import dctn, idctn

    out = np.empty(plane.shape, np.uint8)
    steps = table.reshape(8, 8)
    half = np.maximum(steps * 0.45 - 0.5, 0)  # half a step, less a margin for rounding to whole numbers
    for top in range(0, len(plane), _ROWS):
        rows = slice(top, top + _ROWS)
        blocks = _blocks(plane[rows])
        outside = np.flatnonzero((blocks.min(axis=(1, 2)) < -128.5) | (blocks.max(axis=(1, 2)) > 127.5))
        if len(outside):
            centre = np.rint(dctn(blocks[outside], axes=(1, 2), norm="ortho") / steps) * steps
            inside = blocks[outside]
            for _ in range(_ITERATIONS):
                coefficients = dctn(np.clip(inside, -128, 127), axes=(1, 2), norm="ortho")
                inside = idctn(np.clip(coefficients, centre - half, centre + half), axes=(1, 2), norm="ortho")
            blocks[outside] = inside
        out[rows] = np.clip(np.rint(_plane(blocks, plane.shape[1])), 0, 255)
    return out


def shrunk(full: Raw, across: int, down: int) -> NDArray[np.float32]:
    """Shrink a component so that, when a decoder enlarges it again, each group of pixels keeps its mean.

    libjpeg enlarges by 2 with a triangular filter: each pixel is three quarters of the nearest number and one quarter
    of the next ("fancy upsampling"). The mean of the two pixels of number i is then (c[i-1] + 6 c[i] + c[i+1]) / 8, and
    this system of equations is solved here. Plain averaging would smooth the chroma at each writing. With other
    factors, libjpeg repeats the number, and the mean is the solution.

    Parameters
    ----------
    full : ndarray of shape (h, w), integer or floating point
        The component at the size of the image.
    across : int
        Number of pixels, horizontally, that one number represents.
    down : int
        Number of pixels, vertically, that one number represents.

    Returns
    -------
    ndarray of shape (ceil(h / down), ceil(w / across)), float32
        The component at the size at which it is stored.
    """
    values = np.asarray(full, np.float32)
    width = -(-full.shape[1] // across)
    # The conditions under which libjpeg uses the triangular filter.
    wide = across == 2 and down <= 2 and width > 2
    tall = down == 2 and (across == 1 or wide)
    narrow = _averaged(values, across, triangle=wide)
    return _averaged(narrow.T, down, triangle=tall).T


def _averaged(values: NDArray[np.float32], factor: int, *, triangle: bool) -> NDArray[np.float32]:
    """Shrink rows ``(h, w)`` by a factor."""
    if factor == 1:
        return values
    from scipy.linalg import solve_banded
    from scipy.ndimage import spline_filter1d

    width, count = values.shape[1], -(-values.shape[1] // factor)
    padded = np.pad(values, ((0, 0), (0, count * factor - width)), mode="edge")
    total: NDArray[np.float32] = reduce(np.add, (padded[:, i::factor] for i in range(factor)))
    means: NDArray[np.float32] = total / np.float32(factor)
    if not triangle or count == 1:
        return means
    if not width % 2:  # the numbers are then the coefficients of a quadratic spline through the means
        coefficients: NDArray[np.float32] = spline_filter1d(means, 2, axis=1, output=np.float32, mode="reflect")
        return coefficients
    bands = np.full((3, count), 1 / 8)
    bands[1] = 6 / 8
    bands[1, 0] = 7 / 8
    bands[1, -1], bands[2, -2] = 3 / 4, 1 / 4  # only one pixel of the last number is shown
    solved: NDArray[np.float32] = solve_banded((1, 1), bands, means.T).T.astype(np.float32)
    return solved
