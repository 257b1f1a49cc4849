"""Corruptions: what they do, how people write them, and on which axes each caller applies them."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

import hourglass as hg
from hourglass.denoising import Blur, GaussianNoise, Masking, PoissonNoise, SaltAndPepper, corrupt, parse_corruption
from hourglass.denoising.corruption import CORRUPTIONS
from hourglass.denoising.notation import corruption_from_json, corruption_to_json
from hourglass.estimators.given import resident
from hourglass.estimators.held_out import HeldOut
from hourglass.imagefiles.crops import ReadImage
from hourglass.imagefiles.value_ranges import ValueRange

ALL = [GaussianNoise(0.2), PoissonNoise(30), SaltAndPepper(0.1), Masking(0.3), Blur(1.2)]
RANGES = [
    GaussianNoise((0.1, 0.5)),
    PoissonNoise((5.0, 50.0)),
    SaltAndPepper((0.1, 0.3)),
    Masking((0.1, 1.0)),
    Blur((0.5, 2.0)),
]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("corruption", ALL + RANGES, ids=repr)
def test_corruptions_keep_shape_and_range_and_follow_their_generator(corruption):
    images = torch.rand(6, 3, 9, 11, generator=seeded())
    before = images.clone()
    first, again = corruption(images, seeded(1)), corruption(images, seeded(1))
    assert first.shape == images.shape
    assert first.dtype == images.dtype
    assert torch.equal(first, again)
    assert torch.equal(images, before)
    assert not torch.equal(first, images)
    assert first.min() >= 0
    assert first.max() <= 1
    assert corruption_from_json(corruption_to_json(corruption)) == corruption


def test_corruptions_do_what_their_names_say():
    grey = torch.full((20, 1, 50, 50), 0.5)
    assert GaussianNoise(0.05, clip=False)(grey, seeded()).std().item() == pytest.approx(0.05, rel=0.1)
    assert GaussianNoise(2.0, clip=False)(grey, seeded()).max() > 1
    assert PoissonNoise(100)(grey, seeded()).std().item() == pytest.approx((0.5 / 100) ** 0.5, rel=0.1)
    salted = SaltAndPepper(0.2)(grey, seeded())
    assert (salted == 0).double().mean().item() == pytest.approx(0.1, abs=0.02)
    assert (salted == 1).double().mean().item() == pytest.approx(0.1, abs=0.02)
    assert (Masking(0.3)(grey, seeded()) == 0).double().mean().item() == pytest.approx(0.3, abs=0.02)
    levels = GaussianNoise((0.01, 0.1), clip=False)(grey, seeded()).std(dim=(1, 2, 3))
    assert 0.01 < levels.min() < 0.03
    assert 0.08 < levels.max() < 0.12


def by_corrupt(images, corruption, few, monkeypatch):
    return corrupt(images, corruption)


def by_a_stack_without_channels(images, corruption, few, monkeypatch):
    """Grey images without an axis of channels, one channel at a time."""
    return np.stack([corrupt(images[..., channel], corruption) for channel in range(images.shape[-1])], axis=-1)


def by_comparing_images(images, corruption, few, monkeypatch):
    """What `hourglass evaluate` gives to every method, one image after another."""
    from hourglass.imagefiles import comparison, trials

    seen, bytes_ = [], ValueRange(0, 255, "8 bits", bounded=True)

    def read(path, ranges):
        pixels = images[int(path.name)]
        return [ReadImage(path, pixels, bytes_, np.zeros(pixels.shape, dtype=bool))]

    monkeypatch.setattr(trials, "read_images", read)
    monkeypatch.setattr(trials, "score", lambda clean, output: {"psnr_db": 0.0})

    def keep(noisy):
        seen.append(noisy)
        return np.zeros_like(noisy)

    monkeypatch.setattr(comparison, "ImageRestorer", lambda estimator: SimpleNamespace(change=keep))
    monkeypatch.setattr(trials, "_choose", lambda trials, level, unclip: [])
    comparison.compare_denoisers(None, [Path(str(i)) for i in range(len(images))], corruption)
    return np.stack(seen)


def by_training(images, corruption, few, monkeypatch):
    """What an estimator's network is trained on."""
    seen = []

    def corrupted(batch, generator):
        found = corruption(batch, generator)
        seen.append(found.permute(0, 2, 3, 1).numpy())
        return found

    hg.ConvAutoencoder(channels=(4,), corruption=corrupted, n_steps=1, batch_size=len(images), random_state=0).fit(
        images
    )
    return seen[0]


def by_validating(images, corruption, few, monkeypatch):
    """What an estimator's loss on held-out images is measured on."""
    held_out = HeldOut(resident(images), corruption)
    seen = []
    held_out.measure(lambda inputs: seen.append(inputs) or inputs, lambda output, target: {})
    return torch.cat(seen).permute(0, 2, 3, 1).numpy()


CALLERS = [by_corrupt, by_a_stack_without_channels, by_comparing_images, by_training, by_validating]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("corruption", ALL, ids=repr)
def test_every_caller_corrupts_pixels_and_not_columns(corruption, caller, channels, few, monkeypatch):
    """Bright images, of which none is like another: pixels are hidden one by one, and in all channels alike."""
    rng = np.random.default_rng(0)
    images = np.repeat(rng.uniform(0.4, 0.6, (8, 20, 24, 1)), channels, axis=-1).astype(np.float32)
    found = caller(images, corruption, few, monkeypatch)
    assert found.shape == images.shape
    if isinstance(corruption, Blur):
        # In any order of the images, and with the first as smooth as the last.
        smooth = [gaussian_filter(image, (corruption.sigma, corruption.sigma, 0), mode="nearest") for image in images]
        distance = np.abs(found[:, None] - np.stack(smooth)[None]).max(axis=(2, 3, 4))
        assert (distance.min(axis=1) < 1e-3).all()
    elif isinstance(corruption, Masking | SaltAndPepper):
        hidden = (found == 0) | (found == 1)
        if caller is not by_a_stack_without_channels:
            assert np.array_equal(hidden, np.repeat(hidden[..., :1], channels, axis=-1))
        one = hidden[..., 0].astype(float)
        share = one.mean()
        assert share == pytest.approx(corruption.share, abs=0.03)
        # A column or a row that is hidden whole would vary by the share's whole standard deviation.
        for axis in (1, 2):
            assert one.mean(axis=axis).std() < 0.5 * np.sqrt(share * (1 - share))
    else:
        noise = found - images if caller is not by_training else found
        for axis in (1, 2):
            assert noise.mean(axis=axis).std() < 0.5 * noise.std()


@pytest.mark.parametrize("corruption", ALL + RANGES, ids=repr)
@pytest.mark.parametrize("shape", [(5, 28, 28, 1), (5, 28, 20, 3), (5, 9, 9, 4), (5, 28, 28), (28, 28), (784,)])
def test_corruptions_refuse_batches_that_are_not_channels_first(corruption, shape):
    with pytest.raises(ValueError, match=r"expects \(n, c, h, w\), .*and hourglass.denoising.corrupt takes arrays"):
        corruption(torch.zeros(shape))


@pytest.mark.parametrize(
    "shape", [(5, 1, 28, 28), (5, 3, 9, 4), (5, 4, 2, 2), (5, 10, 4, 4), (5, 1, 1, 784), (5, 3, 1, 1)]
)
def test_corruptions_take_every_batch_that_is_channels_first(shape):
    for corruption in ALL + RANGES:
        assert corruption(torch.full(shape, 0.5), seeded()).shape == shape


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ((784,), "reshape it"),
        ((5, 784), "reshape it"),
        ((2, 5, 28, 28, 1), "reshape it"),
        ((5, 1, 28, 28), r"transpose\(0, 2, 3, 1\)"),
        ((5, 3, 28, 28), r"transpose\(0, 2, 3, 1\)"),
        ((28, 28, 1), r"images\[None\]"),
        ((28, 28, 3), r"images\[None\]"),
        ((0, 28, 28), "give at least one image"),
    ],
)
def test_corrupt_refuses_what_is_no_stack_with_channels_last(shape, said):
    with pytest.raises(ValueError, match=f"images has shape .*{said}"):
        corrupt(np.zeros(shape, np.float32), Masking(0.1))


def test_corrupt_takes_numbers_bytes_and_callables_and_leaves_its_argument(few):
    images = few.test.images.copy()
    noisy = corrupt(images, 0.3, random_state=7)
    assert np.array_equal(images, few.test.images)
    assert noisy.dtype == np.float32
    # The numbers of the corruption itself, given one channel.
    expected = GaussianNoise(0.3)(torch.from_numpy(images).permute(0, 3, 1, 2), seeded(7)).permute(0, 2, 3, 1)
    assert np.array_equal(noisy, expected)
    assert np.array_equal(noisy[..., 0], corrupt(images[..., 0], GaussianNoise(0.3), 7))
    ranged = corrupt(images, (0.1, 0.5), 7)
    assert np.array_equal(ranged, corrupt(images, GaussianNoise((0.1, 0.5)), 7))
    written = (images * 255).round().astype(np.uint8)
    assert np.array_equal(corrupt(written, 0.3, 7), corrupt(written / np.float32(255), 0.3, 7))
    assert np.array_equal(corrupt(images, lambda batch, generator: batch.zero_()), np.zeros_like(images))
    assert np.array_equal(images, few.test.images)
    assert corrupt(images * 255, Masking(0.1)).max() > 200
    with pytest.raises(ValueError, match=r"images spans \[0, 255\], but GaussianNoise.* needs \[0, 1\]"):
        corrupt(images * 255, 0.3)
    with pytest.raises(ValueError, match="images contains NaN"):
        corrupt(np.full((2, 8, 8), np.nan), 0.3)


def test_blur_is_scipys():
    image = torch.rand(2, 2, 20, 17, generator=seeded(), dtype=torch.float64)
    expected = gaussian_filter(image.numpy(), (0, 0, 1.3, 1.3), mode="nearest", truncate=4.0)
    np.testing.assert_allclose(Blur(1.3)(image), expected, atol=1e-4)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.5", GaussianNoise(0.5)),
        ("0.1-0.6", GaussianNoise((0.1, 0.6))),
        ("gaussian:0.2", GaussianNoise(0.2)),
        ("salt-and-pepper:0.2", SaltAndPepper(0.2)),
        ("poisson:5-50", PoissonNoise((5.0, 50.0))),
        ("blur:1", Blur(1.0)),
        ("masking:0.25", Masking(0.25)),
        *(
            (f"{kind}:{text}", cls(strength))
            for kind, cls in CORRUPTIONS.items()
            for text, strength in [
                ("1e-3", 0.001),
                ("1E-3", 0.001),
                ("1e-3-2e-3", (0.001, 0.002)),
                ("1e-3-.5", (0.001, 0.5)),
                ("5e-1-1", (0.5, 1.0)),
                ("5e-1-1e0", (0.5, 1.0)),
                ("1e-1-1e+0", (0.1, 1.0)),
                (".5", 0.5),
                ("1.", 1.0),
                (" 0.1 - 0.6 ", (0.1, 0.6)),
            ]
        ),
        ("1e-3", GaussianNoise(0.001)),
        ("1e-3-2e-3", GaussianNoise((0.001, 0.002))),
    ],
)
def test_corruptions_are_read_from_text(text, expected):
    assert parse_corruption(text) == expected


BAD = ["", "fog:1", "0", "-1", "0.5-0.1", "a", "blur:", "masking:2", "1-2-3", "nan", "inf", "1e999", "0-1"]
BAD += ["1e", "e-3", "1e-3-", "-1e-3", "1--2", "1_0", "0x1", "²", "0.1–0.3", "0.1,0.3", "1e-3-2e-3-1", "poisson:nan"]


@pytest.mark.parametrize("text", BAD)
def test_bad_corruptions_are_refused_by_name(text):
    with pytest.raises(ValueError, match=r"unknown|neither a number above 0 nor a range|expected") as raised:
        parse_corruption(text)
    assert f"noise {text!r}" in str(raised.value)


@pytest.mark.parametrize("corruption", ALL + RANGES, ids=repr)
def test_every_corruption_trains_and_is_saved(corruption, few, tmp_path):
    ae = hg.ConvAutoencoder(channels=(4,), corruption=corruption, n_steps=3, random_state=0).fit(few.train.images)
    hg.save(ae, tmp_path)
    assert hg.load_model(tmp_path).corruption == corruption
