"""Comparison of a model with methods that need no network, on the images of a folder."""

import os
from collections.abc import Callable, Iterator, Sequence
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
from hourglass.imagefiles.image_scores import Scores, score
from hourglass.imagefiles.processing import FILE_ERRORS, Outcome
from hourglass.imagefiles.ranges import Ranges
from hourglass.imagefiles.restorer import ImageRestorer
from hourglass.imagefiles.value_ranges import ValueRange

# Noise for a denoiser that learnt all levels: the one for which papers report the most.
USUAL_NOISE = GaussianNoise(25 / 255)
# Number of images on which the strength of each method is chosen.
CHOOSING = 8


def _ignore(_: object) -> None:
    pass


def evaluate_images(
    models: Autoencoder | Sequence[Autoencoder],
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
    """Score a model, and methods that need no network, on a folder of clean images.

    A denoiser is compared with total variation, non-local means, wavelets and the median filter on the same noisy
    images (:func:`compare_denoisers`). A model that compresses is compared with PCA with a code of the same size
    (:func:`compare_codes`).

    Parameters
    ----------
    models : Autoencoder or sequence of Autoencoder
        A fitted model, or a denoiser of colour images and one of grey images.
    folder : path-like
        Folder of clean images, or one image file.
    noise : str, float or corruption, optional
        Noise that is added to the images, relative to the range of their numbers, as
        :func:`hourglass.denoising.parse_corruption` reads it. By default it is the noise of the model's training, or
        normal noise of level 25/255 for a denoiser that learnt all levels.
    known : path-like, optional
        Folder of images on which PCA is fitted. By default PCA is fitted on the images that are scored.
    ranges : Ranges, optional
        Rule by which the range of each file's numbers is found. By default it is ``Ranges()``: the rule "auto".
    resizing : bool, default=False
        Whether images of another size are resized to the size of the model's images; only for a model that compresses.
    hidden : bool, default=False
        Whether hidden files and folders are included; see :func:`hourglass.imagefiles.find_images`.
    random_state : int, default=0
        Seed of the noise, at least 0.
    on_found : callable, optional
        Function that is called with the :class:`Found` files before they are read.
    on_outcome : callable, optional
        Function that is called with the :class:`Outcome` of each file.

    Returns
    -------
    dict of str to dict of Path to dict
        Scores by method and image: ``psnr_db``, ``ssim``, ``mse``.

    Raises
    ------
    OptionError
        When ``noise`` is not valid, when it is missing for a model that learnt from noisy images of unknown level, or
        when ``resizing`` or ``known`` is given for a denoiser.
    FileNotFoundError
        When ``folder`` or ``known`` does not exist, or is a folder without image files.
    """
    models = tuple(models) if isinstance(models, Sequence) else (models,)
    estimator = models[0]
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
        models, found.paths, corruption, ranges=ranges, seed=random_state, unclip=unclip, on_outcome=on_outcome
    )


def _noise(estimator: Autoencoder, noise: str | float | Corruption | None) -> Any:
    """The corruption of the evaluation, or None for a model that compresses."""
    if noise is None:
        corruption = estimator.effective_corruption
        if estimator.noise is not None or estimator.corruption is not None:
            return corruption
        if estimator.takes_noise_level:
            return USUAL_NOISE
        if corruption is not None or estimator.self_supervised:
            raise OptionError("the model learnt from noisy images of unknown level; name a level with noise (--noise)")
        return None
    if callable(noise):
        return noise
    try:
        return parse_corruption(str(noise))
    except ValueError as error:
        raise OptionError(str(error)) from error


def compare_denoisers(
    models: Autoencoder | Sequence[Autoencoder],
    paths: Sequence[Path],
    corruption: Corruption,
    *,
    ranges: Ranges | None = None,
    seed: int = 0,
    unclip: float | None = None,
    on_outcome: Callable[[Outcome], None] = lambda outcome: None,
) -> dict[str, dict[Path, Scores]]:
    """Corrupt clean images, and score the model and other methods on the noisy images.

    Noise and scores are relative to the range of each file's numbers. Noisy images are clipped only if no number can
    lie outside this range, as with bytes.

    Of several strengths, total variation, non-local means and the median filter use the one with the best mean PSNR on
    the first eight images; they know the clean images in this respect, the model does not. The wavelet method is
    scikit-image's BayesShrink, which is given the noise level.

    Parameters
    ----------
    models : Autoencoder or sequence of Autoencoder
        A fitted denoiser, or one of colour images and one of grey images.
    paths : sequence of Path
        Paths of files of clean images.
    corruption : Corruption
        The noise, a corruption of :mod:`hourglass.denoising`.
    ranges : Ranges, optional
        Rule by which the range of each file's numbers is found. By default it is ``Ranges()``: the rule "auto".
    seed : int, default=0
        Seed of the noise, at least 0; the noise of each image differs.
    unclip : float, optional
        Noise level for which the bias of clipped noise is removed after each of the other methods, as the model does.
        By default it is not removed.
    on_outcome : callable, optional
        Function that is called with the :class:`Outcome` of each file. By default nothing is called.

    Returns
    -------
    dict of str to dict of Path to dict
        Scores by method (``noisy``, ``model``, …) and image: ``psnr_db``, ``ssim``, ``mse`` and every other metric of
        :func:`hourglass.metrics.metrics_of_files`. When a file has several images, their numbers follow its name.
    """
    ranges = ranges or Ranges()
    chosen_on: dict[Path, _Trial] = {}
    scores: dict[str, dict[Path, Scores]] = {}
    restorer = ImageRestorer(models)
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
    """A clean image and the same image with noise."""

    image: ReadImage
    noisy: Pixels

    def score(self, output: Pixels) -> Scores:
        """Scores of a restoration of the noisy image."""
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
    """Score reconstructions by a model, and by PCA with a code of the same size.

    PCA is left out if it would be fitted on no more images than a code has numbers, since it would reconstruct each of
    these images exactly.

    Parameters
    ----------
    estimator : DenseAutoencoder or ConvAutoencoder
        A fitted model.
    paths : sequence of Path
        Paths of files of images.
    ranges : Ranges, optional
        Rule by which the range of each file's numbers is found. By default it is ``Ranges()``: the rule "auto".
    resizing : bool, default=False
        Whether images of another size are resized to the size of the model's images. Otherwise they are errors.
    known : sequence of Path, default=()
        Paths of the images on which PCA is fitted. By default PCA is fitted on the images that are scored, which is an
        advantage over the model.
    on_outcome : callable, optional
        Function that is called with the :class:`Outcome` of each file. By default nothing is called.

    Returns
    -------
    dict of str to dict of Path to dict
        Scores by method (``model``, ``PCA (64)``, …) and image; empty if no file could be read.
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
    """Each method with the strength whose mean PSNR on these images is best."""

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
