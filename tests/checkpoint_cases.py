"""Small models, trainings that stop half-way, and what has to be equal after they go on; for several tests."""

import pytest
import torch
from sklearn.base import clone

import hourglass as hg

QUICK = {"n_steps": 12, "batch_size": 50, "random_state": 3, "checkpoint_every": "2steps"}


MODELS = {
    "conv": hg.ConvAutoencoder(channels=(4, 4), **QUICK),
    "noisy": hg.ConvAutoencoder(channels=(4, 4), noise=(0.1, 0.4), loss="bce", **QUICK),
    "blind": hg.ConvAutoencoder(channels=(4,), self_supervised=True, **QUICK),
    "dense": hg.DenseAutoencoder(validation_fraction=0.2, patience=5, report_every=2, **QUICK),
    "batch": hg.ConvClassifier(depth=3, **QUICK),
    "batch-manual": hg.ConvClassifier(depth=3, norm="batch-manual", **QUICK),
}


class StopError(Exception):
    pass


def assert_same(one, two):
    a, b = one.network_.state_dict(), two.network_.state_dict()
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert one.history_.loss == two.history_.loss
    assert one.history_.reports == two.history_.reports
    assert one.history_.learning_rate == two.history_.learning_rate


def begun(model, few, folder, stop_at, step=8):
    """A training that was cut off before a step."""
    go_on = stop_at(step)
    estimator = clone(model).set_params(checkpoint_dir=folder)
    with pytest.raises(StopError):
        estimator.fit(few.train.images, few.train.labels)
    go_on()
    return estimator
