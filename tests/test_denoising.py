"""Clipping and its undoing, learning without clean images."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import hourglass as hg
from hourglass.denoising import (
    Blur,
    GaussianNoise,
    Masking,
    PoissonNoise,
    SaltAndPepper,
    TotalVariation,
    corrupt,
    estimate_noise_level,
    expected_clipped,
    undo_clipping,
)
from hourglass.denoising.blindspot import BlindSpot, average_of_neighbours


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@settings(deadline=None, max_examples=25)
@given(st.floats(0, 1), st.floats(0.02, 1.5))
def test_the_mean_of_clipped_noise_is_what_sampling_gives(x, level):
    draws = np.clip(x + level * np.random.default_rng(0).standard_normal(200_000), 0, 1)
    assert float(expected_clipped(x, level)) == pytest.approx(draws.mean(), abs=5 * draws.std() / 200_000**0.5 + 1e-9)


@settings(deadline=None, max_examples=40)
@given(st.floats(0, 1), st.floats(0.02, 1.5))
def test_clipping_is_undone(x, level):
    assert float(undo_clipping(expected_clipped(x, level), level)) == pytest.approx(x, abs=1e-5)


def test_black_becomes_0195_at_level_one_half():
    assert float(expected_clipped(0, 0.5)) == pytest.approx(0.1952, abs=1e-4)
    assert undo_clipping([0.0, 0.1, 0.9, 1.0], 0.5).tolist() == [0, 0, 1, 1]
    with pytest.raises(ValueError, match="level=0"):
        expected_clipped(0.5, 0)


@pytest.mark.parametrize("level", [0.1, 0.25, 0.5])
def test_the_level_is_estimated_though_clipped(level, sample):
    digits = sample.test.images[:60]
    noisy = corrupt(digits, GaussianNoise(level))
    assert estimate_noise_level(noisy) == pytest.approx(level, rel=0.12)
    # What is corrected: scikit-image's own reading is of the noise after clipping.
    assert estimate_noise_level(noisy, clipped=False) < 0.65 * level


@pytest.mark.parametrize("name", ["camera", "text", "moon"])
@pytest.mark.parametrize("level", [0.1, 0.3, 0.5])
def test_the_level_of_photographs_is_estimated_too(name, level):
    from skimage import data

    image = getattr(data, name)()[:160, :160, None] / 255
    noisy = np.clip(image + level * np.random.default_rng(1).standard_normal(image.shape), 0, 1)
    assert estimate_noise_level(noisy[None]) == pytest.approx(level, rel=0.12)


def test_the_level_wants_images():
    with pytest.raises(ValueError, match="images has shape"):
        estimate_noise_level(np.zeros((5, 5)))
    assert estimate_noise_level(np.zeros((2, 8, 8, 1))) == 0


def test_the_average_of_neighbours_leaves_out_the_pixel_itself():
    image = torch.zeros(1, 2, 5, 5)
    image[0, 0, 2, 2] = 1
    average = average_of_neighbours(image)
    assert average[0, 0, 2, 2] == 0
    assert average[0, 0, 2, 1].item() == pytest.approx(2 / 12)
    assert average[0, 0, 1, 1].item() == pytest.approx(1 / 12)
    assert not average[0, 1].any()
    torch.testing.assert_close(average_of_neighbours(torch.ones(1, 1, 4, 3)), torch.ones(1, 1, 4, 3))


def test_blind_spots_hide_a_share_and_at_least_one():
    images = torch.rand(50, 3, 32, 32, generator=seeded())
    spoilt, hidden = BlindSpot(seeded(), 0.1)(images)
    assert hidden.double().mean().item() == pytest.approx(0.1, abs=0.01)
    assert torch.equal(spoilt[~hidden], images[~hidden])
    assert torch.equal(hidden[:, 0], hidden[:, 2])
    _, tiny = BlindSpot(seeded(), 1e-9)(images)
    assert (tiny[:, 0].sum((1, 2)) == 1).all()


@pytest.mark.slow
def test_learning_without_clean_images_beats_total_variation(sample):
    """On the same noise, both with the clipping undone: the claim of docs/denoising.md, on less data."""

    def noisy(images, seed):
        return corrupt(images, GaussianNoise(0.5), seed)

    clean = sample.test.images[:200]
    ae = hg.ConvAutoencoder(
        channels=(16, 32, 32), self_supervised=True, loss="bce", undo_clipping=0.5, n_steps=300, random_state=0
    ).fit(noisy(sample.train.images, 1))
    given = noisy(clean, 2)

    # At the best strength on the very images that are scored.
    rival = max(hg.metrics.psnr(clean, undo_clipping(TotalVariation(w)(given), 0.5)) for w in (0.3, 0.4, 0.5, 0.6, 0.8))
    assert hg.metrics.psnr(clean, ae.reconstruct(given)) > rival
    assert hg.metrics.psnr(clean, ae.set_params(undo_clipping="estimate").reconstruct(given)) > rival - 0.5
    raw = ae.set_params(undo_clipping=None).reconstruct(given)
    np.testing.assert_allclose(raw[..., 0][clean[..., 0] == 0].mean(), 0.2, atol=0.06)


def test_what_the_document_of_denoising_claims_is_what_was_measured():
    import json

    found = json.loads((Path(__file__).parents[1] / "docs/results/denoising.json").read_text())
    for name in ("raw", "undone"):
        assert found["digits"][name]["self_supervised"] > found["digits"][name]["total_variation"]
    found = json.loads((Path(__file__).parents[1] / "docs/results/photographs.json").read_text())
    for name, least in (("grey", 30.5), ("colour", 32.0)):
        means = {method: np.mean(list(scores.values())) for method, scores in found["page"][name].items()}
        assert max(means, key=means.get).startswith("this package")
        assert means["this package, as the command"] >= least
    for name, least in (("set12", 30.05), ("kodak24", 31.75)):
        means = {method: np.mean(list(scores.values())) for method, scores in found["papers"][name]["25"].items()}
        assert means["this package, level told"] >= least
        assert means["this package, level told"] > means["BM3D"]
        assert abs(means["this package, level told"] - means["this package, level unknown"]) <= 0.1
    for row in found["others"].values():
        assert row["psnr"] is None or row["psnr"] >= (row["given"] or 40)


@pytest.mark.parametrize(
    "given",
    [{"noise": 0.1}, {"noise": (0.1, 0.2)}, {"corruption": PoissonNoise(9)}, {"corruption": SaltAndPepper(0.1)}],
    ids=repr,
)
def test_noise_that_clips_refuses_images_on_another_scale(given, few):
    [name] = given
    with pytest.raises(ValueError, match=rf"spans \[0, 255\], but {name}="):
        hg.ConvAutoencoder(**given).fit(few.train.images * 255)
    for harmless in (Masking(0.1), Blur(1.0), GaussianNoise(9.0, clip=False)):
        hg.ConvAutoencoder(corruption=harmless, n_steps=1).fit(few.train.images * 255)


@pytest.mark.parametrize("noise", [np.float32(0.5), np.int64(1), [0.1, 0.6], np.array([0.1, 0.6])])
def test_numbers_of_numpy_are_strengths(noise, few, tmp_path):
    ae = hg.DenseAutoencoder(corruption=GaussianNoise(noise), n_steps=1).fit(few.train.images)
    hg.save(ae, tmp_path)
    assert hg.load_model(tmp_path).corruption == ae.corruption
    assert hg.DenseAutoencoder(noise=noise, n_steps=1).fit(few.train.images).n_steps_ == 1


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (1, 300)])
def test_images_too_small_to_read_a_level_from_are_taken_as_clean(shape, few):
    ae = hg.ConvAutoencoder(channels=(4,), undo_clipping="estimate", n_steps=2).fit(few.train.images)
    assert ae.reconstruct(np.zeros((2, *shape))).shape == (2, *shape)


def test_self_supervision_wants_no_targets_and_validates_on_hidden_pixels(few):
    with pytest.raises(ValueError, match="learns from X alone"):
        hg.DenseAutoencoder(self_supervised=True).fit(few.train.images, few.train.images)
    ae = hg.DenseAutoencoder(self_supervised=True, n_steps=3, validation_fraction=0.2, random_state=0)
    assert ae.fit(few.train.images).history_.series("validation_loss")[1].size > 0


def test_skip_and_residual_have_no_code(few):
    for name in ("skip", "residual"):
        ae = hg.ConvAutoencoder(channels=(4,), n_steps=2, random_state=0, **{name: True}).fit(few.train.images)
        for method, values in (("transform", few.test.images), ("inverse_transform", np.zeros((1, 4)))):
            with pytest.raises(
                ValueError, match=f"{method} needs a code that determines the image, but with {name}=True"
            ):
                getattr(ae, method)(values)
        assert ae.reconstruct(few.test.images).shape == few.test.images.shape
    with pytest.raises(ValueError, match="residual=True"):
        hg.ConvAutoencoder(residual=True, loss="bce").fit(few.train.images)


def test_the_denoiser_that_comes_along_works(sample):
    ae = hg.load_pretrained("digits")
    clean = sample.test.images[:200]
    for level, best in ((0.1, 28), (0.3, 23), (0.5, 19.5)):
        noisy = corrupt(clean, GaussianNoise(level))
        assert hg.metrics.psnr(clean, ae.reconstruct(noisy)) > best
    folder = Path(hg.__file__).parent / "pretrained" / "digits"
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 300_000
    with pytest.raises(ValueError, match="choose one of photo, photo-grey, digits"):
        hg.load_pretrained("cats")


def test_noise_is_short_for_gaussian_noise(few):
    short, long = (
        hg.DenseAutoencoder(**given, n_steps=5, random_state=0).fit(few.train.images)
        for given in ({"noise": 0.3}, {"corruption": GaussianNoise(0.3)})
    )
    assert short.effective_corruption == long.effective_corruption == GaussianNoise(0.3)
    np.testing.assert_array_equal(short.transform(few.test.images), long.transform(few.test.images))
    assert hg.DenseAutoencoder(noise=(0.1, 0.2)).effective_corruption == GaussianNoise((0.1, 0.2))
    assert hg.DenseAutoencoder().effective_corruption is None


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"noise": 0.5, "corruption": Blur(1.0)},
            r"noise=0\.5 with corruption=Blur\(sigma=1\.0\); .* leave one of them",
        ),
        ({"noise": Masking(0.1)}, r"noise=Masking\(share=0\.1\); expected a level .* is given as corruption"),
        ({"noise": lambda images, generator: images}, "noise=<function .* is given as corruption"),
        ({"corruption": 0.5}, r"corruption=0\.5; expected a corruption .* a level is given as noise"),
        ({"corruption": "blur:1"}, "corruption='blur:1'; expected a corruption"),
        ({"corruption": Masking(0.1), "self_supervised": True}, r"corruption=Masking.* with self_supervised=True"),
    ],
)
@pytest.mark.parametrize("kind", [hg.DenseAutoencoder, hg.ConvAutoencoder])
def test_a_corruption_has_one_place(kind, given, said, few):
    with pytest.raises(ValueError, match=said):
        kind(**given, n_steps=1).fit(few.train.images)


def test_an_experiments_noise_is_one_number(few):
    data = hg.Dataset("few", few.train, few.test[:20], validation_size=50)
    for changes in ({"noise": (0.1, 0.2)}, {"noise": None, "corruption": Blur(1.0)}):
        with pytest.raises(ValueError, match="an experiment's noise is one number"):
            hg.run("denoise", dataset=data, n_steps=1, **changes)


def test_learning_without_clean_images_refuses_to_add_to_the_noisy_image(few):
    with pytest.raises(ValueError, match="would stay; use self_supervised='neighbor2neighbor'"):
        hg.ConvAutoencoder(self_supervised="noise2self", residual=True).fit(few.train.images)
