"""Codes of images: tables of them, with any file name, and back."""

import numpy as np
import pytest
from PIL import Image

import hourglass as hg
from hourglass.imagefiles import find_images
from hourglass.imagefiles.code_tables import read_codes, write_codes
from hourglass.imagefiles.codes import encode_files, png_names


def test_names_of_decoded_images_are_kept_apart():
    names = ["a.png", "a.jpg", "img.1", "img.2", "b/c.JPG", "b/c d"]
    assert [path.as_posix() for path in png_names(names)] == [
        "a.png", "a.jpg.png", "img.1.png", "img.2.png", "b/c.png", "b/c d.png",
    ]  # fmt: skip
    with pytest.raises(ValueError, match=r"two codes would become a\.png"):
        png_names(["a.png", "a.png"])


@pytest.mark.parametrize("suffix", [".npy", ".csv"])
def test_any_file_name_survives_a_table(suffix, tmp_path):
    names = ["a\nb.png", "c\u2028d.png", 'e,"f.png', "latin-\udcff.png"]
    write_codes(tmp_path / f"c{suffix}", names, np.zeros((4, 2), np.float32))
    assert read_codes(tmp_path / f"c{suffix}")[0] == names
    (tmp_path / f"empty{suffix}").touch()
    with pytest.raises(ValueError, match="not a table of codes"):
        read_codes(tmp_path / f"empty{suffix}")
    write_codes(tmp_path / f"nan{suffix}", names, np.full((4, 2), np.nan, np.float32))
    with pytest.raises(ValueError, match="NaN"):
        read_codes(tmp_path / f"nan{suffix}")


@pytest.mark.parametrize("suffix", [".npy", ".csv"])
def test_codes_go_to_a_table_and_back(suffix, tmp_path, few):
    model = hg.ConvAutoencoder(channels=(8, 8), n_steps=10, random_state=0).fit(few.train.images)
    for i in range(3):
        Image.fromarray(np.round(few.test.images[i, ..., 0] * 255).astype(np.uint8)).save(tmp_path / f"{i}.png")
    Image.new("L", (9, 9), 40).save(tmp_path / "other.png")
    seen = []
    names, codes = encode_files(model, find_images(tmp_path).paths, tmp_path, on_outcome=seen.append)
    assert names == ["0.png", "1.png", "2.png"]
    assert [o.source.name for o in seen if o.error] == ["other.png"]
    expected = model.transform(np.round(few.test.images[:3] * 255).astype(np.uint8))
    np.testing.assert_allclose(codes, expected, atol=1e-5)
    write_codes(tmp_path / f"codes{suffix}", names, codes)
    again_names, again = read_codes(tmp_path / f"codes{suffix}")
    assert again_names == names
    np.testing.assert_allclose(again, codes, rtol=1e-6)
    names, codes = encode_files(model, find_images(tmp_path).paths, tmp_path, resizing=True)
    assert len(names) == 4
    (tmp_path / f"bad{suffix}").write_text("file,code_0\na,x\n")
    with pytest.raises(ValueError, match="not a table of codes"):
        read_codes(tmp_path / f"bad{suffix}")
