"""The noise that photographs have: a mixture to train on, drawn for a whole batch at once, on any device."""

import math
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

HIGHEST = 55 / 255  # of the standard deviation of normal noise, as in FFDNet's training
TOLD = 0.5  # share of the images whose level is told to the network

# Shares of a batch. The papers' noise, normal and not limited to the range, is the largest one.
SHARES = {"normal": 0.45, "clipped": 0.15, "photons": 0.13, "camera": 0.17, "compressed": 0.10}


def add_noise(clean: Tensor) -> tuple[Tensor, Tensor]:
    """Draw noise for each image of a batch: of each kind its share.

    Parameters
    ----------
    clean : torch.Tensor of shape (n, c, h, w)
        Images in [0, 1].

    Returns
    -------
    noisy : torch.Tensor of shape (n, c, h, w)
        The images with noise.
    told : torch.Tensor of shape (n,)
        The level that the network is told: the standard deviation of the noise, or -1 for unknown.
    """
    counts = [round(share * len(clean)) for share in SHARES.values()]
    counts[0] += len(clean) - sum(counts)
    kinds = (normal, clipped, photons, camera, compressed)
    results = [kind(part) for kind, part in zip(kinds, clean.split(counts), strict=True) if len(part)]
    noisy, level = torch.cat([r[0] for r in results]), torch.cat([r[1] for r in results])
    return noisy, torch.where(torch.rand_like(level) < TOLD, level, -1.0)


def normal(clean: Tensor) -> tuple[Tensor, Tensor]:
    """Add normal noise of standard deviation 0 to 55/255."""
    level = _uniform(clean, 0, HIGHEST)
    return clean + _each(level) * torch.randn_like(clean), level


def clipped(clean: Tensor) -> tuple[Tensor, Tensor]:
    """Add normal noise, limit it to the range and round it to bytes; a fifth of the images get none or nearly none."""
    level = _uniform(clean, 0, 1.25 * HIGHEST) - 0.25 * HIGHEST
    level = level.clamp(min=0)
    return _bytes(clean + _each(level) * torch.randn_like(clean)), level


def photons(clean: Tensor) -> tuple[Tensor, Tensor]:
    """Count photons, add the normal noise of the reading, and round to bytes.

    Notes
    -----
    The Poisson-normal model of Foi et al., "Practical Poissonian-Gaussian Noise Modeling and Fitting for Single-Image
    Raw-Data", TIP 2008.
    """
    gain = _each(_uniform(clean, math.log(2e-4), math.log(3e-2)).exp())
    reading = _each(_uniform(clean, 0, 0.04))
    noisy = _bytes(torch.poisson(clean.clamp(0, 1) / gain) * gain + reading * torch.randn_like(clean))
    return noisy, _deviation(gain * clean.mean((1, 2, 3), keepdim=True) + reading.square())


def camera(clean: Tensor) -> tuple[Tensor, Tensor]:
    """Noise of a sensor with a colour mosaic, interpolated and compressed as a camera's JPEG is.

    Each pixel of the sensor has one colour, so that the noise of the missing ones is interpolated from their
    neighbours: noise with a grain. The clean image is not blurred. Grey images get the luminance of that noise.
    """
    n, c, h, w = clean.shape
    shot, reading = _each(_uniform(clean, 0, 0.15)), _each(_uniform(clean, 0, 0.06))
    white = torch.randn(n, 3, h, w, device=clean.device) * _mosaic(h, w, clean.device)
    grain = F.conv2d(white, _bilinear(clean.device), padding=1, groups=3)
    if c == 1:
        grain = (grain * _constant(_TO_YCBCR[0], clean.device).view(1, 3, 1, 1)).sum(1, keepdim=True)
    change = grain * (shot.square() * clean + reading.square()).sqrt()
    noisy = _jpeg(_bytes(clean + change), _uniform(clean, 75, 100))
    return noisy, change.square().mean((1, 2, 3)).sqrt()


def compressed(clean: Tensor) -> tuple[Tensor, Tensor]:
    """A little normal noise, then the blocks of JPEG of quality 40 to 95."""
    level = _uniform(clean, 0, 10 / 255)
    return _jpeg(_bytes(clean + _each(level) * torch.randn_like(clean)), _uniform(clean, 40, 95)), level


def _uniform(clean: Tensor, low: float, high: float) -> Tensor:
    return low + (high - low) * torch.rand(len(clean), device=clean.device)


def _each(numbers: Tensor) -> Tensor:
    return numbers.view(-1, 1, 1, 1)


def _deviation(variance: Tensor) -> Tensor:
    return variance.sqrt().flatten()


def _bytes(images: Tensor) -> Tensor:
    return (images * 255).round().clamp(0, 255) / 255


def _mosaic(height: int, width: int, device: torch.device) -> Tensor:
    """Where the sensor sees red, green and blue (Bayer's pattern), shape (1, 3, h, w)."""
    y, x = torch.arange(height, device=device)[:, None] % 2, torch.arange(width, device=device)[None] % 2
    return torch.stack([(y == 0) & (x == 0), y != x, (y == 1) & (x == 1)]).float()[None]


def _bilinear(device: torch.device) -> Tensor:
    """Kernels that interpolate red, green and blue of the mosaic, shape (3, 1, 3, 3)."""
    red = ((0.25, 0.5, 0.25), (0.5, 1, 0.5), (0.25, 0.5, 0.25))
    green = ((0, 0.25, 0), (0.25, 1, 0.25), (0, 0.25, 0))
    return _constant((red, green, red), device)[:, None]


@cache
def _constant(numbers: Any, device: torch.device) -> Tensor:
    """Nested tuples as a tensor, made once for each device, as the capture of CUDA graphs needs it."""
    return torch.tensor(numbers, dtype=torch.float32, device=device)


_LUMINANCE_TABLE = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
_CHROMA_TABLE = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *((99,) * 8,) * 4,
)
_TO_YCBCR = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))

_TO_RGB = ((1, 0, 1.402), (1, -0.344136, -0.714136), (1, 1.772, 0))


def _jpeg(images: Tensor, quality: Tensor) -> Tensor:
    """What JPEG of a quality from 1 to 100 makes of images, as ITU-T T.81 and libjpeg's tables define it.

    Chroma is halved in both directions where the quality is below 90, as cameras and programs mostly do.
    """
    c = images.shape[1]
    steps = torch.where(quality < 50, 5000 / quality.clamp(min=1), 200 - 2 * quality) / 100
    tables = _constant((_LUMINANCE_TABLE, _CHROMA_TABLE), images.device)
    tables = (tables * steps.view(-1, 1, 1, 1)).round().clamp(1, 255)  # (n, 2, 8, 8)
    if c == 1:
        return _bytes((_quantised(images * 255 - 128, tables[:, :1]) + 128) / 255)
    planes = torch.einsum("ij,njhw->nihw", _constant(_TO_YCBCR, images.device), images * 255)
    luminance, chroma = _quantised(planes[:, :1] - 128, tables[:, :1]), planes[:, 1:]
    halved = _quantised(F.avg_pool2d(chroma, 2), tables[:, 1:])
    whole = _quantised(chroma, tables[:, 1:])
    chroma = torch.where(_each(quality) < 90, F.interpolate(halved, scale_factor=2, mode="bilinear"), whole)
    planes = torch.cat([luminance + 128, chroma], 1)
    return _bytes(torch.einsum("ij,njhw->nihw", _constant(_TO_RGB, images.device), planes) / 255)


def _quantised(planes: Tensor, tables: Tensor) -> Tensor:
    """Round the cosine transform of blocks of 8 × 8 pixels to multiples of a table's numbers."""
    n, c, h, w = planes.shape
    k = torch.arange(8, device=planes.device, dtype=torch.float32)
    cosine = torch.cos(math.pi / 8 * (k[None] + 0.5) * k[:, None]) / 2
    cosine[0] /= math.sqrt(2)
    blocks = planes.view(n, c, h // 8, 8, w // 8, 8).transpose(3, 4)  # (n, c, rows, columns, 8, 8)
    table = tables[:, :, None, None]
    rounded = (cosine @ blocks @ cosine.T / table).round() * table
    return (cosine.T @ rounded @ cosine).transpose(3, 4).reshape(n, c, h, w)
