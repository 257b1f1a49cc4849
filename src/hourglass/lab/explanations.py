"""Explanations by name: a normalisation on a small batch, or an autoencoder on one image."""

import difflib

from hourglass.data import load
from hourglass.denoising import corrupt
from hourglass.errors import OptionError
from hourglass.estimators import Autoencoder
from hourglass.experiments import EXPERIMENTS
from hourglass.lab.explained import NORMS_EXPLAINED, explain_norm
from hourglass.lab.followed import follow


def explain(name: str) -> str:
    """Write what a normalisation or an autoencoder computes, number by number, as text.

    Parameters
    ----------
    name : str
        ``"bn-layer"`` or ``"bn-manual"``: the forward and backward pass of batch normalisation on a batch of four, and
        the case of feature maps. Or an experiment with an autoencoder, such as ``"dense"`` or ``"conv"``: the first
        test digit of the sample data, layer by layer, through the untrained network with the weights of seed 0.

    Returns
    -------
    str
        Lines of text.

    Raises
    ------
    OptionError
        When there is no explanation of this name.
    """
    if name in NORMS_EXPLAINED:
        return explain_norm(name)
    networks = [each for each, experiment in EXPERIMENTS.items() if experiment.estimator.task == Autoencoder.task]
    if name not in networks:
        known = [*networks, *NORMS_EXPLAINED]
        near = difflib.get_close_matches(name, known, n=2)
        raise OptionError(
            f"{name!r} is not explained; "
            + (f"did you mean {' or '.join(near)}?" if near else f"choose one of {', '.join(known)}")
        )
    estimator, test = EXPERIMENTS[name].configure(), load("sample").test
    image, corruption = test.images[0], estimator.effective_corruption
    given = None if corruption is None else corrupt(image[None], corruption, random_state=0)[0]
    label = "" if test.labels is None else f" ({test.labels[0]})"
    noise = "" if given is None else f" with {corruption}"
    about = (
        f"{name}: {estimator.title}. The first test digit of the sample data{label}{noise} on its way "
        "through the untrained network. Its weights are drawn with seed 0, so that it knows nothing of digits yet."
    )
    return follow(estimator, image, given=given, about=about)
