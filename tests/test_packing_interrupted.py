"""Packing that is interrupted or killed, anywhere: what is left is resumed to the same bytes, or replaced."""

import subprocess
import sys
from pathlib import Path

import pytest
import zarr

import hourglass as hg
from hourglass.packing import block_notes, block_writer, store_writer, survey
from hourglass.packing.store_writer import StoreWriter
from hourglass.training import ZarrSource
from hourglass.training.zarr_store import unfinished_place
from packed import SIDE, write_images

PER_BLOCK = 4 * SIDE**2


@pytest.fixture
def images(tmp_path):
    return write_images(tmp_path / "images", 22)


def pack(tmp_path, name="a.zarr", **options):
    return hg.pack_images(tmp_path / "images", tmp_path / name, **{"block_bytes": PER_BLOCK} | options)


def bytes_of(place):
    """Content of every file of a folder, hidden ones included, by its path below the folder."""
    return {str(path.relative_to(place)): path.read_bytes() for path in place.rglob("*") if path.is_file()}


def assert_only(tmp_path, *names):
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*names, "images"])


@pytest.fixture
def interrupted(images, tmp_path, monkeypatch):
    """A packing whose third block could not be written, and the numbers of the blocks that were written since."""
    monkeypatch.setattr(block_writer, "_RUN", 2)
    blocks, checksum = [], block_notes.checksum

    def failing(block):
        blocks.append(len(blocks))
        if len(blocks) == 3:
            raise OSError("no room")
        return checksum(block)

    monkeypatch.setattr(block_notes, "checksum", failing)
    with pytest.raises(OSError, match="no room"):
        pack(tmp_path)
    assert len(blocks) == 3
    blocks.clear()
    blocks += [None] * 3
    return blocks


def test_an_interrupted_packing_is_no_zarr_and_is_resumed(interrupted, images, tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"not complete.*--resume"):
        ZarrSource(tmp_path / "a.zarr")
    with pytest.raises(ValueError, match=r"not complete.*--resume"):
        ZarrSource(unfinished_place(tmp_path / "a.zarr"))
    with pytest.raises(FileExistsError, match=r"--resume.*--overwrite"):
        pack(tmp_path)
    monkeypatch.setattr(survey, "_look_at", None)  # what was seen of the files is not looked at again
    said = []
    source = pack(tmp_path, resume=True, say=said.append)
    assert said == ["2 of 6 blocks are there already"]
    assert len(interrupted) == 3 + 4
    assert (zarr.open_group(tmp_path / "a.zarr", mode="r")["images"][:] == images).all()
    assert len(source) == 22
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zarr", "images"]


def test_other_files_or_options_are_not_resumed(interrupted, tmp_path):
    with pytest.raises(ValueError, match="other files or options"):
        pack(tmp_path, crop=(3, 3), resume=True)
    (tmp_path / "images" / "000.png").unlink()
    with pytest.raises(ValueError, match="other files or options"):
        pack(tmp_path, resume=True)
    source = pack(tmp_path, overwrite=True)
    assert len(source) == 21


def stopping(function, where):
    """A function that raises KeyboardInterrupt before or after it is called, once."""
    left = [None]

    def stopped(*args, **options):
        if left and where == "before":
            left.pop()
            raise KeyboardInterrupt
        result = function(*args, **options)
        if left:
            left.pop()
            raise KeyboardInterrupt
        return result

    return stopped


@pytest.mark.parametrize("where", ["before", "after"])
def test_the_deletion_of_the_replaced_zarr_may_be_interrupted(images, tmp_path, monkeypatch, where):
    pack(tmp_path)
    (tmp_path / "images" / "000.png").unlink()
    with monkeypatch.context() as patched:
        patched.setattr(StoreWriter, "tidy", stopping(StoreWriter.tidy, where))
        with pytest.raises(KeyboardInterrupt):
            pack(tmp_path, overwrite=True)
    assert len(ZarrSource(tmp_path / "a.zarr")) == 21
    assert (tmp_path / ".a.zarr.old").exists() == (where == "before")
    assert len(pack(tmp_path, resume=True)) == 21
    assert_only(tmp_path, "a.zarr")
    pack(tmp_path, "b.zarr")
    assert bytes_of(tmp_path / "a.zarr") == bytes_of(tmp_path / "b.zarr")


@pytest.mark.parametrize("again", [{"resume": True}, {"overwrite": True}])
def test_what_an_interrupted_replacement_has_left_blocks_no_later_one(images, tmp_path, monkeypatch, again):
    pack(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(StoreWriter, "_new_group", stopping(StoreWriter._new_group, "after"))
        with pytest.raises(KeyboardInterrupt):
            pack(tmp_path, overwrite=True)
    (tmp_path / ".a.zarr.old" / "images").mkdir(parents=True)
    (tmp_path / ".a.zarr.old" / "images" / "zarr.json").write_text("half deleted")
    assert len(pack(tmp_path, **again)) == 22
    assert_only(tmp_path, "a.zarr")


@pytest.mark.parametrize("again", [{"resume": True}, {"overwrite": True}])
def test_an_interruption_between_the_renamings_loses_neither_zarr(images, tmp_path, monkeypatch, again):
    pack(tmp_path)
    (tmp_path / "images" / "000.png").unlink()
    pack(tmp_path, "b.zarr")
    replace = Path.replace

    def killed(self, target):  # as if by SIGKILL: nothing is put back
        if self.name == ".a.zarr.unfinished" or target.name == "a.zarr":
            raise KeyboardInterrupt
        return replace(self, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            pack(tmp_path, overwrite=True)
    assert_only(tmp_path, ".a.zarr.old", ".a.zarr.unfinished", "b.zarr")
    with monkeypatch.context() as patched:  # the old one is there again while the new one is made once more
        patched.setattr(block_notes, "checksum", lambda block: 1 / 0)
        if "overwrite" in again:
            with pytest.raises(ZeroDivisionError):
                pack(tmp_path, **again)
            assert len(ZarrSource(tmp_path / "a.zarr")) == 22
        else:  # no block is written again
            pack(tmp_path, **again)
    if "overwrite" in again:
        pack(tmp_path, **again)
    assert bytes_of(tmp_path / "a.zarr") == bytes_of(tmp_path / "b.zarr")
    assert_only(tmp_path, "a.zarr", "b.zarr")


def test_a_replacement_that_cannot_be_renamed_leaves_the_old_zarr(images, tmp_path, monkeypatch):
    pack(tmp_path)
    replace = Path.replace

    def refused(self, target):
        if self.name == ".a.zarr.unfinished":
            raise OSError("the disk is full")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", refused)
    with pytest.raises(OSError, match="the disk is full"):
        pack(tmp_path, overwrite=True)
    assert len(ZarrSource(tmp_path / "a.zarr")) == 22


@pytest.mark.parametrize(("owner", "step"), [(store_writer, "store_notes"), (Path, "rglob")])
def test_the_end_of_a_packing_may_be_interrupted(images, tmp_path, monkeypatch, owner, step):
    """Before it is called complete, and before it is renamed."""
    with monkeypatch.context() as patched:
        patched.setattr(owner, step, stopping(getattr(owner, step), "after"))
        with pytest.raises(KeyboardInterrupt):
            pack(tmp_path)
    assert_only(tmp_path, ".a.zarr.unfinished")
    leave_a_partial_file(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(block_notes, "checksum", lambda block: 1 / 0)  # no block is written again
        pack(tmp_path, resume=True)
    pack(tmp_path, "b.zarr")
    assert bytes_of(tmp_path / "a.zarr") == bytes_of(tmp_path / "b.zarr")
    assert_only(tmp_path, "a.zarr", "b.zarr")


def leave_a_partial_file(tmp_path):
    """What zarr leaves where it is killed in the middle of a file."""
    shard = unfinished_place(tmp_path / "a.zarr") / "images" / "c" / "3" / "0" / "0"
    shard.mkdir(parents=True, exist_ok=True)
    (shard / "0.0123456789abcdef.partial").write_bytes(b"half")


KILLED = """
import os, signal, sys
import hourglass as hg
from hourglass.packing import block_notes

checksum, blocks = block_notes.checksum, []

def killing(block):
    blocks.append(None)
    if len(blocks) == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    return checksum(block)

block_notes.checksum = killing
hg.pack_images("images", "a.zarr", block_bytes=int(sys.argv[1]))
"""


@pytest.mark.slow
def test_a_killed_packing_is_resumed_to_the_same_bytes(images, tmp_path):
    died = subprocess.run([sys.executable, "-c", KILLED, str(PER_BLOCK)], cwd=tmp_path, timeout=120, check=False)
    assert died.returncode == -9
    assert_only(tmp_path, ".a.zarr.unfinished")
    leave_a_partial_file(tmp_path)
    said = []
    pack(tmp_path, resume=True, say=said.append)
    assert said == ["3 of 6 blocks are there already"]
    pack(tmp_path, "b.zarr")
    assert bytes_of(tmp_path / "a.zarr") == bytes_of(tmp_path / "b.zarr")


@pytest.mark.parametrize("again", [{"resume": True}, {"overwrite": True}])
def test_an_interruption_while_the_arrays_are_made_is_resumed(images, tmp_path, monkeypatch, again):
    with monkeypatch.context() as patched:
        patched.setattr(StoreWriter, "_new_group", stopping(StoreWriter._new_group, "after"))
        with pytest.raises(KeyboardInterrupt):
            pack(tmp_path)
    with pytest.raises(FileExistsError, match=r"--resume.*--overwrite"):
        pack(tmp_path)
    assert len(pack(tmp_path, **again)) == 22


def test_torn_metadata_of_an_interrupted_packing_do_not_hinder_overwrite(images, tmp_path):
    place = unfinished_place(tmp_path / "a.zarr")
    place.mkdir()
    (place / "zarr.json").write_text('{"attributes": {"hour')
    with pytest.raises(OSError, match="cannot be opened"):
        pack(tmp_path, resume=True)
    assert len(pack(tmp_path, overwrite=True)) == 22


def test_what_appears_while_images_are_packed_is_kept(images, tmp_path):
    """Another program may write to the same place in the hours of a packing."""
    place = tmp_path / "a.zarr"

    def appear(blocks):
        place.mkdir()
        (place / "others.txt").write_text("hours of work")

    with pytest.raises(FileExistsError, match=r"was not there when its packing began; move it away, and resume"):
        pack(tmp_path, on_begin=appear)
    assert (place / "others.txt").read_text() == "hours of work"
    (place / "others.txt").unlink()
    begun = []
    assert len(pack(tmp_path, resume=True, on_begin=begun.append)) == 22
    assert begun == [0]
    assert_only(tmp_path, "a.zarr")


def test_an_interrupted_replacement_is_resumed(images, tmp_path, monkeypatch):
    pack(tmp_path)
    (tmp_path / "images" / "000.png").unlink()
    with monkeypatch.context() as patched:
        patched.setattr(block_notes, "checksum", stopping(block_notes.checksum, "before"))
        with pytest.raises(KeyboardInterrupt):
            pack(tmp_path, overwrite=True)
    assert len(ZarrSource(tmp_path / "a.zarr")) == 22
    assert len(pack(tmp_path, resume=True)) == 21
    assert_only(tmp_path, "a.zarr")


def test_a_zarr_that_was_moved_to_the_place_of_an_interrupted_packing_is_kept(interrupted, images, tmp_path):
    pack(tmp_path, "b.zarr")
    expected = bytes_of(tmp_path / "b.zarr")
    (tmp_path / "b.zarr").rename(tmp_path / "a.zarr")
    with pytest.raises(FileExistsError, match=r"was not there when its packing began"):
        pack(tmp_path, resume=True)
    assert bytes_of(tmp_path / "a.zarr") == expected


def test_remains_beside_a_complete_zarr_do_not_matter(images, tmp_path):
    """A worker that was cut off may write to the hidden folder when the Zarr is complete."""
    pack(tmp_path)
    (tmp_path / ".a.zarr.unfinished" / "images" / "c").mkdir(parents=True)
    assert len(pack(tmp_path, resume=True)) == 22
    with pytest.raises(FileExistsError, match="overwrite"):
        pack(tmp_path)
    (tmp_path / ".a.zarr.unfinished" / "zarr.json").write_text('{"attributes": {"hour')
    assert len(pack(tmp_path, resume=True)) == 22


def test_a_zarr_without_a_block_is_not_complete(images, tmp_path, monkeypatch):
    """As where another process has begun the same Zarr again."""
    complete = StoreWriter.complete

    def disturbed(self, group):
        group["unfinished"][1] = 0
        complete(self, group)

    with monkeypatch.context() as patched:
        patched.setattr(StoreWriter, "complete", disturbed)
        with pytest.raises(OSError, match="1 blocks are not there any more"):
            pack(tmp_path)
    assert len(pack(tmp_path, resume=True)) == 22
