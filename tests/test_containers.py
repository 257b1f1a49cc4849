"""Image files as lists of parts: nothing is lost, and a file that is cut off or broken is said to be."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from hourglass.imagefiles.raster.containers import (
    DamagedError,
    box,
    box_parts,
    file_boxes,
    joined,
    jpeg_parts,
    png_chunk,
    png_parts,
    riff_chunk,
    riff_parts,
)
from hourglass.imagefiles.raster.items import read_items, with_items
from hourglass.imagefiles.raster.signatures import sniff


def saved(format_, mode="RGB", **options):
    values = np.random.default_rng(0).integers(0, 256, (19, 23, 4), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(values).convert(mode).save(out, format_, **options)
    return out.getvalue()


def exif():
    found = Image.Exif()
    found[0x010E] = "described"
    return found.tobytes()


FILES = {
    "png": (png_parts, saved("PNG", exif=exif()), ["signature", "IHDR", "eXIf", "IDAT", "IEND", "trailer"]),
    "jpeg": (
        jpeg_parts,
        saved("JPEG", exif=exif(), comment=b"noted"),
        ["SOI", "APP0", "APP1", "COM", "DQT", "DQT", "SOF0", "DHT", "DHT", "DHT", "DHT", "SOS", "EOI", "trailer"],
    ),
    "jp2": (box_parts, saved("JPEG2000"), ["jP  ", "ftyp", "jp2h", "jp2c"]),
    "avif": (box_parts, saved("AVIF"), ["ftyp", "meta", "mdat"]),
}


@pytest.mark.parametrize("kind", FILES)
def test_parts_joined_are_the_file(kind):
    split, content, names = FILES[kind]
    parts = split(content)
    assert [part.name for part in parts] == names
    assert joined(parts) == content


@pytest.mark.parametrize("kind", FILES)
def test_bytes_behind_the_end_are_a_trailer(kind):
    split, content, _ = FILES[kind]
    parts = (file_boxes if split is box_parts else split)(content + b"\xff\xd8 a film")
    assert parts[-1].raw == b"\xff\xd8 a film"
    assert joined(parts) == content + b"\xff\xd8 a film"


def test_riff_chunks_with_padding_and_trailer():
    content = saved("WEBP", exif=exif(), xmp=b"<x/>")
    body = content[12:] + riff_chunk("abcd", b"odd").raw
    content = b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body
    parts = riff_parts(content + b"behind")
    assert [part.name for part in parts] == ["VP8X", "VP8 ", "EXIF", "XMP ", "abcd", "trailer"]
    assert parts[-2].body == b"odd"
    assert content[:12] + joined(parts) == content + b"behind"


@pytest.mark.parametrize("kind", [*FILES, "webp"])
def test_a_file_cut_anywhere_is_damaged_or_shorter(kind):
    split, content, _ = FILES.get(kind, (riff_parts, saved("WEBP", lossless=True), []))
    for length in range(len(content)):
        try:
            parts = split(content[:length])
        except DamagedError:
            continue
        assert kind in ("jp2", "avif"), length  # whole boxes may end anywhere
        assert joined(parts) == content[:length]


def test_fill_bytes_and_junk_between_segments():
    content = FILES["jpeg"][1]
    place = content.index(b"\xff\xdb")
    for between, names in ((b"\xff\xff\xff", ["DQT"]), (b"\0\1\2", ["junk", "DQT"])):
        changed = content[:place] + between + content[place:]
        parts = jpeg_parts(changed)
        assert joined(parts) == changed
        assert [part.name for part in parts][4 : 4 + len(names)] == names
    [table] = [part for part in parts if part.name == "DQT" and part.body[0] == 0]
    assert len(table.body) == 65


@pytest.mark.parametrize(
    ("split", "content"),
    [
        (png_parts, b"\x89PNG\r\n\x1a\n" + png_chunk("IHDR", bytes(13)).raw[:-1] + b"\0" + png_chunk("IEND", b"").raw),
        (png_parts, b"no image"),
        (jpeg_parts, b"\xff\xd8\xff\xdb\0\0\xff\xd9"),
        (jpeg_parts, b"\xff\xd8\xff\x05\0\2\xff\xd9"),
        (riff_parts, b"RIFF\x40\0\0\0WEBP"),
        (riff_parts, b"RIFF\x0c\0\0\0WEBPabcd\xff\0\0\0"),
        (box_parts, b"\0\0\0\7free"),
        (box_parts, b"\0\0\0\x0ffree"),
        (box_parts, struct.pack(">I4sQ", 1, b"free", 1 << 60)),
    ],
)
def test_broken_structure_is_damage(split, content):
    with pytest.raises(DamagedError):
        split(content)


def test_boxes_of_every_kind_of_length():
    to_the_end, long = b"\0\0\0\0jp2cabc", struct.pack(">I4sQ", 1, b"uuid", 19) + b"xyz"
    parts = box_parts(box("free", b"1").raw + long + to_the_end)
    assert [(part.name, part.body) for part in parts] == [("free", b"1"), ("uuid", b"xyz"), ("jp2c", b"abc")]


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (saved("PNG"), "PNG"), (saved("JPEG"), "JPEG"), (saved("BMP"), "BMP"), (saved("WEBP"), "WebP"),
        (saved("AVIF"), "AVIF"), (saved("JPEG2000"), "JPEG 2000"), (saved("JPEG2000", no_jp2=True), "JPEG 2000"),
        (saved("GIF"), "GIF"), (saved("TIFF"), "TIFF"), (b"II*\0\x10\0\0\0CR\2\0", "Canon camera raw"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"), (b"\0\0\0\x18ftypmif1\0\0\0\0mif1avif", "AVIF"),
        (b"\0\0\0\x18ftypcrx \0\0\0\0crx isom", "Canon camera raw"), (b"\0\0\0\x14ftypisom\0\0\0\0mp41", "MP4 video"),
        (bytes(128) + b"DICM", "DICOM"), (b"8BPS\0\1", "Photoshop (PSD)"), (b"\xff\n\xf8", "JPEG XL"),
        (b'<?xml version="1.0"?>\n<svg xmlns="x">', "SVG"), (b"<svg>", "SVG"), (b"%PDF-1.7", "PDF"),
        (b"\x1f\x8b\x08", "gzip"), (b"\x89HDF\r\n\x1a\n", "HDF5"), (b"\x93NUMPY\1\0", "NumPy"), (b"PK\3\4", "zip"),
        (b"SIMPLE  =   T", "FITS"), (b"IIU\0", "Panasonic camera raw"), (b"FUJIFILMCCD-RAW", "Fujifilm camera raw"),
        (b"v/1\1", "OpenEXR"), (bytes(344) + b"n+1\0", "NIfTI"), (b"", None), (b"\0\0\x08\3", None), (b"text", None),
        (b"\0\0\0\2ftyp", "MP4 video"),
    ],
)  # fmt: skip
def test_formats_are_named_by_their_first_bytes(head, name):
    assert sniff(head[:600]) == name


def test_items_of_a_heif_file_are_moved_and_kept():
    content = saved("AVIF", "RGBA", exif=exif(), xmp=b"<x/>")
    items = read_items(content)
    assert sorted(items.types.values()) == ["Exif", "av01", "av01", "mime"]
    assert items.size(items.primary) == (23, 19)
    [alpha] = [start for kind, start, _ in items.references if kind == "auxl"]
    longer = {items.primary: items.data[items.primary] + bytes(1000)}
    again = read_items(with_items(items, longer, {}))
    assert again.data == items.data | longer
    assert again.data[alpha] == items.data[alpha]
    assert (again.types, again.references, again.owned) == (items.types, items.references, items.owned)
    assert [part.raw for part in again.properties] == [part.raw for part in items.properties]


@pytest.mark.parametrize("name", [b"pitm", b"iinf", b"iloc", b"iprp", b"ipco", b"ipma", b"ispe"])
def test_heif_files_without_a_box_are_damaged(name, tmp_path):
    from hourglass.imagefiles.raster.rasters import open_raster

    path = tmp_path / "a.avif"
    path.write_bytes(saved("AVIF").replace(name, b"none"))
    with pytest.raises(OSError, match=r"a\.avif is damaged"):
        open_raster(path)
