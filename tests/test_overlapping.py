"""Reading and writing of files overlaps the computing of others, which one thread does."""

import threading
from concurrent.futures import CancelledError

import numpy as np
import pytest
from PIL import Image

from hourglass.imagefiles import plan, process, processing
from hourglass.runtime.overlapping import overlapped

WAIT = 20  # seconds until a test that would hang fails


def save_images(folder, shapes):
    folder.mkdir(parents=True)
    for i, shape in enumerate(shapes):
        values = np.random.default_rng(i).integers(0, 256, shape, np.uint8)
        Image.fromarray(values).save(folder / f"{i}.png")
    return plan([folder], folder.parent / "out").pairs


def test_the_next_item_is_read_and_the_one_before_is_written_while_one_is_computed():
    read_next, computing_next, written = (threading.Event() for _ in range(3))
    computed_on = []

    def compute(item):
        computed_on.append(threading.current_thread())
        if item == 0:
            assert read_next.wait(WAIT)
        else:
            computing_next.set()
            assert written.wait(WAIT)
        return 10 * item

    def beside(item, here):
        if item == 1:
            read_next.set()
        value = here(lambda: compute(item))
        if item == 0:
            assert computing_next.wait(WAIT)
            written.set()
        return value

    assert list(overlapped(beside, None, range(2))) == [0, 10]
    assert set(computed_on) == {threading.main_thread()}


def test_an_item_alone_waits_for_the_others_and_stays_in_order():
    active, alone_with = [], []

    def beside(item, here):
        if item == 2:
            return None
        active.append(item)
        value = here(lambda: item)
        active.remove(item)
        return value

    def alone(item):
        alone_with.append(list(active))
        return -item

    assert list(overlapped(beside, alone, range(6))) == [0, 1, -2, 3, 4, 5]
    assert alone_with == [[]]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_reaches_the_caller_and_no_thread_is_left(error):
    before, seen = threading.active_count(), []

    def fail(item):
        raise error(item)

    def beside(item, here):
        try:
            return here((lambda: fail(item)) if item == 1 else (lambda: item))
        except BaseException as problem:
            seen.append((item, type(problem)))
            raise

    with pytest.raises(error):
        list(overlapped(beside, None, range(9)))
    assert threading.active_count() == before
    assert dict(seen)[1] is (CancelledError if error is KeyboardInterrupt else error)  # Ctrl-C is the caller's alone
    assert max(dict(seen)) <= 3


def test_closing_ends_what_is_in_work():
    before, cancelled = threading.active_count(), []

    def beside(item, here):
        try:
            return here(lambda: item)
        except CancelledError:
            cancelled.append(item)
            raise

    found = overlapped(beside, None, range(9))
    assert next(found) == 0
    found.close()
    assert threading.active_count() == before
    assert set(cancelled) <= {1, 2, 3}


def test_files_keep_their_order_their_levels_and_their_errors(tmp_path):
    pairs = save_images(tmp_path / "in", [(20, 16)] * 6)
    (tmp_path / "in" / "3.png").write_bytes(b"no image")

    def restore(plane, value_range):
        assert threading.current_thread() is threading.main_thread()
        if plane.values[0, 0, 0] == first[4]:
            raise ValueError("cannot be restored")
        return 255 - plane.values, (float(plane.values[0, 0, 0]),)

    first = [float(np.random.default_rng(i).integers(0, 256, (20, 16), np.uint8)[0, 0]) for i in range(6)]
    outcomes = list(process(pairs, restore))
    assert [outcome.source.name for outcome in outcomes] == [f"{i}.png" for i in range(6)]
    assert [outcome.error is None for outcome in outcomes] == [True, True, True, False, False, True]
    assert [outcome.noise_levels for outcome in outcomes] == [
        (first[0],),
        (first[1],),
        (first[2],),
        (),
        (),
        (first[5],),
    ]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["0.png", "1.png", "2.png", "5.png"]


def test_a_large_image_and_a_large_file_are_alone(tmp_path, monkeypatch):
    pairs = save_images(tmp_path / "in", [(20, 16), (60, 60), (20, 16), (20, 16)])
    monkeypatch.setattr(processing, "_MOST_BESIDE_OTHERS", 1000)
    threads = {}

    def restore(plane, value_range):
        threads[plane.values.shape[0]] = threading.active_count()
        return plane.values, ()

    before = threading.active_count()
    assert [outcome.error for outcome in process(pairs, restore)] == [None] * 4
    assert threads[60] == before


def test_a_run_that_is_given_up_leaves_no_thread_and_no_part_of_a_file(tmp_path):
    pairs, before = save_images(tmp_path / "in", [(20, 16)] * 5), threading.active_count()
    outcomes = process(pairs, lambda plane, value_range: (plane.values, ()))
    assert next(outcomes).error is None
    outcomes.close()
    assert threading.active_count() == before
    assert all(len(path.name) == len("0.png") for path in (tmp_path / "out").iterdir())
