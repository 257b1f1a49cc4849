"""A denoiser made better with one's own images: from a trained one, from pairs, from noisy images alone."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import hourglass as hg
from hourglass.errors import OptionError
from hourglass.image_training.pairs import find_targets
from hourglass.training.objectives import NeighborToNeighbor, halves

SMALL = {"widths": (8, 8, 8), "n_blocks": (1, 1, 1), "batch_size": 8, "learning_rate": 0.005}


def save(folder, images):
    """Grey images in [0, 1] as 8-bit files."""
    folder.mkdir()
    for i, image in enumerate(images):
        Image.fromarray(np.rint(255 * np.clip(image, 0, 1)).astype(np.uint8)).save(folder / f"{i}.png")
    return folder


def scenes(count, seed=0):
    """Images (48, 48) of broad waves."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:48, :48]
    waves = random.uniform(0, 0.25, (2, count, 1, 1))
    return 0.5 + 0.4 * np.sin(waves[0] * y + waves[1] * x + random.uniform(0, 6, (count, 1, 1)))


@pytest.fixture
def clean(tmp_path):
    return save(tmp_path / "clean", scenes(8))


@pytest.fixture
def start(tmp_path):
    """A folder of a small denoiser that has learnt little."""
    images = scenes(16, 1)[..., None].astype(np.float32)
    model = hg.ImageDenoiser(**SMALL, n_steps=30, random_state=0).fit(images)
    hg.save(model, tmp_path / "start")
    return tmp_path / "start"


def test_it_begins_from_a_model_and_says_what_was_gained(clean, start, tmp_path):
    said = []
    options = {"crop": 24, "n_crops": 64, "parameters": {"batch_size": 8, "learning_rate": 0.003}, "say": said.append}
    fitted = hg.train_on_images(clean, tmp_path / "out", noise=0.1, begin_from=str(start), n_steps=150, **options)
    assert fitted.widths == (8, 8, 8)
    [line] = said
    found = re.fullmatch(
        r"held-out images \(1\): ([\d.]+) dB before denoising, ([\d.]+) dB after; ([\d.]+) dB were gained over the "
        "model it began from",
        line,
    )
    before, after, gained = map(float, found.groups())
    assert gained > 0
    assert after > before > 15
    assert fitted.patience is None
    test = scenes(4, 9)[..., None].astype(np.float32)
    noisy = hg.denoising.corrupt(test, 0.1, 1)
    better, before = (
        hg.metrics.psnr(test, model.reconstruct(noisy)) for model in (fitted, hg.load_model(start, device="cpu"))
    )
    assert better > before


def test_what_gains_nothing_keeps_the_model_that_it_began_from(clean, start, tmp_path):
    said = []
    # At such a rate the network forgets what it knew.
    options = {"crop": 24, "n_crops": 64, "parameters": {"batch_size": 8, "learning_rate": 5.0}, "say": said.append}
    fitted = hg.train_on_images(clean, tmp_path / "out", noise=0.1, begin_from=str(start), n_steps=3, **options)
    assert said[0].endswith("dB after; nothing was gained over the model it began from, which was kept")
    # Moments of the discarded weights would mislead a training that continues.
    assert not hasattr(fitted, "_optimiser")
    assert not (tmp_path / "out" / "optimiser.safetensors").exists()
    began = hg.load_model(start, device="cpu").network_.state_dict()
    for name, weight in hg.load_model(tmp_path / "out", device="cpu").network_.state_dict().items():
        torch.testing.assert_close(weight, began[name], rtol=0, atol=0)
        torch.testing.assert_close(fitted.network_.state_dict()[name], began[name], rtol=0, atol=0)


def test_an_interrupted_training_from_a_model_is_resumed_bit_for_bit(clean, start, tmp_path, monkeypatch):
    options = {"crop": 24, "n_crops": 16, "noise": 0.1, "begin_from": str(start), "n_steps": 8}
    # The rate rises so far that the first step alone makes the network better.
    parameters = {"batch_size": 4, "validate_every": 2, "learning_rate": 0.05, "schedule": "one-cycle"}
    options |= {"parameters": parameters, "checkpoint_every": "2steps"}
    whole = hg.train_on_images(clean, tmp_path / "whole", **options)
    steps, losses = whole.history_.series("validation_loss")
    assert steps[losses.argmin()] == 1
    step, done = hg.training.Trainer.step, []

    def stop(self, index):
        done.append(index)
        if len(done) == 6:
            raise RuntimeError("the plug was pulled")
        return step(self, index)

    with monkeypatch.context() as patched:
        patched.setattr(hg.training.Trainer, "step", stop)
        with pytest.raises(RuntimeError, match="plug"):
            hg.train_on_images(clean, tmp_path / "cut", **options)
    hg.train_on_images(clean, tmp_path / "cut", **options)
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "cut", "start")]
    assert weights[0] == weights[1] != weights[2]


def test_the_model_in_the_package_suits_grey_and_colour(tmp_path):
    for channels, widths in ((1, (48, 96, 128)), (3, (64, 96, 128))):
        folder = tmp_path / f"images-{channels}"
        folder.mkdir()
        shape = (40, 40) if channels == 1 else (40, 40, 3)
        for i in range(2):
            pixels = np.random.default_rng(i).integers(0, 255, shape, dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{i}.png")
        out = tmp_path / f"model-{channels}"
        fitted = hg.train_on_images(folder, out, noise=0.1, crop=32, n_crops=4, n_steps=1, parameters={"batch_size": 2})
        assert fitted.widths == widths
        assert json.loads((out / "model.json").read_text())["parameters"]["begin_from"] == "photo"
        assert hg.load_model(out).widths == list(widths) or hg.load_model(out).widths == widths


def test_the_model_to_begin_from_may_be_a_path(clean, start, tmp_path, monkeypatch):
    options = {"noise": 0.1, "crop": 16, "n_crops": 8, "n_steps": 1, "parameters": {"batch_size": 2}}
    fitted = hg.train_on_images(clean, tmp_path / "out", begin_from=start, **options)
    assert fitted.begin_from == str(start)
    assert hg.load_model(tmp_path / "out").begin_from == str(start)
    # A path is a folder, even if it is named like a model of the package.
    monkeypatch.chdir(tmp_path)
    start.rename(tmp_path / "photo")
    fitted = hg.train_on_images(clean, tmp_path / "other", begin_from=Path("photo"), **options)
    assert (fitted.widths, fitted.begin_from) == ((8, 8, 8), "./photo")
    for wrong in (Path("photo"), 3):
        with pytest.raises(ValueError, match=r"begin_from=.*; expected the name of a model or a folder as text"):
            hg.ImageDenoiser(begin_from=wrong).check_parameters()


@pytest.mark.parametrize(("hot", "noise"), [(2, 0.1), (7, "0.3-0.5")])
def test_a_hot_pixel_does_not_stop_the_comparison(hot, noise, start, tmp_path):
    folder = tmp_path / "floats"
    folder.mkdir()
    for i, image in enumerate(scenes(8).astype(np.float32)):
        image[20, 20] += 50 * (i == hot)  # 2 is held out, 7 is not
        Image.fromarray(image).save(folder / f"{i}.tif")
    said = []
    options = {"noise": noise, "value_range": (0, 1), "crop": 48, "n_crops": 8, "parameters": {"batch_size": 4}}
    fitted = hg.train_on_images(folder, tmp_path / "out", begin_from=start, n_steps=2, say=said.append, **options)
    assert said[0].startswith("held-out images (1): ")
    assert fitted.pixel_range_[1] > 50


def test_where_nothing_was_gained_the_model_takes_levels_as_its_start_does(clean, start, tmp_path):
    noisy = save(tmp_path / "noisy", scenes(8) + np.random.default_rng(5).normal(0, 0.1, (8, 48, 48)))
    options = {"crop": 24, "n_crops": 64, "parameters": {"batch_size": 8, "learning_rate": 1.0}}
    for n_steps, resume in ((2, False), (3, True)):
        fitted = hg.train_on_images(
            noisy, tmp_path / "out", targets=clean, begin_from=start, n_steps=n_steps, resume=resume, **options
        )
        assert fitted.takes_noise_level
        assert hg.load_model(tmp_path / "out").takes_noise_level


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"noise": 0.1, "resize": (16, 16)}, "images that are resized (--resize) are not held out"),
        ({"self_supervised": True}, "there are no clean images to compare with"),
        ({"noise": 0.1, "files": 3}, "it takes at least 4 files to hold one out"),
        ({"noise": 0.1, "validation_fraction": 0.5}, "validation_fraction decides what is held out"),
        ({"noise": 0.1, "network": "conv"}, None),
    ],
)
def test_it_says_why_nothing_was_measured(options, why, start, tmp_path):
    options, said = dict(options), []
    images = save(tmp_path / "images", scenes(options.pop("files", 5)))
    options["parameters"] = {"batch_size": 2}
    if "validation_fraction" in options:
        options["parameters"]["validation_fraction"] = options.pop("validation_fraction")
    options |= {} if "resize" in options else {"crop": 16, "n_crops": 5}
    options |= {"begin_from": start} if "network" not in options else {}
    hg.train_on_images(images, tmp_path / "out", n_steps=1, say=said.append, **options)
    assert said == ([] if why is None else [f"what was gained was not measured: {why}"])


def test_a_black_crop_is_no_infinite_gain(start, tmp_path):
    noisy, clean = (save(tmp_path / name, np.zeros((8, 48, 48))) for name in ("noisy", "clean"))
    said = []
    options = {"crop": 16, "n_crops": 8, "n_steps": 1, "parameters": {"batch_size": 2}, "say": said.append}
    hg.train_on_images(noisy, tmp_path / "out", targets=clean, begin_from=start, **options)
    assert "held-out images (1): 100.00 dB before denoising" in said[0]
    assert "inf" not in said[0]


def test_noise_on_top_of_pairs_is_measured_too(clean, start, tmp_path):
    said = []
    options = {"crop": 24, "n_crops": 16, "n_steps": 1, "targets": clean, "begin_from": start, "say": said.append}
    fitted = hg.train_on_images(clean, tmp_path / "out", parameters={"batch_size": 4, "noise": 0.1}, **options)
    noisy = float(re.search(r": ([\d.]+) dB before", said[0]).group(1))
    assert 18 < noisy < 22  # noise of 0.1 has 20 dB
    assert fitted.takes_noise_level


def test_a_start_that_was_trained_again_begins_another_training(clean, start, tmp_path, monkeypatch):
    options = {"crop": 24, "n_crops": 16, "noise": 0.1, "begin_from": start, "n_steps": 4}
    options |= {"parameters": {"batch_size": 4}, "checkpoint_every": "1steps"}
    step, done = hg.training.Trainer.step, []

    def stop(self, index):
        done.append(index)
        if len(done) == 3:
            raise RuntimeError("the plug was pulled")
        return step(self, index)

    with monkeypatch.context() as patched:
        patched.setattr(hg.training.Trainer, "step", stop)
        with pytest.raises(RuntimeError, match="plug"):
            hg.train_on_images(clean, tmp_path / "out", **options)
    model = hg.load_model(start)
    hg.save(model.partial_fit(scenes(8)[..., None].astype(np.float32)), start)
    with pytest.raises(ValueError, match="begin_from_sha256 is"):
        hg.train_on_images(clean, tmp_path / "out", **options)


def test_a_damaged_start_is_named(clean, start, tmp_path):
    document = json.loads((start / "model.json").read_text())

    def change(parameters):
        (start / "model.json").write_text(json.dumps(document | {"parameters": document["parameters"] | parameters}))

    for parameters in ({"widths": None}, {"widths": 8}):
        change(parameters)
        with pytest.raises(ValueError, match=r"start: the model's files do not fit together"):
            hg.train_on_images(clean, tmp_path / "out", noise=0.1, begin_from=start, crop=16, n_crops=4, n_steps=1)
    change({"widths": [8, 8, 16]})
    images = scenes(8)[..., None].astype(np.float32)
    with pytest.raises(ValueError, match=r"start: the model's files do not fit together"):
        hg.ImageDenoiser(widths=(8, 8, 16), n_blocks=(1, 1, 1), begin_from=str(start), n_steps=1).fit(images)


@pytest.mark.parametrize("wrong", ["digits", "nowhere"])
def test_what_cannot_be_begun_from_is_named(clean, wrong, tmp_path):
    with pytest.raises((ValueError, OSError), match=wrong):
        hg.train_on_images(clean, tmp_path / "out", noise=0.1, begin_from=wrong, n_steps=1)
    assert not (tmp_path / "out" / "model.json").exists()


def test_a_network_of_another_size_is_refused_with_the_remedy(start):
    images = scenes(8)[..., None].astype(np.float32)
    with pytest.raises(ValueError, match=r"another size; set widths=\(8, 8, 8\), n_blocks=\(1, 1, 1\)"):
        hg.ImageDenoiser(begin_from=str(start), n_steps=1).fit(images)


def test_pairs_of_images_are_learnt_from(clean, tmp_path, hourglass):
    random = np.random.default_rng(5)
    noisy = save(tmp_path / "noisy", scenes(8) + random.normal(0, 0.1, (8, 48, 48)))
    words = ("--targets", clean, "--from", "scratch", "--crop", 24, "--n-crops", 64, "--steps", 200, "--out", "model")
    settings = ("--set", "widths=(8, 8, 8)", "--set", "n_blocks=(1, 1, 1)", "--set", "learning_rate=0.005")
    code, _, err = hourglass("train", noisy, *words, *settings)
    assert code == 0, err
    assert "held-out images (1): " in err
    model = hg.load_model(tmp_path / "model")
    assert not model.takes_noise_level
    test = scenes(4, 9)[..., None].astype(np.float32)
    given = hg.denoising.corrupt(test, 0.1, 1)
    assert hg.metrics.psnr(test, model.reconstruct(given)) > hg.metrics.psnr(test, given) + 5
    with pytest.raises(ValueError, match="learnt no levels"):
        model.reconstruct(given, noise_level=0.1)
    code, _, err = hourglass("denoise", noisy, "out", "--model", "model", "--noise-level", "0.1")
    assert (code, err.count("\n")) == (2, 1)
    assert "leave noise_level (--noise-level)" in err


def test_images_without_a_partner_or_of_another_size_are_named(clean, tmp_path, hourglass):
    noisy = save(tmp_path / "noisy", scenes(8))
    (noisy / "7.png").rename(noisy / "alone.png")
    Image.fromarray(np.zeros((20, 48), np.uint8)).save(noisy / "0.png")
    Image.open(noisy / "1.png").save(noisy / "1.tif")
    (noisy / "1.png").unlink()  # another suffix is no other image
    words = ("--crop", 16, "--n-crops", 8, "--steps", 1, "--set", "batch_size=2", "--out", "model")
    code, _, err = hourglass("train", noisy, "--targets", clean, *words, "-q")
    assert code == 1
    lines = err.splitlines()
    assert len(lines) == 3
    assert any("alone.png is left out" in line for line in lines)
    assert any("7.png is left out" in line for line in lines)
    assert any("0.png has 20 × 48 pixels, but its target" in line and "48 × 48" in line for line in lines)
    assert hg.load_model(tmp_path / "model").notes_["files"] == 6
    with pytest.raises(FileNotFoundError, match=r"alone\.png"):
        hg.train_on_images(noisy, tmp_path / "other", targets=clean)
    with pytest.raises(OptionError, match="differ in their suffixes alone"):
        find_targets([noisy / "2.png", noisy / "2.tif"], noisy, clean)
    with pytest.raises(OptionError, match="give both folders the same names"):
        find_targets([noisy / "alone.png"], noisy, clean)


def test_it_learns_from_noisy_images_alone(tmp_path):
    random = np.random.default_rng(5)
    noisy = save(tmp_path / "noisy", scenes(16) + random.normal(0, 0.1, (16, 48, 48)))
    parameters = {"widths": (8, 8, 8), "n_blocks": (1, 1, 1), "learning_rate": 0.005}
    model = hg.train_on_images(
        noisy,
        tmp_path / "model",
        self_supervised=True,
        begin_from="scratch",
        n_steps=200,
        crop=32,
        parameters=parameters,
    )
    assert model.method == "neighbor2neighbor"
    test = scenes(4, 9)[..., None].astype(np.float32)
    given = hg.denoising.corrupt(test, 0.1, 1)
    assert hg.metrics.psnr(test, model.reconstruct(given)) > hg.metrics.psnr(test, given) + 5


def test_neighbours_are_two_pixels_side_by_side():
    draw = NeighborToNeighbor(hg.training.LOSSES["mse"], torch.Generator().manual_seed(0)).neighbours
    places = torch.arange(4.0).view(1, 1, 2, 2).repeat(2, 3, 30, 41)[..., :81]  # each pixel holds its place in its cell
    places = torch.nn.functional.pad(places, (0, 0, 0, 1))
    first, second = draw(places)
    assert first.shape == second.shape == (2, 1, 30, 40)
    for which in (first, second):
        torch.testing.assert_close(halves(places, which), which.expand(2, 3, 30, 40).float(), rtol=0, atol=0)
    pairs = {(int(a), int(b)) for a, b in zip(first.flatten(), second.flatten(), strict=True)}
    assert pairs == {(0, 1), (0, 2), (1, 0), (1, 3), (2, 0), (2, 3), (3, 1), (3, 2)}


def test_the_loss_of_neighbours_is_the_papers():
    generator, images = torch.Generator().manual_seed(0), torch.rand(2, 1, 6, 8)
    objective = NeighborToNeighbor(hg.training.LOSSES["mse"], generator, strength=2.0)

    def network(x):
        return 0.5 * x + 0.1 * x.mean((2, 3), keepdim=True)

    found = [float(objective(network, objective.draw(images, images, None), progress)) for progress in (0.0, 0.5)]
    generator.manual_seed(0)
    expected = []
    for progress in (0.0, 0.5):
        first, second = objective.neighbours(images)
        g1, g2 = halves(images, first), halves(images, second)
        whole = network(images)
        residual = network(g1) - g2
        correction = residual - (halves(whole, first) - halves(whole, second))
        expected.append(float(residual.square().mean() + 2 * progress * correction.square().mean()))
    np.testing.assert_allclose(found, expected, rtol=1e-5)
