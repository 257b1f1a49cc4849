"""Sentences about runs, made from the parameters that they were trained with."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from hourglass.estimators import NetworkEstimator
from hourglass.nn.norms import has_moving_statistics

LENGTH = ("n_steps", "epochs", "batch_size")
"""Parameters that :func:`length` puts into words."""
# Share of their start that moving statistics may still hold when they count as those of the data.
FORGOTTEN = 0.01

CAPTIONS = {
    "reconstructions": "Each column is one of the first test images.",
    "codes": "The same images, as they were given to the network, above their codes, the numbers from which the "
    "decoder makes its output.",
    "curve": "Loss of the training batches, averaged from one report to the next, and of the images that the legend "
    "names. No test image is used to choose anything.",
    "curves": "Loss and accuracy in inference mode: of the batch that was trained on last, and of the validation "
    "images, which are held out of the training images.",
    "checkerboards": "A transposed 3×3 convolution of stride 2 sums one, two or four contributions into a pixel, "
    "depending on its place. This draws a checkerboard before any training, and still early in it. Resizing before the "
    "convolution treats all pixels alike.",
}
"""Caption of each figure, as far as it is the same for every run."""


def caption(figure: str, estimator: NetworkEstimator | None) -> str:
    """Caption of a figure of a run, by the figure's name; empty for a name that is unknown."""
    said = CAPTIONS.get(figure, "")
    if figure not in ("curve", "curves") or estimator is None:
        return said
    return " ".join(filter(None, [said, estimator.curve_note]))


def baseline_note(methods: Mapping[str, Mapping[str, float]]) -> str:
    """How the methods without a network were set."""
    said = ["PCA keeps at most as many components as the code has numbers."] if "pca" in methods else []
    if any("strength" in scores for scores in methods.values()):
        said.append("The strength of each denoiser was chosen on at most 200 noisy training images.")
    return " ".join(said)


def length(parameters: Mapping[str, Any]) -> str:
    """How long a run was trained, in the unit of the parameter that ruled."""
    if "n_steps" in parameters:
        return f"{parameters['n_steps']:,} steps with batches of {parameters['batch_size']}"
    if "epochs" in parameters:
        return f"{parameters['epochs']:g} epochs in batches of {parameters['batch_size']}"
    return f"batches of {parameters['batch_size']}"


def comparison_caption(how: str, networks: Mapping[str, NetworkEstimator]) -> str:
    """Caption of the figure that compares classifiers.

    Parameters
    ----------
    how : str
        How all of them were trained: recipe, data and length.
    networks : mapping of str to NetworkEstimator
        Name in the legend to an unfitted estimator with the parameters that the run had.
    """
    parameters = {name: estimator.get_params() for name, estimator in networks.items()}
    starts = {name: each.get("kernel_init") for name, each in parameters.items()}
    described = [
        f"{name}: {estimator.title}" + (f", kernel_init={starts[name]}" if len({*starts.values()}) > 1 else "")
        for name, estimator in networks.items()
    ]
    said = f"{'; '.join(described)}. Trained with {how}. Loss and accuracy are measured in inference mode."
    moving = [each for each in parameters.values() if has_moving_statistics(each.get("norm", "none"))]
    if not moving:
        return said
    said += " There batch normalisation uses its moving statistics, which start at a mean of 0 and a variance of 1."
    for momentum in dict.fromkeys(each["norm_momentum"] for each in moving):
        count = steps_to_forget(momentum)
        if math.isinf(count):
            said += f" With momentum {momentum:g} they stay as they start."
            continue
        steps = "step" if count == 1 else "steps"
        said += f" With momentum {momentum:g}, at most {FORGOTTEN:.0%} of this start is left after {count} {steps}."
    return f"{said} As long as more of it is left, a network that trains well can still guess in inference mode."


def steps_to_forget(momentum: float) -> float:
    """Steps after which at most a hundredth of moving statistics is their start: log 0.01 / log (1 - momentum)."""
    if momentum <= 0:
        return math.inf
    return 1 if momentum >= 1 else math.ceil(math.log(FORGOTTEN) / math.log1p(-momentum))


def listed(words: Sequence[str]) -> str:
    """Words as an enumeration: a, b and c."""
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))
