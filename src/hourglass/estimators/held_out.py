"""Images that are measured during training and not trained on."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from hourglass.runtime import ranks
from hourglass.training import ResidentSource, Source

# Function of a batch and a generator that returns what the trainer's ``corrupt`` does.
Corrupt = Callable[[Tensor, torch.Generator], Any]
# Function that takes outputs and targets and returns numbers by name.
Measure = Callable[[Tensor, Tensor], dict[str, float]]
Block = tuple[Tensor, Tensor, Tensor | None]


def averages(parts: Sequence[tuple[int, dict[str, float]]]) -> dict[str, float]:
    """Averages of what was measured on parts of some images, over these parts and over all processes.

    Parameters
    ----------
    parts : sequence of tuple of (int, dict of str to float)
        Number of terms of each part, and its means by name; empty where a process has no part.

    Returns
    -------
    dict of str to float
        Mean over all terms, by name.
    """
    if len(parts) == 1 and ranks.count() == 1:
        return parts[0][1]
    everything = [part for its_parts in ranks.gathered(list(parts)) for part in its_parts]
    sizes = [size for size, _ in everything]
    names = everything[0][1]
    return {name: float(np.average([numbers[name] for _, numbers in everything], weights=sizes)) for name in names}


class HeldOut:
    """Images that are measured and not trained on.

    Parameters
    ----------
    source : Source
    corrupt : callable, optional
        Applied to the inputs, always with the same random numbers; where it returns a mask, the measure is over the
        masked places alone.
    """

    def __init__(self, source: Source, corrupt: Corrupt | None = None) -> None:
        self.source, self.corrupt = source, corrupt
        self._kept: list[Block] = []

    def to(self, device: torch.device) -> Self:
        """The same on another device."""
        return type(self)(self.source.to(device), self.corrupt)

    def measure(self, function: Callable[[Tensor], Tensor], measure: Measure) -> dict[str, float]:
        """Numbers by name: what ``measure`` returns for the outputs, as a mean over the images or masked places."""
        # What is in memory is corrupted once, the rest for every measurement.
        if isinstance(self.source, ResidentSource) and not self._kept:
            self._kept = list(self._read())
        parts = []
        for inputs, targets, mask in self._kept or self._read():
            rows = ranks.part(len(inputs))
            if rows.start == rows.stop:
                continue
            output, wanted = function(inputs[rows]), targets[rows]
            if mask is not None:
                output, wanted = output[mask[rows]], wanted[mask[rows]]
            if len(output):
                parts.append((len(output), measure(output, wanted)))
        return averages(parts)

    def _read(self) -> Iterator[Block]:
        generator = torch.Generator().manual_seed(0)
        for inputs, targets in self.source.blocks():
            if self.corrupt is None:
                yield inputs, targets, None
                continue
            # A copy, since a corruption of somebody's own might write into its argument.
            corrupted = self.corrupt(inputs.cpu().clone(), generator)
            # What follows the mask is only for training, such as the level of the noise, which is unknown in use.
            images, mask, *_ = corrupted if isinstance(corrupted, tuple) else (corrupted, None)
            yield images.to(inputs.device), targets, None if mask is None else mask.to(inputs.device)
