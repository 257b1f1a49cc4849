"""norm-shootout: every normalisation in the classifier, the autoencoder and the denoiser."""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from hourglass.data import Dataset
from hourglass.experiments import find
from hourglass.experiments.evaluation import score_autoencoder
from hourglass.lab.cells import Cell, Measures
from hourglass.lab.networks import accuracy, examples, train
from hourglass.lab.statistics import paired, summarise
from hourglass.lab.study import Row, Rows, Study, Table
from hourglass.nn import NORMS
from hourglass.plots import LINES, new_figure
from hourglass.training import LOSSES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Network: what is measured of it, its digits, whether more is better.
NETWORKS = {
    "classifier": ("test accuracy", 3, True),
    "autoencoder": ("BCE (nats a pixel)", 4, False),
    "denoiser": ("PSNR (dB)", 2, True),
}
# The classifier's is chosen for each normalisation; the autoencoders have that of their recipe.
RATES = {"classifier": (0.01, 0.001), "autoencoder": (0.01,), "denoiser": (0.012,)}
_CLASSIFIER = {"norm_momentum": 0.1, "schedule": "one-cycle"}
_SCORES = {"autoencoder": ("conv", "test_bce"), "denoiser": ("denoise", "test_psnr_db")}


def plan(seeds: int, updates: int) -> list[Cell]:
    """Every normalisation in every network with every rate, the slowest first."""
    return [
        {"network": network, "norm": norm, "learning_rate": rate, "seed": seed, "updates": updates}
        for seed in range(seeds)
        for network in ("denoiser", "classifier", "autoencoder")
        for norm in NORMS
        for rate in RATES[network]
    ]


def measure(cell: Cell, data: Dataset) -> Measures:
    """Quality on the held-out and the test images, images a second, and memory kept for the gradient of an image."""
    part, held_out = data.split_validation()
    if cell["network"] == "classifier":
        estimator: Any = train({**_CLASSIFIER, **cell}, data, report_every=cell["updates"])
        qualities = [accuracy(estimator.network_, examples(images)) for images in (held_out, data.test)]
    else:
        name, score = _SCORES[cell["network"]]
        estimator = find(name).configure(
            "fast", batches=cell["updates"], norm=cell["norm"], learning_rate=cell["learning_rate"], device="cpu",
            report_every=cell["updates"],
        )  # fmt: skip
        estimator.set_params(random_state=cell["seed"]).fit(part.images)
        # Only the classifier has rates to choose from by held-out images.
        qualities = [0.0, score_autoencoder(estimator, data)[score]]
    images, _ = examples(part, 64)
    return {
        "held_out": round(qualities[0], 5),
        "quality": round(qualities[1], 5),
        "images_per_second": round(estimator.images_per_second_ or 0.0, 1),
        "kilobytes_per_image": round(kept_bytes(estimator.network_, images, estimator.loss) / len(images) / 1e3, 1),
    }


def kept_bytes(network: Any, images: Tensor, loss: str) -> int:
    """Memory of the tensors that a training step keeps for its gradient, weights left out."""
    own = {p.untyped_storage().data_ptr() for p in network.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    network.train()
    try:
        with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            output = network(images)
            LOSSES[loss](output, torch.zeros_like(output))
    finally:
        network.eval()
    return sum(kept.values())


def best_rate(rows: Rows, network: str, norm: str) -> float:
    """The rate whose mean quality on held-out images is best; the test images have no say in it."""

    def held_out(rate: float) -> float:
        return float(np.mean([row["measures"]["held_out"] for row in _rows(rows, network, norm, rate)]))

    rates = RATES[network]
    return max(rates, key=held_out) if len(rates) > 1 else rates[0]


def _rows(rows: Rows, network: str, norm: str, rate: float) -> list[Row]:
    wanted = network, norm, rate
    found = [r for r in rows if tuple(r["cell"][name] for name in ("network", "norm", "learning_rate")) == wanted]
    return sorted(found, key=lambda row: row["cell"]["seed"])


def _values(rows: Rows, network: str, norm: str, name: str) -> list[float]:
    return [row["measures"][name] for row in _rows(rows, network, norm, best_rate(rows, network, norm))]


def answer(rows: Rows) -> str:
    sentences = []
    for network, (what, digits, more) in NETWORKS.items():
        found = {norm: _values(rows, network, norm, "quality") for norm in NORMS}
        best = (max if more else min)(found, key=lambda norm: float(np.mean(found[norm])))
        behind = {norm: paired(found[norm], found[best]) for norm in NORMS if norm != best}
        level = [norm for norm, difference in behind.items() if difference.low <= 0 <= difference.high]
        speeds = {norm: np.array(_values(rows, network, norm, "images_per_second")) for norm in NORMS}
        said = (
            f"The {network}'s {what}: {summarise(found['none']):.{digits}f} without normalisation, best with {best}, "
            f"{summarise(found[best]):.{digits}f}"
        )
        if level:
            said += f", level with it (the interval of the paired difference holds 0) {', '.join(level)}"
        if speeds["none"].all():  # of a few updates no rate is known
            said += f"; {best} trains at {summarise(speeds[best] / speeds['none']):.2f} of the speed without"
        sentences.append(f"{said}.")
    return " ".join(sentences)


def table(rows: Rows) -> Table:
    lines = [["network", "normalisation", "learning rate", "quality", "images/s", "kB kept an image"]]
    for network, (what, digits, _) in NETWORKS.items():
        for norm in NORMS:
            quality, rate, memory = (
                summarise(_values(rows, network, norm, name))
                for name in ("quality", "images_per_second", "kilobytes_per_image")
            )
            rate_chosen = f"{best_rate(rows, network, norm):g}"
            lines.append(
                [
                    f"{network}, {what}",
                    norm,
                    rate_chosen,
                    f"{quality:.{digits}f}",
                    f"{rate:.0f}",
                    f"{memory.center:.0f}",
                ]
            )
    return lines


def figures(rows: Rows) -> "dict[str, Figure]":
    with new_figure((10.5, 3.8), 1, 3) as (figure, axes):
        for axis, (network, (what, _, more)) in zip(axes[0], NETWORKS.items(), strict=True):
            for i, norm in enumerate(NORMS):
                quality = summarise(_values(rows, network, norm, "quality"))
                rate = summarise(_values(rows, network, norm, "images_per_second"))
                style = {name: LINES[i][name] for name in ("color", "marker")}
                error = None if quality.count < 2 else [[quality.center - quality.low], [quality.high - quality.center]]
                axis.errorbar(
                    rate.center, quality.center, yerr=error, label=norm, linestyle="", markersize=6, capsize=2, **style
                )
            axis.set_title(network, fontsize=9)
            axis.set_xlabel("images a second in training, one core")
            axis.set_ylabel(f"{what}, {'more' if more else 'less'} is better")
            axis.set_xlim(left=0)
        handles, labels = axes[0][0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), title="mean, 95% interval")
    return {"quality": figure}


STUDY = Study(
    name="norm-shootout",
    title="Every normalisation in three networks",
    question="What does each normalisation do for a classifier, an autoencoder and a denoiser, and what does it cost?",
    setting="The 20-layer classifier, the convolutional autoencoder and the denoiser (noise 0.5), normalised before "
    "every ReLU; one-cycle schedules, momentum 0.1, {updates} batches of 64, {seeds} seeds. The "
    "classifier's learning rate, 0.01 or 0.001, is the one with which held-out images go better; on its one-pixel maps "
    "and in its dense layer `instance` is `layernorm`. `layer` and `manual` are "
    "computed by the same faster form. Speeds are of processes of "
    "one thread, as many at once as cores; memory is that of the tensors kept for the gradient.",
    source="Wu and He, ECCV 2018, and the papers that the normalisations are from.",
    updates=300,
    seeds=3,
    plan=plan,
    measure=measure,
    answer=answer,
    table=table,
    figures=figures,
)
