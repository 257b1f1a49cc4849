"""Images at addresses: from and to an S3 server of this machine."""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from delivered_files import all_of, content, put
from hourglass.imagefiles.delivery import check_deliverable, delivered
from hourglass.imagefiles.remote import RemotePath, existing, fetched, list_files, place

pytest.importorskip("s3fs", reason="needs the extra s3")


@pytest.fixture(scope="module")
def service():
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(service, monkeypatch):
    """An empty bucket, as a path."""
    import fsspec

    for name, value in {
        "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": service, "no_proxy": "127.0.0.1",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    fsspec.filesystem("s3").clear_instance_cache()
    files = fsspec.filesystem("s3")
    if files.exists("images"):
        files.rm("images", recursive=True)
    files.mkdir("images")
    return place("s3://images")


@pytest.fixture
def images(bucket, tmp_path):
    """The same images in a bucket and in a folder."""
    random = np.random.default_rng(0)
    for name in ("b/1.png", "a.png", "b/0.png", "c.png"):
        local = tmp_path / "in" / name
        local.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(90, 160, (20, 24)).astype(np.uint8)).save(local)
        put(bucket / "in" / name, local.read_bytes())
    return bucket / "in"


def test_an_address_is_a_path():
    path = place("s3://bucket/folder/a.tar.png")
    assert isinstance(path, RemotePath)
    assert place(path) is path
    assert (str(path), path.name, path.suffix) == ("s3://bucket/folder/a.tar.png", "a.tar.png", ".png")
    assert str(path.parent / "b.png") == "s3://bucket/folder/b.png"
    assert str(path.with_name("c.png")) == str(path.with_stem("c")) == "s3://bucket/folder/c.png"
    assert path.relative_to(place("s3://bucket")).as_posix() == "folder/a.tar.png"
    assert place(Path("s3://bucket/a")) == place("s3://bucket/a") != Path("bucket/a")


def test_an_address_survives_pickle():
    import pickle

    path = place("s3://bucket/folder/a.png")
    found = pickle.loads(pickle.dumps(path))  # noqa: S301  # from the line itself
    assert (found, str(found), type(found)) == (path, str(path), RemotePath)


@pytest.mark.parametrize("name", ["a.png", "/home/a.png", "C:/a.png", "-", "a:b/c.png", ".", "folder/s3:/a.png"])
def test_other_names_are_local(name):
    assert place(name) == Path(name)
    assert not isinstance(place(name), RemotePath)


def test_an_address_of_this_machine_is_local():
    assert place("file:///home/a.png") == Path("/home/a.png")


def test_files_are_delivered_whole_or_not_at_all(bucket):
    put(bucket / "a.bin", b"old")

    def fail():
        with delivered(bucket / "a.bin") as local:
            local.write_bytes(b"half")
            raise ValueError(f"{local} is bad")

    with pytest.raises(ValueError, match=r"^s3://images/a\.bin is bad$"):
        fail()
    assert content(bucket / "a.bin") == b"old"
    assert existing([bucket / "a.bin", bucket / "b.bin", Path(__file__)]) == {bucket / "a.bin", Path(__file__)}
    with pytest.raises(FileNotFoundError, match=r"s3://images/b\.bin"):
        content(bucket / "b.bin")


def test_a_bucket_of_images_is_denoised_as_a_folder_is(images, bucket, hourglass, tmp_path):
    put(images / "bad.png", b"no image")
    put(images / "notes.txt", b"x")
    put(images / ".hidden" / "a.png", b"x")
    expected = {}
    assert hourglass("denoise", tmp_path / "in", tmp_path / "out", "-q")[0] == 0
    for path in (tmp_path / "out").rglob("*.png"):
        expected[path.relative_to(tmp_path / "out").as_posix()] = path.read_bytes()
    code, _, err = hourglass("denoise", images, bucket / "out")
    assert code == 1
    [said] = [line for line in err.splitlines() if line.startswith("hourglass: ")]
    assert said == "hourglass: s3://images/in/bad.png is a text file and not an image"
    assert "denoise: 4 done, 1 failed; 1 left out: 1 .txt" in err.splitlines()[-1]
    assert all_of(bucket / "out") == expected
    code, _, err = hourglass("denoise", images, bucket / "out")
    assert (code, "4 of 5 outputs exist already (s3://images/out/a.png, …)" in err) == (1, True)
    put(bucket / "out" / "a.png", b"of before")
    code, _, err = hourglass("denoise", images / "b", tmp_path / "b", "-q")
    assert {path.name for path in (tmp_path / "b").iterdir()} == {"0.png", "1.png"}
    code, _, err = hourglass("denoise", images, bucket / "out", "--resume", "-q")
    assert all_of(bucket / "out") == expected | {"a.png": b"of before"}
    code, _, err = hourglass("denoise", images / "a.png", bucket / "one.png", "-q")
    assert (code, content(bucket / "one.png")) == (0, expected["a.png"])


@pytest.mark.slow
def test_a_bucket_on_two_processes(images, bucket, hourglass, tmp_path):
    assert hourglass("denoise", tmp_path / "in", tmp_path / "out", "-q")[0] == 0
    assert hourglass("denoise", images, bucket / "out", "--jobs", 2, "-q") == (0, "", "")
    for name, found in all_of(bucket / "out").items():
        assert found == (tmp_path / "out" / name).read_bytes()
    assert len(all_of(bucket / "out")) == 4


def test_tables_and_scores_of_a_bucket(images, bucket, few, hourglass, tmp_path):
    from hourglass import DenseAutoencoder, save

    save(DenseAutoencoder(n_steps=3).fit(few.train.images), tmp_path / "model")
    words = ("--model", tmp_path / "model", "--resize")
    for source, table in ((tmp_path / "in", tmp_path / "codes.npy"), (images, bucket / "codes.npy")):
        assert hourglass("encode", source, table, *words, "-q") == (0, "", "")
    for name in ("codes.npy", "codes.names.json"):
        assert content(bucket / name) == (tmp_path / name).read_bytes()
    assert "s3://images/codes.npy exists" in hourglass("encode", images, bucket / "codes.npy", *words)[2]
    shown = [hourglass("evaluate", source, *words, "--format", "csv", "-q") for source in (tmp_path / "in", images)]
    assert shown[0] == shown[1]
    assert shown[0][0] == 0


def test_places_that_are_not_there(images, hourglass, tmp_path):
    for words, message in {
        ("s3://images/nowhere", "out"): "s3://images/nowhere is neither a folder nor a file",
        (images, "s3://no-such-bucket/out"): "s3://no-such-bucket does not exist; make it",
        (images, "nosuch://a/b"): "nosuch://a/b is no address of a file system that fsspec knows",
    }.items():
        code, _, err = hourglass("denoise", *words)
        assert (code, err.count("\n")) == (1, 1), err
        assert message in err


def test_names_that_look_like_chains_of_addresses(images, bucket, hourglass):
    put(images / "x::y.png", content(images / "a.png"))
    assert hourglass("denoise", images / "x::y.png", bucket / "x::z.png", "-q") == (0, "", "")
    assert {path.name for path in list_files(bucket) if "::" in path.name} == {"x::y.png", "x::z.png"}


def test_names_that_a_path_changes_are_refused(images, bucket, hourglass):
    import fsspec

    files = fsspec.filesystem("s3")
    files.call_s3("put_object", Bucket="images", Key="in/folder/")  # stands for a folder
    assert len(list_files(images)) == 4
    files.call_s3("put_object", Bucket="images", Key="in/b//2.png", Body=b"x")
    code, _, err = hourglass("denoise", images, "out")
    assert (code, err.count("\n")) == (1, 1)
    assert "s3://images/in/b//2.png cannot be read, as its name has an empty part" in err
    code, _, err = hourglass("denoise", "s3://images/in/b//0.png", "out")
    assert (code, err.count("\n")) == (2, 1)
    assert "s3://images/in/b//0.png has an empty part" in err


def test_a_bucket_that_may_not_be_looked_at_may_be_written(images, bucket, hourglass, monkeypatch):
    def forbid(*_):
        raise PermissionError("Forbidden")

    monkeypatch.setattr(RemotePath, "exists", forbid)
    check_deliverable(bucket / "out")


def test_every_file_is_fetched_once(images, bucket, hourglass, tmp_path, monkeypatch):
    from hourglass.imagefiles import remote

    large = np.random.default_rng(0).integers(90, 160, (60, 60)).astype(np.uint8)
    pages = [Image.fromarray(large[:20, :20])] * 2
    pages[0].save(tmp_path / "stack.tif", save_all=True, append_images=pages[1:])
    Image.fromarray(large).save(tmp_path / "large.png")
    for name in ("stack.tif", "large.png"):
        put(images / name, (tmp_path / name).read_bytes())
    fetched_paths, filesystem = [], remote.filesystem

    def counting(path):
        files, inside = filesystem(path)

        def get_file(source, target):
            fetched_paths.append(source)
            files.get_file(source, target)

        return SimpleNamespace(get_file=get_file, put_file=files.put_file, info=files.info, find=files.find), inside

    monkeypatch.setattr(remote, "filesystem", counting)
    monkeypatch.setattr("hourglass.imagefiles.processing._MOST_AT_ONCE", 2000)
    assert hourglass("denoise", images, bucket / "out", "-q") == (0, "", "")
    assert sorted(fetched_paths) == sorted(str(path).removeprefix("s3://") for path in list_files(images))
    assert len(fetched_paths) == 6


def test_an_error_without_a_file_gets_none(bucket):
    def fail():
        with fetched(bucket / "a.bin") as local:
            raise OSError(28, f"No space left for {local}")

    put(bucket / "a.bin", b"x")
    with pytest.raises(OSError, match=r"^\[Errno 28\] No space left for s3://images/a\.bin$") as caught:
        fail()
    assert caught.value.filename is None


def test_codes_and_pages_from_a_bucket(images, bucket, few, hourglass, tmp_path):
    from hourglass import DenseAutoencoder, save

    save(DenseAutoencoder(n_steps=3).fit(few.train.images), tmp_path / "model")
    words = ("--model", tmp_path / "model", "-q")
    assert hourglass("encode", images, bucket / "codes.npy", "--resize", *words)[0] == 0
    assert hourglass("decode", bucket / "codes.npy", "decoded", *words)[0] == 0
    assert {path.name for path in Path("decoded").rglob("*.png")} == {"0.png", "1.png", "a.png", "c.png"}
    assert hourglass("inspect", tmp_path / "model", images, "--resize", "--out", "page", "-q")[0] == 0
    assert "s3://images/in/a.png" in Path("page/scores.csv").read_text()


@pytest.mark.parametrize(
    "words",
    [
        ("decode", "codes.npy", "s3://b/out", "--model", "digits"),
        ("train", "in", "--out", "s3://b/out"),
        ("train", "in", "--targets", "s3://b/targets", "--out", "out"),
        ("run", "dense", "--out", "s3://b/out"),
        ("run", "bn-inference", "--out", "s3://b/out"),
        ("report", "s3://b/out"),
        ("inspect", "digits", "in", "--out", "s3://b/out"),
        ("export", "s3://b/out.onnx"),
        ("lessons", "s3://b/out"),
        ("page", "s3://b/out"),
    ],
)
def test_an_address_where_a_path_is_needed_is_refused(words, hourglass, tmp_path):
    for number in range(4):
        path = tmp_path / "in" / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.random.default_rng(number).integers(0, 255, (28, 28)).astype(np.uint8)).save(path)
    np.save(tmp_path / "codes.npy", np.zeros((1, 64), np.float32))
    code, _, err = hourglass(*words)
    assert "is an address, and" in err.splitlines()[-1]
    assert "s3://b/" in err.splitlines()[-1]
    assert code == 2
    assert {path.name for path in tmp_path.iterdir()} == {"in", "codes.npy"}


@pytest.mark.parametrize("missing", ["fsspec", "s3fs"])
def test_a_missing_extra_is_named(missing, hourglass, monkeypatch):
    import fsspec

    assert fsspec.filesystem("memory")
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, "s3", raising=False)  # what was imported before
    monkeypatch.setitem(sys.modules, missing, None)
    code, _, err = hourglass("denoise", "s3://bucket/in", "out")
    assert (code, err.count("\n")) == (1, 1)
    assert "pip install 'hourglass-lab[s3]'" in err
