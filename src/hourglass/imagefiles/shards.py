"""A part of a list of files, such as the part of one job of a job array."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from hourglass.errors import OptionError

Item = TypeVar("Item")


@dataclass(frozen=True)
class Shard:
    """Every ``count``-th item of a list, from the ``number``-th.

    The shards of one count have no item in common, and together have all items.

    Parameters
    ----------
    number : int, default=1
        Number of the shard, from 1 to ``count``.
    count : int, default=1
        Number of shards. 1 is the whole list.

    Raises
    ------
    OptionError
        When one of them is out of range.
    """

    number: int = 1
    count: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.count:
            raise OptionError(f"shard {self.number}/{self.count} is not I/N with I from 1 to N; for example 1/4")

    def of(self, items: Sequence[Item]) -> Sequence[Item]:
        """Return the items of this shard.

        Parameters
        ----------
        items : sequence
            The whole list.

        Returns
        -------
        sequence
            The items of the shard, in their order.
        """
        return items[self.number - 1 :: self.count]

    def named(self, path: Path) -> Path:
        """Return the path of the file that this shard writes in place of a file of the whole list.

        Parameters
        ----------
        path : Path
            Path of the file of the whole list, such as ``codes.npy``.

        Returns
        -------
        Path
            The path with the shard before its suffix, such as ``codes-2-of-8.npy``; the same path where the shard is
            the whole list.
        """
        return path if self.count == 1 else path.with_stem(f"{path.stem}-{self.number}-of-{self.count}")


# All files.
WHOLE = Shard()


def parse_shard(text: str) -> Shard:
    """Parse a shard as the command line has it.

    Parameters
    ----------
    text : str
        ``I/N``: the I-th of N shards, with I from 1 to N.

    Returns
    -------
    Shard

    Raises
    ------
    OptionError
        When the text is no shard.
    """
    match = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
    if match is None:
        raise OptionError(f"shard {text!r} is not I/N with I from 1 to N; for example 1/4")
    return Shard(int(match[1]), int(match[2]))
