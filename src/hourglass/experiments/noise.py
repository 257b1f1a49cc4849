"""Noise of the test images: one for every method and seed."""

from hourglass.data import Dataset
from hourglass.denoising import corrupt
from hourglass.estimators import Autoencoder
from hourglass.experiments.baselines import TEST_NOISE_SEED, Stack


def noise_level(estimator: Autoencoder) -> float | None:
    """Return the level of the Gaussian noise that an autoencoder learns to remove; the test images get the same.

    Parameters
    ----------
    estimator : Autoencoder
        Configured estimator.

    Returns
    -------
    float or None
        Standard deviation of the noise; None without noise.

    Raises
    ------
    ValueError
        When the training images are corrupted in another way than by Gaussian noise of one level.
    """
    if estimator.corruption is not None or isinstance(estimator.noise, tuple | list):
        raise ValueError(
            f"the training images are corrupted by {estimator.effective_corruption!r}, but an experiment's noise is "
            "one number, so that its test images can be made with the same; leave corruption out and give a number"
        )
    return estimator.noise


def test_inputs(data: Dataset, noise: float | None) -> Stack:
    """Return the test images as the networks get them.

    Parameters
    ----------
    data : Dataset
        The data set.
    noise : float or None
        Standard deviation of the Gaussian noise; None means no noise.

    Returns
    -------
    ndarray of shape (n, h, w, c), float32
        Test images, with the same noise for every method and seed.
    """
    return data.test.images if noise is None else corrupt(data.test.images, noise, TEST_NOISE_SEED)
