"""How well a model restores the images of a folder, beside methods that need no network."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hourglass.denoising.clipping import SMALLEST_FOR_LEVEL, estimate_noise_level
from hourglass.denoising.corruption import Corruption, GaussianNoise, unclipped
from hourglass.denoising.denoisers import DENOISERS, Denoiser, WithoutClippingBias
from hourglass.denoising.notation import parse_corruption
from hourglass.denoising.stacks import corrupt
from hourglass.errors import OptionError
from hourglass.estimators import Autoencoder
from hourglass.imagefiles.crops import ReadImage, read_images, read_sized
from hourglass.imagefiles.folders import Found, find_images
from hourglass.imagefiles.image import Pixels
from hourglass.imagefiles.processing import FILE_ERRORS, Outcome
from hourglass.imagefiles.ranges import Ranges
from hourglass.imagefiles.restorer import ImageRestorer
from hourglass.imagefiles.value_ranges import ValueRange
from hourglass.metrics import metrics_of_files

Scores = dict[str, float]
# Images on which each method chooses its strength.
CHOOSING = 8


def _ignore(_: object) -> None:
    pass


def evaluate_images(
    estimator: Autoencoder,
    folder: str | os.PathLike[str],
    *,
    noise: str | float | Corruption | None = None,
    known: str | os.PathLike[str] | None = None,
    ranges: Ranges | None = None,
    resizing: bool = False,
    hidden: bool = False,
    random_state: int = 0,
    on_found: Callable[[Found], None] = _ignore,
    on_outcome: Callable[[Outcome], None] = _ignore,
) -> dict[str, dict[Path, Scores]]:
    """Score a model on a folder of clean images, beside methods that need no network.

    A denoiser is compared with total variation, non-local means, wavelets and the median on the same noise
    (:func:`compare_denoisers`), a model that compresses with PCA with as many numbers (:func:`compare_codes`).

    Parameters
    ----------
    estimator : DenseAutoencoder or ConvAutoencoder
        Fitted.
    folder : path-like
        Folder of clean images, or one image file.
    noise : str, float or corruption, optional
        Noise to put on the images, relative to the range of their numbers, as
        :func:`hourglass.denoising.parse_corruption` reads it; by default that with which the model was trained.
    known : path-like, optional
        Folder of images on which PCA is fitted; by default those that are scored.
    ranges : Ranges, optional
        How the range of each file's numbers is found; by default as ``auto`` says.
    resizing : bool, default=False
        Whether images of another size are resized to that of a model that compresses.
    hidden : bool, default=False
        As in :func:`hourglass.imagefiles.find_images`.
    random_state : int, default=0
        Seed of the noise, at least 0.
    on_found : callable, optional
        Function that is called with the :class:`Found` files before they are read.
    on_outcome : callable, optional
        Function that is called with the :class:`Outcome` of each file.

    Returns
    -------
    dict of str to dict of Path to dict
        By method and image: ``psnr_db``, ``ssim``, ``mse``.

    Raises
    ------
    OptionError
        When ``noise`` is no noise, is missing for a model that does not know the level of what it learnt from, or is
        given together with what only models that compress take.
    FileNotFoundError
        When there is no image.
    """
    corruption = _noise(estimator, noise)
    if corruption is not None and (resizing or known is not None):
        raise OptionError("resize and known are for models that compress; leave them out, or noise")
    found = find_images(folder, hidden=hidden)
    on_found(found)
    if corruption is None:
        fitted = find_images(known, hidden=hidden).paths if known is not None else ()
        return compare_codes(
            estimator, found.paths, ranges=ranges, resizing=resizing, known=fitted, on_outcome=on_outcome
        )
    unclip = estimator.undo_clipping if isinstance(estimator.undo_clipping, float) else None
    return compare_denoisers(
        estimator, found.paths, corruption, ranges=ranges, seed=random_state, unclip=unclip, on_outcome=on_outcome
    )


def _noise(estimator: Autoencoder, noise: str | float | Corruption | None) -> Any:
    """The corruption to evaluate with, or None of a model that compresses."""
    if noise is None:
        if estimator.effective_corruption is None and estimator.self_supervised:
            raise OptionError("the model learnt from noisy images of unknown level; name a level with noise (--noise)")
        return estimator.effective_corruption
    if isinstance(noise, Corruption):
        return noise
    try:
        return parse_corruption(str(noise))
    except ValueError as error:
        raise OptionError(str(error)) from error


def compare_denoisers(
    estimator: Autoencoder,
    paths: Sequence[Path],
    corruption: Corruption,
    *,
    ranges: Ranges | None = None,
    seed: int = 0,
    unclip: float | None = None,
    on_outcome: Callable[[Outcome], None] = lambda outcome: None,
) -> dict[str, dict[Path, Scores]]:
    """Corrupt clean images and score what each method makes of them.

    Noise and scores are relative to the range of each file's numbers, and noise is clipped only to a range that the
    numbers cannot leave, as that of bytes.

    Total variation, non-local means and the median take, of five (two) strengths, the one whose mean PSNR on the
    first eight images is best: they are told more than the model. The wavelet method is scikit-image's BayesShrink,
    told the level.

    Parameters
    ----------
    estimator : DenseAutoencoder or ConvAutoencoder
    paths : sequence of Path
        Of files of clean images.
    corruption : callable
        One of :mod:`hourglass.denoising`.
    ranges : Ranges, optional
        How the range of each file's numbers is found; by default as ``auto`` says.
    seed : int, default=0
        Of the noise; each image has its own.
    unclip : float, optional
        Level of clipped noise that is undone after every other method too, as the estimator does.
    on_outcome : callable, optional
        Called for each file.

    Returns
    -------
    dict of str to dict of Path to dict
        By method (``noisy``, ``model``, …) and image: ``psnr_db``, ``ssim``, ``mse``, and every other metric of
        :func:`hourglass.metrics.metrics_of_files`. Of a file with several images each has its number behind the name.
    """
    ranges = ranges or Ranges()
    chosen_on: dict[Path, _Trial] = {}
    scores: dict[str, dict[Path, Scores]] = {}
    restorer = ImageRestorer(estimator)
    read: list[tuple[int, Path]] = []
    for number, path in enumerate(paths):
        of_file: dict[str, dict[Path, Scores]] = {"noisy": {}, "model": {}}
        kept: dict[Path, _Trial] = {}
        used: dict[ValueRange, None] = {}
        try:
            for name, trial in _trials(path, ranges, corruption, seed + number):
                if len(chosen_on) + len(kept) < CHOOSING:
                    kept[name] = trial
                used[trial.image.value_range] = None
                of_file["noisy"][name] = trial.score(trial.noisy)
                of_file["model"][name] = trial.score(trial.noisy + restorer.change(trial.noisy))
        except FILE_ERRORS as error:
            on_outcome(Outcome(path, error=error))
            continue
        for title, rows in of_file.items():
            scores.setdefault(title, {}).update(rows)
        chosen_on |= kept
        read.append((number, path))
        on_outcome(Outcome(path, ranges=tuple(used)))
    if not read:
        return scores
    level = _level(corruption, list(chosen_on.values()))
    others = _choose(list(chosen_on.values()), level, unclip)
    for number, path in read:
        for name, trial in _trials(path, ranges, corruption, seed + number):
            for method in others:
                scores.setdefault(method.name, {})[name] = trial.score(_apply(method, trial.noisy))
    return scores


@dataclass(frozen=True)
class _Trial:
    """A clean image and the same with noise."""

    image: ReadImage
    noisy: Pixels

    def score(self, output: Pixels) -> Scores:
        """Scores of what was made of the noisy image."""
        return score(self.image, output)


def _trials(path: Path, ranges: Ranges, corruption: Corruption, seed: int) -> Iterator[tuple[Path, _Trial]]:
    for i, image in enumerate(read_images(path, ranges)):
        noise = corruption if image.value_range.bounded else unclipped(corruption)
        stream = seed if i == 0 else np.random.SeedSequence((seed, i)).generate_state(1).item()
        yield image.name, _Trial(image, corrupt(image.pixels[None], noise, stream)[0])


def compare_codes(
    estimator: Autoencoder,
    paths: Sequence[Path],
    *,
    ranges: Ranges | None = None,
    resizing: bool = False,
    known: Sequence[Path] = (),
    on_outcome: Callable[[Outcome], None] = lambda outcome: None,
) -> dict[str, dict[Path, Scores]]:
    """Score reconstructions from codes beside PCA with as many numbers, where there are enough images to fit it on.

    Parameters
    ----------
    known : sequence of Path, optional
        Images that PCA is fitted on; by default those that are scored, which is to its advantage. PCA is left out
        where there are no more of them than a code has numbers: it would know each by heart.
    """
    from sklearn.decomposition import PCA

    ranges = ranges or Ranges()
    there = _read_all(estimator, paths, ranges, resizing, on_outcome)
    if not there:
        return {}
    fitted = _stacked(_read_all(estimator, known, ranges, resizing, on_outcome) if known else there)
    images = _stacked(there)
    outputs = {"model": estimator.reconstruct(images)}
    components = min(estimator.network_.code_size, images[0].size)
    if len(fitted) > components:
        pca = PCA(components).fit(fitted.reshape(len(fitted), -1))
        flat = pca.inverse_transform(pca.transform(images.reshape(len(images), -1)))
        outputs[f"PCA ({components})"] = flat.reshape(images.shape)
    return {
        name: {image.name: score(image, out) for image, out in zip(there, output, strict=True)}
        for name, output in outputs.items()
    }


def score(clean: ReadImage, output: Pixels) -> Scores:
    """Every metric of files of one image, on the scale where the range of its numbers is [0, 1].

    The output counts as the file would hold it. Numbers that were missing do not count; a metric whose windows would
    see them, as SSIM, is then NaN, as it is of an image that is smaller than its windows.
    """
    if clean.value_range.bounded:
        output = np.clip(output, 0, 1)
    known = ~clean.missing
    whole = bool(known.all())
    pair = (clean.pixels[None], output[None]) if whole else (clean.pixels[known][None], output[known][None])
    side = min(clean.pixels.shape[:2])
    return {
        name: float(metric.function(*pair)) if metric.smallest == 1 or (whole and side >= metric.smallest) else np.nan
        for name, metric in metrics_of_files().items()
    }


def mean_scores(scores: Mapping[str, Mapping[Path, Scores]]) -> dict[str, Scores]:
    """Mean of each measure over the images, by method; images without it are left out."""
    return {
        method: {name: _mean(row[name] for row in rows.values()) for name in metrics_of_files()}
        for method, rows in scores.items()
    }


def _mean(values: Iterable[float]) -> float:
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")


def _level(corruption: Corruption, trials: Sequence[_Trial]) -> float:
    if isinstance(corruption, GaussianNoise):
        return float(np.mean(corruption.level))
    large = [
        estimate_noise_level(trial.noisy[None], clipped=trial.image.value_range.bounded)
        for trial in trials
        if min(trial.noisy.shape[:2]) >= SMALLEST_FOR_LEVEL
    ]
    return max(float(np.mean(large)) if large else 0.1, 1e-3)


def _choose(trials: Sequence[_Trial], level: float, unclip: float | None) -> list[Denoiser]:
    """Each method at the strength that suits these images best."""

    def quality(denoiser: Denoiser) -> float:
        return float(np.mean([trial.score(_apply(denoiser, trial.noisy))["psnr_db"] for trial in trials]))

    chosen = []
    for method in DENOISERS:
        found: list[Denoiser] = list(method.candidates(level))
        if unclip is not None:
            found = [WithoutClippingBias(denoiser, unclip) for denoiser in found]
        chosen.append(max(found, key=quality) if len(found) > 1 else found[0])
    return chosen


def _apply(denoiser: Denoiser, image: Pixels) -> Pixels:
    return np.asarray(denoiser(image[None])[0], dtype=np.float32)


def _read_all(
    estimator: Autoencoder,
    paths: Sequence[Path],
    ranges: Ranges,
    resizing: bool,
    on_outcome: Callable[[Outcome], None],
) -> list[ReadImage]:
    found = []
    for path in paths:
        try:
            image = read_sized(path, estimator.image_shape_, ranges, resizing=resizing)
        except FILE_ERRORS as error:
            on_outcome(Outcome(path, error=error))
            continue
        found.append(image)
        on_outcome(Outcome(path, ranges=(image.value_range,)))
    return found


def _stacked(images: Sequence[ReadImage]) -> NDArray[np.float32]:
    return np.array([image.pixels for image in images], dtype=np.float32)
