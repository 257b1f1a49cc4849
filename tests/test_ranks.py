"""Training in several processes equals training in one."""

import functools
import pickle

import pytest
import torch

from rank_cases import BATCH, CASES, STEPS, classify, finish, run, start, train, train_images, write_images

NORMS = "batch-manual", "batch-manual-local"

one_process = functools.cache(train)

pytestmark = pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="this PyTorch has no gloo")


@pytest.fixture(scope="module", params=[2, pytest.param(4, marks=pytest.mark.slow)])
def several(request, tmp_path_factory):
    """Number of processes, and the folder of what they trained; trainings in it were begun by one process."""
    folder = tmp_path_factory.mktemp("ranks")
    write_images(folder)
    for case in CASES:
        assert train(case, folder / case, stop_after=8) is None
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
    _, folder = several  # one process began it, and several went on from step 6
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
        assert f"the training of rank {', '.join(map(str, range(1, count)))} is not that of rank 0" in different
