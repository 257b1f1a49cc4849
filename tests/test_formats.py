"""The table of formats says what the code does."""

import sys
from pathlib import Path

import pytest

from hourglass.imagefiles import open_image, suffixes
from hourglass.imagefiles.formats import FORMATS
from hourglass.imagefiles.raster.rasters import RASTERS

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))
from image_corpus import CORPUS

pytest.importorskip("pillow_heif", reason="needs the extra heif")


def test_every_reader_is_in_the_table():
    assert {each.name for each in FORMATS} == {*RASTERS, "TIFF", "NPY", "NPZ"}


def test_every_suffix_of_the_table_is_found_and_in_the_corpus():
    named = [suffix for each in FORMATS for suffix in each.suffixes]
    assert len(named) == len(set(named))
    assert set(suffixes()) == set(named)
    tried = {Path(entry.name).suffix for entry in CORPUS}
    assert {each.name for each in FORMATS if not tried & set(each.suffixes)} == set()


@pytest.mark.parametrize("entry", [entry for entry in CORPUS if not entry.refused], ids=lambda entry: entry.name)
def test_a_files_format_is_that_of_its_suffix(entry, tmp_path):
    entry.make(tmp_path / entry.name)
    file = open_image(tmp_path / entry.name)
    try:
        [named] = [each.name for each in FORMATS if Path(entry.name).suffix in each.suffixes]
        assert file.format == named
    finally:
        file.close()


def test_without_its_extra_a_format_is_left_out(monkeypatch, tmp_path, hourglass):
    from PIL import Image

    from hourglass.imagefiles import formats

    monkeypatch.setattr(formats.importlib.util, "find_spec", lambda name: None)
    assert not {".heic", ".heif"} & set(suffixes())
    Image.new("L", (8, 8), 3).save(tmp_path / "a.png")
    [phone] = [entry for entry in CORPUS if entry.name == "phone.heic"]
    (tmp_path / "in").mkdir()
    (tmp_path / "a.png").rename(tmp_path / "in" / "a.png")
    phone.make(tmp_path / "in" / "b.heic")
    code, _, err = hourglass("denoise", tmp_path / "in", tmp_path / "out")
    assert (code, "1 left out: 1 .heic" in err) == (0, True)
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    code, _, err = hourglass("denoise", tmp_path / "in" / "b.heic", tmp_path / "out")
    assert code == 1
    assert "hourglass-lab[heif]" in err
