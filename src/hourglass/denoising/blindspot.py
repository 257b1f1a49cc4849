"""Learning to denoise from noisy images alone: hide pixels, predict them from what is around."""

import torch
import torch.nn.functional as F
from torch import Tensor


class BlindSpot:
    """Replace a random share of the pixels by an average of their neighbours, and say which.

    A network trained to give back the hidden pixels cannot copy their noise, which nothing around them tells;
    what it can learn of them is their expectation. This holds where the noise of a pixel is independent of its
    neighbours' and has mean zero (see :func:`hourglass.denoising.undo_clipping` for where it has not).

    Sources: Batson and Royer, "Noise2Self: Blind Denoising by Self-Supervision", ICML 2019, for the masks and
    the average; Krull, Buchholz and Jug, "Noise2Void", CVPR 2019, for random pixels in each batch.

    Parameters
    ----------
    generator : torch.Generator
        On the images' device; draws the hidden pixels.
    share : float, default=1/16
        Of the pixels that are hidden, each with all its channels.
    """

    def __init__(self, generator: torch.Generator, share: float = 1 / 16) -> None:
        self.generator = generator
        self.share = share

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images ``(n, c, h, w)`` with pixels replaced, and the mask of these, of the same shape."""
        n, c, h, w = images.shape
        draw = torch.rand((n, 1, h, w), generator=self.generator, device=images.device)
        # At least one pixel of each image, or a small batch could have nothing to learn from.
        hidden = ((draw < self.share) | (draw == draw.amin((2, 3), keepdim=True))).expand(n, c, h, w)
        return torch.where(hidden, average_of_neighbours(images), images), hidden


def average_of_neighbours(images: Tensor) -> Tensor:
    """Weighted mean of the eight pixels around each, edges counting twice as much as corners.

    At a border the missing neighbours are left out; an image of one pixel has none and becomes 0.
    """
    c = images.shape[1]
    kernel = images.new_tensor([[1.0, 2.0, 1.0], [2.0, 0.0, 2.0], [1.0, 2.0, 1.0]]).expand(c, 1, 3, 3)
    weight = F.conv2d(torch.ones_like(images[:1]), kernel, padding=1, groups=c)
    return F.conv2d(images, kernel, padding=1, groups=c) / weight.clamp(min=1)
