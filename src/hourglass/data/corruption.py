"""Ways to spoil images: what a denoiser learns to undo."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class GaussianNoise:
    """Add normal noise to every pixel and clip: ``clip(x + level · N(0, 1), 0, 1)``.

    Parameters
    ----------
    level : float
        Standard deviation, on the pixels' scale of [0, 1].
    """

    level: float

    def __call__(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Spoil a batch of any shape; the generator is on the batch's device."""
        noise = torch.randn(images.shape, generator=generator, dtype=images.dtype, device=images.device)
        return noise.mul_(self.level).add_(images).clamp_(0, 1)
