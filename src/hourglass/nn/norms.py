"""Normalisations by name: of the batch, of parts of it, and of each image by itself."""

import math

import torch
from torch import Tensor, nn

from hourglass.nn.batchnorm import (
    FrameworkBatchNorm,
    MovingStatistics,
    check_eps,
    check_maps,
)
from hourglass.nn.manual import ManualBatchNorm
from hourglass.nn.variants import BatchRenorm, GhostBatchNorm
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


NORMS: dict[str, type[MovingStatistics] | type[GroupNorm] | None] = {
    "none": None,
    "batch": FrameworkBatchNorm,
    "batch-manual": ManualBatchNorm,
    "layer": LayerNorm,
    "group": GroupNorm,
    "instance": InstanceNorm,
    "ghost": GhostBatchNorm,
    "renorm": BatchRenorm,
}
"""Every normalisation by name; ``batch`` is PyTorch's batch normalisation, ``batch-manual`` the same written out.

A class whose output at a pixel depends in inference on other pixels has the attribute ``looks_at_whole_image = True``.
"""

NORMS_IN_WORDS = {
    "none": "without normalisation",
    "batch": "with PyTorch's batch normalisation",
    "batch-manual": "with batch normalisation written out",
    "layer": "with layer normalisation",
    "group": "with group normalisation",
    "instance": "with instance normalisation",
    "ghost": "with ghost batch normalisation",
    "renorm": "with batch renormalisation",
}
"""What a title says of a network with each normalisation, by the names of ``NORMS``."""


def has_moving_statistics(name: str) -> bool:
    """Whether a normalisation, by its name in ``NORMS``, keeps moving statistics; False for unknown names."""
    norm = NORMS.get(name)
    return norm is not None and issubclass(norm, MovingStatistics)


def create_norm(
    name: str,
    num_features: int,
    *,
    eps: float = 1e-5,
    momentum: float | None = 0.1,
    stored_variance: str | None = None,
) -> nn.Module:
    """Normalisation layer by name.

    Parameters
    ----------
    name : {"none", "batch", "batch-manual", "layer", "group", "instance", "ghost", "renorm"}
        Nothing; batch normalisation by PyTorch or written out; :class:`LayerNorm`, :class:`GroupNorm`,
        :class:`InstanceNorm`, :class:`GhostBatchNorm`, :class:`BatchRenorm`.
    num_features : int
        Channels.
    eps : float, default=1e-5
        Added to the variance; 0 or more. Unused by ``"none"``.
    momentum : float in [0, 1] or None, default=0.1
        Share of the new batch in the moving statistics; None averages all batches alike. Unused by normalisations
        that look at each image by itself, and by ``"none"``: they have no moving statistics.
    stored_variance : {"bessel", "biased"}, optional
        Which batch variance the moving one averages. None, the default, leaves each class its own.

    Returns
    -------
    torch.nn.Module
        ``torch.nn.Identity`` for ``"none"``.

    Raises
    ------
    ValueError
        When the name is unknown or another argument out of its range, and when ``stored_variance`` is given to a
        normalisation without moving statistics.
    """
    if name not in NORMS:
        raise ValueError(f"norm={name!r} is unknown; choose one of {', '.join(NORMS)}")
    norm = NORMS[name]
    if norm is not None and issubclass(norm, MovingStatistics):
        if stored_variance is None:
            return norm(num_features, eps, momentum)
        return norm(num_features, eps, momentum, stored_variance=stored_variance)
    if stored_variance is not None:
        moving = ", ".join(filter(has_moving_statistics, NORMS))
        raise ValueError(
            f"norm={name!r} has no moving statistics, so that stored_variance={stored_variance!r} would change "
            f"nothing; leave it out, or choose one of {moving}"
        )
    return nn.Identity() if norm is None else norm(num_features, eps)
