"""The benchmark's own arithmetic: what it calls slower, and what its contestants are asked to do."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def module(path, monkeypatch):
    spec = importlib.util.spec_from_file_location(f"bench_{path.stem}", path)
    loaded = importlib.util.module_from_spec(spec)
    # A dataclass looks its module up.
    monkeypatch.setitem(sys.modules, spec.name, loaded)
    spec.loader.exec_module(loaded)
    return loaded


def run(ours, theirs, seconds):
    rows = {"TensorFlow graph": theirs, "hourglass float32": ours}
    return {
        "training": {"conv": {name: {"images_per_second": rates} for name, rates in rows.items()}},
        "inference": {"conv": {"encode": {"TensorFlow graph": [1.0, 1.0], "hourglass float32": seconds}}},
    }


def test_a_change_counts_where_the_ranges_do_not_overlap(monkeypatch):
    compare = module(BENCHMARKS / "compare.py", monkeypatch).compare
    before = run([200, 220], [100, 100], [0.5, 0.55])
    assert compare(before, before) == ["nothing changed by more than the noise"]
    # The whole machine twice as slow is no change of ours.
    assert compare(before, run([100, 110], [50, 50], [0.5, 0.55])) == ["nothing changed by more than the noise"]
    assert compare(before, run([215, 230], [100, 100], [0.5, 0.6])) == ["nothing changed by more than the noise"]
    assert compare(before, run([100, 110], [100, 100], [1.0, 1.1])) == [
        "slower: conv training, hourglass float32: 2.00 times",
        "slower: conv encode, hourglass float32: 2.00 times",
    ]
    assert compare(before, run([400, 440], [100, 100], [0.25, 0.27])) == [
        "faster: conv training, hourglass float32: 2.00 times",
        "faster: conv encode, hourglass float32: 2.02 times",
    ]


def test_contestants_warm_up_before_the_clock_and_report_the_last_losses(monkeypatch):
    protocol = module(BENCHMARKS / "contestants" / "protocol.py", monkeypatch)
    steps = []

    class Counting(protocol.Contestant):
        def reset(self, seed):
            steps.clear()

        def step(self):
            steps.append(len(steps))
            return float(steps[-1])

    data = {"images": np.zeros((4, 28, 28, 1)), "labels": None, "test": None}
    contestant = Counting(protocol.WORKLOADS["conv"], data)
    seconds, loss = contestant.train(30, 0)
    assert len(steps) == 30 + protocol.WARMUP
    assert loss == pytest.approx(np.mean(steps[-protocol.LOSS_OVER :]))
    assert seconds > 0
    batches = protocol.Batches(10, 4, 0)
    seen = np.concatenate([batches.next() for _ in range(5)])
    assert sorted(seen[:10]) == sorted(seen[10:]) == list(range(10))
