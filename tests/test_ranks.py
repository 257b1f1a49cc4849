"""Training in several processes equals training in one."""

import functools
import pickle
import re
import signal

import pytest
import torch

from hourglass.training.interruption import Interrupted, Interruption
from hourglass.training.saving import Saving
from rank_cases import BATCH, CASES, STEPS, classify, finish, run, start, train, train_images, trainer, write_images

SAID = ("LostProcessError: ", "ValueError: ", "Interrupted: ")
NORMS = "batch-manual", "batch-manual-local"

one_process = functools.cache(train)

pytestmark = pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="this PyTorch has no gloo")


@pytest.fixture(scope="module", params=[2, pytest.param(4, marks=pytest.mark.slow)])
def several(request, tmp_path_factory):
    """Number of processes, and the folder of what they trained; trainings in it were begun by one process."""
    folder = tmp_path_factory.mktemp("ranks")
    write_images(folder)
    for case in CASES:
        assert train(case, folder / case, stop_after=8) == 0
    codes, errors = finish(start("train_all", request.param, folder))
    assert codes == [0] * request.param, errors
    return request.param, folder


def read(folder, rank):
    return pickle.loads((folder / f"rank-{rank}.pickle").read_bytes())  # noqa: S301 - the test wrote it itself


@pytest.mark.parametrize("case", CASES)
def test_several_processes_equal_one(several, case):
    count, folder = several
    losses, state, rows = one_process(case)
    assert len(losses) == STEPS
    assert losses[-1] < losses[0]
    for rank in range(count):
        found, there, part = read(folder, rank)["trainings"][case]
        assert rows // count - rows // BATCH <= part < rows // count + rows // BATCH
        torch.testing.assert_close(found, losses, rtol=1e-9, atol=0)
        for name, value in state.items():
            torch.testing.assert_close(there[name], value, rtol=1e-7, atol=1e-9, msg=name)


@pytest.mark.parametrize("case", CASES)
def test_a_training_goes_on_with_another_number_of_processes(several, case):
    count, folder = several
    # One process began it, and several went on.
    assert [read(folder, rank)["resumed"][case] for rank in range(count)] == [6] * count
    losses, state, _ = one_process(case)
    assert max(path.stem for path in (folder / case).glob("*.json")) == "checkpoint-000000012"
    found, there, _ = train(case, folder / case)
    torch.testing.assert_close(found, losses, rtol=1e-6, atol=0)
    for name, value in state.items():
        torch.testing.assert_close(there[name], value, rtol=1e-6, atol=1e-8, msg=name)


def test_an_experiment_is_run_by_several_processes(several, tmp_path):
    count, folder = several
    [expected] = run(tmp_path).runs
    history, scores, processes = read(folder, 0)["run"]
    assert processes == count
    # In float32 the parts of a batch add up to other last digits.
    torch.testing.assert_close(history.loss, expected.history.loss, rtol=1e-4, atol=0)
    for step, report in expected.history.reports.items():
        assert history.reports[step] == pytest.approx(report, rel=1e-4)
    assert {name: float(value[0]) for name, value in scores.items()} == pytest.approx(expected.metrics, rel=1e-2)
    for rank in range(1, count):
        assert read(folder, rank)["run"] == (history, scores, count)
    assert read(folder, 0)["written"]
    assert not [path for rank in range(1, count) for path in read(folder, rank)["written"]]
    there = sorted(path.name for path in (folder / "runs").rglob("*.*") if path.is_file())
    assert there == sorted(path.name for path in (tmp_path / "runs").rglob("*.*") if path.is_file())


def test_images_are_trained_on_by_several_processes(several, tmp_path):
    count, folder = several
    write_images(tmp_path)
    model, said = train_images(tmp_path)
    history, found, state = read(folder, 0)["images"]
    torch.testing.assert_close(history.loss, model.history_.loss, rtol=1e-4, atol=0)
    for step, report in model.history_.reports.items():
        assert history.reports[step] == pytest.approx(report, rel=1e-4)
    assert len(found) == len(said) == 1
    for rank in range(1, count):
        there = read(folder, rank)["images"]
        assert there[0] == history
        assert all(torch.equal(value, there[2][name]) for name, value in state.items())


def test_processes_without_a_seed_draw_the_same(several):
    count, folder = several
    history, state = read(folder, 0)["classifier"]
    assert "validation_accuracy" in history.measures
    for rank in range(1, count):
        other, there = read(folder, rank)["classifier"]
        assert other == history
        assert all(torch.equal(value, there[name]) for name, value in state.items())


def test_a_normalisation_may_see_the_part_of_its_process_alone(several):
    count, folder = several
    state = read(folder, 0)["local"]
    for rank in range(1, count):
        assert all(torch.equal(value, state[name]) for name, value in read(folder, rank)["local"].items())
    one, together = (classify(norm=norm, random_state=0, n_steps=5).network_.state_dict() for norm in NORMS)
    assert all(torch.equal(value, one[name]) for name, value in together.items())
    # The variance of a part is smaller than that of the batch.
    name = "norms.0.running_var"
    assert not torch.allclose(state[name], one[name], rtol=1e-3)


def test_what_several_processes_cannot_do_is_refused(several):
    count, folder = several
    for rank in range(count):
        framework, ghost, small, different = read(folder, rank)["refused"]
        assert "norms.0 is a FrameworkBatchNorm" in framework
        assert "SyncBatchNorm cannot take its place: that works on GPUs alone" in framework
        assert "norms.0 is a GhostBatchNorm" in ghost
        assert "that normalises the whole batch, and this one small parts of it" in ghost
        assert f"a batch has {count - 1} images for {count} processes" in small
        assert "rank 0 and rank 1 do not train the same: random_state is 0 there, 1 here" in different


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "said", "codes"),
    [
        ("last", r"rank 2 \(process \d+ on \S+\) is gone: it died", [1, 1, -9]),
        ("first", r"rank 0 \(process \d+ on \S+\) is gone: it died", [-9, 1, 1]),
        ("report", r"rank 2 \(process \d+ on \S+\) is gone: it died", [1, 1, -9]),
        ("one", "ValueError: no more", [1, 1, 1]),
        ("all", "ValueError: no more", [1, 1, 1]),
        ("signal", "Interrupted: stopped after step 5 of 20 by SIGTERM", [143, 143, 143]),
    ],
    ids=["last", "first", "report", "one", "all", "signal"],
)
def test_one_process_says_what_has_happened(how, said, codes, tmp_path):
    found, errors = finish(start("fail", 3, tmp_path, how))
    assert found == codes, errors
    lines = [line for error in errors for line in error.splitlines() if line.startswith(SAID)]
    assert len(lines) == 1, errors
    assert re.search(said, lines[0]), lines
    if how == "signal":
        assert (tmp_path / "checkpoint-000000005.json").exists()


@pytest.mark.parametrize("interval", ["signal", "never"])
def test_a_signal_is_agreed_on(interval, tmp_path):
    """In one process: a signal that comes while the processes agree is one for the next time."""
    interruption = Interruption()
    training = trainer("conv", tmp_path)
    saving = Saving(training.checkpoints, interruption, training.state)
    assert not saving.is_due(training.state)
    interruption.signal = signal.SIGTERM if interval == "signal" else None
    if interval == "signal":
        assert saving.is_due(training.state)
        with pytest.raises(Interrupted, match="SIGTERM"):
            saving.end(training.state)
    else:
        saving.end(training.state)
