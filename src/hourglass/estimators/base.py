"""What all estimators share: parameters of training, seeds, fitting, inference in batches."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from hourglass.data.arrays import Shape, infer_image_shape, to_images
from hourglass.training import (
    LOSSES,
    PRECISIONS,
    SCHEDULES,
    Adam,
    History,
    Progress,
    Report,
    ShuffledBatches,
    Trainer,
    progress_for,
    resolve_device,
    resolve_precision,
)

# Images in one piece of inference: large enough to fill the cores, small enough for the cache.
INFERENCE_BATCH = 500


@dataclass(kw_only=True, eq=False, repr=False)
class NetworkEstimator(BaseEstimator):  # type: ignore[misc]  # scikit-learn is untyped
    """Base of the estimators: trains ``network_`` by mini-batches of Adam.

    Parameters
    ----------
    image_shape : tuple of int, optional
        Height, width and channels of flat input; by default seen from the array.
    epochs : float, default=10
        Passes over the training images.
    batches : int, optional
        Updates to do; where it is given, ``epochs`` is not looked at.
    batch_size : int, default=200
        Images in a batch; all of them where there are fewer.
    learning_rate : float, default=0.001
        Of Adam, the peak of the schedule.
    schedule : {"constant", "one-cycle"}, default="constant"
        How the learning rate goes over the updates.
    report_every : int, optional
        Updates from one report of the training loss to the next, beginning with the first; by default an epoch.
    validate_every : int, optional
        Updates from one validation to the next; by default as ``report_every``.
    precision : {"float32", "bfloat16", "auto"}, default="float32"
        Of the forward pass; ``auto`` takes bfloat16 where the processor has it and the network gains.
    device : {"auto", "cpu", "cuda"}, default="auto"
    random_state : int or numpy.random.RandomState, optional
        Seeds weights, order and noise; None draws from the system's entropy. NumPy's and PyTorch's global
        states are not used.
    verbose : int, default=0
        1 shows progress on standard error.

    Attributes
    ----------
    network_ : torch.nn.Module
        In inference mode; takes images as ``(n, c, h, w)``.
    image_shape_ : tuple of int
        Height, width, channels.
    n_features_in_ : int
        Their product.
    history_ : History
    n_updates_ : int
    train_seconds_ : float
        Time in training, without reports.
    images_per_second_ : float or None
        Without the first 20 updates; None where there were no more.
    device_, precision_ : str
        As resolved.
    """

    image_shape: Shape | None = None
    epochs: float = 10
    batches: int | None = None
    batch_size: int = 200
    learning_rate: float = 1e-3
    schedule: str = "constant"
    report_every: int | None = None
    validate_every: int | None = None
    precision: str = "float32"
    device: str = "auto"
    random_state: int | np.random.RandomState | None = None
    verbose: int = 0

    _square_images = True
    _bfloat16_pays = False

    def _build(self) -> nn.Module:
        """Make the network for ``image_shape_``, on the device that is current."""
        raise NotImplementedError

    def check_parameters(self) -> None:
        """Raise ValueError when a parameter is out of its range; ``fit`` calls it first."""
        check_number("epochs", self.epochs)
        check_number("batches", self.batches, whole=True, optional=True)
        check_number("batch_size", self.batch_size, whole=True)
        check_number("learning_rate", self.learning_rate)
        check_number("report_every", self.report_every, whole=True, optional=True)
        check_number("validate_every", self.validate_every, whole=True, optional=True)
        check_choice("schedule", self.schedule, SCHEDULES)
        check_choice("precision", self.precision, PRECISIONS)
        resolve_device(self.device)
        if self.image_shape is not None:
            if len(self.image_shape) != 3:
                raise ValueError(f"image_shape={self.image_shape!r}; expected (height, width, channels)")
            for length in self.image_shape:
                check_number("image_shape", length, whole=True)

    def _check_images(self, X: Any, *, fitting: bool = False, unit_range: bool = False) -> NDArray[np.float32]:
        array = np.asarray(X)
        if fitting:
            self.image_shape_ = self.image_shape or infer_image_shape(array.shape, square=self._square_images)
            self.n_features_in_ = math.prod(self.image_shape_)
        else:
            check_is_fitted(self, "network_")
        return to_images(array, self.image_shape_, unit_range=unit_range)

    def _train(
        self,
        inputs: NDArray[np.float32],
        targets: NDArray[np.float32] | None,
        *,
        loss: str,
        prepare: Callable[[Any], None] = lambda network: None,
        corrupt: Callable[[Tensor, torch.Generator], Tensor] | None = None,
        measure: Callable[[Tensor, Tensor], dict[str, float]],
        report_training: bool,
        validation: tuple[NDArray[np.float32], NDArray[np.float32]] | None,
        progress: Progress | None,
    ) -> None:
        """Build and train ``network_``.

        ``measure`` takes outputs and targets to numbers by name; they are recorded as ``validation_…`` and,
        with ``report_training``, of each reported batch as ``training_…``.
        """
        device = resolve_device(self.device)
        weights_seed, order_seed, noise_seed = self._seeds()

        # On the meta device nothing is drawn from PyTorch's global generator.
        with torch.device("meta"):
            network: Any = self._build()
        network.to_empty(device="cpu")
        network.reset_parameters(torch.Generator().manual_seed(weights_seed))
        prepare(network)
        network.to(device).to(memory_format=torch.channels_last)

        x = _to_tensor(inputs, device)
        y = x if targets is None else _to_tensor(targets, device)
        noise_generator = torch.Generator(device).manual_seed(noise_seed)
        updates = self.batches or math.ceil(self.epochs * len(x) / min(self.batch_size, len(x)))

        def training_report(index: Tensor) -> dict[str, float]:
            if not report_training:
                return {}
            numbers = measure(network(x[index]), y[index])
            return {f"training_{name}": value for name, value in numbers.items()}

        epoch = math.ceil(len(x) / min(self.batch_size, len(x)))
        report_every = self.report_every or epoch
        reports = [Report(training_report, report_every)]
        if validation is not None:
            held_out, expected = (_to_tensor(part, device) for part in validation)

            def validation_report(index: Tensor) -> dict[str, float]:
                numbers = measure(_in_pieces(network, held_out), expected)
                return {f"validation_{name}": value for name, value in numbers.items()}

            reports.append(Report(validation_report, self.validate_every or report_every))

        self.device_ = str(device)
        self.precision_ = resolve_precision(self.precision, device, pays=self._bfloat16_pays)
        trainer = Trainer(
            network,
            LOSSES[loss],
            Adam(network.parameters(), self.learning_rate),
            x,
            y,
            batches=ShuffledBatches(len(x), self.batch_size, torch.Generator().manual_seed(order_seed), device),
            updates=updates,
            schedule=SCHEDULES[self.schedule],
            corrupt=None if corrupt is None else lambda images: corrupt(images, noise_generator),
            precision=self.precision_,
            reports=reports,
            progress=progress or progress_for(type(self).__name__, quiet=not self.verbose),
        )
        self.history_: History = trainer.run()
        self.network_ = network
        self.n_updates_ = updates
        self.train_seconds_ = trainer.train_seconds
        self.images_per_second_ = trainer.images_per_second

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "network_")

    def _seeds(self) -> list[int]:
        state = self.random_state
        if not isinstance(state, np.random.RandomState):
            state = np.random.RandomState(state)
        return [int(seed) for seed in state.randint(2**31 - 1, size=3)]

    @torch.inference_mode()
    def _infer(self, function: Callable[[Tensor], Tensor], values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Apply a function of the network to rows, on its device, in pieces."""
        outputs = _in_pieces(function, _to_tensor(values, torch.device(self.device_)))
        if outputs.dim() == 4:
            outputs = outputs.permute(0, 2, 3, 1)
        return outputs.cpu().contiguous().numpy()


def _to_tensor(values: NDArray[np.float32], device: torch.device) -> Tensor:
    """Rows on the device; images ``(n, h, w, c)`` become ``(n, c, h, w)``, channels last in memory as they were."""
    # A copy where the array is read-only, since PyTorch has no such tensors.
    tensor = torch.from_numpy(values if values.flags.writeable else values.copy()).to(device)
    return tensor.permute(0, 3, 1, 2) if tensor.dim() == 4 else tensor


def _in_pieces(function: Callable[[Tensor], Tensor], rows: Tensor) -> Tensor:
    return torch.cat([function(piece) for piece in rows.split(INFERENCE_BATCH)])


def check_number(name: str, value: Any, *, whole: bool = False, optional: bool = False) -> None:
    """Raise ValueError unless a parameter is a number above 0, or None where that is admitted."""
    if value is None and optional:
        return
    kind: Any = Integral if whole else Real
    # A bool is an int to Python, not to people.
    if isinstance(value, bool) or not isinstance(value, kind) or not 0 < value < math.inf:
        what = "a whole number" if whole else "a number"
        raise ValueError(f"{name}={value!r}; expected {what} above 0{' or None' if optional else ''}")


def check_choice(name: str, value: object, choices: Iterable[str]) -> None:
    """Raise ValueError unless a parameter is one of the choices."""
    if value not in (choices := list(choices)):
        raise ValueError(f"{name}={value!r} is unknown; choose one of {', '.join(choices)}")
