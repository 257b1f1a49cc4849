"""Meaning of the numbers of a TIFF directory: colours, inks, extra bands, their range, and missing data."""

import math
from dataclasses import replace
from typing import Any

import numpy as np

from hourglass.imagefiles.image import COLOURS, Numbers
from hourglass.imagefiles.reading import UnservedError

WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, PALETTE, MASK, _INKS, _YCC = range(7)
COLOUR_MAP, NO_DATA, _INK_COUNT = 320, 42113, 334
_COLOURS = {
    8: "CIE L*a*b* colours", 9: "ICC L*a*b* colours", 10: "ITU L*a*b* colours", 32803: "the raw mosaic of a camera",
    32844: "LogL luminances", 32845: "LogLuv colours", 34892: "a camera's linear raw image", 51177: "a depth map",
}  # fmt: skip
_EXTRA = {1: "premultiplied", 2: "alpha"}


def roles_of(page: Any) -> tuple[str, ...]:
    """Find the meaning of each band.

    Parameters
    ----------
    page : tifffile.TiffPage
        The directory.

    Returns
    -------
    tuple of str
        Meaning of each band, as in :class:`Plane`.

    Raises
    ------
    UnservedError
        When the colours are of a kind that is not supported.
    ValueError
        When the tags of the directory contradict each other.
    """
    photometric, bands = int(page.photometric), page.samplesperpixel
    kinds = tuple(int(kind) for kind in page.extrasamples)
    if photometric in _COLOURS or photometric > _YCC:
        what = _COLOURS.get(photometric, f"colours of an unknown kind (photometric interpretation {photometric})")
        raise UnservedError(f"holds {what}; convert it to RGB or grey first")
    if photometric == _YCC and (page.compression != 7 or bands != 3 or page.planarconfig != 1):
        raise UnservedError("holds YCbCr colours that are not compressed as JPEG; convert it to RGB first")
    if photometric == PALETTE:
        if bands != 1 or page.dtype.kind not in "ub":
            raise UnservedError("holds palette colours with further bands; convert it to RGB first")
        colours = np.size(page.tags.valueof(COLOUR_MAP, ()))
        if colours != 3 << page.bitspersample:
            raise ValueError(f"its palette has {colours} numbers, and needs {3 << page.bitspersample}")
    if photometric == _INKS:
        inks = page.tags.valueof(_INK_COUNT, bands - len(kinds))
        base: tuple[str, ...] = ("ink",) * max(1, min(int(inks), bands))
    else:
        base = COLOURS if photometric in (_RGB, _YCC) else ("grey",)
    if len(base) > bands:
        raise ValueError(f"it promises {len(base)} colours in {bands} bands")
    further = bands - len(base)
    named = [_EXTRA.get(kind, "extra") for kind in kinds[-further:]] if further else []
    return (*base, *["extra"] * (further - len(named)), *named)


def numbers_of(page: Any, *, inverted: bool) -> Numbers:
    """Find the type, the declared range and the missing value of the numbers.

    Parameters
    ----------
    page : tifffile.TiffPage
        The directory.
    inverted : bool
        Whether white is the smallest number in the file.

    Returns
    -------
    Numbers
        The properties of the numbers, after inversion if the image is inverted.
    """
    dtype = np.dtype(np.uint8) if page.dtype.kind == "b" else np.dtype(page.dtype)
    numbers = Numbers(dtype, page.bitspersample)
    declared = _declared(page, numbers)
    no_data = parse_no_data(page.tags.valueof(NO_DATA), numbers)
    if inverted:
        if declared is not None:
            declared = inversion(declared[1], numbers), inversion(declared[0], numbers)
        no_data = None if no_data is None else inversion(no_data, numbers)
    return replace(numbers, declared=declared, no_data=no_data)


def inversion(value: Any, numbers: Numbers) -> Any:
    """Invert numbers, so that white and black change places.

    Parameters
    ----------
    value : ndarray or float
        Numbers of a plane, or one number.
    numbers : Numbers
        Type of the numbers.

    Returns
    -------
    ndarray or float
        The inverted numbers, in the same type.
    """
    if numbers.limits is None:
        return -value
    low, high = numbers.limits
    if isinstance(value, np.ndarray):
        return ~value if numbers.dtype.kind == "i" else numbers.dtype.type(high) - value
    return low + high - value


def _declared(page: Any, numbers: Numbers) -> tuple[float, float] | None:
    if numbers.limits is None:
        low, high = _extreme(page, (340,), min), _extreme(page, (341,), max)
        return (low, high) if low is not None and high is not None and low < high else None
    low, high = _extreme(page, (340, 280), min), _extreme(page, (341, 281), max)
    smallest, largest = numbers.limits
    if high is not None and high < largest:
        low = max(smallest, low) if low is not None else 0.0
        if low < high:
            return low, high
    return numbers.limits if numbers.bits < 8 * numbers.dtype.itemsize else None


def _extreme(page: Any, codes: tuple[int, ...], pick: Any) -> float | None:
    """Smallest or largest number in the first valid one of several tags; None if none is valid."""
    for code in codes:
        value = page.tags.valueof(code)
        found = np.atleast_1d(np.asarray(value)) if value is not None else np.zeros(0)
        if found.size and found.dtype.kind in "uif" and np.isfinite(found).all():
            return float(pick(found.tolist()))
    return None


def parse_no_data(text: Any, numbers: Numbers) -> float | None:
    """Read the number in GDAL's tag for missing data.

    Parameters
    ----------
    text : Any
        Value of the tag, or None.
    numbers : Numbers
        Type of the numbers in the file.

    Returns
    -------
    float or None
        The number, rounded to the type if this is floating point. None if the tag has no number, or one that the type
        cannot represent.
    """
    try:
        value = float(str(text).strip("\0 ").replace(",", "."))
    except ValueError:
        return None
    if numbers.limits is not None:
        low, high = numbers.limits
        return value if value.is_integer() and low <= value <= high else None
    limits = np.finfo(numbers.dtype)
    if math.isfinite(value):
        value = min(max(value, float(limits.min)), float(limits.max))
    return float(numbers.dtype.type(value))


def is_ramp(page: Any) -> bool:
    """Decide whether a palette only displays numbers in colours, as ImageJ's lookup tables do.

    Parameters
    ----------
    page : tifffile.TiffPage
        A directory with a palette.

    Returns
    -------
    bool
        True if the numbers are the image, and not their colours.
    """
    table = np.asarray(page.tags.valueof(COLOUR_MAP)).reshape(3, -1).astype(np.int64)
    steps = np.diff(table, axis=1)
    return bool(page.is_imagej or ((steps >= 0).all() and (steps.sum(axis=0) > 0).all() and table.shape[1] > 2))
