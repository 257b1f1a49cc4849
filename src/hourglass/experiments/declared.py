"""Declarations of the experiments: an unfitted estimator and its recipes for each.

Six are those of the lessons' notebooks. Three more ask the question of one of them again, with what it leaves out.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sklearn.base import clone

from hourglass.estimators import ConvAutoencoder, ConvClassifier, DenseAutoencoder, NetworkEstimator
from hourglass.experiments.evaluation import protocol_of

RECIPES = ("classic", "fast")
"""Names of the recipes.

``classic`` has the schedule of the lessons' notebooks; ``fast`` reaches at least the same quality sooner. Experiments
that the notebooks do not have are trained fully by ``classic``, and for a shorter time by ``fast``.
"""


@dataclass(frozen=True, eq=False)
class Experiment:
    """A question and the estimator that answers it.

    Parameters
    ----------
    name : str
        Name on the command line.
    title : str
        Title of one line for reports.
    question : str
        Question that the experiment answers, in a sentence or two.
    estimator : DenseAutoencoder, ConvAutoencoder or ConvClassifier
        Unfitted estimator with the parameters of the ``classic`` recipe; it is cloned for every run.
    fast : mapping of str to Any, default={}
        Parameters that the ``fast`` recipe changes, by name.
    change : str, default=""
        What differs from the experiment of the notebooks that asks the same, and why it helps, in a sentence or two.
    """

    name: str
    title: str
    question: str
    estimator: NetworkEstimator
    fast: Mapping[str, Any] = field(default_factory=dict)
    change: str = ""

    def configure(self, recipe: str = "classic", **parameters: Any) -> NetworkEstimator:
        """Make the unfitted estimator of a recipe.

        With ``patience``, an autoencoder holds out a tenth of the training images unless ``validation_fraction`` gives
        another share. The test images are used for the final scores alone; nothing is chosen on them.

        Parameters
        ----------
        recipe : {"classic", "fast"}, default="classic"
            Recipe whose parameters the estimator gets.
        **parameters : Any
            Parameters of the estimator that replace the recipe's. ``epochs`` alone also unsets the recipe's
            ``n_steps``.

        Returns
        -------
        NetworkEstimator
            Unfitted estimator.

        Raises
        ------
        ValueError
            When the recipe or a parameter is unknown, a value is out of its range, or the parameter is set in another
            way, as ``random_state`` is by ``seeds``.
        """
        if recipe not in RECIPES:
            raise ValueError(f"recipe {recipe!r} is unknown; choose one of {', '.join(RECIPES)}")
        estimator: NetworkEstimator = clone(self.estimator)
        known = estimator.get_params()
        unknown = [name for name in parameters if name not in known]
        for name, instead in (("random_state", "seeds (--seed)"), ("verbose", "verbose of run (--quiet)")):
            if name in parameters:
                raise ValueError(f"{name} is not set by itself in an experiment; use {instead}")
        if unknown:
            raise ValueError(f"{self.name} has no parameter {unknown[0]!r}; it has {', '.join(known)}")
        if recipe == "fast":
            estimator.set_params(**self.fast)
        if "epochs" in parameters:
            parameters = {"n_steps": None, **parameters}
        estimator.set_params(**parameters)
        estimator.check_parameters()
        protocol_of(estimator).hold_out(estimator, self.name)
        return estimator


_AUTOENCODER: dict[str, Any] = {
    "loss": "bce",
    "epochs": 20,
    "batch_size": 200,
    "learning_rate": 0.001,
    "schedule": "constant",
    "output_bias": "zero",
}
_CLASSIFIER: dict[str, Any] = {
    "depth": 19,
    "width": 4,
    "loss": "bce",
    "schedule": "constant",
    "n_steps": 800,
    "batch_size": 64,
    "learning_rate": 0.002,
    "norm_momentum": 0.01,
    "report_every": 25,
    "validate_every": 100,
}
# The length is counted in steps, since 4,000 images need more passes than 60,000.
_FAST_AUTOENCODER: dict[str, Any] = {"schedule": "one-cycle", "output_bias": "mean", "report_every": 50}
# The same change for all three, so that they can be compared; `norm_momentum` has no effect on the first.
_FAST_CLASSIFIER: dict[str, Any] = {
    "schedule": "linear",
    "learning_rate": 0.02,
    "norm_momentum": 0.1,
    "n_steps": 800,
}
_BETTER: dict[str, Any] = {
    "loss": "bce",
    "epochs": 10,
    "batch_size": 100,
    "learning_rate": 0.005,
    "schedule": "one-cycle",
    "output_bias": "mean",
}

OF_NOTEBOOKS = ("dense", "conv", "denoise", "bn-none", "bn-layer", "bn-manual")
"""Names of the experiments of the lessons' notebooks."""

EXPERIMENTS = {
    experiment.name: experiment
    for experiment in (
        Experiment(
            "dense",
            "Dense autoencoder, 784 → 32 → 784",
            "How much of an image survives when all its pixels must pass through a code of a few numbers?",
            DenseAutoencoder(code_size=32, **_AUTOENCODER),
            _FAST_AUTOENCODER | {"n_steps": 1000, "learning_rate": 0.02},
        ),
        Experiment(
            "conv",
            "Convolutional autoencoder, code 4 × 4 × 8",
            "What does a code gain when it keeps the image's layout, as feature maps that 3 × 3 kernels compute?",
            ConvAutoencoder(channels=(16, 8, 8), **_AUTOENCODER),
            _FAST_AUTOENCODER | {"n_steps": 2200, "batch_size": 64, "learning_rate": 0.01},
        ),
        Experiment(
            "denoise",
            "Denoising autoencoder, noise 0.5, code 4 × 4 × 16",
            "Given noisy images and asked for the clean ones, what does the network restore?",
            ConvAutoencoder(channels=(32, 32, 16), noise=0.5, **(_AUTOENCODER | {"epochs": 100})),
            _FAST_AUTOENCODER | {"n_steps": 2000, "batch_size": 64, "learning_rate": 0.012},
        ),
        Experiment(
            "bn-none",
            "20-layer classifier without normalisation",
            "Does a deep narrow network train when nothing keeps its activations in range?",
            ConvClassifier(norm="none", **_CLASSIFIER),
            _FAST_CLASSIFIER,
        ),
        Experiment(
            "bn-layer",
            "20-layer classifier with PyTorch's batch normalisation",
            "What changes when the network of bn-none is normalised by the framework's layer?",
            ConvClassifier(norm="batch", **_CLASSIFIER),
            _FAST_CLASSIFIER,
        ),
        Experiment(
            "bn-manual",
            "20-layer classifier with batch normalisation written out",
            "Is batch normalisation, written out from batch moments and moving averages, as good as bn-layer's?",
            ConvClassifier(norm="batch-manual", kernel_init="truncated-normal", **_CLASSIFIER),
            _FAST_CLASSIFIER,
        ),
        Experiment(
            "dense-better",
            "Dense autoencoder, 784 → 32 → 784, trained better",
            "How much more does the network of dense keep if nothing but its training changes?",
            DenseAutoencoder(code_size=32, **(_BETTER | {"epochs": 250, "learning_rate": 0.02})),
            {"n_steps": 36_000},
            "Only the training differs from dense: it is longer, at a learning rate that rises and then falls to zero. "
            "The high rate in the middle finds better weights. They settle while it falls; a constant rate would keep "
            "moving them.",
        ),
        Experiment(
            "conv-better",
            "Convolutional autoencoder, code 4 × 4 × 8, wide and strided",
            "Can a convolutional network with the 128 numbers of conv's code keep more than PCA does with 128?",
            ConvAutoencoder(
                channels=(32, 64, 128), code_channels=8, downsample="strided", upsample="transposed-2x2", **_BETTER
            ),
            {"n_steps": 3000},
            "The stages have 32, 64 and 128 feature maps, from which one more convolution computes the 8 maps of the "
            "code. Convolutions with stride 2 halve the image in place of the maximum, and transposed convolutions of "
            "2 × 2 pixels double it in place of repeated pixels. Wide stages can compute a better code of 128 "
            "numbers, and strided convolutions keep the positions of edges, which the maximum loses.",
        ),
        Experiment(
            "denoise-better",
            "Denoising autoencoder, noise 0.5, with skips",
            "What does a denoiser gain if detail need not pass through its code?",
            ConvAutoencoder(
                channels=(16, 32, 64), skip=True, noise=0.5, **(_BETTER | {"epochs": 10, "batch_size": 64})
            ),
            {"n_steps": 4000},
            "Each stage of the decoder also gets the encoder's feature maps of the same size. In this way detail can "
            "pass from the encoder to the decoder without going through the code.",
        ),
    )
}
"""Every experiment by name."""


def find(name: str) -> Experiment:
    """Look up an experiment by its name.

    Parameters
    ----------
    name : str
        Name in ``EXPERIMENTS``.

    Returns
    -------
    Experiment
        The experiment.

    Raises
    ------
    ValueError
        When no experiment has this name.
    """
    if name not in EXPERIMENTS:
        raise ValueError(f"experiment {name!r} is unknown; choose one of {', '.join(EXPERIMENTS)}, or all")
    return EXPERIMENTS[name]
