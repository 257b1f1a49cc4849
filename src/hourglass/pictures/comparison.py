"""How well a model restores the pictures of a folder, beside methods that need no network."""

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hourglass import metrics
from hourglass.data.clipping import SMALLEST_FOR_LEVEL, estimate_noise_level, undo_clipping
from hourglass.data.corruption import Corruption, GaussianNoise
from hourglass.data.stacks import corrupt
from hourglass.estimators import Autoencoder
from hourglass.pictures.crops import read_sized
from hourglass.pictures.files import Pixels, read_picture
from hourglass.pictures.folders import FILE_ERRORS, Outcome
from hourglass.pictures.restorer import PictureRestorer

Restore = Callable[[Pixels], Pixels]
Scores = dict[str, float]
# Strengths that each method may choose from, as multiples of the noise's level, and how many pictures it chooses on.
TOTAL_VARIATION = (0.3, 0.5, 0.7, 1.0, 1.3)
NL_MEANS = (0.4, 0.6, 0.8, 1.0, 1.2)
MEDIANS = (3, 5)
CHOOSING = 8


def compare_denoisers(
    estimator: Autoencoder,
    paths: Sequence[Path],
    corruption: Corruption,
    *,
    seed: int = 0,
    unclip: float | None = None,
    on_outcome: Callable[[Outcome], None] = lambda outcome: None,
) -> dict[str, dict[Path, Scores]]:
    """Corrupt clean pictures and score what each method makes of them.

    Total variation, non-local means and the median take, of five (two) strengths, the one whose mean PSNR on the
    first eight pictures is best: they are told more than the model. The wavelet method is scikit-image's BayesShrink,
    told the level.

    Parameters
    ----------
    estimator : DenseAutoencoder or ConvAutoencoder
    paths : sequence of Path
        Of clean pictures.
    corruption : callable
        One of :mod:`hourglass.data`.
    seed : int, default=0
        Of the noise; each picture has its own.
    unclip : float, optional
        Level of clipped noise that is undone after every other method too, as the estimator does.
    on_outcome : callable, optional
        Called for each picture.

    Returns
    -------
    dict of str to dict of Path to dict
        By method (``noisy``, ``model``, …) and picture: ``psnr_db``, ``ssim``, ``mse``.
    """
    pairs: dict[Path, tuple[Pixels, Pixels]] = {}
    scores: dict[str, dict[Path, Scores]] = {}
    restore = PictureRestorer(estimator)
    others: Mapping[str, Restore] = {}
    for number, path in enumerate(paths):
        try:
            clean = read_picture(path).pixels
            noisy = corrupt(clean[None], corruption, seed + number)[0]
        except FILE_ERRORS as error:
            on_outcome(Outcome(path, error=error))
            continue
        if len(pairs) < CHOOSING:
            pairs[path] = clean, noisy
        scores.setdefault("noisy", {})[path] = score(clean, noisy)
        scores.setdefault("model", {})[path] = score(clean, restore(noisy))
        on_outcome(Outcome(path))
    if not pairs:
        return scores
    level = _level(corruption, [noisy for _, noisy in pairs.values()])
    others = _choose(list(pairs.values()), level, unclip)
    for number, path in enumerate(paths):
        if path in scores["model"]:
            clean, noisy = pairs.get(path) or _again(path, corruption, seed + number)
            for name, method in others.items():
                scores.setdefault(name, {})[path] = score(clean, method(noisy))
    return scores


def compare_codes(
    estimator: Autoencoder,
    paths: Sequence[Path],
    *,
    resizing: bool = False,
    known: Sequence[Path] = (),
    on_outcome: Callable[[Outcome], None] = lambda outcome: None,
) -> dict[str, dict[Path, Scores]]:
    """Score reconstructions from codes beside PCA with as many numbers, where there are enough pictures to fit it on.

    Parameters
    ----------
    known : sequence of Path, optional
        Pictures that PCA is fitted on; by default those that are scored, which is to its advantage. PCA is left out
        where there are no more of them than a code has numbers: it would know each by heart.
    """
    from sklearn.decomposition import PCA

    there, images = _stack(estimator, paths, resizing, on_outcome)
    if not there:
        return {}
    fitted = _stack(estimator, known, resizing, on_outcome)[1] if known else images
    outputs = {"model": estimator.reconstruct(images)}
    components = min(estimator.network_.code_size, images[0].size)
    if len(fitted) > components:
        pca = PCA(components).fit(fitted.reshape(len(fitted), -1))
        flat = pca.inverse_transform(pca.transform(images.reshape(len(images), -1)))
        outputs[f"PCA ({components})"] = flat.reshape(images.shape)
    return {
        name: {path: score(image, out) for path, image, out in zip(there, images, output, strict=True)}
        for name, output in outputs.items()
    }


def score(clean: Pixels, output: Pixels) -> Scores:
    """PSNR (dB), SSIM and mean squared error of one picture, the output first cut to [0, 1]."""
    pair = clean[None], np.clip(output, 0, 1)[None]
    large = min(clean.shape[:2]) >= metrics.SMALLEST_FOR_SSIM
    return {
        "psnr_db": float(metrics.psnr(*pair, data_range=1)),
        "ssim": float(metrics.ssim(*pair, data_range=1)) if large else float("nan"),
        "mse": float(metrics.mse(*pair)),
    }


def mean_scores(scores: Mapping[str, Mapping[Path, Scores]]) -> dict[str, Scores]:
    """Mean of each measure over the pictures, by method; pictures without it are left out."""
    return {
        method: {name: _mean(row[name] for row in rows.values()) for name in ("psnr_db", "ssim", "mse")}
        for method, rows in scores.items()
    }


def _mean(values: Iterable[float]) -> float:
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")


def _again(path: Path, corruption: Corruption, seed: int) -> tuple[Pixels, Pixels]:
    clean = read_picture(path).pixels
    return clean, corrupt(clean[None], corruption, seed)[0]


def _level(corruption: Corruption, noisy: Sequence[Pixels]) -> float:
    if isinstance(corruption, GaussianNoise):
        return float(np.mean(corruption.level))
    large = [estimate_noise_level(image[None]) for image in noisy if min(image.shape[:2]) >= SMALLEST_FOR_LEVEL]
    return max(float(np.mean(large)) if large else 0.1, 1e-3)


def _choose(pairs: Sequence[tuple[Pixels, Pixels]], level: float, unclip: float | None) -> dict[str, Restore]:
    """Each method at the strength that suits these pictures best."""

    def finished(restore: Restore) -> Restore:
        if unclip is None:
            return restore
        return lambda noisy: undo_clipping(restore(noisy), unclip).astype(np.float32)

    candidates: dict[str, list[Restore]] = {
        "total variation": [_total_variation(factor * level) for factor in TOTAL_VARIATION],
        "non-local means": [_nl_means(factor * level, level) for factor in NL_MEANS],
        "wavelet": [_wavelet(level)],
        "median": [_median(size) for size in MEDIANS],
    }
    chosen = {}
    for name, restores in candidates.items():
        whole = [finished(restore) for restore in restores]
        quality = [np.mean([score(clean, restore(noisy))["psnr_db"] for clean, noisy in pairs]) for restore in whole]
        chosen[name] = whole[int(np.argmax(quality))] if len(whole) > 1 else whole[0]
    return chosen


def _total_variation(weight: float) -> Restore:
    from skimage.restoration import denoise_tv_chambolle

    return lambda noisy: np.asarray(denoise_tv_chambolle(noisy, weight=weight, channel_axis=-1), dtype=np.float32)


def _nl_means(strength: float, level: float) -> Restore:
    from skimage.restoration import denoise_nl_means

    def restore(noisy: Pixels) -> Pixels:
        options = {"patch_size": 5, "patch_distance": 6, "fast_mode": True, "channel_axis": -1}
        # It drops the axis of a single channel.
        return np.asarray(denoise_nl_means(noisy, h=strength, sigma=level, **options), np.float32).reshape(noisy.shape)

    return restore


def _wavelet(level: float) -> Restore:
    from skimage.restoration import denoise_wavelet

    def restore(noisy: Pixels) -> Pixels:
        options = {"convert2ycbcr": noisy.shape[2] == 3, "rescale_sigma": True, "channel_axis": -1}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # that small pictures have few levels
            return np.asarray(denoise_wavelet(noisy, sigma=level, **options), dtype=np.float32)

    return restore


def _median(size: int) -> Restore:
    from scipy.ndimage import median_filter

    return lambda noisy: np.asarray(median_filter(noisy, size=(size, size, 1)), dtype=np.float32)


def _stack(
    estimator: Autoencoder, paths: Sequence[Path], resizing: bool, on_outcome: Callable[[Outcome], None]
) -> tuple[list[Path], NDArray[np.float32]]:
    there, images = [], []
    for path in paths:
        try:
            images.append(read_sized(path, estimator.image_shape_, resizing=resizing))
        except FILE_ERRORS as error:
            on_outcome(Outcome(path, error=error))
            continue
        there.append(path)
        on_outcome(Outcome(path))
    return there, np.array(images, dtype=np.float32)
