"""Training data of random crops of image files, new ones in every step."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hourglass.imagefiles.crops import Decoded, decoded, to_channels
from hourglass.imagefiles.image import Raw
from hourglass.imagefiles.processing import FILE_ERRORS, Outcome
from hourglass.imagefiles.ranges import Ranges, TrainingRanges
from hourglass.imagefiles.value_ranges import ValueRange
from hourglass.persistence import fingerprint
from hourglass.training import Source

# Largest share of the available memory that the decoded images may take.
_SHARE = 0.5
_MEMINFO = Path("/proc/meminfo")


class ImageFolderSource(Source):
    """Training data of random crops of image files, with new crops in every step.

    Row ``i`` is a crop of file ``i mod n`` of the ``n`` files, so that each file is used equally often. The place of
    the crop depends only on ``random_state``, the step and ``i``. The decoded images stay in memory with the number
    types of their files.

    Parameters
    ----------
    paths : sequence of path-like
        Paths of the image files, at least one.
    targets : sequence of path-like, optional
        Paths of as many further files, from which the targets are cropped at the same places: image by image of the
        same size as those of the first file. By default the targets are the inputs.
    size : tuple of (int, int)
        Height and width of the crops, in pixels. A smaller image is extended by reflection at its edge.
    count : int, default=4096
        Number of crops that count as an epoch, from all files together, at least 1. It is divided equally among the
        files and rounded up, so that each file gives at least one.
    colour : {"auto", "grey", "rgb"}, default="auto"
        Channels of the crops. "auto" means RGB if any image has colour, else grey.
    ranges : Ranges, optional
        Rule by which the range of each file's numbers is found. By default it is ``Ranges()``: the rule "auto".
    random_state : int, default=0
        Seed of the random crops, not negative. Equal seeds and files give equal crops.
    on_outcome : callable, optional
        Function that is called with the :class:`Outcome` of each file; files that cannot be read are then left out.
        By default, the error of the first such file is raised.

    Attributes
    ----------
    paths : list of Path
        Paths of the files that were read and have data, in order.
    image_shape : tuple of (int, int, int)
        Height, width and channels of the crops.
    ranges : dict of str to list of float
        Ranges that a model has to remember, by name of the number type; see
        ``hourglass.imagefiles.ranges.TrainingRanges.record``.
    bounded : bool
        Whether no number can lie outside [0, 1], so that noisy images may be clipped to this range.
    random_state : int
        The seed, as given.

    Raises
    ------
    OSError
        When a file cannot be read and ``on_outcome`` is not given.
    ValueError
        When no file could be read, or a file is not supported and ``on_outcome`` is not given.
    MemoryError
        When the decoded images take more than half of the available memory.
    """

    has_common_range = True  # crops elsewhere reach all numbers of the files

    def __init__(
        self,
        paths: Sequence[str | os.PathLike[str]],
        *,
        targets: Sequence[str | os.PathLike[str]] | None = None,
        size: tuple[int, int],
        count: int = 4096,
        colour: str = "auto",
        ranges: Ranges | None = None,
        random_state: int = 0,
        on_outcome: Callable[[Outcome], None] | None = None,
    ) -> None:
        self.random_state = random_state
        known = TrainingRanges(ranges or Ranges())
        room, held = _memory_available() * _SHARE, 0
        files: list[list[tuple[Decoded, ...]]] = []
        of_targets = [None] * len(paths) if targets is None else [Path(target) for target in targets]
        self.paths: list[Path] = []
        for path, target in zip(map(Path, paths), of_targets, strict=True):
            try:
                found = _decoded_pairs(path, target, size, known)
            except FILE_ERRORS as error:
                if on_outcome is None:
                    raise
                on_outcome(Outcome(path, error=error))
                continue
            if on_outcome is not None:
                on_outcome(Outcome(path))
            held += sum(image.values.nbytes for images in found for image in images)
            if held > room:
                raise MemoryError(
                    f"after {len(files) + 1} of {len(paths)} files the decoded images take {held / 2**20:,.0f} MB, "
                    f"more than half of the memory available ({room / _SHARE / 2**20:,.0f} MB); "
                    "give fewer or smaller files"
                )
            if found:
                files.append(found)
                self.paths.append(path)
        if not files:
            raise ValueError("no image could be read, so that there is nothing to train on")
        self._paired = targets is not None
        # The image and, behind it, its target, if that is another one.
        self._images = [
            tuple(_Image(image.values, known.of(image.seen)) for image in images) for found in files for images in found
        ]
        # For each file, the number of its images and the index of the first one in the list of all images.
        self._counts = np.array([len(found) for found in files])
        self._starts = np.cumsum(self._counts) - self._counts
        every = [image for images in self._images for image in images]
        most = max(image.values.shape[2] for image in every)
        channels = most if colour == "auto" else 1 if colour == "grey" else 3
        self.image_shape = (*size, channels)
        self.ranges = known.record()
        self.bounded = all(image.value_range.bounded for image in every)
        self._each = -(-count // len(paths))

    def __len__(self) -> int:
        """Return the number of crops in an epoch."""
        return self._each * len(self.paths)

    def take(self, index: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """Return the crops of some rows in one training step.

        Parameters
        ----------
        index : torch.Tensor of shape (n,), int64
            Row numbers, from 0 to the length of the source less 1.
        step : int
            Number of the training step, from 1; 0 outside of training. Each step has crops of its own.

        Returns
        -------
        inputs : torch.Tensor of shape (n, c, h, w), float32
            The crops on ``device``, channels last in memory, on the scale where the range of each file's numbers is
            [0, 1].
        targets : torch.Tensor of shape (n, c, h, w), float32
            Crops of the targets at the same places; without targets, the same tensor as ``inputs``.
        """
        rows = index.cpu().numpy()
        height, width, channels = self.image_shape
        files = rows % len(self.paths)
        chosen = self._starts[files] + _drawn(self.random_state, step, rows, 0, self._counts[files])
        shapes = np.array([self._images[i][0].values.shape for i in chosen]).reshape(-1, 3)
        tops = _drawn(self.random_state, step, rows, 1, shapes[:, 0] - height + 1)
        lefts = _drawn(self.random_state, step, rows, 2, shapes[:, 1] - width + 1)
        batches = [np.empty((len(rows), height, width, channels), np.float32) for _ in range(1 + self._paired)]
        for row, (i, top, left) in enumerate(zip(chosen, tops, lefts, strict=True)):
            for batch, image in zip(batches, self._images[i], strict=True):
                part = image.value_range.normalise(image.values[top : top + height, left : left + width])
                batch[row] = to_channels(part, channels)
        inputs, *targets = (torch.from_numpy(batch).to(self.device).permute(0, 3, 1, 2) for batch in batches)
        return inputs, targets[0] if targets else inputs

    @property
    def has_targets(self) -> bool:
        """Whether the targets come from files of their own."""
        return self._paired

    @property
    def groups(self) -> NDArray[np.int64]:
        """File number of each row, ``(size,)`` in int64; rows of one file are held out for validation together."""
        return np.arange(len(self)) % len(self.paths)

    @property
    def fingerprint(self) -> Mapping[str, str]:
        """Description and hash of the images, their ranges and the seed, under the key ``images``.

        Checkpoints keep it, so that a training is resumed only with equal data.
        """
        height, width, channels = self.image_shape
        every = [image for images in self._images for image in images]
        ranges = [(image.value_range.low, image.value_range.high) for image in every]
        content = "; ".join([str(self._counts.tolist()), *(fingerprint(image.values) for image in every)])
        digest = fingerprint(np.frombuffer(f"{content}; {ranges}; {self.random_state}".encode(), np.uint8))
        crops = f"{len(self):,} crops of {height} × {width} × {channels}"
        return {"images": f"{crops} from {len(self.paths):,} files, {digest}"}

    def value_range(self) -> tuple[float, float]:
        """Return the smallest and the largest number of all images, on the scale of the crops.

        Returns
        -------
        low : float
            The smallest number; below 0 if a file has numbers below its range.
        high : float
            The largest number; above 1 if a file has numbers above its range.
        """
        ends = [
            image.value_range.normalise(np.array([image.values.min(), image.values.max()]).reshape(2, 1, 1))
            for images in self._images
            for image in images
        ]
        return float(np.min(ends)), float(np.max(ends))


@dataclass(frozen=True)
class _Image:
    """An image with the file's own numbers, and their range."""

    values: Raw
    value_range: ValueRange


def _decoded_pairs(
    path: Path, target: Path | None, size: tuple[int, int], known: TrainingRanges
) -> list[tuple[Decoded, ...]]:
    """Images of a file, each with the image of the same place of another file, if there is one."""
    images = _extended(path, size, known)
    if target is None:
        return [(image,) for image in images]
    others = _extended(target, size, known)
    shapes = [[image.values.shape[:2] for image in found] for found in (images, others)]
    if shapes[0] != shapes[1]:
        sizes = [", ".join(f"{height} × {width}" for height, width in found) or "no image" for found in shapes]
        raise ValueError(f"{path} has {sizes[0]} pixels, but its target {target} has {sizes[1]}; crop both alike")
    for image, other in zip(images, others, strict=True):
        if known.ranges.wanted != "auto":
            break
        if image.seen.kind != other.seen.kind:
            raise ValueError(
                f"{path} has {image.seen.kind} numbers, but its target {target} has {other.seen.kind}, whose range may "
                "differ; store both as one type, or give the range of both (--range)"
            )
        if image.seen.fixed != other.seen.fixed:
            spans = [
                "found in its numbers" if each is None else str(each) for each in (image.seen.fixed, other.seen.fixed)
            ]
            raise ValueError(
                f"the range of {path} is {spans[0]}, but that of its target {target} is {spans[1]}; "
                "give the range of both (--range)"
            )
    return list(zip(images, others, strict=True))


def _extended(path: Path, size: tuple[int, int], known: TrainingRanges) -> list[Decoded]:
    """Images of a file, extended by reflection to at least a size."""
    found = []
    for image in decoded(path, known):
        short = [(0, max(wanted - there, 0)) for wanted, there in zip(size, image.values.shape, strict=False)]
        if any(after for _, after in short):
            image = Decoded(np.pad(image.values, [*short, (0, 0)], mode="symmetric"), image.seen)
        found.append(image)
    return found


def _drawn(seed: int, step: int, rows: NDArray[Any], what: int, ends: NDArray[Any]) -> NDArray[np.int64]:
    """Pseudorandom integers ``(n,)`` from 0 up to, but not including, the ends.

    Each is a hash of the seed, the step, the row and ``what``, which numbers the uses of a row. The hash function is
    splitmix64's: Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", 2014.
    """
    mixed = np.zeros(len(rows), np.uint64)
    for part in (seed, step, rows, what):
        mixed = mixed + np.asarray(part).astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed = mixed ^ (mixed >> np.uint64(31))
    share = (mixed >> np.uint64(11)).astype(np.float64) / 2.0**53
    return np.asarray((share * ends).astype(np.int64))


def _memory_available() -> float:
    """Bytes of available memory by the kernel's estimate; infinity if the kernel gives none."""
    try:
        lines = dict(line.split(":") for line in _MEMINFO.read_text().splitlines())
        return float(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return float("inf")
