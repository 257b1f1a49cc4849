"""Batch normalisation written out, with its gradient by hand."""

from typing import Any

import torch
from torch import Tensor

from hourglass.nn.batchnorm import (
    MovingStatistics,
    check_maps,
    dense,
    other_axes,
    per_channel,
    values_per_channel,
    widened,
)
from hourglass.nn.processes import moments_of_processes, total_of_processes
from hourglass.runtime import ranks
from hourglass.runtime.internals import is_transformed


class ManualBatchNorm(MovingStatistics):
    r"""Batch normalisation written out: batch moments, moving statistics, and the gradient.

    In training each channel is normalised by its own mean and *biased* variance over batch (and height and
    width); in inference by the moving statistics. It can be put in the place of :class:`torch.nn.BatchNorm2d`, and of
    ``BatchNorm1d`` on rows. Gradients can be differentiated again, in reverse and in forward mode.

    In data-parallel training (``torch.distributed`` is initialised, over gloo, NCCL or another backend) the moments are
    those of all processes' batches, and so is their part of the gradient: every process has to take part in every
    training-mode call. PyTorch's ``SyncBatchNorm`` does so on GPUs alone.

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
        Whether there are moving statistics. Without them inference, too, normalises by the batch.
    device : torch.device or str, optional
        Device of the parameters and buffers.
    dtype : torch.dtype, optional
        Type of the parameters and the moving statistics.
    bias : bool, default=True
        Whether there is a shift.
    stored_variance : {"bessel", "biased"}, default="bessel"
        Which batch variance the moving one averages: with Bessel's correction n / (n - 1), as PyTorch and
        TensorFlow's fused kernel, or without, as most hand-written ones.
    synchronised : bool, default=True
        Whether processes share their moments; False leaves each to its own batch.

    Attributes
    ----------
    weight, bias : torch.nn.Parameter of shape (num_features,), or None
        Scale (gamma) and shift (beta).
    running_mean, running_var : torch.Tensor of shape (num_features,), or None
        Moving statistics, starting at 0 and 1.
    num_batches_tracked : torch.Tensor of int64, or None
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

    Notes
    -----
    With the mean :math:`\mu` and the biased variance :math:`\sigma^2` of the :math:`m` values of a channel,

    .. math:: \hat{x}_i = \frac{x_i - \mu}{\sqrt{\sigma^2 + \varepsilon}}, \qquad y_i = \gamma \hat{x}_i + \beta.

    Each value moves the mean and the variance of all. With :math:`g_i = \partial L / \partial y_i` the gradient is

    .. math::

        \frac{\partial L}{\partial x_i} = \frac{\gamma}{\sqrt{\sigma^2 + \varepsilon}}
        \Bigl(g_i - \frac{1}{m} \sum_j g_j - \hat{x}_i \, \frac{1}{m} \sum_j g_j \hat{x}_j\Bigr).

    Source: Ioffe and Szegedy, "Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate
    Shift", ICML 2015, algorithm 1 and the formulas at the end of section 3.
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
        synchronised: bool = True,
    ) -> None:
        super().__init__(
            num_features, eps, momentum, affine, track_running_stats, device, dtype,
            bias=bias, stored_variance=stored_variance,
        )  # fmt: skip
        self.synchronised = synchronised

    def forward(self, x: Tensor) -> Tensor:
        """Normalise by the batch's moments in training, and by the moving statistics in inference.

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
        given, x = x.dtype, widened(dense(x))
        weight, bias = self._affine(x)
        if self.training or self.running_mean is None or self.running_var is None:
            output = self._by_batch(x, weight, bias)
        else:
            running_mean, running_var = self.running_mean.to(x.dtype), self.running_var.to(x.dtype)
            shape = per_channel(x)
            scale = weight * torch.rsqrt(running_var + self.eps)
            output = (x - running_mean.view(shape)) * scale.view(shape) + bias.view(shape)
        return output.to(given)

    def _by_batch(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Input normalised by the moments of the batch, which move the statistics in training."""
        together = self.synchronised and self.training and ranks.count() > 1
        # torch.func and others take plain operations apart, and not a gradient by hand.
        plain = is_transformed()
        count, mean, variance = _moments(x if plain else x.detach(), together)
        self._check_count(x, count)
        if plain:
            output = _normalise(x, weight, bias, mean, variance, self.eps)
        else:
            output = _Normalise.apply(x, weight, bias, mean, variance, self.eps, count, together)  # type: ignore[no-untyped-call]
        self._update(mean.detach(), self._stored(variance.detach(), count))
        return output


def _moments(x: Tensor, together: bool) -> tuple[int, Tensor, Tensor]:
    """Number of values of each channel, and their mean and biased variance ``(channels,)``."""
    axes, count = other_axes(x), values_per_channel(x)
    mean = x.sum(axes) / (count or 1)
    squares = (x - mean.view(per_channel(x))).square().sum(axes)
    return moments_of_processes(count, mean, squares) if together else (count, mean, squares / (count or 1))


def _normalise(x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, variance: Tensor, eps: float) -> Tensor:
    """Algorithm 1 from the moments of the batch on: normalise, scale and shift."""
    shape = per_channel(x)
    normalised = (x - mean.view(shape)) * torch.rsqrt(variance + eps).view(shape)
    return normalised * weight.view(shape) + bias.view(shape)


class _Normalise(torch.autograd.Function):
    """Algorithm 1 with its gradient by hand (the formulas at the end of the paper's section 3).

    The moments are handed in, and stand for those of x: a derivative by x takes account of them.

    With ``x̂ = (x - µ) / σ``, a change ``v`` of the batch changes ``x̂`` by ``P v / σ``, where
    ``P v = v - mean(v) - x̂ · mean(x̂ v)``. P is symmetric, so that the same P takes gradients back. The gradient is made
    of plain operations, and can be differentiated again.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        mean: Tensor,
        variance: Tensor,
        eps: float,
        count: int,
        together: bool,
    ) -> Tensor:
        ctx.save_for_backward(x, weight, mean, variance)
        ctx.eps, ctx.count, ctx.together = eps, count, together
        # As `_normalise`, but in place, since nothing records what is computed here.
        shape = per_channel(x)
        output = (x - mean.view(shape)).mul_(torch.rsqrt(variance + eps).view(shape))
        return output.mul_(weight.view(shape)).add_(bias.view(shape))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        normalised, inverse, weight = _Normalise._saved(ctx)
        axes, shape = other_axes(grad), per_channel(grad)
        grad_bias = grad.sum(axes)
        grad_weight = (grad * normalised).sum(axes)
        # Every value moved the mean and the variance that all were normalised by, in whatever process it was.
        sums = torch.stack([grad_bias, grad_weight])
        mean, slope = (total_of_processes(sums) if ctx.together else sums) / ctx.count
        grad_x = (grad - mean.view(shape) - normalised * slope.view(shape)) * (weight * inverse).view(shape)
        return grad_x, grad_weight, grad_bias, None, None, None, None, None

    @staticmethod
    def _saved(ctx: Any) -> tuple[Tensor, Tensor, Tensor]:
        """x̂, 1 / σ and γ; as functions of x where the gradient itself may be differentiated."""
        x, weight, mean, variance = ctx.saved_tensors
        recorded, shape = torch.is_grad_enabled() or is_transformed(), per_channel(x)
        if recorded:
            _, mean, variance = _moments(x, ctx.together)
        centred, inverse = x - mean.view(shape), torch.rsqrt(variance + ctx.eps)
        normalised = centred * inverse.view(shape) if recorded else centred.mul_(inverse.view(shape))
        return normalised, inverse, weight
