"""Experiments and `train` on a Zarr of images."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import hourglass as hg
from hourglass.experiments import load_dataset, store_data
from hourglass.experiments.store_data import in_memory, is_stored
from hourglass.training import RowBlocks, ZarrSource
from hourglass.training.few_blocks import held_in_few_blocks


@pytest.fixture(scope="module")
def place(few, tmp_path_factory):
    """A Zarr of 200 digits, with labels."""
    folder = tmp_path_factory.mktemp("digits")
    for i, (image, label) in enumerate(zip(few.train.images, few.train.labels, strict=True)):
        (folder / "images" / str(label)).mkdir(parents=True, exist_ok=True)
        Image.fromarray((image[..., 0] * 255).round().astype(np.uint8)).save(
            folder / "images" / str(label) / f"{i:03}.png"
        )
    hg.pack_images(folder / "images", folder / "digits.zarr", block_bytes=20 * 784)
    return folder / "digits.zarr"


def test_the_files_are_divided_at_random_and_always_alike(place, monkeypatch):
    data, again = load_dataset(str(place)), load_dataset(place)
    assert data.name == str(place)
    assert (len(data.train), len(data.test), data.validation_size) == (180, 20, 20)
    assert is_stored(data)
    assert (data.test.images == again.test.images).all()
    assert data.train.images.shape == (180, 28, 28, 1)
    source = data.train.images.source
    every = np.ascontiguousarray(source.first(200).permute(0, 2, 3, 1).numpy())
    tested = [next(i for i in range(200) if (every[i] == image).all()) for image in data.test.images]
    assert sorted([*data.train.images.rows.tolist(), *tested]) == list(range(200))
    assert len(set(data.test.labels)) > 3
    assert (data.train.labels == source.labels[data.train.images.rows]).all()
    assert (data.train.images[5:7] == every[data.train.images.rows[5:7]]).all()
    monkeypatch.setattr(store_data, "_IN_MEMORY", 4 * 784 * 20)
    train, held = data.split_validation()
    assert (len(train), len(held)) == (160, 20)
    assert isinstance(held.images, np.ndarray)
    assert (held.images == every[data.train.images.rows[:20]]).all()
    assert is_stored(type(data)("part", train, held))
    assert in_memory(data.train.images).shape == (20, 28, 28, 1)


def test_crops_of_one_file_are_on_one_side_only(tmp_path):
    for i in range(6):
        Image.fromarray(np.full((40, 40), 40 * i, np.uint8)).save(tmp_path / f"{i}.png")
    hg.pack_images(tmp_path, tmp_path / "a.zarr", crop=(8, 8))
    data = load_dataset(tmp_path / "a.zarr")
    train, held = data.split_validation()
    values = [{round(float(each) * 255) for each in part.images[:, 0, 0, 0]} for part in (train, held, data.test)]
    assert [len(each) for each in values] == [4, 1, 1]
    assert len(set.union(*values)) == 6


def test_names_and_data_sets_are_taken_as_before(few):
    assert load_dataset(few) is few
    assert load_dataset("sample").name == "sample"
    with pytest.raises(ValueError, match="'nothing' is unknown"):
        load_dataset("nothing")


def test_too_few_files_are_refused(tmp_path):
    for i in range(2):
        Image.new("L", (8, 8), i).save(tmp_path / f"{i}.png")
    hg.pack_images(tmp_path, tmp_path / "a.zarr")
    with pytest.raises(ValueError, match="2 files"):
        load_dataset(tmp_path / "a.zarr")


def test_a_classifier_is_run_on_the_labels_of_a_zarr(place, monkeypatch):
    monkeypatch.setattr(store_data, "_IN_MEMORY", 4 * 784 * 100)  # as if the training images did not fit
    result = hg.run("bn-manual", dataset=load_dataset(place), n_steps=2, batch_size=20)
    assert result.runs[0].estimator.classes_.tolist() == sorted(set(load_dataset(place).train.labels))
    assert np.isfinite(list(result.scores.values())).all()


def test_the_command_runs_on_a_zarr_and_refuses_others(place, hourglass, tmp_path):
    code, _, err = hourglass("run", "dense", "--dataset", place, "--steps", 2, "--out", "runs", "-q")
    assert (code, err) == (0, "")
    assert (tmp_path / "runs" / "report.html").exists()
    code, _, err = hourglass("run", "bn-momentum", "--dataset", place, "--out", "lab")
    assert code == 2
    assert "study, which takes data in memory" in err
    code, _, err = hourglass("run", "dense", "--dataset", "nothing")
    assert code == 2
    assert "nor a Zarr" in err
    code, _, err = hourglass("run", "dense", "--dataset", "nothing.zarr")
    assert code == 1
    assert "`hourglass pack`" in err
    assert not (tmp_path / "nothing.zarr").exists()


def test_train_makes_a_model_of_a_zarr_and_resumes(place, hourglass, tmp_path):
    command = ("train", place, "--out", "model", "--network", "dense", "--set", "code_size=8", "-q")
    assert hourglass(*command, "--steps", 3)[:2] == (0, "")
    model = hg.load_model(tmp_path / "model")
    assert model.notes_ == {"files": 200, "images": 200, "prepared": "as packed", "range": "auto"}
    assert model.image_shape_ == (28, 28, 1)
    assert hourglass(*command, "--steps", 5, "--resume")[:2] == (0, "")
    assert hg.load_model(tmp_path / "model").n_steps_ == 5
    for option in ("--crop", "--n-crops"):
        code, _, err = hourglass(*command, option, 16)
        assert code == 2
        assert f"({option}) is for image files" in err


def test_a_denoiser_of_a_zarr_is_measured_on_files_that_it_did_not_learn_from(place, tmp_path):
    said, small = [], {"widths": (8, 8, 8), "n_blocks": (1, 1, 1)}
    denoiser = hg.train_on_images(
        place, tmp_path / "model", noise=0.2, begin_from="scratch", n_steps=2, parameters=small, say=said.append
    )
    assert said[-1].startswith("held-out images (20):")
    assert denoiser.notes_["images"] == 200


@pytest.mark.parametrize(
    ("asked", "noted", "ends"),
    [
        ("auto", {"uint16": [300, 5000]}, (0, 1)),
        ("full", None, (np.float32(300 / 65535), np.float32(5000 / 65535))),
        ((200, 4200), {"": [200, 4200]}, (np.float32(0.025), np.float32(1.2))),
    ],
)
def test_numbers_of_16_bits_have_the_range_that_the_model_remembers(tmp_path, asked, noted, ends):
    numbers = np.random.default_rng(0).integers(300, 5001, (4, 16, 16), dtype=np.uint16)
    numbers[0, 0, :2] = 300, 5000
    np.save(tmp_path / "stack.npy", numbers)
    hg.pack_images(tmp_path / "stack.npy", tmp_path / "a.zarr")
    options = {"network": "dense", "n_steps": 1, "value_range": asked}
    model = hg.train_on_images(tmp_path / "a.zarr", tmp_path / "model", **options)
    assert model.notes_.get("ranges") == noted
    assert model.pixel_range_ == pytest.approx(ends)
    # As images in files are.
    files = hg.train_on_images(tmp_path / "stack.npy", tmp_path / "other", resize=(16, 16), **options)
    assert (files.notes_.get("ranges") or {}).keys() == (noted or {}).keys()
    if asked != "auto":
        assert files.notes_["range"] == model.notes_["range"]
        assert files.pixel_range_ == model.pixel_range_


def test_numbers_of_16_bits_become_what_the_range_says(tmp_path):
    numbers = np.random.default_rng(0).integers(300, 5001, (4, 16, 16), dtype=np.uint16)
    np.save(tmp_path / "stack.npy", numbers)
    hg.pack_images(tmp_path / "stack.npy", tmp_path / "a.zarr")
    low, high = int(numbers.min()), int(numbers.max())
    for asked, (first, last) in {"auto": (low, high), "full": (0, 65535), (200, 4200): (200, 4200)}.items():
        source = ZarrSource(tmp_path / "a.zarr", value_range=asked)
        expected = (numbers - float(first)) / (last - first)
        np.testing.assert_allclose(source.first(4)[:, 0].numpy(), expected, atol=1e-7)
        np.testing.assert_allclose(source.mean_target()[..., 0], expected.mean(0), atol=1e-12)
        assert source.value_range() == (source.first(4).min(), source.first(4).max())
    assert len({str(ZarrSource(tmp_path / "a.zarr", value_range=each).fingerprint) for each in ("auto", "full")}) == 2
    with pytest.raises(ValueError, match="value_range"):
        ZarrSource(tmp_path / "a.zarr", value_range=(2, 1))


def test_noise_is_not_clipped_to_the_range_of_16_bit_images(tmp_path):
    for name, kind in (("bytes", np.uint8), ("words", np.uint16)):
        np.save(tmp_path / f"{name}.npy", np.random.default_rng(0).integers(0, 200, (4, 16, 16), dtype=kind))
        hg.pack_images(tmp_path / f"{name}.npy", tmp_path / f"{name}.zarr")
        options = {"network": "dense", "noise": 0.2, "n_steps": 1}
        model = hg.train_on_images(tmp_path / f"{name}.zarr", tmp_path / name, **options)
        assert model.corruption.clip == (name == "bytes")


@pytest.fixture(scope="module")
def many_blocks_place(tmp_path_factory):
    """A Zarr of 400 images in 100 blocks."""
    folder = tmp_path_factory.mktemp("many")
    for i, image in enumerate(np.random.default_rng(0).integers(0, 256, (400, 4, 4), dtype=np.uint8)):
        np.save(folder / f"{i:03}.npy", image)
    hg.pack_images(folder, folder / "a.zarr", block_bytes=4 * 16)
    return folder / "a.zarr"


@pytest.fixture
def many_blocks(many_blocks_place):
    """A source of 400 images in 100 blocks, and the numbers of the blocks that it reads."""
    source = ZarrSource(many_blocks_place)
    reads, read = [], source._cache.read
    source._cache.read = lambda number: reads.append(number) or read(number)
    return source, reads


def test_few_blocks_are_read_to_test_and_to_validate(many_blocks, monkeypatch):
    source, reads = many_blocks
    monkeypatch.setattr(store_data, "ZarrSource", lambda place: source)
    monkeypatch.setattr(store_data, "_IN_MEMORY", 4 * 16 * 30)
    data = load_dataset("a.zarr")
    assert len(data.test) == data.validation_size == 30
    assert len(data.train) == 400 - 30
    assert len(set(reads)) == 16
    assert min(reads) < 10 < 90 < max(reads)  # all over the Zarr
    reads.clear()
    train, held = data.split_validation()
    assert len(set(reads)) <= 16
    assert in_memory(data.train.images).shape == (30, 4, 4, 1)
    every = np.concatenate([train.images.rows.numpy(), data.train.images.rows[:30].numpy()])
    assert len(set(every)) == 370
    assert len(held) == 30


@given(
    sizes=st.lists(st.integers(1, 6), min_size=1, max_size=40),
    per_file=st.integers(1, 9),
    count=st.integers(1, 5),
    most=st.one_of(st.none(), st.integers(1, 12)),
    among=st.integers(1, 8),
    seed=st.integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_what_is_held_out_lies_in_few_blocks(sizes, per_file, count, most, among, seed):
    starts = np.concatenate([[0], np.cumsum(sizes)])
    blocks, files = RowBlocks(starts, 1), np.arange(starts[-1]) // per_file
    rng = np.random.default_rng(seed)
    held, rows = held_in_few_blocks(blocks, files, count, rng, most=most, among=among)
    assert 1 <= len(held) <= count
    assert len(set(held)) == len(held)
    assert set(files[rows]) <= set(held)
    assert 1 <= len(rows) <= (most or len(files))
    assert (np.diff(rows) > 0).all()
    assert len(set(np.searchsorted(starts, rows, side="right"))) <= among
    if files[-1] >= len(held):
        more, others = held_in_few_blocks(blocks, files, count, rng, most=most, among=among, taken=held)
        assert not set(more) & set(held)
        assert set(files[others]) <= set(more)


def test_validation_images_lie_in_few_blocks(many_blocks):
    source, reads = many_blocks
    model = hg.DenseAutoencoder(code_size=2, n_steps=2, validation_fraction=0.1, random_state=0)
    model._seed()
    kept, held = model._hold_out(source)
    assert (len(kept), len(held)) == (360, 40)
    assert len({row // 4 for row in held}) <= 16
    assert not reads
    model.fit(source)
