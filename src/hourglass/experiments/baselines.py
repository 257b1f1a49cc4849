"""Baselines of the autoencoders: methods without a network."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from hourglass import metrics
from hourglass.data import Dataset
from hourglass.denoising import Denoiser, NonLocalMeans, TotalVariation, corrupt
from hourglass.experiments.store_data import in_memory
from hourglass.metrics import metrics_of

Stack = NDArray[np.float32]
Scores = dict[str, float]

# Every method and seed gets the same noise on the test images; strengths are chosen with other noise.
TEST_NOISE_SEED, TRAINING_NOISE_SEED = 20_000, 20_001
IMAGES_TO_CHOOSE_ON = 200
TOTAL_VARIATION_WEIGHTS = (0.03, 0.06, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.6)
NL_MEANS_STRENGTHS = (0.03, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4)


def score_images(clean: Stack, output: Stack) -> Scores:
    """Compute every metric of images for reconstructed test images.

    Parameters
    ----------
    clean : ndarray of shape (n, h, w, c), float32
        The test images, in [0, 1].
    output : ndarray of shape (n, h, w, c), float32
        Their reconstructions; values outside [0, 1] are clipped.

    Returns
    -------
    dict of str to float
        Values by the names that results use, such as ``test_mse``.
    """
    output = np.clip(output, 0, 1)
    return {f"test_{name}": float(metric.function(clean, output)) for name, metric in metrics_of("images").items()}


def baselines(data: Dataset, components: int | None, noise: float | None) -> dict[str, Scores]:
    """Score PCA and, where the test images are noisy, the denoisers without a network.

    Parameters
    ----------
    data : Dataset
        Training images, on which PCA is fitted and strengths are chosen, and test images.
    components : int or None
        Number of PCA's components, from 1: as many as the code has numbers. None leaves PCA out, for a network without
        a code that could be compared with it.
    noise : float or None
        Standard deviation of the Gaussian noise on the test images; None means no noise, and then no denoisers.

    Returns
    -------
    dict of str to dict of str to float
        Scores by method. Those of a denoiser include its ``strength``, which is chosen on 200 noisy training images.
    """
    clean = data.test.images
    given = clean if noise is None else corrupt(clean, noise, TEST_NOISE_SEED)
    scores: dict[str, Scores] = {}
    if components is not None:
        scores["pca"] = score_images(clean, _pca(in_memory(data.train.images), given, components))
    if noise is not None:
        scores["noisy"] = score_images(clean, given)
        scores |= best_denoisers(data.train.images, clean, given, noise)
    return scores


def best_denoisers(train: Stack, clean: Stack, noisy: Stack, level: float) -> dict[str, Scores]:
    """Score total variation and non-local means on noisy images, each at its best strength.

    The strength is chosen on the first 200 training images, with noise of the same level.

    Parameters
    ----------
    train : ndarray of shape (size, h, w, c), float32
        Training images, in [0, 1].
    clean : ndarray of shape (n, h, w, c), float32
        Test images, in [0, 1].
    noisy : ndarray of shape (n, h, w, c), float32
        The test images with noise.
    level : float
        Standard deviation of the noise.

    Returns
    -------
    dict of str to dict of str to float
        Scores by method; ``strength`` is among them.
    """
    known = train[:IMAGES_TO_CHOOSE_ON]
    corrupted = corrupt(known, level, TRAINING_NOISE_SEED)
    scores = {}
    methods: tuple[tuple[str, Callable[[float], Denoiser], Sequence[float]], ...] = (
        ("total_variation", TotalVariation, TOTAL_VARIATION_WEIGHTS),
        ("nl_means", NonLocalMeans, NL_MEANS_STRENGTHS),
    )
    for name, method, strengths in methods:
        strength = max(strengths, key=lambda strength: _quality(method(strength), known, corrupted))
        scores[name] = score_images(clean, method(strength)(noisy)) | {"strength": strength}
    return scores


def _pca(train: Stack, given: Stack, components: int) -> Stack:
    from sklearn.decomposition import PCA

    flat = train.reshape(len(train), -1)
    pca = PCA(min(components, *flat.shape), svd_solver="covariance_eigh").fit(flat)
    rows = pca.inverse_transform(pca.transform(given.reshape(len(given), -1)))
    restored: Stack = rows.reshape(given.shape).astype(np.float32)
    return restored


def _quality(denoiser: Denoiser, clean: Stack, noisy: Stack) -> float:
    return float(metrics.psnr(clean, np.clip(denoiser(noisy), 0, 1)))
