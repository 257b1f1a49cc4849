"""From a folder of images to a model in a folder."""

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from hourglass.atomic import locked
from hourglass.denoising.corruption import Corruption, unclipped
from hourglass.errors import OptionError
from hourglass.estimators import Autoencoder
from hourglass.image_training.gain import fit_and_compare
from hourglass.image_training.model_folder import ModelFolder
from hourglass.image_training.packed_images import PackedImages, open_packed, refuse_options
from hourglass.image_training.pairs import find_targets
from hourglass.image_training.settings import (
    N_CROPS,
    check,
    check_choice,
    check_halves,
    configure,
    fit_to_model,
    ranges_of,
    size_of,
)
from hourglass.imagefiles import Found, ImageFolderSource, Outcome, Ranges, TrainingImages, find_images, training_images
from hourglass.imagefiles.crops import COLOURS
from hourglass.imagefiles.ranges import NOTE
from hourglass.models import load_autoencoder
from hourglass.runtime import ranks
from hourglass.training.zarr_store import is_zarr


def _ignore(_: object) -> None:
    pass


def train_on_images(
    folder: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    noise: str | float | Corruption | None = None,
    targets: str | os.PathLike[str] | None = None,
    self_supervised: bool | str = False,
    network: str | None = None,
    begin_from: str | os.PathLike[str] | None = None,
    crop: int | None = None,
    resize: tuple[int, int] | None = None,
    n_crops: int | None = None,
    colour: str = "auto",
    value_range: str | tuple[float, float] = "auto",
    epochs: float | None = None,
    n_steps: int | None = None,
    random_state: int = 0,
    parameters: Mapping[str, Any] | None = None,
    hidden: bool = False,
    device: str | torch.device = "auto",
    overwrite: bool = False,
    resume: bool = False,
    checkpoint_every: str | float = "60s",
    verbose: int = 0,
    on_found: Callable[[Found], None] = _ignore,
    on_outcome: Callable[[Outcome], None] | None = None,
    on_read: Callable[[TrainingImages | ImageFolderSource | PackedImages], None] = _ignore,
    say: Callable[[str], None] = _ignore,
) -> Autoencoder:
    """Train an autoencoder on a folder of images of any size, and save it, as ``hourglass train`` does.

    With ``noise``, ``targets`` or ``self_supervised`` it becomes a denoiser, which begins from the one of photographs
    in the package unless ``begin_from`` says otherwise. Without, it compresses. Of four files or more, with ``noise``
    or ``targets``, a tenth is held out; the weights that are best on them are kept, and ``say`` is told what was
    gained, or why that was not measured.

    A training that was stopped leaves its checkpoints in ``out``, and the same call resumes it bit for bit. Where
    ``torch.distributed`` is initialised, the processes of the group train together, and that of rank 0 writes and
    reports. Each calls this function with equal arguments and reads the same images.

    Parameters
    ----------
    folder : path-like or str
        Folder of images, searched with its subfolders, or one image file. docs/formats.md lists the formats. Or the
        path or address of a Zarr that :func:`hourglass.pack_images` has written; its images are trained on as they were
        packed, and ``crop``, ``resize``, ``n_crops``, ``colour``, ``targets`` and ``hidden`` are for image files alone.
    out : path-like
        Folder for the model. Images in it are not trained on.
    noise : str, float or corruption, optional
        Noise that the model learns to remove, relative to the range of the numbers: a level as ``0.1``, text as
        ``"0.05-0.3"`` or ``"poisson:30"`` (see :func:`hourglass.denoising.parse_corruption`), or an object such as
        ``hourglass.denoising.GaussianNoise(0.1)``. The images are taken to be clean.
    targets : path-like, optional
        Folder of images that the output is compared with: for each image of ``folder``, one of the same size and
        relative path, whose suffix may be another. They are clean, or noisy images of the same scene (Lehtinen et al.,
        "Noise2Noise", ICML 2018).
    self_supervised : bool or {"noise2self", "neighbor2neighbor"}, default=False
        Whether the images are noisy themselves, and the model learns to denoise without clean ones; by which method.
        True is the method that suits the network.
    network : {"conv", "dense", "denoiser"}, optional
        Kind of network. By default ``"denoiser"`` (:class:`hourglass.ImageDenoiser`) for a denoiser, else ``"conv"``.
    begin_from : str or path-like, optional
        Denoiser with whose weights the training begins: a name such as ``"photo"``, the folder of an ``ImageDenoiser``,
        or ``"scratch"`` for weights drawn at random. By default ``"photo"`` for the network ``"denoiser"``. A folder
        named like a model is given as ``"./photo"`` or as a path object.
    crop : int, optional
        Side in pixels of the random square crops to train on; by default 64.
    resize : tuple of (int, int), optional
        Height and width in pixels to which whole images are resized, in place of crops.
    n_crops : int, optional
        Number of random crops that count as an epoch, from all files together and at least one from each; each step
        draws fresh ones. By default 4,096. Not used with ``resize``.
    colour : {"auto", "grey", "rgb"}, default="auto"
        Channels to train on; ``"auto"`` is RGB where any image has colour.
    value_range : {"auto", "full"} or tuple of (float, float), default="auto"
        Numbers of the files that the network sees as 0 and 1. ``"auto"`` takes 0 and 255 for 8-bit files, and for
        others what the file declares, or the 0.1 and 99.9 percentiles of all of them; for a Zarr of 16-bit files that
        declare nothing, the smallest and the largest number of all images. The model remembers the range.
    epochs : float, optional
        Passes over the training images, greater than 0; by default the estimator's own number, or for a denoiser 1,500
        steps from a trained one and 6,000 from scratch.
    n_steps : int, optional
        Number of training steps, at least 1, in place of ``epochs``.
    random_state : int, default=0
        Seed of weights, order, noise and crops, at least 0.
    parameters : mapping of str to object, optional
        Further parameters of the estimator by name, such as ``{"learning_rate": 0.01}``; see
        :class:`hourglass.ConvAutoencoder` and :class:`hourglass.DenseAutoencoder`. The command's ``--set``.
    hidden : bool, default=False
        Whether to read hidden files and folders too, and those that systems put beside images.
    device : {"auto", "cpu", "cuda"} or torch.device, default="auto"
        Where to compute.
    overwrite : bool, default=False
        Whether a finished model in ``out`` is replaced.
    resume : bool, default=False
        Whether a finished model in ``out`` is kept: lengthened where it differs in nothing but fewer ``epochs`` or
        ``n_steps``, otherwise returned as it is. An unfinished training is resumed in any case.
    checkpoint_every : str or float, default="60s"
        How often the state of the training is written: ``"30s"``, ``"500steps"``, ``"2epochs"`` or ``"never"``.
    verbose : int, default=0
        1 shows the training's progress on standard error.
    on_found : callable, optional
        Function that is called with the :class:`hourglass.imagefiles.Found` files before they are read.
    on_outcome : callable, optional
        Function that is called with the :class:`hourglass.imagefiles.Outcome` of each file. With it, files that
        cannot be read are left out; by default the error of the first one is raised.
    on_read : callable, optional
        Function that is called before the training with what was read: the
        :class:`hourglass.imagefiles.ImageFolderSource` of the crops, with ``resize`` the
        :class:`hourglass.imagefiles.TrainingImages`, or the source of the Zarr.
    say : callable, optional
        Function that is called with lines of text: that an unfinished training is resumed, and what a denoiser gained.

    Returns
    -------
    Autoencoder
        Fitted.

    Raises
    ------
    OptionError
        When options contradict each other or are out of range; a ValueError, raised before any file is read.
    FileNotFoundError
        When there is no such folder, or no image in it.
    FileExistsError
        When ``out`` holds a model, and neither ``overwrite`` nor ``resume`` is set.
    ValueError
        When no image can be read, or ``resume`` finds a model with other settings.
    OSError
        When ``out`` cannot be written, or a file cannot be read and there is no ``on_outcome``.
    BlockingIOError
        When another process is training in ``out``.
    Interrupted
        When SIGINT or SIGTERM arrives during training; the checkpoint has been written.
    FloatingPointError
        When training diverges.

    See Also
    --------
    hourglass.load_model : Reads the model again.

    Examples
    --------
    >>> import hourglass as hg
    >>> denoiser = hg.train_on_images("photos", "model", noise="0.05-0.2")  # doctest: +SKIP
    >>> denoiser.reconstruct(noisy)  # doctest: +SKIP
    """
    is_packed = is_zarr(folder)
    if is_packed:
        options = {"crop": crop, "resize": resize, "n_crops": n_crops, "targets": targets, "hidden": hidden}
        refuse_options(folder, options | {"colour": None if colour == "auto" else colour})
    n_crops = N_CROPS if n_crops is None else n_crops
    size = size_of(crop, resize)
    if resume and overwrite:
        raise OptionError("resume keeps what overwrite replaces; give one of them")
    check_choice("colour", colour, COLOURS)
    if n_crops < 1:
        raise OptionError(f"n_crops={n_crops}; expected a whole number above 0")
    ranges, range_in_words = ranges_of(value_range)
    place = ModelFolder(Path(out), overwrite=overwrite)
    if targets is not None and resize is not None:
        raise OptionError("targets (--targets) are cropped as the images are; leave resize (--resize) out")
    estimator = configure(
        network,
        noise=noise,
        targets=targets is not None,
        self_supervised=self_supervised,
        begin_from=begin_from,
        epochs=epochs,
        n_steps=n_steps,
        parameters=parameters,
    )
    estimator.set_params(random_state=random_state, device=device, verbose=verbose)
    estimator.set_params(checkpoint_dir=str(place.checkpoints), checkpoint_every=checkpoint_every)
    check(estimator)
    if not is_packed:
        check_halves(estimator, size)

    finished = ranks.on_first(lambda: place.check(resume=resume))
    how = f"{'crops of' if resize is None else 'resized to'} {size[0]}×{size[1]}"
    prepared: dict[str, Any] = {"prepared": "as packed" if is_packed else how, "range": range_in_words}
    prepared |= {"n_crops": n_crops} if resize is None and not is_packed else {}
    if finished and not ranks.on_first(lambda: place.is_lengthened_by(estimator, prepared)):
        return ranks.on_first(lambda: load_autoencoder(place.out, device=device))

    taken: TrainingImages | ImageFolderSource | PackedImages
    if is_packed:
        taken, files = open_packed(folder, ranges.wanted, on_found, on_outcome)
        check_halves(estimator, taken.image_shape[:2])
    else:
        found = find_images(folder, beside=place.out, hidden=hidden)
        on_found(found)
        pairs = None if targets is None else find_targets(found.paths, folder, targets, on_outcome, hidden=hidden)
        taken, files = read_images(
            found.paths if pairs is None else list(pairs),
            targets=None if pairs is None else list(pairs.values()),
            size=size,
            whole=resize is not None,
            n_crops=n_crops,
            colour=colour,
            ranges=ranges,
            random_state=random_state,
            on_outcome=on_outcome,
        )
    fit_to_model(estimator, taken.image_shape[2])
    on_read(taken)
    if not taken.bounded and estimator.corruption is not None:
        estimator.set_params(corruption=unclipped(estimator.corruption))
    with locked(place.out) if ranks.is_first() else nullcontext():
        ranks.at_first(lambda: place.begin(lengthened=finished, resume=resume, say=say))
        try:
            gained = fit_and_compare(estimator, taken)
        except BaseException:
            if finished and ranks.is_first() and place.is_untouched:  # the model stays as finished as it was
                shutil.rmtree(place.checkpoints)
            raise
        # What is fitted again elsewhere must not write into this folder.
        estimator.set_params(checkpoint_dir=None)
        counts = {"files": files, "images": len(taken)}
        estimator.notes_ = counts | prepared | ({NOTE: taken.ranges} if taken.ranges else {})
        ranks.at_first(lambda: place.finish(estimator))
    if gained is not None:
        say(gained)
    return estimator


def read_images(
    paths: Sequence[Path],
    *,
    targets: Sequence[Path] | None = None,
    size: tuple[int, int],
    whole: bool,
    n_crops: int,
    colour: str,
    ranges: Ranges,
    random_state: int,
    on_outcome: Callable[[Outcome], None] | None,
) -> tuple[TrainingImages | ImageFolderSource, int]:
    """Read what :func:`train_on_images` trains on.

    Parameters
    ----------
    paths : sequence of Path
        Image files.
    targets : sequence of Path, optional
        As many files of targets. By default the targets are the images.
    size : tuple of (int, int)
        Height and width of the crops in pixels.
    whole : bool
        Whether whole images are resized to that size.
    n_crops : int
        Number of crops that count as an epoch, from all files together.
    colour : {"auto", "grey", "rgb"}
        Channels.
    ranges : Ranges
        How the range of each file's numbers is found.
    random_state : int
        Seed of the places.
    on_outcome : callable or None
        As in :func:`train_on_images`.

    Returns
    -------
    taken : TrainingImages or ImageFolderSource
        Whole images, resized; or the source of crops, which draws fresh ones in every step.
    files : int
        Number of files that were read.
    """
    failed = 0

    def note(outcome: Outcome) -> None:
        nonlocal failed
        failed += outcome.error is not None
        if on_outcome is None and outcome.error is not None:
            raise outcome.error
        if on_outcome is not None:
            on_outcome(outcome)

    options: dict[str, Any] = {"size": size, "colour": colour, "ranges": ranges, "on_outcome": note}
    taken: TrainingImages | ImageFolderSource
    if whole:
        taken = training_images(paths, **options)
    else:
        taken = ImageFolderSource(paths, targets=targets, count=n_crops, random_state=random_state, **options)
    return taken, len(paths) - failed
