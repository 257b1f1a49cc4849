"""The denoiser of images: told the level or not, from clean images or from pairs, saved, exported."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import hourglass as hg
from hourglass.denoising import GaussianNoise, PoissonNoise, corrupt
from hourglass.denoising.corruption import with_level
from hourglass.estimators import pieces
from hourglass.runtime.hardware import has_bfloat16

SMALL = {"widths": (8, 8, 8), "n_blocks": (1, 1, 1), "batch_size": 8, "learning_rate": 0.005, "random_state": 0}


def smooth(n, height=24, width=24, channels=1, seed=0):
    """Images of broad waves, on which a small network learns to denoise in some dozens of steps."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    waves = random.uniform(0, 0.3, (n, 1, 1, channels, 2)) * np.stack([y, x], -1)[None, :, :, None]
    return (0.5 + 0.4 * np.sin(waves.sum(-1) + random.uniform(0, 6, (n, 1, 1, channels)))).astype(np.float32)


@pytest.fixture(scope="module")
def fitted():
    return hg.ImageDenoiser(**SMALL, n_steps=150).fit(smooth(64))


def rms(difference):
    return float(np.sqrt(np.mean(np.square(difference))))


def test_it_learns_to_denoise_told_and_untold(fitted):
    clean = smooth(8, 40, 56, seed=1)
    noisy = corrupt(clean, GaussianNoise(0.15, clip=False), 2)
    for level in (None, 0.15, [0.15] * 8):
        assert rms(fitted.reconstruct(noisy, noise_level=level) - clean) < 0.5 * rms(noisy - clean)


def test_a_level_of_each_image_is_that_of_the_image_alone(fitted):
    images = smooth(3, 16, 32, seed=3)
    together = fitted.reconstruct(images, noise_level=[0.0, 0.1, 0.2])
    for image, level, expected in zip(images, (0.0, 0.1, 0.2), together, strict=True):
        np.testing.assert_allclose(fitted.reconstruct(image[None], noise_level=level)[0], expected, atol=1e-6)
    assert rms(together[2] - fitted.reconstruct(images[2:], noise_level=0.0)) > 1e-4


@pytest.mark.parametrize("level", [-0.1, np.nan, np.inf, "much", [0.1], [[0.1] * 3], 25])
def test_what_is_no_level_is_refused(fitted, level):
    with pytest.raises(ValueError, match="noise_level"):
        fitted.reconstruct(smooth(3), noise_level=level)


def test_a_level_of_bytes_is_recognised(fitted):
    with pytest.raises(ValueError, match=r"25/255 = 0.098"):
        fitted.reconstruct(smooth(3), noise_level=25)


def test_pairs_of_images_are_learnt_without_further_noise():
    clean = smooth(64)
    noisy = corrupt(clean, GaussianNoise(0.1, clip=False), 1)
    other = corrupt(clean, GaussianNoise(0.1, clip=False), 2)
    test = smooth(8, seed=5)
    given_noise = corrupt(test, GaussianNoise(0.1, clip=False), 3)
    for loss, targets in (("mae", clean), ("mse", other)):  # noisy with clean, and noisy with noisy
        model = hg.ImageDenoiser(**SMALL, n_steps=150, loss=loss).fit(noisy, targets)
        assert rms(model.reconstruct(given_noise) - test) < 0.5 * rms(given_noise - test)


def test_each_call_decides_by_its_own_targets_whether_noise_is_added():
    clean = smooth(32)
    noisy = corrupt(clean, GaussianNoise(0.1, clip=False), 1)
    model = hg.ImageDenoiser(**SMALL, n_steps=4).fit(noisy, clean)
    assert not model.takes_noise_level
    model.partial_fit(clean)
    assert min(model.history_.loss) > 0.005  # without noise the network that returns its input has no loss
    assert model.takes_noise_level
    model = hg.ImageDenoiser(**SMALL, n_steps=4, warm_start=True).fit(clean).partial_fit(noisy, clean)
    assert model.takes_noise_level  # the levels are not forgotten
    assert not hg.ImageDenoiser(**SMALL, n_steps=4).fit(clean).fit(noisy, clean).takes_noise_level


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"loss": "bce"}, "adds to its input"),
        ({"self_supervised": "noise2self"}, "would stay"),
        ({"widths": (8, 8)}, "three whole numbers"),
        ({"n_blocks": (1, 0, 1)}, "above 0"),
        ({"noise": 0.1, "corruption": GaussianNoise(0.1)}, "leave one of them out"),
    ],
)
def test_what_does_not_fit_together_is_refused(wrong, why):
    with pytest.raises(ValueError, match=why):
        hg.ImageDenoiser(**SMALL | wrong).fit(smooth(8))


def test_there_is_no_code(fitted):
    for call in (
        lambda: fitted.transform(smooth(1)),
        fitted.get_feature_names_out,
        lambda: fitted.code_size_for((8, 8, 1)),
    ):
        with pytest.raises(ValueError, match="code"):
            call()


def test_it_is_saved_and_read_again(fitted, tmp_path):
    hg.save(fitted, tmp_path)
    again = hg.load_model(tmp_path, device="cpu")
    images = smooth(2, 30, 21, seed=4)
    np.testing.assert_array_equal(again.reconstruct(images, 0.1), fitted.reconstruct(images, 0.1))
    assert again.describe()["noise_level"] == "told or unknown"
    again.set_params(warm_start=True, n_steps=2).fit(smooth(16))
    assert again.n_steps_ == fitted.n_steps_ + 2


def test_an_image_in_blocks_is_the_image_as_a_whole(fitted, monkeypatch):
    image = np.random.default_rng(0).random((1, 500, 420, 1), dtype=np.float32)
    whole = fitted.reconstruct(image, noise_level=0.1)
    blocks = []
    before = pieces.cut
    monkeypatch.setattr(pieces, "cut", lambda *a: blocks.append(before(*a)) or blocks[-1])
    monkeypatch.setattr(pieces, "BLOCK", 1)
    monkeypatch.setattr(pieces, "SMALL_BLOCK", 1)
    np.testing.assert_allclose(fitted.reconstruct(image, noise_level=0.1), whole, atol=1e-5)
    assert len(blocks[0][0]) * len(blocks[0][1]) > 1


@settings(max_examples=8, deadline=None)
@given(st.integers(1, 2), st.integers(1, 2), st.integers(1, 2), st.integers(0, 2**31 - 1))
def test_the_halo_and_the_radius_are_exact(fine, middle, coarse, seed):
    network = hg.nn.RestorationNet(1, (2, 2, 2), (fine, middle, coarse)).double().eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in network.parameters():
            weight.copy_(torch.rand(weight.shape, generator=generator))  # positive: no ReLU hides a path
    stride, halo = network.halo
    radius = network.receptive_radius
    middle_block = -(-radius // stride) * stride
    images = torch.zeros(1, 1, 2 * middle_block + stride, 8, dtype=torch.float64, requires_grad=True)
    touched = []
    for place in range(middle_block, middle_block + stride):
        [gradient] = torch.autograd.grad(network(images)[0, 0, place].sum(), images)
        rows = gradient.abs().amax((0, 1, 3)).nonzero().flatten()
        touched.append((int(rows.min()) - place, int(rows.max()) - place))
    assert max(max(-first, last) for first, last in touched) == radius
    assert max(-touched[0][0], touched[-1][1]) == halo


@pytest.mark.parametrize("noise", [GaussianNoise((0.05, 0.3), clip=False), PoissonNoise(20.0)])
def test_the_level_that_is_told_is_the_deviation_of_the_noise(noise):
    images = torch.full((6, 1, 100, 100), 0.5)
    noisy, level = with_level(noise, images, torch.Generator().manual_seed(0))
    assert level.shape == (6,)
    torch.testing.assert_close((noisy - images).flatten(1).std(1), level, rtol=0.05, atol=0)
    assert (images == 0.5).all()


def test_half_of_the_images_come_with_their_level():
    model = hg.ImageDenoiser(noise=(0.1, 0.2))
    noisy, mask, told = model._corrupt()(torch.full((4000, 1, 1, 1), 0.5), torch.Generator().manual_seed(0))
    assert mask is None
    assert noisy.shape == (4000, 1, 1, 1)
    known = told[told >= 0]
    assert 1800 < len(known) < 2200
    assert known.min() >= 0.1
    assert known.max() <= 0.2
    assert (told[told < 0] == -1).all()


@pytest.mark.parametrize("name", ["photo", "photo-grey"])
def test_the_models_in_the_package_denoise(name):
    model = hg.load_pretrained(name, device="cpu")
    channels = model.image_shape_[2]
    clean = smooth(1, 120, 160, channels, seed=7)
    noisy = corrupt(clean, GaussianNoise(25 / 255), 1)
    for level in (None, 25 / 255):
        assert rms(model.reconstruct(noisy, level) - clean) < 0.5 * rms(noisy - clean)
    assert all(weight.dtype == torch.float32 for weight in model.network_.parameters())
    folder = hg.models.Path(hg.models.__file__).parent / "pretrained"
    assert sum((folder / each / "model.safetensors").stat().st_size for each in ("photo", "photo-grey")) <= 5_000_000


@pytest.mark.skipif(not has_bfloat16(torch.device("cpu")), reason="the processor has no bfloat16")
def test_bfloat16_costs_next_to_nothing():
    model = hg.load_pretrained("photo", device="cpu")
    clean = smooth(1, 120, 160, 3, seed=7)
    noisy = corrupt(clean, GaussianNoise(25 / 255), 1)
    halves = [rms(model.reconstruct(noisy.astype(dtype)) - clean) for dtype in (np.float32, np.float64)]
    assert halves[0] < 1.05 * halves[1]


def test_strips_give_what_the_whole_image_gives(fitted):
    from hourglass.estimators.strips import cut_into_strips

    image = (smooth(1, 400, 60, seed=8)[0] + np.random.default_rng(0).normal(0, 0.1, (400, 60, 1))).astype(np.float32)
    noise = hg.denoising.NoiseLevel()
    whole, level = fitted.denoise_image(image, noise)
    restored = np.empty_like(image)
    assert len(cut_into_strips(400, 60, fitted.network_.halo)) == 1
    stride, radius = fitted.network_.halo
    strips = pieces.cut_axis(400, 8 * stride, -(-radius // stride) * stride)
    assert len(strips) > 3

    def write(rows, change):
        restored[rows] = image[rows] + change

    assert fitted.denoise_strips(image.__getitem__, strips, write, noise) == level
    np.testing.assert_allclose(restored, whole, atol=1e-5)


def test_a_model_that_learnt_no_levels_finds_them_all_the_same():
    clean = smooth(64)
    model = hg.ImageDenoiser(**SMALL, n_steps=150).fit(corrupt(clean, GaussianNoise(0.1, clip=False), 1), clean)
    assert not model.takes_noise_level
    noisy = corrupt(smooth(1, 64, 64, seed=3), GaussianNoise(0.1, clip=False), 3)[0]
    restored, level = model.denoise_image(noisy, hg.denoising.NoiseLevel())
    assert 0.07 < level < 0.12
    assert rms(restored - noisy) > 0.05
    stronger, _ = model.denoise_image(noisy, hg.denoising.NoiseLevel(strength=0.5))
    np.testing.assert_allclose(stronger - noisy, 0.5 * (restored - noisy), atol=1e-5)
    for wrong in (hg.denoising.NoiseLevel(0.1), hg.denoising.NoiseLevel(strength=1.2)):
        with pytest.raises(ValueError, match="learnt no levels"):
            model.denoise_image(noisy, wrong)
