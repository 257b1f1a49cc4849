from contextlib import closing

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from hourglass.imagefiles.tiff.tiffs import open_tiff
from tiff_files import (
    GREY,
    IMAGEJ,
    RGB,
    check_lossless,
    directory,
    fields,
    handmade,
    make,
    noise,
    pages,
    plain,
    planes_of,
    pyramid,
    rewrite,
)

TAGS = [
    (270, "s", 0, "A cell, 40×", True), (271, "s", 0, "Maker", True), (272, "s", 0, "Model", True),
    (285, "s", 0, "Page name", True), (305, "s", 0, "Scanner 1.2", True), (306, "s", 0, "2024:05:06 07:08:09", True),
    (315, "s", 0, "An Artist", True), (316, "s", 0, "host", True), (333, "s", 0, "inks", True),
    (33432, "s", 0, "(c) 2024", True), (700, 1, 12, b"<x:xmpmeta/>", True),
    (33723, 7, 11, b"\x1c\x02\x05\0\x06abcdef", True),
    (34377, 1, 12, b"8BIM\x03\xed\0\0\0\0\0\0", True), (33550, 12, 3, (0.5, 0.5, 0.0), True),
    (33922, 12, 6, (0, 0, 0, 440720.0, 3751320.0, 0), True), (34735, 3, 8, (1, 1, 0, 1, 1024, 0, 1, 1), True),
    (34736, 12, 2, (6378137.0, 298.25), True), (34737, "s", 0, "WGS 84|", True),
    (42112, "s", 0, "<GDALMetadata><Item name='a'>1</Item></GDALMetadata>", True), (42113, "s", 0, "-9999", True),
    (50838, 4, 2, (12, 4), True), (65000, 12, 2, (1.5, -2.5), True), (65001, 7, 5, b"\0\1\2\3\4", True),
]  # fmt: skip


@pytest.mark.parametrize("bigtiff", [False, True])
@pytest.mark.parametrize("byteorder", "<>")
@pytest.mark.parametrize("compression", [None, "lzw"])
def test_every_tag_stays_and_none_comes(tmp_path, byteorder, bigtiff, compression):
    tags = [tag for tag in TAGS if tag[0] != 270]
    path = make(
        tmp_path / "a.tif", noise(40, 50, 3), photometric="rgb", description="A cell", metadata=None, software=False,
        resolution=(300, 300), resolutionunit="INCH", iccprofile=b"ICC" * 50, extratags=tags, bigtiff=bigtiff,
        byteorder=byteorder, compression=compression,
    )  # fmt: skip
    check_lossless(path, RGB)
    with tifffile.TiffFile(tmp_path / "out.tif") as file:
        found = {tag.code: tag.value for tag in file.pages.first.tags}
    assert {tag[0] for tag in tags} <= set(found)
    assert found[270] == "A cell"
    assert found[282] == (300, 1)
    assert found[33550] == (0.5, 0.5, 0.0)
    if bigtiff and byteorder == ">":  # which Pillow does not read
        return
    with Image.open(tmp_path / "out.tif") as image:
        assert image.info["dpi"] == (300, 300)
        assert image.info["icc_profile"] == b"ICC" * 50


def test_exif_gps_and_maker_notes_stay(tmp_path):
    entries, size = plain(bands=3, photometric=2)
    content = bytes(imagecodecs.lzw_encode(bytes(size)))
    content += b"\0" * (len(content) % 2)
    exif_at = 8 + len(content)
    exif = {36864: (7, [*b"0232"]), 37500: (7, [*b"a maker note, long"]), 33434: (5, [1, 100])}
    gps = {1: (2, [*b"N", 0]), 2: (5, [48, 1, 8, 1, 25, 2])}
    data = content + directory(exif_at, exif)
    gps_at = 8 + len(data)
    data += directory(gps_at, gps)
    entries |= {34665: (4, [exif_at]), 34853: (4, [gps_at]), 259: (3, [5]), 279: (4, [len(content)])}
    path = handmade(tmp_path / "a.tif", entries, data)
    target, [changed] = rewrite(path, lambda values: noise(*values.shape))
    np.testing.assert_array_equal(pages(target)[0], changed)
    assert fields(target) == fields(path)
    with Image.open(target) as image:
        found = image.getexif()
        assert dict(found.get_ifd(0x8769))[33434] == 0.01
        assert found.get_ifd(0x8825)[2] == (48, 8, 12.5)
    with tifffile.TiffFile(target) as file:
        assert file.pages.first.tags[34665].value["MakerNote"] == b"a maker note, long"


def test_pages_of_different_sizes_and_types(tmp_path):
    path = tmp_path / "a.tif"
    images = [noise(30, 40), noise(20, 50, 3, dtype=np.uint16), noise(10, 10, dtype=np.float32), noise(33, 17)]
    with tifffile.TiffWriter(path) as file:
        for image, compression in zip(images, [None, "lzw", "zstd", "deflate"], strict=True):
            file.write(image, compression=compression, photometric="rgb" if image.ndim == 3 else None)
    target, changed = rewrite(path)
    assert fields(target) == fields(path)
    for image, found, values in zip(images, pages(target), changed, strict=True):
        np.testing.assert_array_equal(found, values.reshape(image.shape))
        assert not np.array_equal(found, image)
    assert rewrite(path, lambda values: values, "same.tif")[0].read_bytes() == path.read_bytes()


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_imagej_hyperstacks(tmp_path, dtype, alone):
    data = noise(3, 2, 2, 20, 30, dtype=dtype)
    metadata = {**IMAGEJ, "axes": "TZCYX"}
    options = {"resolution": (10, 10), "metadata": metadata, "imagej": True, "truncate": alone}
    path = make(tmp_path / "a.tif", data, **options)
    with tifffile.TiffFile(path) as file:
        assert len(file.pages) == (1 if alone else 12)
        before = repr(file.imagej_metadata)
    check_lossless(path, GREY)
    found = planes_of(path)
    np.testing.assert_array_equal([plane.values[..., 0] for plane in found], data.reshape(12, 20, 30))
    with tifffile.TiffFile(tmp_path / "out.tif") as file:
        assert repr(file.imagej_metadata) == before
        assert file.series[0].axes == "TZCYX"
        changed = np.roll(data.reshape(12, 20, 30)[:, ::-1], 3, axis=2)
        np.testing.assert_array_equal(file.asarray(), changed.reshape(data.shape))


@pytest.mark.parametrize("options", [{"ome": True}, {"ome": True, "compression": "zstd"}, {"truncate": True}])
@pytest.mark.parametrize("colours", [False, True])
def test_other_stacks(tmp_path, options, colours):
    data = noise(4, 3, 24, 20, 3)[..., : 3 if colours else 1].squeeze()
    path = make(tmp_path / "a.tif", data, photometric="rgb" if colours else "minisblack", **options)
    check_lossless(path, RGB if colours else GREY)
    expected = np.roll(data[:, :, ::-1], 3, axis=3)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out.tif"), expected)


def test_ome_in_one_directory(tmp_path):
    data = noise(5, 16, 16)
    ome = (
        '<OME><Image><Pixels DimensionOrder="XYZCT" SizeX="16" SizeY="16" SizeZ="5" SizeC="1" SizeT="1"/></Image></OME>'
    )
    entries, _ = plain(_270=(2, [*ome.encode(), 0]))
    path = handmade(tmp_path / "a.tif", entries, data.tobytes())
    check_lossless(path, GREY)
    np.testing.assert_array_equal([plane.values[..., 0] for plane in planes_of(path)], data)


@pytest.mark.parametrize("text", ["ImageJ=1.53t\nimages=5\nslices=5\n", '{"shape": [5, 16, 16], "truncated": true}'])
def test_a_stack_that_is_cut_off_is_damaged_and_a_page_of_one_is_a_page(tmp_path, text):
    entries, _ = plain(_270=(2, [*text.encode(), 0]))
    with pytest.raises(OSError, match=r"damaged \(its description promises 5 planes, and it holds 3\)"):
        open_tiff(handmade(tmp_path / "a.tif", entries, noise(3 * 256).tobytes()))
    check_lossless(handmade(tmp_path / "b.tif", entries, noise(256).tobytes()), GREY)


def test_other_numbers_on_each_plane_are_read_back_by_tifffile(tmp_path):
    path = make(tmp_path / "a.tif", noise(9, 40, 50, dtype=np.uint16), compression="lzw", predictor=True)
    with closing(open_tiff(path)) as file:
        file.write(tmp_path / "b.tif", (np.full((40, 50, 1), 1000 * i, np.uint16) for i in range(9)))
    assert (tifffile.imread(tmp_path / "b.tif") == 1000 * np.arange(9)[:, None, None]).all()
    assert (tmp_path / "b.tif").stat().st_size < path.stat().st_size


@pytest.mark.parametrize("options", [{}, {"compression": "lzw"}, {"compression": "deflate", "bigtiff": True}])
def test_overviews_in_subdirectories_are_processed(tmp_path, options):
    path = pyramid(tmp_path / "a.tif", **options)
    assert [plane.values.shape for plane in planes_of(path)] == [(128, 128, 3), (64, 64, 3), (32, 32, 3), (128, 128, 1)]
    target, changed = rewrite(path)
    assert fields(target) == fields(path)
    with tifffile.TiffFile(target) as file:
        page = file.pages[0]
        for found, values in zip([page, *page.pages, file.pages[1]], changed, strict=True):
            np.testing.assert_array_equal(found.asarray(), values.squeeze())


def test_transparency_masks_stay(tmp_path):
    path, mask = tmp_path / "a.tif", noise(40, 50, dtype=np.bool_)
    with tifffile.TiffWriter(path) as file:
        file.write(noise(40, 50, 3), photometric="rgb", compression="lzw")
        file.write(mask, photometric="mask", subfiletype=4, compression="lzw")
    assert len(planes_of(path)) == 1
    check_lossless(path, RGB)
    np.testing.assert_array_equal(pages(tmp_path / "out.tif")[1], mask)


def test_overviews_take_the_range_and_missing_data_of_the_image(tmp_path):
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as file:
        file.write(noise(32, 32, dtype=np.uint16), extratags=[(42113, "s", 0, "7", True), (281, 3, 1, 4095, True)])
        file.write(noise(16, 16, dtype=np.uint16), subfiletype=1)
    assert [(p.numbers.no_data, p.numbers.declared) for p in planes_of(path)] == [(7, (0, 4095))] * 2


NUMBERS = [
    (np.uint16, [(281, 3, 1, 4095, True)], (0, 4095), None),
    (np.uint16, [(280, 3, 1, 100, True), (281, 3, 1, 4195, True)], (100, 4195), None),
    (np.uint16, [(280, 3, 1, 0, True), (281, 3, 1, 65535, True)], None, None),
    (np.uint16, [(281, 3, 1, 0, True)], None, None),
    (np.float32, [(340, 11, 1, -1.5, True), (341, 11, 1, 2.5, True)], (-1.5, 2.5), None),
    (np.float32, [(281, 3, 1, 4095, True)], None, None),
    (np.int16, [(340, 8, 1, -200, True), (341, 8, 1, 300, True)], (-200, 300), None),
    (np.float32, [(42113, "s", 0, "-3.4028234663852886e+38", True)], None, float(np.finfo(np.float32).min)),
    (np.float32, [(42113, "s", 0, "-3.40282346639e+38", True)], None, float(np.finfo(np.float32).min)),
    (np.float64, [(42113, "s", 0, "1e-3", True)], None, 1e-3),
    (np.float32, [(42113, "s", 0, "0,1", True)], None, float(np.float32(0.1))),
    (np.int16, [(42113, "s", 0, "-9999 ", True)], None, -9999),
    (np.uint8, [(42113, "s", 0, "-9999", True)], None, None),
    (np.uint8, [(42113, "s", 0, "none", True)], None, None),
]


@pytest.mark.parametrize(("dtype", "tags", "declared", "no_data"), NUMBERS)
def test_what_the_file_says_of_its_numbers(tmp_path, dtype, tags, declared, no_data):
    [plane] = planes_of(make(tmp_path / "a.tif", noise(9, 9, dtype=dtype), extratags=tags))
    assert plane.numbers.declared == declared
    assert plane.numbers.no_data == no_data
    tags = [*tags, (42113, "s", 0, "nan", True)] if dtype == np.float32 and no_data is None else []
    if tags:
        assert np.isnan(
            planes_of(make(tmp_path / "b.tif", noise(9, 9, dtype=dtype), extratags=tags))[0].numbers.no_data
        )


def test_numbers_counted_from_white_are_turned_with_their_range(tmp_path):
    tags = [(281, 3, 1, 4095, True), (42113, "s", 0, "7", True)]
    path = make(tmp_path / "a.tif", np.array([[0, 7, 4095]], np.uint16), photometric="miniswhite", extratags=tags)
    [plane] = planes_of(path)
    assert plane.values.ravel().tolist() == [65535, 65528, 61440]
    assert plane.numbers.declared == (61440, 65535)
    assert plane.numbers.no_data == 65528


@pytest.mark.parametrize(("bands", "extra", "roles"), [
    (4, None, (*RGB, "extra")), (5, [2], (*RGB, "extra", "alpha")), (4, [0, 1], (*RGB, "premultiplied")),
    (5, [0, 1], (*RGB, "extra", "premultiplied")), (3, [2], RGB),
])  # fmt: skip
def test_bands_that_extrasamples_do_not_explain(tmp_path, bands, extra, roles):
    entries, size = plain(bands=bands, photometric=2, **({"_338": (3, extra)} if extra else {}))
    check_lossless(handmade(tmp_path / "a.tif", entries, noise(size).tobytes()), roles)


@pytest.mark.parametrize(("bands", "roles"), [(1, GREY), (2, (*GREY, "extra")), (3, RGB), (4, (*RGB, "extra"))])
def test_colours_that_no_tag_names(tmp_path, bands, roles):
    entries, size = plain(bands=bands)
    del entries[262]
    path = handmade(tmp_path / "a.tif", entries, noise(size).tobytes())
    check_lossless(path, roles)
    np.testing.assert_array_equal(
        planes_of(path)[0].values.ravel(), np.frombuffer(path.read_bytes()[8 : 8 + size], "u1")
    )
