"""Comparison of a model with methods that need no network, on the images of a folder."""

import itertools
import os
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hourglass.denoising.corruption import Corruption, GaussianNoise
from hourglass.denoising.notation import parse_corruption
from hourglass.errors import OptionError
from hourglass.estimators import Autoencoder
from hourglass.imagefiles.crops import ReadImage, read_sized
from hourglass.imagefiles.folders import Found, find_images
from hourglass.imagefiles.image_scores import Scores, score
from hourglass.imagefiles.processing import FILE_ERRORS, Outcome, in_chunks
from hourglass.imagefiles.ranges import Ranges
from hourglass.imagefiles.remote import fetched
from hourglass.imagefiles.restorer import ImageRestorer
from hourglass.imagefiles.shards import WHOLE, Shard
from hourglass.imagefiles.trials import CHOOSING, Setting, score_files
from hourglass.runtime.workers import HERE, Workers, in_order, on_workers

# How files are read: size of the images, ranges, whether others are resized, and folder of relative paths.
_Reading = tuple[tuple[int, int, int], Ranges, bool, Path | None]

# Noise for a denoiser that learnt all levels: the one for which papers report the most.
USUAL_NOISE = GaussianNoise(25 / 255)


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
    shard: Shard = WHOLE,
    workers: Workers = HERE,
    on_found: Callable[[Found], None] = _ignore,
    on_outcome: Callable[[Outcome], None] = _ignore,
    say: Callable[[str], None] = _ignore,
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
    shard : Shard, optional
        Part of the files that is scored; by default all. The scores of a denoiser and of the methods beside it do not
        depend on it. PCA is fitted on the images of the shard if ``known`` is not given.
    workers : Workers, optional
        Where the files are read and, for a denoiser, scored; by default in this process. The reconstructions of a model
        that compresses, and PCA, are always computed in this process.
    on_found : callable, optional
        Function that is called with the :class:`Found` files before they are read.
    on_outcome : callable, optional
        Function that is called with the :class:`Outcome` of each file, when all methods have been scored on it.
    say : callable, optional
        Function that is called with a line of text on what is done before the first file is scored.

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
    WorkerLostError, ConnectionError, ImportError
        As :func:`hourglass.runtime.workers.on_workers` raises them.
    """
    models = tuple(models) if isinstance(models, Sequence) else (models,)
    estimator = models[0]
    corruption = _noise(estimator, noise)
    if corruption is not None and (resizing or known is not None):
        raise OptionError("resize and known are for models that compress; leave them out, or noise")
    found = find_images(folder, hidden=hidden)
    mine = shard.of(found.paths)
    on_found(Found(list(mine), found.left_out))
    if corruption is None:
        fitted = find_images(known, hidden=hidden).paths if known is not None else ()
        return compare_codes(
            estimator, mine, ranges=ranges, resizing=resizing, known=fitted, workers=workers, on_outcome=on_outcome
        )
    say(f"the strengths of the other methods are chosen on {min(CHOOSING, len(found))} images")
    unclip = estimator.undo_clipping if isinstance(estimator.undo_clipping, float) else None
    return compare_denoisers(
        models,
        found.paths,
        corruption,
        ranges=ranges,
        seed=random_state,
        unclip=unclip,
        shard=shard,
        workers=workers,
        on_outcome=on_outcome,
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
    shard: Shard = WHOLE,
    workers: Workers = HERE,
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
    shard : Shard, optional
        Part of the files that is scored; by default all. The scores of a file do not depend on it.
    workers : Workers, optional
        Where the files are processed; by default in this process.
    on_outcome : callable, optional
        Function that is called with the :class:`Outcome` of each file. By default nothing is called.

    Returns
    -------
    dict of str to dict of Path to dict
        Scores by method (``noisy``, ``model``, …) and image: ``psnr_db``, ``ssim``, ``mse`` and every other metric of
        :func:`hourglass.metrics.metrics_of_files`. When a file has several images, their numbers follow its name.
    """
    setting = Setting(ImageRestorer(models), ranges or Ranges(), corruption, seed)
    numbered = shard.of(list(enumerate(paths)))
    scores: dict[str, dict[Path, Scores]] = {}
    how = replace(setting, others=setting.chosen(paths, unclip), folder=workers.folder)
    with closing(in_order(on_workers(score_files, in_chunks(numbered, workers), workers, how))) as chunks:
        for outcome, of_file in itertools.chain.from_iterable(chunks):
            for title, rows in of_file.items():
                scores.setdefault(title, {}).update(rows)
            on_outcome(outcome)
    return scores


def compare_codes(
    estimator: Autoencoder,
    paths: Sequence[Path],
    *,
    ranges: Ranges | None = None,
    resizing: bool = False,
    known: Sequence[Path] = (),
    workers: Workers = HERE,
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
    workers : Workers, optional
        Where the files are read; by default in this process. Reconstructions, PCA and scores are always computed in
        this process.
    on_outcome : callable, optional
        Function that is called with the :class:`Outcome` of each file. By default nothing is called.

    Returns
    -------
    dict of str to dict of Path to dict
        Scores by method (``model``, ``PCA (64)``, …) and image; empty if no file could be read.
    """
    from sklearn.decomposition import PCA

    ranges = ranges or Ranges()
    how = (estimator.image_shape_, ranges, resizing, workers.folder)
    there = _read_all(how, paths, workers, on_outcome)
    if not there:
        return {}
    fitted = _stacked(_read_all(how, known, workers, on_outcome) if known else there)
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


def _read_all(
    how: _Reading,
    paths: Sequence[Path],
    workers: Workers,
    on_outcome: Callable[[Outcome], None],
) -> list[ReadImage]:
    found = []
    with closing(in_order(on_workers(_read_chunk, in_chunks(paths, workers), workers, how))) as chunks:
        for outcome, image in itertools.chain.from_iterable(chunks):
            if image is not None:
                found.append(image)
            on_outcome(outcome)
    return found


def _read_chunk(how: _Reading, paths: Sequence[Path]) -> list[tuple[Outcome, ReadImage | None]]:
    image_shape, ranges, resizing, folder = how
    found: list[tuple[Outcome, ReadImage | None]] = []
    for path in paths:
        try:
            with fetched(path, folder) as local:
                image = replace(read_sized(local, image_shape, ranges, resizing=resizing), name=path)
        except FILE_ERRORS as error:
            found.append((Outcome(path, error=error), None))
        else:
            found.append((Outcome(path, ranges=(image.value_range,)), image))
    return found


def _stacked(images: Sequence[ReadImage]) -> NDArray[np.float32]:
    return np.array([image.pixels for image in images], dtype=np.float32)
