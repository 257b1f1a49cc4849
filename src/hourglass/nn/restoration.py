"""A U-Net that restores images, made for processors.

Its first layer works at half the resolution, on blocks of 2 × 2 pixels as channels (pixel unshuffle: Shi et al.,
"Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel Convolutional Neural Network", CVPR
2016), and its output is a change of the image (residual learning: Zhang et al., "Beyond a Gaussian Denoiser", TIP
2017, called DnCNN). The strength of the noise may be told it as further input planes (Zhang et al., "FFDNet: Toward a
Fast and Flexible Solution for CNN-Based Image Denoising", TIP 2018). Residual blocks without normalisation at three
scales, with additions between its two halves, follow Zhang et al., "Plug-and-Play Image Restoration with Deep Denoiser
Prior", TPAMI 2021 (DRUNet).
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hourglass.errors import OptionError
from hourglass.nn.shapes import check_channels
from hourglass.runtime.internals import OnlyTraced


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


class RestorationNet(OnlyTraced, nn.Module):
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
    residual : bool
        True: the output is the input and a change.

    Raises
    ------
    OptionError
        If ``widths`` or ``n_blocks`` are not three positive numbers.
    ValueError
        From ``forward``, if images are not ``(n, channels, h, w)``.

    Notes
    -----
    The level enters the network as two further planes. If it is known, the first plane holds the level and the second
    holds 1; if it is unknown, both hold 0, and the network judges the noise by the image alone.
    """

    stride = 8
    residual = True

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
        self.reset_parameters()

    @property
    def halo(self) -> tuple[int, int]:
        """Stride, and the pixels around a block of whole strides that have a part in its output."""
        ends = [self._reach(place) for place in (0, self.stride - 1)]
        return self.stride, max(-ends[0][0], ends[1][1] - (self.stride - 1))

    @property
    def receptive_radius(self) -> int:
        """Pixels, each way, beyond which an input pixel has no part in an output pixel."""
        reaches = [(place, *self._reach(place)) for place in range(self.stride)]
        return max(max(place - low, high - place) for place, low, high in reaches)

    def _reach(self, place: int) -> tuple[int, int]:
        """First and last pixel, along one axis, that have a part in an output pixel."""
        fine, middle, coarse = (2 * count for count in self.n_blocks)  # convolutions, each way
        low = high = place // 2
        low, high = (low - 1 - fine) // 2, (high + 1 + fine) // 2  # the last convolution belongs to the fine scale
        low, high = (low - middle) // 2, (high + middle) // 2
        low, high = low - coarse, high + coarse
        low, high = 2 * low - middle, 2 * high + 1 + middle
        low, high = 2 * low - fine - 1, 2 * high + 1 + fine + 1  # and so does the first one
        return 2 * low, 2 * high + 1

    def rectified(self) -> dict[str, nn.Module]:
        """Name the modules whose output goes through a ReLU.

        Returns
        -------
        dict of str to torch.nn.Module
            Modules by the name of their layer.
        """
        return {
            f"{name}.first": block.first for name, block in self.named_modules() if isinstance(block, ResidualBlock)
        }

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw every weight anew, such that the network and each of its blocks return their input.

        The weights are uniform in ±1 / √fan_in, PyTorch's default for convolutions; those of the last convolution of
        each block and of the network, and all biases, are zero.

        Parameters
        ----------
        generator : torch.Generator, optional
            Draws the weights; by default PyTorch's global one.
        """
        last = [block.second for block in self.modules() if isinstance(block, ResidualBlock)] + [self.tail]
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.zeros_(module.get_parameter("bias"))
                if any(module is each for each in last):
                    nn.init.zeros_(module.weight)
                else:
                    nn.init.kaiming_uniform_(module.weight, a=math.sqrt(5), generator=generator)

    def forward(self, images: Tensor, noise_level: Tensor | None = None) -> Tensor:
        """Restore a batch.

        Parameters
        ----------
        images : torch.Tensor of shape (n, channels, h, w)
            Noisy images, on the scale [0, 1]; numbers outside it are possible.
        noise_level : torch.Tensor of shape (n,) or (1,), optional
            Standard deviation of the noise of each image, or of all, as a fraction of the range; a negative number
            means unknown. By default no level is known.

        Returns
        -------
        torch.Tensor of shape (n, channels, h, w)
            Restored images, not limited to [0, 1].
        """
        check_channels(images, self.channels)
        height, width = images.shape[-2:]
        extended = _extended(_extended(images, 2, self.stride), 3, self.stride)
        if noise_level is None:
            noise_level = images.new_full((1,), -1.0)
        level = noise_level.to(images.dtype).view(-1, 1, 1, 1)
        blocks = F.pixel_unshuffle(extended, 2)
        plane = torch.ones_like(blocks[:, :1])
        known = (level >= 0).to(images.dtype)
        fine = self.fine_down(self.head(torch.cat([blocks, plane * level.clamp(min=0), plane * known], 1)))
        middle = self.middle_down(self.to_middle(fine))
        coarse = self.coarse(self.to_coarse(middle))
        middle = self.middle_up(middle + self.from_coarse(coarse))
        fine = self.fine_up(fine + self.from_middle(middle))
        change = F.pixel_shuffle(self.tail(fine), 2)
        return images + change[..., :height, :width].to(images.dtype)


def _blocks(channels: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(ResidualBlock(channels) for _ in range(count)))


def _extended(images: Tensor, axis: int, multiple: int) -> Tensor:
    """Extend images at the end of an axis, by reflection, to a multiple of some pixels."""
    length = images.shape[axis]
    if length % multiple == 0:
        return images
    places = torch.arange(length + -length % multiple, device=images.device)
    # Of an image with few pixels, what lies beyond its other edge is that edge.
    return images.index_select(axis, torch.minimum(places, 2 * length - 2 - places).clamp(min=0))
