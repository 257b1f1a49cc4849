"""Blocks in memory: bounded, read once, read ahead, and read again after an error."""

import pickle
import threading
import time
import weakref

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


class Counted(np.ndarray):
    """Rows of which those that exist are counted."""


class CountingStorage:
    """Counts the blocks that are in memory, those that are being read included."""

    def __init__(self, seconds):
        self.seconds, self.alive, self.most, self.lock = seconds, 0, 0, threading.Lock()

    def __call__(self, number):
        time.sleep(self.seconds)  # in which the other thread ends what it does after it has returned a block
        with self.lock:
            self.alive += 1
            self.most = max(self.most, self.alive)
        rows = np.full(2, number, np.uint8).view(Counted)
        weakref.finalize(rows, self.gone)
        time.sleep(self.seconds)
        return rows

    def gone(self):
        with self.lock:
            self.alive -= 1


@pytest.mark.parametrize("capacity", [1, 2, 3, 5])
def test_live_blocks_are_never_more_than_the_capacity(capacity):
    """Those that are being read, and those that the caller looks at, are counted too."""
    storage, rng = CountingStorage(0.004), np.random.default_rng(capacity)
    cache = BlockCache(storage, capacity)
    for _ in range(40):
        coming = rng.choice(30, 3, replace=False).tolist()
        cache.announce(rng.choice(30, capacity - 1, replace=False).tolist(), coming)
        for number, rows in cache.get(rng.choice(30, 4, replace=False).tolist()):
            assert (rows == number).all()
            del rows
    assert storage.most == capacity


def test_room_is_made_for_a_needed_block_when_all_are_being_read():
    storage = Storage(held=[0, 1])
    cache = BlockCache(storage, 2)
    cache.announce([], [0, 1])
    numbers_of(cache, [])
    threading.Timer(0.01, storage.go.set).start()
    assert numbers_of(cache, [2]) == [2]
    assert len(cache._blocks) == 2
