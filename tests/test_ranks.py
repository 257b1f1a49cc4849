"""Training in several processes equals training in one."""

import functools

import pytest
import torch

from rank_cases import CASES, STEPS, finish, start, train

one_process = functools.cache(train)

pytestmark = pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="this PyTorch has no gloo")


@pytest.fixture(scope="module", params=[2, pytest.param(4, marks=pytest.mark.slow)])
def several(request, tmp_path_factory):
    """Number of processes, and the folder of what they trained; trainings in it were begun by one process."""
    folder = tmp_path_factory.mktemp("ranks")
    for case in CASES:
        assert train(case, folder / case, stop_after=8) is None
    codes, errors = finish(start("train_all", request.param, folder))
    assert codes == [0] * request.param, errors
    return request.param, folder


@pytest.mark.parametrize("case", CASES)
def test_several_processes_equal_one(several, case):
    count, folder = several
    losses, state = one_process(case)
    assert len(losses) == STEPS
    assert losses[-1] < losses[0]
    for rank in range(count):
        found, there = torch.load(folder / f"rank-{rank}.pt", weights_only=True)[case]
        torch.testing.assert_close(found, losses, rtol=1e-9, atol=0)
        for name, value in state.items():
            torch.testing.assert_close(there[name], value, rtol=1e-7, atol=1e-9, msg=name)


@pytest.mark.parametrize("case", CASES)
def test_a_training_goes_on_with_another_number_of_processes(several, case):
    _, folder = several  # one process began it, and several went on from step 6
    losses, state = one_process(case)
    assert max(path.stem for path in (folder / case).glob("*.json")) == "checkpoint-000000012"
    found, there = train(case, folder / case)
    torch.testing.assert_close(found, losses, rtol=1e-6, atol=0)
    for name, value in state.items():
        torch.testing.assert_close(there[name], value, rtol=1e-6, atol=1e-8, msg=name)
