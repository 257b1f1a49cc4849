"""What the denoisers of photographs are trained on: noise that is what it says, crops that are of the images."""

import io
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))

from photos import noise
from photos.crops import Crops
from photos.drawn import drawn_images


@pytest.fixture(scope="module")
def drawn():
    return drawn_images(16, seed=0)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", [noise.normal, noise.photons])
def test_the_level_is_the_standard_deviation(kind, channels):
    torch.manual_seed(0)
    clean = torch.full((20, channels, 96, 96), 0.5)
    noisy, level = kind(clean)
    assert noisy.shape == clean.shape
    found = (noisy - clean).flatten(1).std(1)
    # Strong noise of photons reaches white, where it is cut.
    told = level < (1 if kind is noise.normal else 0.1)
    assert told.sum() >= 5
    torch.testing.assert_close(found[told], level[told], rtol=0.1, atol=2e-3)


def test_a_batch_has_its_share_of_each_kind_and_levels_are_told_to_half():
    torch.manual_seed(0)
    clean = torch.rand(200, 1, 32, 32)
    noisy, told = noise.add_noise(clean)
    assert noisy.shape == clean.shape
    assert torch.isfinite(noisy).all()
    assert 60 < int((told >= 0).sum()) < 140
    first = round(noise.SHARES["normal"] * 200)
    assert (noisy[:first] < 0).any()
    assert 0 <= noisy[first:].min() <= noisy[first:].max() <= 1
    in_bytes = noisy[first:] * 255
    torch.testing.assert_close(in_bytes, in_bytes.round(), rtol=0, atol=1e-3)


def test_a_camera_interpolates_noise_of_the_mosaic():
    kernels = noise._bilinear(torch.device("cpu"))
    mosaic = noise._mosaic(16, 16, torch.device("cpu"))
    assert mosaic.sum(1).unique().tolist() == [1]
    # What is constant stays so: the neighbours' weights add up to 1 at every pixel but those of the border.
    constant = torch.nn.functional.conv2d(mosaic, kernels, padding=1, groups=3)
    assert torch.equal(constant[..., 1:-1, 1:-1], torch.ones(1, 3, 14, 14))


@pytest.mark.parametrize("quality", [40, 75, 95])
def test_jpeg_is_what_a_library_makes_of_it(quality, drawn):
    image = drawn[1][:256, :256]
    content = io.BytesIO()
    Image.fromarray(image).save(content, "JPEG", quality=quality, subsampling=2 if quality < 90 else 0)
    expected = torch.from_numpy(np.asarray(Image.open(content)).copy()).permute(2, 0, 1)[None] / 255
    clean = torch.from_numpy(image.copy()).permute(2, 0, 1)[None] / 255
    found = noise._jpeg(clean, torch.tensor([float(quality)]))
    # Libraries compute in integers, and enlarge chroma in another way.
    assert (found - expected).square().mean() < 0.3 * (expected - clean).square().mean()


def test_drawn_images_depend_on_the_seed_alone(drawn):
    again, other = drawn_images(16, seed=0), drawn_images(16, seed=1)
    assert all(image.shape == (512, 512, 3) and image.dtype == np.uint8 for image in drawn)
    assert all(np.array_equal(a, b) for a, b in zip(drawn, again, strict=True))
    assert not any(np.array_equal(a, b) for a, b in zip(drawn, other, strict=True))
    assert all(image.std() > 1 for image in drawn)


@pytest.mark.parametrize("channels", [1, 3])
def test_crops_are_parts_of_the_images_turned_and_mirrored(channels):
    # Numbers that tell where a pixel comes from, in an image that is at its smallest scale already.
    height, width = 40, 50
    rows, columns = np.mgrid[:height, :width]
    image = np.stack([rows, columns, np.zeros_like(rows)], 2).astype(np.uint8)
    grey = np.repeat((rows + 3 * columns).astype(np.uint8)[..., None], 3, 2)
    crops = Crops([(1.0, [grey if channels == 1 else image])], channels, 40, "cpu")
    torch.manual_seed(0)
    found = (crops.draw(64, 16) * 255).round()
    assert found.shape == (64, channels, 16, 16)
    if channels == 1:
        slopes = {(float(c[0, 1, 0] - c[0, 0, 0]), float(c[0, 0, 1] - c[0, 0, 0])) for c in found}
        assert slopes == {(a, b) for x in (1, -1) for y in (3, -3) for a, b in ((x, y), (y, x))}
        return
    for crop in found:
        y, x = crop[0].long(), crop[1].long()
        assert 0 <= y.min() <= y.max() < height
        assert 0 <= x.min() <= x.max() < width
        assert sorted(len(axis.unique()) for axis in (y, x)) == [16, 16]


def test_detail_is_drawn_more_often_than_what_is_flat():
    flat = np.full((128, 128, 3), 128, np.uint8)
    busy = np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    crops = Crops([(1.0, [np.concatenate([flat, busy], 1)])], 3, 128, "cpu")
    torch.manual_seed(0)
    spread = crops.draw(200, 32).flatten(1).std(1)
    assert (spread > 0.1).float().mean() > 0.8
