"""Denoising that works at once: levels, arrays of any kind, the commands, images that are no photographs."""

import importlib.util
import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import hourglass as hg
from hourglass.denoising import NoiseLevel, noise_bound, parse_noise_level
from hourglass.denoising.noise_bound import windows_of
from hourglass.errors import OptionError

TOOLS = Path(__file__).parents[1] / "tools"


@pytest.fixture(scope="module")
def coffee():
    """A part of a photograph, uint8."""
    return skimage.data.coffee()[120:248, 200:360]


def noisy(image, level=25, seed=0):
    """An image with normal noise, clipped and rounded, uint8."""
    return np.clip(np.rint(image + np.random.default_rng(seed).normal(0, level, image.shape)), 0, 255).astype(np.uint8)


def psnr(clean, restored, width=255.0):
    return -10 * np.log10(np.mean(np.square(np.asarray(clean, float) - restored)) / width**2)


@pytest.mark.parametrize("level", [5, 15, 40])
def test_the_bound_is_near_the_level_in_a_photograph_and_scales_with_it(coffee, level):
    pixels = (coffee + np.random.default_rng(0).normal(0, level, coffee.shape)) / 255
    bound = noise_bound(pixels)
    assert 0.9 * level / 255 < bound < 1.5 * level / 255 + 0.02
    assert noise_bound(0.5 * pixels + 0.2) == pytest.approx(0.5 * bound, rel=1e-6)


def test_images_with_even_areas_have_no_noise():
    y, x = np.mgrid[:120, :160]
    drawing = np.where((x // 8 + y // 8) % 2, 1.0, 0.3)[..., None]
    ramp = (x / 159)[..., None]
    for image in (drawing, ramp, np.zeros((40, 40, 3)), np.rint(255 * ramp) / 255):
        assert noise_bound(image) == 0
    assert noise_bound(np.zeros((7, 50, 1))) == np.inf


def test_a_large_image_is_judged_by_windows_all_over_it():
    image = np.random.default_rng(0).normal(0.5, 0.1, (1500, 4000, 1)).astype(np.float32)
    assert noise_bound(image) == pytest.approx(noise_bound(image[:1000, :1000]), rel=0.03)
    image[:300], image[:, :900] = 1, 0  # a sky that is burnt out, and a border
    assert noise_bound(image) == pytest.approx(0.1, rel=0.1)
    for height, width in ((1, 9_000_000), (3_000, 20_000), (400, 3_200), (5_000, 5_000), (70_000, 300)):
        windows = windows_of(height, width)
        assert sum((r.stop - r.start) * (c.stop - c.start) for r, c in windows) <= 1_700_000
        assert all(0 <= r.start < r.stop <= height and 0 <= c.start < c.stop <= width for r, c in windows)
        middles = [((r.start + r.stop) / 2 / height, (c.start + c.stop) / 2 / width) for r, c in windows]
        assert min(m[0] for m in middles) <= 0.5 <= max(m[0] for m in middles)
        assert min(m[1] for m in middles) <= 0.5 <= max(m[1] for m in middles)


@pytest.mark.parametrize("even", [0, 255])
def test_a_noisy_photograph_with_even_borders_is_denoised(coffee, even):
    given_ = noisy(coffee)
    given_[:50] = even
    restored = hg.denoise(given_)
    assert psnr(coffee[60:], restored[60:]) > psnr(coffee[60:], given_[60:]) + 6
    np.testing.assert_allclose(restored[:40], even, atol=3)


def test_missing_data_do_not_count_as_free_of_noise(hourglass, tmp_path, coffee):
    values = noisy(coffee)[..., 0].astype(np.float32)
    clean = coffee[..., 0].astype(np.float32)
    values[:45] = np.nan
    np.save(tmp_path / "a.npy", values)
    code, _, err = hourglass("denoise", tmp_path / "a.npy", tmp_path / "b.npy", "--range", "0,255")
    assert code == 0
    assert float(err.split("noise level ")[1].split()[0]) == pytest.approx(25 / 255, rel=0.15)
    restored = np.load(tmp_path / "b.npy")
    assert np.isnan(restored[:45]).all()
    assert psnr(clean[50:], restored[50:]) > psnr(clean[50:], values[50:]) + 5


@pytest.mark.parametrize(
    ("text", "level"),
    [("auto", "auto"), ("0.1", 0.1), ("25/255", 25 / 255), ("1", 1.0), ("0", 0.0), (" 1e-2 ", 0.01), ("0.5/2", 0.25)],
)
def test_levels_as_people_write_them(text, level):
    assert parse_noise_level(text) == level


@pytest.mark.parametrize("text", ["25", "1.01", "300/255", "-0.1", "much", "", "1/0", "nan", "inf", "1/2/3", "0,1"])
def test_what_is_no_level_is_refused(text):
    with pytest.raises(ValueError, match="noise level"):
        parse_noise_level(text)


def test_a_level_for_bytes_is_recognised():
    with pytest.raises(ValueError, match=r"the whole range of the numbers$"):
        parse_noise_level("2000")
    with pytest.raises(ValueError, match="write 25/255"):
        parse_noise_level("25")
    with pytest.raises(OptionError, match=r"25/255 = 0\.098"):
        NoiseLevel(25.0)


@pytest.mark.parametrize(("level", "strength"), [(-1, 1), (np.nan, 1), (True, 1), ("much", 1), (0.1, 0.4), (0.1, 1.6)])
def test_levels_and_strengths_out_of_range_are_refused(level, strength):
    with pytest.raises(OptionError):
        NoiseLevel(level, strength)


def test_one_line_denoises_bytes_and_what_else_people_have(coffee):
    spoilt = noisy(coffee)
    restored = hg.denoise(spoilt)
    assert restored.dtype == np.uint8
    assert psnr(coffee, restored) > psnr(coffee, spoilt) + 6
    floats = hg.denoise(spoilt / 255)
    assert floats.dtype == np.float64
    np.testing.assert_allclose(floats.clip(0, 1) * 255, restored, atol=0.51)
    half = hg.denoise((spoilt / 255).astype(np.float16))
    assert half.dtype == np.float16
    deep = hg.denoise(spoilt.astype(np.uint16) * 257)
    np.testing.assert_allclose(deep / 257, restored, atol=0.6)
    scaled = hg.denoise(spoilt * 3.0 + 1000, data_range=(1000, 1765))
    np.testing.assert_allclose((scaled - 1000) / 3, floats * 255, atol=1e-3)
    told = hg.denoise(spoilt, 25 / 255)
    assert psnr(coffee, told) > psnr(coffee, spoilt) + 6
    assert hg.denoise(spoilt, "0.098").shape == coffee.shape


def test_integers_of_other_types_are_scaled_as_in_files(coffee):
    spoilt = noisy(coffee)
    for values in (spoilt.astype(int), spoilt.astype(np.uint16) * 4, spoilt.astype(np.int32) * 1000 - 50_000):
        restored = hg.denoise(values)
        assert restored.dtype == values.dtype
        scale = (int(values.max()) - int(values.min())) / (int(spoilt.max()) - int(spoilt.min()))
        as_bytes = (restored - float(values.min())) / scale + spoilt.min()
        assert psnr(coffee, as_bytes) > psnr(coffee, spoilt) + 6


def test_axes_of_arrays(coffee):
    spoilt = noisy(coffee)
    restored = hg.denoise(spoilt)
    np.testing.assert_array_equal(hg.denoise(spoilt.transpose(2, 0, 1), channel_axis=0), restored.transpose(2, 0, 1))
    np.testing.assert_array_equal(hg.denoise(np.stack([spoilt, spoilt]))[1], restored)
    grey = hg.denoise(spoilt[..., 0])
    assert grey.shape == spoilt.shape[:2]
    np.testing.assert_array_equal(hg.denoise(spoilt[..., :1])[..., 0], grey)
    bands = hg.denoise(spoilt[..., [0, 1]], channel_axis=-1)
    np.testing.assert_array_equal(bands[..., 0], grey)
    alone = hg.denoise(spoilt.transpose(2, 0, 1), channel_axis=None)  # a stack of three grey images
    np.testing.assert_array_equal(alone[0], grey)


def test_what_is_no_image_is_refused(coffee):
    for wrong in (np.zeros(5), np.array(["a"]), np.zeros((3, 3), complex), np.full((9, 9), np.nan)):
        with pytest.raises(ValueError, match="image"):
            hg.denoise(wrong)
    for channels in (2, 4, 7):
        with pytest.raises(ValueError, match="give channel_axis=-1"):
            hg.denoise(np.zeros((30, 40, channels)))
    assert hg.denoise(np.zeros((0, 5, 3))).shape == (0, 5, 3)
    with pytest.raises(ValueError, match="channel_axis=5"):
        hg.denoise(coffee, channel_axis=5)
    with pytest.raises(ValueError, match="data_range"):
        hg.denoise(coffee, data_range=(1, 1))
    with pytest.raises(FileNotFoundError, match="neither a folder nor a model of the package"):
        hg.denoise(coffee, model="nowhere")
    with pytest.raises(OptionError, match="takes no noise level"):
        hg.denoise(coffee, 0.1, model="digits")


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from([np.uint8, np.int16, np.uint32, np.int64, np.uint64, np.float32, np.bool_]),
    st.integers(1, 20),
    st.integers(1, 20),
    st.integers(0, 2**31 - 1),
)
def test_any_small_array_comes_back_in_its_type_and_shape(dtype, height, width, seed):
    random = np.random.default_rng(seed)
    limits = (0, 1) if np.dtype(dtype).kind in "fb" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    values = (
        random.uniform(0, 1, (height, width)) * (limits[1] / 2)
        if dtype != np.bool_
        else random.random((height, width)) < 0.5
    )
    image = values.astype(dtype)
    before = image.copy()
    restored = hg.denoise(image)
    assert (restored.shape, restored.dtype) == (image.shape, image.dtype)
    np.testing.assert_array_equal(image, before)


def test_the_command_says_the_level_and_leaves_clean_images_alone(hourglass, tmp_path, coffee):
    folder = tmp_path / "in"
    folder.mkdir()
    Image.fromarray(noisy(coffee)).save(folder / "a.png")
    Image.fromarray(noisy(coffee[..., 0], 10)).save(folder / "b.png")
    Image.fromarray(np.kron(np.eye(40, dtype=np.uint8) * 200, np.ones((4, 4), np.uint8))).save(folder / "c.png")
    code, _, err = hourglass("denoise", folder, tmp_path / "out")
    assert code == 0
    lines = err.splitlines()
    assert [line.split(": ")[1] for line in lines[:3]] == ["a.png", "b.png", "c.png"]
    levels = [float(line.split("noise level ")[1].split()[0]) for line in lines[:2]]
    assert 0.08 < levels[0] < 0.11
    assert 0.03 < levels[1] < 0.05
    assert lines[2].endswith("c.png: no noise was found, so that nothing was changed")
    assert f"noise level 0.000 to {levels[0]:.3f} of the range" in lines[3]
    images = {name: np.asarray(Image.open(tmp_path / "out" / f"{name}.png")) for name in "abc"}
    assert psnr(coffee, images["a"]) > 27
    assert psnr(coffee[..., 0], images["b"]) > psnr(coffee[..., 0], Image.open(folder / "b.png")) + 2
    np.testing.assert_array_equal(images["c"], Image.open(folder / "c.png"))


def test_the_level_of_a_stream_is_said(hourglass, tmp_path, coffee):
    Image.fromarray(noisy(coffee)).save(tmp_path / "a.png")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO((tmp_path / "a.png").read_bytes())))
        code, _, err = hourglass("denoise", "-", tmp_path / "b.png")
    assert code == 0
    assert 0.08 < float(err.split("noise level ")[1].split()[0]) < 0.11
    assert psnr(coffee, Image.open(tmp_path / "b.png")) > 27


def test_a_level_and_a_strength_are_given(hourglass, tmp_path, coffee):
    Image.fromarray(noisy(coffee)).save(tmp_path / "a.png")
    taken = {}
    for name, words in {
        "told": ("--noise-level", "25/255"),
        "less": ("--noise-level", "25/255", "--strength", 0.5),
        "auto": ("--strength", 0.5),
        "zero": ("--noise-level", 0),
    }.items():
        code, _, err = hourglass("denoise", tmp_path / "a.png", tmp_path / f"{name}.png", *words)
        assert code == 0, err
        restored = np.asarray(Image.open(tmp_path / f"{name}.png"), float)
        taken[name] = np.sqrt(np.mean(np.square(restored - noisy(coffee))))
        assert err.count("noise level 0.098") == (2 if name in ("told", "less") else 0)
    assert taken["zero"] < taken["less"] < 0.9 * taken["told"]
    assert taken["auto"] < 0.9 * taken["told"]
    for words, said in (
        (("--noise-level", 25), "write 25/255"),
        (("--noise-level", "x"), "--noise-level 'x' is neither"),
        (("--strength", 2), "strength=2.0"),
        (("--noise-level", 0.1, "--model", "digits"), "leave noise_level (--noise-level)"),
    ):
        code, _, err = hourglass("denoise", tmp_path / "a.png", tmp_path / "x.png", *words)
        assert (code, err.count("\n")) == (2, 1)
        assert said in err


def test_a_large_image_is_restored_strip_by_strip(hourglass, tmp_path, coffee, monkeypatch):
    from hourglass.estimators import strips
    from hourglass.imagefiles import restorer

    tall = noisy(np.tile(coffee, (4, 1, 1)))
    Image.fromarray(tall).save(tmp_path / "a.png")
    assert hourglass("denoise", tmp_path / "a.png", tmp_path / "whole.png", "-q") == (0, "", "")
    monkeypatch.setattr(restorer, "_LARGE", 1000)
    monkeypatch.setattr(strips, "_PIXELS", 160 * 64)
    assert hourglass("denoise", tmp_path / "a.png", tmp_path / "strips.png", "-q") == (0, "", "")
    whole, cut = (np.asarray(Image.open(tmp_path / f"{name}.png"), int) for name in ("whole", "strips"))
    assert np.abs(whole - cut).max() <= 1
    assert psnr(np.tile(coffee, (4, 1, 1)), cut) > 27


def test_models_are_listed_and_named(hourglass, tmp_path, coffee):
    code, out, _ = hourglass("models")
    assert code == 0
    assert [line for line in out.splitlines() if not line.startswith(" ")] == ["photo", "photo-grey", "digits"]
    assert out.count("weights; ") == 3
    facts = json.loads(hourglass("info", "--json")[1])
    assert facts["model"] == "ImageDenoiser"
    assert facts["noise_level"] == "told or unknown"
    (tmp_path / "in").mkdir()
    Image.fromarray(coffee[:64, :64]).save(tmp_path / "in" / "a.png")
    code, out, err = hourglass("evaluate", tmp_path / "in", "--format", "json", "-q")
    assert code == 0, err
    rows = {row["method"]: row["psnr_db"] for row in json.loads(out) if row["file"] == "mean"}
    assert rows["noisy"] == pytest.approx(-20 * np.log10(25 / 255), abs=1)
    assert rows["model"] == max(rows.values())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["photo", "photo-grey"])
def test_the_exported_file_takes_a_level_or_none(name, hourglass, tmp_path, coffee):
    import onnxruntime

    image = coffee[:61, :83, : 3 if name == "photo" else 1]
    file = tmp_path / f"{name}.onnx"
    code, out, err = hourglass("export", file, "--model", name)
    assert code == 0, err
    assert "input: noise_level tensor(float) (1)" in out
    session = onnxruntime.InferenceSession(file)
    model = hg.load_pretrained(name, device="cpu")
    given_ = noisy(image)[None]
    for feed, level in (({}, None), ({"noise_level": np.array([0.1], np.float32)}, 0.1)):
        restored, as_bytes = session.run(None, {"images": given_} | feed)
        expected = model.reconstruct(given_ / 255.0, noise_level=level)
        np.testing.assert_allclose(restored, expected, atol=1e-4)
        assert as_bytes.dtype == np.uint8


@pytest.fixture(scope="module")
def no_photographs():
    sys.path.insert(0, str(TOOLS))
    try:
        spec = importlib.util.spec_from_file_location("others", TOOLS / "photos" / "others.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.others()
    finally:
        sys.path.remove(str(TOOLS))


def test_images_that_are_no_photographs_keep_what_they_show(no_photographs):
    assert len(no_photographs) == 20
    for name, (given_, wanted) in no_photographs.items():
        restored = hg.denoise(given_)
        if given_ is wanted:
            assert np.array_equal(restored, given_) or psnr(given_, restored) >= 40, name
        else:
            assert psnr(wanted, restored) > psnr(wanted, given_), name
            # Posterised images have few values left.
            assert len(np.unique(restored)) >= min(100, len(np.unique(wanted))), name
