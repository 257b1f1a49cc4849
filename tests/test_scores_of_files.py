"""`hourglass evaluate` on image files: what counts, and what is refused."""

import json

import numpy as np
import pytest
import tifffile

from hourglass.imagefiles import Ranges, read_images
from hourglass.imagefiles.crops import ReadImage
from hourglass.imagefiles.image_scores import score
from hourglass.imagefiles.value_ranges import ValueRange


def scene(height=40, width=44):
    y, x = np.mgrid[:height, :width]
    return 0.5 + 0.3 * np.sin(x / 7) * np.cos(y / 9)


def image(pixels, missing=None, *, bounded=False):
    pixels = np.asarray(pixels, np.float32)[..., None]
    without = np.zeros(pixels.shape, bool) if missing is None else missing[..., None]
    return ReadImage("a.tif", pixels, ValueRange(0, 1, "", bounded), without)


def test_missing_numbers_do_not_count():
    clean, holes = scene(), np.zeros((40, 44), bool)
    holes[3:9, 5:20] = True
    output = clean + 0.1
    output[holes] = 99
    found = score(image(clean, holes), output[..., None].astype(np.float32))
    assert found["psnr_db"] == pytest.approx(20, abs=1e-3)
    assert found["mse"] == pytest.approx(0.01, rel=1e-3)
    assert np.isnan(found["ssim"])


@pytest.mark.parametrize(("bounded", "decibels"), [(True, 20.0), (False, 0.0)])
def test_outputs_are_clipped_only_where_the_file_would_clip_them(bounded, decibels):
    output = np.full((9, 9, 1), 1.9, np.float32)
    assert score(image(np.full((9, 9), 0.9), bounded=bounded), output)["psnr_db"] == pytest.approx(decibels, abs=1e-4)


def test_the_digits_model_scores_an_image_with_holes(hourglass, tmp_path):
    values = (scene() * 3000 + 100).astype(np.float32)
    values[4:7, 8:30] = np.nan
    tifffile.imwrite(tmp_path / "a.tif", values)
    code, out, _ = hourglass("evaluate", "a.tif", "--noise", "0.1", "--format", "json")
    assert code == 0
    noisy = next(row for row in json.loads(out) if row["method"] == "noisy")
    assert noisy["psnr_db"] == pytest.approx(20, abs=0.5)
    assert noisy["ssim"] is None


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.full((9, 9), 346, np.uint16), "give the range of its numbers"),
        (np.full((9, 9), np.nan, np.float32), "--range"),
    ],
)
def test_an_image_that_says_nothing_is_refused(values, said, hourglass, tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", values)
    code, _, err = hourglass("evaluate", "a.tif", "--noise", "0.1")
    assert code == 1
    assert said in err
    with pytest.raises(ValueError, match=r"a\.tif"):
        list(read_images(tmp_path / "a.tif", Ranges()))


def test_a_constant_image_with_a_range_is_scored(hourglass, tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.full((30, 30), 346, np.uint16))
    code, out, _ = hourglass("evaluate", "a.tif", "--noise", "0.1", "--range", "100,600", "--format", "json")
    assert code == 0
    assert next(row for row in json.loads(out) if row["method"] == "noisy")["psnr_db"] == pytest.approx(20, abs=0.5)
