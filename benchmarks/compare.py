"""What became slower from one run of the benchmark to another, by more than either run's noise."""

import json
import statistics
import sys
from pathlib import Path
from typing import Any


def compare(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """One line for each of this package's figures that changed.

    Figures are ratios to the TensorFlow graph of the same round (to the first contestant, where it is not there), so
    that the machine's own speed of the day cancels out. A change counts where the two runs' ranges do not overlap.
    """
    lines = []
    for kind, better in (("training", "faster"), ("inference", "slower")):
        for workload, what, old, new in _pairs(before[kind], after[kind], kind):
            for name in (n for n in new if n.startswith("hourglass") and n in old):
                a, b = (_ratios(figures, name) for figures in (old, new))
                if min(b) > max(a) or max(b) < min(a):
                    change = statistics.median(b) / statistics.median(a)
                    grew = change > 1
                    word = better if grew else ("slower" if better == "faster" else "faster")
                    lines.append(f"{word}: {workload} {what}, {name}: {max(change, 1 / change):.2f} times")
    return sorted(lines, reverse=True) or ["nothing changed by more than the noise"]


def _pairs(before: dict[str, Any], after: dict[str, Any], kind: str) -> Any:
    for workload in after:
        if workload in before:
            if kind == "training":
                old, new = (
                    {name: row["images_per_second"] for name, row in part[workload].items()} for part in (before, after)
                )
                yield workload, kind, old, new
            else:
                for what in after[workload]:
                    if what in before[workload]:
                        yield workload, what, before[workload][what], after[workload][what]


def _ratios(figures: dict[str, list[float]], name: str) -> list[float]:
    reference = figures["TensorFlow graph"] if "TensorFlow graph" in figures else next(iter(figures.values()))
    return [mine / theirs for mine, theirs in zip(figures[name], reference, strict=False)]


if __name__ == "__main__":
    print("\n".join(compare(*(json.loads(Path(path).read_text(encoding="utf-8")) for path in sys.argv[1:3]))))
