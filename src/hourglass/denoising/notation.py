"""Corruptions as text and as JSON: on a command line, and in the file of a model."""

import math
import re
from contextlib import suppress
from dataclasses import asdict, fields
from typing import Any

from hourglass.denoising.corruption import CORRUPTIONS, Corruption, PoissonNoise, SaltAndPepper

# A number above 0 as people write it: 1, 0.5, .5, 1e-3, 25/255.
_SINGLE = r"(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
_NUMBER = rf"{_SINGLE}(?:/{_SINGLE})?"
_BYTES = 255
_STRENGTH = re.compile(rf"\s*({_NUMBER})\s*(?:-\s*({_NUMBER})\s*)?")


def parse_corruption(text: str) -> Corruption:
    """Corruption as people write it on a command line.

    Parameters
    ----------
    text : str
        ``KIND:STRENGTH`` or, for Gaussian noise, ``STRENGTH`` alone. A strength is a number, as ``0.5``, ``1e-3`` or
        ``25/255``, or a range of two with a hyphen between them, as ``0.1-0.6`` or ``1e-3-2e-3``. For example
        ``salt-and-pepper:0.2``, ``poisson:30``, ``masking:0.3``, ``blur:0.5-2``.

    Returns
    -------
    GaussianNoise, PoissonNoise, SaltAndPepper, Masking or Blur

    Raises
    ------
    ValueError
        When the kind is unknown, or the strength is no number or pair in its range.
    """
    kind, colon, strength = text.rpartition(":")
    if not colon:
        kind = "gaussian"
    if kind not in CORRUPTIONS:
        raise ValueError(f"noise {text!r}: {kind!r} is unknown; choose one of {', '.join(CORRUPTIONS)}")
    match = _STRENGTH.fullmatch(strength)
    if match is None:
        raise ValueError(
            f"noise {text!r}: {strength!r} is neither a number above 0 nor a range of two; "
            f"for example {kind}:0.2, or {kind}:0.1-0.3 for a range"
        )
    low, high = match.groups()
    try:
        return CORRUPTIONS[kind](_number(low) if high is None else (_number(low), _number(high)))
    except (ValueError, ZeroDivisionError) as error:
        raise ValueError(f"noise {text!r}: {error}") from error


def parse_noise_level(text: str) -> float | str:
    """Level of normal noise as people write it on a command line.

    Parameters
    ----------
    text : str
        ``auto``, or a fraction of the range of the numbers, such as ``0.1`` or ``25/255``.

    Returns
    -------
    float or "auto"
        The level, from 0 to 1, or the word.

    Raises
    ------
    ValueError
        When the text is neither, or the level is above 1.
    """
    if text == "auto":
        return text
    level = math.nan
    if re.fullmatch(_NUMBER, text.strip()):
        with suppress(ZeroDivisionError):
            level = _number(text)
    if math.isnan(level):
        raise ValueError(f"noise level {text!r} is neither auto nor a number from 0 to 1, such as 0.1 or 25/255")
    if level > 1:
        hint = f"; for a level of {level:g} in images of 8 bits, write {level:g}/255" if level <= _BYTES else ""
        raise ValueError(f"noise level {text!r} is above 1, the whole range of the numbers{hint}")
    return level


def _number(text: str) -> float:
    numerator, _, denominator = text.partition("/")
    return float(numerator) / float(denominator or 1)


def corruption_to_json(corruption: Corruption) -> dict[str, Any]:
    """Kind and strength, as JSON holds them."""
    kind = next(name for name, cls in CORRUPTIONS.items() if type(corruption) is cls)
    return {"kind": kind, **asdict(corruption)}


def corruption_from_json(document: dict[str, Any]) -> Corruption:
    """Undo :func:`corruption_to_json`; KeyError, TypeError or ValueError for what it did not write."""
    cls: Any = CORRUPTIONS[document["kind"]]
    if cls in (PoissonNoise, SaltAndPepper):
        document = {"clip": True} | document  # which files of older versions do not say
    values = {field.name: document[field.name] for field in fields(cls)}
    corruption: Corruption = cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})
    return corruption
