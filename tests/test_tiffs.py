import io
import struct
import zlib
from contextlib import closing

import cv2
import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from hourglass.pictures.image import COLOURS
from hourglass.pictures.tiff_editing import Room
from hourglass.pictures.tiffs import open_tiff

# Tags that say where the numbers stand, and nothing else.
PLACES = {273, 279, 324, 325}
GREY, RGB, RGBA = ("grey",), COLOURS, (*COLOURS, "alpha")
random = np.random.default_rng(0)


def noise(*shape, dtype=np.uint8, bits=None):
    dtype = np.dtype(dtype)
    if dtype.kind == "f":
        return random.normal(size=shape).astype(dtype)
    if dtype.kind == "b":
        return random.random(shape) > 0.5
    limits = np.iinfo(dtype)
    return random.integers(limits.min, 1 << bits if bits else limits.max, shape, dtype, endpoint=bits is None)


def smooth(height, width, bands=3):
    rows, columns = np.mgrid[:height, :width]
    waves = [90 * np.sin(rows / (17 + 3 * i)) * np.cos(columns / (23 - 2 * i)) + 128 for i in range(bands)]
    return np.stack(waves, axis=2).round().astype(np.uint8)


def fields(path):
    """Every tag of every directory, without the places of the numbers."""
    with tifffile.TiffFile(path) as file:
        found = [file.byteorder, file.is_bigtiff]
        waiting = list(file.pages)
        for page in waiting:
            page = page.aspage()
            waiting += list(page.pages or ())
            found.append([(t.code, int(t.dtype), t.count, t.value) for t in page.tags if t.code not in PLACES])
        return repr(found)


def pages(path):
    with tifffile.TiffFile(path) as file:
        return [page.asarray() for page in file.pages]


def planes_of(path):
    with closing(open_tiff(path)) as file:
        found = list(file.planes())
        assert len(found) == len(file)
        return found


def rewrite(path, change=lambda values: np.roll(values[::-1], 3, axis=1), name="out.tif"):
    """The file with changed planes, and these."""
    target = path.with_name(name)
    with closing(open_tiff(path)) as file:
        changed = [np.ascontiguousarray(change(plane.values)) for plane in file.planes()]
        file.write(target, iter(changed))
        return target, changed


def check_lossless(path, roles, numbers=None):
    """Identity is the same file; other numbers come back, and everything else stays."""
    source = path.read_bytes()
    same, _ = rewrite(path, lambda values: values, "same.tif")
    assert same.read_bytes() == source
    target, changed = rewrite(path)
    back = planes_of(target)
    assert len(back) == len(changed)
    for plane, values in zip(back, changed, strict=True):
        assert plane.roles == roles
        np.testing.assert_array_equal(plane.values, values)
    assert fields(target) == fields(path)
    assert path.read_bytes() == source
    return back


def make(path, data, **options):
    tifffile.imwrite(path, data, **options)
    return path


def handmade(path, entries, data, *, order="<", big=False, ghost=b"", following=0):
    """A TIFF with one directory behind its data, of these tags: code to (type, values)."""
    header = 16 if big else 8
    body = ghost + data + b"\0" * ((len(ghost) + len(data)) % 2)
    entries = {
        code: (kind, [header + len(ghost) if value == "DATA" else value for value in values])
        for code, (kind, values) in entries.items()
    }
    place = header + len(body)
    mark = b"II" if order == "<" else b"MM"
    head = struct.pack(order + "HHHQ", 43, 8, 0, place) if big else struct.pack(order + "HI", 42, place)
    path.write_bytes(mark + head + body + directory(place, entries, order, following, big=big))
    return path


def directory(place, entries, order="<", following=0, *, big=False):
    """The bytes of a directory that stands at a place, with its values behind it."""
    widths = {1: "B", 2: "B", 3: "H", 4: "I", 5: "I", 7: "B", 11: "f", 12: "d", 16: "Q"}
    offset, inline, counting = ("Q", 8, "HHQ") if big else ("I", 4, "HHI")
    ifd, values_behind = struct.pack(f"{order}{'Q' if big else 'H'}", len(entries)), b""
    behind = place + len(ifd) + len(entries) * (20 if big else 12) + inline
    for code in sorted(entries):
        kind, values = entries[code]
        packed = struct.pack(f"{order}{len(values)}{widths[kind]}", *values)
        field = packed.ljust(inline, b"\0")
        if len(packed) > inline:
            field = struct.pack(order + offset, behind + len(values_behind))
            values_behind += packed + b"\0" * (len(packed) % 2)
        ifd += struct.pack(order + counting, code, kind, len(values) // (2 if kind == 5 else 1)) + field
    return ifd + struct.pack(order + offset, following) + values_behind


def plain(width=16, height=16, bits=8, bands=1, photometric=1, **others):
    size = (width * bands * bits + 7) // 8 * height
    entries = {
        256: (4, [width]), 257: (4, [height]), 258: (3, [bits] * bands), 259: (3, [1]), 262: (3, [photometric]),
        273: (4, ["DATA"]), 277: (3, [bands]), 278: (4, [height]), 279: (4, [size]),
    }  # fmt: skip
    return {**entries, **{int(code[1:]): value for code, value in others.items()}}, size


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
    values = random.integers(0, 1 << bits, (9, 13, bands))
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


def similarity(one, other):
    """The worst band's PSNR in decibels."""
    error = ((one.astype(float) - other) ** 2).reshape(-1, one.shape[-1]).mean(axis=0).max()
    return 10 * np.log10(255**2 / error) if error else np.inf


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


IMAGEJ = {"spacing": 3.9, "unit": "um", "Info": "microscope", "LUTs": [noise(3, 256)] * 2, "Overlays": [b"overlay1"],
          "Labels": [f"plane {i}" for i in range(12)], "ROI": b"Iout" + b"\0" * 60}  # fmt: skip


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


def pyramid(path, **options):
    data = noise(128, 128, 3)
    with tifffile.TiffWriter(path, bigtiff=options.pop("bigtiff", False)) as file:
        shared = {"photometric": "rgb", "tile": (32, 32), **options}
        file.write(data, subifds=2, **shared)
        file.write(data[::2, ::2], subfiletype=1, **shared)
        file.write(data[::4, ::4], subfiletype=1, **shared)
        file.write(data[:, :, 0], photometric="minisblack")
    return path


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


def subsampled(tmp_path):
    entries, size = plain(bands=3, photometric=6, _530=(3, [2, 2]))
    return handmade(tmp_path / "a.tif", entries, bytes(size))


def of(code=None, kind=3, values=(), **others):
    """A plain file with another tag."""

    def build(tmp_path):
        entries, size = plain(**others)
        return handmade(tmp_path / "a.tif", entries | ({code: (kind, list(values))} if code else {}), bytes(size))

    return build


def layered(length):
    name = b"Adobe Photoshop Document Data Block\0"
    return name + b"MIB8ksML\x02\0\0\0ab\0\0" + b"MIB8ryaL" + struct.pack("<I", length) + bytes(length)


UNSERVED = [
    (of(photometric=8, bands=3), r"CIE L\*a\*b\* colours; convert it to RGB"),
    (of(photometric=9, bands=3), r"ICC L\*a\*b\* colours"),
    (of(photometric=32845, bands=3), "LogLuv colours"),
    (of(photometric=32803), "raw mosaic of a camera"),
    (of(photometric=34892, bands=3), "linear raw"),
    (of(photometric=777), "unknown kind"),
    (subsampled, "YCbCr colours that are not compressed as JPEG"),
    (of(50706, 1, (1, 4, 0, 0)), "DNG file; develop it"),
    (of(34412, 1, bytes(8)), "Zeiss LSM"),
    (of(33628, 4, (1, 2)), "MetaMorph STK"),
    (of(65420, 4, (1,)), "NDPI"),
    (of(37724, 7, layered(4)), "Photoshop's layers"),
    (of(32997, 4, (3,)), "volumetric"),
    (of(32998, 4, (3,)), "volumetric"),
    (of(339, 3, (5,), bits=32), "complex numbers of 32 bits"),
    (of(339, 3, (6,), bits=64), "complex numbers of 64 bits"),
    (of(bits=64), "unsigned numbers of 64 bits"),
    (of(339, 3, (2,), bits=64), "signed numbers of 64 bits"),
    (of(339, 3, (2,), bits=12), "signed numbers of 12 bits"),
    (of(bits=24), "unsigned numbers of 24 bits"),
    (of(339, 3, (3,), bits=24), "floating-point numbers of 24 bits"),
    (of(258, 3, (5, 6, 5), bands=3, photometric=2), "different depths"),
    (of(259, 3, (2,), bits=1), "CCITT run lengths.*save it with LZW"),
    (of(259, 3, (3,), bits=1), r"CCITT fax \(group 3\)"),
    (of(259, 3, (4,), bits=1), r"CCITT fax \(group 4\), which is not written; save it with LZW, or as PNG, first"),
    (of(259, 3, (6,)), "JPEG of the old style"),
    (of(259, 3, (34676,)), "SGI LogLuv"),
    (of(259, 3, (22610,)), "JPEG XR"),
    (of(259, 3, (50002,)), "JPEG XL"),
    (of(259, 3, (4242,)), "compression 4242"),
    (of(317, 3, (2,), bits=12), "predictor 2 on"),
    (of(317, 3, (3,)), "predictor 3 on"),
    (of(317, 3, (34894,)), "predictor 34894"),
    (of(320, 3, [0] * 768, photometric=3, bands=2), "palette colours with further bands"),
]


@pytest.mark.parametrize(("build", "message"), UNSERVED, ids=[message for _, message in UNSERVED])
def test_what_is_not_served_is_refused_by_name(tmp_path, build, message):
    path = build(tmp_path)
    with pytest.raises(ValueError, match=message) as caught:
        open_tiff(path)
    assert str(path) in str(caught.value)
    assert "first" in str(caught.value)  # what to do


@pytest.mark.parametrize(("level", "options"), [
    ("lossless", {"compressionargs": {"lossless": True, "outcolorspace": "rgb"}, "subsampling": (1, 1)}),
    (r"sampled \[\(4, 1\)", {"subsampling": (4, 1)}),
])  # fmt: skip
def test_unusual_jpegs_are_refused_by_name(tmp_path, level, options):
    path = make(tmp_path / "a.tif", smooth(64, 64), compression="jpeg", photometric="rgb", **options)
    with pytest.raises(ValueError, match=level):
        open_tiff(path)


def test_photoshops_data_without_layers_are_no_obstacle(tmp_path):
    check_lossless(of(37724, 7, layered(0))(tmp_path), GREY)


@pytest.mark.parametrize("head", [b"IIU\0\x18\0\0\0", b"IIRO\x08\0\0\0", b"IIRS\x08\0\0\0"])
def test_raw_files_of_cameras_are_refused_by_name(tmp_path, head):
    path = of()(tmp_path)
    path.write_bytes(head[:4] + path.read_bytes()[4:])
    with pytest.raises(ValueError, match=r"raw file of a (Panasonic|Olympus)"):
        open_tiff(path)


DAMAGED = [
    ({273: (4, [1 << 30])}, "would end at byte"),
    ({279: (4, [1 << 31])}, "would end at byte"),
    ({273: (4, [0])}, "no place or no bytes"),
    ({279: (4, [0])}, "no place or no bytes"),
    ({279: (4, [100])}, "promises 256 bytes of numbers and holds 100"),
    ({257: (4, [4000])}, "1 of 250 strips"),
    ({257: (4, [4000]), 278: (4, [4000])}, "promises 64,000 bytes"),
    ({278: (4, [2])}, "1 of 8 strips"),
    ({278: (4, [0])}, "damaged"),
    ({256: (4, [0])}, "damaged"),
    ({257: (4, [0])}, "damaged"),
    ({322: (4, [0]), 323: (4, [16])}, "damaged"),
    ({277: (3, [60000])}, "damaged"),
    ({284: (3, [9])}, "planar configuration"),
    ({284: (3, [2]), 277: (3, [3])}, "1 of 3 strips"),
    ({262: (3, [2])}, "3 colours in 1 bands"),
    ({262: (3, [3])}, "palette"),
    ({259: (3, [7])}, "not JPEG"),
    ({259: (3, [32773]), 257: (4, [60000]), 278: (4, [60000])}, "promises 960,000 bytes"),
]


@pytest.mark.parametrize(("entries", "message"), DAMAGED, ids=[f"{entries}" for entries, _ in DAMAGED])
def test_damage_is_said(tmp_path, entries, message):
    base, size = plain()
    path = handmade(tmp_path / "a.tif", base | entries, bytes(size))
    with pytest.raises(OSError, match=message) as caught:
        planes_of(path)
    assert f"{path} is damaged" in str(caught.value)


@pytest.mark.parametrize("entries", [
    {256: (4, [100_000]), 257: (4, [100_000])}, {256: (4, [1 << 31]), 257: (4, [1 << 31])},
    {277: (3, [60000]), 257: (4, [10000]), 256: (4, [10000])},
    {322: (4, [1 << 20]), 323: (4, [1 << 20]), 324: (4, [8]), 325: (4, [256]), 259: (3, [8])},
])  # fmt: skip
def test_bombs_are_refused(tmp_path, entries):
    base, size = plain()
    with pytest.raises(ValueError, match="decompression bomb"):
        open_tiff(handmade(tmp_path / "a.tif", base | entries, bytes(size)))


def test_damage_that_is_found_while_writing_names_the_source(tmp_path):
    path = make(tmp_path / "a.tif", noise(5, 30, 30), compression="deflate")
    with tifffile.TiffFile(path) as file:
        place = file.pages[3].dataoffsets[0]
    content = bytearray(path.read_bytes())
    content[place : place + 20] = bytes(20)
    path.write_bytes(content)
    with closing(open_tiff(path)) as file, pytest.raises(OSError, match=r"a\.tif is damaged \(.*deflate"):
        file.write(tmp_path / "b.tif", (plane.values for plane in file.planes()))
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.tif"]


@pytest.mark.parametrize(("compression", "mark", "place", "lie"), [
    ("jpeg2000", b"\xff\x4f\xff\x51", 12, struct.pack(">I", 1 << 24)),
    ("png", b"\x89PNG", 16, struct.pack(">I", 1 << 24)),
    ("lerc", b"Lerc2", 22, struct.pack("<i", 1 << 24)),
    ("jpeg", b"\xff\xc0\0\x11", 5, b"\xff\xff"),
])  # fmt: skip
def test_images_in_tiles_that_lie_of_their_size_are_not_decoded(tmp_path, compression, mark, place, lie):
    path = make(tmp_path / "a.tif", smooth(64, 64), compression=compression, photometric="rgb")
    content = bytearray(path.read_bytes())
    at = content.index(mark) + place
    content[at : at + len(lie)] = lie
    path.write_bytes(content)
    with pytest.raises(OSError, match="strip or tile of 64 × 64 holds an image of"):
        planes_of(path)


def test_lerc_with_a_mask_is_refused_by_name(tmp_path):
    mask = np.ones((16, 16), bool)
    mask[3] = False
    content = bytes(imagecodecs.lerc_encode(noise(16, 16, dtype=np.float32), masks=mask))
    entries, _ = plain(bits=32, _339=(3, [3]))
    path = handmade(tmp_path / "a.tif", entries | {259: (3, [34887]), 279: (4, [len(content)])}, content)
    with pytest.raises(ValueError, match="LERC with a mask"):
        planes_of(path)


def test_loops_of_directories_end(tmp_path):
    entries, size = plain()
    path = handmade(tmp_path / "a.tif", entries, bytes(size), following=8 + size)
    with pytest.raises(OSError, match="loop"):
        open_tiff(path)
    # A sub-directory that is its own parent is not an image more.
    path = handmade(tmp_path / "b.tif", entries | {330: (4, [8 + size])}, bytes(size))
    assert len(planes_of(path)) == 1
    with pytest.raises(OSError, match="would begin at byte"):
        open_tiff(handmade(tmp_path / "c.tif", entries | {330: (4, [9999])}, bytes(size)))
    with pytest.raises(OSError, match="would begin at byte"):
        open_tiff(handmade(tmp_path / "d.tif", entries, bytes(size), following=9999))


@pytest.mark.parametrize(
    "content", [b"", b"II", b"II*\0", b"II*\0\0\0\0\0", b"II+\0\x08\0\0\0" + bytes(8), b"not a TIFF at all"]
)
def test_files_without_images_are_damaged(tmp_path, content):
    (tmp_path / "a.tif").write_bytes(content)
    with pytest.raises(OSError, match="damaged"):
        open_tiff(tmp_path / "a.tif")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError):
        open_tiff(tmp_path / "a.tif")


@pytest.mark.parametrize("name", ["imagej", "pyramid", "jpeg"])
def test_broken_files_raise_nothing_but_what_is_promised(tmp_path, name):
    path = tmp_path / "a.tif"
    if name == "imagej":
        make(path, noise(3, 20, 20, dtype=np.uint16), imagej=True, metadata=IMAGEJ | {"axes": "ZYX"}, truncate=True)
    elif name == "pyramid":
        pyramid(path, compression="deflate")
    else:
        make(path, smooth(64, 64), compression="jpeg", photometric="rgb", tile=(32, 32))
    content = path.read_bytes()
    source = np.random.default_rng(1)
    outcomes = set()
    for i in range(120):
        broken = bytearray(content)
        if i % 3 == 0:
            del broken[int(source.integers(len(broken))) :]
        else:
            for place in source.integers(0, min(len(broken), 900), 4):
                broken[place] = source.integers(256)
        path.write_bytes(broken)
        try:
            rewrite(path)
        except (OSError, ValueError) as error:
            outcomes.add((type(error), str(error).partition(" ")[0]))
    assert (OSError, str(path)) in outcomes
    assert {name for _, name in outcomes} == {str(path)}
    assert {entry.name for entry in tmp_path.iterdir()} <= {"a.tif", "out.tif"}


def test_logs_of_other_users_are_not_silenced(tmp_path, caplog):
    entries, size = plain()
    path = handmade(tmp_path / "a.tif", entries | {278: (4, [2])}, bytes(size))
    with pytest.raises(OSError, match="damaged"):
        open_tiff(path)
    assert not caplog.records
    with tifffile.TiffFile(path):
        pass
    assert caplog.records
