"""Measures what docs/denoising.md says: denoisers of digits that learn without clean images.

Usage: python tools/measure_denoising.py FOLDER_OF_MNIST

Three minutes on two cores. Writes docs/results/denoising.json.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

import hourglass as hg
from hourglass import metrics
from hourglass.denoising import TotalVariation, corrupt, undo_clipping
from hourglass.experiments.baselines import TEST_NOISE_SEED, TOTAL_VARIATION_WEIGHTS
from hourglass.renames import FORMAT

OUT = Path(__file__).parents[1] / "docs" / "results"
LEVEL = 0.5
TESTED = 2000


def main() -> None:
    """Measure and write it down."""
    document = {"digits": digits(Path(sys.argv[1]))}
    (OUT / "denoising.json").write_text(json.dumps({"format": FORMAT} | document, indent=2) + "\n", encoding="utf-8")


def digits(folder: Path) -> dict[str, Any]:
    """Self-supervision beside total variation, raw and with the clipping undone, on the same noise."""
    data = hg.load("mnist", folder)
    train = corrupt(data.train.images, LEVEL, 1)
    clean = data.test.images[:TESTED]
    noisy = corrupt(clean, LEVEL, TEST_NOISE_SEED)
    parameters: dict[str, Any] = {"channels": (32, 64, 64), "loss": "bce", "n_steps": 2000, "learning_rate": 0.006}
    ae = hg.ConvAutoencoder(self_supervised=True, random_state=0, verbose=1, report_every=500, **parameters).fit(train)

    # The strength is chosen on clean training images: an advantage over the network, which sees none.
    known, corrupted = data.train.images[:200], corrupt(data.train.images[:200], LEVEL, 2)

    found: dict[str, Any] = {"parameters": parameters, "seconds": ae.train_seconds_, "images": TESTED}
    found["noisy"] = float(metrics.psnr(clean, noisy))
    for name, finish in (("raw", lambda x: np.clip(x, 0, 1)), ("undone", lambda x: undo_clipping(x, LEVEL))):
        weights = (*TOTAL_VARIATION_WEIGHTS, 0.8, 1.0)
        best = max(weights, key=lambda weight: float(metrics.psnr(known, finish(TotalVariation(weight)(corrupted)))))
        found[name] = {
            "self_supervised": float(metrics.psnr(clean, finish(ae.reconstruct(noisy)))),
            "total_variation": float(metrics.psnr(clean, finish(TotalVariation(best)(noisy)))),
            "weight": best,
        }
        print(name, found[name], flush=True)
    return found


if __name__ == "__main__":
    main()
