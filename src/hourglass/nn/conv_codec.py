"""The convolutional codec, of images of any size."""

from itertools import pairwise
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hourglass.nn import fast
from hourglass.nn.codecs import Codec
from hourglass.nn.downsampling import DOWNSAMPLES, StridedConv2d
from hourglass.nn.layers import SameConv2d, SamePool2d
from hourglass.nn.norms import NormFactory, create_norm
from hourglass.nn.shapes import check_counts, check_images, from_height_width_channel, to_height_width_channel
from hourglass.nn.upsampling import UPSAMPLES, UpsampleConv2d
from hourglass.runtime.internals import is_transformed


def rectify(x: Tensor) -> Tensor:
    """ReLU of maps that nothing else needs: in place, except where ``torch.func`` and others record the operations."""
    return F.relu(x) if is_transformed() else F.relu_(x)


class ConvCodec(Codec):
    """Convolutional pyramid: each stage halves the image, and the decoder mirrors it.

    Encoder stage: 3×3 convolution, ReLU, 2×2 maximum. Decoder stage: double the image, 3×3 convolution,
    ReLU. A last 3×3 convolution gives the output. ``forward`` takes images of any size, not only
    ``image_shape``; ``encode`` and ``decode`` take that one size. ``downsample`` and ``upsample`` change how images
    become smaller and larger.

    Parameters
    ----------
    image_shape : tuple of int
        Height, width and channels; any size, odd ones round up when halved.
    channels : sequence of int, default=(16, 8, 8)
        Feature maps of each encoder stage; the decoder has them in reverse.
    upsample : {"nearest", "transposed", "transposed-2x2"}, default="nearest"
        How the decoder doubles the image: by repeating pixels before a 3×3 convolution, or by a transposed convolution
        with stride 2 and a kernel of 3 × 3 or 2 × 2.
    downsample : {"max-pool", "strided"}, default="max-pool"
        How the encoder halves the image: by the maximum of 2 × 2 pixels, or by a stride of 2 in its convolutions.
    code_channels : int, optional
        Feature maps of the code, which one more 3×3 convolution computes from those of the last stage; another one
        computes the first maps of the decoder from the code. The stages can then be wide although the code is small. By
        default the last stage's maps are the code.
    skip : bool, default=False
        Join each decoder stage with the encoder's maps of the same size by one more 3×3 convolution
        (Ronneberger, Fischer and Brox, "U-Net", MICCAI 2015). Detail then passes beside the code, which no
        longer determines the image.
    residual : bool, default=False
        Add the output to the input, so that the layers predict what to take away (Zhang et al., "Beyond a
        Gaussian Denoiser", IEEE Transactions on Image Processing, 2017).
    norm : str or callable, default="none"
        Normalisation before each ReLU, one of ``NORMS``, or a class or function of the number of channels that makes
        layers for maps ``(n, channels, h, w)``. The code, too, is normalised; the output is not.
    norm_momentum : float in [0, 1] or None, default=0.1
        Share of the new batch in the moving statistics; None averages all batches alike. Unused where the
        normalisation has no moving statistics, and by one of your own.

    Raises
    ------
    ValueError
        When a size is below 1, there is no stage, a name is unknown, or ``skip`` is set with ``downsample="strided"``,
        whose stages have no maps of the size that is joined; from the methods when images or codes have a
        shape that the network does not take, and from ``decode`` with ``skip`` or ``residual``.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        channels: tuple[int, ...] = (16, 8, 8),
        upsample: str = "nearest",
        *,
        downsample: str = "max-pool",
        code_channels: int | None = None,
        skip: bool = False,
        residual: bool = False,
        norm: str | NormFactory = "none",
        norm_momentum: float | None = 0.1,
    ) -> None:
        super().__init__(image_shape)
        if not channels:
            raise ValueError("channels is empty; a convolutional codec has at least one stage, as channels=(16,)")
        if upsample not in UPSAMPLES:
            raise ValueError(f"upsample={upsample!r} is unknown; choose one of {', '.join(UPSAMPLES)}")
        if downsample not in DOWNSAMPLES:
            raise ValueError(f"downsample={downsample!r} is unknown; choose one of {', '.join(DOWNSAMPLES)}")
        if skip and downsample == "strided":
            raise ValueError("skip joins maps that strided convolutions do not compute; use downsample='max-pool'")
        height, width, colours = image_shape
        self._sizes = [(height, width)]
        for _ in channels:
            height, width = -(-height // 2), -(-width // 2)
            self._sizes.append((height, width))
        self.code_shape = (height, width, code_channels or channels[-1])
        self.skip, self.residual, self.norm = skip, residual, norm
        # A layer of somebody's own may need its output again for its gradient.
        self._rectify = rectify if isinstance(norm, str) else F.relu
        strided = downsample == "strided"
        halving = StridedConv2d if strided else SameConv2d
        self.encoder = nn.ModuleList(halving(before, after) for before, after in pairwise((colours, *channels)))
        self.pool = nn.Identity() if strided else SamePool2d()
        if code_channels is not None:
            check_counts(code_channels=code_channels)
            self.to_code = SameConv2d(channels[-1], code_channels)
            self.from_code = SameConv2d(code_channels, channels[-1])
        self.has_code_layers = code_channels is not None
        decoder_channels = (channels[-1], *reversed(channels))
        self.decoder = nn.ModuleList(UPSAMPLES[upsample](*pair) for pair in pairwise(decoder_channels))
        self.encoder_norms, self.decoder_norms = (
            nn.ModuleList(create_norm(norm, count, momentum=norm_momentum) for count in counts)
            for counts in (channels, decoder_channels[1:])
        )
        self.joins = nn.ModuleList(SameConv2d(2 * count, count) for count in reversed(channels) if skip)
        self.output = SameConv2d(channels[0], colours)

    @property
    def output_bias(self) -> Tensor:
        """Bias of the last layer, of shape ``(c,)``."""
        return self.output.get_parameter("bias")

    @property
    def stride(self) -> int:
        """Pixels between neighbours in the code, each way."""
        return 1 << len(self.encoder)

    @property
    def halo(self) -> tuple[int, int] | None:  # type: ignore[override]  # a constant elsewhere
        """Stride and receptive radius in pixels; None where a normalisation looks at the whole image."""
        # A part of an image has other moments than the whole.
        by_image = any(getattr(norm, "looks_at_whole_image", False) for norm in self.encoder_norms)
        return None if by_image else (self.stride, self.receptive_radius)

    @property
    def receptive_radius(self) -> int:
        """Pixels, each way, beyond which an input pixel has no part in an output pixel."""
        stages = len(self.encoder)
        farthest = 0
        for place in range(self.stride):  # the grid of the code makes places differ
            low, high = place - 1, place + 1  # the output convolution
            for grow in reversed(self.decoder):
                before, after = cast(UpsampleConv2d, grow).reach
                join = int(self.skip)  # one more convolution
                low, high = (low - join - before) // 2, (high + join + after) // 2
            if self.has_code_layers:
                low, high = low - 2, high + 2
            for _ in range(stages):
                # A convolution with stride 2, or a pooled pair and the convolution before it.
                low, high = 2 * low - 1, 2 * high + (1 if isinstance(self.pool, nn.Identity) else 2)
            farthest = max(farthest, place - low, high - place)
        return farthest

    def rectified(self) -> dict[str, nn.Module]:
        """Name the modules whose output goes through a ReLU.

        Returns
        -------
        dict of str to torch.nn.Module
            Modules by the name of their layer.
        """
        groups = {"encoder": self.encoder_norms, "decoder": self.decoder_norms, "join": self.joins}
        code: dict[str, nn.Module] = {}
        if self.has_code_layers:
            code = {"to code": self.to_code, "from code": self.from_code}
        return code | {f"{name} {i}": layer for name, layers in groups.items() for i, layer in enumerate(layers, 1)}

    def normalised_layers(self) -> list[tuple[str, str]]:
        """Name each convolution whose output is normalised, and its normalisation.

        Returns
        -------
        list of (str, str)
            Names of both, as ``get_submodule`` takes them; empty with ``norm="none"``.
        """
        if self.norm == "none":
            return []
        inside = ".conv" if isinstance(self.decoder[0], UpsampleConv2d) else ""
        stages = range(len(self.encoder))
        return [
            *((f"encoder.{i}", f"encoder_norms.{i}") for i in stages),
            *((f"decoder.{i}{inside}", f"decoder_norms.{i}") for i in stages),
        ]

    def encode(self, images: Tensor) -> Tensor:
        """Encode images.

        Parameters
        ----------
        images : torch.Tensor of shape (n, c, h, w)
            Of the network's own size.

        Returns
        -------
        torch.Tensor of shape (n, code_size)
            Codes, each number at least 0, flattened in the order height, width, channel.

        Raises
        ------
        ValueError
            When the images have another shape than the network takes.
        """
        check_images(images, self.image_shape)
        return to_height_width_channel(self._encode(images)[0])

    def decode(self, codes: Tensor) -> Tensor:
        """Decode codes.

        Parameters
        ----------
        codes : torch.Tensor of shape (n, code_size)
            As :meth:`encode` gives them.

        Returns
        -------
        torch.Tensor of shape (n, c, h, w)
            Outputs before any activation.

        Raises
        ------
        ValueError
            When the codes have another length; with ``skip`` or ``residual``, where the decoder needs the image itself.
        """
        if self.skip or self.residual:
            raise ValueError("with skip or residual the decoder needs the image itself; call the network on images")
        self._check_codes(codes)
        maps = from_height_width_channel(codes, self.code_shape)  # type: ignore[arg-type]  # three numbers
        return self._decode(maps, self._sizes[:-1], [])

    def forward(self, images: Tensor) -> Tensor:
        """Encode images and decode them.

        Parameters
        ----------
        images : torch.Tensor of shape (n, c, h, w)
            Of any size.

        Returns
        -------
        torch.Tensor of shape (n, c, h, w)
            Outputs before any activation.
        """
        maps, sizes, joined = self._encode(images)
        output = self._decode(maps, sizes, joined)
        return images + output if self.residual else output

    def _encode(self, images: Tensor) -> tuple[Tensor, list[tuple[int, int]], list[Tensor]]:
        """Maps of the code; the size before each stage's halving, and with ``skip`` the maps then."""
        x, sizes, joined = images, [], []
        for conv, norm in zip(self.encoder, self.encoder_norms, strict=True):
            sizes.append((x.shape[2], x.shape[3]))
            x = norm(conv(x))
            if self.skip:
                x = self._rectify(x)
                joined.append(x)
            # The maximum commutes with ReLU; taken first, ReLU sees a quarter of the numbers.
            x = self._rectify(self.pool(x))  # (n, channels, ceil(h / 2), ceil(w / 2))
        if self.has_code_layers:
            x = rectify(self.to_code(x))
        return x, sizes, joined

    def _writes_phases(self, x: Tensor, size: tuple[int, int]) -> bool:
        """Whether the last stage and the output can be computed as one."""
        return (
            fast.applies("output-phases", x)
            and isinstance(self.decoder[-1], UpsampleConv2d)
            and not self.skip
            and self.norm == "none"
            and not torch.is_grad_enabled()
            and size == (2 * x.shape[2], 2 * x.shape[3])
            and self.output.out_channels <= fast.FEW_OUTPUTS
        )

    def _decode(self, maps: Tensor, sizes: list[tuple[int, int]], joined: list[Tensor]) -> Tensor:
        x = rectify(self.from_code(maps)) if self.has_code_layers else maps
        for i, (grow, size) in enumerate(zip(self.decoder, reversed(sizes), strict=True)):
            if i == len(sizes) - 1 and self._writes_phases(x, size):
                conv = cast(UpsampleConv2d, grow).conv
                last = (conv.weight, conv.get_parameter("bias"), self.output.weight, self.output_bias)
                return fast.upsample_output_conv2d(x, *last)
            x = self._rectify(self.decoder_norms[i](grow(x, size)))
            if self.skip:
                x = torch.cat([x, joined.pop()], dim=1)  # in inference the two parts' memory is free from here
                x = self._rectify(self.joins[i](x))
        output: Tensor = self.output(x)
        return output
