"""Each arm of a comparison runs the kernel in its name, forward and backward, and nothing of the other's."""

from collections import Counter

import pytest
import torch

import hourglass as hg
from hourglass.experiments import find
from hourglass.lab.networks import train
from hourglass.nn.manual import ManualBatchNorm

STEPS = 3
PYTORCHS, WRITTEN_OUT = "NativeBatchNormBackward0", "_NormaliseBackward"


def classic(norm, data):
    """The declared experiment, in its own recipe."""
    estimator = find({"batch": "bn-layer", "batch-manual": "bn-manual"}[norm]).configure("classic", n_steps=STEPS)
    estimator.set_params(random_state=0).fit(data.train.images, data.train.labels)
    return estimator


def fast(norm, data):
    estimator = find({"batch": "bn-layer", "batch-manual": "bn-manual"}[norm]).configure("fast", n_steps=STEPS)
    estimator.set_params(random_state=0).fit(data.train.images, data.train.labels)
    return estimator


def autoencoder(norm, data):
    return hg.ConvAutoencoder(channels=(4, 4, 4), norm=norm, n_steps=STEPS, random_state=0).fit(data.train.images)


def classifier(norm, data):
    estimator = hg.ConvClassifier(norm=norm, depth=5, n_steps=STEPS, random_state=0)
    return estimator.fit(data.train.images, data.train.labels)


def cell(norm, data):
    return train({"norm": norm, "depth": 19, "seed": 0, "n_steps": STEPS}, data)


ROUTES = {classic: 20, fast: 20, autoencoder: 6, classifier: 6, cell: 20}
"""Ways to train, with the normalised layers of each network."""


@pytest.fixture
def counted(monkeypatch):
    """Count calls in training: PyTorch's function, the written-out layer by batch, and the backward pass of either."""
    calls, batch_norm, by_batch = Counter(), torch.nn.functional.batch_norm, ManualBatchNorm._by_batch

    def framework(*args, **options):
        calls["PyTorch's"] += bool(options.get("training", args[5] if len(args) > 5 else False))
        return batch_norm(*args, **options)

    def manual(self, *args):
        calls["written out"] += self.training
        return by_batch(self, *args)

    def count(train, norm, data):
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
            train(norm, data)
        for event in profile.events():
            if event.name in (PYTORCHS, WRITTEN_OUT):
                calls[event.name] += 1
        return dict(+calls)

    monkeypatch.setattr(torch.nn.functional, "batch_norm", framework)
    monkeypatch.setattr(ManualBatchNorm, "_by_batch", manual)
    return count


@pytest.mark.parametrize("norm", ["batch", "batch-manual"])
@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.__name__)
def test_the_kernel_is_the_one_that_is_named(route, norm, counted, few):
    expected = STEPS * ROUTES[route]
    names = {"batch": ("PyTorch's", PYTORCHS), "batch-manual": ("written out", WRITTEN_OUT)}[norm]
    assert counted(route, norm, few) == dict.fromkeys(names, expected)


@pytest.mark.parametrize("norm", ["none", "group", "renorm"])
def test_other_normalisations_use_neither(norm, counted, few):
    assert counted(classifier, norm, few) == {}


def test_ghost_batches_are_normalised_by_pytorch(counted, few):
    # 64 images are 4 parts of 16.
    parts = 4 * STEPS * ROUTES[classifier]
    assert counted(classifier, "ghost", few) == {"PyTorch's": parts, PYTORCHS: parts}
