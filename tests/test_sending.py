"""Models on their way to other processes."""

import pickle

import numpy as np
import pytest

from hourglass import DenseAutoencoder, ImageDenoiser, load_model, save
from hourglass.estimators.sending import Sent
from hourglass.imagefiles import ImageRestorer


def copied(value):
    return pickle.loads(pickle.dumps(value))  # noqa: S301  # from the line itself


@pytest.fixture
def model(few):
    return DenseAutoencoder(n_steps=3, device="cpu").fit(few.train.images)


def test_a_model_arrives_without_its_optimiser_and_computes_the_same(model, few):
    arrived = copied(Sent(model)).estimator
    np.testing.assert_array_equal(arrived.transform(few.test.images), model.transform(few.test.images))
    assert hasattr(model, "_optimiser")
    assert not hasattr(arrived, "_optimiser")


@pytest.mark.parametrize("asked", ["cpu", "auto"])
def test_the_device_is_chosen_where_the_model_arrives(asked, model, tmp_path, monkeypatch):
    from hourglass.runtime.hardware import resolve_device

    chosen = []

    def choose(name):
        chosen.append(name)
        return resolve_device("cpu")

    save(model, tmp_path / "model")
    monkeypatch.setattr("hourglass.estimators.sending.resolve_device", choose)
    arrived = copied(ImageRestorer(load_model(tmp_path / "model", device=asked)))
    assert chosen == [asked]
    assert arrived.models[1].device_ == "cpu"


def test_a_device_that_is_not_there_is_an_error_in_words(model):
    model.device = "cuda"
    with pytest.raises(ValueError, match="finds no CUDA device"):
        copied(Sent(model))


def test_a_network_travels_in_the_memory_of_the_cpu(model):
    """Of a device that this machine lacks: the network is copied, and the original stays where it is."""
    moved = []

    class Network:
        def __deepcopy__(self, memo):
            return self

        def cpu(self):
            moved.append(self)
            return "on the CPU"

    model.device_, model.network_ = "cuda:1", Network()
    assert Sent(model).__reduce__()[1][0].network_ == "on the CPU"
    assert moved == [model.network_]


def test_a_denoiser_is_sent_with_its_noise_level():
    from hourglass.denoising.noise_level import NoiseLevel

    images = np.random.default_rng(0).random((8, 16, 16, 1), dtype=np.float32)
    denoiser = ImageDenoiser(n_steps=1, noise=(0.05, 0.2), widths=(4, 4, 4), n_blocks=(1, 1, 1), batch_size=4).fit(
        images
    )
    restorer = ImageRestorer(denoiser, NoiseLevel(0.1, 1.2))
    arrived = copied(restorer)
    assert arrived.noise == restorer.noise
    np.testing.assert_array_equal(arrived(images[0]), restorer(images[0]))
