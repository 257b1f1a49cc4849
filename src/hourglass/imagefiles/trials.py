"""Clean images with noise: scores of a denoiser, and of methods that need no network."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hourglass.denoising.clipping import SMALLEST_FOR_LEVEL, estimate_noise_level
from hourglass.denoising.corruption import Corruption, GaussianNoise, unclipped
from hourglass.denoising.denoisers import DENOISERS, Denoiser, WithoutClippingBias
from hourglass.denoising.stacks import corrupt
from hourglass.imagefiles.crops import ReadImage, read_images
from hourglass.imagefiles.image import Pixels
from hourglass.imagefiles.image_scores import Scores, score
from hourglass.imagefiles.processing import FILE_ERRORS, Outcome
from hourglass.imagefiles.ranges import Ranges
from hourglass.imagefiles.remote import fetched
from hourglass.imagefiles.restorer import ImageRestorer
from hourglass.imagefiles.value_ranges import ValueRange

# Number of images on which the strength of each method is chosen.
CHOOSING = 8

Numbered = tuple[int, Path]
ByMethod = dict[str, dict[Path, Scores]]


@dataclass(frozen=True)
class Trial:
    """A clean image and the same image with noise."""

    image: ReadImage
    noisy: Pixels

    def score(self, output: Pixels) -> Scores:
        """Scores of a restoration of the noisy image."""
        return score(self.image, output)


@dataclass(frozen=True)
class Setting:
    """What all files of a comparison have in common.

    Parameters
    ----------
    restorer : ImageRestorer
        The denoiser.
    ranges : Ranges
        Rule by which the range of each file's numbers is found.
    corruption : Corruption
        The noise.
    seed : int
        Seed of the noise of the first file; that of the next is larger by one.
    others : sequence of Denoiser, default=()
        Methods that need no network, which are scored beside the model.
    folder : Path, optional
        Folder of relative paths; by default the working folder.
    """

    restorer: ImageRestorer
    ranges: Ranges
    corruption: Corruption
    seed: int
    others: Sequence[Denoiser] = ()
    folder: Path | None = None

    def trials(self, numbered: Numbered) -> Iterator[tuple[Path, Trial]]:
        """Yield the images of a file with their noise and their names."""
        number, path = numbered
        seed = self.seed + number
        with fetched(path, self.folder) as local:
            for i, image in enumerate(read_images(local, self.ranges)):
                noise = self.corruption if image.value_range.bounded else unclipped(self.corruption)
                stream = seed if i == 0 else np.random.SeedSequence((seed, i)).generate_state(1).item()
                trial = Trial(image, corrupt(image.pixels[None], noise, stream)[0])
                yield path.with_name(image.name.name), trial

    def chosen(self, paths: Sequence[Path], unclip: float | None) -> list[Denoiser]:
        """Return each method with the strength whose mean PSNR on the first images is best; none without an image."""
        trials = list(itertools.islice(self._readable(paths), CHOOSING))
        return _choose(trials, _level(self.corruption, trials), unclip) if trials else []

    def _readable(self, paths: Sequence[Path]) -> Iterator[Trial]:
        for numbered in enumerate(paths):
            try:
                of_file = [trial for _, trial in itertools.islice(self.trials(numbered), CHOOSING)]
            except FILE_ERRORS:  # it is reported where it is scored
                continue
            yield from of_file


def score_files(setting: Setting, files: Sequence[Numbered]) -> list[tuple[Outcome, ByMethod]]:
    """Score the noisy images of some files, and what the model and the other methods make of them.

    Parameters
    ----------
    setting : Setting
        What the files have in common.
    files : sequence of tuple of (int, Path)
        Number of each file among all, and its path.

    Returns
    -------
    list of tuple of (Outcome, dict)
        Of each file. The scores are by method (``noisy``, ``model`` and the names of the others) and name of the image;
        there are none if the file has an error.
    """
    found: list[tuple[Outcome, ByMethod]] = []
    for number, path in files:
        of_file: ByMethod = {title: {} for title in ("noisy", "model", *(method.name for method in setting.others))}
        used: dict[ValueRange, None] = {}
        try:
            for name, trial in setting.trials((number, path)):
                used[trial.image.value_range] = None
                of_file["noisy"][name] = trial.score(trial.noisy)
                of_file["model"][name] = trial.score(trial.noisy + setting.restorer.change(trial.noisy))
                for method in setting.others:
                    of_file[method.name][name] = trial.score(_apply(method, trial.noisy))
        except FILE_ERRORS as error:
            found.append((Outcome(path, error=error), {}))
        else:
            found.append((Outcome(path, ranges=tuple(used)), of_file))
    return found


def _level(corruption: Corruption, trials: Sequence[Trial]) -> float:
    if isinstance(corruption, GaussianNoise):
        return float(np.mean(corruption.level))
    large = [
        estimate_noise_level(trial.noisy[None], clipped=trial.image.value_range.bounded)
        for trial in trials
        if min(trial.noisy.shape[:2]) >= SMALLEST_FOR_LEVEL
    ]
    return max(float(np.mean(large)) if large else 0.1, 1e-3)


def _choose(trials: Sequence[Trial], level: float, unclip: float | None) -> list[Denoiser]:
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
