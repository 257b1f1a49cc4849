"""Batch normalisation: written out, and PyTorch's own behind the same interface.

Source: Ioffe and Szegedy, "Batch Normalization: Accelerating Deep Network Training by Reducing Internal
Covariate Shift", ICML 2015, algorithms 1 and 2.

``momentum`` follows PyTorch: ``moving = (1 - momentum) · moving + momentum · batch``. TensorFlow's
``momentum=0.99`` is ``momentum=0.01`` here.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hourglass.nn.internals import BatchNorm, is_recorded

VARIANCES = ("biased", "bessel")


class MovingStatistics(BatchNorm):
    """Base of the normalisations with moving statistics: parameters and buffers under PyTorch's names.

    Each of them stands in for :class:`torch.nn.BatchNorm2d`, and for ``BatchNorm1d`` on rows: it takes the same
    arguments, loads the same state and is found by ``torch.optim.swa_utils.update_bn``.

    Parameters
    ----------
    num_features : int
        Channels: the input is ``(n, num_features)`` or ``(n, num_features, height, width)``.
    eps : float, default=1e-5
        Added to the variance.
    momentum : float in [0, 1] or None, default=0.1
        Share of the new batch in the moving statistics (PyTorch's convention). None averages all batches alike.
    affine : bool, default=True
        Whether there is a scale, ``weight``, and with ``bias`` a shift.
    track_running_stats : bool, default=True
        Whether there are moving statistics; without them inference, too, normalises by the batch.
    device : torch.device or str, optional
        Where the parameters and buffers are made.
    dtype : torch.dtype, optional
        Of the parameters and the moving statistics.
    bias : bool, default=True
        Whether there is a shift.
    stored_variance : {"bessel", "biased"}, default="bessel"
        Which batch variance the moving one averages: with Bessel's correction n / (n - 1), as PyTorch and
        TensorFlow's fused kernel, or without, as most hand-written ones.

    Attributes
    ----------
    weight, bias : torch.nn.Parameter of shape (num_features,), or None
        Scale (gamma) and shift (beta).
    running_mean, running_var : torch.Tensor of shape (num_features,), or None
        Moving statistics, starting at 0 and 1.

    Raises
    ------
    ValueError
        When an argument is out of its range; from the forward pass when the input has another number of axes or
        channels, or, where the batch's own moments are used, when a channel has one value only.
    TypeError
        From ``torch.nn.SyncBatchNorm.convert_sync_batchnorm``, where the result would compute something else.
    """

    running_mean: Tensor | None
    running_var: Tensor | None

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
    ) -> None:
        if stored_variance not in VARIANCES:
            raise ValueError(f"stored_variance={stored_variance!r} is unknown; choose one of {', '.join(VARIANCES)}")
        if momentum is not None and not 0 <= momentum <= 1:
            raise ValueError(
                f"momentum={momentum} is not in [0, 1]; it is the share of the new batch, "
                "so TensorFlow's 0.99 is 0.01 here"
            )
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype)
        if not bias:
            self.register_parameter("bias", None)
        self.stored_variance = stored_variance

    def reset_parameters(self) -> None:
        """Set the scale to 1, the shift to 0, and the moving statistics to 0 and 1."""
        self.reset_running_stats()
        if self.weight is not None:
            nn.init.ones_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, stored_variance={self.stored_variance}"

    def __getattr__(self, name: str) -> Any:
        # PyTorch asks for this one as it puts a SyncBatchNorm in the place of a layer, and only then.
        if name == "qconfig" and (why := self._why_not_synchronised()):
            raise TypeError(f"{type(self).__name__} cannot become a SyncBatchNorm: {why}")
        return super().__getattr__(name)

    def _why_not_synchronised(self) -> str | None:
        """What a SyncBatchNorm in its place would change; None where nothing."""
        if self.stored_variance == "bessel":
            return None
        return "that stores the variance with Bessel's correction, and this one has stored_variance='biased'"

    @property
    def uses_batch(self) -> bool:
        """Whether the batch's own moments normalise it: in training, and where no moving statistics are kept."""
        return self.training or self.running_mean is None

    def _check_input_dim(self, x: Tensor) -> None:
        check_maps(x, self.num_features)

    def _check_count(self, x: Tensor, count: int) -> None:
        if count == 0:
            raise ValueError(f"no value in x of shape {tuple(x.shape)}; give one image or more")
        if count == 1:
            raise ValueError(
                f"one value per channel in x of shape {tuple(x.shape)}: its variance says nothing; "
                "train with larger batches or call eval() first"
            )

    def _count(self, x: Tensor) -> int:
        """Number of values in each channel, which is 2 or more."""
        count = x.numel() // self.num_features
        self._check_count(x, count)
        return count

    def _affine(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Scale and shift in the dtype of x: ones and zeros where there is none."""
        weight = x.new_ones(self.num_features) if self.weight is None else self.weight.to(x.dtype)
        return weight, x.new_zeros(self.num_features) if self.bias is None else self.bias.to(x.dtype)

    def _stored(self, variance: Tensor, count: int) -> Tensor:
        """Variance that the moving one averages, from the biased one of so many values."""
        return variance * (count / (count - 1)) if self.stored_variance == "bessel" else variance

    @torch.no_grad()
    def _update(self, mean: Tensor, variance: Tensor) -> None:
        """Move the statistics towards those of a batch, in training alone."""
        if not (self.training and self.track_running_stats) or self.running_mean is None or self.running_var is None:
            return
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        share = self._share()
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        self.running_var.lerp_(variance.to(self.running_var.dtype), share)

    def _share(self) -> float:
        """Share of the batch just counted: ``momentum``, or one in all batches."""
        if self.momentum is not None:
            return self.momentum
        return 0.0 if self.num_batches_tracked is None else 1 / int(self.num_batches_tracked)

    def _infer(self, x: Tensor) -> Tensor:
        """Input normalised by the moving statistics."""
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)


class ManualBatchNorm(MovingStatistics):
    """Batch normalisation written out: batch moments, moving statistics, and the gradient.

    In training each channel is normalised by its own mean and *biased* variance over batch (and height and
    width); in inference by the moving statistics.

    In data-parallel training (``torch.distributed`` is initialised, over gloo, NCCL or another backend) the moments are
    those of all processes' batches, and so is their part of the gradient: every process has to take part in every
    training-mode call. PyTorch's ``SyncBatchNorm`` does so on GPUs alone.

    Parameters
    ----------
    num_features, eps, momentum, affine, track_running_stats, device, dtype, bias, stored_variance
        As in :class:`MovingStatistics`, whose attributes it has too.
    synchronised : bool, default=True
        Whether processes share their moments; False leaves each to its own batch.
    """

    def __init__(self, *args: Any, synchronised: bool = True, **options: Any) -> None:
        super().__init__(*args, **options)
        self.synchronised = synchronised

    def forward(self, x: Tensor) -> Tensor:
        self._check_input_dim(x)
        given, x = x.dtype, widened(x)
        weight, bias = self._affine(x)
        if not self.uses_batch:
            running_mean, running_var = (moving.to(x.dtype) for moving in (self.running_mean, self.running_var))
            shape = per_channel(x)
            scale = weight * torch.rsqrt(running_var + self.eps)
            return ((x - running_mean.view(shape)) * scale.view(shape) + bias.view(shape)).to(given)
        together = self.synchronised and _processes() > 1
        count = x.numel() // self.num_features
        if together:
            count = int(total_of_processes(torch.tensor(count, device=x.device)))
        self._check_count(x, count)
        arguments = (x, weight, bias, self.eps, count, together)
        # A graph that is recorded operation by operation has no place for a gradient by hand.
        normalise = _normalise if is_recorded() else _Normalise.apply
        output, mean, variance = normalise(*arguments)  # type: ignore[no-untyped-call]  # torch leaves apply untyped
        self._update(mean.detach(), self._stored(variance.detach(), count))
        return output.to(given)  # type: ignore[no-any-return]  # torch leaves apply untyped


def _moments(x: Tensor, count: int, together: bool) -> tuple[Tensor, Tensor]:
    """Mean and biased variance ``(channels,)`` of each channel, which has ``count`` values in all processes."""
    axes = other_axes(x)
    mean = _total(x.sum(axes), together) / count
    centred = x - mean.view(per_channel(x))
    return mean, _total(centred.square().sum(axes), together) / count


def _normalise(
    x: Tensor, weight: Tensor, bias: Tensor, eps: float, count: int, together: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Algorithm 1: the batch normalised, scaled and shifted; its mean and its biased variance."""
    shape = per_channel(x)
    mean, variance = _moments(x, count, together)
    normalised = (x - mean.view(shape)) * torch.rsqrt(variance + eps).view(shape)
    return normalised * weight.view(shape) + bias.view(shape), mean, variance


class _Normalise(torch.autograd.Function):
    """Algorithm 1 with its gradient by hand (the formulas at the end of the paper's section 3).

    With ``x̂ = (x - µ) / σ``, a change ``v`` of the batch changes ``x̂`` by ``P v / σ``, where
    ``P v = v - mean(v) - x̂ · mean(x̂ v)``. P is symmetric, so that the same P takes gradients back.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(
        x: Tensor, weight: Tensor, bias: Tensor, eps: float, count: int, together: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        return _normalise(x, weight, bias, eps, count, together)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
        x, weight, _, ctx.eps, ctx.count, ctx.together = inputs
        _, mean, variance = output
        ctx.mark_non_differentiable(mean, variance)
        ctx.save_for_backward(x, weight, mean, variance)
        ctx.save_for_forward(x, weight, mean, variance)

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_: Any) -> tuple[Tensor, Tensor, Tensor, None, None, None]:
        normalised, inverse, weight = _Normalise._saved(ctx)
        axes, shape = other_axes(grad), per_channel(grad)
        grad_bias = grad.sum(axes)
        grad_weight = (grad * normalised).sum(axes)
        # Every value moved the mean and the variance that all were normalised by, in whatever process it was.
        mean, slope = _total(torch.stack([grad_bias, grad_weight]), ctx.together) / ctx.count
        grad_x = (grad - mean.view(shape) - normalised * slope.view(shape)) * (weight * inverse).view(shape)
        return grad_x, grad_weight, grad_bias, None, None, None

    @staticmethod
    def jvp(ctx: Any, dx: Tensor, dweight: Tensor, dbias: Tensor, *_: Any) -> tuple[Tensor, Tensor, Tensor]:
        normalised, inverse, weight = _Normalise._saved(ctx)
        axes, shape = other_axes(dx), per_channel(dx)
        sums = torch.stack([dx.sum(axes), (dx * normalised).sum(axes)])
        mean, slope = _total(sums, ctx.together) / ctx.count
        change = (dx - mean.view(shape) - normalised * slope.view(shape)) * (weight * inverse).view(shape)
        still = torch.zeros_like(inverse)  # the moments are for the moving statistics, and carry no derivative
        return change + normalised * dweight.view(shape) + dbias.view(shape), still, still.clone()

    @staticmethod
    def _saved(ctx: Any) -> tuple[Tensor, Tensor, Tensor]:
        """x̂, 1 / σ and γ; where a gradient of the gradient is wanted, as functions of x."""
        x, weight, mean, variance = ctx.saved_tensors
        if torch.is_grad_enabled():
            mean, variance = _moments(x, ctx.count, ctx.together)
        inverse = torch.rsqrt(variance + ctx.eps)
        shape = per_channel(x)
        return (x - mean.view(shape)) * inverse.view(shape), inverse, weight


def _processes() -> int:
    """How many processes train together."""
    distributed = torch.distributed
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def _total(values: Tensor, together: bool) -> Tensor:
    return total_of_processes(values) if together else values


def total_of_processes(values: Tensor) -> Tensor:
    """Sum of a tensor over all processes, which can be differentiated any number of times."""
    total: Tensor = _Total.apply(values)  # type: ignore[no-untyped-call]  # torch leaves apply untyped
    return total


class _Total(torch.autograd.Function):
    """Every process's loss depends on the sum, so that the gradient by each summand is the sum of all gradients."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        total = values.clone()
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return total_of_processes(grad)


def widened(x: Tensor) -> Tensor:
    """Input in float32 where it is in half precision, whose sums lose what the variance is made of."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


def check_maps(x: Tensor, channels: int) -> None:
    """Raise ValueError unless x is ``(n, channels)`` or ``(n, channels, height, width)``."""
    if x.dim() not in (2, 4) or x.shape[1] != channels:
        raise ValueError(f"x has shape {tuple(x.shape)}; expected (n, {channels}) or (n, {channels}, height, width)")


def other_axes(x: Tensor) -> list[int]:
    """Every axis but that of the channels."""
    return [axis for axis in range(x.dim()) if axis != 1]


def per_channel(x: Tensor) -> list[int]:
    """Shape in which one number a channel meets every value of x."""
    return [-1 if axis == 1 else 1 for axis in range(x.dim())]


class FrameworkBatchNorm(MovingStatistics):
    """PyTorch's own batch normalisation, 1-D and 2-D, with a choice of the stored variance.

    Parameters
    ----------
    num_features, eps, momentum, affine, track_running_stats, device, dtype, bias, stored_variance
        As in :class:`MovingStatistics`, whose attributes it has too.
    """

    def forward(self, x: Tensor) -> Tensor:
        self._check_input_dim(x)
        if not self.uses_batch:
            return super().forward(x)  # type: ignore[no-any-return]  # torch types calls as Any
        count = self._count(x)
        if self.stored_variance == "bessel" or self.running_mean is None or self.running_var is None:
            return super().forward(x)  # type: ignore[no-any-return]  # torch types calls as Any
        # PyTorch stores Bessel-corrected variances only. Averaged into zeros, this batch's own comes out alone.
        mean, variance = torch.zeros_like(self.running_mean), torch.zeros_like(self.running_var)
        output = F.batch_norm(x, mean, variance, self.weight, self.bias, training=True, momentum=1.0, eps=self.eps)
        self._update(mean, variance * ((count - 1) / count))
        return output
