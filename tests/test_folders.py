"""What of a folder is done, failed or left out; inputs are never lost, and what cannot be written is found first."""

import errno
import io
import os
import sys
import threading
import warnings

import numpy as np
import pytest
from PIL import Image

from hourglass.imagefiles import OutputFullError, find_images, plan, process, suffixes
from hourglass.runtime.silence import libraries_silenced


def save_image(path, seed=0, size=(20, 16)):
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.random.default_rng(seed).integers(0, 256, size).astype(np.uint8)
    Image.fromarray(array).save(path, "PNG")
    return path


def same(plane, value_range):
    return plane.values, ()


@pytest.fixture
def mixed(tmp_path):
    """A folder as people have them: two images, companions, and files of kinds that are not read."""
    root = tmp_path / "in"
    save_image(root / "a.png")
    save_image(root / "sub" / "b.PNG", 1)
    for name in ("._a.png", ".hidden.png", ".thumbnails/a.png", "@eaDir/a.png/SYNOFILE_THUMB.png", "__MACOSX/a.png"):
        save_image(root / name)
    for name in ("Thumbs.db", "desktop.ini", ".DS_Store"):
        (root / name).write_bytes(b"x")
    for name in ("scan.gif", "raw.dng", "mri.dcm", "other.dcm", "sub/notes.txt", "README"):
        (root / name).write_bytes(b"x")
    return root


def names(found, root):
    return [path.relative_to(root).as_posix() for path in found.paths]


def test_every_file_is_taken_or_counted_and_companions_are_neither(mixed):
    found = find_images(mixed)
    assert names(found, mixed) == ["a.png", "sub/b.PNG"]
    assert found.left_out == {".dcm": 2, ".gif": 1, ".dng": 1, ".txt": 1, "without a suffix": 1}
    everything = find_images(mixed, hidden=True)
    assert len(everything.paths) == 7
    assert find_images(mixed / "._a.png").paths == [mixed / "._a.png"]  # named by the person


@pytest.mark.parametrize("suffix", suffixes())
def test_every_suffix_is_found_in_either_case(suffix, tmp_path):
    (tmp_path / f"a{suffix}").write_bytes(b"x")
    (tmp_path / f"b{suffix.upper()}").write_bytes(b"x")
    assert len(find_images(tmp_path).paths) == 2


def test_a_folder_without_images_says_what_is_there(tmp_path):
    (tmp_path / "a.gif").write_bytes(b"x")
    with pytest.raises(FileNotFoundError, match=r"holds no image files \(\.png, .*\); there are 1 \.gif"):
        find_images(tmp_path)


def test_what_is_left_out_is_counted_at_the_end(hourglass, mixed):
    code, _, err = hourglass("denoise", mixed, "out")
    assert code == 0
    assert err == (
        "denoise: 2 done; 6 left out: 2 .dcm, 1 .gif, 1 .dng, 1 .txt, 1 without a suffix; "
        "see --help for what is read; range 0 to 255 (8 bits)\n"
    ) or sorted(err.split("; ")[1].removeprefix("6 left out: ").split(", ")) == sorted(
        ["2 .dcm", "1 .gif", "1 .dng", "1 .txt", "1 without a suffix"]
    )
    written = [path.relative_to(mixed.parent / "out") for path in (mixed.parent / "out").rglob("*") if path.is_file()]
    assert sorted(map(str, written)) == ["a.png", "sub/b.PNG"]
    words = ("train", mixed, "--out", "model", "--crop", 8, "--n-crops", 4, "--steps", 1, "--set", "channels=(4,)")
    assert "reading: 2 done; 6 left out" in hourglass(*words)[2]
    help_text = hourglass("denoise", "--help")[1]
    for word in ("WebP", "AVIF", ".heic", ".npz"):
        assert word in help_text


def test_several_inputs_stand_before_the_output(hourglass, tmp_path):
    one, two = save_image(tmp_path / "a.png"), save_image(tmp_path / "b.png", 1)
    save_image(tmp_path / "more" / "a.png", 2)
    assert hourglass("denoise", one, two, tmp_path / "more", "out", "-q") == (0, "", "")
    written = [path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.png")]
    assert sorted(written) == ["a.png", "b.png", "more/a.png"]
    assert hourglass("denoise", one, two, "--out", "other", "-q") == (0, "", "")
    code, _, err = hourglass("denoise", one, tmp_path / "more" / "a.png", "third")
    assert code == 1
    assert "two inputs would become third/a.png" in err


@pytest.mark.parametrize("words", [(), ("--overwrite",), ("--resume",)])
@pytest.mark.parametrize("inputs", [("a.png", "b.png"), ("a.png", "b.png", "c.png"), (".", "."), ("a.png", ".")])
def test_an_input_is_never_replaced(inputs, words, hourglass, tmp_path):
    before = [save_image(tmp_path / f"{name}.png", i).read_bytes() for i, name in enumerate("abc")]
    code, _, err = hourglass("denoise", *inputs, *words)
    assert (code, len(err.splitlines())) == (1, 1), err
    assert [(tmp_path / f"{name}.png").read_bytes() for name in "abc"] == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png", "c.png"]


def test_in_place_replaces_the_inputs(hourglass, tmp_path):
    paths = [save_image(tmp_path / "in" / f"{name}.png", i) for i, name in enumerate("ab")]
    before = [path.read_bytes() for path in paths]
    assert hourglass("denoise", tmp_path / "in", "--in-place", "-q") == (0, "", "")
    after = [path.read_bytes() for path in paths]
    assert all(one != other for one, other in zip(before, after, strict=True))
    assert len(list((tmp_path / "in").iterdir())) == 2
    assert hourglass("denoise", paths[0], "--in-place", "--out", "x")[0] == 2


def test_a_named_output_file_is_replaced(hourglass, tmp_path):
    one, two = save_image(tmp_path / "a.png"), save_image(tmp_path / "out.png", 1)
    before = two.read_bytes()
    assert hourglass("denoise", one, "--out", two)[0] == 1
    assert hourglass("denoise", one, "--out", two, "--overwrite", "-q") == (0, "", "")
    assert two.read_bytes() != before
    assert hourglass("denoise", one, "--out", one, "--overwrite")[0] == 1


def test_one_place_alone_is_a_misuse(hourglass, tmp_path):
    code, _, err = hourglass("denoise", save_image(tmp_path / "a.png"))
    assert code == 2
    assert "give OUT behind it, or --in-place" in err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_found_before_the_work(hourglass, tmp_path):
    save_image(tmp_path / "in" / "a.png")
    (tmp_path / "out").mkdir(mode=0o500)
    code, _, err = hourglass("denoise", tmp_path / "in", tmp_path / "out")
    assert code == 1
    assert "cannot be written into" in err


def test_every_folder_of_the_outputs_is_checked_first(tmp_path, monkeypatch):
    save_image(tmp_path / "in" / "a.png")
    save_image(tmp_path / "in" / "sub" / "b.png")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "sub").write_text("a file in the way")
    with pytest.raises(FileExistsError, match="is a file"):
        plan([tmp_path / "in"], tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["sub"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EDQUOT])
def test_a_full_disk_ends_the_run_and_says_how_to_resume(number, tmp_path, monkeypatch, hourglass):
    from pathlib import Path

    for i in range(4):
        save_image(tmp_path / "in" / f"{i}.png", i)
    replace, computed, lock = Path.replace, [], threading.Lock()

    def full(self, target):
        with lock:
            if len(list((tmp_path / "out").glob("?.png"))) == 2:
                raise OSError(number, os.strerror(number), str(self))
            return replace(self, target)

    monkeypatch.setattr(Path, "replace", full)
    todo = plan([tmp_path / "in"], tmp_path / "out")
    with pytest.raises(OutputFullError, match=rf"{os.strerror(number)}: stopped at .*\d\.png.*--resume"):
        list(process(todo.pairs, lambda plane, value_range: computed.append(plane) or (plane.values, ())))
    assert len(computed) in (3, 4)  # files beside the one that failed are in work, too
    assert all(len(path.name) == len("0.png") for path in (tmp_path / "out").iterdir())
    assert len(list((tmp_path / "out").iterdir())) == 2
    code, _, err = hourglass("denoise", tmp_path / "in", tmp_path / "out", "--resume")
    assert code == 1
    assert err.count("--resume") == 1
    assert ".part-" not in err
    monkeypatch.setattr(Path, "replace", replace)
    assert hourglass("denoise", tmp_path / "in", tmp_path / "out", "--resume", "-q") == (0, "", "")
    assert len(list((tmp_path / "out").iterdir())) == 4


def test_an_output_that_cannot_be_written_is_named_by_its_own_name(tmp_path, monkeypatch):
    from pathlib import Path

    save_image(tmp_path / "in" / "a.png")

    def refuse(self, target):
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr(Path, "replace", refuse)
    todo = plan([tmp_path / "in"], tmp_path / "out")
    [outcome] = process(todo.pairs, same)
    assert str(tmp_path / "out" / "a.png") in str(outcome.error)
    assert ".part-" not in str(outcome.error)
    assert not list((tmp_path / "out").iterdir())


class Stream:
    """Standard input or output with bytes behind it."""

    def __init__(self, content=b""):
        self.buffer = io.BytesIO(content)

    def isatty(self):
        return False

    def write(self, text):
        return len(text)

    def flush(self):
        pass


@pytest.mark.parametrize(
    ("words", "kind"),
    [(("-", "-"), "PNG"), (("-", "-", "--format", "tiff"), "TIFF"), (("-", "-", "--format", "jpeg"), "JPEG"),
     (("a.png", "-"), "PNG"), (("a.png", "-", "--format", "webp"), "WEBP")],
)  # fmt: skip
def test_a_stream_in_and_a_stream_out(words, kind, hourglass, tmp_path, monkeypatch):
    path = save_image(tmp_path / "a.png", size=(30, 25))
    source, target = Stream(path.read_bytes()), Stream()
    monkeypatch.setattr(sys, "stdin", source)
    monkeypatch.setattr(sys, "stdout", target)
    assert hourglass("denoise", *words)[0] == 0
    with Image.open(io.BytesIO(target.buffer.getvalue())) as image:
        assert (image.format, image.size) == (kind, (25, 30))
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_a_stream_into_a_file(hourglass, tmp_path, monkeypatch):
    path = save_image(tmp_path / "a.png", size=(30, 25))
    monkeypatch.setattr(sys, "stdin", Stream(path.read_bytes()))
    assert hourglass("denoise", "-", "b.png")[0] == 0
    with Image.open(tmp_path / "b.png") as image:
        assert image.size == (25, 30)
    monkeypatch.setattr(sys, "stdin", Stream(path.read_bytes()))
    code, _, err = hourglass("denoise", "-", "b.png")
    assert (code, "exists" in err) == (1, True)
    monkeypatch.setattr(sys, "stdin", Stream(b""))
    code, _, err = hourglass("denoise", "-", "c.png")
    assert (code, "standard input is empty" in err) == (1, True)


@pytest.mark.parametrize("words", [("-", "a.png", "-"), ("-", "--in-place"), ("a.png", "b.png", "--format", "png")])
def test_streams_that_make_no_sense_are_misuse(words, hourglass, tmp_path):
    save_image(tmp_path / "a.png")
    assert hourglass("denoise", *words)[0] == 2
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_errors_about_a_stream_call_it_standard_input(hourglass, tmp_path, monkeypatch):
    for content in (b"no image at all", save_image(tmp_path / "a.png").read_bytes()[:60]):
        monkeypatch.setattr(sys, "stdin", Stream(content))
        code, _, err = hourglass("denoise", "-", "b.png")
        assert code == 1
        assert err.startswith("hourglass: standard input ")


@pytest.mark.parametrize(
    ("words", "how"),
    [(["b"], "to do the rest: hourglass denoise --resume a b"), (["--in-place"], "name the inputs that are left")],
)
def test_an_interruption_says_how_to_go_on(words, how, hourglass, tmp_path, monkeypatch):
    for i in range(3):
        save_image(tmp_path / f"a/{i}.png", seed=i)

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("hourglass.imagefiles.ImageRestorer.restore", interrupt)
    code, _, err = hourglass("denoise", "a", *words)
    assert code == 130
    assert f"hourglass: interrupted; {how}" in err


def test_warnings_of_libraries_are_silent_on_all_threads_and_ours_are_not():
    def ours():
        warnings.warn_explicit("ours", UserWarning, "a.py", 1, module="hourglass.imagefiles.ranges")

    def theirs():
        warnings.warn_explicit("theirs", UserWarning, "b.py", 1, module="PIL.Image")

    with pytest.warns(UserWarning, match="ours|theirs") as said:  # noqa: PT031  # warnings of several threads
        inside, go_on = threading.Event(), threading.Event()

        def other():
            with libraries_silenced:
                inside.set()
                go_on.wait(20)

        thread = threading.Thread(target=other)
        with libraries_silenced:
            thread.start()
            inside.wait(20)
        theirs()
        ours()
        go_on.set()
        thread.join()
        theirs()
    assert [str(each.message) for each in said] == ["ours", "theirs"]
