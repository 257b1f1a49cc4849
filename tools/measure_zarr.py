"""Measures memory and speed of training on a Zarr that is larger than the memory that is allowed.

Usage: python tools/measure_zarr.py [--gigabytes 4] [--seconds 300] [--pairs 20] [--folder FOLDER] [--out FILE]

Packs generated PNG files with `hourglass pack`. Then, each in a process of its own:

- one pass over all images with `dense`, which counts how often each block is read; the proportional set size (PSS) of
  the process and its descendants is sampled five times a second;
- `denoise` from the Zarr and, for comparison, from memory, alternately, for so many seconds in all of each;
- `denoise` from the Zarr for so many seconds without a break, for its memory;
- `dense` and this again from a local S3 server (moto), whose own process does not count.

The full measurement takes about an hour on two cores and 13 GB of disk. Writes docs/results/zarr.json.
"""

import argparse
import json
import math
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

OUT = Path(__file__).parents[1] / "docs" / "results" / "zarr.json"
# Generated images, and the crops into which they are packed: those of MNIST.
SIDE, CROP = 1024, 28
PER_FILE = (SIDE // CROP) ** 2
# Images that are in memory in the comparison, as many as MNIST has.
RESIDENT = 60_000
EVERY = 0.2
# Steps at the beginning of a training that do not count for its speed.
WARM_UP = 20
# Serves S3 on a port that the system chooses, prints the port, and ends with this process, whose pipe it reads.
SERVER = """
import sys
from moto.server import ThreadedMotoServer

server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
server.stop()
"""


def main() -> None:
    """Measure, and write the result."""
    if sys.argv[1:2] == ["child"]:
        json.dump(child(*sys.argv[2:]), sys.stdout)
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=4.0, help="Size of the images in 10^9 bytes.")
    parser.add_argument("--seconds", type=float, default=300.0, help="Seconds of each kind of training of denoise.")
    parser.add_argument("--pairs", type=int, default=20, help="Number of alternations between Zarr and memory.")
    parser.add_argument("--folder", type=Path, help="Folder for the images, which is kept.")
    parser.add_argument("--out", type=Path, default=OUT, help="File for the result.")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hourglass-zarr-") as temporary:
        document = measure(asked.folder or Path(temporary), asked.gigabytes, asked.seconds, asked.pairs)
    document["command"] = shlex.join(["python", "tools/measure_zarr.py", *sys.argv[1:]])
    asked.out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(document, indent=1))


def measure(folder: Path, gigabytes: float, seconds: float, pairs: int) -> dict[str, Any]:
    """Make the Zarr in a folder, and measure training on it."""
    place = folder / "images.zarr"
    packed = None if is_there(place, gigabytes) else pack(folder, place, gigabytes)
    document: dict[str, Any] = {"date": datetime.now(UTC).isoformat(timespec="seconds"), "cores": os.cpu_count()}
    document |= {"files": files_of(gigabytes), "packing": packed, "dense": trained("dense", place, {}, 0)}
    document |= document["dense"].pop("about")
    rates: dict[str, list[float]] = {"denoise": [], "resident": []}
    for pair in range(pairs):
        for name in sorted(rates, reverse=pair % 2 == 1):  # each is the first one in every other pair
            rates[name].append(trained(name, place, {}, seconds / pairs)["images_per_second"])
    ratios = [zarr / resident for zarr, resident in zip(rates["denoise"], rates["resident"], strict=True)]
    document["speeds"] = {**rates, "ratio": round(statistics.median(ratios), 4)}
    document["denoise"] = trained("denoise", place, {}, seconds)
    with s3_server() as options:
        import fsspec

        files = fsspec.filesystem("s3", **options)
        files.mkdir("bucket")
        files.put(str(place), "bucket/images.zarr", recursive=True)
        address = "s3://bucket/images.zarr"
        document["s3"] = {"dense": trained("dense", address, options, 0)}
        document["s3"]["dense"].pop("about")
        document["s3"]["denoise"] = trained("denoise", address, options, seconds)
    return document


def files_of(gigabytes: float) -> int:
    """Number of files to generate.

    A multiple of 200, so that the last batch of a pass is full, whether its size divides 100 or 128.
    """
    return 200 * math.ceil(gigabytes * 1e9 / (PER_FILE * CROP**2) / 200)


def is_there(place: Path, gigabytes: float) -> bool:
    """Whether the Zarr was packed before; one of another size is an error."""
    from hourglass.training import ZarrSource

    if not place.exists():
        return False
    images, expected = len(ZarrSource(place)), files_of(gigabytes) * PER_FILE
    if images != expected:
        raise SystemExit(f"{place} has {images:,} images, and {gigabytes} GB are {expected:,}; name another --folder")
    return True


def pack(folder: Path, place: Path, gigabytes: float) -> dict[str, Any]:
    """Generate PNG files and pack them by the command."""
    from PIL import Image

    images = folder / "images"
    images.mkdir(parents=True)
    count = files_of(gigabytes)
    rng = np.random.default_rng(0)
    for i in range(count):  # noise on squares of one brightness; it can hardly be compressed
        squares = np.kron(rng.integers(32, 224, (SIDE // 32, SIDE // 32), np.uint8), np.ones((32, 32), np.uint8))
        noisy = squares + rng.integers(-32, 32, (SIDE, SIDE), np.int16).astype(np.uint8)
        Image.fromarray(noisy).save(images / f"{i:06}.png", compress_level=1)
    started = time.perf_counter()
    crop = f"{CROP}x{CROP}"
    subprocess.run([sys.executable, "-m", "hourglass", "pack", images, place, "--crop", crop, "-q"], check=True)
    stored = sum(path.stat().st_size for path in place.rglob("*") if path.is_file())
    return {"seconds": round(time.perf_counter() - started, 1), "stored_bytes": stored}


def trained(name: str, place: object, options: dict[str, Any], seconds: float) -> dict[str, Any]:
    """Train in a process of its own, and sample its memory."""
    words = [sys.executable, __file__, "child", name, str(place), json.dumps(options), str(seconds)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        samples: list[int] = []
        ended = threading.Event()

        def sample() -> None:
            while not ended.wait(EVERY):
                samples.append(proportional_bytes(process.pid))

        sampler = threading.Thread(target=sample)
        sampler.start()
        out, _ = process.communicate()
        ended.set()
        sampler.join()
    if process.returncode:
        raise SystemExit(f"{shlex.join(words)} failed")
    found: dict[str, Any] = json.loads(out.splitlines()[-1])
    found["peak_pss_mb"] = round(max(samples) / 1e6)
    # The highest of each tenth of the time, which shows whether the memory grows.
    found["pss_mb"] = [round(max(part) / 1e6) for part in np.array_split(samples, 10) if len(part)]
    print(name, place, found, file=sys.stderr)
    return found


def proportional_bytes(pid: int) -> int:
    """PSS of a process and its descendants, of those that are there.

    A child that has not yet replaced its program (after vfork) has the memory of its parent, and does not count.
    """
    total = 0
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8")
        total = next(int(line.split()[1]) * 1024 for line in rollup.splitlines() if line.startswith("Pss:"))
        for task in Path(f"/proc/{pid}/task").iterdir():
            children = (task / "children").read_text(encoding="utf-8").split()
            total += sum(proportional_bytes(int(child)) for child in children if _maps(child) != _maps(str(pid)))
    except (OSError, StopIteration):
        pass
    return total


def _maps(pid: str) -> str:
    """Places in memory of a process, which are never the same in two that do not share it."""
    return Path(f"/proc/{pid}/maps").read_text(encoding="utf-8")


@contextmanager
def s3_server() -> Iterator[dict[str, Any]]:
    """Start moto's server in a process of its own; gives the options of its file system."""
    words, pipe = [sys.executable, "-c", SERVER], subprocess.PIPE
    with subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            port = int(process.stdout.readline() if process.stdout else 0)
            yield {"key": "key", "secret": "secret", "endpoint_url": f"http://127.0.0.1:{port}"}
        finally:
            process.terminate()


class EnoughError(Exception):
    """The time of a training is over."""


def child(name: str, place: str, options: str, seconds: str) -> dict[str, Any]:
    """Train in this process, and return what was counted."""
    from hourglass.experiments import EXPERIMENTS
    from hourglass.experiments.environment import environment
    from hourglass.training import ResidentSource, Source, Trainer, ZarrSource

    stored = ZarrSource(place, storage_options=json.loads(options))
    reads: Counter[int] = Counter()
    read = stored._cache.read

    def counted(number: int) -> Any:
        reads[number] += 1
        return read(number)

    stored._cache.read = counted
    source: Source = ResidentSource(stored.first(RESIDENT)) if name == "resident" else stored
    estimator: Any = EXPERIMENTS["dense" if name == "dense" else "denoise"].configure()
    estimator.set_params(random_state=0)
    if name == "dense":
        estimator.set_params(epochs=1, n_steps=None)
    times: list[float] = []
    step = Trainer.step

    def timed(self: Any, index: Any) -> Any:
        if not times:
            reads.clear()
        times.append(time.perf_counter())
        if float(seconds) and times[-1] - times[0] > float(seconds):
            raise EnoughError
        return step(self, index)

    run, of_run = Trainer.run, Counter[int]()

    def noted(self: Any) -> Any:
        history = run(self)
        of_run.update(reads.values())
        return history

    Trainer.step = timed  # type: ignore[method-assign]  # to stop by time
    Trainer.run = noted  # type: ignore[method-assign]  # to count the reads of the pass alone
    found: dict[str, Any] = {}
    try:
        estimator.fit(source)
        found["blocks"], found["reads"] = (
            len(stored.row_blocks),
            {str(times): blocks for times, blocks in of_run.items()},
        )
        size = {"images": len(stored), "bytes": len(stored) * CROP**2, "block_bytes": stored.block_bytes}
        about = {key: environment(estimator)[key] for key in ("processor", "torch", "python", "threads")}
        found["about"] = about | size | {"most_blocks": stored.most_blocks}
    except EnoughError:
        pass
    first = min(WARM_UP, len(times) // 2)
    rate = (len(times) - 1 - first) * estimator.batch_size / (times[-1] - times[first])
    return found | {"images_per_second": round(rate, 1), "training_seconds": round(times[-1] - times[0], 1)}


if __name__ == "__main__":
    main()
