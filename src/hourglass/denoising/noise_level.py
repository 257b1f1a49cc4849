"""Which level of noise a denoiser removes: one that is given, or the one that is found in each image."""

import math
from dataclasses import dataclass

from hourglass.errors import OptionError

AUTO = "auto"
LEAST_STRENGTH, GREATEST_STRENGTH = 0.5, 1.5


@dataclass(frozen=True)
class NoiseLevel:
    """How the level of the noise is determined.

    Parameters
    ----------
    level : float or "auto", default="auto"
        Standard deviation of the noise, at least 0, as a fraction of the range. ``"auto"`` finds it in each image.
    strength : float, default=1.0
        From 0.5 to 1.5. Below 1 it is the share of the noise that is taken away, so that a little grain is left; above
        1 it is a factor of the level, so that more is smoothed.

    Raises
    ------
    OptionError
        When the level is negative, not finite or above 1, or the strength is out of its range.
    """

    level: float | str = AUTO
    strength: float = 1.0

    def __post_init__(self) -> None:
        level = self.level
        if level != AUTO:
            if isinstance(level, bool | str) or not math.isfinite(level) or level < 0:
                raise OptionError(f"noise_level={level!r}; expected a number from 0 to 1, or 'auto'")
            try:
                check_noise_level(float(level), 1.0)
            except ValueError as error:
                raise OptionError(str(error)) from error
        if not LEAST_STRENGTH <= self.strength <= GREATEST_STRENGTH:
            raise OptionError(
                f"strength={self.strength!r}; expected a number from {LEAST_STRENGTH} to {GREATEST_STRENGTH}"
            )

    @property
    def suits_every_model(self) -> bool:
        """Whether no level has to be told to the network."""
        return self.level == AUTO and self.strength <= 1


def check_noise_level(level: float, width: float) -> None:
    """Raise ValueError for a level that is more than the range of the pixels, such as one that is meant for bytes.

    Parameters
    ----------
    level : float
        Standard deviation of the noise.
    width : float
        Width of the range of the pixels.

    Raises
    ------
    ValueError
        When the level is more than the width.
    """
    if level > width:
        in_bytes = f"; a level for bytes is divided by 255: {level:g}/255 = {level / 255:.3g}"
        hint = in_bytes if level <= 255 * width else ""
        raise ValueError(f"noise_level={level:g} is more than the range of the pixels, {width:g}{hint}")
