"""Experiments and `train` on a Zarr of images."""

import numpy as np
import pytest
from PIL import Image

import hourglass as hg
from hourglass.experiments import load_dataset, store_data
from hourglass.experiments.store_data import in_memory, is_stored


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
    code, _, err = hourglass(*command, "--crop", 16)
    assert code == 2
    assert "crop=16 is for image files" in err


def test_a_denoiser_of_a_zarr_is_measured_on_files_that_it_did_not_learn_from(place, tmp_path):
    said, small = [], {"widths": (8, 8, 8), "n_blocks": (1, 1, 1)}
    denoiser = hg.train_on_images(
        place, tmp_path / "model", noise=0.2, begin_from="scratch", n_steps=2, parameters=small, say=said.append
    )
    assert said[-1].startswith("held-out images (20):")
    assert denoiser.notes_["images"] == 200


def test_numbers_of_16_bits_have_the_range_that_the_model_remembers(tmp_path):
    np.save(tmp_path / "stack.npy", np.random.default_rng(0).integers(0, 5000, (4, 16, 16), dtype=np.uint16))
    hg.pack_images(tmp_path / "stack.npy", tmp_path / "a.zarr")
    model = hg.train_on_images(tmp_path / "a.zarr", tmp_path / "model", network="dense", n_steps=1)
    assert model.notes_["ranges"] == {"uint16": [0, 65535]}
