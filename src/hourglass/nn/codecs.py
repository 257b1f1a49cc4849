"""Codecs: an encoder to a flat code and a decoder back to an image.

A codec maps images ``(n, c, h, w)`` to codes ``(n, code_size)`` and codes to *outputs* ``(n, c, h, w)``
before any output activation: logits under a cross-entropy loss, pixel values under a squared one.
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hourglass.nn.layers import (
    Dense,
    SameConv2d,
    SamePool2d,
    TransposedConv2d,
    UpsampleConv2d,
    from_height_width_channel,
    reset_children_,
    to_height_width_channel,
)

UPSAMPLES = {"nearest": UpsampleConv2d, "transposed": TransposedConv2d}


class Codec(nn.Module):
    """What every codec has.

    Parameters
    ----------
    image_shape : tuple of int
        Height, width and channels.

    Attributes
    ----------
    code_shape : tuple of int
        Shape of one code in its natural layout; its product is ``code_size``.
    output_bias : torch.Tensor
        Bias of the last layer, of shape ``(h·w·c,)`` or ``(c,)``.
    """

    code_shape: tuple[int, ...]

    def __init__(self, image_shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.image_shape = image_shape

    @property
    def code_size(self) -> int:
        return torch.Size(self.code_shape).numel()

    @property
    def output_bias(self) -> Tensor:
        """Bias of the last layer."""
        raise NotImplementedError

    def encode(self, images: Tensor) -> Tensor:
        """Images ``(n, c, h, w)`` to codes ``(n, code_size)``, each at least 0."""
        raise NotImplementedError

    def decode(self, codes: Tensor) -> Tensor:
        """Codes ``(n, code_size)`` to outputs ``(n, c, h, w)`` without activation."""
        raise NotImplementedError

    def forward(self, images: Tensor) -> Tensor:
        return self.decode(self.encode(images))

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw every weight anew: Glorot-uniform, biases zero."""
        reset_children_(self, generator)

    @torch.no_grad()
    def set_output_bias(self, mean_output: Tensor) -> None:
        """Start the last layer's bias at an average output.

        Parameters
        ----------
        mean_output : torch.Tensor of shape (h, w, c)
            The output that suits the average image; a convolutional codec, which has one bias for each
            channel, takes its mean over the pixels.
        """
        if self.output_bias.numel() != mean_output.numel():
            mean_output = mean_output.mean((0, 1))
        self.output_bias.copy_(mean_output.flatten())


class DenseCodec(Codec):
    """One hidden layer: image → ``code_size`` ReLU units → image.

    Parameters
    ----------
    image_shape : tuple of int
        Height, width and channels.
    code_size : int, default=32
    """

    def __init__(self, image_shape: tuple[int, int, int], code_size: int = 32) -> None:
        super().__init__(image_shape)
        pixels = torch.Size(image_shape).numel()
        self.code_shape = (code_size,)
        self.encoder = Dense(pixels, code_size)
        self.decoder = Dense(code_size, pixels)

    @property
    def output_bias(self) -> Tensor:
        return self.decoder.bias

    def encode(self, images: Tensor) -> Tensor:
        return F.relu(self.encoder(to_height_width_channel(images)))

    def decode(self, codes: Tensor) -> Tensor:
        return from_height_width_channel(self.decoder(codes), self.image_shape)


class ConvCodec(Codec):
    """Convolutional pyramid: each stage halves the image, and the decoder mirrors it.

    Encoder stage: 3×3 convolution, ReLU, 2×2 maximum. Decoder stage: resize to the size that the encoder
    had there, 3×3 convolution, ReLU. A last 3×3 convolution gives the output.

    Parameters
    ----------
    image_shape : tuple of int
        Height, width and channels; any size, odd ones round up when halved.
    channels : sequence of int, default=(16, 8, 8)
        Feature maps of each encoder stage; the decoder has them in reverse.
    upsample : {"nearest", "transposed"}, default="nearest"
        How the decoder grows the image.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        channels: tuple[int, ...] = (16, 8, 8),
        upsample: str = "nearest",
    ) -> None:
        super().__init__(image_shape)
        if not channels:
            raise ValueError("channels is empty; a convolutional codec has at least one stage, as channels=(16,)")
        if upsample not in UPSAMPLES:
            raise ValueError(f"upsample={upsample!r} is unknown; choose one of {', '.join(UPSAMPLES)}")
        height, width, colours = image_shape
        sizes = [(height, width)]
        for _ in channels:
            height, width = -(-height // 2), -(-width // 2)
            sizes.append((height, width))
        self.code_shape = (height, width, channels[-1])
        self.encoder = nn.ModuleList(SameConv2d(before, after) for before, after in pairwise((colours, *channels)))
        self.pool = SamePool2d()
        decoder_channels = (channels[-1], *reversed(channels))
        self.decoder = nn.ModuleList(
            UPSAMPLES[upsample](before, after, size)
            for (before, after), size in zip(pairwise(decoder_channels), reversed(sizes[:-1]), strict=True)
        )
        self.output = SameConv2d(channels[0], colours)

    @property
    def output_bias(self) -> Tensor:
        return self.output.get_parameter("bias")

    def encode(self, images: Tensor) -> Tensor:
        x = images
        for conv in self.encoder:
            # The maximum commutes with ReLU; taken first, ReLU sees a quarter of the numbers.
            x = F.relu(self.pool(conv(x)))  # (n, channels, ceil(h / 2), ceil(w / 2))
        return to_height_width_channel(x)

    def decode(self, codes: Tensor) -> Tensor:
        height, width, depth = self.code_shape
        x = from_height_width_channel(codes, (height, width, depth))
        for grow in self.decoder:
            x = F.relu(grow(x))
        return self.output(x)  # type: ignore[no-any-return]  # torch types calls as Any
