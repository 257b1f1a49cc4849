"""Several files are in work at once; what they compute shares some threads, and their outcomes keep their order."""

import threading
from concurrent.futures import CancelledError, ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image

from hourglass.imagefiles import plan, process, processing
from hourglass.runtime.threads import on_threads, overlapped

WAIT = 20  # seconds until a test that would hang fails


@pytest.fixture(params=[1, 2, 3])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    on_threads(lambda item: item, range(9))  # the shared ones have begun
    yield request.param
    torch.set_num_threads(before)


def save_images(folder, shapes):
    folder.mkdir(parents=True)
    for i, shape in enumerate(shapes):
        values = np.random.default_rng(i).integers(0, 256, shape, np.uint8)
        Image.fromarray(values).save(folder / f"{i}.png")
    return plan([folder], folder.parent / "out").pairs


def test_one_item_is_read_and_written_while_as_many_are_computed_as_there_are_threads(threads):
    meeting = threading.Barrier(threads + 1, timeout=WAIT)

    def beside(item):
        if item < threads:
            on_threads(lambda _: meeting.wait(), [item])
        elif item == threads:
            meeting.wait()
        return 10 * item

    assert list(overlapped(beside, None, range(5))) == [0, 10, 20, 30, 40]


def test_no_more_are_computed_at_once_than_there_are_threads(threads):
    lock, computing, most, names = threading.Lock(), [], [], set()

    def compute(block):
        assert torch.get_num_threads() == 1
        with lock:
            computing.append(block)
            most.append(len(computing))
            names.add(threading.current_thread().name)
        threading.Event().wait(0.01)
        with lock:
            computing.remove(block)
        return block

    def beside(item):
        return on_threads(compute, [(item, i) for i in range(item % 3 + 1)])

    assert list(overlapped(beside, None, range(9))) == [[(i, j) for j in range(i % 3 + 1)] for i in range(9)]
    if threads > 1:
        assert max(most) == len(names) == threads
    assert torch.get_num_threads() == threads
    with ThreadPoolExecutor(1) as pool:  # and a thread that somebody else begins has as many
        assert pool.submit(torch.get_num_threads).result() == threads


def test_an_item_alone_waits_for_the_others_and_stays_in_order(threads):
    active, alone_with = [], []

    def beside(item):
        if item == 2:
            return None
        active.append(item)
        threading.Event().wait(0.01)
        active.remove(item)
        return item

    def alone(item):
        alone_with.append(list(active))
        assert threading.current_thread() is threading.main_thread()
        assert torch.get_num_threads() == threads
        return -item

    assert list(overlapped(beside, alone, range(6))) == [0, 1, -2, 3, 4, 5]
    assert alone_with == [[]]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_reaches_the_caller_and_no_helper_is_left(error, threads):
    before, begun = threading.active_count(), []

    def fail(item):
        raise error(item)

    def beside(item):
        begun.append(item)
        return on_threads(fail if item == 1 else (lambda item: item), [item])

    with pytest.raises(error):
        list(overlapped(beside, None, range(99)))
    assert threading.active_count() == before
    assert len(begun) < 20


def test_closing_begins_nothing_more_and_gives_up_what_is_yet_to_be_computed(threads):
    before, begun, ends, closing = threading.active_count(), [], [], threading.Event()

    def beside(item):
        begun.append(item)
        if item:
            assert closing.wait(WAIT)
            while not ends:  # until the first look after closing
                try:
                    on_threads(lambda item: item, [item])
                except CancelledError:
                    ends.append("given up")
        return item

    found = overlapped(beside, None, range(99))
    assert next(found) == 0
    soon = threading.Timer(0.05, closing.set)
    soon.start()
    found.close()
    soon.join()
    assert threading.active_count() == before
    assert ends
    assert set(ends) == {"given up"}
    assert len(begun) <= threads + 2


def test_files_keep_their_order_their_levels_and_their_errors(tmp_path):
    pairs = save_images(tmp_path / "in", [(20, 16)] * 6)
    (tmp_path / "in" / "3.png").write_bytes(b"no image")
    first = [float(np.random.default_rng(i).integers(0, 256, (20, 16), np.uint8)[0, 0]) for i in range(6)]

    def restore(plane, value_range):
        if plane.values[0, 0, 0] == first[4]:
            raise ValueError("cannot be restored")
        return 255 - plane.values, (float(plane.values[0, 0, 0]),)

    outcomes = list(process(pairs, restore))
    assert [outcome.source.name for outcome in outcomes] == [f"{i}.png" for i in range(6)]
    assert [outcome.error is None for outcome in outcomes] == [True, True, True, False, False, True]
    levels = [outcome.noise_levels for outcome in outcomes]
    assert levels == [(first[0],), (first[1],), (first[2],), (), (), (first[5],)]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["0.png", "1.png", "2.png", "5.png"]


def test_a_large_image_and_a_large_file_are_alone(tmp_path, monkeypatch):
    pairs = save_images(tmp_path / "in", [(20, 16), (60, 60), (20, 16), (20, 16)])
    monkeypatch.setattr(processing, "_MOST_AT_ONCE", 1000 * (torch.get_num_threads() + 1))
    where, lock, active, most = {}, threading.Lock(), [], {}

    def restore(plane, value_range):
        height = plane.values.shape[0]
        with lock:
            active.append(height)
        threading.Event().wait(0.01)
        with lock:
            where[height], most[height] = threading.current_thread(), list(active)
            active.remove(height)
        return plane.values, ()

    assert [outcome.error for outcome in process(pairs, restore)] == [None] * 4
    assert where[60] is threading.main_thread()
    assert most[60] == [60]
    assert where[20] is not threading.main_thread()


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "bmp", "tif", "jp2", "avif", "npz"])
def test_a_large_image_in_a_small_file_is_decoded_once(suffix, tmp_path, monkeypatch):
    path = tmp_path / f"0.{suffix}"
    if suffix == "npz":
        np.savez_compressed(path, np.zeros((100, 100, 3), np.uint8))
    else:
        Image.new("RGB", (100, 100)).save(path, **({"compression": "tiff_deflate"} if suffix == "tif" else {}))
    monkeypatch.setattr(processing, "_MOST_AT_ONCE", 29_999 * (torch.get_num_threads() + 1))
    decoded, open_image = [], processing.open_image

    def opened(path):
        file = open_image(path)
        planes = file.planes
        file.planes = lambda: (decoded.append(plane) or plane for plane in planes())
        return file

    monkeypatch.setattr(processing, "open_image", opened)
    pairs, before = plan([path], tmp_path / "out").pairs, []

    def restore(plane, value_range):
        before.append(len(decoded))
        return plane.values, ()

    assert [outcome.error for outcome in process(pairs, restore)] == [None]
    assert before == [1]


def test_a_run_that_is_given_up_leaves_no_helper_and_no_part_of_a_file(tmp_path):
    pairs, before = save_images(tmp_path / "in", [(20, 16)] * 5), threading.active_count()
    outcomes = process(pairs, lambda plane, value_range: (plane.values, ()))
    assert next(outcomes).error is None
    outcomes.close()
    assert threading.active_count() <= before + torch.get_num_threads()  # those that compute are kept
    assert all(len(path.name) == len("0.png") for path in (tmp_path / "out").iterdir())
