"""Trains the denoiser of digits that comes in the package, measures it, and writes its model card.

Usage: python tools/train_digits.py [--card] FOLDER_OF_MNIST [TARGET]
"""

import sys
from pathlib import Path
from typing import Any

import torch

import hourglass as hg
from hourglass import metrics
from hourglass.experiments.baselines import IMAGES_TO_CHOOSE_ON, best_denoisers

TARGET = Path(__file__).parents[1] / "src" / "hourglass" / "pretrained" / "digits"
LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
TESTED = 2000
SEED = 0

CARD = """# Denoiser of digits

A convolutional autoencoder with skip connections, for small images of handwritten digits with Gaussian noise that was
clipped to [0, 1], white on black or black on white: `hourglass denoise --model digits`.

- **Made by** `tools/train_digits.py`, hourglass {version}, PyTorch {torch}, seed {seed}; {n_steps:,} steps of
  {batch} images, about four minutes on two cores.
- **Data**: the 60,000 training images of MNIST (Y. LeCun, C. Cortes and C. Burges, CC BY-SA 3.0), half of them
  inverted.
- **Recipe**: `{recipe}`
- **Size**: {weights:,} weights, {kilobytes:.0f} kB.
- **Use**: images about 28 pixels high. Reduce larger writing to this size first. The model knows nothing but digits,
  and turns anything else into strokes.

PSNR in dB on the first {tested:,} test images, white on black unless a column says otherwise. Total variation
and non-local means use, at each level, the best of several strengths on {chosen} training images. The network is
not given the level.

| noise | noisy | this model | this model, black on white | total variation | non-local means |
| --- | --- | --- | --- | --- | --- |
{rows}
"""


NOTES = {
    "purpose": "Denoises handwritten digits about 28 pixels high, and turns anything else into strokes.",
    "speed": "7,000 digits a second in float32 on two cores of an AMD EPYC.",
    "images": "MNIST's 60,000 training images, half of them inverted",
}
PARAMETERS: dict[str, Any] = {
    "channels": (16, 24, 32),
    "skip": True,
    "noise": (0.05, 0.8),
    "loss": "bce",
    "n_steps": 6000,
    "batch_size": 64,
    "learning_rate": 0.006,
}


def main() -> None:
    """Train, measure, write; with --card measure and write only."""
    words = [word for word in sys.argv[1:] if word != "--card"]
    target = Path(words[1]) if len(words) > 1 else TARGET
    data = hg.load("mnist", words[0])
    if "--card" not in sys.argv:
        train(data, target)
    (target / "README.md").write_text(card(data, target), encoding="utf-8")


def train(data: hg.Dataset, target: Path) -> None:
    """Train on digits of both polarities and save the model."""
    images = data.train.images.copy()
    images[1::2] = 1 - images[1::2]
    ae = hg.ConvAutoencoder(**PARAMETERS, random_state=SEED, verbose=1, report_every=500).fit(images)
    ae.set_params(verbose=0, report_every=None)
    hg.save(ae, target, notes=NOTES, optimiser=False)


def card(data: hg.Dataset, target: Path) -> str:
    """The model card, its figures measured now."""
    ae: Any = hg.load_model(target)
    clean = data.test.images[:TESTED]
    rows = []
    for level in LEVELS:
        noisy, dark = hg.denoising.corrupt(clean, level, 1), hg.denoising.corrupt(1 - clean, level, 1)
        others = best_denoisers(data.train.images, clean, noisy, level)
        numbers = [
            metrics.psnr(clean, noisy),
            metrics.psnr(clean, ae.reconstruct(noisy)),
            metrics.psnr(1 - clean, ae.reconstruct(dark)),
            *(scores["test_psnr_db"] for scores in others.values()),
        ]
        rows.append(f"| {level} | " + " | ".join(f"{float(number):.2f}" for number in numbers) + " |")
        print(rows[-1], flush=True)
    return CARD.format(
        version=hg.__version__,
        torch=torch.__version__.split("+")[0],
        seed=SEED,
        n_steps=ae.n_steps_,
        batch=ae.batch_size,
        recipe=", ".join(f"{name}={value!r}" for name, value in PARAMETERS.items()),
        weights=sum(weight.numel() for weight in ae.network_.parameters()),
        kilobytes=(target / "model.safetensors").stat().st_size / 1000,
        tested=TESTED,
        chosen=IMAGES_TO_CHOOSE_ON,
        rows="\n".join(rows),
    )


if __name__ == "__main__":
    main()
