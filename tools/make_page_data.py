"""Train the networks of the page, and write them and its digits to the package.

Usage: python tools/make_page_data.py FOLDER, which has MNIST's IDX files in mnist/. It takes a minute.
"""

import argparse
import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import skimage.data
from numpy.typing import NDArray
from PIL import Image
from sklearn.manifold import TSNE
from torch import nn

import hourglass as hg
from hourglass.models import load_pretrained

PLACE = Path(__file__).parents[1] / "src" / "hourglass" / "playground" / "static" / "data"
RUNS = Path(__file__).parents[1] / "docs" / "results" / "lab" / "bn-fair" / "cells.jsonl"
TESTED = 1000
Numbers = NDArray[np.floating[Any]]


def main() -> None:
    """Write the files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    full = hg.load("mnist", folder / "mnist")
    # The sample comes from MNIST's training images, from which the networks learn. What is shown as test images, they
    # have not seen.
    train, tested = hg.load("sample").train, full.test[:TESTED]
    digits = []
    for part in (train, tested):
        digits += [as_bytes(part.images), np.asarray(part.labels, np.uint8)]
    write("digits.bin", b"".join(each.tobytes() for each in digits))

    write("recorded.bin", json.dumps(recorded_runs()).encode())
    models = {
        name: hg.EXPERIMENTS[name].configure("fast").set_params(random_state=0).fit(full.train.images)
        for name in ("dense", "conv")
    }
    shape = [28, 28, 1]
    calls = {
        "dense": ("denseAutoencoder", [shape]),
        "conv": ("convAutoencoder", [shape, [16, 8, 8]]),
        "digits": ("convAutoencoder", [shape, [16, 24, 32], {"skip": True}]),
    }
    catalogue: dict[str, dict[str, Any]] = {}
    parts: list[Numbers] = []
    for name, (network, options) in calls.items():
        model = models[name] if name in models else load_pretrained(name)
        add(catalogue, parts, name, weights_of(model.network_), network=network, options=options)
    for name, model in models.items():
        places = TSNE(random_state=0).fit_transform(model.transform(tested.images))
        add(catalogue, parts, f"{name} places", (places - places.min(0)) / np.ptp(places, axis=0))
    write("photograph.bin", restoration_weights(load_pretrained("photo").network_).astype("<f2").tobytes())
    example = Image.fromarray(skimage.data.coffee()[:, 44:556])
    example.save(PLACE / "example.jpg", quality=90)
    write("networks.bin", json.dumps(catalogue).encode())
    write("weights.bin", np.concatenate([part.reshape(-1) for part in parts]).astype("<f2").tobytes())


def recorded_runs() -> dict[str, Any]:
    """The lab's runs of the 20-layer networks: accuracies with the stored moments and with those of each batch."""
    arms: dict[str, dict[str, list[list[float]]]] = {}
    steps: list[int] = []
    for line in RUNS.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if row["cell"]["kernel_init"] == "glorot":
            curves = arms.setdefault(row["cell"]["norm"], {"inference": [], "batch": []})
            curves["inference"].append([round(value, 3) for value in row["measures"]["inference"]])
            curves["batch"].append([round(value, 3) for value in row["measures"]["by_batch"]])
            steps = row["measures"]["steps"]
    return {"steps": steps, "arms": arms}


def add(catalogue: dict[str, dict[str, Any]], parts: list[Numbers], name: str, values: Numbers, **more: Any) -> None:
    """Append numbers to the parts, and note where they are."""
    catalogue[name] = {**more, "start": sum(part.size for part in parts), "count": values.size}
    parts.append(values)


def as_bytes(images: Numbers) -> NDArray[np.uint8]:
    """Pixels in [0, 1] as bytes."""
    return np.rint(images * 255).astype(np.uint8)


def weights_of(network: nn.Module) -> Numbers:
    """All weights in the order in which images pass them, and in the page's layout: (h, w, in, out) and (in, out)."""
    layers: list[nn.Module] = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    joins = list(getattr(network, "joins", []))
    if joins:  # each stage of the decoder is followed by its join
        stages = [stage.get_submodule("conv") for stage in network.get_submodule("decoder").children()]
        encoder = list(network.get_submodule("encoder").children())
        layers = [*encoder, *(layer for pair in zip(stages, joins, strict=True) for layer in pair)]
        layers.append(network.get_submodule("output"))
    values = []
    for layer in layers:
        weight = layer.get_parameter("weight").detach()
        values += [weight.permute(2, 3, 1, 0) if weight.dim() == 4 else weight.T, layer.get_parameter("bias").detach()]
    return np.concatenate([value.cpu().numpy().reshape(-1) for value in values])


def restoration_weights(network: nn.Module) -> Numbers:
    """All weights of a ``RestorationNet`` in order: (h, w, in, out), and (in, h, w, out) where it enlarges."""
    values = []
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            order = (2, 3, 1, 0) if isinstance(layer, nn.Conv2d) else (0, 2, 3, 1)
            values += [layer.weight.detach().permute(order), layer.get_parameter("bias").detach()]
    return np.concatenate([value.cpu().numpy().reshape(-1) for value in values])


def write(name: str, content: bytes) -> None:
    """Write a compressed file, the same bytes for the same content."""
    PLACE.mkdir(parents=True, exist_ok=True)
    (PLACE / name).write_bytes(gzip.compress(content, 9, mtime=0))
    print(f"{name}: {len(content):,} bytes, {(PLACE / name).stat().st_size:,} compressed")


if __name__ == "__main__":
    main()
