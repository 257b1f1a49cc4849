"""Measures what docs/compression.md says: bytes against quality, of the codes of networks and of image formats.

Usage: python tools/measure_compression.py FOLDER [PART ...]

FOLDER contains `mnist`, `photos`, from which networks learn, and `kodak24`, on which they are measured. Nothing is
copied from there. The parts are digits, photographs and figures, by default all: half an hour on two cores. Writes
docs/results/compression.json, and the figures beside it.
"""

import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import skimage.data
import torch
from numpy.typing import NDArray
from sklearn.decomposition import PCA

import hourglass as hg
from hourglass import plots
from hourglass.experiments import CodeQuantiser, Compression, compress_codes, compress_files
from hourglass.experiments.environment import environment
from hourglass.nn import ConvCodec
from photos.crops import read_photographs

OUT = Path(__file__).parents[1] / "docs" / "results" / "compression.json"
# Bits of a quantised number.
BITS = (8, 4)
QUALITIES: dict[str, tuple[int | None, ...]] = {
    "JPEG": (5, 10, 20, 35, 50, 75, 90),
    "WebP": (0, 10, 30, 50, 75, 90),
    "PNG": (None,),
}
# Test digits, and how many of them share a file or a stream.
DIGITS, TOGETHER = 1000, 100
# Training images whose codes give the quantiser its ranges.
SEEN = 2000
NETWORKS = ("dense", "conv", "conv-better")
COMPONENTS = 128
# Feature maps of the code, one network of photographs for each; and what these networks have in common.
MAPS = (8, 24)
CROP = 64
# Side of the blocks of PCA: the distance between neighbours in the networks' codes.
BLOCK = 8
PHOTOGRAPHS: dict[str, Any] = {
    "channels": (64, 96, 128),
    "downsample": "strided",
    "upsample": "nearest",
    "loss": "mse",
    "batch_size": 16,
    "learning_rate": 0.001,
    "schedule": "one-cycle",
}
STEPS = 8000

# Bytes that the figure's axes name.
TICKS = {"digits": (25, 50, 100, 200, 400), "photographs": (5_000, 20_000, 80_000, 320_000)}

Stack = NDArray[np.float32]


class WholePhotographs:
    """Coder of photographs of one size, with the weights of a network that learnt from crops.

    Parameters
    ----------
    model : hourglass.ConvAutoencoder
        Fitted to crops.
    image_shape : tuple of int
        Height, width and channels of the photographs.
    """

    def __init__(self, model: Any, image_shape: tuple[int, ...]) -> None:
        height, width, channels = image_shape
        self.network = ConvCodec(
            (height, width, channels),
            model.channels,
            model.upsample,
            downsample=model.downsample,
            code_channels=model.code_channels,
        )
        self.network.load_state_dict(model.network_.state_dict())

    @torch.inference_mode()
    def transform(self, X: Stack) -> Stack:
        """Encode flat photographs, one at a time."""
        images = torch.from_numpy(X).unflatten(1, self.network.image_shape).permute(0, 3, 1, 2)
        return np.concatenate([self.network.encode(image[None]).numpy() for image in images])

    @torch.inference_mode()
    def inverse_transform(self, X: Stack) -> Stack:
        """Decode codes, one at a time."""
        decoded = (self.network.decode(code[None]).permute(0, 2, 3, 1) for code in torch.from_numpy(X))
        return np.concatenate([image.numpy() for image in decoded])


class BlockPCA:
    """Coder of photographs of one size by PCA of their blocks of 8 × 8 pixels: a linear code of as many numbers.

    Parameters
    ----------
    crops : ndarray of shape (n, h, w, c), float32
        Images to fit PCA on.
    components : int
        Numbers of a block's code.
    image_shape : tuple of int
        Height, width and channels of the photographs.
    """

    def __init__(self, crops: Stack, components: int, image_shape: tuple[int, ...]) -> None:
        self.image_shape = image_shape
        self.pca = PCA(components, random_state=0).fit(self._blocks(crops).reshape(-1, BLOCK * BLOCK * crops.shape[3]))

    def transform(self, X: Stack) -> Stack:
        """Encode flat photographs; those whose sides are no multiples of 8 are lengthened by their last pixels."""
        images = X.reshape(-1, *self.image_shape)
        blocks = self._blocks(images)
        codes: Stack = self.pca.transform(blocks.reshape(-1, blocks.shape[-1])).astype(np.float32)
        return codes.reshape(len(images), -1)

    def inverse_transform(self, X: Stack) -> Stack:
        """Decode codes."""
        height, width, channels = self.image_shape
        rows, columns = -(-height // BLOCK), -(-width // BLOCK)
        blocks = self.pca.inverse_transform(X.reshape(-1, self.pca.n_components_))
        tiles = blocks.reshape(len(X), rows, columns, BLOCK, BLOCK, channels).swapaxes(2, 3)
        images: Stack = tiles.reshape(len(X), rows * BLOCK, columns * BLOCK, channels)[:, :height, :width]
        return images

    @staticmethod
    def _blocks(images: Stack) -> Stack:
        """Flat blocks (n, rows, columns, pixels)."""
        n, height, width, channels = images.shape
        padded = np.pad(images, ((0, 0), (0, -height % BLOCK), (0, -width % BLOCK), (0, 0)), mode="edge")
        rows, columns = padded.shape[1] // BLOCK, padded.shape[2] // BLOCK
        tiles = padded.reshape(n, rows, BLOCK, columns, BLOCK, channels).swapaxes(2, 3)
        return tiles.reshape(n, rows, columns, BLOCK * BLOCK * channels)


def row(setting: int | None, found: Compression) -> dict[str, float | None]:
    """Sizes and quality at one setting, the quality of a format or the bits of a number, as JSON holds them."""
    exact = np.isinf(found.psnr_db)
    if exact and round(found.ssim, 4) < 1:
        raise ValueError("some images are decoded exactly and others are not, so that their mean PSNR is infinite")
    return {
        "setting": setting,
        "bytes": round(found.bytes_per_image, 1),
        "payload": round(found.payload_per_image, 1),
        "psnr_db": None if exact else round(found.psnr_db, 2),
        "ssim": round(found.ssim, 4),
    }


def of_formats(images: Stack, count: int = 1) -> dict[str, list[dict[str, float | None]]]:
    """Measure the image formats, with ``count`` images in a file."""
    return {
        name: [row(quality, compress_files(images, name, quality, images_per_file=count)) for quality in qualities]
        for name, qualities in QUALITIES.items()
    }


def digits(folder: Path) -> dict[str, Any]:
    """Test digits, each by itself and many together."""
    data = hg.load("mnist", folder / "mnist")
    train, images = data.train.images, data.test.images[:DIGITS]
    coders: dict[str, Any] = {
        f"`{name}`": hg.EXPERIMENTS[name].configure("fast").set_params(random_state=0).fit(train) for name in NETWORKS
    }
    machine = environment(coders["`dense`"])
    coders[f"PCA, {COMPONENTS} components"] = PCA(COMPONENTS, random_state=0).fit(train.reshape(len(train), -1))
    found: dict[str, Any] = {"images": DIGITS, "images_together": TOGETHER, "environment": machine}
    for where, count in (("alone", 1), ("together", TOGETHER)):
        found[where] = of_formats(images, count)
        for name, coder in coders.items():
            codes = coder.transform(train[:SEEN].reshape(SEEN, -1))
            found[where][name] = [
                row(bits, compress_codes(coder, images, CodeQuantiser.fit(codes, bits), images_per_stream=count))
                for bits in BITS
            ]
            print(where, name, found[where][name], flush=True)
    return found


def photographs(folder: Path) -> dict[str, Any]:
    """Photographs, with networks that learnt from others."""
    clean = read_photographs(folder / "kodak24")
    images = np.stack([as_pixels(image) for image in clean.values()])
    seen = crops(folder / "photos")
    found: dict[str, Any] = {"images": len(images), "pixels": images[0, ..., 0].size, "methods": of_formats(images)}
    found["training"] = PHOTOGRAPHS | {"n_steps": STEPS, "files": len(seen)}
    shown = as_pixels(skimage.data.coffee())
    for maps in MAPS:
        model = learn(folder / "photos", maps, STEPS)
        found["environment"] = environment(model)
        shapes = (seen.shape[1:], images.shape[1:])
        coders: dict[str, list[Any]] = {
            f"code of {maps} maps": [WholePhotographs(model, shape) for shape in shapes],
            f"PCA, {maps} components": [BlockPCA(seen, maps, shape) for shape in shapes],
        }
        for name, (of_crops, of_images) in coders.items():
            codes = of_crops.transform(seen.reshape(len(seen), -1))
            quantisers = [CodeQuantiser.fit(codes, bits, maps=maps) for bits in BITS]
            found["methods"][name] = [row(each.bits, compress_codes(of_images, images, each)) for each in quantisers]
            print(name, found["methods"][name], flush=True)
            if name.startswith("code") and maps == MAPS[0]:
                coder = WholePhotographs(model, shown.shape)
                figure_of_images(shown, compress_codes(coder, shown[None], quantisers[-1]))
    return found


def learn(folder: Path, maps: int, steps: int) -> Any:
    """Train a network on crops of photographs, whose code has a number of maps."""
    with tempfile.TemporaryDirectory() as temporary:
        return hg.train_on_images(
            folder,
            Path(temporary) / "model",
            network="conv",
            crop=CROP,
            colour="rgb",
            n_steps=steps,
            parameters=PHOTOGRAPHS | {"code_channels": maps, "report_every": 500},
            verbose=1,
            say=print,
        )


def crops(folder: Path) -> Stack:
    """Cut the middle out of every photograph."""
    found = []
    for image in read_photographs(folder).values():
        top, left = ((side - CROP) // 2 for side in image.shape[:2])
        found.append(as_pixels(image[top : top + CROP, left : left + CROP]))
    return np.stack(found)


def as_pixels(image: NDArray[np.uint8]) -> Stack:
    """Bytes as float32 in [0, 1]."""
    return image.astype(np.float32) / np.float32(255)


def figure_of_images(image: Stack, coded: Compression) -> None:
    """Draw a part of a photograph: as it is, decoded from a code, and from files of about the code's size."""
    shown = {"original": (image.size, image), "code": (coded.bytes_per_image, coded.decoded[0])}
    for name in ("JPEG", "WebP"):
        files = [compress_files(image[None], name, quality) for quality in range(96)]
        nearest = min(files, key=lambda file: abs(file.bytes_per_image - coded.bytes_per_image))
        shown[name] = (nearest.bytes_per_image, nearest.decoded[0])
    window = slice(90, 250), slice(200, 390)
    columns: dict[str, Any] = {f"{name}, {size / 1000:.1f} kB": part[window] for name, (size, part) in shown.items()}
    plots.save_figure(plots.side_by_side(columns), OUT.with_name("compression-coffee.png"))


def figures() -> None:
    """Draw quality against size: of digits alone, without headers and together, and of photographs."""
    document = json.loads(OUT.read_text(encoding="utf-8"))
    alone, together = document["digits"]["alone"], document["digits"]["together"]
    views: list[tuple[str, str, dict[str, Any]]] = [
        ("one digit in a file", "bytes", alone),
        ("the same, without headers", "payload", alone),
        (f"{TOGETHER} digits in a file", "bytes", together),
        ("photographs", "bytes", document["photographs"]["methods"]),
    ]
    with plots.new_figure((11, 5.8), 2, len(views)) as (figure, axes):
        for (title, size, methods), column in zip(views, axes.T, strict=True):
            ticks = TICKS["photographs" if title == "photographs" else "digits"]
            for axis, measure in zip(column, ("psnr_db", "ssim"), strict=True):
                draw(axis, methods, size, measure)
                axis.set_xscale("log")
                axis.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
                axis.minorticks_off()
            column[0].set_title(title)
            column[1].set_xlabel("bytes an image")
        for axis, label in zip(axes[:, 0], ("PSNR (dB)", "SSIM"), strict=True):
            axis.set_ylabel(label)
        legends: Any = (("outside lower left", 0, "digits"), ("outside lower right", -1, "photographs"))
        for place, column, title in legends:
            handles, names = axes[0, column].get_legend_handles_labels()
            figure.legend(handles, names, loc=place, ncols=4, title=title, fontsize=7)
    plots.save_figure(figure, OUT.with_name("compression.png"))


def draw(axis: Any, methods: dict[str, Any], size: str, measure: str) -> None:
    """Draw one measure of quality against one measure of size; a lossless format is a vertical line."""
    for i, (name, rows) in enumerate(methods.items()):
        style = plots.line_style(i, len(rows))
        if rows[0]["psnr_db"] is None:
            axis.axvline(rows[0][size], label=name, color=style["color"], linestyle=":")
            continue
        axis.plot([each[size] for each in rows], [each[measure] for each in rows], label=name.replace("`", ""), **style)


PARTS: dict[str, Callable[[Path], dict[str, Any]]] = {"digits": digits, "photographs": photographs}


def main(words: Sequence[str]) -> None:
    """Measure the parts that are named, by default all, and put them in place of what was there."""
    folder, *wanted = words
    document = json.loads(OUT.read_text(encoding="utf-8")) if OUT.exists() else {}
    for name in wanted or [*PARTS, "figures"]:
        if name == "figures":
            figures()
            continue
        document[name] = PARTS[name](Path(folder))
        OUT.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
