"""Normalisations of each image by itself, over groups of its channels."""

import math

import torch
from torch import Tensor, nn

from hourglass.nn.batchnorm import check_eps, check_maps
from hourglass.runtime.internals import OnlyTraced, has_values, shape_of


class GroupNorm(OnlyTraced, nn.GroupNorm):
    """Each image normalised by itself, over groups of its channels; the same in training and in inference.

    Source: Wu and He, "Group Normalization", ECCV 2018. One group is layer normalisation, as many as channels
    instance normalisation (their figure 2).

    Parameters
    ----------
    num_features : int
        Channels: the input is ``(n, num_features)`` or ``(n, num_features, height, width)``.
    eps : float, default=1e-5
        Added to the variance; 0 or more.
    groups : int, default=4
        Groups of channels; where ``num_features`` is no multiple of it, the greatest common divisor of both.
    affine : bool, default=True
        Whether there is a scale, ``weight``, and a shift, ``bias``, for each channel.
    device : torch.device or str, optional
        Device of the parameters.
    dtype : torch.dtype, optional
        Type of the parameters.

    Attributes
    ----------
    weight, bias : torch.nn.Parameter of shape (num_features,), or None
        Scale (gamma) and shift (beta).

    Raises
    ------
    ValueError
        When ``groups`` is below 1 or ``eps`` below 0; from the forward pass where a group has one value only, or the
        input has another number of axes or channels.
    TypeError
        From the forward pass when the input does not hold floating-point numbers; from ``torch.jit.script``.
    """

    looks_at_whole_image = True  # so that ``ConvCodec.halo`` is None

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        *,
        groups: int = 4,
        affine: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        if groups < 1:
            raise ValueError(f"groups={groups}; expected 1 or more")
        check_eps(eps)
        super().__init__(math.gcd(groups, num_features), num_features, eps, affine, device, dtype)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise each image's groups by their own moments.

        Parameters
        ----------
        x : torch.Tensor of shape (n, num_channels) or (n, num_channels, ...)
            Rows, or maps.

        Returns
        -------
        torch.Tensor of the same shape

        Raises
        ------
        ValueError
            When the input has another shape, or only one value for each group.
        """
        check_maps(x, self.num_channels)
        if has_values(x) and shape_of(x)[1:].numel() == self.num_groups:
            raise ValueError(
                f"one value per group in x of shape {tuple(x.shape)} with {self.num_groups} groups: normalised it is 0 "
                "whatever it was; use fewer groups or larger maps"
            )
        return super().forward(x)


class LayerNorm(GroupNorm):
    """Each image normalised over all its values, with a scale and a shift for each channel.

    Source: Ba, Kiros and Hinton, "Layer Normalization", 2016.

    Parameters
    ----------
    num_features : int
        Channels: the input is ``(n, num_features)`` or ``(n, num_features, height, width)``.
    eps : float, default=1e-5
        Added to the variance; 0 or more.
    affine : bool, default=True
        Whether there is a scale, ``weight``, and a shift, ``bias``, for each channel.
    device : torch.device or str, optional
        Device of the parameters.
    dtype : torch.dtype, optional
        Type of the parameters.

    Attributes
    ----------
    weight, bias : torch.nn.Parameter of shape (num_features,), or None
        Scale (gamma) and shift (beta).

    Raises
    ------
    ValueError, TypeError
        As :class:`GroupNorm`, of which this is the case of one group.
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        *,
        affine: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(num_features, eps, groups=1, affine=affine, device=device, dtype=dtype)


class InstanceNorm(GroupNorm):
    """Each channel of each image normalised over its pixels, of which it needs several.

    Source: Ulyanov, Vedaldi and Lempitsky, "Instance Normalization: The Missing Ingredient for Fast Stylization", 2016.

    Parameters
    ----------
    num_features : int
        Channels: the input is ``(n, num_features, height, width)``.
    eps : float, default=1e-5
        Added to the variance; 0 or more.
    affine : bool, default=True
        Whether there is a scale, ``weight``, and a shift, ``bias``, for each channel.
    device : torch.device or str, optional
        Device of the parameters.
    dtype : torch.dtype, optional
        Type of the parameters.

    Attributes
    ----------
    weight, bias : torch.nn.Parameter of shape (num_features,), or None
        Scale (gamma) and shift (beta).

    Raises
    ------
    ValueError, TypeError
        As :class:`GroupNorm`, of which this is the case of as many groups as channels.
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        *,
        affine: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(num_features, eps, groups=num_features, affine=affine, device=device, dtype=dtype)
