"""Coverage-guided fuzzing of the readers of IDX files, models and images.

Usage: python tools/fuzz.py [idx|model|checkpoint|image ...] [--runs N] [--seconds S]

It runs each in a process of its own and writes docs/results/fuzz.json. What counts: an error
that is none of those which the reader promises, more than 5 seconds for one input, more memory than the bound.
"""

import argparse
import contextlib
import importlib
import itertools
import json
import os
import pkgutil
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs" / "results" / "fuzz.json"
# The libraries are those of the project's own environment.
SITE = next((ROOT / ".venv" / "lib").glob("python*/site-packages"), None)
RUNS = {"idx": 700_000, "model": 150_000, "checkpoint": 100_000, "image": 500_000}
HANG = "ERROR: libFuzzer: timeout"
LONGEST, MEMORY_MB, LARGEST_INPUT = 5, 2048, 16384
# Of one file; a stack may have thousands.
MOST_PLANES = 20


def idx(path: Path) -> Callable[[bytes], None]:
    """IDX files; the first byte chooses images or labels."""
    from hourglass.data.idx import read_idx

    def feed(data: bytes) -> None:
        path.write_bytes(data[1:])
        with contextlib.suppress(ValueError):
            read_idx(path, axes=3 if data[:1] > b"\x7f" else 1)

    return feed


def model(folder: Path) -> Callable[[bytes], None]:
    """The first bytes say where the document ends; checksums are made right, so that what is behind them is reached."""
    import hashlib

    from hourglass.models import load_model

    folder.mkdir()

    def feed(data: bytes) -> None:
        length = int.from_bytes(data[:2], "little")
        document, tensors = data[2 : 2 + length], data[2 + length :]
        digest = hashlib.sha256(tensors).hexdigest().encode()
        document = re.sub(rb'"sha256": *"[^"]*"', b'"sha256": "' + digest + b'"', document)
        (folder / "model.json").write_bytes(document)
        (folder / "model.safetensors").write_bytes(tensors)
        with contextlib.suppress(ValueError):
            load_model(folder, device="cpu")

    return feed


def checkpoint(folder: Path) -> Callable[[bytes], None]:
    """Checkpoints, as models."""
    import hashlib
    import warnings

    import torch

    from hourglass.nn import DenseCodec
    from hourglass.training import LOSSES, Adam, ResidentSource, Trainer
    from hourglass.training.checkpoints import Checkpoints, Interval, _checksum

    folder.mkdir()
    warnings.simplefilter("ignore")
    name = folder / "checkpoint-000000001.json"
    reader = Checkpoints(folder, {}, Interval(1))
    # Any identity is its own: what is behind the comparison is to be reached.
    reader._check = lambda *_: None  # type: ignore[method-assign]  # for this process alone
    x = torch.zeros(6, 1, 8, 8)
    codec = DenseCodec((8, 8, 1), 2)
    source = ResidentSource(x)
    sampler = source.order(6, torch.Generator().manual_seed(0))
    trainer = Trainer(
        codec, LOSSES["mse"], Adam(codec.parameters()), source, sampler=sampler, n_steps=1, checkpoints=reader
    )

    def feed(data: bytes) -> None:
        length = int.from_bytes(data[:2], "little")
        document, tensors = data[2 : 2 + length], data[2 + length :]
        try:  # where it is a document, its checksums are made right
            values = json.loads(document)
            values["sha256"] = hashlib.sha256(tensors).hexdigest()
            values.pop("checksum", None)
            document = json.dumps(values | {"checksum": _checksum(values)}).encode()
        except Exception:  # noqa: S110 - what is no document is fed as it is
            pass
        name.write_bytes(document)
        name.with_suffix(".safetensors").write_bytes(tensors)
        with contextlib.suppress(ValueError):
            trainer._resume(reader)

    return feed


def image(path: Path) -> Callable[[bytes], None]:
    """Image files of every format, by what is in them."""
    from contextlib import closing

    import PIL.Image

    from hourglass.imagefiles import open_image, reading

    # The bytes for each pixel are within the bound then; without it, a small file of 178 million pixels is read.
    PIL.Image.MAX_IMAGE_PIXELS = reading.MOST_PIXELS = 10_000_000

    def feed(data: bytes) -> None:
        path.write_bytes(data)
        with contextlib.suppress(OSError, ValueError), closing(open_image(path)) as file:
            for _ in itertools.islice(file.planes(), MOST_PLANES):
                pass

    return feed


READERS = {"idx": idx, "model": model, "checkpoint": checkpoint, "image": image}


def seeds(name: str, folder: Path) -> None:
    """Whole inputs, from which the fuzzer goes on."""
    import numpy as np

    import hourglass as hg

    random = np.random.default_rng(0)
    if name == "idx":
        body = random.integers(0, 256, 24, dtype=np.uint8).tobytes()
        whole = {
            "images": b"\xff" + b"\0\0\x08\x03" + np.array([2, 3, 4], ">u4").tobytes() + body,
            "labels": b"\0" + b"\0\0\x08\x01" + np.array([24], ">u4").tobytes() + body,
        }
        import gzip

        whole["zipped"] = whole["images"][:1] + gzip.compress(whole["images"][1:])
    elif name in ("model", "checkpoint"):
        whole = {}
        x = random.random((6, 8, 8), dtype=np.float32)
        kinds = (
            hg.DenseAutoencoder(code_size=2),
            hg.ConvAutoencoder(channels=(2,)),
            hg.ConvClassifier(depth=1, width=1),
        )
        for i, kind in enumerate(kinds):
            with tempfile.TemporaryDirectory() as stored:
                kind.set_params(n_steps=1, random_state=0, image_shape=(8, 8, 1))
                if name == "checkpoint":
                    kind.set_params(checkpoint_dir=stored)
                kind.fit(x, np.arange(6) % 2)
                if name == "model":
                    hg.save(kind, stored)
                document = next(Path(stored).glob("*.json")).read_bytes()
                tensors = next(Path(stored).glob("*.safetensors")).read_bytes()
                whole[str(i)] = len(document).to_bytes(2, "little") + document + tensors
    else:
        from image_corpus import CORPUS

        for entry in CORPUS:
            entry.make(folder / entry.name)
        whole = {}
    for key, content in whole.items():
        (folder / key).write_bytes(content)


def fuzz(name: str, runs: int, seconds: int) -> None:
    """Feed one reader, in this process."""
    import atheris

    memory = Path("/dev/shm")  # noqa: S108 - private folders are made in it; a disk would be worn
    shared = memory if memory.is_dir() else None
    temporary = Path(tempfile.mkdtemp(prefix="fuzz-", dir=shared))
    corpus = temporary / "corpus"
    corpus.mkdir()
    # Only what is imported here for the first time is instrumented: also what a reader imports when it is needed.
    with atheris.instrument_imports(include=["hourglass", "PIL", "tifffile", "safetensors"]):
        import PIL.Image

        import hourglass.imagefiles

        PIL.Image.init()
        for module in pkgutil.walk_packages(hourglass.imagefiles.__path__, "hourglass.imagefiles."):
            importlib.import_module(module.name)
        feed = READERS[name](temporary / "input")
    seeds(name, corpus)
    words = [
        sys.argv[0],
        f"-runs={runs}",
        f"-timeout={LONGEST}",
        f"-rss_limit_mb={MEMORY_MB}",
        f"-max_len={LARGEST_INPUT}",
    ]
    words += [f"-max_total_time={seconds}", "-print_final_stats=1", f"-artifact_prefix={temporary}/", str(corpus)]
    atheris.Setup(words, feed)
    atheris.Fuzz()


def main() -> None:
    """The readers that are named, by default all, and their figures in place of what was there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("readers", nargs="*", choices=[*READERS, []], default=[])
    parser.add_argument("--here", action="store_true", help="in this process, showing what the fuzzer says")
    parser.add_argument("--runs", type=int)
    parser.add_argument("--seconds", type=int, default=1200)
    options = parser.parse_args()
    if SITE is not None:
        sys.path += [str(ROOT / "src"), str(SITE)]
    readers = options.readers or list(READERS)
    if options.here:
        fuzz(readers[0], options.runs or RUNS[readers[0]], options.seconds)
        return
    found = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    for name in readers:
        started = time.monotonic()
        words = [sys.executable, __file__, name, "--here", "--seconds", str(options.seconds)]
        if options.runs:
            words += ["--runs", str(options.runs)]
        done = subprocess.run(
            words,
            capture_output=True,
            text=True,
            errors="replace",
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            check=False,
        )
        inputs = re.search(r"number_of_executed_units:\s+(\d+)", done.stderr)
        found[name] = {
            "inputs": int(inputs[1]) if inputs else 0,
            "crashes": int(done.returncode != 0 and HANG not in done.stderr),
            "hangs": int(HANG in done.stderr),
            "seconds": round(time.monotonic() - started),
        }
        print(name, found[name], flush=True)
        if done.returncode != 0:
            print(done.stderr[-4000:])
    RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    raise SystemExit(any(row["crashes"] or row["hangs"] for row in found.values()))


if __name__ == "__main__":
    main()
