"""Sentences about runs, made from the parameters of their training."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from hourglass.estimators import NetworkEstimator
from hourglass.nn.norms import has_moving_statistics

LENGTH = ("n_steps", "epochs", "batch_size")
"""Parameters from which :func:`length` makes its words."""
# Share of their starting value at which moving statistics are considered to be those of the data.
FORGOTTEN = 0.01

CAPTIONS = {
    "reconstructions": "Each column is one of the first test images: what the network was given, and its output.",
    "codes": "The same images, as they were given to the network, above their codes, the numbers from which the "
    "decoder makes its output.",
    "curve": "Loss of the training batches in training mode, averaged from one report to the next, and loss in "
    "inference mode of the images that the legend names. No test image is used to choose anything.",
    "curves": "Loss and accuracy in inference mode: of the batch that was trained on last, and of the validation "
    "images, which are held out of the training images.",
    "checkerboards": "Networks with this layout that differ in how their decoders enlarge an image; they were trained "
    "only for this figure, for the number of steps in its title. A transposed 3×3 convolution of stride 2 "
    "(transposed) sums one, two or four contributions into a pixel, depending on its place. This draws a checkerboard "
    "before any training, and still early in it. All pixels are treated alike by resizing before the convolution "
    "(nearest), and by a kernel as large as the stride (transposed-2x2).",
}
"""Caption of each figure, as far as it is the same for every run."""


def caption(figure: str, estimator: NetworkEstimator | None) -> str:
    """Write the caption of a figure of a run.

    Parameters
    ----------
    figure : str
        Name of the figure.
    estimator : NetworkEstimator or None
        Estimator of the run, for what is particular to it: noise, and the training curve; None where it is not known.

    Returns
    -------
    str
        Caption; empty where the figure's name is unknown.
    """
    said = CAPTIONS.get(figure, "")
    if figure == "reconstructions" and estimator is not None and estimator.get_params().get("noise") is not None:
        return f"{said} The last row shows the clean images."
    if figure not in ("curve", "curves") or estimator is None:
        return said
    return " ".join(filter(None, [said, estimator.curve_note]))


def baseline_note(methods: Mapping[str, Mapping[str, float]]) -> str:
    """Say how the methods without a network were configured.

    Parameters
    ----------
    methods : mapping of str to mapping of str to float
        Scores by method.

    Returns
    -------
    str
        Sentences; empty where none of these methods is among them.
    """
    said = ["PCA keeps at most as many components as the code has numbers."] if "pca" in methods else []
    if any("strength" in scores for scores in methods.values()):
        said.append("The strength of each denoiser was chosen on at most 200 noisy training images.")
    return " ".join(said)


def length(parameters: Mapping[str, Any]) -> str:
    """Say how long a run was trained.

    Parameters
    ----------
    parameters : mapping of str to Any
        Parameters of the run: ``batch_size``, and ``n_steps`` or ``epochs``, whichever decided the length.

    Returns
    -------
    str
        Words, such as ``"800 steps with batches of 64"``.
    """
    if "n_steps" in parameters:
        return f"{parameters['n_steps']:,} steps with batches of {parameters['batch_size']}"
    if "epochs" in parameters:
        return f"{parameters['epochs']:g} epochs in batches of {parameters['batch_size']}"
    return f"batches of {parameters['batch_size']}"


def comparison_caption(how: str, networks: Mapping[str, NetworkEstimator]) -> str:
    """Write the caption of the figure that compares classifiers.

    Parameters
    ----------
    how : str
        How all of them were trained: recipe, data and length.
    networks : mapping of str to NetworkEstimator
        Unfitted estimators with the parameters of the runs, by their names in the legend.

    Returns
    -------
    str
        Sentences about the networks, their training and, where there are any, their moving statistics.
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
    """Count the steps after which at most a hundredth of the moving statistics is their starting value.

    The formula is log 0.01 / log (1 - momentum), rounded up.

    Parameters
    ----------
    momentum : float
        Share of the batch's statistics that a step adds, in [0, 1].

    Returns
    -------
    float
        Number of steps; infinity for a momentum of 0.
    """
    if momentum <= 0:
        return math.inf
    return 1 if momentum >= 1 else math.ceil(math.log(FORGOTTEN) / math.log1p(-momentum))


def listed(words: Iterable[object]) -> str:
    """Join words into an enumeration.

    Parameters
    ----------
    words : iterable of object
        Words, or objects that are converted to text, to join.

    Returns
    -------
    str
        Such as ``"a, b and c"``.
    """
    texts = [str(word) for word in words]
    return " and ".join(filter(None, [", ".join(texts[:-1]), *texts[-1:]]))
