"""Runs that are never lost: killed, damaged, full, refused, continued bit for bit."""

import json
import os
import signal
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from sklearn.base import clone

import hourglass as hg
from hourglass.atomic import locked
from hourglass.training import Interrupted, Interval, Trainer
from hourglass.training.checkpoints import Checkpoints, _checksum

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


@pytest.fixture(autouse=True)
def _signals_are_heard():
    """Whoever runs the tests may have SIGINT ignored, as nohup does."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def stop_at(monkeypatch):
    """Let training raise before a step."""

    def stop(at):
        step, count = Trainer.step, [0]

        def counting(self, index):
            count[0] += 1
            if count[0] == at:
                raise StopError
            return step(self, index)

        monkeypatch.setattr(Trainer, "step", counting)
        return lambda: monkeypatch.setattr(Trainer, "step", step)

    return stop


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


def test_a_callable_that_nothing_can_tell_apart_is_refused(tmp_path):
    ae = hg.DenseAutoencoder(corruption=lambda x, generator: x, checkpoint_dir=tmp_path, random_state=0)
    with pytest.raises(ValueError, match="a checkpoint cannot tell"):
        ae.check_parameters()


def test_a_seed_is_needed(few, tmp_path):
    ae = hg.DenseAutoencoder(n_steps=1, checkpoint_dir=tmp_path)
    with pytest.raises(ValueError, match="only an int, as random_state=0"):
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


def test_two_processes_do_not_share_a_folder(hourglass, tmp_path):
    holder = (
        "from hourglass.atomic import locked\n"
        f"with locked({str(tmp_path / 'out')!r}): print('held', flush=True); input()"
    )
    process = subprocess.Popen([sys.executable, "-c", holder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "held\n"
        code, _, err = hourglass("run", "dense", "--steps", "1", "--out", tmp_path / "out", "--quiet")
        assert (code, len(err.splitlines())) == (1, 1)
        assert "is in use by another process" in err
    finally:
        process.kill()  # its death opens the lock
        process.communicate()
    with locked(tmp_path / "out"):
        pass


def test_runs_of_a_folder_go_on(few, tmp_path, stop_at):
    options = {"dataset": few, "seeds": (0, 1), "n_steps": 6, "batch_size": 20, "checkpoint_every": "2steps"}
    whole = hg.run("denoise", **options, out=tmp_path / "whole")
    go_on = stop_at(6 + 4)  # in the second run
    with pytest.raises(StopError):
        hg.run("denoise", **options, out=tmp_path / "cut")
    go_on()
    first = tmp_path / "cut" / "denoise-classic" / "seed-0"
    before = {path.name: path.stat().st_mtime_ns for path in first.iterdir()}
    assert (tmp_path / "cut" / "denoise-classic" / "seed-1.unfinished").is_dir()
    assert not (tmp_path / "cut" / "denoise-classic" / "seed-1").exists()
    said = []
    again = hg.run("denoise", **options, out=tmp_path / "cut", say=said.append)
    assert "denoise classic seed 0: finished already, left as it is" in said
    assert {path.name: path.stat().st_mtime_ns for path in first.iterdir()} == before
    assert again.scores == whole.scores
    for seed in (0, 1):
        name = f"denoise-classic/seed-{seed}/model.safetensors"
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert not list((tmp_path / "cut").rglob("*.unfinished"))
    with pytest.raises(ValueError, match="batch_size is 20 there, 30 here"):
        hg.run("denoise", **options | {"batch_size": 30}, out=tmp_path / "cut", resume=True)


def test_training_on_a_folder_goes_on(hourglass, tmp_path, few, stop_at):
    from PIL import Image

    for i in range(4):
        Image.fromarray((few.train.images[i, ..., 0] * 255).astype(np.uint8)).save(tmp_path / f"{i}.png")
    words = ["train", tmp_path, "--crop", 16, "--cuts", 40, "--steps", 8, "--checkpoint-every", "2steps"]
    assert hourglass(*words, "--out", tmp_path / "whole", "--quiet")[0] == 0
    go_on = stop_at(6)
    code, _, err = hourglass(*words, "--out", tmp_path / "cut", "--quiet")
    assert (code, len(err.splitlines())) == (1, 1)
    go_on()
    assert (tmp_path / "cut" / ".unfinished").is_dir()
    code, out, err = hourglass(*words, "--out", tmp_path / "cut", "--overwrite")
    assert code == 0
    assert "holds an unfinished training: going on with it" in err
    assert "going on from step 4 of 8" in err
    weights = "model.safetensors"
    assert (tmp_path / "cut" / weights).read_bytes() == (tmp_path / "whole" / weights).read_bytes()
    assert not (tmp_path / "cut" / ".unfinished").exists()
    code, out, _ = hourglass(*words, "--out", tmp_path / "cut", "--resume")
    assert (code, out.strip()) == (0, f"model: {tmp_path / 'cut'} (finished already)")
    assert hourglass(*words, "--out", tmp_path / "cut", "--resume", "--overwrite")[0] == 2
