"""Batch normalisation by PyTorch, and the base of all normalisations with moving statistics.

Source: Ioffe and Szegedy, "Batch Normalization: Accelerating Deep Network Training by Reducing Internal
Covariate Shift", ICML 2015, algorithms 1 and 2.

``momentum`` follows PyTorch: ``moving = (1 - momentum) · moving + momentum · batch``. TensorFlow's
``momentum=0.99`` is ``momentum=0.01`` here.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hourglass.runtime.internals import BatchNorm, NotForSyncBatchNorm, OnlyTraced, has_values, is_transformed, shape_of

VARIANCES = ("biased", "bessel")


class MovingStatistics(OnlyTraced, BatchNorm):
    """Base of the normalisations with moving statistics: parameters and buffers under PyTorch's names.

    Each subclass can be put in the place of :class:`torch.nn.BatchNorm2d`, and of ``BatchNorm1d`` on rows: it takes
    the same arguments, loads the same state, and is found by PyTorch's tools for batch normalisation, such as
    ``torch.optim.swa_utils.update_bn``.

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
    """

    running_mean: Tensor | None
    running_var: Tensor | None
    qconfig = NotForSyncBatchNorm()

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
        check_eps(eps)
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
        """Return the settings, as PyTorch prints them inside a network.

        Returns
        -------
        str
            PyTorch's own and ``stored_variance``.
        """
        said: str = super().extra_repr()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        return f"{said}, stored_variance={self.stored_variance}"

    @property
    def why_not_synchronised(self) -> str | None:
        """What ``torch.nn.SyncBatchNorm`` would compute otherwise in the place of this layer; None if nothing."""
        if self.stored_variance == "bessel" or not self.track_running_stats:
            return None
        return "that stores the variance with Bessel's correction, and this one has stored_variance='biased'"

    @property
    def uses_batch(self) -> bool:
        """Whether the input is normalised by its own moments: in training, and without moving statistics."""
        return self.training or self.running_mean is None

    def _check_input_dim(self, x: Tensor) -> None:
        """Leave out the check of PyTorch's ``forward``: each one of ours begins with ``check_maps``."""

    def _check_count(self, x: Tensor, count: int) -> None:
        """Raise ValueError unless each channel has two values or more."""
        if count == 0:
            raise ValueError(f"no value in x of shape {tuple(x.shape)}; give one image or more")
        if count == 1:
            raise ValueError(
                f"one value per channel in x of shape {tuple(x.shape)}: its variance says nothing; "
                "train with larger batches or call eval() first"
            )

    def _count(self, x: Tensor) -> int:
        """Number of values in each channel, which is 2 or more."""
        count = values_per_channel(x)
        self._check_count(x, count)
        return count

    def _affine(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Scale and shift in the dtype of x: ones and zeros where there is none."""
        weight = x.new_ones(self.num_features) if self.weight is None else self.weight.to(x.dtype)
        return weight, x.new_zeros(self.num_features) if self.bias is None else self.bias.to(x.dtype)

    def _stored(self, variance: Tensor, count: int) -> Tensor:
        """Variance that the moving one averages, from the biased variance of ``count`` values."""
        return variance * (count / (count - 1)) if self.stored_variance == "bessel" else variance

    @torch.no_grad()
    def _update(self, mean: Tensor, variance: Tensor) -> None:
        """Move the statistics towards those of a batch, in training only."""
        if not (self.training and self.track_running_stats) or self.running_mean is None or self.running_var is None:
            return
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        self._average(self.running_mean, mean)
        self._average(self.running_var, variance)

    def _average(self, moving: Tensor, new: Tensor) -> None:
        """Average the batch that was just counted into a moving statistic, in float32 at least."""
        wide = widened(moving)
        wide.lerp_(new.to(wide.dtype), self._share(wide.dtype))
        if wide is not moving:
            moving.copy_(wide)

    def _share(self, dtype: torch.dtype) -> float | Tensor:
        """Share of the batch that was just counted: ``momentum``, or one in all batches."""
        if self.momentum is not None:
            return self.momentum
        return 0.0 if self.num_batches_tracked is None else self.num_batches_tracked.to(dtype).reciprocal()

    def _infer(self, x: Tensor) -> Tensor:
        """Input normalised by the moving statistics."""
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)


class FrameworkBatchNorm(MovingStatistics):
    """PyTorch's own batch normalisation, 1-D and 2-D, with a choice of the stored variance.

    In training each channel is normalised by its own mean and *biased* variance over batch (and height and
    width); in inference by the moving statistics.

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
    ValueError, TypeError
        As :class:`ManualBatchNorm`.
    """

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
        if not self.uses_batch:
            return super().forward(x)
        count = self._count(x)
        if self.stored_variance == "bessel" or self.running_mean is None or self.running_var is None:
            return super().forward(x)
        # PyTorch stores Bessel-corrected variances only. Averaged into zeros, this batch's own comes out alone.
        mean, variance = torch.zeros_like(self.running_mean), torch.zeros_like(self.running_var)
        output = F.batch_norm(x, mean, variance, self.weight, self.bias, training=True, momentum=1.0, eps=self.eps)
        self._update(mean, variance * ((count - 1) / count))
        return output


def widened(x: Tensor) -> Tensor:
    """Input in float32 where it is in half precision, whose sums lose what the variance is made of."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


def dense(x: Tensor) -> Tensor:
    """Input laid out as PyTorch's kernel lays out what it returns: channels last where x is so, else contiguous."""
    if is_transformed() or (x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last)):
        return x
    return x.contiguous()


def check_eps(eps: float) -> None:
    """Raise ValueError where eps is below 0 or not finite."""
    if not 0 <= eps < float("inf"):
        raise ValueError(f"eps={eps}; expected 0 or more: it is added to the variance, whose square root divides")


def check_maps(x: Tensor, channels: int) -> None:
    """Check the input of a normalisation.

    Raises
    ------
    ValueError
        Unless x is ``(n, channels)`` or ``(n, channels, height, width)``.
    TypeError
        Unless x holds floating-point numbers.
    """
    if not has_values(x):
        return
    shape = shape_of(x)
    if len(shape) not in (2, 4) or shape[1] != channels:
        raise ValueError(f"x has shape {tuple(shape)}; expected (n, {channels}) or (n, {channels}, height, width)")
    if not x.is_floating_point():
        raise TypeError(f"x has dtype {x.dtype}; expected floating-point numbers: call x.float() first")


def values_per_channel(x: Tensor) -> int:
    """Number of values in each channel of x."""
    shape = shape_of(x)
    return shape[0] * shape[2:].numel()


def other_axes(x: Tensor) -> list[int]:
    """Every axis but that of the channels."""
    return [axis for axis in range(x.dim()) if axis != 1]


def per_channel(x: Tensor) -> list[int]:
    """Shape in which one number a channel meets every value of x."""
    return [-1 if axis == 1 else 1 for axis in range(x.dim())]
