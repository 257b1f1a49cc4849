"""`hourglass inspect`: the page on one's own images."""

import csv
import io
import json

import numpy as np
import pytest
from PIL import Image

import hourglass as hg
from browsers import served
from hourglass.inspection import write_inspection
from hourglass.playground import page_server, write_page
from test_page import browser, visit  # noqa: F401 - `browser` is a fixture


@pytest.fixture(scope="module")
def model(few):
    return hg.DenseAutoencoder(code_size=6, n_steps=60, random_state=0).fit(few.train.images)


@pytest.fixture(scope="module")
def images(few):
    return few.test.images[:40]


@pytest.fixture(scope="module")
def page(model, images, few, tmp_path_factory):
    folder = tmp_path_factory.mktemp("inspected") / "page"
    names = [f"digit {i}.png" for i in range(len(images))]
    write_inspection(model, images, folder, names=names, labels=few.test.labels[: len(images)])
    return folder


@pytest.fixture(scope="module")
def document(page):
    return json.loads((page / "data" / "inspect.json").read_text(encoding="utf-8"))


def tile(page, document, sheet, index):
    height, width = document["tile"]
    left, top = index % document["columns"] * width, index // document["columns"] * height
    with Image.open(page / "data" / f"{sheet}.png") as image:
        return np.asarray(image.crop((left, top, left + width, top + height)))


def test_the_scores_are_the_models(page, document, model, images):
    scores = model.score_samples(images)
    np.testing.assert_allclose(document["errors"], -scores)
    rows = list(csv.reader(io.StringIO((page / "scores.csv").read_text())))
    assert rows[0] == ["image", "score"]
    assert [row[0] for row in rows[1:]] == [f"digit {i}.png" for i in np.argsort(scores)]
    np.testing.assert_allclose([float(row[1]) for row in rows[1:]], np.sort(scores), rtol=1e-6)


def test_neighbours_are_those_of_the_codes(document, model, images):
    codes = model.transform(images).astype(float)
    distances = np.linalg.norm(codes[:, None] - codes[None], axis=-1)
    np.fill_diagonal(distances, np.inf)
    for row, found in zip(distances, document["neighbours"], strict=True):
        np.testing.assert_allclose(row[found], np.sort(row)[:8], rtol=1e-4)


def test_the_sheets_show_images_reconstructions_and_errors(page, document, model, images):
    restored = model.reconstruct(images)
    for index in (0, 39):
        np.testing.assert_array_equal(tile(page, document, "originals", index), np.rint(images[index, ..., 0] * 255))
        found = tile(page, document, "restored", index).astype(float)
        np.testing.assert_allclose(found, np.clip(restored[index, ..., 0], 0, 1) * 255, atol=0.51)
        error = np.abs(restored - images)[index, ..., 0] / document["largest_error"]
        np.testing.assert_allclose(tile(page, document, "errors", index), np.clip(error, 0, 1) * 255, atol=0.51)


def test_each_number_of_the_code_is_changed_alone(page, document, model, images):
    codes = model.transform(images)
    assert document["numbers"] == np.argsort(-codes.var(0), kind="stable").tolist()
    row, place = 2, 4  # the third number, at its 98th percentile
    code = codes.mean(0, keepdims=True)
    code[0, document["numbers"][row]] = np.quantile(codes[:, document["numbers"][row]], 0.98)
    expected = np.clip(model.inverse_transform(code), 0, 1).reshape(28, 28) * 255
    np.testing.assert_allclose(tile(page, document, "numbers", row * 5 + place), expected, atol=0.51)


def test_similar_codes_lie_near_each_other(document, images):
    places = np.array(document["places"])
    assert places.shape == (len(images), 2)
    np.testing.assert_allclose((places.min(0), places.max(0)), ([0, 0], [1, 1]), atol=1e-4)
    to_neighbour = np.linalg.norm(places - places[[row[0] for row in document["neighbours"]]], axis=1)
    others = np.linalg.norm(places[:, None] - places[None], axis=-1)
    assert np.median(to_neighbour) < np.median(others) / 2


def test_the_page_shows_it(page, document, browser):  # noqa: F811 - the fixture
    worst, other = (document["names"][i] for i in np.argsort(document["errors"])[[-1, -4]])
    with page_server(page) as server, served(server) as address, visit(browser, address, "tab=inspect") as view:
        assert view.locator("h3").first.inner_text().startswith(worst)
        view.get_by_role("button", name=other).first.click()
        assert view.locator("h3").first.inner_text().startswith(other)
        places = np.array(document["places"])
        distances = np.linalg.norm(places[:, None] - places[None], axis=-1) + 9 * np.eye(len(places))
        alone = int(distances.min(0).argmax())  # no other image lies near it
        x, y = places[alone]
        side = view.locator("canvas.scatter").bounding_box()["width"]
        place = {"x": side * (0.03 + 0.94 * x), "y": side * (0.03 + 0.94 * y)}
        view.locator("canvas.scatter").click(position=place)
        assert view.locator("h3").first.inner_text().startswith(document["names"][alone])
        with view.expect_download() as download:
            view.get_by_text("Scores as a table").click()
        assert download.value.path().read_bytes() == (page / "scores.csv").read_bytes()
        view.click("#language")
        assert view.get_by_text("重建得最差的图像").is_visible()
        view.click("#tab-denoise")
        view.wait_for_selector("#panel-denoise:not([aria-busy])")


def test_large_images_are_shrunk(tmp_path):
    images = np.random.default_rng(0).random((3, 96, 160, 3), np.float32)
    options = {"channels": (4,), "downsample": "strided", "n_steps": 1, "random_state": 0}
    model = hg.ConvAutoencoder(**options).fit(images)
    write_inspection(model, images, tmp_path / "page")
    document = json.loads((tmp_path / "page" / "data" / "inspect.json").read_text())
    assert document["tile"] == [38, 64]
    assert document["labels"] is None
    assert [len(each) for each in document["neighbours"]] == [2, 2, 2]
    assert tile(tmp_path / "page", document, "originals", 2).shape == (38, 64, 3)


def test_a_training_on_another_scale(tmp_path):
    images = np.random.default_rng(0).integers(0, 1000, (5, 8, 8, 1)).astype(np.float32)
    model = hg.DenseAutoencoder(code_size=3, loss="mse", n_steps=2, random_state=0).fit(images)
    write_inspection(model, images, tmp_path)
    document = json.loads((tmp_path / "data" / "inspect.json").read_text())
    found = tile(tmp_path, document, "originals", 1)
    low, high = model.pixel_range_
    np.testing.assert_allclose(found, (images[1, ..., 0] - low) / (high - low) * 255, atol=0.51)


def test_bytes_and_rows_are_shown_as_numbers_are(model, images, tmp_path):
    """Pixels as bytes, and images as rows, as the estimators take them."""
    as_bytes = np.rint(images * 255).astype(np.uint8)
    write_inspection(model, as_bytes / np.float32(255), tmp_path / "numbers")
    write_inspection(model, as_bytes, tmp_path / "bytes")
    write_inspection(model, (as_bytes / np.float32(255)).reshape(len(images), -1), tmp_path / "rows")
    expected, *others = (tmp_path / name / "data" for name in ("numbers", "bytes", "rows"))
    for folder in others:
        for name in ("originals.png", "errors.png"):
            assert (folder / name).read_bytes() == (expected / name).read_bytes()
        errors = [json.loads((each / "inspect.json").read_text())["errors"] for each in (folder, expected)]
        np.testing.assert_allclose(*errors)


def test_bytes_are_refused_where_the_training_had_another_scale(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 1))
    model = hg.DenseAutoencoder(code_size=3, loss="mse", n_steps=2, random_state=0).fit(images.astype(np.float32))
    with pytest.raises(ValueError, match="give them as floating-point numbers on that scale"):
        write_inspection(model, images.astype(np.uint8), tmp_path / "page")
    assert not (tmp_path / "page").exists()


def test_a_plain_page_does_not_replace_one_with_images(page):
    """Its images would stay in the folder, and be published with it."""
    before = (page / "index.html").read_bytes()
    with pytest.raises(FileExistsError, match="has a page with images"):
        write_page(page, overwrite=True)
    assert (page / "index.html").read_bytes() == before


def test_what_cannot_be_shown_is_refused(model, images, tmp_path):
    for count, message in ((1, "1 images; a page shows from 2"), (0, "0 images")):
        with pytest.raises(ValueError, match=message):
            write_inspection(model, images[:count], tmp_path / "page")
    with pytest.raises(ValueError, match="3 names for 40 images"):
        write_inspection(model, images, tmp_path / "page", names=["a", "b", "c"])
    with pytest.raises(ValueError, match="labels are not all whole numbers from 0 to 9"):
        write_inspection(model, images, tmp_path / "page", labels=np.arange(len(images)))
    with pytest.raises(ValueError, match="no code"):
        write_inspection(hg.load_pretrained("photo"), images, tmp_path / "page")
    assert not (tmp_path / "page").exists()


def test_the_command(hourglass, model, images, tmp_path):
    hg.save(model, tmp_path / "model")
    (tmp_path / "images").mkdir()
    for i, image in enumerate(images[:5]):
        Image.fromarray(np.rint(image[..., 0] * 255).astype(np.uint8)).save(tmp_path / "images" / f"{i}.png")
    (tmp_path / "images" / "broken.png").write_bytes(b"no image")
    code, out, err = hourglass("inspect", "model", "images", "--out", "page")
    assert code == 1  # a file failed, and the others are shown
    assert "5 images; to see the page: hourglass serve page" in out
    assert "broken.png" in err
    document = json.loads((tmp_path / "page" / "data" / "inspect.json").read_text())
    assert document["names"] == [f"images/{i}.png" for i in range(5)]
    code, _, err = hourglass("inspect", "model", "nowhere", "--out", "page")
    assert code == 1  # before anything is read
    assert "exists; overwrite (--overwrite) replaces it" in err
    assert hourglass("inspect", "model", "--dataset", "sample", "--out", "sample")[0] == 0
    code, _, err = hourglass("inspect", "model", "images/broken.png", "images/1.png", "--out", "none")
    assert code == 1
    assert "images that could be read is 1, and a page needs 2; nothing was written" in err
    code, _, err = hourglass("inspect", "model", "--out", "none")
    assert (code, err) == (2, "hourglass: give either IMAGES or --dataset\n")
    assert not (tmp_path / "none").exists()
