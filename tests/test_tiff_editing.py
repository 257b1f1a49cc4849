from contextlib import closing

import cv2
import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from hourglass.imagefiles.tiff.editing import Room
from hourglass.imagefiles.tiff.tiffs import open_tiff
from tiff_files import GREY, check_lossless, fields, handmade, make, noise, pages, plain, planes_of, rewrite, smooth

DEFLATE = {"compression": "adobe_deflate"}


def test_room_is_used_before_the_file_grows():
    room = Room(1000)
    room.free([(100, 50), (150, 50), (400, 30)])
    assert room.take(100) == 100  # two neighbours are one
    assert room.take(31) == 1000
    assert room.take(10) == 400
    assert room.take(20) == 410
    assert room.take(1) == 1032  # at an even place
    room = Room(1000)
    room.free([(900, 100), (800, 100)])
    assert room.end == 800  # nothing stands behind


@pytest.mark.parametrize("options", [
    {"rowsperstrip": 8}, {"tile": (16, 16)}, {"tile": (16, 16), "bigtiff": True, "byteorder": ">"},
])  # fmt: skip
def test_compressed_numbers_may_grow_and_shrink(tmp_path, options):
    flat = np.zeros((6, 64, 64), np.uint8)
    path = make(tmp_path / "a.tif", flat, photometric="minisblack", compression="lzw", metadata=None, **options)
    target, changed = rewrite(path, lambda values: noise(*values.shape), "b.tif")
    np.testing.assert_array_equal(tifffile.imread(target), np.stack(changed)[..., 0])
    assert fields(target) == fields(path)
    back, _ = rewrite(target, lambda values: values * 0, "c.tif")
    np.testing.assert_array_equal(tifffile.imread(back), flat)
    assert fields(back) == fields(path)
    assert target.stat().st_size > 3 * path.stat().st_size
    # Segments of a page that shrink leave room, which is used: writing other noise takes no more space.
    third, changed = rewrite(target, lambda values: noise(*values.shape), "d.tif")
    np.testing.assert_array_equal(tifffile.imread(third), np.stack(changed)[..., 0])
    assert third.stat().st_size < 1.2 * target.stat().st_size


def test_counts_of_16_bits_become_longer_when_they_must(tmp_path):
    path = tmp_path / "a.tif"
    content = imagecodecs.deflate_encode(bytes(600 * 600))
    entries, _ = plain(600, 600)
    entries |= {259: (3, [8]), 279: (3, [len(content)])}
    handmade(path, entries, content)
    target, [changed] = rewrite(path, lambda values: noise(*values.shape))
    np.testing.assert_array_equal(pages(target)[0], changed[..., 0])
    with tifffile.TiffFile(target) as file:
        assert file.pages.first.tags[279].dtype == 4


def tiled(path, places, data, **others):
    """An image of 32 × 16 × 2 tiles of 16 × 16, each at a place in the data."""
    entries, _ = plain(16 * len(places), 16)
    for code in (273, 278, 279):
        del entries[code]
    offsets = [8 + offset if count else 0 for offset, count in places]
    entries |= {322: (3, [16]), 323: (3, [16]), 324: (4, offsets), 325: (4, [count for _, count in places])}
    return handmade(path, {**entries, **{int(code[1:]): value for code, value in others.items()}}, data)


@pytest.mark.parametrize("compressed", [False, True])
def test_tiles_that_share_their_numbers_are_told_apart_when_they_differ(tmp_path, compressed):
    content = noise(16, 16).tobytes()
    content = bytes(imagecodecs.deflate_encode(content)) if compressed else content
    size = len(content)
    path = tiled(
        tmp_path / "a.tif", [(0, size), (0, size), (size, size)], content * 2, _259=(3, [8 if compressed else 1])
    )
    check_lossless(path, GREY)
    # One of those that share changes: the other stays.
    target, [changed] = rewrite(path, lambda values: np.concatenate([values[:, :16], noise(16, 32, 1)], axis=1))
    np.testing.assert_array_equal(pages(target)[0], changed[..., 0])


def test_directories_that_share_their_numbers(tmp_path):
    path = make(tmp_path / "a.tif", noise(2, 40, 40), compression="lzw")
    with tifffile.TiffFile(path, mode="r+b") as file:
        first, second = file.pages
        for code in (273, 279):
            second.tags[code].overwrite(first.tags[code].value)
    with closing(open_tiff(path)) as file:
        values = [noise(40, 40, 1), noise(40, 40, 1)]
        file.write(tmp_path / "b.tif", values)
    np.testing.assert_array_equal(pages(tmp_path / "b.tif"), np.stack(values)[..., 0])


@pytest.mark.parametrize("no_data", [None, 7])
def test_sparse_tiles_stay_away_until_they_have_numbers(tmp_path, no_data):
    others = {"_42113": (2, [*str(no_data).encode(), 0])} if no_data else {}
    path = tiled(tmp_path / "a.tif", [(0, 256), (0, 0), (0, 0)], noise(16, 16).tobytes(), **others)
    [plane] = planes_of(path)
    assert (plane.values[:, 16:] == (no_data or 0)).all()
    target, [changed] = rewrite(
        path, lambda values: np.where(np.arange(48)[:, None] < 32, values + np.uint8(1), values)
    )
    np.testing.assert_array_equal(pages(target)[0], changed[..., 0])
    with tifffile.TiffFile(target) as file:
        assert [count > 0 for count in file.pages.first.databytecounts] == [True, True, False]


GHOST = b"GDAL_STRUCTURAL_METADATA_SIZE=000140 bytes\nLAYOUT=IFDS_BEFORE_DATA\nBLOCK_ORDER=ROW_MAJOR\n"
GHOST += b"BLOCK_LEADER=SIZE_AS_UINT4\nBLOCK_TRAILER=LAST_4_BYTES_REPEATED\nKNOWN_INCOMPATIBLE_EDITION=NO\n  "


@pytest.mark.parametrize("big", [False, True])
def test_cloud_optimised_files_say_that_they_were_edited(tmp_path, big):
    entries, size = plain()
    path = handmade(tmp_path / "a.tif", entries, noise(size).tobytes(), ghost=GHOST, big=big)
    same, _ = rewrite(path, lambda values: values, "same.tif")
    assert same.read_bytes() == path.read_bytes()
    content = rewrite(path)[0].read_bytes()
    edited = GHOST.replace(b"EDITION=NO\n ", b"EDITION=YES\n")
    assert content[16 if big else 8 :].startswith(edited)
    assert len(edited) == len(GHOST)


@pytest.mark.parametrize("failing", [0, 3, 4])
@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_a_failure_in_the_middle_leaves_nothing(tmp_path, failing, error):
    path = make(tmp_path / "a.tif", noise(5, 30, 30), compression="lzw")

    def values():
        for i in range(5):
            if i == failing:
                raise error
            yield noise(30, 30, 1)

    with closing(open_tiff(path)) as file, pytest.raises(error):
        file.write(tmp_path / "b.tif", values())
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.tif"]


@pytest.mark.parametrize("values", [
    [], [np.zeros((9, 9, 1), np.uint8)], [np.zeros((9, 9, 1), np.uint8)] * 3,
    [np.zeros((9, 9, 1), np.uint16)] * 2, [np.zeros((9, 8, 1), np.uint8)] * 2, [np.zeros((9, 9), np.uint8)] * 2,
])  # fmt: skip
def test_values_of_another_form_are_refused(tmp_path, values):
    path = make(tmp_path / "a.tif", noise(2, 9, 9))
    with closing(open_tiff(path)) as file, pytest.raises(ValueError, match=r"shape|argument 2"):
        file.write(tmp_path / "b.tif", values)
    assert not (tmp_path / "b.tif").exists()


def test_the_source_itself_may_be_replaced(tmp_path):
    path = make(tmp_path / "a.tif", noise(6, 30, 30), compression="lzw")
    with closing(open_tiff(path)) as file:
        file.write(path, (255 - plane.values for plane in file.planes()))
        expected = [255 - plane.values for plane in file.planes()]
    np.testing.assert_array_equal([plane.values for plane in planes_of(path)], expected)


@pytest.mark.parametrize("options", [{}, {"compression": "lzw", "predictor": 2}, {"tile": (16, 16), **DEFLATE}])
@pytest.mark.parametrize("shape", [(40, 50), (40, 50, 3)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_opencv_reads_what_was_written(tmp_path, shape, dtype, options):
    path = make(tmp_path / "a.tif", noise(*shape, dtype=dtype), **options)
    target, [changed] = rewrite(path)
    found = cv2.imread(str(target), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(found[..., ::-1] if found.ndim == 3 else found, changed.squeeze())


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "CMYK", "I;16", "F"])
@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_pillow_reads_what_was_written(tmp_path, mode, compression):
    image = Image.fromarray(smooth(40, 50)).convert({"I;16": "L"}.get(mode, mode))
    image = Image.fromarray(noise(40, 50, dtype=np.uint16)) if mode == "I;16" else image
    image.save(tmp_path / "a.tif", compression=compression)
    target, [changed] = rewrite(tmp_path / "a.tif", lambda values: values[::-1])
    with Image.open(target) as found:
        assert found.mode == mode
        assert found.info["compression"] == compression
        found = np.asarray(found.convert("RGB") if mode == "P" else found)
    np.testing.assert_array_equal(found.reshape(changed.shape), changed)
