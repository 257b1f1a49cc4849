"""Photographs' formats: other pixels come back in the same form and in the same numbers."""

import io
import struct
import zlib

import cv2
import imagecodecs
import numpy as np
import pytest
from PIL import Image, ImageOps
from scipy.ndimage import gaussian_filter

from hourglass.imagefiles.raster.containers import PNG_SIGNATURE, box_parts, joined, png_chunk, png_parts, riff_parts
from hourglass.imagefiles.raster.rasters import open_raster


def photo(height=47, width=61, bands=3, bits=8, noise=0.03):
    rng = np.random.default_rng(0)
    smooth = np.stack([gaussian_filter(rng.normal(size=(height, width)), 3 + i) * (3 + i) for i in range(bands)], 2)
    values = np.clip(0.5 + smooth + rng.normal(size=smooth.shape) * noise, 0, 1)
    return np.round(values * (2**bits - 1)).astype(np.uint8 if bits <= 8 else np.uint16)


def pillow(format_, mode="RGB", **options):
    image = Image.fromarray(photo(bands=4)[..., : 4 if "A" in mode else 3])
    out = io.BytesIO()
    image.convert(mode).save(out, format_, **options)
    return out.getvalue()


def interlaced(values, depth, colour):
    """An interlaced PNG, by libvips."""
    import pyvips

    kinds = (
        {1: "b-w", 2: "b-w", 3: "srgb", 4: "srgb"} if depth == 8 else {1: "grey16", 2: "grey16", 3: "rgb16", 4: "rgb16"}
    )
    image = pyvips.Image.new_from_array(values).copy(interpretation=kinds[values.shape[2]])
    content = image.pngsave_buffer(interlace=True)
    assert content[24:29] == bytes([depth, colour, 0, 0, 1])
    return content


def packed(values, depth):
    """Rows without a filter, of numbers of fewer than 8 bits."""
    bits = (values[..., None] >> np.arange(depth - 1, -1, -1)) & 1
    return np.pad(np.packbits(bits.reshape(len(values), -1), axis=1), ((0, 0), (1, 0))).tobytes()


def sub_byte(depth, interlace=0):
    values = photo(bands=1)[..., 0] >> (8 - depth)
    # The passes of Adam7: first row and column, and steps.
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    images = [values[a::c, b::d] for a, b, c, d in passes] if interlace else [values]
    header = struct.pack(">IIBBBBB", 61, 47, depth, 0, 0, 0, interlace)
    data = zlib.compress(b"".join(packed(image, depth) for image in images))
    parts = [("IHDR", header), ("IDAT", data), ("IEND", b"")]
    return PNG_SIGNATURE + joined(png_chunk(*part) for part in parts)


def alpha_bmp():
    return cv2.imencode(".bmp", photo(bands=4))[1].tobytes()


def top_bmp():
    """A BMP whose rows are stored from the top."""
    content = bytearray(pillow("BMP"))
    struct.pack_into("<i", content, 22, -47)
    return bytes(content)


def rle_bmp(bits):
    """A run-length coded BMP that has runs, literal pixels, a shift and rows that end early."""
    eight = b"\x14\x03\x00\x05abcde\0\0\0" + b"\x00\x02\x02\x01" + b"\x05\x04\0\0" + b"\0\1"
    four = b"\x14\x12\x00\x05\x12\x34\x50\0\0\0" + b"\x00\x02\x02\x01" + b"\x05\x34\0\0" + b"\0\1"
    data = eight if bits == 8 else four
    colours = b"".join(bytes([i, 255 - i, i // 2, 0]) for i in range(1 << bits))
    header = struct.pack("<IiiHHIIiiII", 40, 30, 5, 1, bits, 1 if bits == 8 else 2, len(data), 2835, 2835, 0, 0)
    offset = 14 + 40 + len(colours)
    return struct.pack("<2sIII", b"BM", offset + len(data), 0, offset) + header + colours + data


def masked_bmp():
    """16 bits with 5, 6 and 5 of them for the colours, from the top."""
    words = np.random.default_rng(0).integers(0, 65536, (12, 20)).astype("<u2")
    header = struct.pack("<IiiHHIIiiII3I", 40, 20, -12, 1, 16, 3, words.nbytes, 0, 0, 0, 0, 0xF800, 0x7E0, 0x1F)
    return struct.pack("<2sIII", b"BM", 66 + words.nbytes, 0, 66) + header + words.tobytes()


def jp2(values, **options):
    return bytes(imagecodecs.jpeg2k_encode(values, level=0, reversible=True, **options))


LOSSLESS = {
    **{f"png-{depth}": (lambda depth=depth: sub_byte(depth)) for depth in (1, 2, 4)},
    **{f"png-{mode}": (lambda mode=mode: pillow("PNG", mode)) for mode in ("L", "LA", "RGB", "RGBA", "P")},
    **{f"png16-{n}": (lambda n=n: bytes(imagecodecs.png_encode(photo(bands=n, bits=16)))) for n in (1, 2, 3, 4)},
    **{f"png-interlaced-{n}": (lambda n=n, c=c: interlaced(photo(bands=n), 8, c)) for n, c in ((1, 0), (3, 2), (4, 6))},
    **{f"png-interlaced-bits-{depth}": (lambda depth=depth: sub_byte(depth, 1)) for depth in (1, 2, 4)},
    "png-interlaced-16": lambda: interlaced(photo(bands=3, bits=16), 16, 2),
    **{f"bmp-{mode}": (lambda mode=mode: pillow("BMP", mode)) for mode in ("1", "L", "P", "RGB")},
    "bmp-32": alpha_bmp,
    "bmp-top": top_bmp,
    "bmp-565": masked_bmp,
    **{f"webp-{mode}": (lambda mode=mode: pillow("WEBP", mode, lossless=True, exact=True)) for mode in ("RGB", "RGBA")},
    **{f"jp2-{mode}": (lambda mode=mode: pillow("JPEG2000", mode)) for mode in ("L", "LA", "RGB", "RGBA")},
    "jp2-tiled": lambda: pillow("JPEG2000", tile_size=(32, 16), progression="RPCL", num_resolutions=3),
    "j2k": lambda: pillow("JPEG2000", no_jp2=True, mct=1),
    "j2k-12": lambda: jp2(photo(bits=12), codecformat="j2k", bitspersample=12),
    "jp2-16": lambda: jp2(photo(bits=16), codecformat="jp2"),
    "jp2-grey-16": lambda: jp2(photo(bits=16, bands=1)[..., 0], codecformat="jp2"),
    "avif-lossless": lambda: bytes(imagecodecs.avif_encode(photo(), level=100)),
}  # fmt: skip


def form(content):
    """What a file says of its pixels' layout."""
    if content.startswith(PNG_SIGNATURE):
        layout = ("IHDR", "PLTE", "tRNS")  # the image may be in one chunk or in many
        return list(dict.fromkeys((part.name, part.body if part.name in layout else 0) for part in png_parts(content)))
    if content.startswith(b"BM"):
        return len(content), content[:54]
    if content.startswith(b"RIFF"):
        return [(part.name, part.body[:5] if part.name == "VP8L" else 0) for part in riff_parts(content)]
    if content[4:8] == b"ftyp":
        return [part.raw if part.name == "ftyp" else part.name for part in box_parts(content)]
    start = content.index(b"\xff\x4f\xff\x51")
    stop = content.index(b"\xff\x5c")  # size and coding come first, quantisation next
    return content[:start].replace(content[start - 8 : start], b""), content[start:stop]


def rewritten(path, change):
    """A file and what it became when its planes were changed."""
    file, target = open_raster(path), path.with_name("new-" + path.name)
    planes = list(file.planes())
    values = [plane.values.copy() for plane in planes]
    for array in values:
        change(array)
    file.write(target, iter(values))
    return planes, values, target


def touch(values):
    """Change one number by one level."""
    values[0, 0, 0] ^= 1


def black(values):
    values[2, 3] = 0


@pytest.mark.parametrize("name", LOSSLESS)
@pytest.mark.parametrize("change", [lambda values: None, touch], ids=["same", "touched"])
def test_lossless_forms_come_back_exactly(name, change, tmp_path):
    path = tmp_path / f"a.{name.split('-')[0].rstrip('16')}"
    path.write_bytes(LOSSLESS[name]())
    if (name, change) == ("bmp-565", touch):  # which has 32 levels of red
        change = black
    planes, values, target = rewritten(path, change)
    [again] = open_raster(target).planes()
    np.testing.assert_array_equal(again.values, values[0])
    assert (again.roles, again.numbers) == (planes[0].roles, planes[0].numbers)
    if (name, change) != ("png-P", touch):  # a palette gets new colours
        assert form(target.read_bytes()) == form(path.read_bytes())
    plain = {"png": ["L", "RGB", "RGBA", "LA", "P"], "webp": ["RGB", "RGBA"], "jp2": ["L", "RGB", "RGBA", "LA"]}
    if name.rpartition("-")[2] in plain.get(name.split("-")[0], []):  # as another reader sees them
        with Image.open(path) as image:
            seen = np.asarray(image.convert("RGB") if image.mode == "P" else image)
        np.testing.assert_array_equal(planes[0].values, seen.reshape(planes[0].values.shape))


@pytest.mark.parametrize("bits", [8, 4])
def test_run_lengths_stay_run_lengths(bits, tmp_path):
    path = tmp_path / "a.bmp"
    path.write_bytes(rle_bmp(bits))
    planes, values, target = rewritten(path, lambda values: None)
    literal = [97, 98, 99, 100, 101] if bits == 8 else [1, 2, 3, 4, 5]
    run = [3] * 20 if bits == 8 else [1, 2] * 10
    np.testing.assert_array_equal(planes[0].values[-1, :25, 0], [i // 2 for i in run + literal])
    assert planes[0].values[-3, 0, 1] == 255 - (4 if bits == 8 else 0) or planes[0].values[-3, 2, 1] < 255
    [again] = open_raster(target).planes()
    np.testing.assert_array_equal(again.values, values[0])
    content = target.read_bytes()
    assert content[30] == (1 if bits == 8 else 2)
    assert struct.unpack_from("<I", content, 2)[0] == len(content)


LOSSY = {
    "webp": (lambda: pillow("WEBP", quality=80), 34),
    "webp-alpha": (lambda: pillow("WEBP", "RGBA", quality=80), 34),
    "jp2": (lambda: pillow("JPEG2000", irreversible=True, quality_mode="dB", quality_layers=[35]), 50),
    "avif-420": (lambda: pillow("AVIF", quality=70), 40),
    "avif-444": (lambda: pillow("AVIF", quality=70, subsampling="4:4:4"), 45),
    "avif-alpha": (lambda: pillow("AVIF", "RGBA", quality=70), 40),
    "avif-grey": (lambda: pillow("AVIF", "L", quality=70), 50),
    "avif-10": (lambda: bytes(imagecodecs.avif_encode(photo(bits=10), level=70, bitspersample=10)), 45),
    "avif-12": (lambda: bytes(imagecodecs.avif_encode(photo(bits=12), level=70, bitspersample=12)), 45),
    "heic": (lambda: heic("RGB"), 45),
    "heic-alpha": (lambda: heic("RGBA"), 45),
    "heic-grey": (lambda: heic("L"), 45),
}  # fmt: skip


def heic(mode, size=(203, 301), **options):
    pillow_heif = pytest.importorskip("pillow_heif")
    out = io.BytesIO()
    image = Image.fromarray(photo(*size, bands=4)[..., : 4 if "A" in mode else 3]).convert(mode)
    pillow_heif.from_pillow(image).save(out, quality=80, **options)
    return out.getvalue()


def decibels(before, after, most):
    error = np.square(before.astype(float) - after).mean(axis=(0, 1))
    return 10 * np.log10(most**2 / np.maximum(error, 1e-9))


@pytest.mark.parametrize("name", LOSSY)
def test_lossy_forms_come_back_closely_and_unchanged_ones_exactly(name, tmp_path):
    content, least = LOSSY[name][0](), LOSSY[name][1]
    path = tmp_path / f"a.{name.split('-')[0]}"
    path.write_bytes(content)
    _, _, target = rewritten(path, lambda values: None)
    assert target.read_bytes() == content
    planes, values, target = rewritten(path, touch)
    [again] = open_raster(target).planes()
    assert again.values.shape == values[0].shape
    assert (again.roles, again.numbers) == (planes[0].roles, planes[0].numbers)
    measured = decibels(values[0], again.values, planes[0].numbers.limits[1])
    assert measured.min() >= least, measured
    if "alpha" in again.roles:
        np.testing.assert_array_equal(again.values[..., -1], values[0][..., -1])


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_orientation_is_upright_in_memory_and_kept_in_the_file(format_, orientation, tmp_path):
    path, exif = tmp_path / f"a.{format_}", Image.Exif()
    exif[0x0112] = orientation
    path.write_bytes(pillow(format_, exif=exif))
    with Image.open(path) as image:
        upright = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    planes, values, target = rewritten(path, touch)
    np.testing.assert_array_equal(planes[0].values, upright)
    with Image.open(target) as image:
        assert image.getexif().get(0x0112, 1) == orientation
        shown = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    assert decibels(values[0], shown, 255).min() > 34


@pytest.mark.parametrize("turn", range(4))
@pytest.mark.parametrize("mirror", [None, 0, 1])
def test_turns_and_mirrors_of_heic(turn, mirror, tmp_path):
    from hourglass.imagefiles.raster.containers import box
    from hourglass.imagefiles.raster.items import read_items, with_items

    pillow_heif = pytest.importorskip("pillow_heif")
    items = read_items(heic("RGB", (80, 128)))
    more = [box("irot", bytes([turn])), *([] if mirror is None else [box("imir", bytes([mirror]))])]
    places = list(range(len(items.properties), len(items.properties) + len(more)))
    items.properties += more
    owned = items.owned[items.primary] + places
    entry = struct.pack(">IHB", 1, items.primary, len(owned)) + bytes(
        n + 1 | (0x80 if n in places else 0) for n in owned
    )
    ipma = box("ipma", bytes(4) + entry)
    items.meta = [box("iprp", joined([p if p.name != "ipma" else ipma for p in box_parts(part.body)]))
                  if part.name == "iprp" else part for part in items.meta]  # fmt: skip
    path = tmp_path / "a.heic"
    path.write_bytes(with_items(items, {}, {}))
    upright = np.asarray(pillow_heif.open_heif(path)[0].to_pillow())
    planes, values, target = rewritten(path, touch)
    np.testing.assert_array_equal(planes[0].values, upright)
    assert decibels(values[0], np.asarray(pillow_heif.open_heif(target)[0].to_pillow()), 255).min() > 45
