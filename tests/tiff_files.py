"""TIFF files for tests, by public writers and by hand, and what is compared of them."""

import struct
from contextlib import closing

import numpy as np
import tifffile

from hourglass.imagefiles.image import COLOURS
from hourglass.imagefiles.tiff.tiffs import open_tiff

# Tags that say where the numbers stand, and nothing else.
PLACES = {273, 279, 324, 325}
GREY, RGB, RGBA = ("grey",), COLOURS, (*COLOURS, "alpha")
random = np.random.default_rng(0)


def noise(*shape, dtype=np.uint8):
    dtype = np.dtype(dtype)
    if dtype.kind == "f":
        return random.normal(size=shape).astype(dtype)
    if dtype.kind == "b":
        return random.random(shape) > 0.5
    limits = np.iinfo(dtype)
    return random.integers(limits.min, limits.max, shape, dtype, endpoint=True)


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


def similarity(one, other):
    """The worst band's PSNR in decibels."""
    error = ((one.astype(float) - other) ** 2).reshape(-1, one.shape[-1]).mean(axis=0).max()
    return 10 * np.log10(255**2 / error) if error else np.inf


IMAGEJ = {"spacing": 3.9, "unit": "um", "Info": "microscope", "LUTs": [noise(3, 256)] * 2, "Overlays": [b"overlay1"],
          "Labels": [f"plane {i}" for i in range(12)], "ROI": b"Iout" + b"\0" * 60}  # fmt: skip


def pyramid(path, **options):
    data = noise(128, 128, 3)
    with tifffile.TiffWriter(path, bigtiff=options.pop("bigtiff", False)) as file:
        shared = {"photometric": "rgb", "tile": (32, 32), **options}
        file.write(data, subifds=2, **shared)
        file.write(data[::2, ::2], subfiletype=1, **shared)
        file.write(data[::4, ::4], subfiletype=1, **shared)
        file.write(data[:, :, 0], photometric="minisblack")
    return path
