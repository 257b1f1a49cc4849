"""The components of a JPEG (luma, chroma, inks) that show given pixels.

A decoder shows less than a file stores: it clips what ringing made larger than 255, and smooths chroma when it enlarges
it. Encoding what the decoder shows would lose that once more with each writing. So the stored coefficients are
recovered here, and what changed is added to them: an image that did not change keeps its coefficients.
"""

from math import ceil

import numpy as np
from numpy.typing import NDArray

from hourglass.imagefiles.image import Raw
from hourglass.imagefiles.raster.frames import Frame, as_levels, decode_components

# JFIF 1.02: luma and chroma of red, green and blue.
_TO_YCC = np.array([[0.299, 0.587, 0.114], [-0.168735892, -0.331264108, 0.5], [0.5, -0.418687589, -0.081312411]], "f4")
# A pixel that changes by so many levels forgets what its colour was before it was cut to 0 to 255.
_FORGETS = 8.0
_ITERATIONS = 40
_ROWS = 512


def padded_size(frame: Frame) -> tuple[int, int]:
    """Width and height of an image's blocks, all of which a file with several scans need not hold."""
    one_scan = sum(part.name == "SOS" for part in frame.parts) == 1
    most = [max(c[i] for c in frame.components) if one_scan and len(frame.components) > 1 else 1 for i in (1, 2)]
    width, height = (-(-size // (8 * n)) * 8 * n for size, n in zip((frame.width, frame.height), most, strict=True))
    return width, height


def components(frame: Frame, values: Raw, before: Raw) -> list[NDArray[np.uint8]]:
    """The components that show an image, in whole blocks.

    Parameters
    ----------
    frame : Frame
    values : ndarray of shape (h, w, bands)
        Pixels to show, of the kind that :func:`~hourglass.imagefiles.raster.frames.decode` returns.
    before : ndarray of the same shape
        Pixels that the frame shows.

    Returns
    -------
    list of ndarray, uint8
        Each at the size at which the file stores it. Where blocks are larger than the image they go on beyond it.
    """
    width, height = padded_size(frame)
    stored = decode_components(frame, width, height)
    change = np.empty(values.shape[:2], np.float32)
    for top in range(0, len(values), _ROWS):
        rows = slice(top, top + _ROWS)
        change[rows] = np.abs(values[rows].astype(np.int16) - before[rows]).max(axis=2)
    found = []
    for i, component in enumerate(frame.components):
        across, down = frame.ratio(component)
        table = np.array(frame.tables[component.table], np.float32)
        # The area in blocks of this component, which can be smaller than that of all.
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
    """A plane that is cropped, or whose edges are repeated, to a height and a width."""
    cropped = plane[: size[0], : size[1]]
    missing = [(0, n - m) for n, m in zip(size, cropped.shape, strict=True)]
    return np.pad(cropped, missing, mode="edge")


def _component(frame: Frame, image: Raw, i: int) -> Raw:
    """One component of pixels, at their size."""
    if i == 3 or frame.colour == "CMYK":
        return 255 - image[..., i] if frame.inverted else image[..., i]
    if frame.colour in ("grey", "RGB"):
        return image[..., i]
    # What luma and chroma of YCCK describe is the colour that Adobe's files have inverted to inks.
    out = np.full(image.shape[:2], 128 if i else 0, np.float32)
    for band in range(3):
        inverse = frame.colour == "YCCK" and not frame.inverted
        out += _TO_YCC[i, band] * (255 - image[..., band] if inverse else image[..., band])
    return out


def _largest(change: NDArray[np.float32], across: int, down: int) -> NDArray[np.float32]:
    """Largest of each group of pixels for which one number stands."""
    height, width = change.shape
    padded = np.pad(change, ((0, -height % down), (0, -width % across)))
    found: NDArray[np.float32] = padded.reshape(-(-height // down), down, -(-width // across), across).max(axis=(1, 3))
    return found


def _blocks(plane: Raw) -> NDArray[np.float32]:
    """Blocks ``(n, 8, 8)`` of a plane, around 0."""
    height, width = plane.shape
    shaped = plane.reshape(height // 8, 8, width // 8, 8).swapaxes(1, 2).reshape(-1, 8, 8)
    return shaped.astype(np.float32) - np.float32(128)


def _plane(blocks: NDArray[np.float32], width: int) -> NDArray[np.float32]:
    shaped = blocks.reshape(-1, width // 8, 8, 8).swapaxes(1, 2)
    return shaped.reshape(-1, width) + np.float32(128)


def _representable(plane: NDArray[np.float32], table: NDArray[np.float32]) -> NDArray[np.uint8]:
    """A plane within 0 to 255 that is quantised to the same coefficients, where there is one.

    Both the planes within the range and those with these coefficients are convex sets: projecting on each in turn leads
    to a plane in both, if there is one (Bregman, 1965). The image from which the file was made is in both.
    """
    from scipy.fft import dctn, idctn

    out = np.empty(plane.shape, np.uint8)
    steps = table.reshape(8, 8)
    half = np.maximum(steps * 0.45 - 0.5, 0)  # what is left of half a step after rounding to whole numbers
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
    """Shrink a component, such that the average of what decoders show for a number is the average that was given.

    libjpeg enlarges by two with a triangle: three quarters of the nearest number and a quarter of the next ("fancy
    upsampling"). The average of the two pixels made from number i is then (c[i-1] + 6 c[i] + c[i+1]) / 8. Averaging
    alone would smooth the chroma once more each time that a file is written. Other factors repeat the number, and for
    them the average is enough.

    Parameters
    ----------
    full : ndarray of shape (h, w)
    across, down : int
        Pixels that a number stands for.

    Returns
    -------
    ndarray of shape (ceil(h / down), ceil(w / across)), float32
    """
    values = np.asarray(full, np.float32)
    width = -(-full.shape[1] // across)
    # libjpeg's conditions for the triangle.
    wide = across == 2 and down <= 2 and width > 2
    tall = down == 2 and (across == 1 or wide)
    narrow = _averaged(values, across, triangle=wide)
    return _averaged(narrow.T, down, triangle=tall).T


def _averaged(values: NDArray[np.float32], factor: int, *, triangle: bool) -> NDArray[np.float32]:
    """Shrink rows ``(h, w)`` by a factor."""
    if factor == 1:
        return values
    from scipy.linalg import solve_banded

    width, count = values.shape[1], -(-values.shape[1] // factor)
    padded = np.pad(values, ((0, 0), (0, count * factor - width)), mode="edge")
    means: NDArray[np.float32] = padded.reshape(len(values), count, factor).mean(axis=2, dtype=np.float32)
    if not triangle or count == 1:
        return means
    bands = np.full((3, count), 1 / 8)
    bands[1] = 6 / 8
    bands[1, 0] = bands[1, -1] = 7 / 8
    if width % 2:  # of the last number one pixel alone is shown
        bands[1, -1], bands[2, -2] = 3 / 4, 1 / 4
    solved: NDArray[np.float32] = solve_banded((1, 1), bands, means.T).T.astype(np.float32)
    return solved
