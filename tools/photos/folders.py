"""How much longer a folder of files takes than the network alone on the same images in memory."""

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import skimage.data
from PIL import Image

from hourglass.imagefiles import ImageRestorer, plan, process
from hourglass.models import load_named
from hourglass.runtime.hardware import give_memory_back

FILES = 100
ROUNDS = 20
SIDE = 512
FORMATS: dict[str, dict[str, Any]] = {"JPEG": {"quality": 92}, "PNG": {}}


def overheads() -> dict[str, list[float]]:
    """Measure both in turn, in twenty rounds.

    Returns
    -------
    dict of str to list of float
        By format, the ratio of the two times in each round.
    """
    give_memory_back()
    restorer = ImageRestorer(load_named("photo", device="cpu"))
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        for style, options in FORMATS.items():
            folder, out = Path(temporary) / style, Path(temporary) / "out"
            write_files(folder, style, options)
            for number in range(ROUNDS):
                images = [
                    np.asarray(Image.open(path), np.float32) / np.float32(255) for path in sorted(folder.iterdir())
                ]
                started = time.perf_counter()
                for image in images:
                    restorer.change(image)
                alone = time.perf_counter() - started
                todo = plan([folder], out / f"{style}{number}")
                started = time.perf_counter()
                errors = [outcome.error for outcome in process(todo.pairs, restorer.restore)]
                taken = time.perf_counter() - started
                if any(errors):
                    raise SystemExit(f"denoise-bench: {next(filter(None, errors))}")
                found.setdefault(style, []).append(round(taken / alone, 3))
                print(f"  {style} {taken:.1f} s, {taken / alone:.3f} times the network alone", flush=True)
    return found


def write_files(folder: Path, style: str, options: dict[str, Any]) -> None:
    """Write parts of a photograph with noise of 20/255."""
    folder.mkdir()
    random = np.random.default_rng(0)
    photograph = np.tile(skimage.data.coffee(), (2, 2, 1))
    for number in range(FILES):
        top, left = random.integers(0, 200), random.integers(0, 300)
        part = photograph[top : top + SIDE, left : left + SIDE]
        noisy = np.clip(np.rint(part + random.normal(0, 20, part.shape)), 0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(folder / f"{number:03}.{style.lower()}", style, **options)
