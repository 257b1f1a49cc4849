"""Whatever a training call raises, the estimator is what it was before, whole, or unfitted if it never was fitted."""

import copy
import os

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

import hourglass as hg
from hourglass.training import Trainer

ESTIMATORS = {
    "dense": hg.DenseAutoencoder(n_steps=8, random_state=0),
    "conv": hg.ConvAutoencoder(channels=(4, 4), n_steps=8, random_state=0),
    "denoiser": hg.ConvAutoencoder(channels=(4,), noise=0.3, n_steps=8, random_state=0),
    "classifier": hg.ConvClassifier(depth=2, n_steps=8, random_state=0),
    "stream": hg.DenseAutoencoder(n_steps=8, random_state=np.random.RandomState(3)),
}


def state(estimator):
    """Everything that an estimator holds, copied."""
    held = {}
    for name, value in vars(estimator).items():
        if isinstance(value, torch.nn.Module):
            value = {key: tensor.clone() for key, tensor in value.state_dict().items()}
        elif isinstance(value, torch.optim.Optimizer):
            value = [copy.deepcopy(part) for part in value.state.values()]
        elif isinstance(value, np.random.RandomState):
            value = value.get_state()
        elif name == "history_":
            value = (list(value.loss), dict(value.reports))
        held[name] = copy.deepcopy(value)
    return held


def same(one, other):
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, np.ndarray):
        return np.array_equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(same(a, b) for a, b in zip(one, other, strict=True))
    return one == other


def interrupt_at(monkeypatch, at, error=KeyboardInterrupt):
    step, count = Trainer.step, [0]

    def interrupted(self, index):
        count[0] += 1
        if count[0] == at:
            raise error
        return step(self, index)

    monkeypatch.setattr(Trainer, "step", interrupted)


def nan_pixel(images):
    images = images.copy()
    images[3, 5, 5] = np.nan
    return images


def huge_targets(images):
    return np.full_like(images, 3e38)


def spoil_interrupt(monkeypatch, estimator, X, y):
    interrupt_at(monkeypatch, 3)
    return X, y


def spoil_memory(monkeypatch, estimator, X, y):
    interrupt_at(monkeypatch, 3, MemoryError)
    return X, y


def spoil_diverging(monkeypatch, estimator, X, y):
    monkeypatch.setattr(Trainer, "step", lambda self, index: torch.tensor(float("nan")))
    return X, y


def spoil_weights(monkeypatch, estimator, X, y):
    step = Trainer.step

    def broken(self, index):
        loss = step(self, index)
        with torch.no_grad():
            next(self.module.parameters()).fill_(float("inf"))
        return loss

    monkeypatch.setattr(Trainer, "step", broken)
    return X, y


def spoil_nan(monkeypatch, estimator, X, y):
    return nan_pixel(X), y


def spoil_size(monkeypatch, estimator, X, y):
    interrupt_at(monkeypatch, 2, RuntimeError)
    return X[:, :20, :20], y


def spoil_scale(monkeypatch, estimator, X, y):
    interrupt_at(monkeypatch, 2, RuntimeError)
    return X * 255, y


SPOILS = [
    spoil_interrupt, spoil_memory, spoil_diverging, spoil_weights, spoil_nan, spoil_size, spoil_scale,
]  # fmt: skip


def targets(estimator, few):
    return few.train.labels if isinstance(estimator, hg.ConvClassifier) else None


def call(estimator, method, X, y):
    if method == "partial_fit" and isinstance(estimator, hg.ConvClassifier):
        return estimator.partial_fit(X, y, classes=range(10))
    return getattr(estimator, method)(X, y)


@pytest.mark.parametrize("method", ["fit", "partial_fit", "warm"])
@pytest.mark.parametrize("spoil", SPOILS, ids=lambda spoil: spoil.__name__)
@pytest.mark.parametrize("name", ESTIMATORS)
def test_a_call_that_fails_leaves_a_fitted_estimator_as_it_was(name, spoil, method, few, monkeypatch):
    estimator = clone(ESTIMATORS[name])
    X, y = few.train.images, targets(estimator, few)
    estimator.fit(X, y).set_params(warm_start=method == "warm", batch_size=40)
    before, answer = state(estimator), estimator.score(X, few.train.labels if y is not None else None)
    given = spoil(monkeypatch, estimator, X, y)
    error = KeyboardInterrupt if spoil is spoil_interrupt else Exception
    with pytest.raises(error):
        call(estimator, "fit" if method == "warm" else method, *given)
    monkeypatch.undo()
    after = state(estimator)
    partly = after.pop("partly_trained_", None)
    assert (partly is not None) == (spoil is spoil_interrupt)
    assert after.keys() == before.keys()
    assert [key for key in before if not same(before[key], after[key])] == []
    assert estimator.score(X, few.train.labels if y is not None else None) == answer
    # And it learns on as if nothing had happened.
    other = clone(ESTIMATORS[name]).fit(X, y).set_params(batch_size=40)
    if name != "stream":
        again, expected = (call(each, "partial_fit", X, y).network_.state_dict() for each in (estimator, other))
        assert same(dict(again), dict(expected))


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize("spoil", SPOILS, ids=lambda spoil: spoil.__name__)
@pytest.mark.parametrize("name", ESTIMATORS)
def test_a_call_that_fails_leaves_an_unfitted_estimator_unfitted(name, spoil, method, few, monkeypatch):
    estimator = clone(ESTIMATORS[name]).set_params(batch_size=40)
    before = state(estimator)
    X, y = spoil(monkeypatch, estimator, few.train.images, targets(estimator, few))
    error = KeyboardInterrupt if spoil is spoil_interrupt else Exception
    with pytest.raises(error):
        call(estimator, method, X, y)
    monkeypatch.undo()
    after = state(estimator)
    after.pop("partly_trained_", None)
    assert after.keys() == before.keys()
    assert all(same(before[key], after[key]) for key in before)
    with pytest.raises(NotFittedError):
        check_is_fitted(estimator)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_after_an_interruption_the_partly_trained_model_can_be_had(name, few, monkeypatch, tmp_path):
    estimator = clone(ESTIMATORS[name])
    X, y = few.train.images, targets(estimator, few)
    with monkeypatch.context() as patch:
        interrupt_at(patch, 7)
        with pytest.raises(KeyboardInterrupt) as caught:
            estimator.fit(X, y)
    assert "partly_trained_" in caught.value.__notes__[0]
    partly = estimator.partly_trained_
    assert partly.n_steps_ == len(partly.history_.loss) == 6
    assert not partly.network_.training
    assert not hasattr(partly, "partly_trained_")
    if name == "stream":
        partly.set_params(random_state=None)
    hg.save(partly, tmp_path)
    shown = hg.load_model(tmp_path)
    call(shown, "partial_fit", X, y)
    assert shown.n_steps_ > 6
    # A call that succeeds has no need of it.
    assert not hasattr(estimator.fit(X, y), "partly_trained_")


def test_an_interruption_before_the_first_step_leaves_nothing(few, monkeypatch):
    estimator = hg.DenseAutoencoder(n_steps=5)
    interrupt_at(monkeypatch, 1)
    with pytest.raises(KeyboardInterrupt):
        estimator.fit(few.train.images)
    assert not hasattr(estimator, "partly_trained_")


def test_a_refit_at_another_size_that_fails_is_saved_with_its_own_size(few, monkeypatch, tmp_path):
    ae = hg.ConvAutoencoder(channels=(4,), n_steps=3).fit(few.train.images)
    interrupt_at(monkeypatch, 2)
    with pytest.raises(KeyboardInterrupt):
        ae.fit(few.train.images[:, :16, :12])
    hg.save(ae, tmp_path)
    assert hg.load_model(tmp_path).image_shape_ == (28, 28, 1)


def test_partial_fit_on_targets_that_overflow_changes_nothing(few):
    ae = hg.DenseAutoencoder(n_steps=3, random_state=0).fit(few.train.images)
    before = state(ae)
    with pytest.raises(FloatingPointError):
        ae.partial_fit(few.train.images, huge_targets(few.train.images))
    assert same(before["network_"], state(ae)["network_"])
    assert ae.n_steps_ == 3


def test_a_model_that_cannot_be_replaced_whole_stays_as_it_was(few, monkeypatch, tmp_path):
    hg.save(hg.DenseAutoencoder(n_steps=2, random_state=0).fit(few.train.images), tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    other = hg.DenseAutoencoder(n_steps=2, random_state=1).fit(few.train.images)
    synced, count = os.fsync, [0]

    def full(descriptor):
        count[0] += 1
        if count[0] == 3:  # tensors and the optimiser's state are there, the document is not
            raise OSError(28, "No space left on device")
        synced(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        hg.save(other, tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
