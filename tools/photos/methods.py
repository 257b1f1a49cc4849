"""The methods that are compared on photographs: this package's models, scikit-image's functions and BM3D."""

import json
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import hourglass as hg
from hourglass.denoising import NoiseLevel, NonLocalMeans, TotalVariation, Wavelet

Pixels = NDArray[np.float32]
# Function of a noisy image (h, w, c) and the level of its noise.
Method = Callable[[Pixels, float], Pixels]

ENVIRONMENT = Path(__file__).parents[2] / "build" / "denoise-bench"
BM3D = "bm3d==4.0.3"
TOLD, BLIND, COMMAND = "this package, level told", "this package, level unknown", "this package, as the command"
BLOCK_MATCHING = "BM3D"


@cache
def model(channels: int, precision: str = "float32") -> Any:
    """The package's model for grey or colour images."""
    found = hg.load_pretrained({1: "photo-grey", 3: "photo"}[channels], device="cpu")
    found.precision_ = precision
    return found


def told(noisy: Pixels, level: float) -> Pixels:
    """Apply the package's model, which is told the level."""
    restored: Pixels = model(noisy.shape[2]).reconstruct(noisy[None], noise_level=level)[0]
    return restored


def blind(noisy: Pixels, level: float) -> Pixels:
    """Apply the package's model, which is not told it."""
    restored: Pixels = model(noisy.shape[2]).reconstruct(noisy[None])[0]
    return restored


def as_the_command(noisy: Pixels, level: float) -> Pixels:
    """Do what `hourglass denoise` does, which finds the level."""
    restored: Pixels = model(noisy.shape[2]).denoise_image(noisy, NoiseLevel())[0]
    return restored


def others(pairs: list[tuple[Pixels, Pixels]], level: float) -> dict[str, Method]:
    """scikit-image's methods, each with the strength that is best on pairs of noisy and clean images."""
    found: dict[str, Method] = {}
    for kind in (NonLocalMeans, TotalVariation, Wavelet):
        candidates: list[Any] = list(kind.candidates(level))
        scores = [
            float(np.mean([psnr(clean, each(noisy[None])[0]) for noisy, clean in pairs]))
            if len(candidates) > 1
            else 0.0
            for each in candidates
        ]
        best = candidates[int(np.argmax(np.array(scores)))]
        found[kind.name] = partial(_apply, best)
    return found


def _apply(denoiser: Any, noisy: Pixels, level: float) -> Pixels:
    return np.asarray(denoiser(noisy[None])[0], np.float32)


def psnr(clean: Pixels, restored: Pixels) -> float:
    """PSNR in dB of an output that is clipped to [0, 1]."""
    return float(hg.metrics.psnr(clean[None], np.clip(restored, 0, 1)[None]))


class BlockMatching:
    """BM3D in a process and an environment of its own; its licence forbids commercial use.

    Attributes
    ----------
    seconds : float
        Time of the last call in the process, without passing on the arrays.
    """

    def __init__(self) -> None:
        python = ENVIRONMENT / "bin" / "python"
        if not python.exists():
            venv.create(ENVIRONMENT, with_pip=True)
            subprocess.run([python, "-m", "pip", "install", "--quiet", BM3D], check=True)
        worker = Path(__file__).with_name("bm3d_worker.py")
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self._process: Any = subprocess.Popen([python, worker], **pipes)
        self.seconds = 0.0

    def __call__(self, noisy: Pixels, level: float) -> Pixels:
        with tempfile.TemporaryDirectory() as folder:
            source, target = f"{folder}/noisy.npy", f"{folder}/restored.npy"
            np.save(source, noisy.astype(np.float64))
            self._process.stdin.write(json.dumps([source, target, level]) + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
            if not answer:
                raise SystemExit("denoise-bench: the process of BM3D ended; its error is above")
            self.seconds = float(answer)
            restored: Pixels = np.load(target).astype(np.float32)
            return restored

    def peak_memory(self) -> float:
        """Largest memory of the process so far, in bytes."""
        return _peak(self._process.pid)

    def close(self) -> None:
        """End the process."""
        self._process.stdin.close()
        self._process.wait()


def once(name: str, path: str, level: float) -> None:
    """Run a method on an image in a file, and print the seconds, and the memory that it took besides, in bytes."""
    noisy = np.load(path)
    methods = {TOLD: told, BLIND: blind, COMMAND: as_the_command}
    method = methods.get(name)
    if method is None:
        kind: Any = next(each for each in (NonLocalMeans, TotalVariation, Wavelet) if each.name == name)
        method = partial(_apply, kind.candidates(level)[len(kind.candidates(level)) // 2])
    method(noisy[:64, :64].copy(), level)  # imports and first uses
    before = _peak()
    started = time.perf_counter()
    method(noisy, level)
    print(json.dumps([time.perf_counter() - started, _peak() - before]))


def _peak(process: int | str = "self") -> float:
    """Largest memory of a process so far, in bytes. `getrusage` also counts what its parent held at its start."""
    status = Path(f"/proc/{process}/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return float(line.split()[1]) * 1024


if __name__ == "__main__":
    torch.set_num_threads(2)
    once(sys.argv[1], sys.argv[2], float(sys.argv[3]))
