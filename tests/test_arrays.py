"""NumPy's files of images: what is one image and what a stack, written back as they were."""

import tracemalloc
import zipfile

import numpy as np
import pytest

from hourglass.imagefiles import open_image
from hourglass.imagefiles.image import COLOURS


def random(shape, dtype="uint8"):
    values = np.random.default_rng(0).random(shape) * 200
    return (values > 100) if dtype == "bool" else values.astype(dtype)


@pytest.mark.parametrize(
    ("shape", "planes", "roles"),
    [
        ((9, 7), 1, ("grey",)),
        ((9, 7, 3), 1, COLOURS),
        ((5, 9, 7), 5, ("grey",)),
        ((5, 9, 3), 1, COLOURS),
        ((3, 9, 7), 3, ("grey",)),
        ((2, 3, 3), 2, ("grey",)),
        ((5, 9, 7, 1), 5, ("grey",)),
        ((5, 9, 7, 3), 5, COLOURS),
        ((2, 9, 7, 4), 2, ("grey",) * 4),
    ],
)
def test_what_is_an_image_and_what_a_stack(shape, planes, roles, tmp_path):
    np.save(tmp_path / "a.npy", random(shape))
    file = open_image(tmp_path / "a.npy")
    found = list(file.planes())
    assert len(file) == len(found) == planes
    assert all(plane.roles == roles for plane in found)
    assert found[0].values.shape[:2] == (shape[:2] if planes == 1 else shape[1:3])


@pytest.mark.parametrize(
    "dtype", ["bool", "uint8", "uint16", ">u2", "int16", "uint32", "int64", "float16", "float32", ">f8", "float64"]
)
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_arrays_come_back_with_other_numbers_in_the_same_form(dtype, order, suffix, tmp_path):
    array = np.asarray(random((4, 9, 7), dtype), order=order)
    path, again = tmp_path / f"a.{suffix}", tmp_path / f"b.{suffix}"
    if suffix == "npy":
        np.save(path, array)
    else:
        np.savez(path, first=array, second=array[0])
    file = open_image(path)
    planes = [plane.values for plane in file.planes()]
    assert all(values.dtype.isnative for values in planes)
    file.write(again, (1 - values if dtype == "bool" else values // 2 for values in planes))
    done = np.load(again)
    for name in ["first", "second"] if suffix == "npz" else [None]:
        before = array if name != "second" else array[0]
        after = done[name] if name else done
        assert after.dtype == array.dtype
        np.testing.assert_array_equal(after, ~before if dtype == "bool" else before // 2)
        if suffix == "npy":
            assert after.flags.f_contiguous == (order == "F")


def test_an_archive_is_compressed_if_it_was(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", x=random((30, 40)))
    np.savez(tmp_path / "b.npz", x=random((30, 40)))
    for name, kind in (("a", zipfile.ZIP_DEFLATED), ("b", zipfile.ZIP_STORED)):
        file = open_image(tmp_path / f"{name}.npz")
        file.write(tmp_path / f"{name}2.npz", (plane.values for plane in file.planes()))
        with zipfile.ZipFile(tmp_path / f"{name}2.npz") as archive:
            assert [(entry.filename, entry.compress_type) for entry in archive.infolist()] == [("x.npy", kind)]


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.zeros(5), "expected images as"),
        (np.zeros((2, 2, 2, 2, 2)), "expected images as"),
        (np.zeros((0, 4, 4)), "expected images as"),
        (np.zeros((4, 4), complex), "expected real numbers"),
        (np.array([["a"]]), "expected real numbers"),
    ],
)
def test_arrays_that_hold_no_images_are_refused(array, said, tmp_path):
    np.save(tmp_path / "a.npy", array)
    np.savez(tmp_path / "a.npz", x=array)
    for name in ("a.npy", "a.npz"):
        with pytest.raises(ValueError, match=said):
            open_image(tmp_path / name)


def test_damaged_arrays_are_named(tmp_path):
    np.save(tmp_path / "a.npy", random((9, 9)))
    np.savez(tmp_path / "a.npz", x=random((90, 90)))
    np.save(tmp_path / "object.npy", np.array([{}], dtype=object), allow_pickle=True)
    for name in ("a.npy", "a.npz"):
        content = (tmp_path / name).read_bytes()
        for length in (7, 20, len(content) // 2, len(content) - 3):
            (tmp_path / f"cut-{name}").write_bytes(content[:length])
            with pytest.raises(OSError, match="is damaged"):
                list(open_image(tmp_path / f"cut-{name}").planes())
    with pytest.raises((OSError, ValueError)):
        open_image(tmp_path / "object.npy")
    (tmp_path / "header.npy").write_bytes(b"\x93NUMPY\x01\x00v\x00{'descr\x01\x00 ')u2" + bytes(4096))
    with pytest.raises(OSError, match="is damaged"):
        open_image(tmp_path / "header.npy")
    with zipfile.ZipFile(tmp_path / "b.npz", "w") as archive:
        archive.writestr("notes.txt", "x")
    with pytest.raises(ValueError, match=r"and no \.npz of arrays"):
        open_image(tmp_path / "b.npz")


def test_an_archive_that_promises_more_than_it_has_is_damaged(tmp_path):
    np.savez(tmp_path / "a.npz", x=random((10, 10)))
    content = (tmp_path / "a.npz").read_bytes().replace(b"(10, 10)", b"(99, 99)")
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(OSError, match="is damaged"):
        list(open_image(tmp_path / "a.npz").planes())


def test_a_write_that_fails_leaves_nothing(tmp_path):
    np.save(tmp_path / "a.npy", random((4, 9, 9)))
    file = open_image(tmp_path / "a.npy")

    def values():
        yield next(file.planes()).values
        raise ValueError("in the middle")

    with pytest.raises(ValueError, match="in the middle"):
        file.write(tmp_path / "b.npy", values())
    assert [path.name for path in tmp_path.iterdir()] == ["a.npy"]


@pytest.mark.parametrize("compressed", [False, True])
def test_an_archive_is_read_and_written_plane_by_plane(compressed, tmp_path):
    array = np.zeros((40, 500, 500), np.float32)
    (np.savez_compressed if compressed else np.savez)(tmp_path / "a.npz", stack=array)
    file = open_image(tmp_path / "a.npz")
    tracemalloc.start()
    file.write(tmp_path / "b.npz", (plane.values + 1 for plane in file.planes()))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < array.nbytes / 4
    np.testing.assert_array_equal(np.load(tmp_path / "b.npz")["stack"], array + 1)
