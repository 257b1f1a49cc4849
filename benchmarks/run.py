"""Trains and applies the same networks with this package and with its peers, in turn, and writes what was measured.

Every contestant runs in a process and a virtual environment of its own; all of a workload's are alive at once and asked
one after another, round by round, so that a change of the machine's speed meets them all. Each round begins from fresh
weights and 20 steps that are not timed; then comes a fixed number that are, and their last losses must lie in one
band, so that all did the same work.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

import hourglass as hg
from compare import compare
from hourglass.runtime.hardware import has_bfloat16

HERE = Path(__file__).parent
ROOT = HERE.parent
ENVIRONMENTS = ROOT / "build" / "bench"
RESULTS = HERE / "results"

PACKAGES = {
    "tensorflow": ["tensorflow-cpu==2.21.0", "tf_keras==2.21.0"],
    "keras": ["keras==3.15.0", "jax[cpu]==0.10.2", "tensorflow-cpu==2.21.0", "torch==2.13.0"],
    "pytorch": ["torch==2.13.0", "numpy==2.4.6", "scikit-learn==1.9.1"],
}
# Name: environment (None is this one), script, variables of the process.
CONTESTANTS: dict[str, tuple[str | None, str, dict[str, str]]] = {
    "TensorFlow graph": ("tensorflow", "tensorflow_graph.py", {}),
    "Keras (TensorFlow)": ("keras", "keras_fit.py", {"KERAS_BACKEND": "tensorflow"}),
    "Keras (JAX)": ("keras", "keras_fit.py", {"KERAS_BACKEND": "jax"}),
    "Keras (PyTorch)": ("keras", "keras_fit.py", {"KERAS_BACKEND": "torch"}),
    "PyTorch": ("pytorch", "pytorch_plain.py", {}),
    "scikit-learn": ("pytorch", "sklearn_mlp.py", {}),
    "hourglass float32": (None, "hourglass_fit.py", {"HOURGLASS_PRECISION": "float32"}),
    "hourglass auto": (None, "hourglass_fit.py", {"HOURGLASS_PRECISION": "auto"}),
}
KERAS = [name for name in CONTESTANTS if name.startswith("Keras")]
# Steps that are timed: a second or more for the fastest.
STEPS = {"dense": 1000, "conv": 120, "denoise": 50, "bn-none": 120, "bn-layer": 120, "bn-manual": 120}
QUICK = ["dense", "conv", "bn-layer"]
BATCH = {"dense": 200, "conv": 200, "denoise": 200, "bn-none": 64, "bn-layer": 64, "bn-manual": 64}
# Share of the median by which a median loss may differ: autoencoders learn steadily, the classifiers' losses jump.
BAND = {"dense": 0.05, "conv": 0.25, "denoise": 0.25, "bn-none": 0.1, "bn-layer": 1.0, "bn-manual": 1.0}
INFERENCE = {
    "dense": ("reconstruct", "encode"),
    "conv": ("reconstruct", "encode", "large"),
    "denoise": ("reconstruct", "large"),
}


class Process:
    """A contestant's process; answers requests."""

    def __init__(self, name: str, workload: str, data: Path) -> None:
        environment, script, variables = CONTESTANTS[name]
        python = sys.executable if environment is None else ENVIRONMENTS / environment / "bin" / "python"
        self.name = name
        self.log = tempfile.TemporaryFile("w+")  # noqa: SIM115  # closed with the process
        self.process = subprocess.Popen(
            [python, HERE / "contestants" / script, workload, data],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            env=os.environ | variables,
        )

    def ask(self, **request: Any) -> dict[str, Any]:
        """Send a request and wait for its answer."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            self.log.seek(0)
            raise SystemExit(f"bench: {self.name} ended at {request}:\n{self.log.read()[-3000:]}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """End the process."""
        self.process.communicate()
        self.log.close()


@contextmanager
def processes(names: list[str], workload: str, data: Path) -> Iterator[list[Process]]:
    """All contestants of a workload, alive."""
    with ExitStack() as stack:
        started = []
        for name in names:
            started.append(Process(name, workload, data))
            stack.callback(started[-1].close)
        yield started


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", default=os.environ.get("HOURGLASS_DATA"), help="folder of MNIST's four files")
    parser.add_argument(
        "--quick", action="store_true", help=f"two rounds of half the steps: {', '.join(QUICK)}; no Keras"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--workloads", nargs="+", choices=list(STEPS), help="measure these anew and leave the others as they are"
    )
    parser.add_argument("--out", type=Path, help="default: benchmarks/results/<processor>.json, compared with before")
    options = parser.parse_args()
    rounds = 2 if options.quick else options.rounds
    workloads = options.workloads or (QUICK if options.quick else list(STEPS))

    prepare_environments()
    data = hg.load("mnist", options.data_dir)
    document: dict[str, Any] = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": machine(),
        "rounds": rounds,
        "quick": options.quick,
        "packages": PACKAGES,
        "training": {},
        "inference": {},
    }
    with tempfile.TemporaryDirectory() as temporary:
        stored = Path(temporary) / "mnist.npz"
        np.savez(
            stored,
            images=as_bytes(data.train.images),
            labels=np.asarray(data.train.labels),
            test=as_bytes(data.test.images),
        )
        for workload in workloads:
            steps = STEPS[workload] // (2 if options.quick else 1)
            names = [n for n in CONTESTANTS if n not in KERAS and (n != "scikit-learn" or workload == "dense")]
            if not options.quick:
                names.insert(1, fastest_keras(workload, stored, steps))
            training, inference = measure(names, workload, stored, steps, rounds)
            document["training"][workload] = training
            if inference:
                document["inference"][workload] = inference
    out = options.out or RESULTS / f"{document['machine']['slug']}{'-quick' if options.quick else ''}.json"
    if out.exists():
        before = json.loads(out.read_text(encoding="utf-8"))
        print("\n".join(compare(before, document)))
        if options.workloads:
            for kind in ("training", "inference"):
                document[kind] = before[kind] | document[kind]
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(f"bench: {out}")


def measure(
    names: list[str], workload: str, data: Path, steps: int, rounds: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Rounds of training and, for autoencoders, of inference with the networks that the last round left."""
    seconds: dict[str, list[float]] = {name: [] for name in names}
    losses: dict[str, list[float]] = {name: [] for name in names}
    peaks: dict[str, float] = {}
    applied: dict[str, dict[str, list[float]]] = {what: {} for what in INFERENCE.get(workload, ())}
    with processes(names, workload, data) as contestants:
        for number in range(-1, rounds):  # the first, which compiles, counts for nothing
            for contestant in contestants:
                answer = contestant.ask(do="train", steps=steps if number >= 0 else 5, seed=number + 1)
                if number >= 0:
                    seconds[contestant.name].append(answer["seconds"])
                    losses[contestant.name].append(answer["loss"])
                    peaks[contestant.name] = answer["peak_mb"]
        for what, times in applied.items():
            able = [c for c in contestants if c.name != "scikit-learn" or what == "reconstruct"]
            for number in range(-1, rounds):
                for contestant in able:
                    answer = contestant.ask(do=what)
                    if number >= 0:
                        times.setdefault(contestant.name, []).append(answer["seconds"])
    typical = statistics.median(statistics.median(losses[name]) for name in names if name != "scikit-learn")
    for name in names:
        off = abs(statistics.median(losses[name]) / typical - 1)
        # scikit-learn's loss is another one, in other units.
        if name != "scikit-learn" and off > BAND[workload]:
            raise SystemExit(
                f"bench: {name} ends {workload} at a loss of {losses[name]}, the others near {typical:.4f}"
            )
    images = steps * BATCH[workload]
    training = {
        name: {
            "images_per_second": [round(images / s, 1) for s in seconds[name]],
            "loss": [round(loss, 4) for loss in losses[name]],
            "peak_mb": round(peaks[name]),
        }
        for name in names
    }
    for name, row in training.items():
        print(f"{workload:10} {name:20} {statistics.median(row['images_per_second']):>10,.0f} images/s", flush=True)
    return training, {what: {n: [round(s, 5) for s in v] for n, v in times.items()} for what, times in applied.items()}


def fastest_keras(workload: str, data: Path, steps: int) -> str:
    """The backend that trains fastest, by one round of each."""
    with processes(KERAS, workload, data) as contestants:
        for contestant in contestants:
            contestant.ask(do="train", steps=5, seed=0)
        seconds = {c.name: c.ask(do="train", steps=steps // 2, seed=1)["seconds"] for c in contestants}
    return min(seconds, key=lambda name: seconds[name])


def prepare_environments() -> None:
    """Make each peer's virtual environment where its list of packages is new."""
    for name, packages in PACKAGES.items():
        folder = ENVIRONMENTS / name
        stamp = folder / "packages.json"
        if stamp.exists() and json.loads(stamp.read_text(encoding="utf-8")) == packages:
            continue
        print(f"bench: installing {', '.join(packages)}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        pip = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *packages], check=True)
        stamp.write_text(json.dumps(packages), encoding="utf-8")


def machine() -> dict[str, Any]:
    """Processor, cores, and what its matrix products reach."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    processor = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), None)
    processor = processor or platform.processor() or platform.machine()
    bfloat16 = has_bfloat16(torch.device("cpu"))
    return {
        "processor": processor,
        "slug": "-".join(processor.lower().split()) + ("-bf16" if bfloat16 else ""),
        "cores": len(os.sched_getaffinity(0)),
        "gflops_float32": round(peak(torch.float32)),
        "gflops_bfloat16": round(peak(torch.bfloat16)) if bfloat16 else None,
        "torch": torch.__version__,
    }


def peak(dtype: torch.dtype) -> float:
    """The best of ten matrix products of 2048 × 2048, in GFLOP/s."""
    from time import perf_counter

    a = torch.randn(2048, 2048).to(dtype)
    best = float("inf")
    for _ in range(10):
        started = perf_counter()
        a @ a
        best = min(best, perf_counter() - started)
    return 2 * 2048**3 / best / 1e9


def as_bytes(images: Any) -> Any:
    """Pixels of [0, 1] as the bytes that they were."""
    return np.round(images[..., 0] * 255).astype(np.uint8)


if __name__ == "__main__":
    main()
