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
from torch.autograd.function import once_differentiable

from hourglass.nn import fast

VARIANCES = ("biased", "bessel")


class MovingStatistics(nn.modules.batchnorm._BatchNorm):
    """What normalisations with moving statistics share: parameters and buffers under PyTorch's names.

    Parameters and attributes are those of :class:`ManualBatchNorm`.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float = 0.1, *, stored_variance: str = "bessel"
    ) -> None:
        if stored_variance not in VARIANCES:
            raise ValueError(f"stored_variance={stored_variance!r} is unknown; choose one of {', '.join(VARIANCES)}")
        if not 0 <= momentum <= 1:
            raise ValueError(
                f"momentum={momentum} is not in [0, 1]; it is the share of the new batch, "
                "so TensorFlow's 0.99 is 0.01 here"
            )
        super().__init__(num_features, eps, momentum)
        self.momentum: float = momentum
        self.stored_variance = stored_variance

    def extra_repr(self) -> str:
        return f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, stored_variance={self.stored_variance}"

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
        """Values in each channel, of which there are several."""
        count = x.numel() // self.num_features
        self._check_count(x, count)
        return count

    def _lean(self, x: Tensor, count: int) -> Tensor:
        """The training-mode result in its fast form."""
        normalised, mean, variance = fast.batch_norm(x, self.weight, self.bias, self.eps)
        self._update(mean, self._stored(variance, count))
        return normalised

    def _stored(self, variance: Tensor, count: int) -> Tensor:
        """Which variance the moving one averages, from the biased one of so many values."""
        return variance * (count / (count - 1)) if self.stored_variance == "bessel" else variance

    @torch.no_grad()
    def _update(self, mean: Tensor, variance: Tensor) -> None:
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance, self.momentum)
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)

    def _infer(self, x: Tensor) -> Tensor:
        """Normalised by the moving statistics."""
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
    num_features : int
        Channels: the x is ``(n, num_features)`` or ``(n, num_features, height, width)``.
    eps : float, default=1e-5
        Added to the variance.
    momentum : float in [0, 1], default=0.1
        Share of the new batch in the moving statistics (PyTorch's convention).
    stored_variance : {"bessel", "biased"}, default="bessel"
        Which batch variance the moving one averages: with Bessel's correction n / (n - 1), as PyTorch and
        TensorFlow's fused kernel, or without, as most hand-written ones.
    synchronised : bool, default=True
        Whether processes share their moments; False leaves each to its own batch.

    Attributes
    ----------
    weight, bias : torch.nn.Parameter of shape (num_features,)
        Scale (gamma) and shift (beta).
    running_mean, running_var : torch.Tensor of shape (num_features,)
        Moving statistics, starting at 0 and 1.

    Raises
    ------
    ValueError
        From the forward pass in training where a channel has one value only.
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        *,
        stored_variance: str = "bessel",
        synchronised: bool = True,
    ) -> None:
        super().__init__(num_features, eps, momentum, stored_variance=stored_variance)
        self.synchronised = synchronised

    def forward(self, x: Tensor) -> Tensor:
        self._check_input_dim(x)
        given = x.dtype
        # Sums of half-precision numbers lose what the variance is made of; PyTorch's layer widens them too.
        x = x.float() if given in (torch.bfloat16, torch.float16) else x
        if not self.training:
            shape = per_channel(x)
            scale = self.weight * torch.rsqrt(self.running_var + self.eps)
            return ((x - self.running_mean.view(shape)) * scale.view(shape) + self.bias.view(shape)).to(given)
        together = self.synchronised and _processes() > 1
        if not together and fast.applies("lean-batchnorm", x):
            return self._lean(x, self._count(x)).to(given)
        count = x.numel() // self.num_features
        if together:
            count = int(_total(torch.tensor(count, device=x.device), together))
        self._check_count(x, count)
        normalised: tuple[Tensor, Tensor, Tensor] = _Normalise.apply(  # type: ignore[no-untyped-call]  # torch leaves apply untyped
            x, self.weight, self.bias, self.eps, count, together
        )
        output, mean, variance = normalised
        self._update(mean, self._stored(variance, count))
        return output.to(given)


class _Normalise(torch.autograd.Function):
    """Algorithm 1 and its gradient by hand (the formulas at the end of the paper's section 3)."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float, count: int, together: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        axes, shape = other_axes(x), per_channel(x)
        mean = _total(x.sum(axes), together) / count  # (channels,)
        centred = x - mean.view(shape)
        variance = _total(centred.square().sum(axes), together) / count
        inverse = torch.rsqrt(variance + eps)
        normalised = centred * inverse.view(shape)
        ctx.save_for_backward(normalised, inverse, weight)
        ctx.count, ctx.together = count, together
        ctx.mark_non_differentiable(mean, variance)
        return normalised * weight.view(shape) + bias.view(shape), mean, variance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, *_: Any) -> tuple[Tensor, Tensor, Tensor, None, None, None]:
        normalised, inverse, weight = ctx.saved_tensors
        axes, shape = other_axes(grad), per_channel(grad)
        grad_bias = grad.sum(axes)
        grad_weight = (grad * normalised).sum(axes)
        # Every value moved the mean and the variance that all were normalised by, in whatever process it was.
        mean, slope = _total(torch.stack([grad_bias, grad_weight]), ctx.together) / ctx.count
        grad_x = (grad - mean.view(shape) - normalised * slope.view(shape)) * (weight * inverse).view(shape)
        return grad_x, grad_weight, grad_bias, None, None, None


def _processes() -> int:
    """How many processes train together."""
    distributed = torch.distributed
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def _total(values: Tensor, together: bool) -> Tensor:
    """Their sum over all processes."""
    if together:
        torch.distributed.all_reduce(values)
    return values


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

    Parameters and attributes are those of :class:`ManualBatchNorm`, but for ``synchronised``.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        self._check_input_dim(x)
        count = self._count(x)
        if x.dtype == torch.float32 and fast.applies("lean-batchnorm", x):
            return self._lean(x, count)
        if self.stored_variance == "bessel":
            return super().forward(x)
        # PyTorch stores Bessel-corrected variances only. Averaged into zeros, this batch's own comes out alone.
        moving_mean, moving_var = torch.zeros_like(self.running_mean), torch.zeros_like(self.running_var)
        output = F.batch_norm(
            x, moving_mean, moving_var, self.weight, self.bias, training=True, momentum=1.0, eps=self.eps
        )
        self._update(moving_mean, moving_var * ((count - 1) / count))
        return output
