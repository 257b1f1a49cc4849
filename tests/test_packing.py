"""Image files to one Zarr: what is in it, what is refused, and what an interruption leaves."""

import pickle
import shutil

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import hourglass as hg
from hourglass.atomic import locked
from hourglass.errors import OptionError
from hourglass.packing import block_notes, block_writer, pack, survey
from hourglass.packing.file_list import list_files
from hourglass.packing.survey import crop_corners
from hourglass.training import ZarrSource
from hourglass.training.zarr_store import unfinished_place
from packed import SIDE, write_images

PER_BLOCK = 4 * SIDE**2


@pytest.fixture
def images(tmp_path):
    return write_images(tmp_path / "images", 22)


def stored(place):
    return zarr.open_group(place, mode="r")["images"][:]


def test_the_numbers_and_names_are_those_of_the_files(images, tmp_path):
    source = hg.pack_images(tmp_path / "images", tmp_path / "a.zarr", block_bytes=PER_BLOCK)
    assert (stored(tmp_path / "a.zarr") == images).all()
    assert source.names == tuple(f"{i:03}.png" for i in range(22))
    assert source.labels is None
    group = zarr.open_group(tmp_path / "a.zarr", mode="r")
    assert group.metadata.zarr_format == 3
    assert group["images"].shards == (4, SIDE, SIDE, 1)
    assert (group["sizes"][:] == SIDE).all()
    assert not unfinished_place(tmp_path / "a.zarr").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zarr", "images"]


@given(size=st.tuples(st.integers(1, 30), st.integers(1, 30)), crop=st.tuples(st.integers(1, 9), st.integers(1, 9)))
@settings(max_examples=60, deadline=None)
def test_crops_lie_side_by_side_in_the_middle_of_the_image(size, crop):
    covered = np.zeros(size, int)
    for top, left in crop_corners(size, crop):
        assert top + crop[0] <= size[0]
        assert left + crop[1] <= size[1]
        covered[top : top + crop[0], left : left + crop[1]] += 1
    assert covered.max(initial=0) <= 1
    assert covered.sum() == size[0] // crop[0] * crop[0] * (size[1] // crop[1] * crop[1])
    for axis in (0, 1):
        free = np.flatnonzero(~covered.any(1 - axis))
        before = int((free < size[axis] // 2).sum())
        assert not covered.any() or abs(len(free) - 2 * before) <= 1


def test_crops_are_parts_of_their_file_which_is_their_group(tmp_path):
    images = write_images(tmp_path / "images", 3, side=30)
    source = hg.pack_images(tmp_path / "images", tmp_path / "a.zarr", crop=(7, 9), block_bytes=1000)
    crops = [
        image[1 + 7 * i : 8 + 7 * i, 1 + 9 * j : 10 + 9 * j] for image in images for i in range(4) for j in range(3)
    ]
    assert (stored(tmp_path / "a.zarr") == np.stack(crops)).all()
    assert source.groups.tolist() == [0] * 12 + [1] * 12 + [2] * 12
    group = zarr.open_group(tmp_path / "a.zarr", mode="r")
    assert group["corners"][:4].tolist() == [[1, 1], [1, 10], [1, 19], [8, 1]]
    assert group["sizes"][0].tolist() == [30, 30]


def test_sixteen_bits_stay_and_bits_that_are_not_used_do_not_darken(tmp_path):
    numbers = np.random.default_rng(0).integers(0, 65536, (5, 9, 8), dtype=np.uint16)
    np.save(tmp_path / "stack.npy", numbers)
    source = hg.pack_images(tmp_path / "stack.npy", tmp_path / "a.zarr")
    assert source.dtype == np.uint16
    assert (stored(tmp_path / "a.zarr")[..., 0] == numbers).all()
    inputs = ZarrSource(tmp_path / "a.zarr", value_range="full").first(5)[:, 0].numpy()
    assert (inputs == numbers / np.float32(65535)).all()
    Image.new("1", (8, 8), 1).save(tmp_path / "one.png")
    assert hg.pack_images(tmp_path / "one.png", tmp_path / "b.zarr").value_range() == (1, 1)


def test_grey_images_among_colours_become_rgb(tmp_path):
    colours = write_images(tmp_path / "images" / "a", 2, channels=3)
    grey = write_images(tmp_path / "images" / "b", 2)
    source = hg.pack_images(tmp_path / "images", tmp_path / "a.zarr")
    order = np.argsort(source.names)
    assert (stored(tmp_path / "a.zarr")[order] == np.concatenate([colours, np.repeat(grey, 3, 3)])).all()


def test_labels_are_the_folders_and_are_said(tmp_path):
    images = write_images(tmp_path / "images", 6, labels=("cats", "dogs", "eels"))
    said = []
    source = hg.pack_images(tmp_path / "images", tmp_path / "a.zarr", say=said.append)
    assert source.label_names == ("cats", "dogs", "eels")
    assert [source.label_names[label] for label in source.labels] == [name.split("/")[0] for name in source.names]
    assert (stored(tmp_path / "a.zarr")[np.argsort(source.names)] == images).all()
    assert said == ["labels: cats (2 files), dogs (2 files), eels (2 files)"]
    folders = [tmp_path / "images" / name for name in ("dogs", "eels")]
    assert hg.pack_images(folders, tmp_path / "b.zarr").label_names == ("dogs", "eels")
    (tmp_path / "images" / "loose.png").write_bytes((tmp_path / "images" / "cats" / "000.png").read_bytes())
    assert hg.pack_images(tmp_path / "images", tmp_path / "c.zarr").label_names == ()


def test_each_block_has_images_of_many_labels(tmp_path):
    """Also of a packing that was resumed; files without labels keep their order."""
    write_images(tmp_path / "images", 160, side=4, labels=[f"{i:02}" for i in range(20)])
    source = hg.pack_images(tmp_path / "images", tmp_path / "a.zarr", block_bytes=16 * 16)
    classes = [len(set(source.labels[start : start + 16])) for start in range(0, 160, 16)]
    assert min(classes) >= 8  # of 16 images; in the order of the paths they would have two or three
    again = hg.pack_images(tmp_path / "images", tmp_path / "b.zarr", block_bytes=16 * 16)
    assert again.fingerprint == source.fingerprint
    assert hg.pack_images(tmp_path / "images" / "03", tmp_path / "c.zarr").names == tuple(
        f"{i:03}.png" for i in range(24, 32)
    )


def test_files_that_cannot_be_packed_are_all_named_and_nothing_is_written(images, tmp_path):
    (tmp_path / "images" / "003.png").write_bytes(b"no image")
    np.save(tmp_path / "images" / "float.npy", np.zeros((SIDE, SIDE), np.float32))
    outcomes = []
    with pytest.raises(ValueError, match="2 of 23 files cannot be packed, and nothing was written"):
        hg.pack_images(tmp_path / "images", tmp_path / "a.zarr", on_outcome=outcomes.append)
    errors = {each.source.name: str(each.error) for each in outcomes if each.error}
    assert set(errors) == {"003.png", "float.npy"}
    assert "float32" in errors["float.npy"]
    assert len(outcomes) == 23
    assert [path.name for path in tmp_path.iterdir()] == ["images"]
    with pytest.raises(ValueError, match=r"003\.png is a text file"):
        hg.pack_images(tmp_path / "images", tmp_path / "a.zarr")


@pytest.mark.parametrize(
    ("other", "crop", "message"),
    [
        (np.zeros((SIDE + 1, SIDE), np.uint8), None, r"odd\.npy has 13 × 12 pixels, most images have 12 × 12.*--crop"),
        (np.zeros((5, SIDE), np.uint8), (6, 6), r"odd\.npy has 5 × 12 pixels, less than a crop of 6 × 6"),
        (np.zeros((SIDE, SIDE), np.uint16), None, r"odd\.npy has 16-bit numbers, most files have 8-bit"),
    ],
)
def test_files_that_do_not_fit_to_the_others_are_refused(images, tmp_path, other, crop, message):
    np.save(tmp_path / "images" / "odd.npy", other)
    with pytest.raises(ValueError, match=message):
        hg.pack_images(tmp_path / "images", tmp_path / "a.zarr", crop=crop)
    assert [path.name for path in tmp_path.iterdir()] == ["images"]


def test_a_file_that_changes_while_it_is_packed_is_noticed(images, tmp_path, monkeypatch):
    look = survey.look

    def change(*args):
        found = look(*args)
        Image.new("L", (SIDE, SIDE - 1)).save(tmp_path / "images" / "009.png")
        return found

    monkeypatch.setattr(pack, "look", change)
    with pytest.raises(ValueError, match=r"009\.png has changed"):
        hg.pack_images(tmp_path / "images", tmp_path / "a.zarr")
    assert not (tmp_path / "a.zarr").exists()


def test_nothing_that_exists_is_replaced_without_being_told(images, tmp_path):
    place = tmp_path / "a.zarr"
    hg.pack_images(tmp_path / "images", place)
    with pytest.raises(FileExistsError, match="--overwrite"):
        hg.pack_images(tmp_path / "images", place)
    said = []
    assert len(hg.pack_images(tmp_path / "images", place, resume=True, say=said.append)) == 22
    assert said == [f"{place} is complete already, and left as it is"]
    with pytest.raises(ValueError, match="other files or with other options"):
        hg.pack_images(tmp_path / "images" / "000.png", place, resume=True)
    assert len(hg.pack_images(tmp_path / "images" / "000.png", place, overwrite=True)) == 1
    shutil.rmtree(place)
    place.mkdir()
    (place / "thesis.txt").write_text("years")
    for options in ({}, {"resume": True}, {"overwrite": True}):
        with pytest.raises(FileExistsError, match="not a Zarr that `hourglass pack` has written"):
            hg.pack_images(tmp_path / "images", place, **options)
    assert (place / "thesis.txt").read_text() == "years"


def test_one_process_at_a_time_packs_a_zarr(images, tmp_path):
    place = unfinished_place(tmp_path / "a.zarr")
    with locked(place), pytest.raises(BlockingIOError, match="in use by another process"):
        hg.pack_images(tmp_path / "images", tmp_path / "a.zarr", resume=True)
    assert place.exists()
    assert len(hg.pack_images(tmp_path / "images", tmp_path / "a.zarr", resume=True)) == 22


def test_a_failed_packing_leaves_the_zarr_that_it_would_replace(images, tmp_path, monkeypatch):
    hg.pack_images(tmp_path / "images", tmp_path / "a.zarr")
    monkeypatch.setattr(block_notes, "checksum", lambda block: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        hg.pack_images(tmp_path / "images" / "000.png", tmp_path / "a.zarr", overwrite=True)
    assert len(ZarrSource(tmp_path / "a.zarr")) == 22


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"resume": True, "overwrite": True}, "give one of them"),
        ({"crop": (0, 3)}, "crop"),
        ({"jobs": 0}, "jobs"),
        ({"block_bytes": 0}, "block_bytes"),
        ({"out": "a.png"}, "does not end in .zarr"),
    ],
)
def test_options_are_checked_before_any_file_is_read(options, message):
    with pytest.raises(OptionError, match=message):
        hg.pack_images("nothing", **{"out": "a.zarr"} | options)


def test_two_files_of_one_name_are_refused(tmp_path):
    for name in ("a", "b"):
        write_images(tmp_path / name / "images", 1)
    with pytest.raises(ValueError, match=r"the name images/000\.png"):
        hg.pack_images([tmp_path / "a" / "images", tmp_path / "b" / "images"], tmp_path / "c.zarr")


def test_images_at_an_address_are_packed(images, tmp_path):
    import fsspec

    memory = fsspec.filesystem("memory")
    for path in sorted((tmp_path / "images").iterdir()):
        memory.pipe(f"/bucket/images/{path.name}", path.read_bytes())
    source = hg.pack_images("memory://bucket/images", tmp_path / "a.zarr")
    assert (stored(tmp_path / "a.zarr") == images).all()
    assert source.names[0] == "000.png"
    memory.pipe("/bucket/images/000.png", b"no image")
    with pytest.raises(ValueError, match=r"memory://bucket/images/000\.png is a text file"):
        hg.pack_images("memory://bucket/images", tmp_path / "b.zarr")


def test_the_states_of_remote_files_are_listed_and_not_asked_for_one_by_one(images, tmp_path, monkeypatch):
    import fsspec

    memory = fsspec.filesystem("memory")
    for path in sorted((tmp_path / "images").iterdir()):
        memory.pipe(f"/listed/{path.name}", path.read_bytes())
    asked, info = [], type(memory).info
    monkeypatch.setattr(type(memory), "info", lambda self, path, **more: asked.append(path) or info(self, path, **more))
    files = list_files(["memory://listed"], None, hidden=False)
    assert len(files.states) == 22
    many = len(asked)
    first = files.identity()
    assert len(asked) == many < 22
    assert list_files(["memory://listed"], None, hidden=False).identity() == first
    memory.pipe("/listed/000.png", b"other")
    assert list_files(["memory://listed"], None, hidden=False).identity() != first
    assert len(list_files(["memory://listed/000.png"], None, hidden=False).identity()) == 64


def sent(function, tasks, workers, shared):
    """Tasks as other processes get them, the last one first."""
    for number in reversed(range(len(tasks))):
        function_there, task, shared_there = pickle.loads(pickle.dumps((function, tasks[number], shared)))  # noqa: S301
        yield number, pickle.loads(pickle.dumps(function_there(shared_there, task)))  # noqa: S301


def test_tasks_in_other_processes_and_another_order_write_the_same(images, tmp_path, monkeypatch):
    one = hg.pack_images(tmp_path / "images", tmp_path / "a.zarr", block_bytes=PER_BLOCK)
    monkeypatch.setattr(block_writer, "_RUN", 2)
    monkeypatch.setattr(survey, "on_workers", sent)
    monkeypatch.setattr(pack, "on_workers", sent)
    two = hg.pack_images(tmp_path / "images", tmp_path / "b.zarr", block_bytes=PER_BLOCK)
    assert one.fingerprint == two.fingerprint
    assert two.names == one.names
    assert (stored(tmp_path / "b.zarr") == images).all()


@pytest.mark.slow
def test_two_processes_write_what_one_writes(images, tmp_path, monkeypatch):
    one = hg.pack_images(tmp_path / "images", tmp_path / "a.zarr", block_bytes=PER_BLOCK)
    monkeypatch.setattr(block_writer, "_RUN", 2)
    two = hg.pack_images(tmp_path / "images", tmp_path / "b.zarr", block_bytes=PER_BLOCK, jobs=2)
    assert one.fingerprint == two.fingerprint


def test_the_command_packs_and_says_what(images, hourglass, tmp_path):
    code, out, err = hourglass("pack", "images", "a.zarr")
    assert (code, out) == (0, "packed: 22 images of 12 × 12 × 1 in a.zarr\n")
    assert err == "reading: 22 done\nblocks: 1 done\n"
    code, _, err = hourglass("pack", "images", "a.zarr")
    assert (code, err) == (1, "hourglass: a.zarr exists; overwrite (--overwrite) replaces it\n")
    code, out, err = hourglass("pack", "images", "a.zarr", "--resume", "-q")
    assert (code, out, err) == (0, "", "")
    code, _, err = hourglass("pack", "images", "b.zarr", "--crop", "4x5", "--jobs", 1)
    assert (code, ZarrSource(tmp_path / "b.zarr").image_shape) == (0, (4, 5, 1))
    assert hourglass("pack", "images")[0] == 2
    assert hourglass("pack", "images", "out")[0] == 2
    (tmp_path / "images" / "000.png").write_bytes(b"no image")
    code, _, err = hourglass("pack", "images", "c.zarr")
    assert code == 1
    assert err.count("\n") == 2
    assert "images/000.png" in err.splitlines()[0]
    assert "nothing was written" in err.splitlines()[-1]


@pytest.mark.parametrize("words", [["--overwrite"], ["--resume"], []])
def test_the_command_says_how_to_go_on(images, hourglass, tmp_path, monkeypatch, words):
    def stop(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(block_notes, "checksum", stop)
        code, _, err = hourglass("pack", "images", "a.zarr", *words, "--crop", "4x4")
    assert code == 130
    command = "hourglass pack images a.zarr --crop 4x4"
    assert err.splitlines()[-1].startswith("hourglass: interrupted; to do the rest: hourglass pack ")
    rest = err.splitlines()[-1].partition("the rest: hourglass ")[2].split()
    assert sorted(rest) == sorted([*command.split()[1:], "--resume"])
    assert hourglass(*rest)[0] == 0
    if words == ["--overwrite"]:  # before anything is written, --resume would find what was to be replaced
        monkeypatch.setattr(pack, "look", stop)
        err = hourglass("pack", "images", "a.zarr", *words)[2]
        assert err == "hourglass: interrupted; to begin again: hourglass pack images a.zarr --overwrite\n"
