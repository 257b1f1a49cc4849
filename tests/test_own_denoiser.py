"""A denoiser made better with one's own images: from a trained one, from pairs, from noisy images alone."""

import json

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
    assert line.startswith("on the held-out image: ")
    assert line.endswith("dB were gained over the model it began from")
    assert float(line.split(";")[1].split()[0]) > 0
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
    assert "nothing was gained over the model it began from, which was kept" in said[0]
    began = hg.load_model(start, device="cpu").network_.state_dict()
    for name, weight in hg.load_model(tmp_path / "out", device="cpu").network_.state_dict().items():
        torch.testing.assert_close(weight, began[name], rtol=0, atol=0)
        torch.testing.assert_close(fitted.network_.state_dict()[name], began[name], rtol=0, atol=0)


def test_an_interrupted_training_from_a_model_is_resumed_bit_for_bit(clean, start, tmp_path, monkeypatch):
    options = {"crop": 24, "n_crops": 16, "noise": 0.1, "begin_from": str(start), "n_steps": 8}
    options |= {"parameters": {"batch_size": 4}, "checkpoint_every": "2steps"}
    hg.train_on_images(clean, tmp_path / "whole", **options)
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
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "cut")]
    assert weights[0] == weights[1]


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
    words = ("--targets", clean, "--from", "scratch", "--crop", 24, "--cuts", 64, "--steps", 200, "--out", "model")
    settings = ("--set", "widths=(8, 8, 8)", "--set", "n_blocks=(1, 1, 1)", "--set", "learning_rate=0.005")
    code, _, err = hourglass("train", noisy, *words, *settings)
    assert code == 0, err
    assert "on the held-out image: " in err
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
    words = ("--crop", 16, "--cuts", 8, "--steps", 1, "--set", "batch_size=2", "--out", "model")
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
    draw = NeighborToNeighbor(hg.training.LOSSES["mse"], torch.Generator().manual_seed(0)).draw
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

    found = [float(objective(network, images, images, None, progress)) for progress in (0.0, 0.5)]
    generator.manual_seed(0)
    expected = []
    for progress in (0.0, 0.5):
        first, second = objective.draw(images)
        g1, g2 = halves(images, first), halves(images, second)
        whole = network(images)
        residual = network(g1) - g2
        correction = residual - (halves(whole, first) - halves(whole, second))
        expected.append(float(residual.square().mean() + 2 * progress * correction.square().mean()))
    np.testing.assert_allclose(found, expected, rtol=1e-5)
