"""Broken and hostile images: a clear error for each, none that costs its neighbours, bounded memory."""

import os
import re
import struct
import subprocess
import sys
import zlib
from contextlib import closing

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from hourglass.imagefiles import open_image

# What reading one hostile file may take at most, in bytes, over what the libraries take.
BOUND = 500 << 20


def png(width, height, rows=b""):
    """A PNG that promises so many pixels."""

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b"")


def bad_images(folder):
    """Files under image names, and what is to be said of each."""
    whole = folder / "whole.png"
    Image.effect_noise((40, 30), 50).save(whole)
    content = whole.read_bytes()
    whole.unlink()
    (folder / "bomb.png").write_bytes(png(60_000, 60_000, bytes(100_000)))
    (folder / "promise.png").write_bytes(png(9_000, 9_000))
    (folder / "cut.png").write_bytes(content[: len(content) // 2])
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.jpg").write_text("no image")
    (folder / "idx.bmp").write_bytes(b"\0\0\x08\x03" + bytes(40))
    frames = [Image.new("L", (6, 6), i) for i in (0, 250)]
    frames[0].save(folder / "moving.webp", save_all=True, append_images=frames[1:])
    (folder / "loop.png").symlink_to(folder / "loop.png")
    (folder / "nowhere.png").symlink_to(folder / "none.png")
    (folder / "folder.png").mkdir()
    os.mkfifo(folder / "pipe.png")
    return {
        "bomb.png": "decompression bomb", "promise.png": "damaged", "cut.png": "damaged", "empty.png": "is empty",
        "text.jpg": "is a text file", "idx.bmp": "not an image", "moving.webp": "animated", "loop.png": "symbolic link",
        "nowhere.png": "No such file", "pipe.png": "not a file",
    }  # fmt: skip


def good_images(folder):
    for i, (mode, size) in enumerate([("L", (1, 1)), ("RGB", (1, 300)), ("P", (9, 8)), ("L", (20_000, 1))]):
        Image.new(mode, size, 3).save(folder / f"good{i}.png")
    Image.new("CMYK", (9, 8), (10, 20, 30, 40)).save(folder / "good4.jpg")
    Image.new("L", (1, 20_000), 3).save(folder / "good5.png")
    (folder / "good6.bmp").write_bytes((folder / "good0.png").read_bytes())  # of another kind than its name says
    return 7


def test_bad_images_cost_themselves_alone(hourglass, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    said = bad_images(folder)
    good = good_images(folder)
    for words in (
        ("denoise", folder, tmp_path / "out"),
        ("evaluate", folder, "--noise", "0.2", "--format", "csv"),
        ("train", folder, "--out", tmp_path / "model", "--crop", 8, "--n-crops", 30, "--steps", 1, "--set",
         "channels=(4,)"),
        ("encode", folder, tmp_path / "codes.csv", "--model", tmp_path / "model", "--resize"),
        ("reconstruct", folder, tmp_path / "again", "--model", tmp_path / "model"),
    ):  # fmt: skip
        code, _, err = hourglass(*words)
        lines = [line for line in err.splitlines() if line.startswith("hourglass: ")]
        assert code == 1
        assert "Traceback" not in err
        for name, message in said.items():
            [line] = [line for line in lines if f"/{name}" in line]
            assert message in line, line
        four_inks = words[0] == "encode"  # of which no single code can be made
        assert len(lines) == len(said) + four_inks, lines
    for out in ("out", "again"):
        written = sorted(path.name for path in (tmp_path / out).iterdir())
        assert len(written) == good
        for name in written:
            with Image.open(folder / name) as before, Image.open(tmp_path / out / name) as after:
                assert (before.size, before.mode) == (after.size, after.mode)


def deep_tiff(path):
    """A 16-bit TIFF of 64 × 64 pixels with a tag that promises a million such images one behind the other."""
    other, depth = 65000, 32997
    tag = (other, 4, 1, 1_000_000, True)
    tifffile.imwrite(path, np.zeros((64, 64, 3), np.uint16), photometric="rgb", compression="zlib", extratags=[tag])
    content = path.read_bytes()
    # The writer keeps that tag for itself.
    assert content.count(struct.pack("<HHI", other, 4, 1)) == 1
    path.write_bytes(content.replace(struct.pack("<HHI", other, 4, 1), struct.pack("<HHI", depth, 4, 1)))


def tall_tiff(path):
    """A floating-point TIFF of one strip of 4 rows that says that it has 33 million rows."""
    tifffile.imwrite(path, np.ones((4, 5), np.float32), rowsperstrip=4)
    content, height = path.read_bytes(), struct.Struct("<HHII")
    path.write_bytes(content.replace(height.pack(257, 4, 1, 4), height.pack(257, 4, 1, 33_000_000)))
    assert path.read_bytes() != content


def test_no_memory_for_promised_pixels(tmp_path):
    bad_images(tmp_path)
    deep_tiff(tmp_path / "deep.tif")
    tall_tiff(tmp_path / "tall.tif")
    script = (
        "import resource, sys\n"
        "from hourglass.imagefiles import open_image\n"
        "import PIL.Image, tifffile, imagecodecs\n"
        f"limit = int(open('/proc/self/statm').read().split()[0]) * 4096 + {BOUND}\n"
        "resource.setrlimit(resource.RLIMIT_AS, (limit, limit))\n"
        "for file in sys.argv[1:]:\n"
        "    try: list(open_image(file).planes())\n"
        "    except (OSError, ValueError) as error: print('refused', error)\n"
    )
    files = [tmp_path / name for name in ("bomb.png", "promise.png", "deep.tif", "tall.tif")]
    done = subprocess.run([sys.executable, "-c", script, *files], capture_output=True, text=True, check=True)
    refused = re.findall("^refused", done.stdout, re.MULTILINE)
    assert len(refused) == len(files), done.stdout
    assert not done.stderr


@pytest.mark.parametrize(
    ("mode", "suffix", "options"),
    [("RGB", "webp", {"lossless": True}), ("CMYK", "jpeg", {}), ("RGBA", "png", {}), ("F", "tiff", {})],
)
def test_reading_takes_at_most_36_bytes_a_pixel(mode, suffix, options, tmp_path):
    for name, size in (("small", (2, 2)), ("large", (3000, 2000))):
        image = Image.new("RGB", size, (90, 80, 70)).convert("L" if mode == "F" else mode).convert(mode)
        image.save(tmp_path / f"{name}.{suffix}", **options)
    script = (
        "import re, sys\n"
        "from hourglass.imagefiles import open_image\n"
        "def peak(): return int(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1]) * 1024\n"
        "list(open_image(sys.argv[1]).planes())\n"
        "before = peak()\n"
        "planes = list(open_image(sys.argv[2]).planes())\n"
        "print(peak() - before)\n"
    )
    files = [str(tmp_path / f"{name}.{suffix}") for name in ("small", "large")]
    done = subprocess.run([sys.executable, "-c", script, *files], capture_output=True, text=True, check=True)
    assert 3000 * 2000 < int(done.stdout) <= 36 * 3000 * 2000


@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.data(),
    kind=st.sampled_from([("png", "L"), ("jpeg", "RGB"), ("tiff", "L"), ("bmp", "RGB"), ("webp", "RGB")]),
)
def test_any_change_of_an_image_is_an_error_or_an_image(data, kind, tmp_path):
    path = tmp_path / f"x.{kind[0]}"
    Image.new(kind[1], (7, 5), 99).save(path)
    content = bytearray(path.read_bytes())
    for place, value in data.draw(
        st.lists(st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255)), max_size=4)
    ):
        content[place] = value
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        with closing(open_image(path)) as file:
            planes = list(file.planes())
            assert len(planes) == len(file)
    except (OSError, ValueError):
        return
    for plane in planes:
        assert plane.values.shape[2] == len(plane.roles)
        assert plane.groups


def test_links_to_folders_are_no_loop_and_are_said(hourglass, tmp_path):
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    Image.new("L", (8, 8), 3).save(folder / "sub" / "a.png")
    (folder / "sub" / "up").symlink_to(folder, target_is_directory=True)
    code, _, err = hourglass("denoise", folder, tmp_path / "out")
    assert code == 0
    assert "1 done" in err
    assert f"{folder / 'sub' / 'up'} is a link to a folder and is left out" in err
