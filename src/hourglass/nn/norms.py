"""Normalisations by name: of the batch, of parts of it, and of each image by itself."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from hourglass.nn.batchnorm import (
    FrameworkBatchNorm,
    ManualBatchNorm,
    MovingStatistics,
    check_maps,
    other_axes,
    per_channel,
    widened,
)


class GroupNorm(nn.GroupNorm):
    """Each image normalised by itself, over groups of its channels; the same in training and in inference.

    Source: Wu and He, "Group Normalization", ECCV 2018. One group is layer normalisation, as many as channels
    instance normalisation (their figure 2).

    Parameters
    ----------
    num_features : int
        Channels: the input is ``(n, num_features)`` or ``(n, num_features, height, width)``.
    eps : float, default=1e-5
        Added to the variance.
    groups : int, default=4
        Of channels; where their number is no multiple of it, the greatest common divisor of both.
    affine : bool, default=True
        Whether there is a scale, ``weight``, and a shift, ``bias``, for each channel.
    device : torch.device or str, optional
        Where the parameters are made.
    dtype : torch.dtype, optional
        Of the parameters.

    Raises
    ------
    ValueError
        When ``groups`` is below 1; from the forward pass where a group has one value only, or the input has another
        number of axes or channels.
    """

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
        super().__init__(math.gcd(groups, num_features), num_features, eps, affine, device, dtype)

    def forward(self, x: Tensor) -> Tensor:
        check_maps(x, self.num_channels)
        if x.shape[1:].numel() == self.num_groups:
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
    num_features, eps, affine, device, dtype
        As in :class:`GroupNorm`.
    """

    def __init__(self, num_features: int, eps: float = 1e-5, **options: Any) -> None:
        super().__init__(num_features, eps, groups=1, **options)


class InstanceNorm(GroupNorm):
    """Each channel of each image normalised over its pixels, of which it needs several.

    Source: Ulyanov, Vedaldi and Lempitsky, "Instance Normalization: The Missing Ingredient for Fast Stylization", 2016.

    Parameters
    ----------
    num_features, eps, affine, device, dtype
        As in :class:`GroupNorm`.
    """

    def __init__(self, num_features: int, eps: float = 1e-5, **options: Any) -> None:
        super().__init__(num_features, eps, groups=num_features, **options)


class GhostBatchNorm(FrameworkBatchNorm):
    """Batch normalisation of small parts of the batch, each by its own moments.

    Large batches then see the noise of small ones. The parts update the moving statistics one after another.
    Source: Hoffer, Hubara and Soudry, "Train longer, generalize better", NeurIPS 2017, algorithm 1.

    Parameters
    ----------
    num_features, eps, momentum, affine, track_running_stats, device, dtype, bias, stored_variance
        As in :class:`MovingStatistics`, whose attributes it has too. With ``momentum=None`` all parts of all batches
        are averaged alike.
    ghost_size : int, default=16
        Images in a part; a batch that is no multiple of it is divided into parts that differ by one at most, none
        larger.
    """

    def __init__(self, *args: Any, ghost_size: int = 16, **options: Any) -> None:
        if ghost_size < 1:
            raise ValueError(f"ghost_size={ghost_size}; expected 1 image or more")
        super().__init__(*args, **options)
        self.ghost_size = ghost_size

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, ghost_size={self.ghost_size}"

    def _why_not_synchronised(self) -> str | None:
        return "it normalises parts of each process's batch, which are to be small"

    def forward(self, x: Tensor) -> Tensor:
        self._check_input_dim(x)
        if not self.training or len(x) <= self.ghost_size:
            return super().forward(x)
        normalise, parts = super().forward, x.tensor_split(math.ceil(len(x) / self.ghost_size))
        self._count(parts[-1])  # the smallest; none is accounted for where one is refused
        return torch.cat([normalise(part) for part in parts])


class BatchRenorm(MovingStatistics):
    """Batch normalisation that training corrects towards the moving statistics, within limits.

    ``x̂ = (x - µ_B) / σ_B · r + d`` with ``r = σ_B / σ`` and ``d = (µ_B - µ) / σ`` clipped and held constant in the
    gradient, so that training computes what inference will. The limits open from r = 1, d = 0, which is batch
    normalisation, as the moving statistics come to mean something.
    Source: Ioffe, "Batch Renormalization: Towards Reducing Minibatch Dependence in Batch-Normalized Models",
    NeurIPS 2017, algorithm 1, which averages deviations; ``running_var`` holds their square less ``eps``.

    Parameters
    ----------
    num_features, eps, momentum, affine, track_running_stats, device, dtype, bias
        As in :class:`MovingStatistics`, whose attributes it has too. Without moving statistics there is nothing to
        correct towards, and ``track_running_stats=False`` is refused.
    stored_variance : {"biased", "bessel"}, default="biased"
        Which batch variance the moving one averages; the paper's is the biased one.
    scale_limit : float, default=3
        Largest r; its inverse is the smallest.
    shift_limit : float, default=5
        Largest magnitude of d.
    ramp : pair of int, default=(100, 400)
        Updates between which the limits open, along a line; the paper's, for longer training, are 5,000 and 40,000.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(
        self,
        *args: Any,
        stored_variance: str = "biased",
        scale_limit: float = 3.0,
        shift_limit: float = 5.0,
        ramp: tuple[int, int] = (100, 400),
        **options: Any,
    ) -> None:
        if scale_limit < 1 or shift_limit < 0:
            raise ValueError(
                f"scale_limit={scale_limit}, shift_limit={shift_limit}; expected 1 or more and 0 or more: they "
                "bound r, which is about 1, and d, which is about 0"
            )
        super().__init__(*args, stored_variance=stored_variance, **options)
        if not self.track_running_stats:
            raise ValueError(
                "track_running_stats=False leaves batch renormalisation nothing to correct towards; "
                "use FrameworkBatchNorm"
            )
        self.scale_limit, self.shift_limit, self.ramp = scale_limit, shift_limit, ramp

    def extra_repr(self) -> str:
        said = f"scale_limit={self.scale_limit}, shift_limit={self.shift_limit}, ramp={self.ramp}"
        return f"{super().extra_repr()}, {said}"

    def _why_not_synchronised(self) -> str | None:
        return "that does not correct towards the moving statistics"

    def limits(self) -> tuple[float, float]:
        """Bounds of r and of d, after as many updates as there were."""
        begin, end = self.ramp
        tracked = 0 if self.num_batches_tracked is None else int(self.num_batches_tracked)
        open_ = min(max((tracked - begin) / max(end - begin, 1), 0.0), 1.0)
        return 1 + (self.scale_limit - 1) * open_, self.shift_limit * open_

    def forward(self, x: Tensor) -> Tensor:
        self._check_input_dim(x)
        if not self.training:
            return self._infer(x)
        count, given, x = self._count(x), x.dtype, widened(x)
        axes, shape = other_axes(x), per_channel(x)
        mean = x.mean(axes)  # (channels,)
        centred = x - mean.view(shape)
        variance = centred.square().mean(axes)
        deviation = torch.sqrt(variance + self.eps)
        with torch.no_grad():
            moving = torch.sqrt(self.running_var.to(x.dtype) + self.eps)
            scale_limit, shift_limit = self.limits()
            r = (deviation / moving).clamp(1 / scale_limit, scale_limit)
            d = ((mean - self.running_mean.to(x.dtype)) / moving).clamp(-shift_limit, shift_limit)
        self._update(mean, self._stored(variance, count))
        normalised = centred * (r / deviation).view(shape) + d.view(shape)
        weight, bias = self._affine(x)
        return (normalised * weight.view(shape) + bias.view(shape)).to(given)

    @torch.no_grad()
    def _update(self, mean: Tensor, variance: Tensor) -> None:
        moving = torch.sqrt(self.running_var.to(variance.dtype) + self.eps)
        super()._update(mean, variance)
        averaged = moving.lerp(torch.sqrt(variance + self.eps), self._share())
        self.running_var.copy_(averaged.square() - self.eps)


NORMS: dict[str, type[MovingStatistics] | type[GroupNorm] | None] = {
    "none": None,
    "layer": FrameworkBatchNorm,
    "manual": ManualBatchNorm,
    "layernorm": LayerNorm,
    "group": GroupNorm,
    "instance": InstanceNorm,
    "ghost": GhostBatchNorm,
    "renorm": BatchRenorm,
}
"""Every normalisation by name; ``layer`` is PyTorch's batch normalisation, ``manual`` the same written out."""


def create_norm(
    name: str, num_features: int, *, eps: float = 1e-5, momentum: float = 0.1, stored_variance: str | None = None
) -> nn.Module:
    """Normalisation layer by name.

    Parameters
    ----------
    name : {"none", "layer", "manual", "layernorm", "group", "instance", "ghost", "renorm"}
        Nothing; batch normalisation by PyTorch or written out; :class:`LayerNorm`, :class:`GroupNorm`,
        :class:`InstanceNorm`, :class:`GhostBatchNorm`, :class:`BatchRenorm`.
    num_features : int
        Channels.
    eps : float, default=1e-5
    momentum, stored_variance
        As in :class:`ManualBatchNorm`, the latter by default each class's own; those that look at each image by itself
        have no moving statistics.

    Raises
    ------
    ValueError
        When the name is unknown.
    """
    if name not in NORMS:
        raise ValueError(f"norm={name!r} is unknown; choose one of {', '.join(NORMS)}")
    norm = NORMS[name]
    if norm is None:
        return nn.Identity()
    if issubclass(norm, MovingStatistics):
        variance = {} if stored_variance is None else {"stored_variance": stored_variance}
        return norm(num_features, eps, momentum, **variance)  # type: ignore[arg-type]  # the variance is a keyword
    return norm(num_features, eps)
