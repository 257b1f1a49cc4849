"""What training's statistics are turned into: moments of the population, and plain convolutions."""

import copy
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.nn.utils.fusion import fuse_conv_bn_weights

from hourglass.nn.batchnorm import MovingStatistics, other_axes
from hourglass.nn.conv_codec import ConvCodec
from hourglass.nn.convnet import ConvNet
from hourglass.nn.manual import ManualBatchNorm
from hourglass.nn.variants import BatchRenorm
from hourglass.runtime.internals import BatchNorm

Module = TypeVar("Module", bound=nn.Module)
Network = TypeVar("Network", ConvNet, ConvCodec)


def normalisations(module: nn.Module) -> dict[str, BatchNorm]:
    """Every layer of a module that has moving statistics over batches, ours and PyTorch's, by name.

    Raises
    ------
    TypeError
        When the argument is no module.
    ValueError
        When another layer has moving statistics, such as ``InstanceNorm2d(track_running_stats=True)``, which are of
        each image and not of batches; and when a lazy layer has not seen an input yet.
    """
    if not isinstance(module, nn.Module):
        raise TypeError(f"expected a torch.nn.Module; this is a {type(module).__name__}")
    found = {}
    for name, layer in module.named_modules():
        if getattr(layer, "running_mean", None) is None:
            continue
        if not isinstance(layer, BatchNorm):
            raise ValueError(
                f"{name or 'the module'} is a {type(layer).__name__}, which is no batch normalisation of PyTorch's "
                "and no subclass of one, so that its moving statistics may not be those of a batch; derive a class of "
                "your own from torch.nn.BatchNorm2d to have them treated as such"
            )
        if is_lazy(cast(Tensor, layer.running_mean)):
            raise ValueError(
                f"{name or 'the module'} is a {type(layer).__name__} that has not seen an input, so that it has no "
                "channels yet; call the module on a batch first"
            )
        found[name] = layer
    return found


def batch_statistics(module: Module) -> Module:
    """Copy of a module in training mode, that keeps no account of the batches that it normalises.

    Each batch is normalised by its own moments, as long as the copy stays in training mode.

    Parameters
    ----------
    module : torch.nn.Module
        Module with batch normalisation, of ours or of PyTorch's, or without.

    Returns
    -------
    torch.nn.Module
        The copy, in training mode. Its :class:`BatchRenorm` layers do not correct, and its
        :class:`ManualBatchNorm` layers do not wait for other processes.

    Raises
    ------
    TypeError
        When the argument is no module.
    ValueError
        When a layer has moving statistics that are not those of a batch, or is lazy and has not seen an input.
    """
    normalisations(module)  # refuses before anything is copied
    twin = copy.deepcopy(module).train()
    for layer in normalisations(twin).values():
        layer.momentum = 0.0
        if isinstance(layer, BatchRenorm):  # which would correct towards the moving statistics
            layer.scale_limit, layer.shift_limit = 1.0, 0.0
        if isinstance(layer, ManualBatchNorm):  # a single process may look, and would wait for the others
            layer.synchronised = False
    return twin


@torch.no_grad()
def recompute_statistics(module: nn.Module, batches: Iterable[Tensor | Sequence[Any]]) -> None:
    """Put the population's moments in place of the moving statistics, in place ("precise BN").

    Every layer is fed as in training, by batches that are normalised by themselves, all layers in one pass. The
    population's variance is the mean of the batches' biased variances plus the variance of their means, each batch
    weighted by its number of values. Source: Wu and Johnson, "Rethinking 'Batch' in BatchNorm", 2021, section 3.

    Under data-parallel training each process looks at its own batches: give all of them the same, or let one do it and
    broadcast the buffers.

    Parameters
    ----------
    module : torch.nn.Module
        Module with trained weights and batch normalisation, of ours or of PyTorch's; its mode stays as it is. A layer
        that no batch reaches keeps the statistics that it has. On any exception the module is unchanged.
    batches : iterable of torch.Tensor, or of sequences that begin with one
        Inputs, each of the size of training's batches, at least one. Of a pair such as (images, labels), which data
        loaders give, the first is the input.

    Raises
    ------
    TypeError
        When the module is none, or the batches are one tensor or hold something else than tensors.
    ValueError
        When there is no batch or no layer with moving statistics, when a layer's statistics are not those of a batch,
        when a layer is lazy and has not seen an input, or when a layer meets NaN or infinity.
    """
    own = normalisations(module)
    if not own:
        raise ValueError(
            "no layer of the module has moving statistics that are known here, so that there is nothing to "
            "recompute; those of PyTorch's batch normalisation, of ours and of classes derived from them are"
        )
    if isinstance(batches, Tensor):
        raise TypeError("batches is one tensor; give an iterable of batches, such as [x] or x.split(64)")
    twin = batch_statistics(module)
    sums: dict[str, tuple[int, Tensor, Tensor]] = {}

    def account(name: str) -> Any:
        def add(layer: nn.Module, inputs: tuple[Tensor, ...], named: dict[str, Tensor]) -> None:
            x = (*inputs, *named.values())[0].double()
            axes = other_axes(x)
            count, total, squares = sums.get(name, (0, x.new_zeros(()), x.new_zeros(())))
            sums[name] = count + x.numel() // x.shape[1], total + x.sum(axes), squares + x.square().sum(axes)

        return add

    for name, layer in normalisations(twin).items():
        layer.register_forward_pre_hook(account(name), with_kwargs=True)
    seen = False
    for batch in batches:
        x = batch[0] if isinstance(batch, list | tuple) and batch else batch
        if not isinstance(x, Tensor):
            raise TypeError(f"a batch is a {type(x).__name__}; expected a tensor, or a sequence that begins with one")
        twin(x)
        seen = True
    if not seen:
        raise ValueError("no batch to compute the population's moments from; give at least one")
    for name, (_, total, squares) in sums.items():
        if not (total.isfinite().all() and squares.isfinite().all()):
            raise ValueError(
                f"the inputs of {name or 'the module'} hold NaN or infinity, whose moments would make every "
                "output NaN; look for them in the batches, and in the weights of the layers before"
            )
    for name, (count, total, squares) in sums.items():
        mean, layer = total / count, own[name]
        cast(Tensor, layer.running_mean).copy_(mean)
        cast(Tensor, layer.running_var).copy_((squares / count - mean.square()).clamp(min=0))


def fold(network: Network) -> Network:
    """Network without normalisation that computes what another does in inference.

    A convolution and the normalisation by moving statistics after it are one affine map:
    ``w' = w · γ / √(σ² + ε)``, ``b' = β + (b - µ) · γ / √(σ² + ε)``.
    Source: Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
    Inference", CVPR 2018, section 3.2. Of a normalisation of somebody's own, whose statistics may have any name, scale
    and shift are found by what it does to zeros and ones, and tried on other numbers.

    Parameters
    ----------
    network : ConvNet or ConvCodec
        Network with a normalisation that has moving statistics, in either mode.

    Returns
    -------
    ConvNet or ConvCodec
        Copy in eval mode, with ``norm="none"``.

    Raises
    ------
    TypeError
        When the network is neither a ConvNet nor a ConvCodec.
    ValueError
        When the network has no normalisation, or one that in inference is no affine map of its input, as without moving
        statistics, where it computes its moments from the input itself.
    """
    if not isinstance(network, ConvNet | ConvCodec):
        raise TypeError(f"fold takes a ConvNet or a ConvCodec; this is a {type(network).__name__}")
    pairs = network.normalised_layers()
    if not pairs:
        raise ValueError("the network has norm='none': there is no normalisation to fold into its convolutions")
    folded = copy.deepcopy(network).eval()
    for layer_name, norm_name in pairs:
        layer, norm = folded.get_submodule(layer_name), folded.get_submodule(norm_name)
        # A transposed convolution has its output channels in the second axis.
        transposed = isinstance(layer, nn.ConvTranspose2d)
        weight, bias = cast(Tensor, layer.weight), cast(Tensor | None, layer.bias)
        if (found := _inference_of(norm, weight, channels=weight.shape[transposed])) is None:
            raise ValueError(
                f"{norm_name} is a {type(norm).__name__} without moving statistics that it uses in inference: its "
                "output there is not a scale and a shift of each channel, and cannot be folded into a convolution"
            )
        layer.weight, layer.bias = fuse_conv_bn_weights(weight, bias, *found, transpose=transposed)
        folded.set_submodule(norm_name, nn.Identity())
    folded.norm = "none"
    return folded


def _inference_of(
    norm: nn.Module, weight: Tensor, *, channels: int
) -> tuple[Tensor, Tensor, float, Tensor | None, Tensor | None] | None:
    """Mean, variance, ε, γ and β by which a layer normalises in inference; None where its map is not affine."""
    if isinstance(norm, MovingStatistics) or type(norm).forward is BatchNorm.forward:
        mean, variance, eps = norm.running_mean, norm.running_var, norm.eps
        if mean is None or variance is None:
            return None
        return cast(Tensor, mean), cast(Tensor, variance), cast(float, eps), norm.weight, norm.bias  # type: ignore[return-value]  # torch types unknown attributes as tensors or modules
    shape = (4, channels) if weight.dim() == 2 else (4, channels, 2, 2)
    x = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).to(weight.device)
    x[0], x[1] = 0, 1
    try:
        with torch.no_grad():
            twin = copy.deepcopy(norm).double().eval()
            # In two batches: within one, its own moments would be affine too.
            output = torch.cat([twin(part) for part in x.split(2)]).reshape(4, channels, -1)
    except Exception:  # somebody's own layer may raise anything
        return None
    shift, scale = output[0, :, 0], output[1, :, 0] - output[0, :, 0]
    expected = x.reshape(4, channels, -1) * scale[:, None] + shift[:, None]
    # A layer may compute in float32 whatever it is given.
    if not torch.allclose(output, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max())):
        return None
    return torch.zeros_like(shift), torch.ones_like(scale), 0.0, scale.to(weight.dtype), shift.to(weight.dtype)
