"""The order of rows that are stored in blocks."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hourglass.training import BlockOrder, ResidentSource, RowBlocks, ShuffledSampler, Source
from hourglass.training.source import Paired, Subset


def blocks_of(sizes, window, announce=None):
    starts = np.concatenate([[0], np.cumsum(sizes)])
    return RowBlocks(starts, window, **({} if announce is None else {"announce": announce}))


def order_of(blocks, batch_size, seed=0):
    return BlockOrder(blocks, batch_size, torch.Generator().manual_seed(seed))


def first_rows(order, count):
    batches = []
    while sum(map(len, batches)) < count:
        batches.append(next(order).numpy())
    return np.concatenate(batches)


CASES = {
    "sizes": st.lists(st.integers(1, 9), min_size=1, max_size=12),
    "window": st.integers(1, 14),
    "batch_size": st.integers(1, 20),
    "seed": st.integers(0, 2**31),
}


@given(**CASES)
@settings(max_examples=60, deadline=None)
def test_each_row_occurs_once_an_epoch_and_every_batch_is_full(sizes, window, batch_size, seed):
    order, size = order_of(blocks_of(sizes, window), batch_size, seed), sum(sizes)
    rows = first_rows(order, 3 * size)
    for epoch in range(3):
        assert sorted(rows[epoch * size : (epoch + 1) * size]) == list(range(size))
    assert {len(next(order)) for _ in range(3)} == {min(batch_size, size)}


@given(**CASES, skipped=st.integers(0, 30))
@settings(max_examples=60, deadline=None)
def test_the_state_resumes_the_order_anywhere_also_with_another_window(sizes, window, batch_size, seed, skipped):
    order = order_of(blocks_of(sizes, window), batch_size, seed)
    for _ in range(skipped):
        next(order)
    state = {name: value.clone() for name, value in order.state.items()}
    resumed = order_of(blocks_of(sizes, 1), batch_size, seed=1)
    resumed.state = state
    for _ in range(10):
        assert torch.equal(next(order), next(resumed))


@given(**CASES)
@settings(max_examples=60, deadline=None)
def test_the_rows_in_use_are_of_one_window_and_every_block_enters_it_once(sizes, window, batch_size, seed):
    told = []
    blocks = blocks_of(sizes, window, lambda in_use, coming: told.append((list(in_use), list(coming))))
    order, starts = order_of(blocks, 1, seed), blocks.starts
    entered = []
    for _ in range(sum(sizes)):
        block = int(np.searchsorted(starts, int(next(order)), "right") - 1)
        in_use, coming = told[-1]
        assert block in in_use
        assert len(in_use) == min(window, len(sizes))
        assert not set(in_use) & set(coming)
        entered += [each for each in in_use if each not in entered]
    assert sorted(entered) == list(range(len(sizes)))
    gone = set()
    for one, other in itertools.pairwise(in_use for in_use, _ in told):
        gone |= set(one) - set(other)
        assert not gone & set(other)


def test_equal_seeds_give_equal_orders_and_epochs_differ():
    blocks = blocks_of([50] * 10, 4)
    one, other = (first_rows(order_of(blocks, 7, seed=3), 1000) for _ in range(2))
    assert (one == other).all()
    assert (one[:500] != one[500:1000]).mean() > 0.9
    assert (first_rows(order_of(blocks, 7, seed=4), 1000) != one).mean() > 0.9


def test_blocks_that_fit_into_the_window_are_shuffled_fully():
    """The place of a row, and the distance of two of one block, are those of a random permutation."""
    places = []
    for seed in range(200):
        rows = first_rows(order_of(blocks_of([10] * 4, 4), 40, seed), 40)
        place = np.empty(40)
        place[rows] = np.arange(40)
        places.append(place)
    places = np.array(places)
    assert np.abs(places.mean(0) - 19.5).max() < 4 * 11.54 / np.sqrt(200)
    distances = np.abs(places[:, 0] - places[:, 1])
    assert abs(distances.mean() - 41 / 3) < 4 * 9.4 / np.sqrt(200)


def test_in_the_middle_of_an_epoch_a_batch_has_rows_of_all_blocks_of_the_window_alike():
    blocks = blocks_of([400] * 30, 8)
    rows = first_rows(order_of(blocks, 64), 12_000)
    middle = rows[5000:5800] // 400
    _, counts = np.unique(middle, return_counts=True)
    assert len(counts) <= 8 + 3
    assert np.sort(counts)[-6:].min() > 40


def test_a_row_is_early_as_often_as_late():
    late = [np.flatnonzero(first_rows(order_of(blocks_of([5] * 12, 3), 60, seed), 60) == 7)[0] for seed in range(300)]
    assert abs(np.mean(late) - 29.5) < 4 * 17.3 / np.sqrt(300)


@given(
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=10),
    window=st.integers(1, 5),
    data=st.data(),
)
@settings(max_examples=50, deadline=None)
def test_a_selection_of_rows_keeps_to_the_blocks(sizes, window, data):
    size = sum(sizes)
    rows = np.array(data.draw(st.lists(st.integers(0, size - 1), min_size=1, max_size=size, unique=True)))
    again = np.array(data.draw(st.permutations(range(len(rows)))))[: max(1, len(rows) // 2)]
    told = []
    blocks = blocks_of(sizes, window, lambda in_use, coming: told.append(list(in_use)))
    for chosen, selected in ((rows, blocks.select(rows)), (rows[again], blocks.select(rows).select(again))):
        order = order_of(selected, 1)
        found = [int(next(order)) for _ in range(len(chosen))]
        assert sorted(found) == list(range(len(chosen)))
        order = order_of(selected, 1)
        for _ in range(len(chosen)):
            block = int(np.searchsorted(blocks.starts, chosen[int(next(order))], "right") - 1)
            assert block in told[-1]
            assert len(told[-1]) <= window


class Backwards(Source):
    """Somebody's source with an order of its own, which takes the two arguments that it always had."""

    def __init__(self):
        self.images = torch.arange(6.0).reshape(6, 1, 1, 1)

    def __len__(self):
        return 6

    def take(self, index, step):
        return self.images[index], self.images[index]

    @property
    def fingerprint(self):
        return {"images": "backwards"}

    def order(self, batch_size, generator):
        return itertools.cycle([torch.arange(5, 5 - batch_size, -1)])


def test_a_source_with_an_order_of_its_own_keeps_it_when_it_is_paired_and_works_as_a_subset():
    source, generator = Backwards(), torch.Generator().manual_seed(0)
    assert next(source.order(3, generator)).tolist() == [5, 4, 3]
    paired = source.paired(torch.zeros(6, 1, 1, 1))
    assert isinstance(paired, Paired)
    assert next(paired.order(3, generator)).tolist() == [5, 4, 3]
    subset = paired.subset(np.array([1, 3]))
    assert isinstance(subset, Subset)
    assert sorted(next(subset.order(2, generator)).tolist()) == [0, 1]


def test_sources_without_blocks_are_shuffled_as_before():
    source = ResidentSource(torch.zeros(8, 1, 2, 2))
    for each in (source, Subset(source, np.arange(8)), Paired(source, None, None)):
        order = each.order(4, torch.Generator().manual_seed(0))
        assert isinstance(order, ShuffledSampler)
        assert torch.equal(next(order), next(ShuffledSampler(8, 4, torch.Generator().manual_seed(0))))


@pytest.mark.parametrize("batch_size", [1, 3])
def test_indices_are_int64_on_the_device(batch_size):
    batch = next(order_of(blocks_of([2, 2], 1), batch_size))
    assert batch.dtype == torch.int64
    assert batch.device.type == "cpu"
