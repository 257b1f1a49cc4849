import struct
from contextlib import closing

import imagecodecs
import numpy as np
import pytest
import tifffile

from hourglass.imagefiles.tiff.tiffs import open_tiff
from tiff_files import GREY, IMAGEJ, check_lossless, handmade, make, noise, plain, planes_of, pyramid, rewrite, smooth


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
