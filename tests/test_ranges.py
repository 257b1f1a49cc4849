"""The range of an image file's numbers: what networks see depends on neither gain nor offset nor type."""

import json
import math

import numpy as np
import pytest
import tifffile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import hourglass as hg
from hourglass.imagefiles import ImageFolderSource, ImageRestorer, Ranges, find_images, parse_range, read_images
from hourglass.imagefiles.image import Numbers, Plane
from hourglass.imagefiles.missing import missing
from hourglass.imagefiles.ranges import FileRanges, TrainingRanges, remembered
from hourglass.imagefiles.value_ranges import ValueRange

UINT16 = Numbers(np.dtype(np.uint16), 16)


def plane(values, numbers=UINT16, roles=("grey",)):
    array = np.asarray(values, dtype=numbers.dtype)
    return Plane(array[..., None] if array.ndim == 2 else array, roles, numbers)


def scene(height=48, width=56, seed=0):
    """A smooth scene in [0, 1] with a little noise."""
    y, x = np.mgrid[:height, :width]
    smooth = 0.5 + 0.3 * np.sin(x / 7) * np.cos(y / 9) + 0.15 * (x > width / 2)
    return np.clip(smooth + np.random.default_rng(seed).normal(0, 0.02, smooth.shape), 0, 1)


# What a camera may make of a scene: the largest number that it uses, an offset, and the type of the file.
CAMERAS = [
    *((2**bits - 1, offset, "uint16") for bits in (10, 12, 14) for offset in (0, 100)),
    (65535, 0, "uint16"),
    (65435, 100, "uint16"),
    (1.0, 0, "float32"),
    (1.0, 100, "float32"),
    (4095, 0, "float64"),
    (3e-4, -5.0, "float64"),
    (20000, -10000, "int16"),
    (2**31, 100, "uint32"),
]


def exposure(image, camera):
    largest, offset, dtype = camera
    values = image * (largest if np.dtype(dtype).kind == "f" else largest - max(offset, 0)) + offset
    return (values if np.dtype(dtype).kind == "f" else np.rint(values)).astype(dtype)


def of_file(ranges, *planes):
    return FileRanges(ranges, lambda: planes, "a.tif").of_plane(planes[0])


@pytest.mark.parametrize("camera", CAMERAS)
def test_what_the_network_sees_depends_on_neither_gain_nor_offset(camera, tmp_path):
    seen = []
    for i, (largest, offset, dtype) in enumerate([(65535, 0, "uint16"), camera]):
        tifffile.imwrite(tmp_path / f"{i}.tif", exposure(scene(), (largest, offset, dtype)))
        [image] = read_images(tmp_path / f"{i}.tif", Ranges())
        pixels, found = image.pixels, image.value_range
        assert found.origin == "percentiles of the image"
        seen.append(pixels)
    # Ten bits are rounded to a thousandth of the range.
    np.testing.assert_allclose(seen[1], seen[0], atol=5e-3)
    assert seen[0].min() < 0 < 1 < seen[0].max()


@pytest.mark.parametrize("camera", CAMERAS)
def test_training_sees_the_same_images_of_every_camera(camera, tmp_path):
    images = []
    for i, each in enumerate([(65535, 0, "uint16"), camera]):
        folder = tmp_path / str(i)
        folder.mkdir()
        for seed, exposed in enumerate((1.0, 0.3)):
            tifffile.imwrite(folder / f"{seed}.tif", exposure(scene(seed=seed) * exposed, each))
        taken = ImageFolderSource(find_images(folder).paths, size=(16, 16), count=12)
        assert not taken.bounded
        assert list(taken.ranges) == [each[2]]
        images.append(taken.take(torch.arange(12), 1)[0])
    # A darker image stays darker: the range is that of the folder.
    np.testing.assert_allclose(images[1], images[0], atol=5e-3)
    assert images[0][1::2].max() < 0.5 < images[0][::2].max()


def test_eight_bits_and_the_same_times_257_are_one():
    values = np.rint(scene() * 255)
    eight = plane(values, Numbers(np.dtype(np.uint8), 8))
    sixteen = plane(values * 257)
    ranges = [of_file(Ranges(), each) for each in (eight, sixteen)]
    assert [str(each) for each in ranges] == ["0 to 255 (8 bits)", "0 to 65,535 (8 bits stretched to 16)"]
    assert all(each.bounded for each in ranges)
    pixels = [each.normalise(p.values) for each, p in zip(ranges, (eight, sixteen), strict=True)]
    np.testing.assert_allclose(pixels[0], pixels[1], rtol=1e-6)
    assert of_file(Ranges(), plane(values * 257 + 1)).origin == "percentiles of the image"
    assert of_file(Ranges(), plane(np.zeros((4, 4)))).origin == "of a constant image"


def test_what_auto_takes_first():
    values = plane(np.arange(12).reshape(3, 4) * 300)
    declared = plane(values.values[..., 0], Numbers(np.dtype(np.uint16), 12, declared=(0, 4095)))
    model = {"uint16": (10.0, 5000.0)}
    assert str(of_file(Ranges(of_model=model), values)) == "10 to 5,000 (of the model)"
    assert str(of_file(Ranges(of_model=model), declared)) == "0 to 4,095 (declared by the file)"
    assert str(of_file(Ranges("full", model), values)) == "0 to 65,535 (all of the type)"
    assert str(of_file(Ranges("full"), declared)) == "0 to 4,095 (all of the type)"
    assert str(of_file(Ranges((5, 6), model), declared)) == "5 to 6 (as given)"
    assert of_file(Ranges(of_model={"float32": (0, 9)}), values).origin == "percentiles of the image"
    assert str(of_file(Ranges(of_model={"": (0, 3000)}), declared)) == "0 to 3,000 (of the model)"
    floats = plane([[0.0, 2.0], [5.0, 7.0]], Numbers(np.dtype(np.float32), 32))
    assert str(of_file(Ranges("full"), floats)) == "0 to 1 (all of the type)"
    two = plane([[0, 3], [1, 2]], Numbers(np.dtype(np.uint8), 2))
    assert str(of_file(Ranges(), two)) == "0 to 3 (2 bits)"


@pytest.mark.parametrize(("declared", "warned"), [((0, 1023), False), ((0, 800), False), ((0, 255), True)])
def test_a_declared_range_is_believed_and_doubted_where_the_numbers_lie_far_outside(declared, warned, recwarn):
    found = of_file(Ranges(), plane(scene() * 1020, Numbers(np.dtype(np.uint16), 16, declared=declared)))
    assert (found.low, found.high, found.origin) == (*declared, "declared by the file")
    assert ["far from its declared range" in str(warning.message) for warning in recwarn] == [True] * warned


def test_a_stack_keeps_the_proportions_of_its_planes():
    dark, bright = plane(scene() * 1000), plane(scene(seed=1) * 40000)
    found = FileRanges(Ranges(), lambda: [dark, bright], "a.tif")
    assert found.of_plane(dark) is found.of_plane(bright)
    assert 30000 < found.of_plane(dark).high < 40000
    assert len(found.found) == 1


@pytest.mark.parametrize(
    "values", [np.full((30, 30), 300), scene() * 30 + 700, scene() * 4000 + 20000, scene() * 60000]
)
def test_an_image_far_outside_the_models_range_is_warned_of(values, recwarn):
    of_file(Ranges(of_model={"uint16": (100.0, 4000.0)}), plane(values))
    said = [str(warning.message) for warning in recwarn]
    if values.min() == values.max():  # says nothing
        assert not said
    else:
        [message] = said
        assert message.startswith("a.tif spans ")
        assert "--range LOW,HIGH" in message


def test_every_plane_is_looked_at_and_one_warning_is_enough(recwarn):
    planes = [plane(scene() * 3000 + 200), plane(scene() * 40000), plane(scene() * 50000)]
    found = FileRanges(Ranges(of_model={"uint16": (100.0, 4000.0)}), lambda: planes, "a.tif")
    for each in planes:
        found.of_plane(each)
    [warning] = recwarn
    assert "spans 6,966 to 38,536" in str(warning.message)


def test_an_image_within_the_models_range_is_not_warned_of(recwarn):
    of_file(Ranges(of_model={"uint16": (100.0, 4000.0)}), plane(scene() * 3000 + 200))
    assert not recwarn


@given(
    low=st.floats(-1e4, 1e4),
    width=st.floats(1e-3, 1e5),
    values=st.lists(st.integers(0, 65535), min_size=4, max_size=4),
    kind=st.sampled_from(["uint16", "int32", "float32", "float64", "uint8"]),
)
@settings(deadline=None)
def test_no_change_gives_the_very_same_numbers(low, width, values, kind):
    numbers = Numbers(np.dtype(kind), np.dtype(kind).itemsize * 8)
    array = (np.array(values) % (256 if kind == "uint8" else 65536)).reshape(2, 2, 1).astype(kind)
    value_range = ValueRange(low, low + width, "")
    back = value_range.put_back(array, np.zeros(array.shape, np.float32), numbers)
    np.testing.assert_array_equal(back, array)
    assert back.dtype == array.dtype


def test_a_change_is_rounded_and_kept_within_what_the_file_can_hold():
    value_range = ValueRange(100, 1100, "")
    changes = np.array([0.0004, 0.0006, -9.0, 99.0], np.float32).reshape(2, 2, 1)
    array = np.full((2, 2, 1), 500, np.uint16)
    back = value_range.put_back(array, changes, UINT16)
    assert back.ravel().tolist() == [500, 501, 0, 65535]
    huge = np.full((1, 1, 1), 2**62 + 1, np.int64)
    numbers = Numbers(np.dtype(np.int64), 64)
    assert value_range.put_back(huge, np.full((1, 1, 1), 0.002, np.float32), numbers).item() == 2**62 + 3


@pytest.mark.parametrize("text", ["auto", "full", "0,4095", "-1.5,2e3", " 1, 2"])
def test_ranges_that_are_read(text):
    assert parse_range(text) == (text if text.isalpha() else tuple(float(end) for end in text.split(",")))


@pytest.mark.parametrize("text", ["", "Auto", "5", "5,5", "6,5", "0,inf", "nan,1", "1_0,20", "0,1,2", "a,b"])
def test_ranges_that_are_refused(text, hourglass, tmp_path):
    with pytest.raises(ValueError, match="is none of auto, full and LOW,HIGH"):
        parse_range(text)
    code, _, err = hourglass("denoise", tmp_path, "out", "--range", text)
    assert code == 2
    assert "--range" in err


@pytest.mark.parametrize("notes", [5, {"uint16": 3}, {"uint16": [1]}, {"uint16": ["a", 2]}, {"uint16": [2, 1]}])
def test_damaged_notes_on_ranges_are_named(notes):
    model = hg.DenseAutoencoder()
    model.notes_ = {"ranges": notes}
    with pytest.raises(ValueError, match=r"give the range \(--range\)"):
        remembered(model)


class Halving:
    """A restorer whose network halves what it sees, and remembers it."""

    def __new__(cls):
        restorer = ImageRestorer(hg.load_pretrained("digits", device="cpu"))
        restorer.seen = []

        def apply(pixels):
            restorer.seen.append(pixels)
            return pixels / 2, []

        restorer.__class__ = type("Halving", (ImageRestorer,), {"_restored": lambda self, pixels: apply(pixels)})
        return restorer


def test_missing_data_stay_and_are_not_smeared():
    values = scene().astype(np.float32) * 50
    holes = np.zeros(values.shape, bool)
    holes[5:9, 10:30] = holes[40] = True
    for hole, no_data in ((np.nan, None), (-9999.0, -9999.0), (np.inf, None), (np.nan, math.nan)):
        given_ = np.where(holes, np.float32(hole), values)
        one = plane(given_, Numbers(np.dtype(np.float32), 32, no_data=no_data))
        np.testing.assert_array_equal(missing(one)[..., 0], holes)
        value_range = of_file(Ranges(), one)
        assert 0 < value_range.low < value_range.high < 51
        restorer = Halving()
        done = restorer.restore(one, value_range)[0][..., 0]
        np.testing.assert_array_equal(done[holes], given_[holes])
        assert not np.array_equal(done[~holes], given_[~holes])
        [seen] = restorer.seen
        assert seen.min() > -1
        assert seen.max() < 2
        np.testing.assert_allclose(seen[5, 13:27], seen[3, 13:27])  # mirrored at the nearest that is there


def test_a_constant_image_stays_whatever_the_network_does():
    restorer = Halving()
    for value in (0, 7, 65535):
        one = plane(np.full((9, 9), value))
        np.testing.assert_array_equal(restorer.restore(one, of_file(Ranges(), one))[0], one.values)
    colour = plane(np.full((9, 9, 3), (3, 70, 200)), Numbers(np.dtype(np.uint8), 8), ("red", "green", "blue"))
    np.testing.assert_array_equal(restorer.restore(colour, of_file(Ranges(), colour))[0], colour.values)
    assert not restorer.seen


def test_each_further_band_is_an_image_and_alpha_stays():
    random = np.random.default_rng(0)
    numbers = Numbers(np.dtype(np.uint8), 8)
    roles = ("red", "green", "blue", "extra", "alpha")
    one = plane(random.integers(0, 256, (12, 13, 5)), numbers, roles)
    restorer = Halving()
    done, _ = restorer.restore(one, of_file(Ranges(), one))
    assert [seen.shape for seen in restorer.seen] == [(12, 13, 1)] * 4  # a grey model sees colours one by one
    np.testing.assert_array_equal(done[..., 4], one.values[..., 4])
    np.testing.assert_allclose(done[..., :4], one.values[..., :4] / 2, atol=0.5)
    inks = plane(random.integers(0, 256, (12, 13, 4)), numbers, ("ink",) * 4)
    restorer = Halving()
    restorer.restore(inks, of_file(Ranges(), inks))
    assert [seen.shape for seen in restorer.seen] == [(12, 13, 1)] * 4


def test_bands_beside_premultiplied_colours_are_not_divided_by_alpha():
    random = np.random.default_rng(0)
    numbers = Numbers(np.dtype(np.uint8), 8)
    values = random.integers(0, 256, (12, 13, 5))
    values[..., 4] = 100
    values[..., :3] = np.minimum(values[..., :3], 100)
    one = plane(values, numbers, ("red", "green", "blue", "extra", "premultiplied"))
    restorer = Halving()
    done, _ = restorer.restore(one, of_file(Ranges(), one))
    np.testing.assert_allclose(restorer.seen[3][..., 0], values[..., 3] / 255, atol=1e-6)
    np.testing.assert_allclose(done[..., 3], values[..., 3] / 2, atol=0.5)


def test_premultiplied_colours_are_seen_straight():
    random = np.random.default_rng(0)
    alpha = np.tile(np.array([0, 51, 255], np.uint8), (8, 3))[..., None]
    colour = random.integers(0, 256, (8, 9, 3))
    values = np.concatenate([np.rint(colour * (alpha / 255)), alpha], axis=2)
    roles = ("red", "green", "blue", "premultiplied")
    one = plane(values, Numbers(np.dtype(np.uint8), 8), roles)
    restorer = Halving()
    done, _ = restorer.restore(one, of_file(Ranges(), one))
    seen = np.concatenate(restorer.seen, axis=2)
    visible = alpha[..., 0] > 0
    # A fifth of 256 levels is left where alpha is 51.
    np.testing.assert_allclose(seen[visible], (colour / 255)[visible], atol=0.5 / 51 + 1e-3)
    np.testing.assert_array_equal(done[~visible], one.values[~visible])
    np.testing.assert_allclose(done[visible][..., :3], one.values[visible][..., :3] / 2, atol=0.5)


def test_an_outlier_does_not_spoil_its_neighbours():
    values = scene() * 4000 + 100
    values[20, 20] = 65535
    restorer = Halving()
    one = plane(values)
    done, _ = restorer.restore(one, of_file(Ranges(), one))
    assert restorer.seen[0].max() <= 2
    assert done[20, 20, 0] > 60000


def test_the_range_of_training_is_kept_with_the_model_and_used(hourglass, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for seed in range(2):
        tifffile.imwrite(folder / f"{seed}.tif", exposure(scene(seed=seed), (4095, 100, "uint16")))
    words = ("--network", "conv", "--crop", 16, "--n-crops", 20, "--steps", 2, "--set", "channels=(4,)")
    code, _, err = hourglass("train", folder, "--out", tmp_path / "model", "--noise", 0.1, *words)
    assert code == 0
    notes = json.loads((tmp_path / "model" / "model.json").read_text())["notes"]
    [(low, high)] = [notes["ranges"]["uint16"]]
    assert 100 < low < high < 4095
    assert f"the network sees {low:,.6g} to {high:,.6g} as 0 to 1" in err
    model = hg.load_model(tmp_path / "model")
    assert model.corruption.clip is False
    code, _, err = hourglass("denoise", folder, tmp_path / "out", "--model", tmp_path / "model")
    assert (code, err) == (0, f"denoise: 2 done; range {low:,.6g} to {high:,.6g} (of the model)\n")
    code, _, err = hourglass("denoise", folder, tmp_path / "more", "--model", tmp_path / "model", "--range", "0,4095")
    assert err == "denoise: 2 done; range 0 to 4,095 (as given)\n"
    # A given range is remembered for all files.
    assert hourglass("train", folder, "--out", tmp_path / "given", "--range", "0,4095", *words)[0] == 0
    Image.fromarray(np.rint(scene() * 255).astype(np.uint8)).save(tmp_path / "a.png")
    _, _, err = hourglass("reconstruct", tmp_path / "a.png", tmp_path / "b.png", "--model", tmp_path / "given")
    assert err.endswith("range 0 to 4,095 (of the model)\n")


def test_training_ranges_are_the_folders():
    seen = TrainingRanges(Ranges())
    noted = [seen.see(plane(scene(seed=i) * largest)) for i, largest in enumerate((1000, 30000))]
    noted.append(seen.see(plane(np.rint(scene() * 255), Numbers(np.dtype(np.uint8), 8))))
    ranges = [seen.of(each) for each in noted]
    assert ranges[0] == ranges[1]
    assert ranges[0].high > 25000
    assert str(ranges[2]) == "0 to 255 (8 bits)"
    assert list(seen.record()) == ["uint16"]
