"""norm-shootout: every normalisation in the classifier, the autoencoder and the denoiser."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from hourglass.data import Dataset
from hourglass.experiments import find
from hourglass.experiments.captions import listed
from hourglass.experiments.evaluation import protocol_of
from hourglass.lab.cells import Cell, Measures
from hourglass.lab.drawing import MEANS
from hourglass.lab.networks import accuracy, examples, train
from hourglass.lab.statistics import Difference, compare, compare_with_best, paired, summarise
from hourglass.lab.study import Row, Rows, Study, Table
from hourglass.lab.words import Geometric, named, sorted_out
from hourglass.metrics import METRICS
from hourglass.nn import NORMS
from hourglass.plots import LINES, lines_of_norms, new_figure
from hourglass.training import LOSSES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# For each network: its measure, the digits shown, and whether a larger value is better.
NETWORKS = {
    "classifier": ("test accuracy", 3, True),
    **{
        network: (METRICS[name].title, METRICS[name].digits, METRICS[name].higher_is_better)
        for network, name in (("autoencoder", "bce"), ("denoiser", "psnr_db"))
    },
}
# The classifier's rate is chosen for each normalisation; the autoencoders use the rate of their recipe.
RATES = {"classifier": (0.01, 0.001), "autoencoder": (0.01,), "denoiser": (0.012,)}
_CLASSIFIER = {"norm_momentum": 0.1, "schedule": "one-cycle"}
_SCORES = {"autoencoder": ("conv", "test_bce"), "denoiser": ("denoise", "test_psnr_db")}


def plan(seeds: int, n_steps: int) -> list[Cell]:
    """Return every normalisation in every network with every rate, the slowest first."""
    return [
        {"network": network, "norm": norm, "learning_rate": rate, "seed": seed, "n_steps": n_steps}
        for seed in range(seeds)
        for network in ("denoiser", "classifier", "autoencoder")
        for norm in NORMS
        for rate in RATES[network]
    ]


def measure(cell: Cell, data: Dataset) -> Measures:
    """Return the quality on held-out and on test images, images a second, and memory kept for an image's gradient."""
    part, held_out = data.split_validation()
    if cell["network"] == "classifier":
        estimator: Any = train({**_CLASSIFIER, **cell}, data, report_every=cell["n_steps"])
        qualities = [accuracy(estimator.network_, examples(images)) for images in (held_out, data.test)]
    else:
        name, score = _SCORES[cell["network"]]
        estimator = find(name).configure(
            "fast", n_steps=cell["n_steps"], norm=cell["norm"], learning_rate=cell["learning_rate"], device="cpu",
            report_every=cell["n_steps"],
        )  # fmt: skip
        estimator.set_params(random_state=cell["seed"]).fit(part.images)
        # Only the classifier has several rates, between which held-out images choose.
        qualities = [0.0, protocol_of(estimator).score(estimator, data)[score]]
    images, _ = examples(part, 64)
    return {
        "held_out": round(qualities[0], 5),
        "quality": round(qualities[1], 5),
        "images_per_second": round(estimator.images_per_second_ or 0.0, 1),
        "kilobytes_per_image": round(kept_bytes(estimator.network_, images, estimator.loss) / len(images) / 1e3, 1),
    }


def kept_bytes(network: Any, images: Tensor, loss: str) -> int:
    """Memory in bytes of the tensors that a training step keeps for its gradient, without the weights."""
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
    """Learning rate with the best mean quality on held-out images; test images are not used."""

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
    """Say for each network which normalisations help, and whether one of them is the best."""
    return " ".join(_of_network(rows, network) for network in NETWORKS)


def _of_network(rows: Rows, network: str) -> str:
    what, digits, more = NETWORKS[network]
    found = {norm: _values(rows, network, norm, "quality") for norm in NORMS}
    against_none = compare({norm: (values, found["none"]) for norm, values in found.items() if norm != "none"})
    above, below, undecided = sorted_out(against_none)
    better, worse = (above, below) if more else (below, above)
    plain = f"without normalisation, {summarise(found['none']):.{digits}f}"
    if len(found["none"]) < 2:
        said = f"The {network}'s {what} is {plain}; a single seed does not decide what normalisation changes."
    elif better or worse:
        parts = [f"{word} {listed(names)}" for names, word in ((better, "better with"), (worse, "worse with")) if names]
        rest = f"; no difference can be distinguished with {listed(undecided)}" if undecided else ""
        said = f"The {network}'s {what} is {' and '.join(parts)} than {plain}{rest}."
    else:
        said = f"The {network}'s {what} {plain}, cannot be distinguished from that with any normalisation."
    best, behind = compare_with_best(found, larger_is_better=more)
    return (
        f"{said} The {'highest' if more else 'lowest'} mean is that of {named(best)}, "
        f"{summarise(found[best]):.{digits}f}{_rank(behind, len(found['none']))}.{_speed(rows, network, best)}"
    )


def _rank(behind: Mapping[str, Difference], seeds: int) -> str:
    """Which of the others are significantly behind the best mean, and from which it cannot be distinguished."""
    above, below, undecided = sorted_out(behind)
    inferior = [named(name) for name in behind if name in above or name in below]
    if seeds < 2:
        return "; a single seed does not decide whether it is the best"
    if not undecided:
        return "; all others are significantly worse"
    if not inferior:
        return f"; {seeds} seeds do not decide which of the {len(behind) + 1} is the best"
    return (
        f"; with these seeds it cannot be distinguished from {listed(map(named, undecided))}. Significantly worse "
        f"{'is' if len(inferior) == 1 else 'are'} {listed(inferior)}"
    )


def _speed(rows: Rows, network: str, norm: str) -> str:
    speed = relative_speed(rows, network, norm)
    if norm == "none" or speed is None:
        return ""
    return f" Training with {norm} runs at {speed} times the speed of training without."


def relative_speed(rows: Rows, network: str, norm: str) -> Geometric | None:
    """Speed as a multiple of that without normalisation; None where trainings were too short to know it."""
    ours, plain = (_values(rows, network, each, "images_per_second") for each in (norm, "none"))
    if not all(ours) or not all(plain):
        return None
    return Geometric(speed / other for speed, other in zip(ours, plain, strict=True))


def table(rows: Rows) -> Table:
    """Quality, its difference from no normalisation, speed and memory, one normalisation of one network a line."""
    lines = [
        [
            "network", "normalisation", "learning rate", "quality", "quality minus that of none", "images/s",
            "speed, as a multiple of that of none", "kB of memory per image",
        ]
    ]  # fmt: skip
    for network, (what, digits, _) in NETWORKS.items():
        plain = _values(rows, network, "none", "quality")
        for norm in NORMS:
            quality, speeds, memory = (
                _values(rows, network, norm, name) for name in ("quality", "images_per_second", "kilobytes_per_image")
            )
            lines.append(
                [
                    f"{network}, {what}",
                    norm,
                    f"{best_rate(rows, network, norm):g}",
                    f"{summarise(quality):.{digits}f}",
                    "–" if norm == "none" else f"{paired(quality, plain):.{digits}f}",
                    f"{summarise(speeds).mean:.0f}",
                    "–" if norm == "none" else str(relative_speed(rows, network, norm) or "–"),
                    f"{summarise(memory).mean:.0f}",
                ]
            )
    return lines


def figures(rows: Rows) -> "dict[str, Figure]":
    """Quality against speed, one network an axis."""
    with new_figure((10.5, 3.8), 1, 3) as (figure, axes):
        for axis, (network, (what, _, more)) in zip(axes[0], NETWORKS.items(), strict=True):
            for i, norm in zip(lines_of_norms(list(NORMS)), NORMS, strict=True):
                quality = summarise(_values(rows, network, norm, "quality"))
                rate = summarise(_values(rows, network, norm, "images_per_second"))
                style = {name: LINES[i % len(LINES)][name] for name in ("color", "marker")}
                error = None if quality.count < 2 else [[quality.mean - quality.low], [quality.high - quality.mean]]
                axis.errorbar(
                    rate.mean, quality.mean, yerr=error, label=norm, linestyle="", markersize=6, capsize=2, **style
                )
            axis.set_title(network, fontsize=9)
            axis.set_xlabel("images a second in training, one core")
            axis.set_ylabel(f"{what}, {'higher' if more else 'lower'} is better")
            axis.set_xlim(left=0)
        handles, labels = axes[0][0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), title=MEANS)
    return {"quality": figure}


STUDY = Study(
    name="norm-shootout",
    title="Every normalisation in three networks",
    question="What does each normalisation do for a classifier, an autoencoder and a denoiser, and what does it cost?",
    setting="The 20-layer classifier, the convolutional autoencoder and the denoiser (noise 0.5) are normalised before "
    "every ReLU, and trained with one-cycle schedules and momentum 0.1 for {n_steps} steps with batches of 64, "
    "with {seeds} seeds. "
    "The classifier's learning rate is 0.01 or 0.001, whichever is better on held-out images. On its feature maps of "
    "one pixel and in its dense layer `instance` is the same as `layer`. Comparisons are paired t-tests. Comparisons "
    "with the network without normalisation are corrected for their number (Holm). Comparisons with the best mean are "
    "corrected for the number of all pairs, because the same numbers determine which mean is the best. Speeds are "
    "measured in processes of one thread each; as many of these run at once as the machine has cores. Speeds are "
    "compared by the geometric mean of their ratios. Memory is the size of the tensors that are kept for the gradient.",
    source="Wu and He, ECCV 2018, and the papers that the normalisations are from.",
    n_steps=300,
    seeds=3,
    plan=plan,
    measure=measure,
    answer=answer,
    table=table,
    figures=figures,
)
