"""Units of a network that are off for every image."""

from typing import Any

import torch
from torch import Tensor, nn

from hourglass.runtime import tricks


@torch.no_grad()
def dead_units(network: nn.Module, images: Tensor) -> dict[str, tuple[int, int]]:
    """Count the units whose ReLU gives 0 for every image; no gradient reaches their weights.

    Parameters
    ----------
    network : torch.nn.Module
        With a method ``rectified`` that gives the modules before each ReLU by name, as the package's networks have.
    images : torch.Tensor of shape (n, c, h, w)
        Some of the training images; of few images more units are off than of all.

    Returns
    -------
    dict of str to tuple of int
        By layer, how many units are dead, and how many there are. A feature map counts as one unit, which is dead
        where it is 0 at every pixel of every image. Layers without ReLU are left out.
    """
    highest: dict[str, Tensor] = {}

    def account(name: str) -> Any:
        def note(module: nn.Module, inputs: Any, output: Tensor) -> None:
            peaks = output.transpose(0, 1).flatten(1).amax(1)  # (units,)
            highest[name] = torch.maximum(highest[name], peaks) if name in highest else peaks

        return note

    layers: dict[str, nn.Module] = network.rectified()  # type: ignore[operator]  # torch types a module's unknown attributes as tensors or modules
    handles = [layer.register_forward_hook(account(name)) for name, layer in layers.items()]
    training = network.training
    network.eval()
    try:
        with tricks.without("output-phases"):  # which leaves out a layer that is counted
            network(images)
    finally:
        network.train(training)
        for handle in handles:
            handle.remove()
    return {name: (int((peaks <= 0).sum()), len(peaks)) for name, peaks in highest.items()}
