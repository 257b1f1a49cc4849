"""The tools that measure compression, and the page of what they measured."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest

import hourglass as hg

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))
import compression_page
import measure_compression as measuring

ROWS = [{"bytes": 100, "psnr_db": 20.0, "setting": 5}, {"bytes": 400, "psnr_db": 30.0, "setting": 50}]


@pytest.mark.parametrize(
    ("wanted", "size"),
    [(20.0, "100 bytes"), (25.0, "200 bytes"), (19.0, "less than 100 bytes"), (31.0, "more than 400 bytes")],
)
def test_a_size_for_a_quality_lies_between_its_neighbours(wanted, size):
    assert compression_page.size_for(ROWS, "psnr_db", wanted) == size


def test_large_sizes_are_in_kilobytes():
    rows = [row | {"bytes": 1000 * row["bytes"]} for row in ROWS]
    assert compression_page.size_for(rows, "psnr_db", 25.0, 1000) == "200.0 kB"


@pytest.fixture(scope="module")
def model():
    images = np.random.default_rng(0).random((8, 16, 16, 3), np.float32)
    return hg.ConvAutoencoder(
        channels=(4, 6), code_channels=2, downsample="strided", upsample="transposed-2x2", n_steps=2, random_state=0
    ).fit(images)


def test_whole_photographs_have_the_codes_of_the_trained_network(model):
    images = np.random.default_rng(1).random((2, 16, 16, 3), np.float32)
    coder = measuring.WholePhotographs(model, (16, 16, 3))
    codes = coder.transform(images.reshape(2, -1))
    np.testing.assert_allclose(codes, model.transform(images), atol=1e-5)
    # Another size, which is no multiple of the stride.
    large = np.random.default_rng(2).random((1, 41, 35, 3), np.float32)
    wide = measuring.WholePhotographs(model, (41, 35, 3))
    code = wide.transform(large.reshape(1, -1))
    assert code.shape == (1, 11 * 9 * 2)
    assert wide.inverse_transform(code).shape == (1, 41, 35, 3)


def test_pca_with_all_components_gives_blocks_back():
    random = np.random.default_rng(0)
    images = random.random((2, 15, 21, 3), np.float32)  # no multiples of 8
    coder = measuring.BlockPCA(random.random((100, 16, 16, 3), np.float32), 192, images.shape[1:])
    codes = coder.transform(images.reshape(2, -1))
    assert codes.shape == (2, 2 * 3 * 192)
    np.testing.assert_allclose(coder.inverse_transform(codes), images, atol=1e-5)


def test_a_row_has_no_psnr_where_nothing_is_lost():
    images = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 1)).astype(np.float32) / np.float32(255)
    exact, lossy = (measuring.row(None, hg.experiments.compress_files(images, name)) for name in ("PNG", "JPEG"))
    assert exact["psnr_db"] is None
    assert 10 < lossy["psnr_db"] < 60
    assert exact["bytes"] > exact["payload"] >= 0
    json.dumps([exact, lossy])


def test_a_row_of_which_some_images_are_exact_is_refused():
    images = np.random.default_rng(0).random((2, 8, 8, 1), np.float32)
    some = hg.experiments.Compression(100.0, 90.0, images, float("inf"), 0.8)
    with pytest.raises(ValueError, match="some images are decoded exactly"):
        measuring.row(50, some)


def test_the_page_has_every_measured_row():
    document = json.loads(compression_page.SOURCE.read_text(encoding="utf-8"))
    lines = compression_page.page().splitlines()
    rows = sum(len(each) for each in document["digits"]["alone"].values())
    rows += sum(len(each) for each in document["photographs"]["methods"].values())
    assert sum(line.startswith("| ") for line in lines) == rows + 4  # two heads of two lines
    assert all(re.search(r"\b(inf|nan)\b", line) is None for line in lines)


def test_the_columns_of_digits_are_those_of_their_headings():
    single = {"setting": 8, "bytes": 40.0, "payload": 34.0, "psnr_db": 20.9, "ssim": 0.9}
    shared = {"setting": 8, "bytes": 31.0, "payload": 30.0, "psnr_db": 20.6, "ssim": 0.852}
    head, _, row = compression_page.of_digits({"`dense`": [single]}, {"`dense`": [shared]}).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in (head, row)]
    assert dict(zip(*cells, strict=True)) == {
        "method": "`dense`",
        "setting": "8 bits",
        "bytes alone": "40",
        "without header": "34",
        "together": "31",
        "PSNR": "20.6 dB",
        "SSIM": "0.852",
    }


def test_the_columns_of_photographs_are_those_of_their_headings():
    found = {"setting": None, "bytes": 25000.0, "payload": 1.0, "psnr_db": None, "ssim": 1.0}
    head, _, row = compression_page.of_photographs({"PNG": [found]}, 250_000).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in (head, row)]
    assert dict(zip(*cells, strict=True)) == {
        "method": "PNG",
        "setting": "",
        "kB an image": "25.0",
        "bits a pixel": "0.80",
        "PSNR": "exact",
        "SSIM": "1.000",
    }
