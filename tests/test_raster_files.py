"""Photographs' files: every field is kept, and none is invented."""

import struct
import zlib

import imagecodecs
import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin

from hourglass.imagefiles.raster.containers import (
    box,
    box_parts,
    joined,
    jpeg_parts,
    jpeg_segment,
    png_chunk,
    png_parts,
    riff_chunk,
    riff_parts,
)
from test_jpegs import mpo
from test_rasters import heic, photo, pillow, rewritten, touch


def icc():
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def exif():
    """EXIF with a description, a place, and a maker's note."""
    found = Image.Exif()
    found[0x010E], found[0x013B], found[0x0132] = "described", "A. Artist", "2024:05:06 07:08:09"
    found.get_ifd(0x8769).update({0x9003: "2024:05:06 07:08:09", 0x927C: b"maker's note" * 20})
    found.get_ifd(0x8825).update({1: "N", 2: (52.0, 31.0, 12.0), 3: "E", 4: (13.0, 24.0, 18.0)})
    return found


XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description xmlns:dc="http://purl.org/dc/elements/1.1/" dc:format="image/x"/></rdf:RDF></x:xmpmeta>'
)


def png():
    text = PngImagePlugin.PngInfo()
    text.add_text("Title", "a title")
    text.add_text("Comment", "compressed " * 20, zip=True)
    text.add_itxt("XML:com.adobe.xmp", XMP.decode())
    content = pillow("PNG", pnginfo=text, dpi=(300, 200), exif=exif(), icc_profile=icc())
    parts = png_parts(content)
    chunks = {
        "gAMA": struct.pack(">I", 45455), "cICP": bytes([12, 13, 0, 1]), "sBIT": bytes([8, 7, 6]), "bKGD": bytes(6),
        "cHRM": struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000), "oFFs": bytes(9),
        "pCAL": b"a\0" + struct.pack(">iiBB", 0, 255, 0, 2) + b"m\x001\x002", "sPLT": b"p\0\x08" + bytes(6),
        "tIME": struct.pack(">H5B", 2024, 5, 6, 7, 8, 9), "prVt": b"private", "prIV": b"private",
    }  # fmt: skip
    place = next(i for i, part in enumerate(parts) if part.name == "IDAT")
    late = [png_chunk("tEXt", b"Late\0after the image"), png_chunk("zTXt", b"Late\0\0" + zlib.compress(b"x"))]
    parts[place:place] = [png_chunk(*chunk) for chunk in chunks.items()]
    return joined([*parts[:-2], *late, *parts[-2:]]) + b"behind the end"


def jpeg():
    large = icc() + bytes(150_000)  # in three segments
    large = struct.pack(">I", len(large)) + large[4:]
    content = pillow("JPEG", "RGB", dpi=(300, 300), exif=exif(), icc_profile=large, xmp=XMP, comment=b"a comment")
    parts = jpeg_parts(content)
    more = [
        (0xE1, b"http://ns.adobe.com/xmp/extension/\0" + b"0" * 32 + struct.pack(">II", 9, 0) + b"<ext></e>"),
        (0xED, b"Photoshop 3.0\x008BIM\x04\x04\0\0\0\0\0\x0c\x1c\x02\x05\0\7caption"), (0xE5, b"another"),
        (0xEE, b"unknown"), (0xEB, b"JP\0\1" + bytes(8)), (0xFE, b"a second comment"), (0xE3, b"Meta\0"),
    ]  # fmt: skip
    return joined(parts[:4]) + b"".join(jpeg_segment(*part) for part in more) + joined(parts[4:]) + b"ftypmp42 a film"


def webp():
    content = pillow("WEBP", exif=exif(), icc_profile=icc(), xmp=XMP)
    chunks = content[12:] + riff_chunk("unkn", b"odd").raw
    return b"RIFF" + struct.pack("<I", len(chunks) + 4) + b"WEBP" + chunks


def jp2(no_jp2=False):
    content = pillow("JPEG2000", comment="a comment", no_jp2=no_jp2)
    if no_jp2:
        return content
    resolution = box("res ", box("resc", bytes([0, 1, 0, 1, 0, 1, 0, 1, 2, 2])).raw)
    parts = []
    for part in box_parts(content):
        if part.name == "jp2h":
            part = box("jp2h", part.body + resolution.raw)
        elif part.name == "jp2c":
            parts += [box("xml ", XMP), box("uuid", b"JpgTiffExif->JP2" + exif().tobytes()[6:])]
        parts.append(part)
    return joined([*parts, box("uuid", bytes(16) + b"behind the image")])


def bmp():
    """With the header of 124 bytes and a colour profile behind the pixels."""
    rows = np.random.default_rng(0).integers(0, 256, (9, 24), dtype=np.uint8)
    profile = icc()
    header = struct.pack("<IiiHHIIiiII", 124, 7, 9, 1, 24, 0, rows.nbytes, 11811, 7874, 0, 0) + bytes(16)
    header += b"DEBM" + bytes(range(48)) + struct.pack("<IIII", 4, 124 + rows.nbytes, len(profile), 0)
    start = struct.pack("<2sIII", b"BM", 14 + 124 + rows.nbytes + len(profile), 0, 138)
    return start + header + rows.tobytes() + profile


FILES = {
    "png": png, "jpg": jpeg, "mpo": lambda: mpo([0x30000, 0x20002], trailer=b"behind"), "webp": webp, "jp2": jp2,
    "j2k": lambda: jp2(no_jp2=True), "bmp": bmp,
    "avif": lambda: pillow("AVIF", "RGBA", exif=exif(), icc_profile=icc(), xmp=XMP),
    "heic": lambda: heic("RGB", (72, 128), exif=exif().tobytes(), xmp=XMP, icc_profile=icc()),
}  # fmt: skip
IMAGE = {"png": ("IDAT",), "jpg": ("DHT", "SOS"), "mpo": ("DHT", "SOS", "APP2", "trailer"), "webp": ("VP8 ",),
         "jp2": ("jp2c",), "avif": ("mdat", "meta"), "heic": ("mdat", "meta")}  # fmt: skip
SPLIT = {"png": png_parts, "jpg": jpeg_parts, "mpo": jpeg_parts, "webp": riff_parts}


def with_exiv2(path):
    """All that exiv2 finds in a file, except what it says of places in it."""
    import exiv2

    image = exiv2.ImageFactory.open(str(path))
    image.readMetadata()
    found = {}
    for data in (image.exifData(), image.iptcData(), image.xmpData()):
        for entry in data:
            found.setdefault(entry.key(), []).append(entry.toString())
    profile = bytes(image.iccProfile().data()) if image.iccProfileDefined() else b""
    return found | {"comment": image.comment(), "profile": profile}


@pytest.mark.parametrize("name", FILES)
def test_every_field_is_kept_and_none_invented(name, tmp_path):
    path = tmp_path / f"a.{name}"
    path.write_bytes(FILES[name]())
    _, _, target = rewritten(path, touch)
    before, after = path.read_bytes(), target.read_bytes()
    if name == "bmp":
        assert sum(a != b for a, b in zip(before, after, strict=True)) == 1
        return
    if name == "j2k":
        assert b"a comment" in after
        assert after.count(b"\xff\x64") == before.count(b"\xff\x64")
        return
    kept = [[part for part in SPLIT.get(name, box_parts)(content) if part.name not in IMAGE[name]]
            for content in (before, after)]  # fmt: skip
    if name == "webp":
        kept = [[part.raw for part in parts] for parts in kept]
    assert kept[0] == kept[1]
    assert len(kept[0]) > 3 or name in ("avif", "heic")
    if name == "mpo":
        return
    fields = [with_exiv2(p) for p in (path, target)]
    assert fields[0] == fields[1]
    assert fields[0]["Exif.Image.Artist"] == ["A. Artist"]
    if name in ("jpg", "png", "webp", "avif"):
        import pyvips

        seen = []
        for p in (path, target):
            image = pyvips.Image.new_from_file(str(p))
            seen.append(
                {
                    field: image.get(field)
                    for field in image.get_fields()
                    if field not in ("filename", "heif-compression")
                }
            )
        assert seen[0] == seen[1]
        assert "icc-profile-data" in seen[0]


def test_a_file_without_fields_gets_none(tmp_path):
    for format_ in ("PNG", "JPEG", "WEBP", "AVIF", "JPEG2000", "BMP"):
        path = tmp_path / f"a.{format_}"
        path.write_bytes(pillow(format_))
        _, _, target = rewritten(path, touch)
        with Image.open(path) as one, Image.open(target) as two:
            assert one.info == two.info
            assert one.getexif() == two.getexif() == {}
        assert len(target.read_bytes()) < 9 * len(path.read_bytes())


def test_icc_and_fields_of_16_bit_pngs(tmp_path):
    path = tmp_path / "a.png"
    parts = png_parts(bytes(imagecodecs.png_encode(photo(bits=16))))
    chunks = [
        png_chunk("pHYs", struct.pack(">IIB", 11811, 11811, 1)),
        png_chunk("iCCP", b"p\0\0" + zlib.compress(icc())),
    ]
    path.write_bytes(joined([*parts[:2], *chunks, *parts[2:]]))
    _, _, target = rewritten(path, touch)
    with Image.open(target) as image:
        assert image.info["icc_profile"] == icc()
        assert image.info["dpi"] == pytest.approx((300, 300), abs=0.01)
