"""Variants of batch normalisation: ghost batches and batch renormalisation."""

import math

import torch
from torch import Tensor

from hourglass.nn.batchnorm import (
    FrameworkBatchNorm,
    MovingStatistics,
    check_maps,
    dense,
    other_axes,
    per_channel,
    widened,
)
from hourglass.runtime.internals import shape_of


class GhostBatchNorm(FrameworkBatchNorm):
    """Batch normalisation of small parts of the batch, each by its own moments.

    Large batches then see the noise of small ones. The parts update the moving statistics one after another.
    Source: Hoffer, Hubara and Soudry, "Train longer, generalize better", NeurIPS 2017, algorithm 1.

    Parameters
    ----------
    num_features : int
        Channels: the input is ``(n, num_features)`` or ``(n, num_features, height, width)``.
    eps : float, default=1e-5
        Added to the variance; 0 or more.
    momentum : float in [0, 1] or None, default=0.1
        Share of a new part in the moving statistics (PyTorch's convention). With None all
        parts of all batches are averaged alike.
    affine : bool, default=True
        Whether there is a scale, ``weight``, and with ``bias`` a shift.
    track_running_stats : bool, default=True
        Whether there are moving statistics. Without them inference, too, normalises by the parts.
    device : torch.device or str, optional
        Device of the parameters and buffers.
    dtype : torch.dtype, optional
        Type of the parameters and the moving statistics.
    bias : bool, default=True
        Whether there is a shift.
    stored_variance : {"bessel", "biased"}, default="bessel"
        Which batch variance the moving one averages: with Bessel's correction n / (n - 1), as PyTorch and
        TensorFlow's fused kernel, or without, as most hand-written ones.
    ghost_size : int, default=16
        Largest number of images in a part. A batch that is no multiple of it is divided into parts that differ by one
        image at most; a batch that is not larger is one part, normalised as a whole.

    Attributes
    ----------
    weight, bias : torch.nn.Parameter of shape (num_features,), or None
        Scale (gamma) and shift (beta).
    running_mean, running_var : torch.Tensor of shape (num_features,), or None
        Moving statistics, starting at 0 and 1.
    num_batches_tracked : torch.Tensor of int64, or None
        Number of parts in the moving statistics.

    Raises
    ------
    ValueError
        When an argument is out of its range; from the forward pass when the input has another number of axes or
        channels, or, where the batch's own moments are used, when a channel has no value or one only.
    TypeError
        From the forward pass when the input does not hold floating-point numbers. From
        ``torch.nn.SyncBatchNorm.convert_sync_batchnorm`` where the result would compute something else, and from
        ``torch.jit.script``.
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        bias: bool = True,
        stored_variance: str = "bessel",
        ghost_size: int = 16,
    ) -> None:
        if ghost_size < 1:
            raise ValueError(f"ghost_size={ghost_size}; expected 1 image or more")
        super().__init__(
            num_features, eps, momentum, affine, track_running_stats, device, dtype,
            bias=bias, stored_variance=stored_variance,
        )  # fmt: skip
        self.ghost_size = ghost_size

    def extra_repr(self) -> str:
        """Describe the layer, as ``repr`` shows it.

        Returns
        -------
        str
        """
        return f"{super().extra_repr()}, ghost_size={self.ghost_size}"

    @property
    def why_not_synchronised(self) -> str | None:
        """What ``torch.nn.SyncBatchNorm`` would compute otherwise: it normalises the whole batch."""
        return "that normalises the whole batch, and this one small parts of it"

    def forward(self, x: Tensor) -> Tensor:
        """Normalise parts of the batch by their own moments in training, and by the moving statistics in inference.

        Parameters
        ----------
        x : torch.Tensor of shape (n, num_features) or (n, num_features, ...)
            Rows, or maps.

        Returns
        -------
        torch.Tensor of the same shape

        Raises
        ------
        ValueError
            When the input has another shape, or in training only one value for each channel.
        """
        check_maps(x, self.num_features)
        images = shape_of(x)[0]
        if not self.uses_batch or images <= self.ghost_size:
            return super().forward(x)
        normalise, parts = super().forward, x.tensor_split(math.ceil(images / self.ghost_size))
        self._count(parts[-1])  # the smallest; when it is refused, no part may have moved the statistics
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
    num_features : int
        Channels: the input is ``(n, num_features)`` or ``(n, num_features, height, width)``.
    eps : float, default=1e-5
        Added to the variance; 0 or more.
    momentum : float in [0, 1] or None, default=0.1
        Share of the new batch in the moving statistics (PyTorch's convention). None averages all batches alike.
    affine : bool, default=True
        Whether there is a scale, ``weight``, and with ``bias`` a shift.
    track_running_stats : bool, default=True
        Only True: without moving statistics there is nothing to correct towards.
    device : torch.device or str, optional
        Device of the parameters and buffers.
    dtype : torch.dtype, optional
        Type of the parameters and the moving statistics.
    bias : bool, default=True
        Whether there is a shift.
    stored_variance : {"biased", "bessel"}, default="biased"
        Which batch variance the moving one averages; the paper's is the biased one.
    scale_limit : float, default=3
        Largest r, 1 or more; its inverse is the smallest.
    shift_limit : float, default=5
        Largest magnitude of d, 0 or more.
    ramp : pair of int, default=(100, 400)
        Batches between which the limits open, along a line; the paper's, for longer training, are 5,000 and 40,000.

    Attributes
    ----------
    weight, bias : torch.nn.Parameter of shape (num_features,), or None
        Scale (gamma) and shift (beta).
    running_mean, running_var : torch.Tensor of shape (num_features,)
        Moving statistics, starting at 0 and 1.
    num_batches_tracked : torch.Tensor of int64
        Number of batches in the moving statistics.

    Raises
    ------
    ValueError
        When an argument is out of its range; from the forward pass when the input has another number of axes or
        channels, or, where the batch's own moments are used, when a channel has no value or one only.
    TypeError
        From the forward pass when the input does not hold floating-point numbers. From
        ``torch.nn.SyncBatchNorm.convert_sync_batchnorm`` where the result would compute something else, and from
        ``torch.jit.script``.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        bias: bool = True,
        stored_variance: str = "biased",
        scale_limit: float = 3.0,
        shift_limit: float = 5.0,
        ramp: tuple[int, int] = (100, 400),
    ) -> None:
        if scale_limit < 1 or shift_limit < 0:
            raise ValueError(
                f"scale_limit={scale_limit}, shift_limit={shift_limit}; expected 1 or more and 0 or more: they "
                "bound r, which is about 1, and d, which is about 0"
            )
        if not track_running_stats:
            raise ValueError(
                "track_running_stats=False leaves batch renormalisation nothing to correct towards; "
                "use FrameworkBatchNorm"
            )
        super().__init__(
            num_features, eps, momentum, affine, track_running_stats, device, dtype,
            bias=bias, stored_variance=stored_variance,
        )  # fmt: skip
        self.scale_limit, self.shift_limit, self.ramp = scale_limit, shift_limit, ramp

    def extra_repr(self) -> str:
        """Describe the layer, as ``repr`` shows it.

        Returns
        -------
        str
        """
        said = f"scale_limit={self.scale_limit}, shift_limit={self.shift_limit}, ramp={self.ramp}"
        return f"{super().extra_repr()}, {said}"

    @property
    def why_not_synchronised(self) -> str | None:
        """What ``torch.nn.SyncBatchNorm`` would compute otherwise: it does not correct the batch's moments."""
        return "that does not correct towards the moving statistics"

    def forward(self, x: Tensor) -> Tensor:
        """Normalise by the batch's moments, corrected towards the moving statistics; in inference by the latter.

        Parameters
        ----------
        x : torch.Tensor of shape (n, num_features) or (n, num_features, ...)
            Rows, or maps.

        Returns
        -------
        torch.Tensor of the same shape

        Raises
        ------
        ValueError
            When the input has another shape, or in training only one value for each channel.
        """
        check_maps(x, self.num_features)
        if not self.training:
            return self._infer(x)
        if self.running_mean is None or self.running_var is None:
            raise RuntimeError(
                "the moving statistics were taken away, and batch renormalisation has nothing to correct towards; "
                "use FrameworkBatchNorm where torch.func.replace_all_batch_norm_modules_ is to work"
            )
        count, given, x = self._count(x), x.dtype, widened(dense(x))
        axes, shape = other_axes(x), per_channel(x)
        mean = x.mean(axes)  # (channels,)
        centred = x - mean.view(shape)
        variance = centred.square().mean(axes)
        deviation = torch.sqrt(variance + self.eps)
        r, d = self._corrections(mean.detach(), deviation.detach())
        self._update(mean.detach(), self._stored(variance.detach(), count))
        normalised = centred * (r / deviation).view(shape) + d.view(shape)
        weight, bias = self._affine(x)
        return (normalised * weight.view(shape) + bias.view(shape)).to(given)

    @torch.no_grad()
    def _corrections(self, mean: Tensor, deviation: Tensor) -> tuple[Tensor, Tensor]:
        """Scale r and shift d, each ``(channels,)``, within the limits that so many batches have opened."""
        begin, end = self.ramp
        # As a tensor, since under torch.func and on the meta device there is no number to be had.
        batches = torch.zeros_like(mean[0]) if self.num_batches_tracked is None else self.num_batches_tracked
        opened = ((batches.to(mean.dtype) - begin) / max(end - begin, 1)).clamp(0, 1)
        scale_limit, shift_limit = 1 + (self.scale_limit - 1) * opened, self.shift_limit * opened
        moving = torch.sqrt(self.running_var.to(mean.dtype) + self.eps)
        shift = (mean - self.running_mean.to(mean.dtype)) / moving
        return (deviation / moving).clamp(1 / scale_limit, scale_limit), shift.clamp(-shift_limit, shift_limit)

    @torch.no_grad()
    def _update(self, mean: Tensor, variance: Tensor) -> None:
        if not self.track_running_stats:
            return
        moving = torch.sqrt(self.running_var.to(variance.dtype) + self.eps)
        super()._update(mean, variance)
        averaged = moving.lerp(torch.sqrt(variance + self.eps), self._share(moving.dtype))
        self.running_var.copy_(averaged.square() - self.eps)
