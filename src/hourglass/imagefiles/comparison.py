"""How well a model restores the pictures of a folder, beside methods that need no network."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hourglass.denoising.clipping import SMALLEST_FOR_LEVEL, estimate_noise_level
from hourglass.denoising.corruption import Corruption, GaussianNoise, unclipped
from hourglass.denoising.denoisers import DENOISERS, Denoiser, WithoutClippingBias
from hourglass.denoising.stacks import corrupt
from hourglass.estimators import Autoencoder
from hourglass.imagefiles.crops import ReadImage, read_images, read_sized
from hourglass.imagefiles.folders import FILE_ERRORS, Outcome
from hourglass.imagefiles.image import Pixels
from hourglass.imagefiles.ranges import Ranges, ValueRange
from hourglass.imagefiles.restorer import PictureRestorer
from hourglass.metrics import metrics_of_files

Scores = dict[str, float]
# Images on which each method chooses its strength.
CHOOSING = 8


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
    restorer = PictureRestorer(estimator)
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
    """Score reconstructions from codes beside PCA with as many numbers, where there are enough pictures to fit it on.

    Parameters
    ----------
    known : sequence of Path, optional
        Pictures that PCA is fitted on; by default those that are scored, which is to its advantage. PCA is left out
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
    """Mean of each measure over the pictures, by method; pictures without it are left out."""
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
