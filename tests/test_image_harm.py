"""What a second look at image files found: memory of many planes, inputs named twice, stacks, outliers, names."""

import io
import stat
import subprocess
import sys

import numpy as np
import pytest
import tifffile
from PIL import Image

import hourglass as hg
from hourglass.imagefiles import ImageRestorer, Ranges, find_images, open_image, training_images
from hourglass.imagefiles.image import Numbers, Plane
from hourglass.imagefiles.ranges import FileRanges, TrainingRanges
from hourglass.imagefiles.value_ranges import ValueRange


def noise(size=(24, 20), largest=4000, seed=0, dtype=np.uint16):
    return np.random.default_rng(seed).integers(100, largest, size).astype(dtype)


def plane(values):
    return Plane(values[..., None], ("grey",), Numbers(values.dtype, values.dtype.itemsize * 8))


def test_percentiles_of_many_planes_take_little_memory(tmp_path):
    script = (
        "import re, numpy as np\n"
        "from hourglass.imagefiles.image import Numbers, Plane\n"
        "from hourglass.imagefiles.ranges import FileRanges, Ranges\n"
        "values = np.random.default_rng(0).integers(100, 4000, (1024, 1024, 1)).astype(np.uint16)\n"
        "one = Plane(values, ('grey',), Numbers(np.dtype(np.uint16), 16))\n"
        "def peak(): return int(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1]) // 1024\n"
        "before = peak()\n"
        "found = FileRanges(Ranges(), lambda: (one for _ in range(200)), 'a').of_plane(one)\n"
        "print(peak() - before, found)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    megabytes, _, said = done.stdout.partition(" ")
    assert int(megabytes) < 700
    assert said.startswith("10")
    assert "to 3,99" in said


def test_thinned_samples_depend_on_neither_gain_nor_offset():
    seen = {}
    for gain, offset in ((1, 0), (9, 700)):
        ranges = TrainingRanges(Ranges())
        noted = [ranges.see(plane(noise((1500, 1500), seed=i) * np.uint16(gain) + np.uint16(offset))) for i in range(9)]
        found = ranges.of(noted[0])
        seen[gain] = ((found.low - offset) / gain, (found.high - offset) / gain)
    np.testing.assert_allclose(seen[1], seen[9], rtol=1e-9)


def test_in_place_does_each_file_once_keeps_links_and_permissions(hourglass, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        Image.fromarray(noise(largest=250, dtype=np.uint8)).save(folder / name)
    (folder / "a.png").chmod(0o600)
    (folder / "link.png").symlink_to("a.png")
    code, _, err = hourglass("denoise", folder, folder / "a.png", "--in-place")
    assert (code, err.splitlines()[-1].split(";")[0]) == (0, "denoise: 2 done")
    assert (folder / "link.png").is_symlink()
    assert stat.S_IMODE((folder / "a.png").stat().st_mode) == 0o600
    with Image.open(folder / "a.png") as one, Image.open(folder / "b.png") as other:
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other))
    assert hourglass("denoise", folder, "--in-place", "--resume")[0] == 2


def test_the_parent_folder_is_not_written_into(hourglass, tmp_path, monkeypatch):
    (tmp_path / "sub" / "b").mkdir(parents=True)
    Image.fromarray(noise(largest=250, dtype=np.uint8)).save(tmp_path / "x.png")
    Image.fromarray(noise(largest=250, dtype=np.uint8)).save(tmp_path / "sub" / "b" / "y.png")
    monkeypatch.chdir(tmp_path / "sub")
    before = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.png"))
    hourglass("denoise", "..", "b", tmp_path / "out", "-q")
    after = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.png"))
    assert [name for name in after if not name.startswith("out/")] == before


@pytest.mark.parametrize(("shape", "bands"), [((24, 20, 1), 1), ((24, 20, 2), 2), ((24, 20, 3), 3), ((24, 20, 4), 4)])
def test_an_array_with_few_bands_is_one_image(shape, bands, tmp_path):
    np.save(tmp_path / "a.npy", noise(shape))
    [one] = open_image(tmp_path / "a.npy").planes()
    assert one.values.shape == (24, 20, bands)


def test_a_second_array_in_a_file_is_not_dropped(tmp_path):
    with (tmp_path / "a.npy").open("wb") as file:
        np.save(file, noise())
        np.save(file, noise())
    with pytest.raises(ValueError, match="holds more than one array"):
        open_image(tmp_path / "a.npy")


@pytest.mark.parametrize("dtype", [np.int64, np.uint64])
def test_numbers_of_64_bits_do_not_wrap(dtype):
    limits = np.iinfo(dtype)
    array = np.array([limits.min, limits.max, 5, limits.max // 2], dtype=dtype).reshape(2, 2, 1)
    value_range, numbers = ValueRange(0, 1000, ""), Numbers(np.dtype(dtype), 64)
    down = value_range.put_back(array, np.full(array.shape, -0.004, np.float32), numbers).ravel()
    up = value_range.put_back(array, np.full(array.shape, 0.004, np.float32), numbers).ravel()
    assert down.tolist()[0] == limits.min
    assert up.tolist()[1] == limits.max
    assert (down.tolist()[2], up.tolist()[2]) == (1, 9)
    assert (down.tolist()[3], up.tolist()[3]) == (limits.max // 2 - 4, limits.max // 2 + 4)
    same = value_range.put_back(array, np.zeros(array.shape, np.float32), numbers)
    np.testing.assert_array_equal(same, array)


def test_minus_zero_stays():
    array = np.array([-0.0, 0.0, 1.0, 2.0], np.float32).reshape(2, 2, 1)
    back = ValueRange(0, 2, "").put_back(array, np.zeros(array.shape, np.float32), Numbers(array.dtype, 32))
    assert back.tobytes() == array.tobytes()


def deep(path, values):
    tifffile.imwrite(path, values)
    return path


def test_a_hot_pixel_does_not_spoil_the_scores(hourglass, tmp_path):
    values = noise((40, 40), 3000)
    values[5, 5] = 65535
    (tmp_path / "in").mkdir()
    deep(tmp_path / "in" / "a.tif", values)
    code, _, err = hourglass("evaluate", tmp_path / "in", "--noise", 0.1, "--format", "csv")
    assert code == 0, err
    assert "range 1" in err


@pytest.mark.parametrize("kind", ["salt-and-pepper:0.1", "poisson:30", "0.1", "masking:0.2", "blur:1"])
def test_every_noise_is_put_onto_the_range_of_a_camera(kind, hourglass, tmp_path):
    (tmp_path / "in").mkdir()
    for i in range(2):
        deep(tmp_path / "in" / f"{i}.tif", noise((40, 40), 3000, seed=i))
    words = ("--network", "conv", "--crop", 16, "--n-crops", 8, "--steps", 1, "--set", "channels=(4,)", "-q")
    assert hourglass("train", tmp_path / "in", "--out", tmp_path / "model", "--noise", kind, *words) == (0, "", "")
    code, out, err = hourglass("evaluate", tmp_path / "in", "--model", tmp_path / "model", "--format", "csv", "-q")
    assert (code, err) == (0, "")
    assert "model" in out


def test_numbers_beyond_the_declared_range_are_scored(hourglass, tmp_path):
    (tmp_path / "in").mkdir()
    tifffile.imwrite(
        tmp_path / "in" / "a.tif", noise((40, 40), 3000), extratags=[(281, "H", 1, 1500, True)], metadata=None
    )
    code, _, err = hourglass("evaluate", tmp_path / "in", "--noise", 0.1, "--format", "csv")
    assert code == 0, err
    assert "range 0 to 1,500 (declared by the file)" in err


def test_a_black_frame_among_stretched_ones_changes_nothing():
    stretched = plane(noise(largest=255) * np.uint16(257))
    black = plane(np.zeros((24, 20), np.uint16))
    found = FileRanges(Ranges(), lambda: [black, stretched], "a").of_plane(black)
    assert str(found) == "0 to 65,535 (8 bits stretched to 16)"
    training = TrainingRanges(Ranges())
    noted = [training.see(each) for each in (black, stretched)]
    assert [training.of(each).high for each in noted] == [65535, 65535]
    assert training.record() == {}


def test_a_full_range_is_remembered(hourglass, tmp_path):
    (tmp_path / "in").mkdir()
    deep(tmp_path / "in" / "a.tif", noise((40, 40)))
    words = ("--crop", 16, "--n-crops", 8, "--steps", 1, "--set", "channels=(4,)", "--range", "full", "-q")
    assert hourglass("train", tmp_path / "in", "--out", tmp_path / "model", *words) == (0, "", "")
    _, _, err = hourglass("reconstruct", tmp_path / "in", tmp_path / "out", "--model", tmp_path / "model")
    assert err == "reconstruct: 1 done; range 0 to 65,535 (all of the type)\n"


def test_an_image_without_data_teaches_nothing(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.full((20, 20), np.nan, np.float32))
    tifffile.imwrite(tmp_path / "b.tif", 1000 + 10 * np.random.default_rng(0).random((20, 20), dtype=np.float32))
    taken = training_images(find_images(tmp_path).paths, size=(8, 8))
    assert len(taken.images) == 1
    assert -0.5 < taken.images.min() < taken.images.max() < 1.5


def test_colours_stay_below_their_alpha():
    values = np.zeros((6, 6, 4), np.uint8)
    values[..., 3] = 90
    values[..., :3] = np.random.default_rng(0).integers(0, 91, (6, 6, 3))
    model = hg.load_pretrained("digits", device="cpu")
    restorer = ImageRestorer(model)
    restorer.__class__ = type(
        "White", (ImageRestorer,), {"_restored": lambda self, pixels: (np.ones_like(pixels) * 2, [])}
    )
    one = Plane(values, ("red", "green", "blue", "premultiplied"), Numbers(np.dtype(np.uint8), 8))
    done, _ = restorer.restore(one, FileRanges(Ranges(), lambda: [one], "a").of_plane(one))
    assert (done[..., :3] == 90).all()


def test_a_name_in_brackets_is_shown(hourglass, tmp_path):
    (tmp_path / "in").mkdir()
    Image.fromarray(noise(largest=250, dtype=np.uint8)).save(tmp_path / "in" / "img[a].png")
    assert "img[a].png" in hourglass("evaluate", tmp_path / "in", "--noise", 0.2, "-q")[1]


def test_tif_and_tiff_are_one_kind(hourglass, tmp_path):
    deep(tmp_path / "a.tif", noise())
    assert hourglass("denoise", tmp_path / "a.tif", tmp_path / "b.tiff", "-q") == (0, "", "")
    assert (tmp_path / "b.tiff").is_file()


def test_what_standard_output_cannot_hold_is_said_before_the_work(hourglass, tmp_path, monkeypatch):
    from hourglass.imagefiles import restorer

    deep(tmp_path / "a.tif", noise())
    monkeypatch.setattr(restorer.ImageRestorer, "restore", lambda *_: pytest.fail("computed"))

    class Out(io.StringIO):
        buffer = io.BytesIO()

    monkeypatch.setattr(sys, "stdout", Out())
    code, _, err = hourglass("denoise", tmp_path / "a.tif", "-", "--format", "jpeg")
    assert code == 1
    assert "jpeg cannot hold numbers of 16 bits; give --format tiff" in err
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"]


def test_clipping_is_not_undone_where_nothing_was_clipped(hourglass, tmp_path):
    deep(tmp_path / "a.tif", noise())
    words = ("denoise", tmp_path / "a.tif", tmp_path / "out", "--undo-clipping", "estimate")
    code, _, err = hourglass(*words)
    assert code == 1
    assert "give the full range (--range full)" in err
    assert hourglass(*words, "--range", "full", "-q")[0] == 0
