"""Image files through a network: models take grey and colour, folders go through."""

import os
import shutil
from contextlib import closing

import numpy as np
import pytest
import tifffile
from PIL import Image

import hourglass as hg
from hourglass.imagefiles import (
    ImageRestorer,
    find_images,
    open_image,
    plan,
    process,
    training_images,
)

LARGEST = {8: 255, 16: 65535}


def gradient(height, width, channels, depth=8):
    y, x, c = np.mgrid[:height, :width, :channels]
    values = (x / max(width - 1, 1) + y / max(height - 1, 1)) / 2 * (1 - 0.2 * c)
    return np.round(values * LARGEST[depth]).astype(np.uint8 if depth == 8 else np.uint16)


def save_deep(path, array):
    if path.suffix == ".png":
        import imagecodecs

        path.write_bytes(imagecodecs.png_encode(array))
    else:
        tifffile.imwrite(path, array, photometric="rgb")


def test_a_folder_that_cannot_be_read_fails_by_name(folder, tmp_path, monkeypatch):
    locked = folder / "sub"
    scandir = os.scandir

    def refuse(path="."):
        if os.fspath(path) == str(locked):
            raise PermissionError(13, "Permission denied", str(locked))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert locked in find_images(folder).paths


@pytest.fixture(scope="module")
def digits_model(few):
    return hg.ConvAutoencoder(channels=(8, 8), noise=0.3, n_steps=30, random_state=0).fit(few.train.images)


def test_grey_models_take_colour_and_colour_models_grey(few, digits_model):
    colour = np.random.default_rng(0).random((30, 41, 3), dtype=np.float32)
    out = ImageRestorer(digits_model)(colour)
    for i in range(3):
        np.testing.assert_allclose(out[..., i : i + 1], digits_model.reconstruct(colour[None, ..., i : i + 1])[0])
    rgb = hg.ConvAutoencoder(channels=(4,), n_steps=3, random_state=0).fit(np.repeat(few.train.images[:50], 3, axis=3))
    assert ImageRestorer(rgb)(colour[..., :1]).shape == (30, 41, 1)
    dense = hg.DenseAutoencoder(n_steps=5, random_state=0).fit(few.train.images)
    for shape in [(28, 28, 1), (10, 61, 1), (77, 90, 3)]:
        assert ImageRestorer(dense)(np.zeros(shape, np.float32)).shape == shape
    image = few.test.images[0]
    np.testing.assert_allclose(ImageRestorer(dense)(image), dense.reconstruct(image[None])[0], atol=1e-6)
    two = hg.DenseAutoencoder(n_steps=1).fit(np.zeros((5, 3, 3, 2)))
    with pytest.raises(ValueError, match="2 channels"):
        ImageRestorer(two)


@pytest.fixture
def folder(tmp_path):
    """Grey and colour, deep and not, in subfolders, and two files that are none."""
    root = tmp_path / "in"
    (root / "sub" / "deep").mkdir(parents=True)
    Image.fromarray(gradient(17, 31, 1)[..., 0]).save(root / "grey.png")
    Image.fromarray(gradient(40, 30, 3)).save(root / "sub" / "colour.JPG")
    Image.fromarray(gradient(21, 22, 1, 16)[..., 0]).save(root / "sub" / "deep" / "grey16.tif")
    save_deep(root / "sub" / "rgb16.png", gradient(19, 18, 3, 16))
    (root / "text.png").write_text("not an image")
    content = (root / "sub" / "colour.JPG").read_bytes()
    (root / "cut.jpg").write_bytes(content[: len(content) // 2])
    (root / "readme.md").write_text("left alone")
    return root


def test_a_folder_goes_through(folder, tmp_path, digits_model):
    out = tmp_path / "out"
    restore = ImageRestorer(digits_model).restore
    outcomes = list(process(plan([folder], out).pairs, restore))
    assert {o.source.name for o in outcomes if o.error} == {"text.png", "cut.jpg"}
    written = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert written == {"grey.png", "sub/colour.JPG", "sub/deep/grey16.tif", "sub/rgb16.png"}
    for name in written:
        with closing(open_image(folder / name)) as one, closing(open_image(out / name)) as other:
            [before], [after] = list(one.planes()), list(other.planes())
        assert before.values.shape == after.values.shape
        assert (before.numbers, before.roles) == (after.numbers, after.roles)
        assert not np.array_equal(before.values, after.values)
    with pytest.raises(FileExistsError, match="4 of 6 outputs exist already"):
        plan([folder], out)
    again = list(process(plan([folder], out, resume=True).pairs, restore, resume=True))
    assert sum(o.skipped for o in again) == 4
    assert len(plan([folder], out, overwrite=True).pairs) == 6


def test_folders_that_would_harm_are_refused(folder, tmp_path):
    with pytest.raises(FileExistsError, match="is an input; name another folder"):
        plan([folder], folder, overwrite=True)
    with pytest.raises(FileExistsError, match="is a file"):
        plan([folder], folder / "grey.png")
    with pytest.raises(FileNotFoundError, match="neither a folder nor a file"):
        plan([tmp_path / "none"], tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="holds no image files"):
        plan([tmp_path / "empty"], tmp_path / "out")
    # An output folder inside the input is not read again.
    inside = folder / "out"
    inside.mkdir()
    shutil.copy(folder / "grey.png", inside / "grey.png")
    assert len(find_images(folder, beside=inside).paths) == 6
    one = plan([folder / "grey.png"], tmp_path / "one")
    assert one.pairs == [(folder / "grey.png", tmp_path / "one" / "grey.png")]


def test_training_images_are_resized(folder):
    good = [path for path in find_images(folder).paths if path.name not in ("text.png", "cut.jpg")]
    taken = training_images(good, size=(10, 12))
    assert list(taken.ranges) == ["uint16"]
    assert taken.images.shape == (4, 10, 12, 3)
    assert taken.images.dtype == np.float32
    assert training_images(good, size=(64, 64), colour="grey").images.shape == (4, 64, 64, 1)
    bad = []
    paths = find_images(folder).paths
    assert len(training_images(paths, size=(8, 8), on_outcome=bad.append).images) == 4
    assert {outcome.source.name for outcome in bad if outcome.error} == {"text.png", "cut.jpg"}
    with pytest.raises(ValueError, match="is a text file and not an image"):
        training_images([folder / "text.png"], size=(8, 8))
    with pytest.raises(ValueError, match="no image could be read"):
        training_images([folder / "text.png"], size=(8, 8), on_outcome=bad.append)
