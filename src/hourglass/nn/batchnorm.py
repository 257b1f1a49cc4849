"""Batch normalisation: written out, and PyTorch's own behind the same interface.

Source: Ioffe and Szegedy, "Batch Normalization: Accelerating Deep Network Training by Reducing Internal
Covariate Shift", ICML 2015, algorithms 1 and 2.

``momentum`` follows PyTorch: ``moving = (1 - momentum) · moving + momentum · batch``. TensorFlow's
``momentum=0.99`` is ``momentum=0.01`` here.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hourglass.nn import fast

VARIANCES = ("biased", "bessel")


class _MovingStatistics(nn.modules.batchnorm._BatchNorm):
    """Parameters and buffers shared by both, under PyTorch's names, so that their weights can be exchanged."""

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
        if x.dim() not in (2, 4) or x.shape[1] != self.num_features:
            raise ValueError(
                f"x has shape {tuple(x.shape)}; expected (n, {self.num_features}) "
                f"or (n, {self.num_features}, height, width)"
            )

    def _values_per_channel(self, x: Tensor) -> int:
        count = x.numel() // self.num_features
        if count == 1:
            raise ValueError(
                f"one value per channel in x of shape {tuple(x.shape)}: its variance says nothing; "
                "train with larger batches or call eval() first"
            )
        return count

    def _lean(self, x: Tensor, count: int) -> Tensor:
        """The training-mode result in its fast form."""
        normalised, mean, variance = fast.batch_norm(x, self.weight, self.bias, self.eps)
        self._update(mean, variance * (count / (count - 1)) if self.stored_variance == "bessel" else variance)
        return normalised

    @torch.no_grad()
    def _update(self, mean: Tensor, variance: Tensor) -> None:
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance, self.momentum)
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)


class ManualBatchNorm(_MovingStatistics):
    """Batch normalisation written out from batch moments and moving statistics; autograd differentiates it.

    In training each channel is normalised by its own mean and *biased* variance over batch (and height and
    width); in inference by the moving statistics.

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

    def forward(self, x: Tensor) -> Tensor:
        self._check_input_dim(x)
        given = x.dtype
        # Sums of half-precision numbers lose what the variance is made of; PyTorch's layer widens them too.
        x = x.float() if given in (torch.bfloat16, torch.float16) else x
        axes = [axis for axis in range(x.dim()) if axis != 1]
        shape = [-1 if axis == 1 else 1 for axis in range(x.dim())]
        if self.training:
            count = self._values_per_channel(x)
            if fast.applies("lean-batchnorm", x):
                return self._lean(x, count).to(given)
            mean = x.mean(axes)  # (num_features,)
            centred = x - mean.view(shape)
            variance = centred.square().mean(axes)
            stored = variance * (count / (count - 1)) if self.stored_variance == "bessel" else variance
            self._update(mean, stored)
        else:
            centred = x - self.running_mean.view(shape)
            variance = self.running_var
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return (centred * scale.view(shape) + self.bias.view(shape)).to(given)


class FrameworkBatchNorm(_MovingStatistics):
    """PyTorch's own batch normalisation, 1-D and 2-D, with a choice of the stored variance.

    Parameters and attributes are those of :class:`ManualBatchNorm`.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        self._check_input_dim(x)
        count = self._values_per_channel(x)
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


NORMS: dict[str, type[_MovingStatistics] | None] = {
    "none": None,
    "layer": FrameworkBatchNorm,
    "manual": ManualBatchNorm,
}


def create_norm(
    name: str, num_features: int, *, eps: float = 1e-5, momentum: float = 0.1, stored_variance: str = "bessel"
) -> nn.Module:
    """Normalisation layer by name.

    Parameters
    ----------
    name : {"none", "layer", "manual"}
        Nothing, PyTorch's layer, or the one written out.
    num_features : int
        Channels.
    eps, momentum, stored_variance
        As in :class:`ManualBatchNorm`.

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
    return norm(num_features, eps, momentum, stored_variance=stored_variance)
