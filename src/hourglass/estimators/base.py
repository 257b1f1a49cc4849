"""What all estimators share: parameters of training, seeds, fitting, inference in batches."""

import copy
import math
import os
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_array, check_is_fitted, validate_data
from torch import Tensor, nn

from hourglass.data.arrays import Shape, check_image_shape, check_unit_range, fingerprint, infer_image_shape
from hourglass.estimators.checks import check_choice, check_number, check_shape, warn_if_dead
from hourglass.estimators.inference import apply_in_pieces, to_tensor
from hourglass.persistence import locked
from hourglass.training import (
    LOSSES,
    OPTIMISERS,
    PRECISIONS,
    SCHEDULES,
    Checkpoints,
    EarlyStopping,
    History,
    Interval,
    Observer,
    Progress,
    Report,
    ShuffledBatches,
    Trainer,
    deterministic_algorithms,
    has_bfloat16,
    progress_for,
    resolve_device,
    resolve_precision,
)

# What training lasts where nobody says: enough for a first look at any data, in seconds.
DEFAULT_UPDATES = 500
# Of one training on one machine: no part of a model, nor of what a run is compared by.
CHECKPOINT_PARAMETERS = ("checkpoint_dir", "checkpoint_every")
# Integers and half precision become the first.
DTYPES = (np.float32, np.float64)

Floats = NDArray[np.floating[Any]]


@dataclass(kw_only=True, eq=False, repr=False)
class NetworkEstimator(BaseEstimator):  # type: ignore[misc]  # scikit-learn is untyped
    """Base of the estimators: trains ``network_`` by mini-batches of Adam.

    Parameters
    ----------
    image_shape : tuple of int, optional
        Height, width and channels of flat input; by default seen from the array.
    epochs : float, optional
        Passes over the training images; by default as many as make 500 updates, and at least one.
    batches : int, optional
        Updates to do; where it is given, ``epochs`` is not looked at.
    batch_size : int, default=64
        Images in a batch; all of them where there are fewer.
    learning_rate : float, default=0.01
        Of the optimiser, the peak of the schedule.
    optimiser : {"adam", "sgd"}, default="adam"
        Adam, as TensorFlow computes it, or plain stochastic gradient descent, which needs larger learning rates.
    schedule : {"one-cycle", "linear", "constant"}, default="one-cycle"
        How the learning rate goes over the updates.
    validation_fraction : float, optional
        Share of the training images, in (0, 1), that is held out; its loss is recorded. By default none.
    patience : int, optional
        Validations in a row without a new best loss after which training stops; the best weights are kept. It
        needs held-out images. By default training does all its updates.
    report_every : int, optional
        Updates from one report of the training loss to the next, beginning with the first; by default an epoch.
    validate_every : int, optional
        Updates from one validation to the next; by default as ``report_every``.
    precision : {"float32", "bfloat16", "auto"}, default="float32"
        Of the forward pass, in training and in inference; ``auto`` takes bfloat16 where the processor has it
        and the network gains.
    device : {"auto", "cpu", "cuda"}, default="auto"
    random_state : int or numpy.random.RandomState, optional
        Seeds weights, order and noise; None draws from the system's entropy. NumPy's and PyTorch's global
        states are not used.
    verbose : int, default=0
        1 shows progress on standard error.
    deterministic : bool, default=False
        Equal bits for equal seeds, data and numbers of threads, on one machine and version of PyTorch. On a CPU that
        is so anyway; on CUDA it costs speed.
    checkpoint_dir : path-like, optional
        Folder of this one training, where ``fit`` writes its state now and then and at its end, and from which it goes
        on, bit for bit, when it is called again with the same parameters and images. It needs an int as
        ``random_state``. SIGINT and SIGTERM then wait for the update. The folder stays after training.
    checkpoint_every : str or float, default="60s"
        As ``"60s"``, ``"500steps"``, ``"1epochs"`` or ``"never"``, which leaves the one at the end.

    Attributes
    ----------
    network_ : torch.nn.Module
        In inference mode; takes images as ``(n, c, h, w)``.
    image_shape_ : tuple of int
        Height, width, channels.
    n_features_in_ : int
        Their product.
    pixel_range_ : tuple of float
        Smallest and largest pixel of the images in ``fit``, bytes already divided by 255.
    feature_names_in_ : ndarray of str
        Where ``X`` was a data frame.
    history_ : History
        Of the last call of ``fit`` or ``partial_fit``.
    n_updates_ : int
        Since the weights were drawn.
    train_seconds_ : float
        Time in training, without reports.
    images_per_second_ : float or None
        Without the first 20 updates; None where there were no more.
    device_, precision_ : str
        As resolved.
    notes_ : dict
        Of a model that was read from a folder: what :func:`hourglass.save` was given.
    """

    image_shape: Shape | None = None
    epochs: float | None = None
    batches: int | None = None
    batch_size: int = 64
    learning_rate: float = 0.01
    optimiser: str = "adam"
    schedule: str = "one-cycle"
    validation_fraction: float | None = None
    patience: int | None = None
    report_every: int | None = None
    validate_every: int | None = None
    precision: str = "float32"
    device: str = "auto"
    random_state: int | np.random.RandomState | None = None
    verbose: int = 0
    deterministic: bool = False
    checkpoint_dir: str | os.PathLike[str] | None = None
    checkpoint_every: str | float = "60s"

    _square_images = True
    _bfloat16_pays = False

    def _build(self) -> nn.Module:
        """Make the network for ``image_shape_``, on the device that is current."""
        raise NotImplementedError  # every estimator has its own network; this class is none to be used

    def check_parameters(self) -> None:
        """Raise ValueError when a parameter is out of its range; ``fit`` calls it first."""
        check_number("epochs", self.epochs, optional=True)
        check_number("batches", self.batches, whole=True, optional=True)
        check_number("batch_size", self.batch_size, whole=True)
        check_number("learning_rate", self.learning_rate)
        check_number("report_every", self.report_every, whole=True, optional=True)
        check_number("validate_every", self.validate_every, whole=True, optional=True)
        check_number("validation_fraction", self.validation_fraction, optional=True)
        if self.validation_fraction is not None and self.validation_fraction >= 1:
            raise ValueError(f"validation_fraction={self.validation_fraction!r}; expected a share below 1 or None")
        check_number("patience", self.patience, whole=True, optional=True)
        check_choice("optimiser", self.optimiser, OPTIMISERS)
        check_choice("schedule", self.schedule, SCHEDULES)
        check_choice("precision", self.precision, PRECISIONS)
        resolve_device(self.device)
        Interval.parse(self.checkpoint_every)
        if self.checkpoint_dir is not None and not isinstance(self.random_state, Integral):
            raise ValueError(
                f"random_state={self.random_state!r} with checkpoint_dir; only an int, as random_state=0, "
                "lets a run be gone on with bit for bit"
            )
        check_shape("image_shape", self.image_shape)

    def _check_images(
        self, X: Any, y: Any = None, *, fitting: bool = False, unit_range: str | None = None, any_size: bool = False
    ) -> tuple[Floats, Any]:
        """Images ``(n, h, w, c)``, float32 or float64 as they came, and ``y`` as scikit-learn checks it."""
        if not fitting:
            check_is_fitted(self, "network_")
        array = X if hasattr(X, "columns") or issparse(X) else np.asarray(X)
        stacked = array.ndim > 2
        shape = self.image_shape if fitting else self.image_shape_
        if stacked:
            shape = shape or infer_image_shape(array.shape, square=self._square_images)
            if any_size and array.shape[3:] in ((), (shape[2],)) and array.size:
                shape = (*array.shape[1:3], shape[2])
            check_image_shape(array.shape, shape, name="X")
            bytes_ = array.dtype == np.uint8
            array = array.reshape(len(array), -1)
        else:
            bytes_ = getattr(array, "dtype", None) == np.uint8 or set(getattr(array, "dtypes", ())) == {
                np.dtype("uint8")
            }
        check_width = not stacked or fitting
        # In inference the numbers are looked at piece by piece, when they are in the cache anyway.
        rows, y = self._validated(array, y, fitting=fitting, check_width=check_width, ensure_all_finite=fitting)
        if shape is None:
            shape = infer_image_shape(rows.shape, square=self._square_images)
        check_image_shape(rows.shape, shape, name="X")
        images = rows.reshape(len(rows), *shape)
        if bytes_:
            images = images / images.dtype.type(255)
        if unit_range is not None:
            check_unit_range(images, unit_range, name="X")
        if fitting:
            self.pixel_range_ = float(images.min()), float(images.max())
            self.image_shape_: Shape = tuple(int(length) for length in shape)  # type: ignore[assignment]  # three numbers
            self._flat = not stacked
        return images, y

    def _validated(
        self, rows: Any, y: Any, *, fitting: bool, check_width: bool, ensure_all_finite: bool
    ) -> tuple[Floats, Any]:
        options: dict[str, Any] = {"dtype": DTYPES, "ensure_all_finite": ensure_all_finite}
        if y is not None:
            return validate_data(self, rows, y, reset=fitting, **options)  # type: ignore[no-any-return]  # untyped
        if check_width:
            return validate_data(self, rows, reset=fitting, **options), None
        return check_array(rows, estimator=self, input_name="X", **options), None

    def _network(self, seed: int) -> Any:
        """Build the network and draw its weights, nothing from PyTorch's global generator."""
        with torch.random.fork_rng([]):
            network: Any = self._build()
        network.reset_parameters(torch.Generator().manual_seed(seed))
        return network

    def _train(
        self,
        inputs: Floats,
        targets: Floats | None,
        *,
        loss: str,
        prepare: Callable[[Any], None] = lambda network: None,
        corrupt: Callable[[Tensor, torch.Generator], Tensor | tuple[Tensor, Tensor]] | None = None,
        measure: Callable[[Tensor, Tensor], dict[str, float]],
        report_training: bool,
        validation: tuple[Floats, Floats] | None,
        progress: Progress | None,
        observer: Observer | None = None,
        one_pass: bool = False,
        going_on: bool = False,
    ) -> None:
        """Train ``network_``, which is built first unless this is ``going_on``; ``one_pass`` has no schedule.

        ``measure`` takes outputs and targets to numbers by name; they are recorded as ``validation_…`` and,
        with ``report_training``, of each reported batch as ``training_…``.
        """
        self.network_: Any
        self.n_updates_: int
        if self.patience is not None and validation is None and not one_pass:
            raise ValueError(
                f"patience={self.patience} needs held-out images to watch; "
                "set validation_fraction, as validation_fraction=0.1, or give fit validation_data"
            )
        started = time.perf_counter()
        device = resolve_device(self.device)
        weights_seed, order_seed, noise_seed = (int(seed) for seed in self._random.randint(2**31 - 1, size=3))
        if going_on:
            network = self.network_
        else:
            network = self._network(weights_seed)
            prepare(network)
            network = network.to(device).to(memory_format=torch.channels_last)
            self._optimiser = OPTIMISERS[self.optimiser](network.parameters(), self.learning_rate)
        if not hasattr(self, "_optimiser"):  # read from a file, which holds the weights alone
            self._optimiser = OPTIMISERS[self.optimiser](network.parameters(), self.learning_rate)
        for group in self._optimiser.param_groups:  # a schedule has left its last rate there
            group["lr"] = self.learning_rate
        x = to_tensor(inputs, device)
        y = x if targets is None else to_tensor(targets, device)
        noise_generator = torch.Generator(device).manual_seed(noise_seed)
        epoch = math.ceil(len(x) / min(self.batch_size, len(x)))
        updates = epoch if one_pass else self._updates(len(x), epoch)

        def training_report(index: Tensor) -> dict[str, float]:
            if not report_training:
                return {}
            numbers = measure(network(x[index]), y[index])
            return {f"training_{name}": value for name, value in numbers.items()}

        report_every = self.report_every or epoch
        reports = [Report(training_report, report_every)]
        if validation is not None:
            held_out, expected = (to_tensor(part, device) for part in validation)

            def validation_report(index: Tensor) -> dict[str, float]:
                numbers = measure(apply_in_pieces(network, held_out, self.image_shape_), expected)
                return {f"validation_{name}": value for name, value in numbers.items()}

            reports.append(Report(validation_report, self.validate_every or report_every))

        if observer is not None:
            observer.begin(network.train())
            reports.append(Report(lambda index: observer.measure(network), report_every))
        self.device_ = str(device)
        self.precision_ = resolve_precision(self.precision, device, pays=self._bfloat16_pays)
        stopping = EarlyStopping("validation_loss", self.patience) if self.patience and not one_pass else None
        trainer = Trainer(
            network,
            LOSSES[loss],
            self._optimiser,
            x,
            y,
            batches=ShuffledBatches(len(x), self.batch_size, torch.Generator().manual_seed(order_seed), device),
            updates=updates,
            schedule=SCHEDULES["constant" if one_pass else self.schedule],
            corrupt=None if corrupt is None else lambda images: corrupt(images, noise_generator),
            precision=self.precision_,
            reports=reports,
            stopping=stopping,
            progress=progress or progress_for(type(self).__name__, quiet=not self.verbose),
            checkpoints=None if one_pass else self._checkpoints(updates, inputs, targets, validation),
            generators=[noise_generator],
        )
        setup = time.perf_counter() - started
        kept = nullcontext() if trainer.checkpoints is None else locked(trainer.checkpoints.folder)
        with kept, deterministic_algorithms(wanted=self.deterministic):
            self.history_: History = trainer.run()
        self.network_ = network
        warn_if_dead(network, x)
        self.n_updates_ = len(self.history_) + (self.n_updates_ if going_on else 0)
        self.train_seconds_ = setup + trainer.train_seconds
        self.images_per_second_ = trainer.images_per_second

    def _checkpoints(
        self, updates: int, inputs: Floats, targets: Floats | None, validation: tuple[Floats, Floats] | None
    ) -> Checkpoints | None:
        if self.checkpoint_dir is None:
            return None
        identity: dict[str, Any] = {"estimator": type(self).__name__, "updates": updates}
        identity |= {"precision": self.precision_, "device": self.device_.partition(":")[0]}
        for name in sorted(self.get_params().keys() - {"precision", "device", "verbose", *CHECKPOINT_PARAMETERS}):
            value = getattr(self, name)
            identity[name] = value if isinstance(value, bool | int | float | str | None) else repr(value)
        identity["images"] = fingerprint(inputs)
        if targets is not None:
            identity["targets"] = fingerprint(targets)
        identity["validation"] = [fingerprint(part) for part in validation or ()]
        surroundings = {"threads": torch.get_num_threads(), "torch": torch.__version__}
        return Checkpoints(self.checkpoint_dir, identity, Interval.parse(self.checkpoint_every), surroundings)

    def _updates(self, images: int, epoch: int) -> int:
        if self.batches is not None:
            return self.batches
        if self.epochs is not None:
            return math.ceil(self.epochs * images / min(self.batch_size, images))
        return max(DEFAULT_UPDATES, epoch)

    def _hold_out(self, n: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Indices of the images to train on and of those held out, as ``validation_fraction`` says."""
        order = self._random.permutation(n)
        held = max(1, round((self.validation_fraction or 0) * n))
        if held >= n:
            raise ValueError(
                f"validation_fraction={self.validation_fraction} of {n} images leaves none to train on; give more"
            )
        return np.sort(order[held:]), np.sort(order[:held])

    def _seed(self) -> None:
        """Begin the estimator's own stream of random numbers."""
        state = self.random_state
        self._random = state if isinstance(state, np.random.RandomState) else np.random.RandomState(state)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "network_")

    def _infer(
        self,
        function: Callable[[Any, Tensor], Tensor],
        values: Floats,
        *,
        activation: Callable[..., Tensor] | None = None,
        halo: tuple[int, int] | None = None,
    ) -> Floats:
        """Apply a function of the network and rows, on its device, in the rows' dtype and in pieces."""
        # In float64 a row's result does not depend on its neighbours in the batch to 1e-12, in float32 to 1e-6.
        network = copy.deepcopy(self.network_).double() if values.dtype == np.float64 else self.network_
        shape = values.shape[1:] if values.ndim == 4 else self.image_shape_
        device = torch.device(self.device_)
        # A model may come from a machine that had bfloat16 to one that has not.
        low = self.precision_ == "bfloat16" and values.dtype == np.float32 and has_bfloat16(device)

        def apply(piece: Tensor) -> Tensor:
            with torch.autocast(device.type, torch.bfloat16, enabled=low):
                return function(network, piece)

        outputs = apply_in_pieces(
            apply,
            to_tensor(values, device, values.dtype),
            shape,
            activation=activation,
            halo=halo,
            name=type(self).__name__,
        )
        if outputs.dim() == 4:
            outputs = outputs.permute(0, 2, 3, 1)
        return outputs.cpu().contiguous().numpy()
