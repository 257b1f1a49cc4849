"""How the range of an image file's numbers is found, which networks see as [0, 1].

Scientific cameras store 10, 12 or 14 bits in 16-bit files and add an offset of their own, and floating-point files
have any scale. Since every file is scaled by the range of its numbers, training, use and scores of a model depend on
neither gain nor offset.
"""

import math
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from hourglass.imagefiles.image import Plane
from hourglass.imagefiles.percentiles import Samples, percentiles, sample_of
from hourglass.imagefiles.value_ranges import STRETCHED, UNKNOWN, ValueRange

Span = tuple[float, float]
Wanted = Literal["auto", "full"] | Span

# Key of the ranges in a model's notes.
NOTE = "ranges"
# A warning says that an image does not fit the model's range when the image exceeds the range by more than the range's
# width, or spans less than this share of it.
_SMALLEST_SHARE = 1 / 20
# Factor that stretches 8 bits to 16: 255 · 257 = 65,535.
_STRETCH = 257


_OF_MODEL, _DECLARED = "of the model", "declared by the file"


def parse_range(text: str) -> Wanted:
    """Parse the text of the option ``--range``: ``auto``, ``full`` or ``LOW,HIGH``.

    Parameters
    ----------
    text : str
        The text, for example ``"0,4095"``.

    Returns
    -------
    {"auto", "full"} or tuple of (float, float)
        The word itself, or the lower and the upper end of the range; a value for ``wanted`` of :class:`Ranges`.

    Raises
    ------
    ValueError
        When the text is none of the three, or ``LOW`` is not smaller than ``HIGH``.
    """
    if text == "auto":
        return "auto"
    if text == "full":
        return "full"
    low, comma, high = text.partition(",")
    try:
        ends = float(low), float(high)
    except ValueError:
        ends = math.nan, math.nan
    if not comma or "_" in text or not all(map(math.isfinite, ends)) or not ends[0] < ends[1]:
        raise ValueError(f"range {text!r} is none of auto, full and LOW,HIGH; for example 0,4095")
    return ends


def remembered(estimator: Any) -> dict[str, Span]:
    """Read the ranges that a model was trained with from its notes.

    Parameters
    ----------
    estimator : estimator
        A fitted estimator; one without ``notes_`` or without a note on ranges is accepted.

    Returns
    -------
    dict of str to tuple of (float, float)
        Range by name of the number type, such as ``uint16``, or under ``""`` one range for all types. Empty when the
        model has no note on ranges.

    Raises
    ------
    ValueError
        When the note is damaged.
    """
    notes = getattr(estimator, "notes_", {}).get(NOTE, {})
    try:
        found = {str(kind): (float(low), float(high)) for kind, (low, high) in notes.items()}
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"the model's note on ranges is damaged ({error}); give the range (--range)") from error
    for kind, (low, high) in found.items():
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise ValueError(f"the model's range of {kind or 'all'} is {low:g} to {high:g}; give the range (--range)")
    return found


@dataclass
class Ranges:
    """Rule by which the range of each image file is found.

    Parameters
    ----------
    wanted : {"auto", "full"} or tuple of (float, float), default="auto"
        A pair of numbers is the range of every file. "full" is the range of all numbers that the file's type can
        store, and [0, 1] for floating-point numbers. "auto" is the first of these that exists: the one range that the
        model was trained with for all types; 0 to 255 for bytes; the range that the file declares; 0 to 65,535 for
        8-bit numbers that were stretched to 16 bits; the range that the model was trained with on files of this type;
        the percentiles 0.1 and 99.9 of the file's own numbers.
    of_model : mapping of str to tuple of (float, float), optional
        Ranges that the model was trained with, by name of the number type, as ``TrainingRanges.record`` returns
        them; a range under ``""`` applies to all types. By default there are none.
    """

    wanted: Wanted = "auto"
    of_model: Mapping[str, Span] = field(default_factory=dict)

    def fixed(self, plane: Plane) -> ValueRange | None:
        """Find the range of a plane as far as neither percentiles nor the model's range of one type are needed.

        Parameters
        ----------
        plane : Plane
            The plane; its numbers are looked at only to recognise 8 bits that were stretched to 16.

        Returns
        -------
        ValueRange or None
            The range, or None when it depends on the model's range of this type or on percentiles.
        """
        numbers = plane.numbers
        if isinstance(self.wanted, tuple):
            return ValueRange(*self.wanted, "as given")
        if self.wanted == "full":
            return ValueRange(*(numbers.limits or (0.0, 1.0)), "all of the type", numbers.limits is not None)
        if "" in self.of_model:
            return ValueRange(*self.of_model[""], _OF_MODEL)
        if numbers.bits <= 8 and numbers.dtype.kind == "u":
            return ValueRange(0.0, 2.0**numbers.bits - 1, f"{numbers.bits} bits", bounded=True)
        if numbers.declared is not None:
            # A file can contain numbers outside the range that it declares.
            return ValueRange(*numbers.declared, _DECLARED, bounded=numbers.declared == numbers.limits)
        if _is_stretched(plane):
            return STRETCHED
        return None


class FileRanges:
    """The range of each plane of one file, computed on first use.

    Parameters
    ----------
    ranges : Ranges
        Rule by which the range is found.
    planes : callable
        Function without arguments that returns an iterable of all planes of the file. It is called only when
        percentiles are needed.
    name : str
        Name of the file in warnings.
    """

    def __init__(self, ranges: Ranges, planes: Callable[[], Iterable[Plane]], name: str) -> None:
        self._ranges, self._planes, self._name = ranges, planes, name
        self._found: dict[str, ValueRange] = {}
        self._warned = False

    def of_plane(self, plane: Plane) -> ValueRange:
        """Return the range of a plane; planes of one type share it, so that the brightness in a stack stays comparable.

        A warning is issued, once for each file, when the plane's numbers are far from the model's or the declared
        range.

        Parameters
        ----------
        plane : Plane
            A plane of this file.

        Returns
        -------
        ValueRange
            The range; ``UNKNOWN`` when every plane of this type is constant and nothing else gives a range.
        """
        kind = plane.numbers.kind
        if kind not in self._found:
            self._found[kind] = self._of_kind(plane)
        found = self._found[kind]
        if found.origin in (_OF_MODEL, _DECLARED) and not self._warned:
            self._warn_if_outside(plane, found)
        return found

    @property
    def found(self) -> list[ValueRange]:
        """The ranges that :meth:`of_plane` has returned so far, one for each type of number."""
        return list(self._found.values())

    def _of_kind(self, plane: Plane) -> ValueRange:
        if (fixed := self._ranges.fixed(plane)) is not None:
            return fixed
        kind = plane.numbers.kind
        if kind in self._ranges.of_model:
            return ValueRange(*self._ranges.of_model[kind], _OF_MODEL)
        samples, stretched = Samples(), []
        for other in self._planes():
            if other.numbers.kind == kind and (sample := sample_of(other)) is not None:
                samples.add(sample)
                stretched.append(_is_stretched(other))
        if stretched and all(stretched):
            return STRETCHED
        return ValueRange(*samples.percentiles(), "percentiles of the image") if stretched else UNKNOWN

    def _warn_if_outside(self, plane: Plane, known: ValueRange) -> None:
        sample = sample_of(plane)
        if sample is None:
            return
        low, high = percentiles(sample)
        outside = low < known.low - known.width or high > known.high + known.width
        faint = known.origin == _OF_MODEL and high - low < known.width * _SMALLEST_SHARE
        if outside or faint:
            self._warned = True
            whose, why = ("the model's", "the exposure is another") if known.origin == _OF_MODEL else (
                "its declared", "the file is mistaken")  # fmt: skip
            warnings.warn(
                f"{self._name} spans {low:,.6g} to {high:,.6g}, far from {whose} range, {known.low:,.6g} to "
                f"{known.high:,.6g}; give the right one (--range LOW,HIGH) if {why}",
                stacklevel=2,
            )


@dataclass(frozen=True)
class Seen:
    """What has to be remembered of a plane so that its range can be found later.

    Parameters
    ----------
    kind : str
        Name of the plane's number type, such as ``uint16``.
    fixed : ValueRange or None
        The plane's range if it depends on no other file, else None.
    """

    kind: str
    fixed: ValueRange | None


class TrainingRanges:
    """Ranges of the images that a model learns from; percentiles are computed over all files of one number type.

    Parameters
    ----------
    ranges : Ranges
        Rule by which the range of each plane is found.
    """

    def __init__(self, ranges: Ranges) -> None:
        self.ranges = ranges
        self._samples: dict[str, Samples] = {}
        self._fixed: dict[str, ValueRange] = {}
        self._found: dict[str, ValueRange] = {}

    def see(self, plane: Plane) -> Seen:
        """Add a plane to the statistics; all planes have to be added before :meth:`of` is first called.

        Parameters
        ----------
        plane : Plane
            A plane of any file.

        Returns
        -------
        Seen
            What :meth:`of` needs in order to return the plane's range.
        """
        fixed, kind = self.ranges.fixed(plane), plane.numbers.kind
        if fixed is not None:
            self._fixed[kind] = fixed
        elif (sample := sample_of(plane)) is not None:
            self._samples.setdefault(kind, Samples()).add(sample)
        return Seen(kind, fixed)

    def of(self, seen: Seen) -> ValueRange:
        """Return the range of a plane.

        Parameters
        ----------
        seen : Seen
            What :meth:`see` returned for the plane.

        Returns
        -------
        ValueRange
            The range; ``UNKNOWN`` when all planes of its type are constant and nothing else gives a range.
        """
        if seen.fixed is not None:
            return seen.fixed
        if seen.kind in self._samples:
            found = self._samples.pop(seen.kind).percentiles()
            self._found[seen.kind] = ValueRange(*found, "percentiles of the images")
        if seen.kind in self._found:
            return self._found[seen.kind]
        # Only constant images of this type were seen, apart from those with a fixed range.
        return self._fixed.get(seen.kind, UNKNOWN)

    def record(self) -> dict[str, list[float]]:
        """Return the ranges that a model has to remember, in a form that JSON can store.

        Returns
        -------
        dict of str to list of float
            Lower and upper end of the range, by name of the number type; under ``""`` if the user gave one range for
            all types.
        """
        if isinstance(self.ranges.wanted, tuple):
            return {"": list(self.ranges.wanted)}
        return {kind: [found.low, found.high] for kind, found in sorted(self._found.items())}


def _is_stretched(plane: Plane) -> bool:
    """Whether all 16-bit numbers are multiples of 257: some programs write 8-bit images as 16 bits in this way."""
    values = plane.values
    if plane.numbers.dtype != np.uint16 or plane.numbers.bits != 16 or not values.size:
        return False
    # In a constant image, a multiple of 257 proves nothing.
    return not (values[:1] % _STRETCH).any() and values.min() < values.max() and not (values % _STRETCH).any()
