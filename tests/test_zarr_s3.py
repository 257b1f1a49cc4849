"""A Zarr in an object store: a local server that speaks S3."""

import numpy as np
import pytest
import torch
import zarr

import hourglass as hg
from hourglass.packing import block_notes, pack, store_arrays
from hourglass.training import ZarrSource
from packed import SIDE, write_images

PER_BLOCK = 4 * SIDE**2


@pytest.fixture(scope="module")
def bucket():
    """Options of a file system, and the address of an empty bucket."""
    import s3fs
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    options = {"key": "key", "secret": "secret", "endpoint_url": f"http://{host}:{port}"}
    s3fs.S3FileSystem(**options, skip_instance_cache=True).mkdir("bucket")
    yield {"storage_options": options}, "s3://bucket"
    server.stop()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    return folder, write_images(folder, 16, labels=("ants", "bees"))


def test_images_are_packed_to_an_address_and_read_from_there(bucket, folder, tmp_path, monkeypatch):
    options, address = bucket
    place = f"{address}/a.zarr"
    with pytest.raises(FileNotFoundError, match=r"s3://bucket/a\.zarr is not a Zarr of images"):
        ZarrSource(place, **options)
    source = hg.pack_images(folder[0], place, block_bytes=PER_BLOCK, **options)
    local = hg.pack_images(folder[0], tmp_path / "a.zarr", block_bytes=PER_BLOCK)
    assert source.fingerprint == local.fingerprint
    assert source.label_names == ("ants", "bees")
    assert (source.labels == local.labels).all()
    with pytest.raises(FileExistsError, match="--overwrite"):
        hg.pack_images(folder[0], place, block_bytes=PER_BLOCK, **options)
    trained = [hg.DenseAutoencoder(n_steps=4, batch_size=8, random_state=0).fit(each) for each in (source, local)]
    assert trained[0].history_.loss == trained[1].history_.loss


def test_an_interrupted_packing_at_an_address_is_refused_and_resumed(bucket, folder, monkeypatch):
    options, address = bucket
    place, checksum, blocks = f"{address}/b.zarr", block_notes.checksum, []

    def failing(block):
        blocks.append(block)
        if len(blocks) == 3:
            raise OSError("the connection was lost")
        return checksum(block)

    monkeypatch.setattr(block_notes, "checksum", failing)
    with pytest.raises(OSError, match="connection was lost"):
        hg.pack_images(folder[0], place, block_bytes=PER_BLOCK, **options)
    with pytest.raises(ValueError, match=r"not complete.*--resume"):
        ZarrSource(place, **options)
    with pytest.raises(FileExistsError, match=r"--resume.*--overwrite"):
        hg.pack_images(folder[0], place, block_bytes=PER_BLOCK, **options)
    source = hg.pack_images(folder[0], place, block_bytes=PER_BLOCK, resume=True, **options)
    assert len(blocks) == 3 + 2
    order = torch.from_numpy(np.argsort(source.names))
    assert np.array_equal(source.take(order, 0)[0][:, 0], folder[1][..., 0] / np.float32(255))


@pytest.mark.parametrize("key", ["c.zarr/thesis.txt", "c.zarr/.zgroup", "c.zarr"])
@pytest.mark.parametrize("more", [{}, {"overwrite": True}])
def test_objects_of_others_are_never_deleted(bucket, folder, key, more):
    import s3fs

    options, address = bucket
    files = s3fs.S3FileSystem(**options["storage_options"], use_listings_cache=False)
    files.pipe(f"bucket/{key}", b'{"zarr_format": 2}')
    with pytest.raises(FileExistsError, match=r"c\.zarr exists, and is not a Zarr that `hourglass pack` has written"):
        hg.pack_images(folder[0], f"{address}/c.zarr", **more, **options)
    assert files.cat(f"bucket/{key}") == b'{"zarr_format": 2}'
    files.rm(f"bucket/{key}")


def test_objects_that_appear_while_files_are_read_are_not_deleted(bucket, folder, monkeypatch):
    import s3fs

    options, address = bucket
    files, look = s3fs.S3FileSystem(**options["storage_options"], use_listings_cache=False), pack.look

    def slow(*args):
        files.pipe("bucket/d.zarr/thesis.txt", b"years")
        return look(*args)

    monkeypatch.setattr(pack, "look", slow)
    with pytest.raises(FileExistsError, match="not a Zarr"):
        hg.pack_images(folder[0], f"{address}/d.zarr", overwrite=True, **options)
    assert files.cat("bucket/d.zarr/thesis.txt") == b"years"


def test_a_bucket_that_does_not_exist_is_named_before_any_file_is_read(bucket, folder, monkeypatch):
    monkeypatch.setattr(pack, "look", None)
    with pytest.raises(FileNotFoundError, match=r"s3://bukcet/a\.zarr: bukcet does not exist"):
        hg.pack_images(folder[0], "s3://bukcet/a.zarr", **bucket[0])


def test_a_place_that_was_not_created_completely_is_replaced(bucket, folder, monkeypatch):
    options, address = bucket
    place = f"{address}/e.zarr"

    def stopped(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(store_arrays, "_padded", stopped)
        with pytest.raises(KeyboardInterrupt):
            hg.pack_images(folder[0], place, **options)
    with pytest.raises(FileExistsError, match=r"--resume.*--overwrite"):
        hg.pack_images(folder[0], place, **options)
    assert len(hg.pack_images(folder[0], place, overwrite=True, **options)) == 16


def test_a_server_that_does_not_answer_is_an_error_in_words(monkeypatch):
    options = {"key": "key", "secret": "secret", "endpoint_url": "http://127.0.0.1:9"}
    config = {"connect_timeout": 1, "retries": {"max_attempts": 0}}
    with pytest.raises(OSError, match=r"s3://bucket/a\.zarr cannot be opened"):
        ZarrSource("s3://bucket/a.zarr", storage_options=options | {"config_kwargs": config})


@pytest.mark.parametrize("again", [{"resume": True}, {"overwrite": True}])
def test_a_replacement_is_interrupted_while_the_old_zarr_is_deleted(bucket, folder, monkeypatch, again):
    """It is incomplete before its arrays go, and what is left of an array does not come to life again."""
    import fsspec

    options, address = bucket
    place = f"{address}/f{len(again)}{next(iter(again))}.zarr"
    files = fsspec.filesystem("s3", **options["storage_options"])
    hg.pack_images(folder[0], place, **options)
    deleted = zarr.Group.__delitem__

    def interrupted(group, name):
        deleted(group, name)
        files.pipe(f"{place}/unfinished/c/0/0", b"\1" * 64)  # a note of a block that nobody has written
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(zarr.Group, "__delitem__", interrupted)
        with pytest.raises(KeyboardInterrupt):
            hg.pack_images(folder[0], place, overwrite=True, **options)
    with pytest.raises(ValueError, match="is not complete, since packing was interrupted"):
        ZarrSource(place, **options)
    source = hg.pack_images(folder[0], place, **again, **options)
    assert len(source) == 16
    assert source.fingerprint == hg.pack_images(folder[0], f"{address}/same.zarr", resume=True, **options).fingerprint


def test_what_another_process_packs_meanwhile_is_kept(bucket, folder, monkeypatch):
    options, address = bucket
    place, look = f"{address}/g.zarr", pack.look

    def slow(*args):
        with monkeypatch.context() as patched:
            patched.setattr(pack, "look", look)
            hg.pack_images(folder[0], place, **options)
        return look(*args)

    monkeypatch.setattr(pack, "look", slow)
    with pytest.raises(FileExistsError, match="has appeared since the command began"):
        hg.pack_images(folder[0], place, **options)
    assert len(ZarrSource(place, **options)) == 16
