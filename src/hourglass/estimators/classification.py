"""What a fitted classifier does with images, and says of itself."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.special import softmax
from sklearn.base import ClassifierMixin
from torch import Tensor

from hourglass.estimators.base import NetworkEstimator
from hourglass.estimators.exported import ExportedClassifier, ExportedPart, image_shapes
from hourglass.estimators.fitting import Floats
from hourglass.estimators.given import by_blocks, check_images, is_stored
from hourglass.estimators.records import labels_from_json, labels_to_json
from hourglass.training import LOSSES, class_losses


@dataclass(kw_only=True, eq=False, repr=False)
class Classification(ClassifierMixin, NetworkEstimator):  # type: ignore[misc]  # scikit-learn has no type hints: its classes are Any
    """Base of :class:`Classifier`, without its training."""

    loss: str = "softmax"
    class_weight: Mapping[Any, float] | str | None = None

    task: ClassVar[str] = "classification"

    def logits(self, X: ArrayLike) -> Floats:
        """Compute the network's output for each class.

        Parameters
        ----------
        X : array-like of shape (n, h, w), (n, h, w, c) or (n, features)
            Images of the size of training. Unsigned bytes are scaled by 1/255, other numbers are taken as they are.

        Returns
        -------
        ndarray of shape (n, classes), float64 where X is, else float32
            Logits in the order of ``classes_``.

        Raises
        ------
        NotFittedError
            When the classifier has not been fitted.
        ValueError
            When the images are of another size or scale than those of training.
        """
        if is_stored(X):
            return by_blocks(self.logits, X)
        images, _ = check_images(self, X)
        return self._infer(lambda network, rows: network(rows), images)

    def decision_function(self, X: ArrayLike) -> Floats:
        """Compute the logits; for two classes, the difference of the second and the first.

        Parameters
        ----------
        X : array-like of shape (n, h, w), (n, h, w, c) or (n, features)
            Images of the size of training. Unsigned bytes are scaled by 1/255, other numbers are taken as they are.

        Returns
        -------
        ndarray of shape (n, classes), or (n,) of two classes; float64 where X is, else float32

        Raises
        ------
        NotFittedError
            When the classifier has not been fitted.
        ValueError
            When the images are of another size or scale than those of training.
        """
        logits = self.logits(X)
        return logits[:, 1] - logits[:, 0] if len(self.classes_) == 2 else logits

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Find the most likely class of each image.

        Parameters
        ----------
        X : array-like of shape (n, h, w), (n, h, w, c) or (n, features)
            Images of the size of training. Unsigned bytes are scaled by 1/255, other numbers are taken as they are.

        Returns
        -------
        ndarray of shape (n,)
            Labels as they were given to ``fit``.

        Raises
        ------
        NotFittedError
            When the classifier has not been fitted.
        ValueError
            When the images are of another size or scale than those of training.
        """
        best = self.logits(X).argmax(1)
        labels: NDArray[Any] = np.asarray(self.classes_)[best]
        return labels

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """Compute the probability of each class.

        With ``loss="bce"`` the independent sigmoids are divided by their sum.

        Parameters
        ----------
        X : array-like of shape (n, h, w), (n, h, w, c) or (n, features)
            Images of the size of training. Unsigned bytes are scaled by 1/255, other numbers are taken as they are.

        Returns
        -------
        ndarray of shape (n, classes), float64
            Probabilities in the order of ``classes_``; each row sums to 1.

        Raises
        ------
        NotFittedError
            When the classifier has not been fitted.
        ValueError
            When the images are of another size or scale than those of training.
        """
        logits = torch.from_numpy(self.logits(X).astype(np.float64))
        # The softmax of log-scores divides the scores by their sum, and no large logit makes that 0 / 0.
        return np.asarray(softmax(self._log_scores(logits).numpy(), axis=1))

    def _log_scores(self, logits: Tensor) -> Tensor:
        function = LOSSES[self.loss].log_scores
        if function is None:
            raise ValueError(f"loss={self.loss!r} gives no probabilities; choose one of {', '.join(class_losses())}")
        return function(logits)

    def _expect(self) -> None:
        self.classes_ = np.arange(10)

    def _facts(self) -> dict[str, Any]:
        return {"classes": labels_to_json(self.classes_)["values"]}

    def fitted_state(self) -> dict[str, Any]:
        """Return what a fitted classifier has learnt besides its network's weights, as JSON holds it.

        Returns
        -------
        dict
            ``fitted`` in the file ``model.json``; :meth:`restore_state` takes it.
        """
        return super().fitted_state() | {"classes": labels_to_json(self.classes_)}

    def restore_state(self, state: Mapping[str, Any]) -> None:
        """Take over what :meth:`fitted_state` returned.

        Parameters
        ----------
        state : mapping
            As JSON gives it back. What older versions did not write has the value that it had then.

        Raises
        ------
        KeyError, TypeError, ValueError
            When it is damaged.
        """
        super().restore_state(state)
        self.classes_ = labels_from_json(state["classes"])

    def export_part(self, part: str = "whole") -> ExportedPart:
        """Return a fitted classifier as a module that can be exported.

        Parameters
        ----------
        part : {"whole"}, default="whole"
            A classifier has no other part.

        Returns
        -------
        ExportedPart

        Raises
        ------
        ValueError
            When another part is asked for.
        """
        if part != "whole":
            raise ValueError(f"a classifier has no {part}; export it whole")
        return ExportedPart(
            module=ExportedClassifier(self.network_, self._log_scores),
            outputs=("probabilities",),
            expected=self.predict_proba,
            shapes=image_shapes(self.image_shape_),
            notes={"classes": ", ".join(map(str, self.classes_))},
        )
