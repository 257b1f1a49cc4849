"""Photographs' files: what is not served is refused by name, and damage is said and does no harm."""

import io
import struct
import subprocess
import sys
import zlib

import imagecodecs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from hourglass.imagefiles.raster.containers import box, box_parts, joined, png_chunk
from hourglass.imagefiles.raster.rasters import RASTERS, open_raster
from test_raster_files import FILES, bmp
from test_rasters import heic, photo, pillow, rewritten, rle_bmp, touch

# What reading one hostile file may take at most, in bytes, over what the libraries take.
BOUND = 500 << 20


def animation(format_, **options):
    frames = [Image.fromarray(photo() ^ n) for n in (0, 99)]
    out = io.BytesIO()
    frames[0].save(out, format_, save_all=True, append_images=frames[1:], **options)
    return out.getvalue()


def png_of(header, *chunks):
    return b"\x89PNG\r\n\x1a\n" + joined(png_chunk(*c) for c in [("IHDR", struct.pack(">IIBBBBB", *header)), *chunks,
                                                               ("IEND", b"")])  # fmt: skip


def j2k_with(place, value):
    """A codestream whose first segment, the sizes, says other things."""
    content = bytearray(pillow("JPEG2000", no_jp2=True))
    content[place] = value
    return bytes(content)


def jp2_with(**boxes):
    """A file whose header has other boxes."""
    out = []
    for part in box_parts(pillow("JPEG2000")):
        if part.name == "jp2h":
            inner = [box(p.name, boxes.pop(p.name.strip(), p.body)) for p in box_parts(part.body)]
            part = box("jp2h", joined([*inner, *(box(*more) for more in boxes.items())]))
        out.append(part)
    return joined(out)


def transparent_avif(**options):
    out = io.BytesIO()
    Image.fromarray(photo(bands=4)).save(out, "AVIF", **options)
    return out.getvalue()


REFUSED = {
    "animated.png": (lambda: animation("PNG"), "is an animated PNG"),
    "iphone.png": (lambda: png_of((4, 4, 8, 2, 0, 0, 0), ("CgBI", b"1234"), ("IDAT", b"")), "CgBI"),
    "bomb.png": (lambda: png_of((60_000, 60_000, 8, 0, 0, 0, 0), ("IDAT", bytes(99))), "decompression bomb"),
    "animated.webp": (lambda: animation("WEBP"), "is an animated WebP"),
    "animated.avif": (lambda: animation("AVIF"), "is a sequence of images"),
    "multiplied.avif": (lambda: transparent_avif(alpha_premultiplied=True), "multiplied by alpha"),
    "two.avif": (lambda: transparent_avif().replace(b"auxl", b"free"), "holds 2 images"),
    "deep.heic": (lambda: heic10(), "HEIC of 10 bits"),
    "two.heic": (lambda: heic_of_two(), "holds 2 images"),
    "signed.j2k": (lambda: j2k_with(42, 0x87), "signed"), "smaller.j2k": (lambda: j2k_with(46, 2), "smaller size"),
    "uneven.j2k": (lambda: j2k_with(45, 9), r"\[8, 10\] bits"),
    "palette.jp2": (lambda: jp2_with(pclr=bytes(9)), "with a palette"),
    "ycc.jp2": (lambda: jp2_with(colr=b"\1\0\0\0\0\0\x12"), "YCC colours"),
    "lab.jp2": (lambda: jp2_with(colr=b"\1\0\0\0\0\0\x0e"), r"CIE L\*a\*b\* colours"),
    "order.jp2": (lambda: jp2_with(cdef=struct.pack(">10H", 3, 0, 0, 3, 1, 0, 2, 2, 0, 1)), "unusual order"),
    "two.jp2": (lambda: pillow("JPEG2000") + box("jp2c", b"x").raw, "holds 2 JPEG 2000 images"),
    "tiled16.j2k": (lambda: tiled16(), "in tiles, of 16 bits"),
    "jpeg.bmp": (lambda: bmp()[:30] + b"\4" + bmp()[31:], "contains a JPEG"),
    "deep.bmp": (lambda: masks(0x3FF00000, 0xFFC00, 0x3FF), "bit mask 0x3ff00000"),
    "colours.gif": (lambda: pillow("GIF", "P"), "is a GIF file, which is not read"),
    "scan.dcm": (lambda: bytes(128) + b"DICM", "is a DICOM file"), "text.png": (lambda: b"no image", "is a text file"),
    "noise.png": (lambda: b"\1\2\3\4", "begins with 01 02 03 04"),
}  # fmt: skip


def heic10():
    pillow_heif = pytest.importorskip("pillow_heif")
    out = io.BytesIO()
    values = photo(72, 128, bits=16)
    pillow_heif.from_bytes("RGB;16", (128, 72), values.tobytes()).save(out, bit_depth=10)
    return out.getvalue()


def heic_of_two():
    pillow_heif = pytest.importorskip("pillow_heif")
    out, file = io.BytesIO(), pillow_heif.from_pillow(Image.fromarray(photo(72, 128)))
    file.add_from_pillow(Image.fromarray(photo(72, 128)[::-1]))
    file.save(out)
    return out.getvalue()


def tiled16():
    content = bytearray(imagecodecs.jpeg2k_encode(photo(bits=16), codecformat="j2k", reversible=True, level=0))
    content[27] = 32  # the width of tiles
    return bytes(content)


def masks(*bits):
    header = struct.pack("<IiiHHIIiiII3I", 40, 2, 2, 1, 32, 3, 16, 0, 0, 0, 0, *bits)
    return struct.pack("<2sIII", b"BM", 82, 0, 66) + header + bytes(16)


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_served_is_refused_by_name(name, tmp_path):
    make, said = REFUSED[name]
    (tmp_path / name).write_bytes(make())
    with pytest.raises(ValueError, match=rf"{name} .*{said}"):
        open_raster(tmp_path / name)


def test_heic_needs_its_package(tmp_path, monkeypatch):
    (tmp_path / "a.heic").write_bytes(heic("RGB", (72, 128)))
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(ImportError, match=r"pip install 'hourglass-lab\[heif\]'"):
        open_raster(tmp_path / "a.heic")


def damaged():
    """Files that end early, or promise more than they hold."""
    deep = bytes(imagecodecs.png_encode(photo(bits=16)))
    for name, content in {
        **{name: make() for name, make in FILES.items()},
        "deep.png": deep,
        "8.png": pillow("PNG"),
        "l.webp": pillow("WEBP", lossless=True),
        "i.jp2": pillow("JPEG2000", irreversible=True),
    }.items():
        yield "half-" + name, content[: len(content) // 2]
        yield "most-" + name, content[: len(content) * 19 // 20] if name not in ("bmp", "png", "jpg") else content[:400]
    short = zlib.compress(bytes(30 * 91))
    for depth, colour in ((8, 2), (16, 2), (8, 3), (4, 0), (1, 3)):
        chunks = [("PLTE", bytes(6)), ("IDAT", short)]
        yield f"rows-{depth}-{colour}.png", png_of((300, 400, depth, colour, 0, 0, 0), *chunks)
        yield f"promise-{depth}-{colour}.png", png_of((9_000, 9_000, depth, colour, 0, 0, 0), *chunks)
    yield "rows-interlaced.png", png_of((300, 400, 8, 0, 0, 0, 1), ("IDAT", short))
    yield "promise.jpg", pillow("JPEG").replace(struct.pack(">HH", 47, 61), struct.pack(">HH", 12_000, 12_000))
    yield "promise.bmp", bmp()[:18] + struct.pack("<ii", 9_000, 9_000) + bmp()[26:]
    yield "promise-tiles.j2k", j2k_with(10, 0x20)
    large = bytearray(pillow("JPEG2000", no_jp2=True))
    for place in (8, 12, 24, 28):  # sizes of the image and of its one tile
        struct.pack_into(">I", large, place, 9_000)
    yield "promise-tile.j2k", bytes(large)
    yield "zero.png", png_of((0, 4, 8, 0, 0, 0, 0), ("IDAT", short))


DAMAGED = dict(damaged())


@pytest.mark.parametrize("name", DAMAGED)
def test_damage_is_said_and_nothing_is_decoded_from_it(name, tmp_path):
    path = tmp_path / name
    path.write_bytes(DAMAGED[name])
    with pytest.raises(OSError, match=f"{name} is damaged"):
        list(open_raster(path).planes())


def test_no_memory_for_promised_pixels(tmp_path):
    names = [name for name in DAMAGED if name.startswith("promise")]
    for name in names:
        (tmp_path / name).write_bytes(DAMAGED[name])
    script = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "import imagecodecs, PIL.Image\n"
        "from hourglass.imagefiles.raster.rasters import open_raster\n"
        f"limit = int(open('/proc/self/statm').read().split()[0]) * 4096 + {BOUND}\n"
        "resource.setrlimit(resource.RLIMIT_AS, (limit, limit))\n"
        "for path in sys.argv[1:]:\n"
        "    try: list(open_raster(Path(path)).planes())\n"
        "    except OSError as error: print('refused', error)\n"
    )
    paths = [str(tmp_path / name) for name in names]
    done = subprocess.run([sys.executable, "-c", script, *paths], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) == len(names), done
    assert all(line.startswith(f"refused {path} is damaged") for line, path in zip(lines, paths, strict=True))


SMALL = {name: make() for name, make in FILES.items() if name not in ("heic", "jpg")} | {
    "jpg": pillow("JPEG"), "p.png": pillow("PNG", "P"), "rle.bmp": rle_bmp(8),
}  # fmt: skip


@settings(deadline=None, max_examples=250, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), name=st.sampled_from(sorted(SMALL)))
def test_any_change_of_a_file_is_an_error_or_an_image(data, name, tmp_path):
    path, content = tmp_path / f"x.{name}", bytearray(SMALL[name])
    for place, value in data.draw(
        st.lists(st.tuples(st.integers(0, min(len(content), 700) - 1), st.integers(0, 255)), max_size=4)
    ):
        content[place] = value
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content)
    try:
        _, values, target = rewritten(path, touch)
        again = [plane.values.shape for plane in open_raster(target).planes()]
    except (OSError, ValueError):
        return
    assert again == [array.shape for array in values]


def test_the_table_of_formats():
    assert list(RASTERS) == ["PNG", "JPEG", "BMP", "WebP", "AVIF", "JPEG 2000", "HEIC"]
    assert all(kind.format == name for name, kind in RASTERS.items())
