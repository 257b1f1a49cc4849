import io
import zlib
from contextlib import closing

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from hourglass.imagefiles.image import COLOURS
from hourglass.imagefiles.tiff.tiffs import open_tiff
from tiff_files import (
    GREY,
    RGB,
    RGBA,
    check_lossless,
    fields,
    handmade,
    make,
    noise,
    pages,
    plain,
    planes_of,
    rewrite,
    similarity,
    smooth,
)

DEFLATE = {"compression": "adobe_deflate"}
FORMS = [
    ("grey", GREY, (37, 45), np.uint8, {}),
    ("grey-lzw", GREY, (37, 45), np.uint8, {"compression": "lzw"}),
    ("rgb-strips-lzw", RGB, (67, 45, 3), np.uint8, {"compression": "lzw", "predictor": True, "rowsperstrip": 7}),
    ("rgb-tiles", RGB, (67, 45, 3), np.uint8, {"tile": (16, 32)}),
    ("rgb-tiles-lzw-be", RGB, (67, 45, 3), np.uint16, {"tile": (32, 16), "compression": "lzw", "byteorder": ">"}),
    ("rgb-planar", RGB, (3, 37, 45), np.uint8, {"planarconfig": 2, "rowsperstrip": 8}),
    ("rgb-planar-tiles", RGB, (3, 37, 45), np.uint16, {"planarconfig": 2, "tile": (16, 16), **DEFLATE}),
    ("rgb-planar-be", RGB, (3, 37, 45), np.uint32, {"planarconfig": 2, "byteorder": ">", "predictor": 2, **DEFLATE}),
    ("big", GREY, (37, 45), np.uint16, {"bigtiff": True}),
    ("big-be-deflate", RGB, (37, 45, 3), np.uint16, {"bigtiff": True, "byteorder": ">", "predictor": 2, **DEFLATE}),
    ("big-tiles-zstd", GREY, (70, 45), np.float32, {"bigtiff": True, "tile": (16, 16), "compression": "zstd"}),
    ("int8", GREY, (37, 45), np.int8, DEFLATE),
    ("int16-be", GREY, (37, 45), np.int16, {"byteorder": ">", "predictor": 2, **DEFLATE}),
    ("int32", GREY, (37, 45), np.int32, {"predictor": 2, "compression": "lzw"}),
    ("uint32", GREY, (37, 45), np.uint32, {}),
    ("float16", GREY, (37, 45), np.float16, {"predictor": 3, **DEFLATE}),
    ("float32", GREY, (37, 45), np.float32, {}),
    ("float32-predictor", GREY, (37, 45), np.float32, {"predictor": 3, **DEFLATE}),
    ("float32-predictor-be", GREY, (37, 45), np.float32, {"predictor": 3, "byteorder": ">", "compression": "zstd"}),
    ("float64-tiles", RGB, (37, 45, 3), np.float64, {"predictor": 3, "tile": (16, 16), **DEFLATE}),
    ("packbits", GREY, (37, 45), np.uint8, {"compression": "packbits"}),
    ("packbits-rgb-be", RGB, (37, 45, 3), np.uint16, {"compression": "packbits", "byteorder": ">", "tile": (16, 16)}),
    ("deflate", GREY, (37, 45), np.uint8, {"compression": "deflate"}),
    ("lzma", GREY, (37, 45), np.uint16, {"compression": "lzma", "predictor": 2}),
    ("zstd", RGB, (37, 45, 3), np.uint8, {"compression": "zstd", "rowsperstrip": 5}),
    ("png", RGB, (37, 45, 3), np.uint16, {"compression": "png"}),
    ("lerc", GREY, (37, 45), np.float32, {"compression": "lerc", "tile": (16, 16)}),
    ("lerc-zstd", RGB, (37, 45, 3), np.uint8, {"compression": "lerc", "compressionargs": {"compression": "zstd"}}),
    ("webp", RGB, (37, 45, 3), np.uint8, {"compression": "webp", "tile": (16, 16)}),
    ("webp-alpha", RGBA, (37, 45, 4), np.uint8, {"compression": "webp", "extrasamples": ["unassalpha"]}),
    ("jpeg2000", RGB, (67, 75, 3), np.uint8, {"compression": "jpeg2000", "tile": (32, 32)}),
    ("jpeg2000-16", GREY, (67, 75), np.uint16, {"compression": "jpeg2000"}),
    ("lerc-deflate", GREY, (37, 45), np.uint16, {"compression": "lerc", "compressionargs": {"compression": "deflate"}}),
    ("white-is-zero", GREY, (37, 45), np.uint8, {"photometric": "miniswhite"}),
    ("white-is-zero-16", GREY, (37, 45), np.uint16, {"photometric": "miniswhite", "compression": "lzw"}),
    ("white-is-zero-signed", GREY, (37, 45), np.int16, {"photometric": "miniswhite"}),
    ("white-is-zero-float", GREY, (37, 45), np.float32, {"photometric": "miniswhite"}),
    ("bilevel", GREY, (37, 45), np.bool_, {}),
    ("bilevel-lzw", GREY, (37, 45), np.bool_, {"compression": "lzw"}),
    ("bilevel-packbits-white", GREY, (37, 45), np.bool_, {"compression": "packbits", "photometric": "miniswhite"}),
    ("bilevel-tiles", GREY, (37, 45), np.bool_, {"tile": (16, 16), **DEFLATE}),
    ("grey-alpha", (*GREY, "alpha"), (37, 45, 2), np.uint8, {"extrasamples": ["unassalpha"]}),
    ("rgba", RGBA, (37, 45, 4), np.uint8, {"extrasamples": ["unassalpha"]}),
    ("rgba-16", RGBA, (37, 45, 4), np.uint16, {"extrasamples": ["unassalpha"], "compression": "lzw"}),
    ("premultiplied", (*RGB, "premultiplied"), (37, 45, 4), np.uint8, {"extrasamples": ["assocalpha"]}),
    ("rgb-nir", (*RGB, "extra"), (37, 45, 4), np.uint8, {"extrasamples": ["unspecified"]}),
    ("rgb-nir-16", (*RGB, "extra"), (37, 45, 4), np.uint16, {"extrasamples": ["unspecified"], **DEFLATE}),
    ("rgb-nir-alpha", (*RGB, "extra", "alpha"), (37, 45, 5), np.uint8, {"extrasamples": ["unspecified", "unassalpha"]}),
    ("bands", (*GREY, *["extra"] * 6), (37, 45, 7), np.uint16, {"photometric": "minisblack", "planarconfig": "contig"}),
    ("cmyk", ("ink",) * 4, (37, 45, 4), np.uint8, {"photometric": "separated"}),
    ("cmyk-16-lzw", ("ink",) * 4, (37, 45, 4), np.uint16, {"photometric": "separated", "compression": "lzw"}),
    ("cmyk-alpha", (*["ink"] * 4, "alpha"), (37, 45, 5), np.uint8, {"photometric": "separated", "extrasamples": [2]}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("roles", "shape", "dtype", "options"), [pytest.param(*form[1:], id=form[0]) for form in FORMS]
)
def test_every_form_keeps_its_numbers_and_tags(tmp_path, roles, shape, dtype, options):
    data = noise(*shape, dtype=dtype)
    photometric = {"photometric": "rgb"} if roles[:3] == COLOURS else {"photometric": "minisblack"}
    path = make(tmp_path / "a.tif", data, **photometric | options)
    before = planes_of(path)[0]
    check_lossless(path, roles)
    expected = (
        np.moveaxis(data, 0, -1) if "planarconfig" in options and shape[0] == 3 else data.reshape(*data.shape[:2], -1)
    )
    if options.get("photometric") == "miniswhite":
        expected = {"b": np.logical_not, "u": np.invert, "i": np.invert, "f": np.negative}[data.dtype.kind](expected)
    np.testing.assert_array_equal(before.values, expected)
    assert before.numbers.bits == (1 if dtype == np.bool_ else 8 * np.dtype(dtype).itemsize)
    assert before.values.dtype == (np.uint8 if dtype == np.bool_ else dtype)
    # tifffile reads what the planes say.
    stored = pages(tmp_path / "out.tif")[0].reshape(data.shape)
    assert not np.array_equal(stored, data)
    assert sorted(stored.ravel().tolist()) == sorted(data.ravel().tolist())


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("bits", [1, 2, 4, 10, 12, 14])
@pytest.mark.parametrize(("bands", "compression"), [(1, 1), (3, 1), (1, 5), (1, 32773)])
def test_packed_integers_keep_their_depth(tmp_path, order, bits, bands, compression):
    values = noise(9, 13, bands, dtype=np.uint16) >> (16 - bits)
    rows = ["".join(f"{int(v):0{bits}b}" for v in row.ravel()) for row in values]
    packed = b"".join(int(row.ljust(-(-len(row) // 8) * 8, "0"), 2).to_bytes(-(-len(row) // 8), "big") for row in rows)
    entries, _ = plain(13, 9, bits, bands, 2 if bands == 3 else 1)
    if compression == 5:
        packed = imagecodecs.lzw_encode(packed)
    elif compression == 32773:
        packed = imagecodecs.packbits_encode(np.frombuffer(packed, np.uint8).reshape(9, -1), axis=-1)
    entries |= {259: (3, [compression]), 279: (4, [len(packed)])}
    path = handmade(tmp_path / "a.tif", entries, bytes(packed), order=order)
    [plane] = planes_of(path)
    np.testing.assert_array_equal(plane.values, values)
    assert plane.numbers.bits == bits
    assert plane.numbers.declared == (0, 2**bits - 1)
    check_lossless(path, RGB if bands == 3 else GREY)


@pytest.mark.parametrize("order", "<>")
def test_floats_differenced_as_integers(tmp_path, order):
    data = noise(20, 31, dtype=np.float32)
    differences = np.diff(data.view(np.uint32), axis=1, prepend=np.uint32(0)).astype(f"{order}u4").tobytes()
    packed = zlib.compress(differences)
    entries, _ = plain(31, 20, 32, _339=(3, [3]), _317=(3, [2]))
    entries |= {259: (3, [8]), 279: (4, [len(packed)])}
    path = handmade(tmp_path / "a.tif", entries, packed, order=order)
    np.testing.assert_array_equal(planes_of(path)[0].values[..., 0], data)
    check_lossless(path, GREY)


def test_bits_in_the_other_order(tmp_path):
    entries, size = plain(_266=(3, [2]))
    path = handmade(tmp_path / "a.tif", entries, bytes(range(256)))
    assert size == 256
    assert planes_of(path)[0].values[0, :3, 0].tolist() == [0, 128, 64]
    check_lossless(path, GREY)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("compression", [None, "lzw"])
def test_planes_are_upright(tmp_path, orientation, compression):
    upright = noise(21, 34, 3)
    # How the eight are stored, from upright.
    stored = {
        1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1], 5: upright.swapaxes(0, 1),
        6: np.rot90(upright), 7: upright[::-1, ::-1].swapaxes(0, 1), 8: np.rot90(upright, -1),
    }[orientation]  # fmt: skip
    tags = [(274, 3, 1, orientation, True)]
    path = make(tmp_path / "a.tif", stored, photometric="rgb", extratags=tags, compression=compression)
    np.testing.assert_array_equal(planes_of(path)[0].values, upright)
    check_lossless(path, RGB)


@pytest.mark.parametrize("orientation", [(3, [0]), (3, [9]), (3, [6, 6]), (2, [*b"top", 0])])
def test_orientations_that_do_not_exist_are_passed_over(tmp_path, orientation):
    entries, size = plain(20, 10, _274=orientation)
    path = handmade(tmp_path / "a.tif", entries, noise(size).tobytes())
    check_lossless(path, GREY)
    assert planes_of(path)[0].values.shape == (10, 20, 1)


JPEG = {"compression": "jpeg", "photometric": "rgb"}
LOSSY = [
    ("jpeg-420", RGB, {**JPEG, "tile": (32, 32)}),
    ("jpeg-420-strips", RGB, {**JPEG, "rowsperstrip": 16}),
    ("jpeg-422", RGB, {**JPEG, "subsampling": (2, 1)}),
    ("jpeg-444", RGB, {**JPEG, "subsampling": (1, 1), "tile": (32, 32)}),
    ("jpeg-rgb", RGB, {**JPEG, "subsampling": (1, 1), "compressionargs": {"outcolorspace": "rgb", "level": 95}}),
    ("jpeg-grey", GREY, {"compression": "jpeg", "tile": (16, 16)}),
    ("jpeg-cmyk", ("ink",) * 4, {"compression": "jpeg", "photometric": "separated"}),
    ("jpeg-planar", RGB, {**JPEG, "planarconfig": "separate"}),
    ("webp-lossy", RGB, {"compression": "webp", "compressionargs": {"level": 90, "lossless": False}}),
    ("jpeg2000-lossy", RGB, {"compression": "jpeg2000", "compressionargs": {"level": 55, "reversible": False}}),
]


@pytest.mark.parametrize(("roles", "options"), [pytest.param(*form[1:], id=form[0]) for form in LOSSY])
def test_lossy_forms_follow_the_file(tmp_path, roles, options):
    data = smooth(96, 128, len(roles))
    data = np.moveaxis(data, -1, 0) if "planarconfig" in options else data[..., 0] if roles == GREY else data
    if options["compression"] == "jpeg":
        options = {**options, "compressionargs": {"level": 95, **options.get("compressionargs", {})}}
    path = make(tmp_path / "a.tif", data, **options)
    same, _ = rewrite(path, lambda values: values, "same.tif")
    assert same.read_bytes() == path.read_bytes()
    target, [changed] = rewrite(path, lambda values: np.clip(values.astype(int) + 7, 0, 255).astype(np.uint8))
    [plane] = planes_of(target)
    assert plane.roles == roles
    assert similarity(plane.values, changed) >= 45
    assert similarity(plane.values, planes_of(path)[0].values) < 40
    assert fields(target) == fields(path)
    if options["compression"] == "jpeg":
        assert [form_of_jpeg(s) for s in segments(target)] == [form_of_jpeg(s) for s in segments(path)]


def segments(path):
    with tifffile.TiffFile(path) as file:
        page = file.pages.first
        return [data for data, _ in file.filehandle.read_segments(page.dataoffsets, page.databytecounts)]


def form_of_jpeg(data):
    with Image.open(io.BytesIO(data)) as image:
        tables = {layer[0]: image.quantization[layer[3]] for layer in image.layer}
        return image.size, [layer[1:3] for layer in image.layer], [*tables.values()]


def test_jpeg_tables_of_the_directory_are_used(tmp_path):
    path = tmp_path / "a.tif"
    # libtiff writes the tables once, and streams without.
    Image.fromarray(smooth(64, 96)).save(path, compression="jpeg", quality=60)
    with tifffile.TiffFile(path) as file:
        assert file.pages.first.jpegtables
    same, _ = rewrite(path, lambda values: values, "same.tif")
    assert same.read_bytes() == path.read_bytes()
    target, [changed] = rewrite(path, lambda values: np.clip(values.astype(int) + 9, 0, 255).astype(np.uint8))
    assert fields(target) == fields(path)
    assert similarity(planes_of(target)[0].values, changed) > 38  # of quality 60
    with Image.open(target) as image:
        assert similarity(np.asarray(image), changed) > 38


def test_scattered_palette_colours_are_colours(tmp_path):
    table = noise(3, 16) // 2 * 2
    indices = noise(30, 40) % 16
    full = np.zeros((3, 256), np.uint16)
    full[:, :16] = table.astype(np.uint16) * 257
    path = make(tmp_path / "a.tif", indices, photometric="palette", colormap=full, compression="lzw")
    [plane] = planes_of(path)
    assert plane.roles == RGB
    np.testing.assert_array_equal(plane.values, np.moveaxis(table[:, indices], 0, -1))
    check_lossless(path, RGB)
    # New colours, few enough for a new palette of the same size.
    target, [changed] = rewrite(path, lambda values: values + np.uint8(1))
    np.testing.assert_array_equal(planes_of(target)[0].values, changed)
    with tifffile.TiffFile(target) as file:
        assert file.pages.first.photometric == 3
        assert file.pages.first.colormap.shape == (3, 256)
    # More colours than a palette holds.
    target, [changed] = rewrite(path, lambda values: smooth(30, 40) + values % 7)
    assert similarity(planes_of(target)[0].values, changed) > 25


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_small_palettes_keep_their_size(tmp_path, bits):
    colours = noise(3, 1 << bits).astype(np.uint16) * 257
    entries, size = plain(16, 16, bits, photometric=3, _320=(3, colours.ravel().tolist()))
    path = handmade(tmp_path / "a.tif", entries, noise(size).tobytes())
    check_lossless(path, RGB)
    target, [changed] = rewrite(path, lambda values: 255 - values)
    np.testing.assert_array_equal(planes_of(target)[0].values, changed)


@pytest.mark.parametrize("description", ["", "ImageJ=1.53t\nmin=0.0\nmax=255.0\n"])
def test_lookup_tables_only_show_the_numbers(tmp_path, description):
    ramp = np.zeros((3, 256), np.uint16)
    ramp[1] = np.arange(256) * 257
    if description:  # fire, whose blue falls and rises
        ramp[2] = np.abs(np.arange(256) - 128) * 500
    entries, size = plain(photometric=3, _320=(3, ramp.ravel().tolist()), _270=(2, [*description.encode(), 0]))
    path = handmade(tmp_path / "a.tif", entries, noise(size).tobytes())
    check_lossless(path, GREY)


def test_missing_data_in_a_palette_stays(tmp_path):
    colours = noise(3, 16).astype(np.uint16) * 257
    entries, size = plain(16, 16, 4, photometric=3, _320=(3, colours.ravel().tolist()), _42113=(2, [*b"5", 0]))
    path = handmade(tmp_path / "a.tif", entries, noise(size).tobytes())
    [plane] = planes_of(path)
    assert plane.keep.sum() == (pages(path)[0] == 5).sum() > 0
    with closing(open_tiff(path)) as file:
        file.write(tmp_path / "b.tif", [np.where(plane.keep[..., None], plane.values, smooth(16, 16))])
    assert ((pages(tmp_path / "b.tif")[0] == 5) == plane.keep).all()
    np.testing.assert_array_equal(planes_of(tmp_path / "b.tif")[0].values[plane.keep], plane.values[plane.keep])
