"""Kills runs, damages their checkpoints and fills their disks, and sees that nothing is lost.

Usage: python tools/torture.py [kills|damages|disks ...] [--runs 50] [--seed 0]

Writes docs/results/torture.json. A run is the command line's, in a process of its own: importing, reading, training,
scoring, drawing, writing. Weights are compared byte by byte with those of a run that nothing happened to.
"""

import argparse
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parents[1] / "docs" / "results" / "torture.json"
# Steps enough that most of a run's time is training, with a checkpoint every other step.
STEPS = {"conv": 60, "denoise": 20, "bn-manual": 40}
WEIGHTS = "model.safetensors"
KINDS = ("at any time", "after a checkpoint", "while one is written")
DAMAGES: dict[str, Callable[[bytes, int], bytes]] = {
    "truncated": lambda content, place: content[:place],
    "flipped": lambda content, place: content[:place] + bytes([content[place] ^ 16]) + content[place + 1 :],
    "zeroed": lambda content, place: bytes(len(content)),
}
# The command line as it is, without the methods that a result is compared with and the trainings of one figure: they
# have no part in what is tested, and take most of a short run's time.
SHORT = """
import sys
from hourglass import cli
from hourglass.experiments import checkerboard, runs
checkerboard.STEPS, checkerboard.DRAWS = 1, 1
runs._compared = lambda *_: {}
sys.exit(cli.main(sys.argv[1:]))
"""
# Two runs at a time, each on one core.
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


def command(name: str, out: Path, *words: str) -> list[str]:
    """A short run of an experiment."""
    options = ["--steps", str(STEPS[name]), "--checkpoint-every", "2steps", "--out", str(out), *words]
    return [sys.executable, "-c", SHORT, "run", name, *options]


def start(words: list[str], *, largest_file: int | None = None) -> subprocess.Popen[str]:
    """A process, whose files can be bounded as those of a full disk are."""

    def bound() -> None:
        if largest_file is not None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))

    return subprocess.Popen(
        words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT, preexec_fn=bound
    )


def finish(words: list[str]) -> str:
    """Run to the end; what it said on standard error."""
    process = start(words)
    _, said = process.communicate()
    if process.returncode != 0:
        raise SystemExit(f"torture: {' '.join(words)} ended with {process.returncode}:\n{said}")
    return said


def weights(out: Path, name: str) -> bytes:
    """The final weights, byte by byte."""
    return (out / f"{name}-classic" / "seed-0" / WEIGHTS).read_bytes()


def checkpoints(out: Path, name: str) -> list[Path]:
    """Documents of a run's checkpoints, oldest first."""
    return sorted((out / f"{name}-classic" / "seed-0.unfinished").glob("checkpoint-*.json"))


def kill_and_resume(name: str, out: Path, kind: str, moment: float, expected: bytes) -> dict[str, Any]:
    """Kill a run at a moment of a kind, and go on until it is done."""
    process = start(command(name, out))
    folder = out / f"{name}-classic" / "seed-0.unfinished"
    if kind == "after a checkpoint":
        wait_for(process, lambda: bool(checkpoints(out, name)))
    if kind == "while one is written":
        wait_for(process, lambda: len(checkpoints(out, name)) >= 1)
        wait_for(process, lambda: any(folder.glob(".part-*")))
    else:
        time.sleep(moment)
    process.kill()
    process.communicate()
    found = [int(path.stem[-9:]) for path in checkpoints(out, name)]
    killed = process.returncode == -signal.SIGKILL
    finish(command(name, out, "--resume"))
    same = weights(out, name) == expected
    shutil.rmtree(out)
    return {"name": name, "kind": kind, "killed": killed, "from": max(found, default=0), "equal": same}


def wait_for(process: subprocess.Popen[str], there: Callable[[], bool]) -> None:
    """Wait until something is there, or the process has ended."""
    while process.poll() is None and not there():
        time.sleep(0.0005)


def cut_off(name: str, out: Path) -> list[Path]:
    """Kill a run when it has several checkpoints."""
    process = start(command(name, out))
    while len(checkpoints(out, name)) < 2 or int(checkpoints(out, name)[-1].stem[-9:]) < 6:
        if process.poll() is not None:
            raise SystemExit(f"torture: {name} ended before it had a checkpoint")
        time.sleep(0.01)
    process.kill()
    process.communicate()
    return checkpoints(out, name)


def damage_and_resume(begun: Path, name: str, kind: str, chance: random.Random, expected: bytes) -> dict[str, Any]:
    """Damage the newest checkpoint of a copy, and go on: it must be named, and the one before used."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        shutil.copytree(begun, out)
        newest = checkpoints(out, name)[-1]
        path = newest.with_suffix(chance.choice([".json", ".safetensors"]))
        content = path.read_bytes()
        path.write_bytes(DAMAGES[kind](content, chance.randrange(len(content))))
        said = finish(command(name, out, "--resume"))
        before = int(checkpoints(begun, name)[-2].stem[-9:])
        fell_back = f"{newest.name} is damaged" in said and f"going on from step {before} " in said
        return {"name": name, "kind": kind, "fell_back": fell_back, "equal": weights(out, name) == expected}


def is_whole(out: Path, name: str, expected: bytes) -> bool:
    """Whether a run has its result, and the weights that it should have."""
    folder = out / f"{name}-classic" / "seed-0"
    return (folder / "result.json").is_file() and (folder / WEIGHTS).read_bytes() == expected


def fill_and_resume(begun: Path, name: str, largest: int, expected: bytes) -> dict[str, Any]:
    """Go on where no file may grow over so many bytes, then where it may."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        shutil.copytree(begun, out)
        kept = {path: path.read_bytes() for path in checkpoints(out, name)}
        process = start(command(name, out, "--resume", "--quiet"), largest_file=largest)
        _, said = process.communicate()
        lines = said.splitlines()
        # Newer checkpoints may have taken their place, of which there are two whole ones, or the run itself is whole.
        whole = all(path.exists() and path.read_bytes() == content for path, content in kept.items())
        whole = whole or len(checkpoints(out, name)) >= 2 or is_whole(out, name, expected)
        parts = list(out.rglob(".part-*"))
        finish(command(name, out, "--resume"))
        return {
            "name": name,
            "largest": largest,
            "code": process.returncode,
            "lines": len(lines),
            "kept": whole and not parts,
            "equal": weights(out, name) == expected,
        }


def main() -> None:
    """Do the parts that are named, by default all, print what they found, put it in place of what was there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", choices=["kills", "damages", "disks", []], default=[])
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    parts = options.parts or ["kills", "damages", "disks"]
    chance = random.Random(options.seed)
    document: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    bad = False
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(2) as pool:
        root = Path(folder)
        lasted, expected = {}, {}
        for name in STEPS if "kills" in parts else ["conv"]:
            before = time.monotonic()
            finish(command(name, root / "whole"))
            lasted[name] = time.monotonic() - before
            expected[name] = weights(root / "whole", name)
        begun = root / "begun"
        if parts != ["kills"]:
            cut_off("conv", begun)
        for part in parts:
            before = time.monotonic()
            if part == "kills":
                rows = kills(pool, root, options.runs, lasted, expected, chance)
                good = [row["killed"] and row["equal"] for row in rows]
            elif part == "damages":
                rows = damages(pool, begun, expected["conv"], chance)
                good = [row["fell_back"] and row["equal"] for row in rows]
            else:
                rows = disks(pool, begun, expected["conv"])
                good = [row["kept"] and row["equal"] and row["lines"] == row["code"] <= 1 for row in rows]
            print(f"{part}: well in {sum(good)} of {len(good)}", flush=True)
            bad = bad or not all(good)
            document[part] = rows
            document.setdefault("seconds", {})[part] = round(time.monotonic() - before)
            RESULTS.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    raise SystemExit(int(bad))


Rows = list[dict[str, Any]]


def kills(
    pool: ThreadPoolExecutor,
    root: Path,
    count: int,
    lasted: Mapping[str, float],
    expected: Mapping[str, bytes],
    chance: random.Random,
) -> Rows:
    """Runs killed at random moments, in turn of each experiment."""
    names = [list(STEPS)[i % len(STEPS)] for i in range(count)]
    kinds = [KINDS[i // len(STEPS) % len(KINDS)] for i in range(count)]
    # Any time from the beginning; or so long after the first checkpoint, while training and what comes after it last.
    moments = [
        chance.uniform(0.1, 1.0 if kind == KINDS[0] else 0.4) * lasted[n] for n, kind in zip(names, kinds, strict=True)
    ]

    def one(i: int) -> dict[str, Any]:
        return kill_and_resume(names[i], root / f"kill-{i}", kinds[i], moments[i], expected[names[i]])

    return list(pool.map(one, range(count)))


def damages(pool: ThreadPoolExecutor, begun: Path, expected: bytes, chance: random.Random) -> Rows:
    """Twenty newest checkpoints damaged."""
    kinds = [list(DAMAGES)[i % len(DAMAGES)] for i in range(20)]
    chances = [random.Random(chance.random()) for _ in kinds]

    def one(i: int) -> dict[str, Any]:
        return damage_and_resume(begun, "conv", kinds[i], chances[i], expected)

    return list(pool.map(one, range(20)))


def disks(pool: ThreadPoolExecutor, begun: Path, expected: bytes) -> Rows:
    """Twenty limits of a file's size, from a twelfth of a checkpoint's to almost two of them."""
    size = max(path.stat().st_size for path in (begun / "conv-classic" / "seed-0.unfinished").iterdir())
    limits = [round(size * (i + 1) / 12) for i in range(20)]
    return list(pool.map(lambda limit: fill_and_resume(begun, "conv", limit, expected), limits))


if __name__ == "__main__":
    main()
