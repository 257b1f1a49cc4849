"""A page that shows what an autoencoder makes of images: their codes, the worst of them, and each number's work."""

import csv
import io
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from hourglass.atomic import check_free, check_local
from hourglass.data.arrays import to_images
from hourglass.errors import OptionError
from hourglass.estimators.autoencoder_base import Autoencoder
from hourglass.playground import INSPECTION, check_page, write_page

MOST_IMAGES = 10_000
"""Images that a page shows at most: their map takes a minute."""
NEIGHBOURS = 8
NUMBERS = 64
FILES = (INSPECTION, *(f"data/{name}.png" for name in ("originals", "restored", "errors", "numbers")), "scores.csv")
"""Files of a page that are only there for the images."""
QUANTILES = (0.02, 0.25, 0.5, 0.75, 0.98)
# Pixels of an image's longer side on the page, at most.
_SIDE = 64
# Images in a row of a sheet.
_COLUMNS = 64

Floats = NDArray[np.floating[Any]]


def write_inspection(
    estimator: Autoencoder,
    images: ArrayLike,
    folder: str | os.PathLike[str],
    *,
    names: Sequence[str] | None = None,
    labels: ArrayLike | None = None,
    random_state: int = 0,
    overwrite: bool = False,
) -> list[Path]:
    """Write the playground with one tab more, which shows what an autoencoder makes of images.

    The tab has a map on which images with similar codes lie near each other (t-SNE: van der Maaten and Hinton,
    "Visualizing Data using t-SNE", JMLR 2008), the nearest neighbours of each image by the Euclidean distance of
    codes, the reconstructions from the worst to the best with maps of their errors, and images that show what the
    numbers of the code do. The scores are also in ``scores.csv``.

    Parameters
    ----------
    estimator : Autoencoder
        A fitted model that has a code.
    images : array-like of shape (n, h, w, c), (n, h, w) or (n, features)
        From 2 to 10,000 images of the size that the model takes, as its method ``transform`` takes them.
    folder : path-like
        Folder for the page; it is made if it does not exist.
    names : sequence of str, optional
        Name of each image. By default they are numbered.
    labels : array-like of int of shape (n,), optional
        Class of each image, from 0 to 9, which colours its point on the map.
    random_state : int, default=0
        Seed of the map.
    overwrite : bool, default=False
        Whether to replace files that exist already.

    Returns
    -------
    list of Path
        The files, sorted.

    Raises
    ------
    OptionError
        When there are fewer than 2 images or more than 10,000, another number of names or labels, or labels that are
        not from 0 to 9; a ValueError.
    ValueError
        When the model has no code, or the images are of another size or scale than in training.
    FileExistsError
        When a file exists and ``overwrite`` is not set. Nothing is written then.
    OSError
        When the folder cannot be written.
    """
    check_inspection(estimator, folder, overwrite=overwrite)
    n = len(np.asarray(images))
    if not 2 <= n <= MOST_IMAGES:
        raise OptionError(f"{n} images; a page shows from 2 to {MOST_IMAGES:,}, so choose others")
    names = [str(name) for name in (range(n) if names is None else names)]
    classes = None if labels is None else np.asarray(labels).tolist()
    for what, values in (("names", names), ("labels", classes)):
        if values is not None and len(values) != n:
            raise OptionError(f"{len(values)} {what} for {n} images; give one for each")
    if classes is not None and not set(classes) <= set(range(10)):
        raise OptionError("labels are not all whole numbers from 0 to 9, which have colours; leave them out")
    codes = estimator.transform(images)  # first, since it refuses what the model does not take
    pixels = to_images(images, estimator.image_shape_)
    restored = estimator.reconstruct(pixels).reshape(pixels.shape)
    scores = estimator.score_samples(pixels)
    chosen, examples = _examples(estimator, codes)
    low, high = estimator.pixel_range_
    scale = 1 / ((high - low) or 1)
    errors = np.abs(restored.astype(np.float64) - pixels).mean(-1, keepdims=True) * scale
    largest = float(np.quantile(errors, 0.999)) or 1.0
    size = _size(pixels.shape[1], pixels.shape[2])
    document = {
        "title": estimator.title,
        "tile": size,
        "columns": _COLUMNS,
        "names": names,
        "labels": classes,
        "places": _places(codes, random_state).astype(np.float64).round(4).tolist(),
        "neighbours": _neighbours(codes).tolist(),
        "errors": (-scores).tolist(),
        "largest_error": largest,
        "numbers": chosen.tolist(),
        "code_size": codes.shape[1],
        "quantiles": QUANTILES,
    }
    contents = (
        json.dumps(document, ensure_ascii=False).encode(errors="replace"),
        _sheet((pixels - low) * scale, size),
        _sheet((restored - low) * scale, size),
        _sheet(errors / largest, size),
        _sheet((examples - low) * scale, size),
        _table(names, scores),
    )
    return write_page(folder, inspected=dict(zip(FILES, contents, strict=True)), overwrite=overwrite)


def check_inspection(estimator: Autoencoder, folder: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Check, before any work is done, that the page of an autoencoder can be written.

    Parameters
    ----------
    estimator : Autoencoder
        A fitted model.
    folder : path-like
        Folder for the page, which need not exist.
    overwrite : bool, default=False
        Whether files that exist already may be replaced.

    Raises
    ------
    ValueError
        When the model has no code.
    FileExistsError
        When the folder has a page and ``overwrite`` is not set.
    OSError
        When the folder cannot be written.
    """
    check_local(folder)
    if not estimator.has_code:
        raise ValueError(
            "the model has skip connections or predicts a residue, and no code; train an autoencoder without noise"
        )
    check_page(folder, overwrite=overwrite)
    check_free(*(Path(folder) / name for name in FILES), overwrite=overwrite)


def _places(codes: Floats, random_state: int) -> Floats:
    """Places in the unit square, near each other where codes are similar."""
    from sklearn.manifold import TSNE

    perplexity = min(30.0, (len(codes) - 1) / 3)
    places: Floats = TSNE(perplexity=perplexity, init="random", random_state=random_state).fit_transform(codes)
    extent = np.ptp(places, axis=0)
    scaled: Floats = (places - places.min(0)) / np.where(extent > 0, extent, 1)
    return scaled


def _neighbours(codes: Floats) -> NDArray[np.intp]:
    """Indices of the images with the most similar codes, without the image itself, the most similar first."""
    from sklearn.neighbors import NearestNeighbors

    count = min(NEIGHBOURS, len(codes) - 1)
    # Asked without rows, it leaves out each row itself.
    found: NDArray[np.intp] = NearestNeighbors(n_neighbors=count).fit(codes).kneighbors(return_distance=False)
    return found


def _examples(estimator: Autoencoder, codes: Floats) -> tuple[NDArray[np.intp], Floats]:
    """The numbers that vary most, and for each of them images of the mean code in which it alone is changed."""
    chosen = np.argsort(-codes.var(0), kind="stable")[:NUMBERS]
    changed = np.repeat(codes.mean(0, keepdims=True), len(chosen) * len(QUANTILES), axis=0)
    values = np.quantile(codes[:, chosen], QUANTILES, axis=0).T  # (numbers, quantiles)
    changed[np.arange(len(changed)), np.repeat(chosen, len(QUANTILES))] = values.ravel()
    images = estimator.inverse_transform(changed)
    return chosen, images.reshape(len(changed), *estimator.image_shape_)


def _size(height: int, width: int) -> tuple[int, int]:
    """Height and width of images on the page."""
    shrink = min(1.0, _SIDE / max(height, width))
    return max(1, round(height * shrink)), max(1, round(width * shrink))


def _sheet(images: Floats, size: tuple[int, int]) -> bytes:
    """Images in [0, 1] as one PNG file, in rows of ``_COLUMNS``."""
    height, width = size
    grey = images.shape[-1] == 1
    rows = -(-len(images) // _COLUMNS)
    sheet = Image.new("L" if grey else "RGB", (width * min(_COLUMNS, len(images)), height * rows))
    for i, image in enumerate(np.rint(np.clip(images, 0, 1) * 255).astype(np.uint8)):
        tile = Image.fromarray(image[..., 0] if grey else image)
        if tile.size != (width, height):
            tile = tile.resize((width, height), Image.Resampling.BOX)
        sheet.paste(tile, (i % _COLUMNS * width, i // _COLUMNS * height))
    file = io.BytesIO()
    sheet.save(file, "PNG")
    return file.getvalue()


def _table(names: Sequence[str], scores: Floats) -> bytes:
    """Names and scores, the worst first."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image", "score"])
    for i in np.argsort(scores, kind="stable"):
        writer.writerow([names[i], f"{scores[i]:.9g}"])
    return text.getvalue().encode(errors="surrogateescape")
