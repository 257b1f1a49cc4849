"""A Zarr in an object store: a local server that speaks S3."""

import numpy as np
import pytest
import torch

import hourglass as hg
from hourglass.packing import block_writer
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
    place, checksum, blocks = f"{address}/b.zarr", block_writer.checksum, []

    def failing(block):
        blocks.append(block)
        if len(blocks) == 3:
            raise OSError("the connection was lost")
        return checksum(block)

    monkeypatch.setattr(block_writer, "checksum", failing)
    with pytest.raises(OSError, match="connection was lost"):
        hg.pack_images(folder[0], place, block_bytes=PER_BLOCK, **options)
    with pytest.raises(ValueError, match=r"not complete.*--resume"):
        ZarrSource(place, **options)
    with pytest.raises(FileExistsError, match=r"--resume.*--overwrite"):
        hg.pack_images(folder[0], place, block_bytes=PER_BLOCK, **options)
    source = hg.pack_images(folder[0], place, block_bytes=PER_BLOCK, resume=True, **options)
    assert len(blocks) == 3 + 2
    assert np.array_equal(source.take(torch.arange(16), 0)[0][:, 0], folder[1][..., 0] / np.float32(255))


def test_a_server_that_does_not_answer_is_an_error_in_words(monkeypatch):
    options = {"key": "key", "secret": "secret", "endpoint_url": "http://127.0.0.1:9"}
    config = {"connect_timeout": 1, "retries": {"max_attempts": 0}}
    with pytest.raises(OSError, match=r"s3://bucket/a\.zarr cannot be opened"):
        ZarrSource("s3://bucket/a.zarr", storage_options=options | {"config_kwargs": config})
