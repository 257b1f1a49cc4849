"""Faster ways to compute the same numbers, each of which can be switched off.

The readable modules stay the only definition of what is computed; a trick is used where it applies, and a test holds it
equal to the plain form. ``tools/measure_speed.py FOLDER tricks`` measures what each adds.

>>> from hourglass.runtime import tricks
>>> with tricks.without("one-pixel"):
...     tricks.uses("one-pixel")
False
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

TRICKS = {
    "allocator": "keep freed memory instead of giving it back to the kernel",
    "flat-adam": "Adam on all parameters as one vector",
    "few-outputs": "convolutions to one or few channels as a matrix product and nine shifted sums",
    "one-pixel": "convolutions of maps of one pixel as matrix products",
    "output-phases": "the decoder's last two convolutions in inference without the large map between them",
    "pieces": "inference in pieces that fit the cache, each on a thread of its own",
    "pool-pairs": "2×2 maxima in inference as maxima of neighbours, one axis after the other",
    "upsample-phases": "doubling and 3×3 convolution as a 2×2 convolution of the small map to four phases",
}
"""Every trick by name."""


def uses(name: str) -> bool:
    """Whether a trick is switched on; KeyError for an unknown one."""
    return _on[name]


@contextmanager
def without(*names: str) -> Iterator[None]:
    """Switch tricks off for a while, all of them where none is named.

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
