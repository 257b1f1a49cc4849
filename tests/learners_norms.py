"""Parts of batch normalisations as learners write them, right and wrong."""

import torch
from torch import nn


class Right(nn.Module):
    """Right, for maps and rows; each subclass below gets one thing wrong."""

    momentum, eps = 0.1, 1e-5

    def __init__(self, channels):
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(channels))
        self.beta = nn.Parameter(torch.zeros(channels))
        self.register_buffer("moving_mean", torch.zeros(channels))
        self.register_buffer("moving_var", torch.ones(channels))

    def dims(self, x):
        return (0, 2, 3) if x.dim() == 4 else (0,)

    def shaped(self, values, x):
        return values.reshape(1, -1, 1, 1) if x.dim() == 4 else values

    def moments(self, x):
        mean = x.mean(self.dims(x))
        return mean, (x - self.shaped(mean, x)).square().mean(self.dims(x))

    def update(self, mean, var):
        with torch.no_grad():
            self.moving_mean.mul_(1 - self.momentum).add_(self.momentum * mean)
            self.moving_var.mul_(1 - self.momentum).add_(self.momentum * var)

    def divide(self, centred, var, x):
        return centred / torch.sqrt(self.shaped(var, x) + self.eps)

    def affine(self, normalised, x):
        return self.shaped(self.gamma, x) * normalised + self.shaped(self.beta, x)

    def forward(self, x):
        if self.training:
            mean, var = self.moments(x)
            self.update(mean.detach(), var.detach())
        else:
            mean, var = self.moving_mean, self.moving_var
        return self.affine(self.divide(x - self.shaped(mean, x), var, x), x)


class MapsAlone(Right):
    """Right, with assigned averages and the axes of maps alone."""

    momentum, eps = 0.01, 1e-3

    def dims(self, x):
        return (0, 2, 3)

    def update(self, mean, var):
        self.moving_mean = (1 - self.momentum) * self.moving_mean + self.momentum * mean
        self.moving_var = (1 - self.momentum) * self.moving_var + self.momentum * var


class RowsAlone(Right):
    """Right, for rows alone."""

    def forward(self, x):
        if x.dim() != 2:
            raise ValueError("rows only")
        return super().forward(x)


class Float32Inside(Right):
    """Right, and computes in float32 whatever it is given."""

    def forward(self, x):
        return super().forward(x.float()).to(x.dtype)


class CorrectedAverages(Right):
    """Right, with averages of all batches alike."""

    def __init__(self, channels):
        super().__init__(channels)
        self.count = 0

    def update(self, mean, var):
        self.count += 1
        self.momentum = 1 / self.count
        super().update(mean, var)


class ByHand(torch.autograd.Function):
    """The gradient by hand, rightly or without a factor or a term."""

    @staticmethod
    def forward(ctx, x, gamma, beta, eps, fault):
        dims = (0, 2, 3) if x.dim() == 4 else (0,)
        shape = (1, -1, 1, 1) if x.dim() == 4 else (1, -1)
        var, mean = torch.var_mean(x, dims, correction=0)
        rstd = torch.rsqrt(var + eps).reshape(shape)
        xhat = (x - mean.reshape(shape)) * rstd
        ctx.save_for_backward(xhat, rstd, gamma)
        ctx.dims, ctx.shape, ctx.fault = dims, shape, fault
        return xhat * gamma.reshape(shape) + beta.reshape(shape)

    @staticmethod
    def backward(ctx, g):
        xhat, rstd, gamma = ctx.saved_tensors
        dbeta, dgamma = g.sum(ctx.dims), (g * xhat).sum(ctx.dims)
        count = g.numel() // g.shape[1]
        dx = g - dbeta.reshape(ctx.shape) / count - xhat * dgamma.reshape(ctx.shape) / count
        dx = dx * rstd * (1 if ctx.fault == "gamma" else gamma.reshape(ctx.shape))
        if ctx.fault == "mean":
            dgamma = dgamma / count
        if ctx.fault == "sign":
            dx = -dx
        return dx, dgamma, (g.mean(ctx.dims) if ctx.fault == "beta" else dbeta), None, None


def by_hand(fault):
    class Handmade(Right):
        def forward(self, x):
            if not self.training:
                return super().forward(x)
            self.update(*(each.detach() for each in self.moments(x)))
            return ByHand.apply(x, self.gamma, self.beta, self.eps, fault)

    return Handmade


def changed(**methods):
    """Subclass with other methods or attributes."""
    return type("Wrong", (Right,), methods)


def initial(**tensors):
    """Class whose tensors are replaced after __init__, by a function of the channels."""

    def init(self, channels):
        Right.__init__(self, channels)
        for name, make in tensors.items():
            if name in self._parameters or name in self._buffers:
                delattr(self, name)
            setattr(self, name, make(channels))

    return changed(__init__=init)


def buffers(**tensors):
    """Class with other initial values of its buffers."""

    def init(self, channels):
        Right.__init__(self, channels)
        for name, make in tensors.items():
            self.register_buffer(name, make(channels))

    return changed(__init__=init)


def moments_over(dims_of_maps, dims_of_rows=(0,)):
    def moments(self, x):
        var, mean = torch.var_mean(x, dims_of_maps if x.dim() == 4 else dims_of_rows, correction=0, keepdim=True)
        return mean, var

    def forward(self, x):
        mean, var = self.moments(x)
        return self.affine((x - mean) / torch.sqrt(var + self.eps), x)

    return changed(moments=moments, forward=forward)


def unbiased(self, x):
    return x.mean(self.dims(x)), x.var(self.dims(x))


def detached(what):
    def moments(self, x):
        mean = x.mean(self.dims(x))
        if what == "mean":
            mean = mean.detach()
        var = (x - self.shaped(mean, x)).square().mean(self.dims(x))
        if what == "both":
            mean = mean.detach()
        return mean, (var if what == "mean" else var.detach())

    return changed(moments=moments)


def with_batch_moments_in_inference(self, x):
    mean, var = self.moments(x)
    if self.training:
        self.update(mean.detach(), var.detach())
    return self.affine(self.divide(x - self.shaped(mean, x), var, x), x)


def updating_in_inference(self, x):
    mean, var = self.moments(x)
    used = (mean, var) if self.training else (self.moving_mean.clone(), self.moving_var.clone())
    if x.shape[0] > 1:
        self.update(mean.detach(), var.detach())
    return self.affine(self.divide(x - self.shaped(used[0], x), used[1], x), x)


def with_moving_statistics_in_training(self, x):
    if self.training:
        mean, var = self.moments(x)
        self.update(mean.detach(), var.detach())
    mean, var = self.moving_mean.clone(), self.moving_var.clone()
    return self.affine(self.divide(x - self.shaped(mean, x), var, x), x)


def always(self, x):
    """Moving averages in training before they were updated."""
    mean, var = self.moving_mean.clone(), self.moving_var.clone()
    if self.training:
        self.update(*(each.detach() for each in self.moments(x)))
    return self.affine(self.divide(x - self.shaped(mean, x), var, x), x)


def attached_update(self, mean, var):
    self.moving_mean = 0.9 * self.moving_mean + 0.1 * mean
    self.moving_var = 0.9 * self.moving_var + 0.1 * var


def forward_with_graph(self, x):
    if self.training:
        mean, var = self.moments(x)
        attached_update(self, mean, var)
    else:
        mean, var = self.moving_mean, self.moving_var
    return self.affine(self.divide(x - self.shaped(mean, x), var, x), x)


def update_by(mean_share=0.1, var_share=0.1, *, keep=None, power=1.0, forget=False):
    def update(self, mean, var):
        with torch.no_grad():
            if mean_share:
                self.moving_mean.mul_(1 - mean_share).add_(mean_share * mean)
            if var_share:
                kept = 1.0 if keep else 1 - var_share
                self.moving_var.mul_(kept).add_(var_share * var**power)

    return changed(update=update)


def plain_tensors(channels):
    class Plain(Right):
        def __init__(self, channels):
            super().__init__(channels)
            del self.moving_mean, self.moving_var
            self.moving_mean, self.moving_var = torch.zeros(channels), torch.ones(channels)

    return Plain(channels)


def learnt_statistics(channels):
    class Learnt(Right):
        def __init__(self, channels):
            super().__init__(channels)
            del self.moving_mean, self.moving_var
            self.moving_mean = nn.Parameter(torch.zeros(channels))
            self.moving_var = nn.Parameter(torch.ones(channels))

    return Learnt(channels)


def gradient_of_buffers(channels):
    layer = Right(channels)
    layer.moving_mean.requires_grad_()
    return layer


def changes_input(self, x):
    x -= self.shaped(x.mean(self.dims(x)), x).detach()
    return Right.forward(self, x)


def rows_as_layers(self, x):
    if x.dim() == 4:
        return Right.forward(self, x)
    var, mean = torch.var_mean(x, 1, correction=0, keepdim=True)
    return self.affine((x - mean) / torch.sqrt(var + self.eps), x)


def by_view(self, x):
    maps = x.transpose(0, 1).contiguous().view(x.shape[1], -1) if x.dim() == 2 else x.view(len(x), -1)
    return Right.forward(self, x) + 0 * maps.sum()


def squares_less_square(self, x):
    mean = x.mean(self.dims(x))
    return mean, x.square().mean(self.dims(x)) - mean.square()


def normalised_by_batch(self, x):
    mean, var = self.moments(x)
    return self.affine(self.divide(x - self.shaped(mean, x), var, x), x)
