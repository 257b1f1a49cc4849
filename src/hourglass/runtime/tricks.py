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
    "allocator": "in training on the CPU, freed memory stays with the process, so that the next step can use it again",
    "few-outputs": "in training, a convolution with few output channels is computed as a matrix product and nine "
    "shifted sums",
    "one-pixel": "a convolution of feature maps of one pixel is computed as a matrix product",
    "output-phases": "in inference, the decoder's last two convolutions are computed without storing the large map "
    "between them",
    "pieces": "in inference, large images are cut into blocks and many small ones into groups, and several are "
    "computed at once",
    "pool-pairs": "in inference, 2×2 max pooling takes the maxima of neighbours along one axis, and then along the "
    "other",
    "upsample-phases": "in training, upsampling by 2 and a 3×3 convolution are computed as four 2×2 convolutions of "
    "the small map",
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
