"""Faster ways to compute the same numbers, each of which can be switched off.

The readable modules stay the only definition of what is computed; a trick is used where it applies, and a test holds it
equal to the plain form. ``tools/measure_tricks.py FOLDER`` measures what each adds.

>>> from hourglass.runtime import tricks
>>> with tricks.without("one-pixel"):
...     tricks.uses("one-pixel")
False
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

TRICKS = {
    "allocator": "in training on the CPU, memory that is freed stays with the process for the next step",
    "few-outputs": "in training, convolutions with few output channels as a matrix product and nine shifted sums",
    "one-pixel": "convolutions of feature maps of one pixel as matrix products",
    "output-phases": "in inference, the decoder's last two convolutions without the large feature map between them",
    "pieces": "in inference, large images in blocks, and groups of small ones, several at once on threads",
    "pool-pairs": "in inference, 2×2 max pooling as maxima of neighbours, one axis after the other",
    "upsample-phases": "in training, upsampling by 2 with a 3×3 convolution as four 2×2 convolutions of the small map",
}
"""Every trick by name."""


def uses(name: str) -> bool:
    """Whether a trick is switched on; KeyError for an unknown one.

    Parameters
    ----------
    name : str
        A key of ``TRICKS``.

    Returns
    -------
    bool
        True unless it was switched off.

    Raises
    ------
    KeyError
        When the name is unknown.
    """
    return _on[name]


@contextmanager
def without(*names: str) -> Iterator[None]:
    """Switch tricks off for a while, all of them where none is named.

    Parameters
    ----------
    *names : str
        Keys of ``TRICKS``.

    Yields
    ------
    None
        The tricks are off until the block ends.

    Raises
    ------
    ValueError
        When a name is unknown.
    """
    for name in names:
        _check(name)
    before = dict(_on)
    _on.update(dict.fromkeys(names or TRICKS, False))
    try:
        yield
    finally:
        _on.update(before)


def _check(name: str) -> None:
    if name not in TRICKS:
        raise ValueError(f"trick {name!r} is unknown; choose of {', '.join(TRICKS)}")


_on = dict.fromkeys(TRICKS, True)
# For measurements of whole commands: names, or "all".
_named = os.environ.get("HOURGLASS_WITHOUT", "")
for _name in TRICKS if _named == "all" else filter(None, _named.split(",")):
    _check(_name)
    _on[_name] = False
