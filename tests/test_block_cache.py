"""Blocks in memory: bounded, read once, read ahead, and read again after an error."""

import pickle
import threading

import numpy as np
import pytest

from hourglass.training.block_cache import BlockCache

WAIT = 20


class Storage:
    """Counts its reads; those of ``held`` wait until they are let go."""

    def __init__(self, held=()):
        self.reads, self.held, self.go = [], set(held), threading.Event()
        self.begun = threading.Semaphore(0)

    def __call__(self, number):
        self.reads.append(number)
        self.begun.release()
        if number in self.held:
            assert self.go.wait(WAIT)
        return np.full(2, number, np.uint8)


def numbers_of(cache, numbers):
    found = []
    for number, rows in cache.get(numbers):
        assert (rows == number).all()
        found.append(number)
    return found


def test_blocks_are_read_once_while_there_is_room():
    storage = Storage()
    cache = BlockCache(storage, 3)
    for _ in range(3):
        assert sorted(numbers_of(cache, [0, 1, 2])) == [0, 1, 2]
    assert sorted(storage.reads) == [0, 1, 2]


def test_no_more_blocks_are_in_memory_than_the_capacity():
    cache = BlockCache(Storage(), 3)
    for start in range(20):
        cache.announce([start], [start + 1])
        numbers_of(cache, [start, start + 1])
        assert len(cache._blocks) <= 3


def test_blocks_in_use_stay_when_others_are_read():
    storage = Storage()
    cache = BlockCache(storage, 4)
    cache.announce([0, 1], [])
    numbers_of(cache, [0, 1])
    for other in range(2, 12):
        numbers_of(cache, [other])
    storage.reads.clear()
    numbers_of(cache, [0, 1])
    assert storage.reads == []


def test_blocks_in_memory_come_first_and_none_of_a_batch_is_read_twice():
    """A batch at the end of an epoch needs blocks of the old window and of the new one, more than fit."""
    storage = Storage()
    cache = BlockCache(storage, 4)
    cache.announce([0, 1, 2], [])
    numbers_of(cache, [0, 1, 2])
    cache.announce([5, 6, 7], [])
    assert numbers_of(cache, [5, 0, 6, 1, 7, 2]) == [0, 1, 2, 5, 6, 7]
    numbers_of(cache, [5, 6, 7])
    assert sorted(storage.reads) == [0, 1, 2, 5, 6, 7]


def test_coming_blocks_are_read_ahead_while_nobody_waits():
    storage = Storage()
    cache = BlockCache(storage, 4)
    cache.announce([0], [1, 2])
    numbers_of(cache, [0])
    for _ in range(3):
        assert storage.begun.acquire(timeout=WAIT)
    assert sorted(storage.reads) == [0, 1, 2]


def test_what_is_being_read_is_waited_for_and_not_read_again():
    storage = Storage(held=[1])
    cache = BlockCache(storage, 4)
    cache.announce([0], [1])
    numbers_of(cache, [0])
    threading.Timer(0.01, storage.go.set).start()
    assert numbers_of(cache, [1]) == [1]
    assert sorted(storage.reads) == [0, 1]


def test_after_an_error_a_block_is_read_again():
    answers = iter([OSError("gone"), np.zeros(2, np.uint8)])

    def read(number):
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    cache = BlockCache(read, 2)
    with pytest.raises(OSError, match="gone"):
        numbers_of(cache, [0])
    assert numbers_of(cache, [0]) == [0]


def test_a_pickled_cache_is_empty_and_works():
    cache = BlockCache(abs_block, 2)
    numbers_of(cache, [0])
    other = pickle.loads(pickle.dumps(cache))  # noqa: S301 - our own
    assert other.capacity == 2
    assert numbers_of(other, [1]) == [1]


def abs_block(number):
    return np.full(1, number, np.uint8)
