"""Data addressed by index: in memory, in a file, subsets; training from each gives the same bits."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from sklearn.base import clone

import hourglass as hg
from checkpoint_cases import StopError
from hourglass.estimators.given import training_source
from hourglass.training import MemmapSource, ResidentSource, Source, Trainer
from hourglass.training.rows import select
from hourglass.training.source import Subset

QUICK = {"n_steps": 6, "batch_size": 20, "random_state": 0, "report_every": 3}
MODELS = {
    "dense": hg.DenseAutoencoder(**QUICK),
    "conv": hg.ConvAutoencoder(channels=(4, 4), noise=0.2, loss="bce", **QUICK),
    "blind": hg.ConvAutoencoder(channels=(4,), self_supervised=True, output_bias="zero", **QUICK),
    "classifier": hg.ConvClassifier(depth=3, **QUICK),
}


@pytest.fixture
def stored(tmp_path):
    """Function that writes an array and opens it as a memory-mapped file."""

    def store(array, mode="r", name="images"):
        np.save(tmp_path / f"{name}.npy", array)
        return np.load(tmp_path / f"{name}.npy", mmap_mode=mode)

    return store


@pytest.fixture(scope="module")
def images(few):
    return (few.train.images * 255).round().astype(np.uint8)


def assert_same(one, two):
    a, b = one.network_.state_dict(), two.network_.state_dict()
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert one.history_.loss == two.history_.loss
    assert one.pixel_range_ == two.pixel_range_
    assert one.image_shape_ == two.image_shape_
    assert one.n_features_in_ == two.n_features_in_


@pytest.mark.parametrize("kind", ["bytes", "float32", "float64", "flat"])
@pytest.mark.parametrize("name", MODELS)
def test_an_array_in_a_file_trains_to_the_same_bits(name, kind, images, few, stored):
    given = {
        "bytes": images,
        "float32": images / np.float32(255),
        "float64": images / 255,
        "flat": images.reshape(len(images), -1),
    }[kind]
    whole = clone(MODELS[name]).fit(given, few.train.labels)
    read = clone(MODELS[name]).fit(stored(given), few.train.labels)
    assert_same(read, whole)
    assert read.history_.reports == whole.history_.reports
    first = read.logits if name == "classifier" else read.reconstruct
    second = whole.logits if name == "classifier" else whole.reconstruct
    np.testing.assert_array_equal(first(stored(given)), second(given))


@pytest.mark.parametrize("mode", ["r", "r+", "c"])
def test_it_is_resumed_bit_for_bit(mode, images, stored, tmp_path, monkeypatch):
    model = clone(MODELS["conv"])
    whole = clone(model).fit(images)
    file = stored(images, mode)
    model.set_params(checkpoint_dir=tmp_path / "checkpoints", checkpoint_every="1steps")
    step = Trainer.step

    def failing(self, index):
        if self.state.step == 4:
            raise RuntimeError("stop")
        return step(self, index)

    monkeypatch.setattr(Trainer, "step", failing)
    with pytest.raises(RuntimeError, match="stop"):
        model.fit(file)
    monkeypatch.setattr(Trainer, "step", step)
    assert_same(clone(model).fit(file), whole)
    other = images.copy()
    other[7, 3, 3] ^= 1
    with pytest.raises(ValueError, match="images is '200 of 28 × 28 × 1"):
        clone(model).fit(stored(other, name="other"))


def test_targets_validation_and_partial_fit_read_files_too(images, few, stored):
    noisy, clean = images // 2, images
    ae = hg.ConvAutoencoder(channels=(4,), **QUICK)
    x, y = stored(noisy, name="x"), stored(clean, name="y")
    read = clone(ae).fit(x, y, validation_data=(x, y))
    assert_same(read, clone(ae).fit(noisy, clean, validation_data=(noisy, clean)))
    for both in ((x, clean), (noisy, y)):
        assert_same(clone(ae).fit(*both), clone(ae).fit(noisy, clean))
    once, again = clone(ae).fit(noisy), clone(ae).fit(x)
    assert_same(again.partial_fit(x), once.partial_fit(noisy))
    net = hg.ConvClassifier(depth=2, **QUICK)
    labels = few.train.labels
    weights = np.arange(len(labels)) % 3
    assert_same(net.fit(x, labels, weights), clone(net).fit(noisy, labels, weights))


@pytest.mark.parametrize("name", MODELS)
def test_what_is_held_out_is_not_copied_into_memory(name, images, few, stored):
    model = clone(MODELS[name]).set_params(validation_fraction=0.25)
    whole = clone(model).fit(images, few.train.labels)
    read = clone(model).fit(stored(images), few.train.labels)
    assert_same(read, whole)
    for step, report in whole.history_.reports.items():
        assert read.history_.reports[step] == pytest.approx(report, rel=1e-5)


def test_blocks_give_the_same_mean_range_and_measures(images, few, stored, monkeypatch):
    model = clone(MODELS["conv"]).set_params(noise=None, validation_fraction=0.25)
    whole = clone(model).fit(images)
    monkeypatch.setattr("hourglass.training.source.BLOCK", 7 * 28 * 28 * 4)
    monkeypatch.setattr("hourglass.training.memmap.BLOCK", 7 * 28 * 28)
    monkeypatch.setattr("hourglass.estimators.given._BLOCK", 7 * 28 * 28)
    monkeypatch.setattr("hourglass.training.memmap._KEPT", 1000)
    file = stored(images)
    source = MemmapSource(file, (28, 28, 1))
    assert len(list(source.blocks())) == len(list(source.raw_blocks())) == -(-len(images) // 7)
    np.testing.assert_array_equal(source.mean_target(), (images / np.float32(255)).mean(0, dtype=np.float64))
    read = clone(model).fit(file)
    assert_same(read, whole)
    for step, report in whole.history_.reports.items():
        assert read.history_.reports[step] == pytest.approx(report, rel=1e-5)
    np.testing.assert_allclose(read.transform(file), whole.transform(images), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(read.reconstruct(file), whole.reconstruct(images), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_none_are_found_in_any_block(bad, images, stored):
    values = images / np.float32(255)
    values[3, 0, 0] = bad
    with pytest.raises(ValueError, match="X contains NaN or infinity"):
        hg.ConvAutoencoder(**QUICK).fit(stored(values))
    with pytest.raises(ValueError, match="y contains NaN or infinity"):
        hg.ConvAutoencoder(**QUICK).fit(stored(images, name="x"), stored(values))


def test_a_file_is_refused_as_an_array_is(images, few, stored):
    values = images / np.float32(200)
    with pytest.raises(ValueError, match=r"X spans \[0, 1\.275\], but loss='bce' needs \[0, 1\]"):
        hg.ConvAutoencoder(loss="bce", **QUICK).fit(stored(values))
    with pytest.raises(ValueError, match="looks like channels first"):
        hg.ConvAutoencoder(**QUICK).fit(stored(np.zeros((5, 3, 28, 28), np.uint8)))
    with pytest.raises(ValueError, match="looks like one image with channels"):
        hg.ConvAutoencoder(**QUICK).fit(stored(np.zeros((28, 28, 3), np.uint8)))
    ae = hg.ConvAutoencoder(**QUICK).fit(images)
    with pytest.raises(ValueError, match="divide the images by 255"):
        ae.partial_fit(stored(images.astype(np.float32)))
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        hg.ConvClassifier(**QUICK).fit(stored(images), few.train.labels[:-1])


class Counting(Source):
    """Images made from their index, as somebody's own source would."""

    fingerprint = {"images": "counted"}  # noqa: RUF012

    def __init__(self):
        self.steps = []

    def __len__(self):
        return 50

    def take(self, index, step):
        self.steps.append(step)
        images = (index.float()[:, None, None, None] / 50 + torch.linspace(0, 0.5, 64).reshape(1, 1, 8, 8)).contiguous()
        return images, images


def test_a_source_of_ones_own_is_taken_as_it_is(tmp_path):
    source = Counting()
    ae = hg.ConvAutoencoder(channels=(4,), checkpoint_dir=tmp_path, **QUICK).fit(source)
    assert ae.image_shape_ == (8, 8, 1)
    assert ae.pixel_range_ == pytest.approx((0, 49 / 50 + 0.5))
    assert [step for step in source.steps if step] == [1, 2, 3, 4, 5, 6]
    images = source.take(torch.arange(50), 0)[0].permute(0, 2, 3, 1).numpy()
    whole = hg.ConvAutoencoder(channels=(4,), **QUICK).fit(images)
    assert_same(ae, whole)
    labels = np.arange(50) % 2
    net = hg.ConvClassifier(depth=2, **QUICK)
    assert_same(clone(net).fit(source, labels), clone(net).fit(images, labels))


def test_subsets_and_pairs_are_those_of_tensors():
    x, y, weights = torch.rand(9, 2, 3, 3), torch.rand(9, 4), torch.rand(9)
    plain, paired = ResidentSource(x), ResidentSource(x, y, weights)
    rows = np.array([7, 2, 5])
    index = torch.tensor([2, 0])
    for one in (paired.subset(rows), Subset(paired, rows)):
        inputs, targets = one.take(index, 1)
        assert torch.equal(inputs, x[[5, 7]])
        assert torch.equal(targets, y[[5, 7]])
        assert torch.equal(one.weights(index), weights[[5, 7]])
        assert len(one) == 3
    mask = np.arange(9) % 2 == 0
    assert torch.equal(plain.subset(mask).inputs, x[::2])
    inputs, targets = plain.subset(mask).take(index, 1)
    assert inputs is targets
    assert plain.weights(index) is None
    of_a_source = Source.paired(plain, ResidentSource(y), weights)
    for one in (plain.paired(y, weights), Source.paired(plain, y, weights), of_a_source):
        inputs, targets = one.take(index, 1)
        assert torch.equal(targets, y[index])
        assert torch.equal(one.weights(index), weights[index])
    for wrong in ({"targets": y[:3]}, {"weights": weights[:3]}):
        with pytest.raises(ValueError, match="9 inputs"):
            Source.paired(plain, **wrong)


def test_fingerprints_follow_what_a_training_sees():
    x = torch.rand(9, 1, 3, 3)
    plain = ResidentSource(x)
    prints = [
        plain.fingerprint, plain.subset(np.arange(8)).fingerprint, Subset(plain, np.arange(8)).fingerprint,
        plain.paired(x + 1).fingerprint, plain.paired(weights=torch.ones(9)).fingerprint,
        Source.paired(plain, ResidentSource(x + 2)).fingerprint, ResidentSource(x + 1).fingerprint,
        *(Source.paired(plain, Subset(plain, rows)).fingerprint for rows in (np.arange(9), np.arange(9)[::-1])),
        *(Subset(Subset(plain, np.arange(i, 9)), np.arange(3)).fingerprint for i in range(3)),
    ]  # fmt: skip
    assert all(one != other for i, one in enumerate(prints) for other in prints[:i])
    assert ResidentSource(x.clone()).fingerprint == plain.fingerprint


class Named(Counting):
    """A source that names the parts of its data in its own way."""

    def __init__(self, **prints):
        super().__init__()
        self.fingerprint = prints


def test_a_source_names_the_parts_of_its_data_as_it_likes(tmp_path, stop_at):
    assert Source.paired(Named(a="1"), Named(b="2", c="3")).fingerprint == {
        "a": "1",
        "targets.b": "2",
        "targets.c": "3",
    }
    ae = hg.ConvAutoencoder(channels=(4,), checkpoint_dir=tmp_path, checkpoint_every="2steps", **QUICK)
    go_on = stop_at(4)
    with pytest.raises(StopError):
        clone(ae).fit(Named(n_steps="mine", validation="own"))
    go_on()
    for other in ({"n_steps": "another", "validation": "own"}, {"n_steps": "mine", "validation": "another"}):
        with pytest.raises(ValueError, match=r"data\.\w+ is '\w+' there, 'another' here"):
            clone(ae).fit(Named(**other))
    with pytest.raises(ValueError, match=r"learning_rate is 0\.01 there"):
        clone(ae).set_params(learning_rate=0.02).fit(Named(n_steps="mine", validation="own"))
    assert clone(ae).fit(Named(n_steps="mine", validation="own")).n_steps_ == 6


def test_rows_keep_their_layout():
    for x in (torch.rand(5, 3, 4, 4), torch.rand(5, 3, 4, 4).contiguous(memory_format=torch.channels_last)):
        chosen = select(x, torch.tensor([3, 1]))
        assert torch.equal(chosen, x[[3, 1]])
        assert chosen.stride()[1:] == x.stride()[1:]


def test_a_source_is_not_loaded_by_training_source(images, stored):
    ae = hg.ConvAutoencoder(**QUICK)
    file = stored(images)
    source = training_source(ae, file, fitting=True, continuing=False)
    assert source.array is file


LARGE = """
import re, sys
import numpy as np
import hourglass as hg
size, steps = int(sys.argv[2]), int(sys.argv[3])
images = np.memmap(sys.argv[1], dtype=np.uint8, mode="r", shape=(size, 28, 28))
hg.DenseAutoencoder(n_steps=steps, random_state=0, validation_fraction=0.01, report_every=100).fit(images)
print(int(re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1]) / 1024)
"""


def peak(path, megabytes, steps):
    """Peak memory (MB) of a training on a file of so many megabytes of bytes."""
    size = (megabytes << 20) // 784
    block = np.random.default_rng(0).integers(0, 256, 1 << 24, dtype=np.uint8).tobytes()
    with path.open("wb") as file:
        for _ in range(megabytes // 16):
            file.write(block)
        file.truncate(size * 784)
    words = [sys.executable, "-c", LARGE, path, size, steps]
    return float(subprocess.run(list(map(str, words)), check=True, capture_output=True, text=True).stdout)


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory_does_not_follow_the_file(tmp_path):
    assert peak(tmp_path / "large", 400, 200) < peak(tmp_path / "small", 16, 200) + 300


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_four_gigabytes_train_in_one(tmp_path):
    assert peak(tmp_path / "large", 4096, 500) < 1024
