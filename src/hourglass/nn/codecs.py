"""Codecs: an encoder to a flat code and a decoder back to an image.

A codec maps images ``(n, c, h, w)`` to codes ``(n, code_size)`` and codes to *outputs* ``(n, c, h, w)``
before any output activation: logits under a cross-entropy loss, pixel values under a squared one.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hourglass.nn.initialisation import reset_children_
from hourglass.nn.layers import Dense
from hourglass.nn.shapes import check_counts, check_images, from_height_width_channel, to_height_width_channel
from hourglass.runtime.internals import OnlyTraced, has_values, shape_of


class Codec(OnlyTraced, nn.Module):
    """Abstract base class of the codecs.

    Parameters
    ----------
    image_shape : tuple of int
        Height, width and channels, each 1 or more.

    Attributes
    ----------
    code_shape : tuple of int
        Shape of one code in its natural layout; its product is ``code_size``.
    output_bias : torch.Tensor
        Bias of the last layer, of shape ``(h·w·c,)`` or ``(c,)``.
    halo : tuple of int or None
        Of a codec that takes images of any size: stride and receptive radius, in pixels.
    """

    code_shape: tuple[int, ...]
    halo: tuple[int, int] | None = None

    def __init__(self, image_shape: tuple[int, int, int]) -> None:
        super().__init__()
        height, width, channels = image_shape
        check_counts(height=height, width=width, channels=channels)
        self.image_shape = image_shape

    @property
    def code_size(self) -> int:
        """How many numbers a code has."""
        return torch.Size(self.code_shape).numel()

    @property
    def output_bias(self) -> Tensor:
        """Bias of the last layer."""
        raise NotImplementedError

    def rectified(self) -> dict[str, nn.Module]:
        """Name the modules whose output goes through a ReLU.

        After ``fit``, the units of these modules that give 0 for every image are counted.

        Returns
        -------
        dict of str to torch.nn.Module
            Modules by the name of their layer; none, unless a subclass names its own.
        """
        return {}

    def encode(self, images: Tensor) -> Tensor:
        """Encode images.

        Parameters
        ----------
        images : torch.Tensor of shape (n, c, h, w)
            Of the network's own size.

        Returns
        -------
        torch.Tensor of shape (n, code_size)
            Codes, each number at least 0.
        """
        raise NotImplementedError

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
        """
        raise NotImplementedError

    def forward(self, images: Tensor) -> Tensor:
        """Encode images and decode them.

        Parameters
        ----------
        images : torch.Tensor of shape (n, c, h, w)
            Of the network's own size.

        Returns
        -------
        torch.Tensor of shape (n, c, h, w)
            Outputs before any activation.
        """
        return self.decode(self.encode(images))

    def _check_codes(self, codes: Tensor) -> None:
        """Raise ValueError unless codes are ``(n, code_size)``."""
        if has_values(codes) and (codes.dim() != 2 or shape_of(codes)[1] != self.code_size):
            raise ValueError(f"codes have shape {tuple(codes.shape)}; expected (n, {self.code_size})")

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw every weight anew: Glorot-uniform, biases zero.

        A normalisation of your own is reset by its method ``reset_parameters``, if it has one.

        Parameters
        ----------
        generator : torch.Generator, optional
            Draws the weights; by default PyTorch's global one.
        """
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
        Height, width and channels, each 1 or more.
    code_size : int, default=32
        Units of the hidden layer.

    Raises
    ------
    ValueError
        When a size is below 1; from the methods when images or codes have another shape than the network's.
    """

    def __init__(self, image_shape: tuple[int, int, int], code_size: int = 32) -> None:
        super().__init__(image_shape)
        check_counts(code_size=code_size)
        pixels = torch.Size(image_shape).numel()
        self.code_shape = (code_size,)
        self.encoder = Dense(pixels, code_size)
        self.decoder = Dense(code_size, pixels)

    @property
    def output_bias(self) -> Tensor:
        """Bias of the last layer, of shape ``(h·w·c,)``."""
        return self.decoder.bias

    def rectified(self) -> dict[str, nn.Module]:
        """Name the modules whose output goes through a ReLU.

        Returns
        -------
        dict of str to torch.nn.Module
            Modules by the name of their layer.
        """
        return {"encoder": self.encoder}

    def encode(self, images: Tensor) -> Tensor:
        """Encode images.

        Parameters
        ----------
        images : torch.Tensor of shape (n, c, h, w)
            Of the network's own size.

        Returns
        -------
        torch.Tensor of shape (n, code_size)
            Codes, each number at least 0.

        Raises
        ------
        ValueError
            When the images have another shape than the network takes.
        """
        check_images(images, self.image_shape)
        return F.relu(self.encoder(to_height_width_channel(images)))

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
            When the codes have another length.
        """
        self._check_codes(codes)
        return from_height_width_channel(self.decoder(codes), self.image_shape)
