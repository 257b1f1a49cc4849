"""Makes the models `photo` and `photo-grey` of the package from trained weights, each with its model card.

Usage: python tools/pack_photos.py [NAME=WEIGHTS ...]

WEIGHTS is a file that tools/train_photos.py wrote; without it the weights in the package stay, and the card is written
anew. tools/photos/figures.json has the course of the training, and docs/results/photographs.json the quality.
"""

import json
import statistics
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

import hourglass as hg
from hourglass.persistence import write_model
from photos.methods import BLIND, TOLD
from train_photos import WIDTHS

TARGET = Path(__file__).parents[1] / "src" / "hourglass" / "pretrained"
FIGURES = json.loads((Path(__file__).parent / "photos" / "figures.json").read_text(encoding="utf-8"))
QUALITY = json.loads((TARGET.parents[2] / "docs" / "results" / "photographs.json").read_text(encoding="utf-8"))

CARD = """# {title}

Removes noise from {kind} images of any size. `hourglass denoise` and `hourglass.denoise` use it for {kind} images when
no model is named.

- **Network**: `hourglass.nn.RestorationNet`, a U-Net that works at a half, a quarter and an eighth of the resolution,
  with {widths} feature maps, respectively; {weights:,} weights, {megabytes:.1f} MB in float16. The level of the
  noise can be given; otherwise the network estimates it from the image.
- **Data**: 187 photographs, most of them landscapes (public domain, from Debian's package endless-sky-data), 22 larger
  ones of animals, buildings, plants and machines (CC0, budgie-backgrounds); eight of scikit-image's images that are
  free of rights; 64 drawn images with text, shapes and fine patterns.
- **Recipe**: `tools/train_photos.py`. Noise: 45% normal of level 0 to 55/255; 15% the same, clipped and rounded to 8
  bits, with no noise on a fifth of them; 13% photon noise with normal read noise; 17% camera noise after demosaicing
  and JPEG; 10% JPEG of quality 40 to 95. For half of the images the network is given the level.
  {steps:,} steps of 128 crops of 64 × 64 pixels, or of 32 of 128 × 128 in the last 40%; mean absolute error, Adam, one
  cycle with a peak rate of 0.001, average of the weights. {minutes} minutes on one {card}, together with the
  other model.
- **Licence**: Apache-2.0, as the package.
- **Not good at**: text, line drawings and pixel art under strong noise, whose edges it blurs; noise with lines or
  patches, such as banding and hot pixels; damage other than noise. What it restores is plausible and need not be true:
  do not base measurements on detail that only the restored image shows.

PSNR in dB, mean over the images. The noise is normal and is not clipped; the output is clipped. None of the images was
trained on.

| {images} | σ = 15/255 | σ = 25/255 | σ = 50/255 |
| --- | --- | --- | --- |
| level told | {told} |
| level unknown | {blind} |
"""

MODELS: dict[str, dict[str, Any]] = {
    "photo": {
        "channels": 3,
        "title": "Denoiser of colour photographs",
        "kind": "colour",
        "images": "24 crops of Kodak's photographs",
        "set": "kodak24",
    },
    "photo-grey": {
        "channels": 1,
        "title": "Denoiser of grey photographs",
        "kind": "grey",
        "images": "Set12",
        "set": "set12",
    },
}


def main() -> None:
    """Write the models whose weights are given, and both cards."""
    given = dict(word.split("=", 1) for word in sys.argv[1:])
    for name, about in MODELS.items():
        folder = TARGET / name
        weights = load_file(given.get(name, folder / "model.safetensors"))
        pack(weights, about, FIGURES[name], folder)


def pack(weights: dict[str, torch.Tensor], about: dict[str, Any], figures: dict[str, Any], folder: Path) -> None:
    """Write the folder of one model."""
    widths = WIDTHS[about["channels"]]
    model = hg.ImageDenoiser(widths=widths, batch_size=128, n_steps=figures["steps"], precision="auto", random_state=0)
    model.restore_state({
        "image_shape": (64, 64, about["channels"]),
        "steps": figures["steps"],
        "precision": "bfloat16",
        "train_seconds": 60 * figures["minutes"],
    })  # fmt: skip
    half = {key: weight.to(torch.float16) for key, weight in weights.items()}
    notes = {
        "purpose": f"Denoises photographs and other images in {about['kind']}, of any size.",
        "speed": figures["speed"],
        "images": "photographs in the public domain or under CC0, and drawn images; see README.md",
    }
    metadata = {
        "estimator": type(model).__name__,
        "hourglass": hg.__version__,
        "parameters": {key: value for key, value in model.get_params().items() if not key.startswith("checkpoint_")},
        "fitted": model.fitted_state(),
        "notes": notes,
    }
    write_model(folder, half, metadata)
    size = (folder / "model.safetensors").stat().st_size
    measured = QUALITY["papers"][about["set"]]
    rows = {
        key: " | ".join(f"{statistics.fmean(levels[method].values()):.2f}" for levels in measured.values())
        for key, method in (("told", TOLD), ("blind", BLIND))
    }
    card = CARD.format(
        **about | rows,
        widths=", ".join(map(str, widths)),
        weights=sum(weight.numel() for weight in weights.values()),
        megabytes=size / 1e6,
        steps=figures["steps"],
        minutes=figures["minutes"],
        card=figures["card"],
    )
    (folder / "README.md").write_text(card, encoding="utf-8")


if __name__ == "__main__":
    main()
