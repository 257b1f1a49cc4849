"""IDX files: what is read, and what is refused before memory is taken."""

import gzip
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hourglass.data import read_idx
from hourglass.data.idx import images_and_labels
from idx_files import idx, write

IMAGES = np.arange(2 * 3 * 4).reshape(2, 3, 4)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_reads_images_and_labels_gzipped_or_not(tmp_path, pack):
    assert np.array_equal(read_idx(write(tmp_path / "i", pack(idx(IMAGES))), axes=3), IMAGES)
    assert read_idx(write(tmp_path / "l", pack(idx([3, 1]))), axes=1).tolist() == [3, 1]


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no IDX file"),
        (b"\0\0\x08", "no IDX file"),
        (b"PK\x03\x04" + bytes(40), "wrong magic number 0x504b0304"),
        (idx([1, 2, 3]), "images and labels are exchanged"),
        (b"\0\0\x0d\x03" + bytes(12), "wrong magic number"),
        (idx(IMAGES)[:9], "truncated inside its header"),
        (struct.pack(">HBB3I", 0, 8, 3, 60000, 28, 28) + bytes(100), "promises 60000 × 28 × 28 = 47,040,000 bytes"),
        (struct.pack(">HBB3I", 0, 8, 3, 2**32 - 1, 2**32 - 1, 2**32 - 1), "more than the file can hold"),
        (idx(IMAGES) + b"x", "over-long"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_refuses_what_is_no_whole_idx_file(tmp_path, pack, content, said):
    path = write(tmp_path / "train-images-idx3-ubyte", pack(content))
    with pytest.raises(ValueError, match=said) as raised:
        read_idx(path, axes=3)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_truncated_body_is_named(tmp_path):
    with pytest.raises(ValueError, match="more than the file can hold"):
        read_idx(write(tmp_path / "plain", idx(IMAGES)[:-1]), axes=3)
    with pytest.raises(ValueError, match="truncated, 23 of the 24 bytes"):
        read_idx(write(tmp_path / "zipped", gzip.compress(idx(IMAGES)[:-1])), axes=3)


@pytest.mark.parametrize("damage", ["cut", "flipped", "crc"])
def test_a_broken_gzip_stream_is_named(tmp_path, damage):
    content = bytearray(gzip.compress(idx(np.random.RandomState(0).randint(0, 256, (20, 9, 9)))))
    if damage == "cut":
        content = content[: len(content) // 2]
    elif damage == "flipped":
        content[10] = 0xFF
    else:
        content[-6] ^= 1
    with pytest.raises(ValueError, match="broken gzip stream"):
        read_idx(write(tmp_path / "x.gz", bytes(content)), axes=3)


def test_nothing_is_allocated_for_a_lying_header(tmp_path):
    import tracemalloc

    path = write(tmp_path / "x", struct.pack(">HBB3I", 0, 8, 3, 2**20, 2**10, 2**10))
    tracemalloc.start()
    with pytest.raises(ValueError, match="promises"):
        read_idx(path, axes=3)
    # A stream that could hold what it promises is read as it comes, not allocated ahead.
    zipped = write(tmp_path / "z", gzip.compress(struct.pack(">HBB3I", 0, 8, 3, 1000, 28, 28) + bytes(2**16)))
    with pytest.raises(ValueError, match=r"truncated|more than"):
        read_idx(zipped, axes=3)
    assert tracemalloc.get_traced_memory()[1] < 2**20 * 3
    tracemalloc.stop()


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60), st.booleans())
def test_any_bytes_give_an_array_or_a_value_error(tmp_path_factory, content, zipped):
    path = write(tmp_path_factory.mktemp("idx") / "x", gzip.compress(content) if zipped else content)
    try:
        read_idx(path, axes=1)
    except ValueError as error:
        assert str(path) in str(error)  # noqa: PT017  # any of its errors will do


def test_labels_outside_the_classes_and_unequal_numbers_are_refused(tmp_path):
    pixels = np.zeros((3, 2, 2), np.uint8)
    with pytest.raises(ValueError, match="label 10 at place 1 is outside 0–9"):
        images_and_labels(pixels, np.array([9, 10, 0], np.uint8), tmp_path / "i", tmp_path / "l")
    with pytest.raises(ValueError, match=r"3 images but .* 2 labels"):
        images_and_labels(pixels, np.zeros(2, np.uint8), tmp_path / "i", tmp_path / "l")
