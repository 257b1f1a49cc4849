"""Interface of the evaluation protocols: training on a data set, scores and figures."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from hourglass.data import Dataset
from hourglass.experiments.baselines import Scores
from hourglass.training import Progress

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class EvaluationProtocol(ABC):
    """Abstract base class of how estimators of one kind are trained on a data set, scored, compared and shown."""

    @abstractmethod
    def hold_out(self, estimator: Any, experiment: str) -> None:
        """Set the images on which an estimator with ``patience`` is validated.

        Parameters
        ----------
        estimator : NetworkEstimator
            Unfitted estimator; its parameters are changed in place.
        experiment : str
            Name of the experiment, for messages.

        Raises
        ------
        ValueError
            When a parameter contradicts the protocol.
        """

    @abstractmethod
    def check(self, data: Dataset, experiment: str) -> None:
        """Check that estimators can be trained and scored on a data set.

        Parameters
        ----------
        data : Dataset
            The data set.
        experiment : str
            Name of the experiment, for messages.

        Raises
        ------
        ValueError
            When they cannot.
        """

    def baselines(self, estimator: Any, data: Dataset, say: Callable[[str], None]) -> dict[str, Scores]:
        """Score the methods without a network.

        Parameters
        ----------
        estimator : NetworkEstimator
            Configured estimator, with which the methods are compared.
        data : Dataset
            Training and test images.
        say : callable
            Function that is called with a line of text before a computation that takes long.

        Returns
        -------
        dict of str to dict of str to float
            Scores by method; empty unless a subclass has methods to compare with.
        """
        return {}

    @abstractmethod
    def train(self, estimator: Any, data: Dataset, progress: Progress) -> None:
        """Fit an estimator, and record the loss of images that it is not trained on.

        Parameters
        ----------
        estimator : NetworkEstimator
            Configured estimator; it is fitted in place.
        data : Dataset
            The data set.
        progress : Progress
            Display of the training.
        """

    @abstractmethod
    def score(self, estimator: Any, data: Dataset) -> Scores:
        """Score a fitted estimator.

        Parameters
        ----------
        estimator : NetworkEstimator
            Fitted estimator.
        data : Dataset
            The data set.

        Returns
        -------
        dict of str to float
            Scores by the names that results use.
        """

    @abstractmethod
    def figures(self, estimator: Any, data: Dataset, experiment: str, seed: int) -> dict[str, "Figure"]:
        """Draw the figures of a fitted estimator.

        Parameters
        ----------
        estimator : NetworkEstimator
            Fitted estimator.
        data : Dataset
            The data set.
        experiment : str
            Name of the experiment, for legends.
        seed : int
            Seed of the run, for trainings that a figure needs.

        Returns
        -------
        dict of str to matplotlib.figure.Figure
            Figures by name.
        """
