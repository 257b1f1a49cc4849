"""Denoisers that need no training: scikit-image's functions, image by image, of the shape and dtype that is given."""

import numpy as np
import pytest
from scipy.ndimage import median_filter
from skimage import restoration

from hourglass import metrics
from hourglass.denoising import (
    DENOISERS,
    Median,
    NonLocalMeans,
    TotalVariation,
    Wavelet,
    WithoutClippingBias,
    undo_clipping,
)


def scenes(channels, count=2, noise=0.1):
    y, x = np.mgrid[:40, :44]
    smooth = 0.5 + 0.3 * np.sin(x / 7) * np.cos(y / 9) + 0.15 * (x > 20)
    clean = np.repeat(np.repeat(smooth[None, ..., None], channels, 3), count, 0)
    return clean, clean + np.random.default_rng(0).normal(0, noise, clean.shape)


EXPECTED = {
    TotalVariation(0.2): lambda x: restoration.denoise_tv_chambolle(x, weight=0.2, channel_axis=-1),
    NonLocalMeans(0.1, 0.05): lambda x: restoration.denoise_nl_means(
        x, patch_size=5, patch_distance=6, h=0.1, sigma=0.05, fast_mode=True, channel_axis=-1
    ),
    Wavelet(0.1): lambda x: restoration.denoise_wavelet(
        x, sigma=0.1, convert2ycbcr=x.shape[2] == 3, rescale_sigma=True, channel_axis=-1
    ),
    Median(3): lambda x: np.stack([median_filter(x[..., c], 3) for c in range(x.shape[2])], axis=-1),
}


@pytest.mark.parametrize("denoiser", EXPECTED, ids=lambda denoiser: denoiser.name)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_each_is_what_it_cites_on_every_image(denoiser, channels, dtype):
    noisy = scenes(channels)[1].astype(dtype)
    before = noisy.copy()
    found = denoiser(noisy)
    assert (found.shape, found.dtype) == (noisy.shape, noisy.dtype)
    np.testing.assert_array_equal(noisy, before)
    for image, cleaned in zip(noisy, found, strict=True):
        np.testing.assert_array_equal(cleaned, EXPECTED[denoiser](image).reshape(image.shape).astype(dtype))


@pytest.mark.parametrize("method", DENOISERS)
@pytest.mark.parametrize("channels", [1, 3])
def test_some_candidate_removes_noise(method, channels):
    clean, noisy = scenes(channels)
    best = max(metrics.psnr(clean, candidate(noisy), data_range=1) for candidate in method.candidates(0.1))
    assert best > metrics.psnr(clean, noisy, data_range=1) + 1


def test_the_bias_of_clipping_is_undone_after_any():
    noisy = np.clip(scenes(1)[1], 0, 1)
    denoiser = WithoutClippingBias(Median(5), 0.3)
    np.testing.assert_allclose(denoiser(noisy), undo_clipping(Median(5)(noisy), 0.3))
    assert denoiser.name == "median"


def test_no_images_give_no_images():
    assert Median(3)(np.empty((0, 5, 5, 1))).shape == (0, 5, 5, 1)
