"""A U-Net that restores images, made for processors.

Its first layer works at half the resolution, on blocks of 2 × 2 pixels as channels (pixel unshuffle: Shi et al.,
"Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel Convolutional Neural Network", CVPR
2016), and its output is a change of the image (residual learning: Zhang et al., "Beyond a Gaussian Denoiser", TIP
2017, called DnCNN). The strength of the noise may be told it as further input planes (Zhang et al., "FFDNet: Toward a
Fast and Flexible Solution for CNN-Based Image Denoising", TIP 2018). Residual blocks without normalisation at three
scales, with additions between its two halves, follow Zhang et al., "Plug-and-Play Image Restoration with Deep Denoiser
Prior", TPAMI 2021 (DRUNet).
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hourglass.errors import OptionError


class ResidualBlock(nn.Module):
    """Two convolutions of 3 × 3 with a ReLU between them, added to their input.

    Parameters
    ----------
    channels : int
        Channels of the input and of the output.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        """Add the change.

        Parameters
        ----------
        features : torch.Tensor of shape (n, channels, h, w)
            Feature maps.

        Returns
        -------
        torch.Tensor of shape (n, channels, h, w)
            The feature maps and their change.
        """
        change: Tensor = self.second(F.relu(self.first(features)))
        return features + change


class RestorationNet(nn.Module):
    """Restore images of any size; told the level of their noise or not.

    Parameters
    ----------
    channels : int, default=3
        Channels of the images: 1 for grey, 3 for colour.
    widths : sequence of three int, default=(64, 96, 128)
        Channels of the feature maps at a half, a quarter and an eighth of the resolution.
    n_blocks : sequence of three int, default=(1, 1, 2)
        Residual blocks at each scale; the first two numbers count twice, on the way down and on the way up.

    Attributes
    ----------
    stride : int
        8: images are extended by reflection until both sides are a multiple of it, and cut again.

    Raises
    ------
    OptionError
        If ``widths`` or ``n_blocks`` are not three positive numbers.

    Notes
    -----
    The level enters the network as two further planes. If it is known, the first plane holds the level and the second
    holds 1; if it is unknown, both hold 0, and the network judges the noise by the image alone.
    """

    stride = 8

    def __init__(
        self, channels: int = 3, widths: Sequence[int] = (64, 96, 128), n_blocks: Sequence[int] = (1, 1, 2)
    ) -> None:
        super().__init__()
        for name, numbers in (("widths", widths), ("n_blocks", n_blocks)):
            if len(numbers) != 3 or min(numbers) < 1:
                raise OptionError(f"{name} has to be three positive numbers, not {tuple(numbers)}")
        fine, middle, coarse = widths
        self.channels, self.widths, self.n_blocks = channels, tuple(widths), tuple(n_blocks)
        self.head = nn.Conv2d(4 * channels + 2, fine, 3, padding=1)
        self.fine_down = _blocks(fine, n_blocks[0])
        self.to_middle = nn.Conv2d(fine, middle, 2, stride=2)
        self.middle_down = _blocks(middle, n_blocks[1])
        self.to_coarse = nn.Conv2d(middle, coarse, 2, stride=2)
        self.coarse = _blocks(coarse, n_blocks[2])
        self.from_coarse = nn.ConvTranspose2d(coarse, middle, 2, stride=2)
        self.middle_up = _blocks(middle, n_blocks[1])
        self.from_middle = nn.ConvTranspose2d(middle, fine, 2, stride=2)
        self.fine_up = _blocks(fine, n_blocks[0])
        self.tail = nn.Conv2d(fine, 4 * channels, 3, padding=1)
        for module in self.modules():  # the untrained network and its blocks return their input
            if isinstance(module, ResidualBlock):
                nn.init.zeros_(module.second.weight)
        nn.init.zeros_(self.tail.weight)
        nn.init.zeros_(self.tail.bias)  # type: ignore[arg-type]  # torch types every bias as possibly None

    def forward(self, images: Tensor, noise_level: Tensor | None = None) -> Tensor:
        """Restore a batch.

        Parameters
        ----------
        images : torch.Tensor of shape (n, channels, h, w)
            Noisy images, on the scale [0, 1]; numbers outside it are possible.
        noise_level : torch.Tensor of shape (n,), optional
            Standard deviation of the noise of each image, as a fraction of the range; a negative number means
            unknown. By default no level is known.

        Returns
        -------
        torch.Tensor of shape (n, channels, h, w)
            Restored images, not limited to [0, 1].
        """
        height, width = images.shape[-2:]
        extended = _reflect(images, -height % self.stride, -width % self.stride)
        if noise_level is None:
            noise_level = images.new_full((len(images),), -1.0)
        level = noise_level.to(images.dtype).view(-1, 1, 1, 1)
        planes = torch.cat([level.clamp(min=0), (level >= 0).to(images.dtype)], 1)
        blocks = F.pixel_unshuffle(extended, 2)
        fine = self.fine_down(self.head(torch.cat([blocks, planes.expand(-1, -1, *blocks.shape[-2:])], 1)))
        middle = self.middle_down(self.to_middle(fine))
        coarse = self.coarse(self.to_coarse(middle))
        middle = self.middle_up(middle + self.from_coarse(coarse))
        fine = self.fine_up(fine + self.from_middle(middle))
        change = F.pixel_shuffle(self.tail(fine), 2)
        return images + change[..., :height, :width].to(images.dtype)


def _blocks(channels: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(ResidualBlock(channels) for _ in range(count)))


def _reflect(images: Tensor, below: int, right: int) -> Tensor:
    """Extend images at the bottom and at the right, by reflection where they are large enough, else by their edge."""
    if not below and not right:
        return images
    height, width = images.shape[-2:]
    mode = "reflect" if below < height and right < width else "replicate"
    return F.pad(images, (0, right, 0, below), mode=mode)
