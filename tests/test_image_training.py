"""Training on a folder of images from Python: what the command does, and what it refuses."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

import hourglass as hg
from hourglass.errors import OptionError
from hourglass.image_training import configure
from hourglass.image_training.pairs import find_targets
from hourglass.training import Trainer

QUICK = {"network": "conv", "n_steps": 3, "parameters": {"batch_size": 4, "channels": (4,)}}


CONV = {"network": "conv"}


@pytest.fixture
def photos(tmp_path):
    """Four small grey images."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(4):
        pixels = np.random.default_rng(i).integers(0, 255, (24, 24), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    return folder


def test_it_returns_the_estimator_and_writes_the_folder_of_the_command(photos, tmp_path, hourglass):
    heard = []
    fitted = hg.train_on_images(
        photos,
        tmp_path / "python",
        noise="0.1-0.3",
        crop=16,
        n_crops=20,
        random_state=3,
        on_found=lambda found: heard.append(len(found)),
        on_outcome=lambda outcome: heard.append(outcome.source.name),
        on_read=lambda taken: heard.append((len(taken), *taken.image_shape)),
        **QUICK,
    )
    assert heard == [4, "0.png", "1.png", "2.png", "3.png", (20, 16, 16, 1)]
    words = ("--network", "conv", "--noise", "0.1-0.3", "--crop", 16, "--n-crops", 20, "--seed", 3, "--steps", 3)
    settings = ("--set", "batch_size=4", "--set", "channels=(4,)")
    assert hourglass("train", photos, "--out", tmp_path / "command", *words, *settings, "-q") == (0, "", "")
    files = {path.relative_to(tmp_path / "python") for path in (tmp_path / "python").rglob("*") if path.is_file()}
    assert files == {
        path.relative_to(tmp_path / "command") for path in (tmp_path / "command").rglob("*") if path.is_file()
    }
    for name in ("model.safetensors", "optimiser.safetensors"):
        assert (tmp_path / "python" / name).read_bytes() == (tmp_path / "command" / name).read_bytes()
    notes = [json.loads((tmp_path / name / "model.json").read_text())["notes"] for name in ("python", "command")]
    assert notes[0] == notes[1] == fitted.notes_
    assert notes[0] == {"files": 4, "images": 20, "prepared": "crops of 16×16", "range": "auto", "n_crops": 20}
    images = np.random.default_rng(9).random((2, 16, 16, 1), dtype=np.float32)
    loaded = hg.load_model(tmp_path / "python")
    np.testing.assert_array_equal(fitted.reconstruct(images), loaded.reconstruct(images))


def test_what_is_returned_writes_no_more_into_the_folder(photos, tmp_path):
    fitted = hg.train_on_images(photos, tmp_path / "model", crop=16, n_crops=8, **QUICK)
    before = sorted(tmp_path.rglob("*"))
    fitted.partial_fit(np.zeros((4, 16, 16, 1), np.float32))
    fitted.fit(np.random.default_rng(0).random((8, 16, 16, 1)))
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"noise": 0.1}, {"corruption": hg.denoising.GaussianNoise(0.1), "begin_from": "photo", "n_steps": 1500}),
        ({"noise": 0.1, "begin_from": "scratch"}, {"begin_from": None, "learning_rate": 0.001, "n_steps": 6000}),
        ({"targets": True}, {"corruption": None, "begin_from": "photo", "loss": "mse"}),
        ({"self_supervised": True, "epochs": 2}, {"self_supervised": True, "epochs": 2, "n_steps": None}),
        ({"self_supervised": True, "parameters": {"epochs": 2}}, {"epochs": 2, "n_steps": None}),
        ({"noise": 0.1, "begin_from": "scratch", "parameters": {"widths": (8, 8, 8)}}, {"widths": (8, 8, 8)}),
        (CONV | {"noise": 0.1}, {"corruption": hg.denoising.GaussianNoise(0.1), "skip": True, "n_steps": 1500}),
        (CONV | {"noise": hg.denoising.Masking(0.3)}, {"corruption": hg.denoising.Masking(0.3), "residual": True}),
        (CONV | {"noise": "poisson:30", "parameters": {"loss": "bce"}}, {"residual": False, "loss": "bce"}),
        (CONV | {"self_supervised": "noise2self"}, {"residual": False, "learning_rate": 0.001, "skip": True}),
        (CONV | {"self_supervised": "neighbor2neighbor"}, {"residual": True, "learning_rate": 0.001}),
        (CONV | {"noise": 0.1, "parameters": {"skip": False}}, {"skip": False}),
        ({"network": "dense", "noise": 0.1}, {"n_steps": None}),
        ({}, {"corruption": None, "skip": False}),
    ],
)
def test_the_estimator_that_is_trained(options, said):
    found = configure(**options).get_params()
    assert {name: found[name] for name in said} == said


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"crop": 8, "resize": (8, 8)}, "crop and resize both say"),
        ({"crop": 0}, "crop=0; expected whole numbers of pixels"),
        ({"resize": (8, 8.5)}, r"resize=\(8, 8.5\)"),
        ({"noise": 0.1, "self_supervised": True}, "leave noise out"),
        ({"targets": "there", "self_supervised": True}, "leave targets out"),
        ({"targets": "there", "resize": (8, 8)}, "leave resize"),
        ({"network": "conv", "begin_from": "photo"}, "network='conv' is none"),
        ({"noise": 0.1, "parameters": {"widths": (8, 8, 8)}}, "widths is that of photo"),
        ({"self_supervised": "magic"}, "self_supervised='magic'"),
        ({"network": "dense", "self_supervised": "neighbor2neighbor"}, "half the size"),
        ({"noise": 0.1, "parameters": {"begin_from": "photo"}}, r"use begin_from \(--from\)"),
        ({"noise": "fog:2"}, "'fog' is unknown"),
        ({"noise": -1}, "noise '-1'"),
        ({"resume": True, "overwrite": True}, "give one of them"),
        ({"epochs": 1, "n_steps": 1}, "both say how long"),
        ({"epochs": 1, "parameters": {"epochs": 2}}, "epochs is set twice"),
        ({"noise": 0.1, "parameters": {"corruption": None}}, "corruption is set twice"),
        ({"parameters": {"random_state": 1}}, r"use random_state \(--seed\)"),
        ({"parameters": {"checkpoint_dir": "x"}}, r"use out \(--out\)"),
        ({"parameters": {"depth": 3}}, "depth"),
        ({"parameters": {"batch_size": 0}}, "batch_size=0"),
        ({"checkpoint_every": "often"}, "checkpoint_every"),
        ({"network": "deep"}, "network='deep' is unknown; choose one of conv, dense, denoiser"),
        ({"colour": "blue"}, "colour='blue' is unknown; choose one of auto, grey, rgb"),
        ({"value_range": "all"}, "range 'all' is none of"),
        ({"value_range": (5, 2)}, "range '5,2' is none of"),
        ({"n_crops": 0}, "n_crops=0"),
    ],
)
def test_options_that_do_not_fit_are_refused_before_anything_is_read(options, said, tmp_path):
    with pytest.raises(OptionError, match=said):
        hg.train_on_images(tmp_path / "nowhere", tmp_path / "model", **options)
    assert not list(tmp_path.iterdir())


def test_set_does_not_overrule_an_option_in_silence(photos, hourglass):
    code, _, err = hourglass("train", photos, "--out", "model", "--set", "random_state=3")
    assert (code, err.count("\n")) == (2, 1)
    assert "use random_state (--seed)" in err


def test_a_file_that_cannot_be_read_is_raised_or_told(photos, tmp_path):
    (photos / "bad.png").write_text("no image")
    with pytest.raises(ValueError, match=r"bad\.png"):
        hg.train_on_images(photos, tmp_path / "model", crop=16, n_crops=8, **QUICK)
    assert not (tmp_path / "model" / "model.json").exists()
    outcomes = []
    fitted = hg.train_on_images(photos, tmp_path / "model", crop=16, n_crops=8, on_outcome=outcomes.append, **QUICK)
    assert [outcome.source.name for outcome in outcomes if outcome.error] == ["bad.png"]
    assert fitted.notes_["files"] == 4


def test_a_finished_model_is_kept_lengthened_or_replaced(photos, tmp_path):
    options = {"crop": 16, "n_crops": 8, "parameters": {"channels": (4,), "batch_size": 4}}
    hg.train_on_images(photos, tmp_path / "model", n_steps=2, **options)
    with pytest.raises(FileExistsError, match="holds a model"):
        hg.train_on_images(photos, tmp_path / "model", n_steps=2, **options)
    before = (tmp_path / "model" / "model.safetensors").read_bytes()
    kept = hg.train_on_images(photos, tmp_path / "model", n_steps=2, resume=True, **options)
    assert kept.n_steps_ == 2
    assert (tmp_path / "model" / "model.safetensors").read_bytes() == before
    assert hg.train_on_images(photos, tmp_path / "model", n_steps=5, resume=True, **options).n_steps_ == 5
    with pytest.raises(ValueError, match="holds another model: random_state is 0 there, 1 here"):
        hg.train_on_images(photos, tmp_path / "model", n_steps=5, random_state=1, resume=True, **options)
    assert hg.train_on_images(photos, tmp_path / "model", n_steps=3, overwrite=True, **options).n_steps_ == 3


def test_an_interrupted_training_is_resumed_bit_for_bit(photos, tmp_path, monkeypatch):
    options = {"crop": 16, "n_crops": 8, "n_steps": 8, "checkpoint_every": "2steps", "parameters": {"channels": (4,)}}
    hg.train_on_images(photos, tmp_path / "whole", **options)
    step, indices = Trainer.step, []

    def stop(self, index):
        indices.append(index)
        if len(indices) == 6:
            raise RuntimeError("the plug was pulled")
        return step(self, index)

    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "step", stop)
        with pytest.raises(RuntimeError, match="plug"):
            hg.train_on_images(photos, tmp_path / "cut", **options)
    said = []
    hg.train_on_images(photos, tmp_path / "cut", say=said.append, **options)
    assert said == [f"{tmp_path / 'cut'} holds an unfinished training, which is resumed"]
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "cut")]
    assert weights[0] == weights[1]


def test_ranges_of_numbers_are_taken_as_text_or_pair(photos, tmp_path):
    for name, given in (("text", "0,4095"), ("pair", (0, 4095))):
        pixels = np.random.default_rng(0).integers(0, 4095, (24, 24), dtype=np.uint16)
        folder = tmp_path / f"{name}-images"
        folder.mkdir()
        Image.fromarray(pixels).save(folder / "0.tif")
        fitted = hg.train_on_images(folder, tmp_path / name, resize=(16, 16), value_range=given, **QUICK)
        assert fitted.notes_["range"] == "0,4095"
        assert fitted.notes_["ranges"] == {"": [0, 4095]}


def test_a_finished_denoiser_of_another_size_is_kept_and_lengthened(photos, tmp_path):
    # The model of grey images has other widths than the default.
    options = {"noise": 0.1, "crop": 16, "n_crops": 4, "parameters": {"batch_size": 2}}
    hg.train_on_images(photos, tmp_path / "out", n_steps=1, **options)
    before = (tmp_path / "out" / "model.safetensors").read_bytes()
    kept = hg.train_on_images(photos, tmp_path / "out", n_steps=1, resume=True, **options)
    assert (kept.n_steps_, kept.widths) == (1, (48, 96, 128))
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == before
    longer = hg.train_on_images(photos, tmp_path / "out", n_steps=2, resume=True, **options)
    assert (longer.n_steps_, longer.widths) == (2, (48, 96, 128))
    with pytest.raises(ValueError, match=r"holds another model: .*begin_from is 'photo' there, absent here"):
        hg.train_on_images(photos, tmp_path / "out", n_steps=2, resume=True, begin_from="scratch", **options)


def test_a_finished_denoiser_whose_start_was_replaced_stays_finished(photos, tmp_path):
    options = {"noise": 0.1, "crop": 16, "n_crops": 4, "n_steps": 1}
    sizes = {"widths": (8, 8, 8), "n_blocks": (1, 1, 1), "batch_size": 2}
    hg.train_on_images(photos, tmp_path / "start", begin_from="scratch", parameters=sizes, **options)
    lengthened = {"begin_from": tmp_path / "start", "parameters": {"batch_size": 2}}
    hg.train_on_images(photos, tmp_path / "out", **lengthened, **options)
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    again = {"begin_from": "scratch", "parameters": sizes, "random_state": 1, "overwrite": True}
    hg.train_on_images(photos, tmp_path / "start", **again, **options)
    with pytest.raises(ValueError, match="begin_from_sha256"):
        hg.train_on_images(photos, tmp_path / "out", resume=True, **lengthened, **(options | {"n_steps": 2}))
    assert {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()} == before


def test_pairs_of_one_number_type_need_one_range(photos, tmp_path):
    stretched, deep = tmp_path / "stretched", tmp_path / "deep"
    for folder, most, factor in ((stretched, 255, 257), (deep, 4095, 1)):
        folder.mkdir()
        for i in range(4):
            pixels = np.random.default_rng(i).integers(0, most, (24, 24)) * factor
            Image.fromarray(pixels.astype(np.uint16)).save(folder / f"{i}.tif")
    options = {"crop": 16, "n_crops": 8, "begin_from": "scratch", "n_steps": 1, "targets": deep}
    options["parameters"] = {"batch_size": 2, "widths": (8, 8, 8), "n_blocks": (1, 1, 1)}
    with pytest.raises(ValueError, match=r"the range of .*stretched/0\.tif is 0 to 65,535.*, but that of its target"):
        hg.train_on_images(stretched, tmp_path / "out", **options)
    hg.train_on_images(stretched, tmp_path / "out", value_range=(0, 65_535), **options)


def test_the_range_of_some_crops_is_that_of_the_whole_images(tmp_path):
    pixels = np.zeros((48, 48), np.uint8)
    pixels[-1, -1], pixels[0, 0] = 255, 100
    for i in range(4):
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
    crops = hg.imagefiles.ImageFolderSource(sorted(tmp_path.iterdir()), size=(8, 8), count=4)
    some = crops.subset(np.arange(2)).to(torch.device("cpu"))
    assert some.value_range() == crops.value_range() == (0, 1)
    assert len(some) == 2


def test_pairs_of_other_number_types_are_refused_unless_their_range_is_given(photos, tmp_path):
    deep = tmp_path / "deep"
    deep.mkdir()
    for i in range(4):
        pixels = np.random.default_rng(i).integers(0, 4095, (24, 24), dtype=np.uint16)
        Image.fromarray(pixels).save(deep / f"{i}.tif")
    options = {"crop": 16, "n_crops": 8, "begin_from": "scratch", "n_steps": 1}
    options["parameters"] = {"batch_size": 2, "widths": (8, 8, 8), "n_blocks": (1, 1, 1)}
    with pytest.raises(ValueError, match=r"photos/0\.png has uint8 numbers, but its target .*deep/0\.tif has uint16"):
        hg.train_on_images(photos, tmp_path / "out", targets=deep, **options)
    hg.train_on_images(photos, tmp_path / "out", targets=deep, value_range="full", **options)


def test_hidden_files_are_targets_where_hidden_files_are_read(photos, tmp_path):
    shutil.copytree(photos, tmp_path / "clean")
    for folder in (photos, tmp_path / "clean"):
        (folder / "3.png").rename(folder / ".3.png")
    paths = sorted(photos.iterdir())
    assert len(find_targets(paths, photos, tmp_path / "clean", hidden=True)) == 4
    with pytest.raises(FileNotFoundError, match=r"\.3"):
        find_targets(paths, photos, tmp_path / "clean")
    options = {"crop": 16, "n_crops": 8, "network": "conv", "n_steps": 1, "parameters": {"batch_size": 2}}
    fitted = hg.train_on_images(photos, tmp_path / "out", targets=tmp_path / "clean", hidden=True, **options)
    assert fitted.notes_["files"] == 4


def test_crops_without_neighbours_are_refused(photos, hourglass):
    code, _, err = hourglass("train", photos, "--self-supervised", "--crop", 1, "--out", "model")
    assert (code, err.count("\n")) == (2, 1)
    assert "cells of 2 × 2 pixels" in err
    code, _, err = hourglass("train", photos, "--method", "neighbor2neighbor", "--out", "model")
    assert (code, err.count("\n")) == (2, 1)
    assert "--method needs --self-supervised" in err
    with pytest.raises(ValueError, match="cells of 2 × 2 pixels"):
        hg.ImageDenoiser(self_supervised=True, n_steps=1).fit(np.zeros((8, 1, 1, 1), np.float32))
    hg.train_on_images(photos, "small", self_supervised=True, begin_from="scratch", crop=2, n_crops=8, n_steps=1)
