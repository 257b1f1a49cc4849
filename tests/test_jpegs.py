"""JPEG and MPO: other pixels under the file's own tables, sampling and scans; everything else byte for byte."""

import io
import struct

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw

from hourglass.imagefiles.raster.containers import joined, jpeg_parts, jpeg_segment
from hourglass.imagefiles.raster.frames import read_frame
from hourglass.imagefiles.raster.rasters import open_raster
from test_rasters import decibels, photo, rewritten, touch


def text(height=60, width=150):
    """Red letters on blue, whose chroma changes most where luma hardly does."""
    image = Image.new("RGB", (width, height), (0, 0, 255))
    for y in range(0, height, 13):
        ImageDraw.Draw(image).text((3, y), "Red text on blue", fill=(255, 0, 0))
    return np.asarray(image)


def pillow(values, mode="RGB", **options):
    out = io.BytesIO()
    Image.fromarray(values).convert(mode).save(out, "JPEG", **options)
    return out.getvalue()


def opencv(values, sampling, *options):
    factor = getattr(cv2, f"IMWRITE_JPEG_SAMPLING_FACTOR_{sampling}")
    flags = [cv2.IMWRITE_JPEG_QUALITY, 90, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, factor, *options]
    return cv2.imencode(".jpg", values[..., ::-1], flags)[1].tobytes()


def with_adobe(content, transform):
    """A file of four inks that says another colour transform, or no Adobe segment at all."""
    parts = [part for part in jpeg_parts(content) if part.name != "APP14"]
    adobe = b"" if transform is None else jpeg_segment(0xEE, b"Adobe\0\x64\0\0\0\0" + bytes([transform]))
    return parts[0].raw + adobe + joined(parts[1:])


def inks(values):
    image = Image.frombytes("CMYK", values.shape[1::-1], np.dstack([values, values[..., :1] // 2]).tobytes())
    out = io.BytesIO()
    image.save(out, "JPEG", quality=85)
    return out.getvalue()


FORMS = {
    "grey": lambda v: pillow(v, "L"),
    "4:4:4": lambda v: pillow(v, subsampling=0),
    "4:2:2": lambda v: pillow(v, subsampling=1),
    "4:2:0": lambda v: pillow(v, subsampling=2),
    "4:2:0, quality 30": lambda v: pillow(v, subsampling=2, quality=30),
    "4:2:0, quality 95": lambda v: pillow(v, subsampling=2, quality=95),
    "4:4:4, quality 100": lambda v: pillow(v, subsampling=0, quality=100),
    "4:4:0": lambda v: opencv(v, "440"),
    "4:1:1": lambda v: opencv(v, "411"),
    "progressive": lambda v: pillow(v, progressive=True),
    "progressive 4:1:1": lambda v: opencv(v, "411", cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
    "restarts": lambda v: opencv(v, "420", cv2.IMWRITE_JPEG_RST_INTERVAL, 3),
    "large tables": lambda v: pillow(v, qtables=[[8 + i for i in range(64)], [300 - i for i in range(64)]]),
    "RGB": lambda v: pillow(v, keep_rgb=True),
    "CMYK": inks,
    "CMYK without Adobe's segment": lambda v: with_adobe(inks(v), None),
    "YCCK": lambda v: with_adobe(inks(v), 2),
}


@pytest.mark.parametrize("image", [photo, text])
@pytest.mark.parametrize("name", FORMS)
def test_forms_come_back_closely(name, image, tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(FORMS[name](image()))
    _, _, target = rewritten(path, lambda values: None)
    assert target.read_bytes() == path.read_bytes()
    planes, values, target = rewritten(path, touch)
    [again] = open_raster(target).planes()
    measured = decibels(values[0], again.values, 255)
    assert measured.min() >= 45, measured
    assert again.roles == planes[0].roles
    before, after = (read_frame(p.read_bytes()) for p in (path, target))
    assert (after.tables, after.components) == (before.tables, before.components)
    assert (after.progressive, after.restart) == (before.progressive, before.restart)
    with Image.open(path) as one, Image.open(target) as two:  # as another reader sees them
        assert (one.quantization, one.layer, one.mode) == (two.quantization, two.layer, two.mode)
        assert one.info == two.info
        shown = decibels(np.atleast_3d(np.asarray(one)), np.atleast_3d(np.asarray(two)), 255)
    assert shown.min() >= 45, shown
    again_and_again = target
    for _ in range(3):  # the loss does not add up
        _, values, again_and_again = rewritten(again_and_again, touch)
    [last] = open_raster(again_and_again).planes()
    assert decibels(planes[0].values, last.values, 255).min() >= 43


@pytest.mark.parametrize("name", ["grey", "4:2:0", "4:4:0", "4:1:1", "progressive", "RGB"])
def test_forms_of_every_small_size(name, tmp_path):
    path = tmp_path / "a.jpg"
    for height, width in [(1, 1), (1, 30), (30, 1), (7, 8), (8, 9), (15, 16), (16, 17), (17, 33), (24, 25), (3, 5)]:
        path.write_bytes(FORMS[name](photo(height, width)))
        _, values, target = rewritten(path, invert)
        [again] = open_raster(target).planes()
        assert again.values.shape == values[0].shape
        assert decibels(values[0], again.values, 255).min() > 15


def invert(values):
    values[:] = 255 - values


@pytest.mark.parametrize("name", [name for name in FORMS if "quality" not in name])
def test_other_pixels_are_what_is_shown(name, tmp_path):
    path, other = tmp_path / "a.jpg", photo(48, 64)[::-1, ::-1]
    path.write_bytes(FORMS[name](photo(48, 64)))

    def replace(values):
        values[:] = np.dstack([other, other[..., :1]])[..., : values.shape[2]]

    _, values, target = rewritten(path, replace)
    [again] = open_raster(target).planes()
    fresh = tmp_path / "fresh.jpg"
    if values[0].shape[2] == 3:
        # As close as a new file of the same form.
        fresh.write_bytes(FORMS[name](values[0]))
        [new] = open_raster(fresh).planes()
        least = decibels(values[0], new.values, 255) - 1
    else:
        least = 25
    assert (decibels(values[0], again.values, 255) > least).all()


def test_colours_beyond_the_range_are_forgotten_where_pixels_change(tmp_path):
    path = tmp_path / "a.jpg"
    white = np.full((64, 64, 3), 255, np.uint8)
    white[::3] = 90  # whose ringing is far beyond 255
    path.write_bytes(pillow(white, quality=50, subsampling=0))
    _, _, target = rewritten(path, lambda values: values.fill(200))
    [again] = open_raster(target).planes()
    assert np.abs(again.values.astype(int) - 200).max() <= 2


def test_inks_are_none_at_0_and_black_comes_back(tmp_path):
    path = tmp_path / "a.jpg"
    Image.new("CMYK", (40, 30), (0, 0, 0, 198)).save(path)
    planes, _, target = rewritten(path, touch)
    assert planes[0].roles == ("ink",) * 4
    for image in (path, target):
        [plane] = open_raster(image).planes()
        np.testing.assert_array_equal(plane.values[10:], np.broadcast_to([0, 0, 0, 198], (20, 40, 4)))
        path.write_bytes(with_adobe(path.read_bytes(), None))  # then the numbers are inks themselves
    [plane] = open_raster(path).planes()
    np.testing.assert_array_equal(plane.values[10, 10], [255, 255, 255, 57])


def mpo(kinds, *, gap=b"", trailer=b"", marks=()):
    """A file of several images, of these MPF types, some of them with XMP that says what they are."""
    sizes = [(48, 64)] + [(24, 32) if kind == 0x10001 else (48, 64) for kind in kinds[1:]]
    images = [pillow(photo(*size)[:, :: 1 - 2 * (i % 2)], quality=85) for i, size in enumerate(sizes)]
    for i, mark in marks:
        images[i] = images[i][:2] + jpeg_segment(0xE1, mark) + images[i][2:]
    table, header = 16 * len(kinds), 8 + 2 + 12 * 3 + 4
    length = len(images[0]) + 4 + 4 + header + table
    entries, start = b"", 0
    for i, (kind, image) in enumerate(zip(kinds, images, strict=True)):
        size = len(image) if i else length
        # Places count from the header of the index, which stands behind SOI, a segment's head and its name.
        entries += struct.pack(">IIIHH", kind, size, start - 10 if i else 0, 0, 0)
        start += size + len(gap)
    directory = struct.pack(">H", 3) + struct.pack(">HHI4s", 0xB000, 7, 4, b"0100")
    directory += struct.pack(">HHII", 0xB001, 4, 1, len(kinds)) + struct.pack(">HHII", 0xB002, 7, table, header)
    index = b"MPF\0MM\0*\0\0\0\x08" + directory + bytes(4) + entries
    images[0] = images[0][:2] + jpeg_segment(0xE2, index) + images[0][2:]
    assert len(images[0]) == length
    return gap.join(images) + trailer


@pytest.mark.parametrize(
    ("kinds", "marks", "planes"),
    [
        ([0x30000, 0x20002], (), 2), ([0x30000, 0x20003, 0x20003], (), 3), ([0x30000, 0x10001], (), 2),
        ([0x30000, 0], (), 2), ([0x30000, 0, 0x10002], [(1, b"x hdrgm:Version=1")], 2), ([0x30000], (), 1),
    ],
)  # fmt: skip
def test_every_image_of_an_mpo_is_a_plane(kinds, marks, planes, tmp_path):
    path = tmp_path / "a.mpo"
    content = mpo(kinds, gap=b"\0" * 5, trailer=b"a film", marks=marks)
    path.write_bytes(content)
    before, values, target = rewritten(path, invert)
    assert len(before) == len(open_raster(path)) == planes
    after = target.read_bytes()
    assert after.endswith(b"a film")
    again = list(open_raster(target).planes())
    for asked, plane in zip(values, again, strict=True):
        assert decibels(asked, plane.values, 255).min() > 25
    with Image.open(path) as one, Image.open(target) as two:
        assert getattr(one, "n_frames", 1) == getattr(two, "n_frames", 1)
        for i in range(getattr(one, "n_frames", 1)):
            one.seek(i)
            two.seek(i)
            assert one.size == two.size
            two.load()
    for i, _ in marks:  # a gain map is kept byte for byte
        start = content.index(b"hdrgm") - 8
        kept = content[start : content.index(b"\xff\xd9", start)]
        assert i == 1
        assert after.count(kept) == 1


def test_pillows_mpo_and_turned_frames(tmp_path):
    path, exif = tmp_path / "a.mpo", Image.Exif()
    exif[0x0112] = 6
    frames = [Image.fromarray(photo(48, 64)[:, ::step]) for step in (1, -1)]
    frames[0].save(path, "MPO", save_all=True, append_images=frames[1:], exif=exif)
    planes, values, target = rewritten(path, touch)
    assert planes[0].values.shape == (64, 48, 3)
    for asked, plane in zip(values, open_raster(target).planes(), strict=True):
        assert decibels(asked, plane.values, 255).min() >= 45


@pytest.mark.parametrize("harm", ["start", "overlap", "table"])
def test_a_broken_index_is_refused(harm, tmp_path):
    content = bytearray(mpo([0x30000, 0x20002]))
    place = content.index(b"MPF\0MM")
    entries = place + 4 + 50
    if harm == "table":
        struct.pack_into(">I", content, place + 4 + 10 + 24 + 4, 17)
    else:
        size, start = struct.unpack_from(">II", content, entries + 20)
        shift = {"start": 3, "overlap": -99}[harm]
        struct.pack_into(">II", content, entries + 20, size - shift, start + shift)
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.jpg has a broken index of its images \(MPF\)"):
        open_raster(tmp_path / "a.jpg")


@pytest.mark.parametrize(
    ("marker", "changes", "said"),
    [
        (0xC9, {}, "arithmetic-coded"), (0xC3, {}, "lossless JPEG"), (0xC5, {}, "hierarchical"), (0xF7, {}, "JPEG-LS"),
        (0xC1, {0: 12}, "12-bit JPEG"), (0xC0, {5: 2}, "2 components"), (0xC0, {7: 0x32, 10: 0x21}, "fractional"),
    ],
)  # fmt: skip
def test_other_codings_are_refused_by_name(marker, changes, said, tmp_path):
    parts = jpeg_parts(pillow(photo(), subsampling=0))
    [i] = [i for i, part in enumerate(parts) if part.name == "SOF0"]
    body = bytearray(parts[i].body)
    for place, value in changes.items():
        body[place] = value
    path = tmp_path / "a.jpg"
    path.write_bytes(joined(parts[:i]) + jpeg_segment(marker, bytes(body)) + joined(parts[i + 1 :]))
    with pytest.raises(ValueError, match=rf"a\.jpg .*{said}"):
        open_raster(path)
