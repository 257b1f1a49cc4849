"""Explanations number by number: what is printed is what the networks and layers compute."""

import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import hourglass as hg
from hourglass.denoising import GaussianNoise
from hourglass.errors import OptionError
from hourglass.experiments import EXPERIMENTS
from hourglass.lab import explain, explained, follow
from hourglass.nn import ManualBatchNorm
from hourglass.runtime import tricks


def numbers(text, label, count):
    """The first numbers that stand in lines of their own after a label."""
    lines = text[text.index(label) + len(label) :].split("\n")[1:]
    rows = [line for line in lines if re.fullmatch(r"[-\d. ]+", line) and line.strip()]
    return [float(word) for line in rows for word in line.split()][:count]


def network_and_image(name, sample):
    image = sample.test.images[0]
    return EXPERIMENTS[name].configure().untrained_network(), image, torch.from_numpy(image).permute(2, 0, 1)[None]


@pytest.mark.parametrize("name", ["dense", "conv"])
def test_code_output_and_loss_are_the_networks(name, sample):
    network, image, x = network_and_image(name, sample)
    text = explain(name)
    with torch.no_grad():
        codes, logits = network.encode(x)[0], network(x)
    shown = numbers(text, "\ncode: ", codes.numel())
    if name == "conv":  # two maps side by side, of which every line has a row
        maps = np.array(shown).reshape(4, 4, 2, 4).transpose(0, 2, 1, 3).reshape(8, 4, 4)
        shown = maps.transpose(1, 2, 0).ravel()  # the order height, width, channel
    np.testing.assert_allclose(shown, codes, atol=6e-4 if name == "conv" else 6e-5)
    place = np.s_[12:16, 10:18]
    np.testing.assert_allclose(numbers(text, "\ninput: ", 32), image[place].ravel(), atol=6e-5)
    np.testing.assert_allclose(numbers(text, "the logits", 32), logits[0, 0][place].ravel(), atol=6e-5)
    np.testing.assert_allclose(numbers(text, "\nsigmoid", 32), logits.sigmoid()[0, 0][place].ravel(), atol=6e-5)
    terms = F.binary_cross_entropy_with_logits(logits, x, reduction="none")
    np.testing.assert_allclose(numbers(text, "the terms", 32), terms[0, 0][place].ravel(), atol=6e-5)
    by_hand, framework = (
        float(re.search(pattern, text)[1]) for pattern in (r"divided by 784 +([\d.]+)", r"framework's number +([\d.]+)")
    )
    assert by_hand == pytest.approx(terms.mean().item(), abs=3e-6)
    assert framework == pytest.approx(terms.mean().item(), abs=3e-6)
    assert f"The code has {codes.numel()} of 784 numbers" in text
    assert "untrained network" in text
    assert "seed 0" in text


def test_every_layer_of_conv_is_the_networks(sample):
    network, _, x = network_and_image("conv", sample)
    outputs = {}
    for name in ("encoder.0", "encoder.1", "encoder.2", "decoder.0.conv", "decoder.2.conv"):
        module = network.get_submodule(name)
        module.register_forward_hook(lambda module, _, output, name=name: outputs.update({name: output.clone()}))
    with torch.no_grad(), tricks.without():
        network(x)
    text = explain("conv")
    for name, label, relu in (
        ("encoder.0", "encoder 1", False), ("encoder.1", "encoder 2", False), ("encoder.2", "encoder 3", False),
        ("decoder.0.conv", "decoder 1", True), ("decoder.2.conv", "decoder 3", True),
    ):  # fmt: skip
        said = " ".join(text[text.index(f"\n{label}: ") :].split())
        found = re.search(r"of map (\d+), .*?rows? (\d+)(?: to (\d+))?, columns (\d+) to (\d+)", said).groups()
        channel, top, bottom, left, right = (int(word or found[1]) for word in found)
        maps = F.relu(outputs[name][0]) if relu else outputs[name][0]
        assert channel - 1 == int(maps.sum((1, 2)).argmax())
        expected = maps[channel - 1, top - 1 : bottom, left - 1 : right].ravel()
        np.testing.assert_allclose(numbers(text, f"\n{label}: ", len(expected)), expected, atol=6e-5, err_msg=label)


@pytest.mark.parametrize("name", ["dense", "conv", "denoise", "conv-better"])
def test_the_number_computed_from_the_weights_is_the_layers(name):
    said = " ".join(explain(name).split())
    found = re.search(
        r"Computed so, it is (-?[\d.]+)(?:, and ([\d.]+) after ReLU)?; the network has (-?[\d.]+)\.", said
    )
    alone, rectified, network = found.groups()
    assert float(rectified or alone) == pytest.approx(float(network), abs=2e-4)
    assert float(network) > 0


def test_a_pool_shows_the_maxima_of_what_stands_above_it():
    text = explain("conv")
    above = np.array(numbers(text, "\nencoder 1: ", 32)).reshape(2, 2, 4, 2)
    np.testing.assert_array_equal(numbers(text, "\npool 1: ", 8), above.max((1, 3)).clip(0).ravel())


@pytest.mark.parametrize("loss", ["mse", "mae", "bce"])
def test_a_fitted_estimator_is_followed_with_its_own_loss(loss, few):
    estimator = hg.ConvAutoencoder(channels=(4,), loss=loss, n_steps=3, random_state=0).fit(few.train.images)
    image = few.test.images[3]
    text = follow(estimator, image, about="mine")
    output = estimator.reconstruct(image[None])[0]
    by_definition = {
        "mse": lambda: np.mean((output - image) ** 2),
        "mae": lambda: np.mean(np.abs(output - image)),
        "bce": lambda: -np.mean(image * np.log(output) + (1 - image) * np.log(1 - output)),
    }[loss]()
    found = [float(value) for value in re.findall(r"(?:divided by 784|framework's number) +([\d.]+)", text)]
    np.testing.assert_allclose(found, by_definition, rtol=1e-4)
    assert text.startswith("mine\n")
    assert ("sigmoid of the output" in text) == (loss == "bce")


def test_noise_is_on_the_input_and_not_on_the_target(few):
    estimator = hg.DenseAutoencoder(code_size=4, loss="mse")
    image = few.test.images[0]
    noisy = hg.denoising.corrupt(image[None], GaussianNoise(0.5), random_state=0)[0]
    text = follow(estimator, image, given=noisy)
    np.testing.assert_allclose(numbers(text, "input: ", 32), noisy[12:16, 10:18].ravel(), atol=6e-5)
    network = estimator.untrained_network()
    with torch.no_grad():
        output = network(torch.from_numpy(noisy).permute(2, 0, 1)[None])[0, 0].numpy()
    found = float(re.search(r"framework's number +([\d.]+)", text)[1])
    assert found == pytest.approx(np.mean((output - image[..., 0]) ** 2), rel=1e-4)
    assert "GaussianNoise" in explain("denoise")


def test_networks_without_a_code_and_unknown_names_are_refused(few):
    classifier = hg.ConvClassifier(depth=2, n_steps=1).fit(few.train.images, few.train.labels)
    with pytest.raises(ValueError, match="has no code"):
        follow(classifier, few.test.images[0])
    with pytest.raises(OptionError, match="'bn-manul' is not explained; did you mean bn-manual"):
        explain("bn-manul")
    with pytest.raises(OptionError, match="'bn-none' is not explained; choose one of dense, conv, denoise"):
        explain("bn-none")


@pytest.mark.parametrize("name", ["bn-layer", "bn-manual", "dense", "conv", "denoise"])
def test_the_text_fits_into_a_terminal(name, hourglass):
    code, out, err = hourglass("explain", name)
    assert (code, err) == (0, "")
    assert out == explain(name) + "\n"
    assert max(map(len, out.splitlines())) <= 80
    assert "-0.0000" not in out


def test_feature_maps_are_normalised_as_the_layer_and_as_layer_normalisation_do():
    text = explain("bn-manual")
    maps = torch.from_numpy(explained.MAPS).permute(0, 3, 1, 2)
    sections = text[text.index("Feature maps") :]
    shown = [
        np.array([float(word) for word in re.findall(r"-?\d+\.\d+", block)]).reshape(2, 2, 2, 2).transpose(0, 2, 1, 3)
        for block in re.findall(r"channel 2\n((?:.*\n){4})", sections)
    ]
    norm = ManualBatchNorm(2, explained.EPS).double()
    whole = (maps - maps.mean()) / (maps.var(unbiased=False) + explained.EPS).sqrt()
    for found, expected in zip(shown, (maps, norm(maps).detach(), whole), strict=True):
        np.testing.assert_allclose(found, expected, atol=6e-5)
    np.testing.assert_allclose(numbers(sections, "mean of each channel", 2), maps.mean((0, 2, 3)), atol=6e-5)
    np.testing.assert_allclose(
        numbers(sections, "variance of each channel", 2), maps.var((0, 2, 3), unbiased=False), atol=6e-5
    )


def test_scale_and_shift_can_undo_the_normalisation():
    text = explain("bn-layer")
    weight, bias = numbers(text, "undoes the division", 2), numbers(text, "undoes the subtraction", 2)
    x = torch.from_numpy(explained.BATCH)
    norm = nn.BatchNorm1d(2, explained.EPS).double()
    assert (norm.weight.tolist(), norm.bias.tolist()) == ([1, 1], [0, 0])  # as the text says
    with torch.no_grad():
        norm.weight.copy_(torch.tensor(weight))
        norm.bias.copy_(torch.tensor(bias))
    np.testing.assert_allclose(norm(x).detach(), x, atol=3e-4)
    np.testing.assert_allclose(numbers(text, "is x again", 8), x.ravel(), atol=6e-5)
