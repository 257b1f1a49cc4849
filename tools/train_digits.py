"""Trains the denoiser of digits that comes in the package, measures it, and writes its model card.

Usage: python tools/train_digits.py FOLDER_OF_MNIST [TARGET]
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import hourglass as hg
from hourglass import metrics
from hourglass.experiments.baselines import add_noise, best_denoisers

TARGET = Path(__file__).parents[1] / "src" / "hourglass" / "pretrained" / "digits"
LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
TESTED = 2000
SEED = 0

CARD = """# Denoiser of digits

A convolutional autoencoder with skip connections for small images of handwritten digits under normal noise that was
clipped to [0, 1], white on black or black on white. It is what `hourglass denoise` uses where no model is named.

- **Made by** `tools/train_digits.py`, hourglass {version}, PyTorch {torch}, seed {seed}; {updates:,} updates of
  {batch} images in {minutes:.0f} minutes on two cores.
- **Data**: the 60,000 training images of MNIST (Y. LeCun, C. Cortes and C. Burges, CC BY-SA 3.0), half of them
  inverted.
- **Recipe**: `{recipe}`
- **Size**: {weights:,} weights, {kilobytes:.0f} kB.
- **Use**: images about 28 pixels high. Larger writing should be made smaller first; it knows nothing but digits, and
  will make strokes of whatever it is shown.

PSNR in dB on the first {tested:,} test images, white on black, and for total variation and non-local means the
best of several strengths on {chosen} training images, at each level by itself. The network is told no level.

| noise | noisy | this | black on white | total variation | non-local means |
| --- | --- | --- | --- | --- | --- |
{rows}
"""


def main() -> None:
    """Train, measure, write."""
    folder = Path(sys.argv[1])
    target = Path(sys.argv[2]) if len(sys.argv) > 2 else TARGET
    data = hg.load("mnist", folder)
    images = data.train.images.copy()
    images[1::2] = 1 - images[1::2]
    parameters: dict[str, Any] = {
        "channels": (16, 24, 32),
        "skip": True,
        "noise": (0.05, 0.8),
        "loss": "bce",
        "batches": 6000,
        "batch_size": 64,
        "learning_rate": 0.006,
    }
    ae = hg.ConvAutoencoder(**parameters, random_state=SEED, verbose=1, report_every=500).fit(images)
    ae.set_params(verbose=0, report_every=None)
    hg.save(ae, target)

    clean = data.test.images[:TESTED]
    rows = []
    for level in LEVELS:
        noisy, dark = add_noise(clean, level, 1), add_noise(1 - clean, level, 1)
        others = best_denoisers(data.train.images, clean, noisy, level)
        numbers = [
            metrics.psnr(clean, noisy),
            metrics.psnr(clean, ae.reconstruct(noisy)),
            metrics.psnr(1 - clean, ae.reconstruct(dark)),
            *(scores["test_psnr_db"] for scores in others.values()),
        ]
        rows.append(f"| {level} | " + " | ".join(f"{float(number):.2f}" for number in numbers) + " |")
        print(rows[-1], flush=True)
    weights: list[NDArray[np.float32]] = [p.detach().numpy() for p in ae.network_.parameters()]
    card = CARD.format(
        version=hg.__version__,
        torch=torch.__version__.split("+")[0],
        seed=SEED,
        updates=ae.n_updates_,
        batch=ae.batch_size,
        minutes=ae.train_seconds_ / 60,
        recipe=", ".join(f"{name}={value!r}" for name, value in parameters.items()),
        weights=sum(w.size for w in weights),
        kilobytes=(target / "model.safetensors").stat().st_size / 1000,
        tested=TESTED,
        chosen=200,
        rows="\n".join(rows),
    )
    (target / "README.md").write_text(card, encoding="utf-8")


if __name__ == "__main__":
    main()
