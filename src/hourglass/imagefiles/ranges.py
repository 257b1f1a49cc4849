"""The range of an image file's numbers, which networks see as [0, 1].

Scientific cameras put 10, 12 or 14 bits into files of 16, with an offset of their own, and floating-point files have
any scale. Brought to the range of what is there, a model's training, use and scores depend on neither gain nor offset.
"""

import math
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hourglass.imagefiles.image import ALPHAS, Plane
from hourglass.imagefiles.missing import missing
from hourglass.imagefiles.value_ranges import STRETCHED, UNKNOWN, ValueRange

Span = tuple[float, float]
Wanted = Literal["auto", "full"] | Span

# Percentiles between which an image's range lies where no file and no model names one: a few hot or dead pixels do
# not stretch it.
PERCENTILES = (0.1, 99.9)
# Under which a model's notes have its ranges.
NOTE = "ranges"
# Numbers of a plane from which percentiles are computed.
_SAMPLE = 1 << 20
# Numbers of all planes and files together.
_MOST_SAMPLES = 1 << 23
# An image lies far outside the model's range when it leaves it by more than its width, or takes less than this share.
_SMALLEST_SHARE = 1 / 20
# What eight bits become where they are stretched to sixteen: 255 · 257 = 65,535.
_STRETCH = 257


_OF_MODEL, _DECLARED = "of the model", "declared by the file"


def parse_range(text: str) -> Wanted:
    """A range as people write it: ``auto``, ``full`` or ``LOW,HIGH``.

    Raises
    ------
    ValueError
        When it is none of these, or the lower end is not first.
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
    """The ranges with which a model was trained, by type of number; ValueError where its notes on them are damaged."""
    notes = getattr(estimator, "notes_", {}).get(NOTE, {})
    try:
        found = {str(kind): (float(low), float(high)) for kind, (low, high) in notes.items()}
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"the model's note on ranges is damaged ({error}); give --range") from error
    for kind, (low, high) in found.items():
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise ValueError(f"the model's range of {kind or 'all'} is {low:g} to {high:g}; give --range")
    return found


@dataclass
class Ranges:
    """How the range of each image file is found.

    Parameters
    ----------
    wanted : {"auto", "full"} or pair of float, default="auto"
        ``full`` is all that the file's type can hold, and [0, 1] of floating-point numbers. A pair is taken as it is.
        ``auto`` takes, of these, the first that there is: 0 to 255 of bytes; what the file declares; the range that
        the model was trained with on files of that type; the percentiles 0.1 and 99.9 of the file's own numbers.
    of_model : mapping of str to pair of float, optional
        As :meth:`record` of the ranges in training gave them; a range under ``""`` holds for all files.
    """

    wanted: Wanted = "auto"
    of_model: Mapping[str, Span] = field(default_factory=dict)

    def fixed(self, plane: Plane) -> ValueRange | None:
        """The range of a plane that depends on no percentile; None where there is none."""
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
            # Numbers may lie outside what is declared.
            return ValueRange(*numbers.declared, _DECLARED, bounded=numbers.declared == numbers.limits)
        if _is_stretched(plane):
            return STRETCHED
        return None


class FileRanges:
    """The range of each plane of one file, found when it is first asked for.

    Parameters
    ----------
    ranges : Ranges
    planes : callable
        Without arguments, to all planes of the file, which is called where percentiles are needed.
    name : str
        What to call the file in warnings.
    """

    def __init__(self, ranges: Ranges, planes: Callable[[], Iterable[Plane]], name: str) -> None:
        self._ranges, self._planes, self._name = ranges, planes, name
        self._found: dict[str, ValueRange] = {}
        self._warned = False

    def of_plane(self, plane: Plane) -> ValueRange:
        """The range of a plane; planes of one type share it, so that a stack keeps its proportions."""
        kind = plane.numbers.kind
        if kind not in self._found:
            self._found[kind] = self._of_kind(plane)
        found = self._found[kind]
        if found.origin in (_OF_MODEL, _DECLARED) and not self._warned:
            self._warn_if_outside(plane, found)
        return found

    @property
    def found(self) -> list[ValueRange]:
        """The ranges that were used."""
        return list(self._found.values())

    def _of_kind(self, plane: Plane) -> ValueRange:
        if (fixed := self._ranges.fixed(plane)) is not None:
            return fixed
        kind = plane.numbers.kind
        if kind in self._ranges.of_model:
            return ValueRange(*self._ranges.of_model[kind], _OF_MODEL)
        samples, stretched = _Samples(), []
        for other in self._planes():
            if other.numbers.kind == kind and (sample := _sample(other)) is not None:
                samples.add(sample)
                stretched.append(_is_stretched(other))
        if stretched and all(stretched):
            return STRETCHED
        return ValueRange(*samples.percentiles(), "percentiles of the image") if stretched else UNKNOWN

    def _warn_if_outside(self, plane: Plane, known: ValueRange) -> None:
        sample = _sample(plane)
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
                f"{known.high:,.6g}; give the right one with --range LOW,HIGH if {why}",
                stacklevel=2,
            )


@dataclass(frozen=True)
class Seen:
    """What has to be known of a plane to find its range later."""

    kind: str
    fixed: ValueRange | None


class _Samples:
    """Numbers of many planes, of which so many are kept as the memory may hold."""

    def __init__(self) -> None:
        self._parts: list[NDArray[Any]] = []
        self._step = 1

    def add(self, sample: NDArray[Any]) -> None:
        """Take numbers of one plane, thinned as those before were."""
        self._parts.append(sample[:: self._step].copy())
        while len(self._parts) > 1 and sum(map(len, self._parts)) > _MOST_SAMPLES:
            self._parts = [part[::2].copy() for part in self._parts]
            self._step *= 2

    def percentiles(self) -> Span:
        """The percentiles 0.1 and 99.9 of all numbers together."""
        return percentiles(np.concatenate(self._parts))


class TrainingRanges:
    """The ranges of the images that a model learns from: percentiles are those of all files of a type together.

    Parameters
    ----------
    ranges : Ranges
    """

    def __init__(self, ranges: Ranges) -> None:
        self.ranges = ranges
        self._samples: dict[str, _Samples] = {}
        self._fixed: dict[str, ValueRange] = {}
        self._found: dict[str, ValueRange] = {}

    def see(self, plane: Plane) -> Seen:
        """Take note of a plane; all have to be seen before the first range is asked for."""
        fixed, kind = self.ranges.fixed(plane), plane.numbers.kind
        if fixed is not None:
            self._fixed[kind] = fixed
        elif (sample := _sample(plane)) is not None:
            self._samples.setdefault(kind, _Samples()).add(sample)
        return Seen(kind, fixed)

    def of(self, seen: Seen) -> ValueRange:
        """The range of a plane that was seen."""
        if seen.fixed is not None:
            return seen.fixed
        if seen.kind in self._samples:
            found = self._samples.pop(seen.kind).percentiles()
            self._found[seen.kind] = ValueRange(*found, "percentiles of the images")
        if seen.kind in self._found:
            return self._found[seen.kind]
        # A constant image among others whose range is fixed, or among none.
        return self._fixed.get(seen.kind, UNKNOWN)

    def record(self) -> dict[str, list[float]]:
        """What a model has to remember, as JSON: a range by type, or under ``""`` the one that was given."""
        if isinstance(self.ranges.wanted, tuple):
            return {"": list(self.ranges.wanted)}
        return {kind: [found.low, found.high] for kind, found in sorted(self._found.items())}


def percentiles(values: NDArray[Any]) -> Span:
    """The percentiles 0.1 and 99.9 of numbers that differ; where the two are equal, the least and the largest."""
    low, high = (float(end) for end in np.percentile(values.astype(np.float64), PERCENTILES))
    return (low, high) if low < high else (float(values.min()), float(values.max()))


def _sample(plane: Plane) -> NDArray[Any] | None:
    """Evenly spaced numbers of a plane, without those of alpha and those that are missing; None of a constant one."""
    bands = [band for band, role in enumerate(plane.roles) if role not in ALPHAS]
    step = max(1, math.ceil(math.sqrt(plane.values.shape[0] * plane.values.shape[1] * len(bands) / _SAMPLE)))
    part = Plane(plane.values[::step, ::step], plane.roles, plane.numbers)
    values = part.values[..., bands][~missing(part)[..., bands]]
    return values if len(values) and values.min() < values.max() else None


def _is_stretched(plane: Plane) -> bool:
    """Whether 16-bit numbers are eight-bit ones times 257, as programs make them that know no smaller depth."""
    values = plane.values
    if plane.numbers.dtype != np.uint16 or plane.numbers.bits != 16 or not values.size:
        return False
    # A constant image says nothing.
    return not (values[:1] % _STRETCH).any() and values.min() < values.max() and not (values % _STRETCH).any()
