"""Noise: corruptions that put it on, denoisers that need no training, blind spots, and clipping's bias undone."""

from hourglass.denoising.blindspot import BlindSpot
from hourglass.denoising.clipping import estimate_noise_level, expected_clipped, undo_clipping
from hourglass.denoising.corruption import Blur, GaussianNoise, Masking, PoissonNoise, SaltAndPepper
from hourglass.denoising.denoisers import (
    DENOISERS,
    Denoiser,
    Median,
    NonLocalMeans,
    TotalVariation,
    Wavelet,
    WithoutClippingBias,
)
from hourglass.denoising.noise_bound import noise_bound
from hourglass.denoising.noise_level import NoiseLevel
from hourglass.denoising.notation import parse_corruption, parse_noise_level
from hourglass.denoising.stacks import corrupt

__all__ = [
    "DENOISERS",
    "BlindSpot",
    "Blur",
    "Denoiser",
    "GaussianNoise",
    "Masking",
    "Median",
    "NoiseLevel",
    "NonLocalMeans",
    "PoissonNoise",
    "SaltAndPepper",
    "TotalVariation",
    "Wavelet",
    "WithoutClippingBias",
    "corrupt",
    "estimate_noise_level",
    "expected_clipped",
    "noise_bound",
    "parse_corruption",
    "parse_noise_level",
    "undo_clipping",
]
