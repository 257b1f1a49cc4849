"""Readable names of a network's layers: ``encoder.0`` is "encoder 1"."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from torch import nn


def readable_names(network: nn.Module, shown: Iterable[str] | None = None) -> dict[str, str]:
    """Name the modules of a network for people.

    Numbers begin with 1, and a list's name is in the singular: ``convs.0`` is "conv 1". A module that stands alone in
    another has the outer one's name: ``decoder.0.conv`` is "decoder 1".

    Parameters
    ----------
    network : torch.nn.Module
        The network.
    shown : iterable of str, optional
        Names of the modules that count in the numbers, so that they have no gaps; by default all.

    Returns
    -------
    dict of str to str
        Readable name of each module, by its name in ``named_modules``; that of the network itself is "network".
    """
    modules = dict(network.named_modules())
    leaves = Counter[str]()
    for path, module in modules.items():
        if not any(module.children()):
            leaves.update(".".join(path.split(".")[:n]) for n in range(1, path.count(".") + 1))
    names, numbers = {}, _numbers(modules if shown is None else shown)
    for path in modules:
        outer, alone = path, ""
        while "." in outer and leaves[outer.rpartition(".")[0]] == 1:
            outer, _, alone = outer.rpartition(".")
        words = _in_words(outer, numbers) or "network"
        names[path] = _singular(words) if alone.isdecimal() else words
    return names


def _numbers(paths: Iterable[str]) -> dict[str, int]:
    """Number the places of each list that lead to some of the modules, by the name of the place."""
    places: dict[str, set[int]] = {}
    for path in paths:
        parts = path.split(".")
        for n, part in enumerate(parts):
            if part.isdecimal():
                places.setdefault(".".join(parts[:n]), set()).add(int(part))
    return {
        f"{outer}.{place}".removeprefix("."): number
        for outer, found in places.items()
        for number, place in enumerate(sorted(found), 1)
    }


def _in_words(path: str, numbers: Mapping[str, int]) -> str:
    """Write a dotted name in words."""
    words: list[str] = []
    parts = path.split(".")
    for n, part in enumerate(parts, 1):
        if not part.isdecimal():
            words.append(part.replace("_", " ").strip())
            continue
        if not words:
            words.append("layer")
        words[-1] = _singular(words[-1])
        words.append(str(numbers.get(".".join(parts[:n]), int(part) + 1)))
    return " ".join(words)


def _singular(word: str) -> str:
    return word[:-1] if word.endswith("s") and not word.endswith("ss") else word


def numbered(names: Sequence[str]) -> list[str]:
    """Number the names that occur more than once, from 1 in their order.

    Parameters
    ----------
    names : sequence of str
        Names, as of a layer that is called several times.

    Returns
    -------
    list of str
        As many names, all different.
    """
    count, seen = Counter(names), Counter[str]()
    taken = {name for name in names if count[name] == 1}
    out = []
    for name in names:
        written = name
        while count[name] > 1 and written in (name, *taken):
            seen[name] += 1
            written = f"{name} {seen[name]}"
        taken.add(written)
        out.append(written)
    return out
