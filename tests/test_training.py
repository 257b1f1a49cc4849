"""Optimiser, schedules, sampler, the loop and its record."""

import io
import itertools
import platform

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from hourglass.runtime import tricks
from hourglass.runtime.hardware import (
    give_memory_back,
    keep_freed_memory,
    resolve_device,
    resolve_precision,
    saves_memory,
)
from hourglass.training import (
    LOSSES,
    SCHEDULES,
    Adam,
    EarlyStopping,
    History,
    PlainProgress,
    Report,
    ResidentSource,
    ShuffledSampler,
    Trainer,
    stopwatch,
)


@given(st.integers(1, 50), st.integers(1, 70), st.integers(0, 3))
def test_batches_are_full_and_every_pass_sees_every_image_once(size, batch_size, seed):
    sampler = ShuffledSampler(size, batch_size, torch.Generator().manual_seed(seed))
    count = min(size, batch_size)
    drawn = [next(sampler) for _ in range(3 * size)]
    assert {len(batch) for batch in drawn} == {count}
    stream = torch.cat(drawn)
    for epoch in range(len(stream) // size):
        assert sorted(stream[epoch * size : (epoch + 1) * size].tolist()) == list(range(size))


def trainer(n_steps=30, seed=0, **options):
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(40, 6, generator=generator)
    net = nn.Linear(6, 6)
    nn.init.normal_(net.weight, std=0.1, generator=generator)
    nn.init.zeros_(net.bias)
    settings = {"sampler": ShuffledSampler(40, 8, generator), "n_steps": n_steps} | options
    rate = settings.pop("lr", 0.01)
    return Trainer(
        net, settings.pop("loss", LOSSES["mse"]), Adam(net.parameters(), rate), ResidentSource(x), **settings
    )


def test_training_lowers_the_loss_and_records_every_update():
    history = trainer(300).run()
    assert len(history) == 300
    assert np.mean(history.loss[-20:]) < 0.2 * np.mean(history.loss[:20])
    assert history.epoch[4] == 1
    assert history.learning_rate == [0.01] * 300


def test_equal_seeds_give_equal_weights_and_no_global_state_is_used():
    torch.manual_seed(5)
    first = trainer()
    first.run()
    state = torch.get_rng_state()
    second = trainer()
    second_state = torch.get_rng_state()
    second.run()
    assert torch.equal(torch.get_rng_state(), second_state)
    assert not torch.equal(state, second_state)  # nn.Linear itself draws
    assert torch.equal(first.module.weight, second.module.weight)


def test_the_schedule_scales_the_rate():
    run = trainer(10, schedule=SCHEDULES["one-cycle"])
    assert run.run().learning_rate == pytest.approx([0.01 * SCHEDULES["one-cycle"](i / 10) for i in range(10)])


def test_corruption_reaches_the_inputs_alone():
    given, targets = [], []
    run = trainer(
        3, corrupt=torch.zeros_like, loss=lambda output, target: (targets.append(target), output.sum() * 0)[1]
    )
    run.module.register_forward_pre_hook(lambda module, inputs: given.append(inputs[0]))
    run.run()
    assert len(given) == len(targets) == 3
    assert not any(batch.any() for batch in given)
    assert all(target.any() for target in targets)


def test_a_mask_says_where_the_loss_is():
    sizes = []

    def corrupt(images):
        mask = torch.zeros(images.shape[0], 6, dtype=torch.bool)
        mask[::2, 1] = True
        return images, mask

    def loss(output, target):
        sizes.append((output.shape, target.shape))
        return output.sum() * 0

    run = trainer(2, corrupt=corrupt, loss=loss)
    run.run()
    half = run.sampler.batch_size // 2
    assert sizes == [(torch.Size([half]), torch.Size([half]))] * 2


def test_early_stopping_ends_after_its_patience_and_restores_the_best():
    losses = iter([3.0, 1.0, 2.0, 1.5, 0.1])
    weights = []

    def measure(index, step):
        weights.append(run.module.weight.detach().clone())
        return {"validation_loss": next(losses)}

    run = trainer(50, reports=[Report(measure, 4)], stopping=EarlyStopping("validation_loss", 2))
    history = run.run()
    assert list(history.reports) == [1, 5, 9, 13]
    assert len(history) == 13
    assert run.stopping.best_step == 5
    assert torch.equal(run.module.weight, weights[1])
    assert not torch.equal(run.module.weight, weights[3])


def test_reports_come_after_the_first_step_then_every_n_and_at_the_end():
    modes = []

    def measure(index, step):
        modes.append(run.module.training)
        return {"size": float(len(index))}

    run = trainer(12, reports=[Report(measure, 5), Report(lambda index, step: {"other": 1.0}, 10)])
    history = run.run()
    assert list(history.reports) == [1, 6, 11, 12]
    assert history.series("size")[1].tolist() == [8, 8, 8, 8]
    assert history.series("other")[0].tolist() == [1, 11, 12]
    assert modes == [False] * 4
    assert not run.module.training


def test_time_leaves_out_reports_and_speed_the_warm_up(monkeypatch):
    clock = {"now": 0.0}
    monkeypatch.setattr(stopwatch.time, "perf_counter", lambda: clock["now"])

    def loss(output, target):
        clock["now"] += 10.0 if len(run.history.epoch) < 20 else 1.0
        return (output - target).square().mean()

    def measure(index, step):
        clock["now"] += 1000.0
        return {}

    run = trainer(50, loss=loss, reports=[Report(measure, 7)])
    run.run()
    assert run.train_seconds == pytest.approx(20 * 10 + 30)
    assert run.images_per_second == pytest.approx(30 * 8 / 30)
    short = trainer(20)
    short.run()
    assert short.images_per_second is None


def test_a_loss_that_is_not_finite_stops_training_and_says_where():
    calls = itertools.count(1)

    def loss(output, target):
        return (output - target).square().mean() * (float("nan") if next(calls) == 7 else 1.0)

    with pytest.raises(FloatingPointError, match=r"nan at step 7 of 30 \(learning rate 0\.01\).*smaller learning_rate"):
        trainer(30, loss=loss).run()


def test_bfloat16_computes_in_it_and_keeps_weights_and_loss_in_float32():
    dtypes = set()

    def loss(output, target):
        dtypes.add(output.dtype)
        return (output - target).square().mean()

    run = trainer(30, precision="bfloat16", loss=loss)
    run.module.register_forward_hook(lambda module, given, output: dtypes.add(output.dtype))
    history = run.run()
    assert dtypes == {torch.float32, torch.bfloat16}
    assert run.module.weight.dtype == torch.float32
    assert history.loss[-1] < history.loss[0]


def test_plain_progress_writes_a_line_a_report():
    stream = io.StringIO()
    trainer(
        12, reports=[Report(lambda index, step: {"accuracy": 0.5}, 5)], progress=PlainProgress("lesson", stream)
    ).run()
    lines = stream.getvalue().splitlines()
    assert len(lines) == 4
    assert [line.partition(" | ")[0] for line in lines] == [
        "lesson: epoch 1/3, step 1/12", "lesson: epoch 2/3, step 6/12", "lesson: epoch 3/3, step 11/12",
        "lesson: epoch 3/3, step 12/12",
    ]  # fmt: skip
    for word in ("training mode, mean since the last report: loss 0.", "accuracy 0.5000", "images/s", "left"):
        assert word in lines[1]


def test_nothing_is_shown_by_default(capfd):
    trainer(5).run()
    out, err = capfd.readouterr()
    assert out == err == ""


def test_progress_stops_when_training_fails():
    class Watch(PlainProgress):
        stopped = False

        def stop(self):
            self.stopped = True

    watch = Watch("x", io.StringIO())
    with pytest.raises(FloatingPointError):
        trainer(5, loss=lambda output, target: output.sum() * float("inf"), progress=watch).run()
    assert watch.stopped


def test_history_goes_to_csv_and_back(tmp_path):
    history = trainer(12, reports=[Report(lambda index, step: {"accuracy": 0.25}, 5)]).run()
    history.write_csv(tmp_path / "history.csv")
    lines = (tmp_path / "history.csv").read_text().splitlines()
    assert lines[0] == "step,epoch,learning_rate,loss,accuracy"
    assert len(lines) == 13
    again = History.read_csv(tmp_path / "history.csv")
    assert again.reports == history.reports
    assert again.loss == pytest.approx(history.loss, rel=1e-8)
    with pytest.raises(KeyError, match="precision"):
        again.series("precision")


def test_device_and_precision_are_resolved():
    assert resolve_device("cpu").type == "cpu"
    assert resolve_device("auto").type in ("cpu", "cuda")
    with pytest.raises(ValueError, match="auto, cpu, cuda"):
        resolve_device("tpu")
    assert resolve_precision("bfloat16", torch.device("cpu")) == "bfloat16"
    assert resolve_precision("auto", torch.device("cpu"), pays=False) == "float32"
    with pytest.raises(ValueError, match="float32, bfloat16, auto"):
        resolve_precision("half", torch.device("cpu"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_without_a_device_says_so():
    with pytest.raises(ValueError, match="finds no CUDA device"):
        resolve_device("cuda")


def test_the_allocator_is_told_without_harm():
    glibc = platform.libc_ver()[0] == "glibc"
    assert give_memory_back() is glibc
    assert keep_freed_memory() is glibc


def test_a_training_keeps_its_memory_unless_the_trick_is_off():
    give_memory_back()
    with tricks.without("allocator"):
        trainer(n_steps=1).run()
    assert saves_memory()
    trainer(n_steps=1).run()
    assert not saves_memory()


def test_hooks_of_an_optimiser_are_called_in_training():
    called = []
    made = trainer(n_steps=3)
    made.optimiser.register_step_post_hook(lambda *_: called.append(1))
    made.run()
    assert called == [1, 1, 1]
