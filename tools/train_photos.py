"""Train the denoisers of photographs: python tools/train_photos.py FOLDER --channels 3 --out OUT.

FOLDER contains photographs as JPEG or PNG files. To continue a training that was interrupted, repeat the command. The
models were trained on several machines, so the length is given in minutes, and the learning rate depends on the share
of this time that has passed. OUT/weights.safetensors contains the average of the weights over the steps; the option
--begin-from starts a training with the weights of such a file.
"""

import argparse
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import skimage
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

from hourglass.nn.restoration import RestorationNet
from photos.crops import LUMINANCE, Crops, read_photographs
from photos.drawn import drawn_images
from photos.noise import add_noise

WIDTHS = {1: (48, 96, 128), 3: (64, 96, 128)}
# Of scikit-image's own images, those in the public domain or CC0 on which nothing is tested or shown.
SCIKIT_IMAGES = (
    "astronaut.png", "brick.png", "grass.png", "gravel.png", "hubble_deep_field.jpg", "motorcycle_left.png",
    "motorcycle_right.png", "rocket.jpg",
)  # fmt: skip
SHARES = {"large": 0.50, "small": 0.22, "scikit-image": 0.13, "drawn": 0.15}
LARGE = 1_000_000  # pixels
HELD_OUT = 24  # every so many photographs
N_DRAWN = 64
PHASES = ((0.6, 64), (1.0, 128))  # until which share of the time, and the side of the crops
WARM_UP = 0.02  # share of the time in which the rate rises
AVERAGING = 0.999  # share of the old average at each step
LARGEST_GRADIENT = 1.0  # norm above which a gradient is scaled down


class Training:
    """A network, its average, its optimiser, and how far they are.

    Parameters
    ----------
    channels : {1, 3}
        Grey or colour.
    peak_rate : float
        Highest learning rate.
    device : str
        ``"cpu"`` or ``"cuda"``.
    """

    def __init__(self, channels: int, peak_rate: float, device: str) -> None:
        self.device, self.peak_rate = device, peak_rate
        self.network = RestorationNet(channels, WIDTHS[channels]).to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # not in torch's stubs
        self.average = [p.detach().clone() for p in self.network.parameters()]
        on_gpu = device == "cuda"
        self.rate = torch.tensor(0.0, device=device)
        self.optimiser = torch.optim.Adam(
            self.network.parameters(), lr=self.rate, betas=(0.9, 0.99), fused=True, capturable=on_gpu
        )
        self.seconds, self.steps = 0.0, 0
        self.loss = torch.zeros((), device=device)

    def step(self, crops: Crops, count: int, side: int) -> None:
        """Draw a batch and its noise, and take a step."""
        clean = crops.draw(count, side)
        noisy, told = add_noise(clean)
        noisy = noisy.contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device, torch.bfloat16):
            restored = self.network(noisy, told)
        loss = (restored.float() - clean).abs().mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), LARGEST_GRADIENT)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=False)
        with torch.no_grad():
            torch._foreach_lerp_(self.average, [p.detach() for p in self.network.parameters()], 1 - AVERAGING)
            self.loss.lerp_(loss.detach(), 0.01)

    def set_rate(self, progress: float) -> None:
        """Set the learning rate: a rise, then half a cosine down to a thousandth of the peak."""
        rise = min(1.0, progress / WARM_UP)
        fall = 0.5 * (1 + math.cos(math.pi * max(0.0, (progress - WARM_UP) / (1 - WARM_UP))))
        self.rate.fill_(self.peak_rate * rise * max(fall, 1e-3))

    def averaged(self) -> dict[str, Tensor]:
        """Return the averaged weights by name, on the CPU."""
        names = dict(self.network.named_parameters())
        return {name: a.detach().float().cpu().contiguous() for name, a in zip(names, self.average, strict=True)}

    def save(self, out: Path) -> None:
        """Save everything that is needed to go on, and the averaged weights."""
        state = {"network": self.network.state_dict(), "average": self.average, "seconds": self.seconds}
        state |= {"optimiser": self.optimiser.state_dict()["state"], "steps": self.steps, "loss": self.loss}
        torch.save(state, out / "state.tmp")
        (out / "state.tmp").replace(out / "state.pt")
        save_file(self.averaged(), out / "weights.tmp")
        (out / "weights.tmp").replace(out / "weights.safetensors")

    def load(self, path: Path) -> None:
        """Go on from what ``save`` wrote."""
        state = torch.load(path, map_location=self.device, weights_only=True)
        self.network.load_state_dict(state["network"])
        whole = self.optimiser.state_dict()
        self.optimiser.load_state_dict(whole | {"state": state["optimiser"]})
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate
        for mine, saved in zip(self.average, state["average"], strict=True):
            mine.copy_(saved)
        self.seconds, self.steps = state["seconds"], state["steps"]
        self.loss.copy_(state["loss"])

    def begin_from(self, path: Path) -> None:
        """Take the weights of a file as the start."""
        self.network.load_state_dict(load_file(path))
        for mine, weight in zip(self.average, self.network.parameters(), strict=True):
            mine.copy_(weight.detach())


def train(training: Training, crops: Crops, options: argparse.Namespace, watch: Callable[[], dict[str, float]]) -> None:
    """Take steps until the time has passed."""
    budget = 60 * options.minutes
    step, side = None, 0
    started, saved = time.perf_counter() - training.seconds, time.perf_counter()
    while training.seconds < budget:
        progress = training.seconds / budget
        wanted = next(s for until, s in PHASES if progress < until)
        if step is None or wanted != side:
            side = wanted
            step = _prepared(training, crops, max(1, options.batch * 64 * 64 // side**2), side)
        training.set_rate(progress)
        for _ in range(options.group):
            step()
        if training.device == "cuda":
            torch.cuda.synchronize()
        training.steps += options.group
        training.seconds = time.perf_counter() - started
        if time.perf_counter() - saved > 60 * options.save_every or training.seconds >= budget:
            pause = time.perf_counter()
            training.save(options.out)
            line = {"minutes": training.seconds / 60, "steps": training.steps, "loss": training.loss.item()} | watch()
            with (options.out / "log.jsonl").open("a") as log:
                log.write(json.dumps(line) + "\n")
            print(options.out.name, json.dumps(line), flush=True)
            saved = time.perf_counter()
            started += saved - pause  # saving and measuring are no part of the length
    training.save(options.out)


def _prepared(training: Training, crops: Crops, count: int, side: int) -> Callable[[], None]:
    """One step as a function; on a GPU as one captured graph, since launching its kernels takes longer than they do."""
    if training.device != "cuda":
        return lambda: training.step(crops, count, side)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(4):
            training.step(crops, count, side)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        training.step(crops, count, side)
    return graph.replay


def watcher(training: Training, images: list[Any], channels: int) -> Callable[[], dict[str, float]]:
    """Measure the averaged weights on photographs held out, under noise of 25/255: PSNR in dB, blind and told."""
    rng = np.random.default_rng(0)
    pairs = []
    for image in images:
        clean = image[:256, :256].astype(np.float32) / 255
        if channels == 1:
            clean = clean @ np.array(LUMINANCE, dtype=np.float32)[:, None]
        noisy = clean + rng.normal(0, 25 / 255, clean.shape).astype(np.float32)
        pairs.append(tuple(torch.from_numpy(a).permute(2, 0, 1)[None].to(training.device) for a in (clean, noisy)))

    @torch.no_grad()
    def measure() -> dict[str, float]:
        network = RestorationNet(channels, WIDTHS[channels]).to(training.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # not in torch's stubs
        network.load_state_dict(training.averaged())
        scores: dict[str, list[float]] = {"blind": [], "told": []}
        for clean, noisy in pairs:
            for name, level in (("blind", -1.0), ("told", 25 / 255)):
                restored = network(noisy, torch.tensor([level], device=training.device)).clamp(0, 1)
                scores[name].append(-10 * math.log10((restored - clean).square().mean().item()))
        return {name: float(np.mean(numbers)) for name, numbers in scores.items()}

    return measure


def main() -> None:
    """Read the command line, the images and, where there is one, the state; train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--channels", type=int, choices=(1, 3), required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=360)
    parser.add_argument(
        "--batch", type=int, default=32, help="crops of 64 x 64 pixels, or as many pixels (default: 32)"
    )
    parser.add_argument("--peak-rate", type=float, default=1e-3)
    parser.add_argument("--begin-from", type=Path)
    parser.add_argument("--group", type=int, default=10, help="steps between two changes of the rate (default: 10)")
    parser.add_argument("--save-every", type=float, default=5, help="minutes (default: 5)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.backends.cudnn.benchmark = True
    options.out.mkdir(parents=True, exist_ok=True)

    photographs = list(read_photographs(options.folder).values())
    held_out, kept = photographs[::HELD_OUT], [p for i, p in enumerate(photographs) if i % HELD_OUT]
    data = Path(skimage.__file__).parent / "data"
    of_scikit = [np.asarray(Image.open(data / name).convert("RGB")) for name in SCIKIT_IMAGES if (data / name).exists()]
    groups: dict[str, Any] = {
        "large": [p for p in kept if p[..., 0].size > LARGE],
        "small": [p for p in kept if p[..., 0].size <= LARGE],
        "scikit-image": of_scikit,
        "drawn": drawn_images(N_DRAWN, options.seed),
    }
    print({name: len(images) for name, images in groups.items()}, "held out:", len(held_out), device, flush=True)
    shares = [(SHARES[name], images) for name, images in groups.items() if images]
    crops = Crops(shares, options.channels, PHASES[-1][1], device)
    training = Training(options.channels, options.peak_rate, device)
    torch.manual_seed(options.seed)
    if (options.out / "state.pt").exists():
        training.load(options.out / "state.pt")
        torch.manual_seed(options.seed + training.steps)  # other crops than at the start
    elif options.begin_from:
        training.begin_from(options.begin_from)
    train(training, crops, options, watcher(training, held_out, options.channels))


if __name__ == "__main__":
    main()
