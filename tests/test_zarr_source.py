"""Training data in a Zarr: the rows asked for, resumption bit for bit, bounded memory, damage."""

import copy
import json
import pickle
import shutil

import numpy as np
import pytest
import torch
import zarr

import hourglass as hg
from checkpoint_cases import StopError
from hourglass.training import ResidentSource, Trainer, ZarrSource, zarr_reader
from hourglass.training.losses import LOSSES
from packed import SIDE, packed, write_images

PER_BLOCK = 4


@pytest.fixture(scope="module")
def there(tmp_path_factory):
    """Images in the order in which they are stored, their Zarr, and the bytes of a block."""
    images, place, block_bytes = packed(tmp_path_factory.mktemp("there"), count=60, labels=("ants", "bees", "cats"))
    return images[np.argsort(np.argsort(ZarrSource(place).names))], place, block_bytes


@pytest.fixture
def images(there):
    return there[0]


@pytest.fixture
def place(there):
    return there[1]


@pytest.fixture
def few_blocks(there):
    """The source with as little memory as it takes: five of fifteen blocks."""
    return ZarrSource(there[1], memory=1)


def as_tensor(images):
    return torch.from_numpy(images / np.float32(255)).permute(0, 3, 1, 2)


def test_take_gives_the_rows_that_are_asked_for(images, few_blocks):
    assert len(few_blocks) == 60
    assert few_blocks.image_shape == (SIDE, SIDE, 1)
    rng = np.random.default_rng(0)
    for count in (1, 7, 60):
        index = torch.from_numpy(rng.choice(60, count))
        inputs, targets = few_blocks.take(index, 1)
        assert inputs is targets
        assert inputs.dtype == torch.float32
        assert torch.equal(inputs, as_tensor(images)[index])
    for wrong in (60, -1):
        with pytest.raises(IndexError, match=f"60 images, numbered from 0, and none is number {wrong}"):
            few_blocks.take(torch.tensor([3, wrong]), 1)


def test_statistics_are_those_of_the_images(images, few_blocks):
    assert few_blocks.value_range() == (images.min() / np.float32(255), images.max() / np.float32(255))
    np.testing.assert_allclose(few_blocks.mean_target(), images.mean(0) / 255, rtol=1e-12)
    assert torch.equal(torch.cat([inputs for inputs, _ in few_blocks.blocks()]), as_tensor(images))
    assert torch.equal(few_blocks.first(5), as_tensor(images)[:5])


def test_the_mean_is_made_of_stored_sums_where_whole_blocks_are_asked_for(tmp_path):
    images = write_images(tmp_path / "images", 200, side=3)
    source = hg.pack_images(tmp_path / "images", tmp_path / "a.zarr", block_bytes=40 * 9)
    reads, read = [], source._cache.read
    source._cache.read = lambda number: reads.append(number) or read(number)
    np.testing.assert_allclose(source.mean_target(), images.mean(0) / 255, rtol=1e-12)
    assert reads == []
    rows = np.concatenate([np.arange(190, 200), np.arange(70), np.arange(120, 160)])  # not in order
    weighted = source.subset(rows).paired(weights=torch.ones(len(rows)))
    np.testing.assert_allclose(weighted.mean_target(), images[rows].mean(0) / 255, rtol=1e-12)
    assert sorted(reads) == [1, 4]
    some = source.subset(rows).subset(np.arange(15)).mean_target()
    np.testing.assert_allclose(some, images[rows[:15]].mean(0) / 255, rtol=1e-12)
    twice = source.subset(np.array([3, 3, 5])).mean_target()
    np.testing.assert_allclose(twice, images[[3, 3, 5]].mean(0) / 255, rtol=1e-12)


def test_the_mean_of_parts_reads_each_block_once(images, few_blocks, monkeypatch):
    """Of blocks of few images no sums are stored."""
    reads, read = [], few_blocks._cache.read
    monkeypatch.setattr(few_blocks._cache, "read", lambda number: reads.append(number) or read(number))
    rows = np.concatenate([np.arange(0, 60, 3), np.arange(1, 60, 3)])
    np.testing.assert_allclose(few_blocks.subset(rows).mean_target(), images[rows].mean(0) / 255, rtol=1e-12)
    assert sorted(reads) == list(range(15))


@pytest.mark.parametrize("error", [RuntimeError("Session is closed"), TypeError("lost"), OSError("reset")])
def test_a_network_that_fails_is_no_damage(few_blocks, monkeypatch, error):
    def fail(*args, **options):
        raise error

    monkeypatch.setattr(few_blocks._cache.read.images.__class__, "get_basic_selection", fail)
    with pytest.raises(OSError, match=f"block 0 cannot be read .*{error}"):
        few_blocks.first(1)


def test_labels_are_those_of_the_folders(few_blocks):
    assert few_blocks.label_names == ("ants", "bees", "cats")
    assert sorted(few_blocks.labels) == [0] * 20 + [1] * 20 + [2] * 20
    assert [few_blocks.label_names[label] for label in few_blocks.labels] == [
        name.split("/")[0] for name in few_blocks.names
    ]
    assert sorted(few_blocks.names)[0] == "ants/000.png"
    assert few_blocks.groups is None


def test_in_an_epoch_every_block_is_read_once_and_few_are_in_memory(few_blocks, monkeypatch):
    reads, read = [], few_blocks._cache.read
    monkeypatch.setattr(few_blocks._cache, "read", lambda number: reads.append(number) or read(number))
    order = few_blocks.order(6, torch.Generator().manual_seed(0))
    for _ in range(3):
        reads.clear()
        kept = set(few_blocks._cache._blocks)
        for _ in range(10):
            few_blocks.take(next(order), 1)
            assert len(few_blocks._cache._blocks) <= few_blocks.most_blocks == 5
        assert len(reads) == len(set(reads))
        assert set(range(15)) - kept <= set(reads)


def test_blocks_of_all_subsets_are_read_once_too(few_blocks, monkeypatch):
    reads, read = [], few_blocks._cache.read
    monkeypatch.setattr(few_blocks._cache, "read", lambda number: reads.append(number) or read(number))
    subset = few_blocks.subset(np.flatnonzero(np.arange(60) % 3)).paired(torch.zeros(40, 1, 1, 1))
    order = subset.order(8, torch.Generator().manual_seed(0))
    for _ in range(5):
        _, targets = subset.take(next(order), 1)
        assert targets.shape == (8, 1, 1, 1)
    assert sorted(reads) == list(range(15))


def test_data_that_fit_into_memory_are_read_once_for_all_epochs(place, monkeypatch):
    source, reads = ZarrSource(place), []
    read = source._cache.read
    monkeypatch.setattr(source._cache, "read", lambda number: reads.append(number) or read(number))
    order = source.order(10, torch.Generator().manual_seed(0))
    for _ in range(18):
        source.take(next(order), 1)
    assert sorted(reads) == list(range(15))


def test_training_with_the_same_order_gives_the_bits_of_training_in_memory(images, few_blocks):
    def trained(source):
        torch.manual_seed(0)
        module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(SIDE**2, SIDE**2))
        outputs = torch.nn.Sequential(module, torch.nn.Unflatten(1, (1, SIDE, SIDE)))
        order = few_blocks.order(7, torch.Generator().manual_seed(0))
        Trainer(
            outputs, LOSSES["mse"], torch.optim.SGD(outputs.parameters(), 0.1), source, sampler=order, n_steps=20
        ).run()
        return module[1].weight

    assert torch.equal(trained(few_blocks), trained(ResidentSource(as_tensor(images))))


def test_a_training_is_resumed_bit_for_bit_in_the_middle_of_an_epoch(place, tmp_path, monkeypatch):
    def model(**options):
        return hg.DenseAutoencoder(
            code_size=8, n_steps=17, batch_size=8, random_state=0, validation_fraction=0.2, noise=0.1, **options
        )

    whole = model().fit(ZarrSource(place, memory=1))
    steps, step = [], Trainer.step

    def stopping(self, index):
        steps.append(index)
        if len(steps) == 10:
            raise StopError
        return step(self, index)

    monkeypatch.setattr(Trainer, "step", stopping)
    kept = {"checkpoint_dir": tmp_path / "state", "checkpoint_every": "3steps"}
    with pytest.raises(StopError):
        model(**kept).fit(ZarrSource(place, memory=1))
    monkeypatch.setattr(Trainer, "step", step)
    resumed = model(**kept).fit(ZarrSource(place))  # with more memory, but the order that it began with
    for name, value in whole.network_.state_dict().items():
        assert torch.equal(value, resumed.network_.state_dict()[name])
    assert whole.history_.loss == resumed.history_.loss


def test_the_fingerprint_is_that_of_the_content_and_reads_no_image(there, tmp_path, monkeypatch):
    _, place, block_bytes = there
    monkeypatch.setattr(zarr_reader.BlockReader, "__call__", None)
    copied = shutil.copytree(place, tmp_path / "copy.zarr")
    assert ZarrSource(copied).fingerprint == ZarrSource(place).fingerprint
    write_images(tmp_path / "images", 60, seed=1)
    other = hg.pack_images(tmp_path / "images", tmp_path / "other.zarr", block_bytes=block_bytes)
    assert other.fingerprint != ZarrSource(place).fingerprint


def test_copies_share_the_blocks_and_pickled_sources_read_their_own(images, few_blocks):
    moved = few_blocks.to(torch.device("cpu"))
    assert moved._cache is few_blocks._cache
    sent = pickle.loads(pickle.dumps(few_blocks))  # noqa: S301 - our own
    assert torch.equal(sent.take(torch.tensor([3]), 1)[0], as_tensor(images)[[3]])
    assert copy.copy(few_blocks).most_blocks == 5


def test_a_classifier_learns_the_labels_of_the_folders(place):
    source = ZarrSource(place)
    classifier = hg.ConvClassifier(depth=3, n_steps=2, batch_size=8, random_state=0).fit(source)
    given = hg.ConvClassifier(depth=3, n_steps=2, batch_size=8, random_state=0).fit(source, source.labels)
    assert classifier.classes_.tolist() == [0, 1, 2]
    assert classifier.history_.loss == given.history_.loss


def test_a_classifier_needs_labels(tmp_path):
    _, place, _ = packed(tmp_path, count=6)
    with pytest.raises(ValueError, match="requires y"):
        hg.ConvClassifier(depth=3, n_steps=1).fit(ZarrSource(place))


def damaged(place, tmp_path):
    return shutil.copytree(place, tmp_path / "damaged.zarr")


def test_a_damaged_block_is_named(place, tmp_path):
    copied = damaged(place, tmp_path)
    shard = copied / "images" / "c" / "2" / "0" / "0" / "0"
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    with pytest.raises(ValueError, match="block 2 of 15 is damaged or missing"):
        ZarrSource(copied).mean_target()


def test_a_missing_block_is_not_taken_for_black(place, tmp_path):
    copied = damaged(place, tmp_path)
    (copied / "images" / "c" / "0" / "0" / "0" / "0").unlink()
    with pytest.raises(ValueError, match="block 0 of 15 is damaged or missing"):
        ZarrSource(copied).first(1)


def change(copied, **attributes):
    document = json.loads((copied / "zarr.json").read_text())
    document["attributes"]["hourglass"] |= attributes
    (copied / "zarr.json").write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"complete": False}, "not complete.*--resume"),
        ({"format": 2}, "format 2"),
        ({"white": None}, "lacks white"),
    ],
)
def test_what_is_not_a_complete_store_is_refused(place, tmp_path, attributes, message):
    copied = damaged(place, tmp_path)
    change(copied, **attributes)
    with pytest.raises(ValueError, match=message):
        ZarrSource(copied)


@pytest.mark.parametrize("name", ["images", "checksums", "extremes"])
def test_a_store_without_one_of_its_arrays_is_refused(place, tmp_path, name):
    copied = damaged(place, tmp_path)
    shutil.rmtree(copied / name)
    with pytest.raises(ValueError, match=f"lacks the array {name}"):
        ZarrSource(copied)


def test_other_places_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="hourglass pack"):
        ZarrSource(tmp_path / "nothing.zarr")
    zarr.create_group(tmp_path / "other.zarr")
    with pytest.raises(ValueError, match="`hourglass pack` has not written"):
        ZarrSource(tmp_path / "other.zarr")


@pytest.mark.parametrize(
    ("place", "module", "extra"), [("images.zarr", "zarr", "zarr"), ("s3://bucket/images.zarr", "s3fs", "s3")]
)
def test_a_missing_extra_is_named(place, module, extra, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, module, None)
    with pytest.raises(ImportError, match=rf"extra '{extra}'.*hourglass-lab\[{extra}\]"):
        ZarrSource(place)
