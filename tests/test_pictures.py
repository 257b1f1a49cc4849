"""Picture files: what goes in comes out in the same form; tiles do not show; folders lose nothing."""

import shutil

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import hourglass as hg
from hourglass.pictures import (
    PictureRestorer,
    apply_in_tiles,
    find_pictures,
    plan,
    process,
    read_picture,
    training_images,
    write_picture,
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


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        *((f"a.{suffix}", mode) for suffix in ("png", "tif") for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")),
        *(("a.jpg", mode) for mode in ("L", "RGB", "CMYK")),
        *(("a.bmp", mode) for mode in ("L", "RGB")),
        *(("a.webp", mode) for mode in ("RGB", "RGBA")),
        ("a.tif", "F"),
    ],
)
def test_a_picture_comes_back_in_the_form_it_had(name, mode, tmp_path):
    path, again = tmp_path / name, tmp_path / f"again-{name}"
    if mode == "I;16":
        image = Image.fromarray(gradient(20, 33, 1, 16)[..., 0])
    elif mode == "F":
        image = Image.fromarray(gradient(20, 33, 1)[..., 0].astype(np.float32) * 7.5)
    elif mode in ("LA", "RGBA"):
        image = Image.fromarray(gradient(20, 33, len(mode)))
    else:
        image = Image.fromarray(gradient(20, 33, 3)).convert(mode)
    image.save(path, dpi=(300, 300))
    picture = read_picture(path)
    assert picture.pixels.shape[:2] == (20, 33)
    write_picture(again, picture, picture.pixels)
    with Image.open(path) as before, Image.open(again) as after:
        assert (after.size, after.mode, after.format) == (before.size, before.mode, before.format)
        kind = "RGBA" if "A" in mode else "RGB"
        exact = name.endswith(("png", "tif", "bmp"))
        if mode in ("I;16", "F"):
            np.testing.assert_array_equal(np.asarray(after), np.asarray(before))
        else:
            a, b = (np.asarray(image.convert(kind)).astype(int) for image in (before, after))
            assert np.abs(a - b).max() <= (0 if exact else 40)
            assert np.abs(a - b).mean() <= (0 if exact else 6)


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
@pytest.mark.parametrize("channels", [3, 4])
def test_16_bit_colour_is_kept_to_the_last_bit(name, channels, tmp_path):
    if name == "a.tif" and channels == 4:
        tifffile.imwrite(tmp_path / name, gradient(9, 11, 4, 16), photometric="rgb", extrasamples=["unassalpha"])
    else:
        save_deep(tmp_path / name, gradient(9, 11, channels, 16))
    picture = read_picture(tmp_path / name)
    assert picture.depth == 16
    assert picture.pixels.shape == (9, 11, 3)
    write_picture(tmp_path / f"b{name}", picture, picture.pixels)
    again = read_picture(tmp_path / f"b{name}")
    assert again.depth == 16
    np.testing.assert_array_equal(again.pixels, picture.pixels)
    if channels == 4:
        np.testing.assert_array_equal(again.alpha, gradient(9, 11, 4, 16)[..., 3:])


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_exif_orientation_is_seen_upright_and_stored_as_it_was(orientation, suffix, tmp_path):
    from PIL import ImageOps

    path, again = tmp_path / f"a.{suffix}", tmp_path / f"b.{suffix}"
    image = Image.fromarray(gradient(40, 24, 3))
    exif = image.getexif()
    exif[0x0112] = orientation
    image.save(path, exif=exif, quality=95)
    picture = read_picture(path)
    with Image.open(path) as stored:
        upright = np.asarray(ImageOps.exif_transpose(stored).convert("RGB"))
        size = stored.size
    np.testing.assert_allclose(picture.pixels * 255, upright, atol=1e-3)
    write_picture(again, picture, picture.pixels)
    with Image.open(again) as out:
        assert out.size == size
        assert out.getexif().get(0x0112, 1) == orientation
        shown = np.asarray(ImageOps.exif_transpose(out).convert("RGB")).astype(int)
    assert np.abs(shown - upright).max() <= (0 if suffix == "png" else 12)


def test_16_bit_png_keeps_its_orientation(tmp_path):
    from hourglass.pictures.files import _with_metadata

    exif = Image.Exif()
    exif[0x0112] = 6
    save_deep(tmp_path / "a.png", gradient(5, 8, 3, 16))
    (tmp_path / "a.png").write_bytes(_with_metadata((tmp_path / "a.png").read_bytes(), {"exif": exif.tobytes()}))
    picture = read_picture(tmp_path / "a.png")
    assert picture.pixels.shape == (8, 5, 3)
    write_picture(tmp_path / "b.png", picture, picture.pixels)
    again = read_picture(tmp_path / "b.png")
    assert again.orientation == 6
    np.testing.assert_array_equal(again.pixels, picture.pixels)


def test_what_is_no_picture_is_named(tmp_path):
    (tmp_path / "text.png").write_text("not an image")
    with pytest.raises(OSError, match=r"text\.png is not an image"):
        read_picture(tmp_path / "text.png")
    Image.fromarray(gradient(90, 90, 3)).save(tmp_path / "whole.jpg")
    content = (tmp_path / "whole.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(content[: len(content) // 2])
    with pytest.raises(OSError, match=r"cut\.jpg is damaged"):
        read_picture(tmp_path / "cut.jpg")
    frames = [Image.fromarray(gradient(9, 9, 3)) for _ in range(3)]
    frames[0].save(tmp_path / "many.tif", save_all=True, append_images=frames[1:])
    with pytest.raises(ValueError, match="holds 3 images"):
        read_picture(tmp_path / "many.tif")
    save_deep(tmp_path / "deep.png", gradient(60, 60, 3, 16))
    content = (tmp_path / "deep.png").read_bytes()
    (tmp_path / "deepcut.png").write_bytes(content[: len(content) // 2])
    with pytest.raises(OSError, match="damaged"):
        read_picture(tmp_path / "deepcut.png")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"dtype": "int32"}, "signed numbers of 32 bits"),
        ({"dtype": "uint32"}, "unsigned numbers of 32 bits"),
        ({"dtype": "int16"}, "signed numbers of 16 bits"),
        ({"dtype": "uint16", "photometric": "separated"}, "neither grey nor RGB"),
    ],
)
def test_a_tiff_that_cannot_be_given_back_as_it_was_is_refused(options, said, tmp_path):
    array = np.ones((6, 7, 4) if "photometric" in options else (6, 7), options.pop("dtype"))
    tifffile.imwrite(tmp_path / "a.tif", array, **options)
    with pytest.raises(ValueError, match=said):
        read_picture(tmp_path / "a.tif")


def test_16_bit_tiffs_of_every_layout_keep_their_picture(tmp_path):
    grey, colour = gradient(9, 11, 1, 16)[..., 0], gradient(9, 11, 3, 16)
    tifffile.imwrite(tmp_path / "white.tif", 65535 - grey, photometric="miniswhite")
    tifffile.imwrite(tmp_path / "planes.tif", np.moveaxis(colour, 2, 0), photometric="rgb", planarconfig="separate")
    for name, expected in (("white.tif", grey[..., None]), ("planes.tif", colour)):
        picture = read_picture(tmp_path / name)
        write_picture(tmp_path / f"b{name}", picture, picture.pixels)
        again = read_picture(tmp_path / f"b{name}")
        assert (again.depth, again.mode) == (16, picture.mode)
        np.testing.assert_allclose(again.pixels * 65535, expected, atol=0.01)


def test_a_palette_of_greys_and_a_lossless_webp_lose_nothing(tmp_path):
    Image.fromarray(gradient(30, 40, 1)[..., 0]).convert("P").save(tmp_path / "a.png")
    Image.fromarray(gradient(30, 40, 3)).save(tmp_path / "a.webp", lossless=True)
    for name in ("a.png", "a.webp"):
        picture = read_picture(tmp_path / name)
        write_picture(tmp_path / f"b{name}", picture, picture.pixels)
        np.testing.assert_array_equal(read_picture(tmp_path / f"b{name}").pixels, picture.pixels)


def test_a_large_grey_picture_is_not_taken_for_a_bomb(tmp_path):
    Image.new("L", (12000, 8000)).save(tmp_path / "large.png")
    assert read_picture(tmp_path / "large.png").pixels.shape == (8000, 12000, 1)


def test_not_a_number_in_a_picture_is_refused(tmp_path):
    array = np.zeros((5, 6), np.float32)
    array[2, 2] = np.nan
    tifffile.imwrite(tmp_path / "a.tif", array)
    with pytest.raises(ValueError, match="NaN or infinite pixels"):
        read_picture(tmp_path / "a.tif")


def test_whatever_a_decoder_raises_costs_one_file_alone(folder, tmp_path, digits_model, monkeypatch):
    from hourglass.pictures import files

    ordinary = files._ordinary

    def fails(image, content):
        if image.mode == "L":
            raise KeyError("PSD")
        return ordinary(image, content)

    monkeypatch.setattr(files, "_ordinary", fails)
    outcomes = list(process(plan(folder, tmp_path / "out"), PictureRestorer(digits_model)))
    assert [str(o.error) for o in outcomes if o.source.name == "grey.png"] == [
        f"{folder / 'grey.png'} is damaged ('PSD')"
    ]
    assert sum(o.error is None for o in outcomes) == 3


def test_other_formats_under_a_known_suffix_are_not_read(tmp_path):
    Image.fromarray(gradient(9, 9, 3)).save(tmp_path / "a.png", "GIF")
    with pytest.raises(OSError, match="not an image, or of a format that is not read"):
        read_picture(tmp_path / "a.png")


def test_a_folder_that_cannot_be_read_fails_by_name(folder, tmp_path, monkeypatch):
    import os

    locked = folder / "sub"
    scandir = os.scandir

    def refuse(path="."):
        if os.fspath(path) == str(locked):
            raise PermissionError(13, "Permission denied", str(locked))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert locked in find_pictures(folder)


def test_a_picture_on_another_scale_than_the_models_is_refused(digits_model):
    with pytest.raises(ValueError, match=r"the picture spans \[0, 1020\].*bring the images to that scale"):
        PictureRestorer(digits_model)(np.linspace(0, 1020, 900, dtype=np.float32).reshape(30, 30, 1))


def three_by_three(pixels):
    """A function with a radius of 1 that sees where the image ends: zeros outside, as in a convolution."""
    padded = np.pad(pixels, ((1, 1), (1, 1), (0, 0)))
    height, width = pixels.shape[:2]
    return sum(padded[i : i + height, j : j + width] * (1 + i + 3 * j) for i in range(3) for j in range(3)) / 45


@settings(deadline=None, max_examples=60)
@given(
    st.integers(1, 70), st.integers(1, 70), st.integers(1, 3), st.integers(1, 4), st.integers(2, 5), st.integers(0, 9)
)
def test_tiles_equal_the_whole(height, width, channels, stride, overlaps, more):
    pixels = np.random.default_rng(0).random((height, width, channels), dtype=np.float32)
    overlap = stride * max(overlaps, -(-3 // stride))
    tile = 2 * overlap + stride * more
    tiled = apply_in_tiles(pixels, three_by_three, tile=tile, overlap=overlap, radius=1, stride=stride)
    np.testing.assert_allclose(tiled, three_by_three(pixels), atol=1e-6)


def test_tiles_that_do_not_fit_are_refused():
    pixels = np.zeros((9, 9, 1), np.float32)
    for tile, overlap in [(10, 4), (8, 3), (8, 8)]:
        with pytest.raises(ValueError, match="tile="):
            apply_in_tiles(pixels, three_by_three, tile=tile, overlap=overlap, radius=1, stride=4)


@pytest.fixture(scope="module")
def digits_model(few):
    return hg.ConvAutoencoder(channels=(8, 8), noise=0.3, batches=30, random_state=0).fit(few.train.images)


@pytest.mark.parametrize("skip", [False, True])
def test_a_networks_tiles_equal_the_whole(few, skip):
    ae = hg.ConvAutoencoder(channels=(4, 8), skip=skip, batches=20, random_state=0).fit(few.train.images)
    pixels = np.random.default_rng(0).random((301, 214, 1), dtype=np.float32)
    whole = ae.reconstruct(pixels[None])[0]
    restorer = PictureRestorer(ae, tile=64)
    assert restorer.overlap > 2 * restorer.radius
    np.testing.assert_allclose(restorer(pixels), whole, atol=1e-5)
    # Less overlap than the receptive field: seams fade, and stay small against the picture's range.
    rough = PictureRestorer(ae, tile=64, overlap=16)(pixels)
    assert np.abs(rough - whole).max() < 0.2 * np.ptp(whole)


def test_grey_models_take_colour_and_colour_models_grey(few, digits_model):
    colour = np.random.default_rng(0).random((30, 41, 3), dtype=np.float32)
    out = PictureRestorer(digits_model)(colour)
    for i in range(3):
        np.testing.assert_allclose(out[..., i : i + 1], digits_model.reconstruct(colour[None, ..., i : i + 1])[0])
    rgb = hg.ConvAutoencoder(channels=(4,), batches=3, random_state=0).fit(np.repeat(few.train.images[:50], 3, axis=3))
    assert PictureRestorer(rgb)(colour[..., :1]).shape == (30, 41, 1)
    dense = hg.DenseAutoencoder(batches=5, random_state=0).fit(few.train.images)
    for shape in [(28, 28, 1), (10, 61, 1), (77, 90, 3)]:
        assert PictureRestorer(dense)(np.zeros(shape, np.float32)).shape == shape
    image = few.test.images[0]
    np.testing.assert_allclose(PictureRestorer(dense)(image), dense.reconstruct(image[None])[0], atol=1e-6)
    two = hg.DenseAutoencoder(batches=1).fit(np.zeros((5, 3, 3, 2)))
    with pytest.raises(ValueError, match="2 channels"):
        PictureRestorer(two)


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
    pairs = plan(folder, out)
    outcomes = list(process(pairs, PictureRestorer(digits_model)))
    assert {o.source.name for o in outcomes if o.error} == {"text.png", "cut.jpg"}
    written = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert written == {"grey.png", "sub/colour.JPG", "sub/deep/grey16.tif", "sub/rgb16.png"}
    for name in written:
        before, after = read_picture(folder / name), read_picture(out / name)
        assert (before.pixels.shape, before.mode, before.depth) == (after.pixels.shape, after.mode, after.depth)
    with pytest.raises(FileExistsError, match="4 of 6 outputs exist already"):
        plan(folder, out)
    again = list(process(plan(folder, out, resume=True), PictureRestorer(digits_model), resume=True))
    assert sum(o.skipped for o in again) == 4
    assert len(plan(folder, out, overwrite=True)) == 6


def test_folders_that_would_harm_are_refused(folder, tmp_path):
    with pytest.raises(FileExistsError, match="the inputs themselves"):
        plan(folder, folder, overwrite=True)
    with pytest.raises(FileExistsError, match="is a file"):
        plan(folder, folder / "grey.png")
    with pytest.raises(FileNotFoundError, match="neither a folder nor a file"):
        plan(tmp_path / "none", tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="holds no image files"):
        plan(tmp_path / "empty", tmp_path / "out")
    # An output folder inside the input is not read again.
    inside = folder / "out"
    inside.mkdir()
    shutil.copy(folder / "grey.png", inside / "grey.png")
    assert len(find_pictures(folder, beside=inside)) == 6
    assert plan(folder / "grey.png", tmp_path / "one") == [(folder / "grey.png", tmp_path / "one" / "grey.png")]


def test_a_failed_write_leaves_nothing(folder, tmp_path, digits_model, monkeypatch):
    def fail(*args, **kwargs):
        raise OSError("No space left on device")

    monkeypatch.setattr("hourglass.pictures.files._encode", fail)
    outcomes = list(process(plan(folder / "grey.png", tmp_path / "out"), PictureRestorer(digits_model)))
    assert "No space left" in str(outcomes[0].error)
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]


def test_training_images_are_cut_or_resized(folder):
    good = [path for path in find_pictures(folder) if path.name not in ("text.png", "cut.jpg")]
    cuts = training_images(good, size=(16, 20), count=40)
    assert cuts.shape == (40, 16, 20, 3)
    assert cuts.dtype == np.float32
    assert np.array_equal(cuts, training_images(good, size=(16, 20), count=40))
    assert not np.array_equal(cuts, training_images(good, size=(16, 20), count=40, random_state=1))
    assert training_images(good, size=(64, 64), count=4, colour="grey").shape == (4, 64, 64, 1)
    whole = training_images(good, size=(10, 12), whole=True)
    assert whole.shape == (4, 10, 12, 3)
    bad = []
    assert len(training_images(find_pictures(folder), size=(8, 8), count=6, on_outcome=bad.append)) == 4
    assert {outcome.source.name for outcome in bad if outcome.error} == {"text.png", "cut.jpg"}
    with pytest.raises(OSError, match="not an image"):
        training_images([folder / "text.png"], size=(8, 8))
    with pytest.raises(ValueError, match="no picture could be read"):
        training_images([folder / "text.png"], size=(8, 8), on_outcome=bad.append)
