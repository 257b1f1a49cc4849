"""Runs that are never lost: killed, damaged, full, refused, continued bit for bit."""

import json
import os
import warnings

import numpy as np
import pytest
import torch
from sklearn.base import clone

import hourglass as hg
from checkpoint_cases import MODELS, QUICK, StopError, assert_same, begun
from hourglass.training import Interval, Trainer
from hourglass.training.checkpoints import Checkpoints, _checksum


@pytest.mark.parametrize("name", MODELS)
def test_a_run_goes_on_bit_for_bit(name, few, tmp_path, stop_at):
    whole = clone(MODELS[name]).fit(few.train.images, few.train.labels)
    estimator = begun(MODELS[name], few, tmp_path, stop_at)
    assert len(list(tmp_path.glob("*.json"))) == 2
    again = clone(estimator).fit(few.train.images, few.train.labels)
    assert_same(again, whole)
    # Finished, it is not trained anew.
    stop_at(1)
    assert_same(clone(estimator).fit(few.train.images, few.train.labels), whole)


def cut(content):
    return content[: len(content) // 2]


def flip(content):
    place = len(content) // 3
    return content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :]


@pytest.mark.parametrize("suffix", ["json", "safetensors"])
@pytest.mark.parametrize("damage", [cut, flip, lambda content: bytes(len(content)), lambda content: b"", None])
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(suffix, damage, few, tmp_path, stop_at):
    whole = clone(MODELS["conv"]).fit(few.train.images)
    estimator = begun(MODELS["conv"], few, tmp_path, stop_at)
    newest = sorted(tmp_path.glob(f"*.{suffix}"))[-1]
    if damage is None:
        newest.unlink()
    else:
        newest.write_bytes(damage(newest.read_bytes()))
    seen = []
    step = Trainer.step
    Trainer.step = lambda self, index: seen.append(index) or step(self, index)
    try:
        if damage is None and suffix == "json":  # then there is no sign of it
            again = clone(estimator).fit(few.train.images)
        else:
            with pytest.warns(UserWarning, match=rf"{newest.stem}\.json is damaged"):
                again = clone(estimator).fit(few.train.images)
    finally:
        Trainer.step = step
    assert len(seen) == 8
    assert_same(again, whole)


def test_where_every_checkpoint_is_damaged_it_begins_anew(few, tmp_path, stop_at):
    estimator = begun(MODELS["conv"], few, tmp_path, stop_at)
    for path in tmp_path.glob("*.json"):
        path.write_text("[" * 100_000)
    with pytest.warns(UserWarning, match="is damaged"):
        again = clone(estimator).fit(few.train.images)
    assert_same(again, clone(MODELS["conv"]).fit(few.train.images))


def test_another_runs_checkpoint_is_refused_with_what_differs(few, tmp_path, stop_at):
    estimator = begun(MODELS["conv"], few, tmp_path, stop_at)
    for change, said in (
        ({"learning_rate": 0.02}, r"learning_rate is 0\.01 there, 0\.02 here"),
        ({"n_steps": 11}, "n_steps is 12 there, 11 here"),
        ({"channels": (4, 5)}, "channels is"),
        ({"random_state": 4}, "random_state is 3 there, 4 here"),
    ):
        with pytest.raises(ValueError, match=said):
            clone(estimator).set_params(**change).fit(few.train.images)
    with pytest.raises(ValueError, match="images is '200 of 28 × 28 × 1"):
        clone(estimator).fit(few.train.images * 0.999)
    with pytest.raises(ValueError, match="estimator is 'ConvAutoencoder' there, 'DenseAutoencoder' here"):
        hg.DenseAutoencoder(**QUICK, checkpoint_dir=tmp_path).fit(few.train.images)
    for path in tmp_path.glob("*.json"):
        document = json.loads(path.read_text())
        path.with_suffix(".kept").write_text(path.read_text())
        del document["identity"]["fingerprint"], document["checksum"]
        path.write_text(json.dumps(document | {"checksum": _checksum(document)}))
    with pytest.raises(ValueError, match="fingerprint is absent there, 'SHA-256' here"):
        clone(estimator).fit(few.train.images)
    for path in tmp_path.glob("*.kept"):
        path.rename(path.with_suffix(".json"))
    for version in (1, 3):
        for path in tmp_path.glob("*.json"):
            document = json.loads(path.read_text()) | {"format": version}
            del document["checksum"]
            path.write_text(json.dumps(document | {"checksum": _checksum(document)}))
        before = {path.name: path.read_bytes() for path in tmp_path.glob("checkpoint-*")}
        said = f"has format {version}, this version reads 2; go on with the version that wrote it"
        with pytest.raises(ValueError, match=said):
            clone(estimator).fit(few.train.images)
        assert {path.name: path.read_bytes() for path in tmp_path.glob("checkpoint-*")} == before


def test_other_validation_images_are_another_run(few, tmp_path, stop_at):
    estimator = begun(MODELS["conv"], few, tmp_path, stop_at)
    with pytest.raises(ValueError, match=r"validation is \[\] there"):
        clone(estimator).fit(few.train.images, validation_data=(few.test.images, few.test.images))


def test_other_surroundings_are_warned_of(few, tmp_path, stop_at):
    threads = torch.get_num_threads()
    estimator = begun(MODELS["conv"], few, tmp_path, stop_at)
    torch.set_num_threads(threads + 1)
    try:
        with pytest.warns(UserWarning, match=f"threads was {threads}, now it is {threads + 1}; the run goes on"):
            clone(estimator).fit(few.train.images)
    finally:
        torch.set_num_threads(threads)


def test_damaged_checkpoints_of_later_steps_do_not_push_out_new_ones(few, tmp_path, stop_at):
    estimator = begun(MODELS["conv"], few, tmp_path, stop_at)  # at 4 and 6
    for path in tmp_path.glob("*.json"):
        path.write_text("[]")
    go_on = stop_at(4)  # and so cut off again, with fewer steps than before
    with pytest.warns(UserWarning, match="is damaged"), pytest.raises(StopError):
        clone(estimator).fit(few.train.images)
    go_on()
    assert [path.name for path in tmp_path.glob("*.json")] == ["checkpoint-000000002.json"]
    assert_same(clone(estimator).fit(few.train.images), clone(MODELS["conv"]).fit(few.train.images))


def test_a_callable_that_nothing_can_tell_apart_is_refused(tmp_path):
    ae = hg.DenseAutoencoder(corruption=lambda x, generator: x, checkpoint_dir=tmp_path, random_state=0)
    with pytest.raises(ValueError, match="a checkpoint cannot tell"):
        ae.check_parameters()


def test_a_seed_is_needed(few, tmp_path):
    ae = hg.DenseAutoencoder(n_steps=1, checkpoint_dir=tmp_path)
    with pytest.raises(ValueError, match="only with an int, as random_state=0"):
        ae.fit(few.train.images)


def test_intervals():
    assert Interval.parse("90s") == Interval(90, "s")
    assert Interval.parse(5) == Interval(5, "s")
    assert Interval.parse("10 steps").is_due(0, 10, 0)
    assert not Interval.parse("10steps").is_due(1e9, 9, 1e9)
    assert Interval.parse("0.5epochs").is_due(0, 0, 0.5)
    assert not Interval.parse("never").is_due(1e9, 10**9, 1e9)
    assert Interval.parse("1e3steps") == Interval(1000, "steps")
    assert Interval.parse(".5s") == Interval(0.5, "s")
    assert Interval.parse(1e-5) == Interval(1e-5, "s")
    for bad in ("", "0", "-1s", "1h", "steps", "nan", "inf", "1e400", "1_0s", "²s"):
        with pytest.raises(ValueError, match="checkpoint_every="):
            Interval.parse(bad)


def test_a_full_disk_leaves_what_was_saved(few, tmp_path, stop_at, monkeypatch):
    estimator = begun(MODELS["conv"], few, tmp_path, stop_at)
    before = {path.name: path.read_bytes() for path in tmp_path.glob("checkpoint-*")}

    def full(descriptor):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            clone(estimator).fit(few.train.images)
    assert {path.name: path.read_bytes() for path in tmp_path.glob("checkpoint-*")} == before
    assert_same(clone(estimator).fit(few.train.images), clone(MODELS["conv"]).fit(few.train.images))


def test_weights_that_are_not_finite_leave_the_last_good_checkpoint(few, tmp_path, monkeypatch):
    step = Trainer.step

    def overflowing(self, index):
        loss = step(self, index)
        if len(self.history.learning_rate) == 7:
            with torch.no_grad():
                next(self.module.parameters()).fill_(torch.inf)
        return loss

    monkeypatch.setattr(Trainer, "step", overflowing)
    estimator = clone(MODELS["conv"]).set_params(checkpoint_dir=tmp_path)
    with pytest.raises(FloatingPointError, match=r"not finite after step 8 of 12 \(learning rate.*smaller learning"):
        estimator.fit(few.train.images)
    assert sorted(path.stem[-1] for path in tmp_path.glob("*.json")) == ["4", "6"]
    monkeypatch.setattr(Trainer, "step", step)
    assert_same(clone(estimator).fit(few.train.images), clone(MODELS["conv"]).fit(few.train.images))


def test_a_dead_network_is_warned_of(few):
    dead = hg.DenseAutoencoder(n_steps=20, learning_rate=1e4, random_state=0, schedule="constant")
    with pytest.warns(UserWarning, match="the same output for every image: all units of a layer are off"):
        dead.fit(few.train.images)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        hg.DenseAutoencoder(n_steps=2, random_state=0).fit(np.zeros((5, 9)))  # of equal images no wonder


def test_deterministic_is_for_the_training_alone(few):
    seen = []
    step = Trainer.step

    def look(self, index):
        seen.append(torch.are_deterministic_algorithms_enabled())
        return step(self, index)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "step", look)
        one = clone(MODELS["noisy"]).set_params(deterministic=True).fit(few.train.images)
    assert seen == [True] * 12
    assert not torch.are_deterministic_algorithms_enabled()
    assert_same(one, clone(MODELS["noisy"]).set_params(deterministic=True).fit(few.train.images))


def test_stale_parts_of_files_are_swept_away(tmp_path):
    checkpoints = Checkpoints(tmp_path, {"a": (1, 2)}, Interval(1))
    (tmp_path / ".part-abc").write_bytes(b"half")
    (tmp_path / "checkpoint-000000007.safetensors").write_bytes(b"without its document")
    (tmp_path / "mine.txt").write_text("not ours")
    (tmp_path / "checkpoint-best.pt").write_text("not ours")
    for step in (8, 9, 10):
        checkpoints.save(step, {"x": torch.arange(3)}, {"n": step})
    kept = {f"checkpoint-{i:09}.{suffix}" for i in (9, 10) for suffix in ("json", "safetensors")}
    assert {path.name for path in tmp_path.iterdir()} == kept | {"checkpoint-best.pt", "mine.txt"}
    tensors, values = checkpoints.load()
    assert tensors["x"].tolist() == [0, 1, 2]
    assert values == {"n": 10}
