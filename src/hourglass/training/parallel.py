"""Training of one module by several processes, each of which computes a part of every batch."""

import copy
import math
import warnings
from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from hourglass.runtime import ranks
from hourglass.runtime.internals import BatchNorm
from hourglass.training.objectives import Drawn, Objective
from hourglass.training.source import Source


class DataParallel:
    """Training of one module by several processes.

    The process of rank r computes the r-th part of each batch, and the gradients of all are added up. Order, noise and
    everything else at random is drawn for the whole batch by every process in the same way. One process that computes
    whole batches gets the same numbers, but for their rounding.

    Parameters
    ----------
    module : torch.nn.Module
        Module to train, with the same parameters in every process; ``module`` of rank 0 is copied to the others.

    Attributes
    ----------
    module : torch.nn.Module
        The module to call in training, whose parameters are those of the module that was given.

    Raises
    ------
    ValueError
        When a batch normalisation in the module takes its moments from the part of each process alone.
    """

    def __init__(self, module: nn.Module) -> None:
        self._own = module
        self.module = DistributedDataParallel(synchronised(module, next(module.parameters()).device))
        # Buffers are equal, or shared when they are needed; the argument of this name is deprecated.
        self.module.broadcast_buffers = False
        self._is_first = True

    def part(self, source: Source, objective: Objective, index: Tensor, step: int) -> tuple[Drawn, float]:
        """Read and draw this process's part of a batch.

        Parameters
        ----------
        source : Source
            Training data.
        objective : Objective
            What is drawn.
        index : torch.Tensor of shape (n,), int64
            Rows of the whole batch.
        step : int
            Number of the training step, from 1.

        Returns
        -------
        drawn : Drawn
            This process's rows.
        share : float
            Factor of the mean loss of these rows, whose sum over all processes is the mean loss of the batch.

        Raises
        ------
        ValueError
            When there are fewer rows than processes.
        """
        if len(index) < ranks.count():
            raise ValueError(
                f"a batch has {len(index)} images for {ranks.count()} processes; enlarge batch_size, or start fewer"
            )
        rows = ranks.part(len(index))
        if not objective.draws:  # each process reads its rows alone
            mine = index[rows]
            drawn = objective.draw(*source.take(mine, step), source.weights(mine))
            return drawn, len(mine) / len(index)
        whole = objective.draw(*source.take(index, step), source.weights(index))
        drawn = whole.part(rows)
        # Without any masked place the mean is NaN, as in one process.
        return drawn, drawn.terms / whole.terms if whole.terms else math.nan

    def backward(self, loss: Tensor) -> None:
        """Compute the gradients of the sum of all processes' losses.

        Parameters
        ----------
        loss : torch.Tensor of shape ()
            This process's part of the loss.
        """
        with warnings.catch_warnings() if self._is_first else nullcontext():
            if self._is_first:
                # Said once, of kernels with one channel, whose gradient is copied; that takes no time.
                warnings.filterwarnings("ignore", "Grad strides do not match")
            # DistributedDataParallel divides the sum of the gradients by the number of processes.
            (loss * ranks.count()).backward()
        self._is_first = False

    def share_buffers(self) -> None:
        """Copy the buffers of the module in rank 0 to the other processes.

        They differ only where a normalisation is not synchronised.
        """
        for buffer in self._own.buffers():
            torch.distributed.broadcast(buffer, 0)


def synchronised(module: nn.Module, device: torch.device) -> nn.Module:
    """Put PyTorch's synchronised batch normalisation in the place of its ordinary one.

    Parameters
    ----------
    module : torch.nn.Module
        Module to train; it stays as it is.
    device : torch.device
        Device on which it is trained.

    Returns
    -------
    torch.nn.Module
        The module itself or, if it has batch normalisations of PyTorch's, a module that shares its parameters and
        buffers and has a ``torch.nn.SyncBatchNorm`` in the place of each.

    Raises
    ------
    ValueError
        When ``SyncBatchNorm`` computes something else than a layer, and on the CPU, where PyTorch does not have it.
    """
    found = {name: layer for name, layer in module.named_modules() if _needs_synchronising(layer)}
    for name, layer in found.items():
        why = getattr(layer, "why_not_synchronised", None)
        if type(layer).__module__ != nn.BatchNorm2d.__module__ and not hasattr(layer, "why_not_synchronised"):
            why = "that computes something else"
        if why is None and device.type != "cuda":
            why = "that works on GPUs alone"
        if why is not None:
            raise ValueError(
                f"{name} is a {type(layer).__name__}, whose moments would be those of each process's part of a batch. "
                f"PyTorch's SyncBatchNorm cannot take its place: {why}. Choose norm='batch-manual', which takes the "
                "moments of the whole batch, or 'batch-manual-local', or train in one process"
            )
    if not found:
        return module
    tensors = [*module.parameters(), *module.buffers()]
    shadow = copy.deepcopy(module, {id(tensor): tensor for tensor in tensors})
    converted: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(shadow)
    return converted


def _needs_synchronising(layer: nn.Module) -> bool:
    """Whether a layer is a batch normalisation that knows nothing of other processes."""
    return (
        isinstance(layer, BatchNorm) and not isinstance(layer, nn.SyncBatchNorm) and not hasattr(layer, "synchronised")
    )
