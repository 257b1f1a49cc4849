"""What training's statistics are turned into: moments of the population, and plain convolutions."""

import copy
from collections.abc import Iterable
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

from hourglass.nn.batchnorm import ManualBatchNorm, MovingStatistics, other_axes
from hourglass.nn.convnet import ConvNet
from hourglass.nn.internals import BatchNorm
from hourglass.nn.layers import SameConv2d
from hourglass.nn.norms import BatchRenorm

Module = TypeVar("Module", bound=nn.Module)


def normalisations(module: nn.Module) -> dict[str, BatchNorm]:
    """Every layer of a module that has moving statistics over batches, ours and PyTorch's, by name.

    Raises
    ------
    ValueError
        When another layer has moving statistics, such as ``InstanceNorm2d(track_running_stats=True)``: they are of
        each image, and not of batches.
    """
    found = {}
    for name, layer in module.named_modules():
        if getattr(layer, "running_mean", None) is None:
            continue
        if not isinstance(layer, BatchNorm):
            raise ValueError(
                f"{name or 'the module'} is a {type(layer).__name__}, whose moving statistics are not those "
                "of a batch; this is for batch normalisation"
            )
        found[name] = layer
    return found


def batch_statistics(module: Module) -> Module:
    """Copy of a module that normalises every batch by its own moments, as in training, and keeps no account of it.

    Parameters
    ----------
    module : torch.nn.Module
        With batch normalisation of ours, of PyTorch's, or none.

    Raises
    ------
    ValueError
        When a layer has moving statistics that are not those of a batch.
    """
    twin = copy.deepcopy(module).train()
    for layer in normalisations(twin).values():
        layer.momentum = 0.0
        if isinstance(layer, BatchRenorm):  # which would correct towards the moving statistics
            layer.scale_limit, layer.shift_limit = 1.0, 0.0
        if isinstance(layer, ManualBatchNorm):  # a single process may look, and would wait for the others
            layer.synchronised = False
    return twin


@torch.no_grad()
def recompute_statistics(module: nn.Module, batches: Iterable[Tensor]) -> None:
    """Put the population's moments in place of the moving statistics, in place ("precise BN").

    Under data-parallel training each process looks at its own batches: give all of them the same, or let one do it and
    broadcast the buffers.

    Every layer is fed as in training, by batches that are normalised by themselves, all layers in one pass. The
    population's variance is the mean of the batches' variances and the variance of their means, weighted by size.
    Source: Wu and Johnson, "Rethinking 'Batch' in BatchNorm", 2021, section 3.

    Parameters
    ----------
    module : torch.nn.Module
        With trained weights and batch normalisation, of ours or of PyTorch's; its mode stays as it is. A layer that
        no batch reaches keeps the statistics that it has.
    batches : iterable of torch.Tensor
        Inputs, each of the size of training's batches; at least one.

    Raises
    ------
    ValueError
        When there is no batch, no layer with moving statistics, or one whose statistics are not those of a batch.
    """
    own = normalisations(module)
    if not own:
        raise ValueError(
            "no layer of the module has moving statistics, so that there is nothing to recompute; "
            "only batch normalisation has them"
        )
    twin = batch_statistics(module)
    sums: dict[str, tuple[int, Tensor, Tensor]] = {}

    def account(name: str) -> Any:
        def add(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            x = inputs[0].double()
            axes = other_axes(x)
            count, total, squares = sums.get(name, (0, x.new_zeros(()), x.new_zeros(())))
            sums[name] = count + x.numel() // x.shape[1], total + x.sum(axes), squares + x.square().sum(axes)

        return add

    for name, layer in normalisations(twin).items():
        layer.register_forward_pre_hook(account(name))
    for batch in batches:
        twin(batch)
    if not sums:
        raise ValueError("no batch to compute the population's moments from; give at least one")
    for name, layer in own.items():
        if name not in sums or layer.running_mean is None or layer.running_var is None:
            continue
        count, total, squares = sums[name]
        mean = total / count
        layer.running_mean.copy_(mean)
        layer.running_var.copy_((squares / count - mean.square()).clamp(min=0))


def fold(network: ConvNet) -> ConvNet:
    """Network without normalisation that computes what another does in inference.

    A convolution and the normalisation by moving statistics after it are one affine map:
    ``w' = w · γ / √(σ² + ε)``, ``b' = β - µ · γ / √(σ² + ε)``.
    Source: Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
    Inference", CVPR 2018, section 3.2.

    Parameters
    ----------
    network : ConvNet
        With a normalisation that has moving statistics.

    Raises
    ------
    ValueError
        When a normalisation computes its moments from the image itself: that is no affine map of it.
    """
    folded = copy.deepcopy(network).eval()
    pairs = [*zip(folded.convs, folded.norms, strict=True), (folded.hidden, folded.hidden_norm)]
    for layer, norm in pairs:
        if not isinstance(norm, MovingStatistics):
            raise ValueError(f"{type(norm).__name__} has no moving statistics, and cannot be folded into a convolution")
        conv = cast(SameConv2d, layer)
        scale = norm.weight.detach() * torch.rsqrt(norm.running_var + norm.eps)
        weight = conv.weight.detach()
        conv.weight = nn.Parameter(weight * scale.view([-1] + [1] * (weight.dim() - 1)))
        conv.bias = nn.Parameter(norm.bias.detach() - norm.running_mean * scale)
    folded.norms = nn.ModuleList(nn.Identity() for _ in folded.norms)
    folded.hidden_norm = nn.Identity()
    return folded
