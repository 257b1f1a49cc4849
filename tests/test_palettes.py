"""Palettes, colours that stand for transparent, and PNG's significant bits."""

import struct

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from hourglass.imagefiles.raster.containers import joined, png_chunk, png_parts
from hourglass.imagefiles.raster.rasters import open_raster
from test_rasters import photo, rewritten, touch


def test_palettes_keep_indices_where_they_can_and_get_new_colours_where_they_must(tmp_path):
    path = tmp_path / "a.png"
    image = Image.fromarray(photo()).quantize(13)
    image.save(path, bits=4, transparency=bytes([0, 128]))
    planes, _, target = rewritten(path, lambda values: None)
    assert planes[0].roles == ("red", "green", "blue", "alpha")
    assert set(np.unique(planes[0].values[..., 3])) == {0, 128, 255}
    with Image.open(path) as before, Image.open(target) as after:
        np.testing.assert_array_equal(np.asarray(before), np.asarray(after))
        assert before.getpalette() == after.getpalette()
        assert before.info == after.info

    def recolour(values):  # one of 13 colours becomes another
        values[(values == values[5, 5]).all(axis=2)] = [1, 2, 3, 77]

    planes, values, target = rewritten(path, recolour)
    [again] = open_raster(target).planes()
    np.testing.assert_array_equal(again.values, values[0])
    assert target.read_bytes()[24:26] == b"\4\3"

    def brighten(values):  # more than 16 colours
        values[..., :3] += np.arange(61, dtype=np.uint8)[:, None] // 4

    planes, values, target = rewritten(path, brighten)
    [again] = open_raster(target).planes()
    assert target.read_bytes()[24:26] == b"\4\3"
    assert len(np.unique(again.values.reshape(-1, 4), axis=0)) <= 16


@pytest.mark.parametrize("format_", ["PNG", "BMP"])
def test_a_palette_of_few_colours_grows(format_, tmp_path):
    path = tmp_path / "a"
    Image.fromarray(photo()).quantize(100).save(path, format_)
    content = path.read_bytes()
    if format_ == "BMP":  # a profile behind the pixels moves with them
        assert struct.unpack_from("<I", content, 46)[0] == 100
        path.write_bytes(content + b"behind")

    def tint(values):
        values[::2] ^= 1

    _, values, target = rewritten(path, tint)
    [again] = open_raster(target).planes()
    assert len(np.unique(values[0].reshape(-1, 3), axis=0)) > 100
    np.testing.assert_array_equal(again.values, values[0])
    with Image.open(target) as image:
        np.testing.assert_array_equal(np.asarray(image.convert("RGB")), values[0])


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "I;16"])
def test_a_colour_that_stands_for_transparent(mode, tmp_path):
    path = tmp_path / "a.png"
    grey = photo(bands=1, bits=16 if mode == "I;16" else 8)[..., 0]
    image = Image.fromarray(grey if mode == "I;16" else photo()).convert(mode)
    key = image.getpixel((4, 4))
    image.save(path, transparency=255 if mode == "1" else key)

    def spread(values):  # a denoiser makes the colour of the key elsewhere
        values[20:30] = values[4, 4]

    planes, _, target = rewritten(path, spread)
    [plane] = planes
    if mode != "1":
        assert plane.keep[4, 4]
    [again] = open_raster(target).planes()
    np.testing.assert_array_equal(again.keep, plane.keep)
    np.testing.assert_array_equal(again.values[plane.keep], plane.values[plane.keep])
    if mode != "1":
        assert np.abs(again.values[20:30][~plane.keep[20:30]].astype(int) - plane.values[4, 4]).max() == 1


@pytest.mark.parametrize(
    ("bits", "scale", "said", "declared"),
    [
        (12, 1, [12], (0, 4095)), (10, 1, [10], (0, 1023)), (12, 16, [12], (0, 65535)), (12, 17, [12], (0, 65535)),
        (16, 1, [16], None), (12, 1, [], None),
    ],
)  # fmt: skip
def test_significant_bits_are_the_range(bits, scale, said, declared, tmp_path):
    path = tmp_path / "a.png"
    parts = png_parts(bytes(imagecodecs.png_encode(photo(bands=1, bits=bits)[..., 0].astype(np.uint16) * scale)))
    path.write_bytes(joined([*parts[:2], *(png_chunk("sBIT", bytes([n])) for n in said), *parts[2:]]))
    planes, _, target = rewritten(path, touch)
    assert planes[0].numbers.declared == declared
    assert planes[0].numbers.bits == 16
    assert [part.body for part in png_parts(target.read_bytes()) if part.name == "sBIT"] == [bytes([n]) for n in said]
