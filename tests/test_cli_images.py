"""The commands on images and models, as a person and as a script meet them."""

import csv
import io
import json

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def digits(tmp_path, few):
    """Twelve noisy digits as files, one of them no image."""
    folder = tmp_path / "digits"
    (folder / "more").mkdir(parents=True)
    for i, image in enumerate(few.test.images[:12, ..., 0]):
        Image.fromarray(np.round(image * 255).astype(np.uint8)).save(folder / ("more" if i % 2 else ".") / f"{i}.png")
    return folder


QUICK = ("--steps", "3", "--set", "batch_size=4")


def test_denoise_works_before_anything_was_trained(hourglass, digits):
    (digits / "bad.png").write_text("no image")
    code, out, err = hourglass("denoise", digits, "out")
    assert (code, out) == (1, "")
    lines = err.splitlines()
    [said] = [line for line in lines if line.startswith("hourglass: ")]
    assert "bad.png is a text file and not an image" in said
    assert lines[-1] == (
        "denoise: 12 done, 1 failed; range 0 to 255 (8 bits); no noise was found, so that nothing was changed"
    )
    assert len(list(digits.parent.joinpath("out").rglob("*.png"))) == 12
    (digits / "bad.png").unlink()
    code, _, err = hourglass("denoise", digits, "out")
    assert code == 1
    assert err.count("\n") == 1
    assert "overwrite (--overwrite) replaces them, resume (--resume) keeps them" in err
    assert hourglass("denoise", digits, "out", "--resume")[2] == "denoise: 0 done, 12 there already\n"
    assert hourglass("denoise", digits, "out", "--overwrite", "--quiet") == (0, "", "")
    assert hourglass("denoise", digits, "out", "--overwrite", "--resume")[0] == 2
    assert hourglass("denoise", digits, digits, "--overwrite")[0] == 1
    assert hourglass("denoise", "nowhere", "out2")[0] == 1


def test_train_then_every_use_of_the_model(hourglass, digits):
    code, out, err = hourglass("train", digits, "--out", "model", "--resize", "28x28", *QUICK)
    assert (code, out) == (0, "model: model\n"), err
    assert hourglass("train", digits, "--out", "model", "--resize", "28x28", *QUICK)[0] == 1
    assert hourglass("reconstruct", digits, "again", "--model", "model", "-q") == (0, "", "")
    for name in ("codes.npy", "codes.csv"):
        assert hourglass("encode", digits, name, "--model", "model", "-q")[0] == 0
        assert hourglass("encode", digits, name, "--model", "model")[0] == 1
        assert hourglass("decode", name, f"from-{name}", "--model", "model", "-q")[0] == 0
        decoded = sorted(path.name for path in digits.parent.joinpath(f"from-{name}").rglob("*.png"))
        assert decoded == sorted(path.name for path in digits.rglob("*.png"))
        assert hourglass("decode", name, f"from-{name}", "--model", "model")[0] == 1
    a, b = (Image.open(digits.parent / f"{folder}/0.png") for folder in ("again", "from-codes.npy"))
    assert np.abs(np.asarray(a).astype(int) - np.asarray(b).astype(int)).max() <= 1
    code, out, _ = hourglass("evaluate", digits, "--model", "model", "-q", "--format", "json")
    assert code == 0
    methods = {row["method"] for row in json.loads(out)}
    assert "model" in methods
    # Twelve images are too few for as many components as the code has numbers.
    assert not any(method.startswith("PCA") for method in methods)
    assert "PCA is left out" in hourglass("evaluate", digits, "--model", "model")[2]
    code, out, _ = hourglass("info", "--model", "model")
    assert code == 0
    assert "28 × 28 × 1" in out
    assert "resized to 28×28" in out
    code, out, _ = hourglass("info", "--json")
    assert json.loads(out)["any_size"] is True
    code, out, _ = hourglass("export", "m.onnx", "--model", "model", "--part", "encoder")
    assert code == 0
    assert "codes tensor(float) (n, 128)" in out
    assert hourglass("export", "m.onnx", "--model", "model")[0] == 1


def test_a_denoiser_is_trained_on_cuts_and_evaluated_beside_the_others(hourglass, digits):
    words = ("--network", "conv", "--crop", "20", "--n-crops", "24", "--noise", "0.1-0.3", "-q", *QUICK)
    assert hourglass("train", digits, "--out", "model", *words) == (0, "", "")
    code, out, _ = hourglass("info", "--model", "model", "--json")
    parameters = json.loads(out)["parameters"]
    assert parameters["skip"] is parameters["residual"] is True
    assert parameters["corruption"]["level"] == [0.1, 0.3]
    code, _, err = hourglass("encode", digits, "codes.npy", "--model", "model")
    assert (code, len(err.splitlines())) == (1, 1)
    assert "and no code" in err
    code, out, _ = hourglass("evaluate", digits, "--model", "model", "--format", "csv", "--quiet")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert {row["method"] for row in rows} == {
        "noisy", "model", "total variation", "non-local means", "wavelet", "median",
    }  # fmt: skip
    assert len(rows) == 6 * 13
    noisy = [float(row["psnr_db"]) for row in rows if row["method"] == "noisy"]
    assert np.mean(noisy[:-1]) == pytest.approx(noisy[-1])
    code, out, _ = hourglass("evaluate", digits, "--noise", "0.3", "-q")
    assert code == 0
    assert len([line for line in out.splitlines() if line.startswith("mean")]) == 6
    code, _, err = hourglass(
        "train", digits, "--out", "n2s", "--self-supervised", "--network", "conv", "--crop", "20", *QUICK
    )
    assert code == 0, err
    assert hourglass("evaluate", digits, "--model", "n2s")[0] == 2
    assert hourglass("denoise", digits, "o", "--model", "n2s", "--undo-clipping", "0.3", "-q")[0] == 0
    assert hourglass("denoise", digits, "o2", "--model", "n2s", "--undo-clipping", "estimate", "-q")[0] == 0


def test_codes_stand_beside_as_many_principal_components(hourglass, digits):
    words = ("--network", "dense", "--resize", "28x28", "--set", "code_size=3", "-q", *QUICK)
    assert hourglass("train", digits, "--out", "model", *words) == (0, "", "")
    code, out, _ = hourglass("evaluate", digits, "--model", "model", "-q", "--format", "csv")
    assert code == 0
    assert {row["method"] for row in csv.DictReader(io.StringIO(out))} == {"model", "PCA (3)"}


def test_an_image_given_back_exactly_is_no_invalid_json(hourglass, digits):
    for path in digits.rglob("*.png"):
        Image.new("L", (28, 28)).save(path)
    code, out, _ = hourglass("evaluate", digits, "--noise", "masking:0.2", "--format", "json", "-q")
    assert code == 0

    def refuse(word):
        raise AssertionError(word)

    rows = json.loads(out, parse_constant=refuse)
    assert rows[0]["psnr_db"] is None
    assert rows[0]["mse"] == 0


def test_a_single_file_goes_to_a_folder_or_a_file_of_its_kind(hourglass, digits):
    one = digits / "0.png"
    assert hourglass("denoise", one, "clean.png", "-q") == (0, "", "")
    assert (digits.parent / "clean.png").is_file()
    assert hourglass("denoise", one, "clean.png", "-q")[0] == 1
    assert hourglass("denoise", one, one, "--overwrite", "-q")[0] == 1
    assert hourglass("denoise", one, "clean.jpg", "-q")[0] == 1
    assert hourglass("denoise", one, "folder", "-q")[0] == 0
    assert (digits.parent / "folder" / "0.png").is_file()


def test_where_nothing_can_be_written_is_said_before_the_work(hourglass, digits):
    (digits.parent / "file").write_text("mine")
    code, _, err = hourglass("train", digits, "--out", "file", *QUICK)
    assert code == 1
    assert "file is a file" in err
    assert hourglass("train", digits, "--out", "m", "--resize", "28x28", "-q", *QUICK)[0] == 0
    code, _, err = hourglass("encode", digits, "file/codes.npy", "--model", "m")
    assert code == 1
    assert "is a file" in err
    (digits.parent / "codes.names.json").write_text("my notes")
    code, _, err = hourglass("encode", digits, "codes.npy", "--model", "m")
    assert code == 1
    assert "codes.names.json exists" in err
    assert (digits.parent / "codes.names.json").read_text() == "my notes"


def test_misuse_is_one_line_and_exit_2(hourglass, digits):
    for words, said in [
        (("train", digits, "--out", "m", "--crop", "8", "--resize", "8x8"), "give one of them"),
        (("train", digits, "--out", "m", "--resize", "8"), "HEIGHTxWIDTH"),
        (("train", digits, "--out", "m", "--noise", "fog:2"), "'fog' is unknown"),
        (("train", digits, "--out", "m", "--noise", "0.1", "--self-supervised"), "leave noise out"),
        (("train", digits, "--out", "m", "--set", "depth=3"), "depth"),
        (("train", digits, "--out", "m", "--set", "batch_size=0"), "batch_size=0"),
        (("train", digits, "--out", "m", "--epochs", "1", "--steps", "1"), "give one of them"),
        (("encode", digits, "codes.txt", "--model", "m"), ".npy, .csv"),
        (("denoise", digits, "o", "--undo-clipping", "much"), "neither a level"),
        (("denoise", digits, "o", "--undo-clipping", "inf"), "neither a level"),
        (("denoise", digits, "o", "--undo-clipping", "1_0"), "neither a level"),
        (("train", digits, "--out", "o", "--resize", "²x3"), "is not HEIGHTxWIDTH"),
        (("evaluate", digits, "--noise", "x"), "neither a number above 0 nor a range"),
        (("evaluate", digits, "--resize"), "for models that compress"),
        (("denoise", digits), "OUT"),
    ]:
        code, out, err = hourglass(*words)
        assert (code, out) == (2, ""), words
        assert said in err
        assert len(err.splitlines()) == 1


def test_failures_are_one_line_and_exit_1(hourglass, digits):
    for words, said in [
        (("denoise", digits, "o", "--model", "nowhere"), "neither a folder nor a model of the package (photo"),
        (("denoise", digits, "o", "--overlap", "40"), "No such option: --overlap"),
        (("denoise", digits, "o", "--tile", "64"), "No such option: --tile"),
        (("encode", digits, "c.npy"), "--model"),
    ]:
        code, out, err = hourglass(*words)
        assert code in (1, 2)
        assert not out
        assert said in err
        assert len(err.splitlines()) == 1
    assert sorted(path.name for path in digits.parent.iterdir()) == ["digits"]
