"""Signals during a training: they wait for the step and its checkpoint."""

import os
import signal

import pytest
from sklearn.base import clone

from checkpoint_cases import MODELS, assert_same
from hourglass.training import Interrupted, Trainer


@pytest.fixture(autouse=True)
def _signals_are_heard():
    """Whoever runs the tests may have SIGINT ignored, as nohup does."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_a_signal_in_the_last_step_is_not_lost(few, tmp_path, monkeypatch):
    step = Trainer.step

    def signalled(self, index):
        if len(self.history.learning_rate) == 11:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(self, index)

    monkeypatch.setattr(Trainer, "step", signalled)
    estimator = clone(MODELS["conv"]).set_params(checkpoint_dir=tmp_path)
    with pytest.raises(Interrupted, match="stopped after step 12 of 12 by SIGTERM"):
        estimator.fit(few.train.images)
    monkeypatch.setattr(Trainer, "step", step)
    assert_same(clone(estimator).fit(few.train.images), clone(MODELS["conv"]).fit(few.train.images))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_waits_for_the_step_and_its_checkpoint(number, few, tmp_path, monkeypatch):
    estimator = clone(MODELS["conv"]).set_params(checkpoint_dir=tmp_path, checkpoint_every="never")
    step, count = Trainer.step, [0]

    def signalled(self, index):
        count[0] += 1
        if count[0] == 5:
            os.kill(os.getpid(), number)
        return step(self, index)

    handlers = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    monkeypatch.setattr(Trainer, "step", signalled)
    with pytest.raises(Interrupted, match="stopped after step 5 of 12") as stopped:
        estimator.fit(few.train.images)
    assert stopped.value.signal == number
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert [path.name for path in tmp_path.glob("*.json")] == ["checkpoint-000000005.json"]
    monkeypatch.setattr(Trainer, "step", step)
    assert_same(clone(estimator).fit(few.train.images), clone(MODELS["conv"]).fit(few.train.images))


def test_a_second_ctrl_c_stops_at_once(few, tmp_path, monkeypatch):
    def signalled(self, index):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError("the second did not stop it")

    monkeypatch.setattr(Trainer, "step", signalled)
    with pytest.raises(KeyboardInterrupt) as stopped:
        clone(MODELS["conv"]).set_params(checkpoint_dir=tmp_path).fit(few.train.images)
    assert not isinstance(stopped.value, Interrupted)
