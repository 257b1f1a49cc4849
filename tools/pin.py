"""Hold the six experiments to the numbers of an earlier commit, bit for bit, while the code is put in order.

Usage: tools/pin.py [COMMIT]. Both sources run on this machine, one thread each: without the faster forms, the weights
after 20 steps have to be equal bit for bit; with them, the losses where nothing is normalised agree to 1e-4.
"""

import csv
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

ROOT = Path(__file__).parents[1]
BEFORE = "5d40d925c4a06e34c759d589c9b5ce8894609ecb"
STEPS = 20
EXPERIMENTS = ("dense", "conv", "denoise", "bn-none", "bn-layer", "bn-manual")
PLAIN = ("dense", "conv", "denoise", "bn-none")
TOLERANCE = 1e-4
GIT, TAR = shutil.which("git") or "git", shutil.which("tar") or "tar"


def run(source: Path, out: Path, without: str) -> None:
    """Run the six experiments of the sources in a folder."""
    environment = os.environ | {
        "PYTHONPATH": str(source / "src"), "OMP_NUM_THREADS": "1", "HOURGLASS_WITHOUT": without,
    }  # fmt: skip
    command = [sys.executable, "-m", "hourglass", "run"]
    shown = subprocess.run(
        [*command, "--help"], env=environment, cwd=source, capture_output=True, text=True, check=True
    )
    length = "--steps" if "--steps" in shown.stdout else "--batches"
    words = [*EXPERIMENTS, length, STEPS, "--seed", 0, "--precision", "float32", "--device", "cpu", "--out", out, "-q"]
    subprocess.run([*command, *map(str, words)], env=environment, cwd=source, check=True)


def folder_of(out: Path, name: str) -> Path:
    """Folder of the one run of an experiment."""
    [found] = {
        path.parent for path in out.rglob("model.safetensors") if path.relative_to(out).parts[0] == f"{name}-classic"
    }
    return found


def losses(folder: Path) -> np.ndarray:
    """Loss of each step."""
    [path] = folder.rglob("history.csv")
    with path.open() as file:
        return np.array([float(row["loss"]) for row in csv.DictReader(file)])


def main(commit: str) -> int:
    """Compare; 1 where something differs."""
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        before = Path(folder) / "before"
        before.mkdir()
        archive = subprocess.run([GIT, "archive", commit], cwd=ROOT, capture_output=True, check=True).stdout
        subprocess.run([TAR, "x", "-C", before], input=archive, check=True)
        for without in ("all", ""):
            outs = [Path(folder) / f"{place.name or 'now'}-{without or 'tricks'}" for place in (before, ROOT)]
            for place, out in zip((before, ROOT), outs, strict=True):
                run(place, out, without)
            for name in EXPERIMENTS if without else PLAIN:
                one, two = (folder_of(out, name) for out in outs)
                if without:
                    a, b = load_file(one / "model.safetensors"), load_file(two / "model.safetensors")
                    same = a.keys() == b.keys() and all(a[key].tobytes() == b[key].tobytes() for key in a)
                    print(f"{name}: weights {'equal' if same else 'DIFFER'}")
                else:
                    difference = float(np.abs(losses(one) - losses(two)).max())
                    same = difference <= TOLERANCE
                    print(f"{name}: losses with faster forms differ by {difference:.2g}")
                wrong += not same
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else BEFORE))
