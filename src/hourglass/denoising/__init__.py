"""Noise: corruptions that put it on, blind spots that learn without clean images, and clipping's bias undone."""

from hourglass.denoising.blindspot import BlindSpot
from hourglass.denoising.clipping import estimate_noise_level, expected_clipped, undo_clipping
from hourglass.denoising.corruption import (
    Blur,
    GaussianNoise,
    Masking,
    PoissonNoise,
    SaltAndPepper,
    parse_corruption,
)
from hourglass.denoising.stacks import corrupt

__all__ = [
    "BlindSpot",
    "Blur",
    "GaussianNoise",
    "Masking",
    "PoissonNoise",
    "SaltAndPepper",
    "corrupt",
    "estimate_noise_level",
    "expected_clipped",
    "parse_corruption",
    "undo_clipping",
]
