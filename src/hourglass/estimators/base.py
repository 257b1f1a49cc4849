"""What all estimators share: parameters of training, seeds, fitting, inference in batches."""

import copy
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils import assert_all_finite
from torch import Tensor

from hourglass.data.arrays import Shape
from hourglass.estimators.checks import (
    check_choice,
    check_number,
    check_pixel_range,
    check_random_state,
    check_shape,
)
from hourglass.estimators.description import SelfDescribing
from hourglass.estimators.fitting import Floats, describes_network
from hourglass.estimators.pieces import apply_in_pieces, to_tensor
from hourglass.runtime import ranks
from hourglass.runtime.forks import compute_alone_after_fork
from hourglass.runtime.hardware import PRECISIONS, has_bfloat16, resolve_device
from hourglass.training import OPTIMISERS, SCHEDULES, Interval, Source
from hourglass.training.few_blocks import BLOCKS, held_in_few_blocks


@dataclass(kw_only=True, eq=False, repr=False)
class NetworkEstimator(SelfDescribing):
    """Abstract base class of the estimators, which trains ``network_`` on mini-batches with an optimiser.

    Parameters
    ----------
    image_shape : tuple of int, optional
        Height, width and channels of flat input; by default seen from the array.
    epochs : float, optional
        Passes over the training images; by default as many as make 500 steps, and at least one.
    n_steps : int, optional
        Steps of training, each with one batch; where it is given, ``epochs`` is not looked at.
    batch_size : int, default=64
        Images in a batch; all of them where there are fewer.
    learning_rate : float, default=0.01
        Learning rate of the optimiser at the peak of the schedule.
    continue_learning_rate : float, optional
        Learning rate of ``partial_fit``, and of ``fit`` with ``warm_start``, when they continue from trained weights.
        After a schedule that decays it is by default a tenth of ``learning_rate``, which does not harm a good
        network; otherwise it is ``learning_rate``.
    warm_start : bool, default=False
        Whether ``fit`` continues from the weights and the optimiser's state of the last call, if there was one; by
        default it draws new weights.
    optimiser : str, default="adam"
        Name in :data:`hourglass.training.OPTIMISERS`: ``"adam"``, Adam as TensorFlow computes it; ``"sgd"`` and
        ``"sgd-momentum"``, plain stochastic gradient descent and that with momentum 0.9, which need larger learning
        rates; ``"adamw"``, Adam with a weight decay of 0.01.
    schedule : {"one-cycle", "linear", "constant"}, default="one-cycle"
        How the learning rate changes over the steps.
    validation_fraction : float, optional
        Share of the training images, in (0, 1), that is held out; its loss is recorded. By default none.
    patience : int, optional
        Validations in a row without a new best loss after which training stops; the best weights are kept. It
        needs held-out images. By default training does all its steps.
    report_every : int, optional
        Steps from one report of the training loss to the next, beginning with the first; by default an epoch.
    validate_every : int, optional
        Steps from one validation to the next; by default as ``report_every``.
    precision : {"float32", "bfloat16", "auto"}, default="float32"
        Number type of forward passes; ``auto`` takes bfloat16 where the processor has it and the network gains.
    device : {"auto", "cpu", "cuda"} or torch.device, default="auto"
        Where to compute; ``auto`` takes the GPU where there is one.
    random_state : int or numpy.random.RandomState, optional
        Seeds weights, order and noise; None draws from the system's entropy. NumPy's and PyTorch's global
        states are not used.
    verbose : int, default=0
        1 shows progress on standard error.
    deterministic : bool, default=False
        Whether a repeated training gives the same weights, bit for bit: with the same seed, data and number of
        threads, on the same machine, with the same PyTorch. On a CPU it always does. On CUDA this costs speed.
    checkpoint_dir : path-like, optional
        Folder of this one training. ``fit`` writes its state there now and then and at its end, and resumes from it,
        bit for bit, when it is called again with the same parameters and images. It needs an int as
        ``random_state``. SIGINT and SIGTERM then wait for the step. The folder stays after training.
    checkpoint_every : str or float, default="60s"
        Interval between checkpoints: ``"60s"``, ``"500steps"`` or ``"1epochs"``; ``"never"`` leaves the one at the end.

    Attributes
    ----------
    network_ : torch.nn.Module
        The network in inference mode; it takes images as ``(n, c, h, w)``.
    image_shape_ : tuple of int
        Height, width and channels of the images.
    n_features_in_ : int
        Number of values in an image, the product of ``image_shape_``.
    pixel_range_ : tuple of float
        Smallest and largest pixel of the images in ``fit``, after bytes were divided by 255.
    feature_names_in_ : ndarray of str
        Names of the columns, if ``X`` was a data frame.
    history_ : History
        Record of the last call of ``fit`` or ``partial_fit``.
    n_steps_ : int
        Number of training steps since the weights were drawn.
    dead_units_ : dict of str to pair of int
        For each layer with ReLU, how many of its units give 0 for all of the first 256 training images, and how many
        units it has.
    partly_trained_ : estimator
        After KeyboardInterrupt in ``fit`` or ``partial_fit``: a copy with the network as it was then. The estimator
        itself is what it was before the call.
    train_seconds_ : float
        Time of the training in seconds, without reports.
    images_per_second_ : float or None
        Speed of the training, without its first 20 steps; None if there were no more.
    device_, precision_ : str
        Device and number type that the training used.
    notes_ : dict
        Notes that :func:`hourglass.save` was given, if the model was read from a folder.
    """

    image_shape: Shape | None = None
    epochs: float | None = None
    n_steps: int | None = None
    batch_size: int = 64
    learning_rate: float = 0.01
    continue_learning_rate: float | None = None
    warm_start: bool = False
    optimiser: str = "adam"
    schedule: str = "one-cycle"
    validation_fraction: float | None = None
    patience: int | None = None
    report_every: int | None = None
    validate_every: int | None = None
    precision: str = "float32"
    device: str | torch.device = "auto"
    random_state: int | np.random.RandomState | None = None
    verbose: int = 0
    deterministic: bool = False
    checkpoint_dir: str | os.PathLike[str] | None = None
    checkpoint_every: str | float = "60s"

    _square_images = True
    # Parameters that say which network it is, and so cannot be changed once there is one.
    _network_parameters: ClassVar[tuple[str, ...]] = ()

    @property
    def _activation(self) -> Callable[..., Tensor] | None:
        """What is applied to the network's output."""
        return None

    @property
    def _bfloat16_pays(self) -> bool:
        """Whether training gains by bfloat16, where the processor has it."""
        return False

    def check_parameters(self) -> None:
        """Check every parameter; ``fit`` does it first.

        Raises
        ------
        ValueError
            When a parameter is out of its range.
        """
        check_number("epochs", self.epochs, optional=True)
        check_number("n_steps", self.n_steps, whole=True, optional=True)
        check_number("batch_size", self.batch_size, whole=True)
        check_number("learning_rate", self.learning_rate)
        check_number("continue_learning_rate", self.continue_learning_rate, optional=True)
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
                f"random_state={self.random_state!r} with checkpoint_dir; a training can be resumed bit for bit "
                "only with an int, as random_state=0"
            )
        if self.checkpoint_dir is not None and self.warm_start:
            raise ValueError(
                "warm_start=True with checkpoint_dir; a finished training in checkpoint_dir is lengthened by more "
                "epochs or steps, without warm_start"
            )
        check_random_state(self.random_state)
        check_shape("image_shape", self.image_shape)

    def _continues(self) -> bool:
        """Whether there is a network to train on from; it has to be the one that the parameters describe.

        Raises
        ------
        ValueError
            When the parameters were changed and describe another one.
        """
        if not hasattr(self, "network_"):
            return False
        if not describes_network(self):
            raise ValueError(
                "the parameters were changed after fit and describe another network; "
                "set them back to train on, or call fit with warm_start=False"
            )
        if not hasattr(self, "_random"):  # read from a file
            self._seed()
        return True

    def _hold_out(self, source: Source) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Indices of the images to train on and of those held out, as ``validation_fraction`` says."""
        groups = source.groups
        there = None if groups is None else np.unique(groups)
        n = len(source) if there is None else len(there)
        held = max(1, round((self.validation_fraction or 0) * n))
        if held >= n:
            what = "images" if groups is None else "files"
            raise ValueError(
                f"validation_fraction={self.validation_fraction} of {n} {what} leaves none to train on; give more"
            )
        if (blocks := source.row_blocks) is not None:
            files = np.arange(len(source)) if groups is None else np.unique(groups, return_inverse=True)[1]
            among = max(BLOCKS, round((self.validation_fraction or 0) * len(blocks)))
            generator = np.random.default_rng(self._random.randint(2**31))
            is_held = np.isin(files, held_in_few_blocks(blocks, files, held, generator, among=among)[0])
            return np.flatnonzero(~is_held), np.flatnonzero(is_held)
        order = self._random.permutation(n)
        if groups is None or there is None:
            return np.sort(order[held:]), np.sort(order[:held])
        chosen = np.isin(groups, there[order[:held]])
        return np.flatnonzero(~chosen), np.flatnonzero(chosen)

    def _seed(self) -> None:
        """Begin the estimator's own stream of random numbers."""
        state = self.random_state
        if state is None and ranks.count() > 1:  # the same in every process
            [state] = ranks.from_first([int(np.random.default_rng().integers(2**31))])
        self._random = state if isinstance(state, np.random.RandomState) else np.random.RandomState(state)

    def _infer(
        self,
        function: Callable[[Any, Tensor], Tensor],
        values: Floats,
        *,
        activation: Callable[..., Tensor] | None = None,
        halo: tuple[int, int] | None = None,
        block: int | None = None,
    ) -> Floats:
        """Apply a function of the network and rows, on its device, in the rows' dtype and in pieces."""
        compute_alone_after_fork()
        # In float64 a row's result does not depend on its neighbours in the batch to 1e-12, in float32 to 1e-6.
        network = copy.deepcopy(self.network_).double() if values.dtype == np.float64 else self.network_
        shape = values.shape[1:] if values.ndim == 4 else self.image_shape_
        device = torch.device(self.device_)
        # A model may come from a machine that had bfloat16 to one that has not.
        half = self.precision_ == "bfloat16" and values.dtype == np.float32 and has_bfloat16(device)

        def apply(piece: Tensor) -> Tensor:
            with torch.autocast(device.type, torch.bfloat16, enabled=half):
                return function(network, piece)

        def check(piece: Tensor) -> None:
            low, high = (float(end) for end in torch.aminmax(piece)) if piece.numel() else (0.0, 0.0)
            if not (math.isfinite(low) and math.isfinite(high)):  # scikit-learn says which number
                assert_all_finite(piece.cpu().numpy(), estimator_name=type(self).__name__, input_name="X")
            if values.ndim == 4:
                check_pixel_range(low, high, self.pixel_range_, name="X")

        outputs = apply_in_pieces(
            apply,
            to_tensor(values, device, values.dtype),
            shape,
            activation=activation,
            halo=halo,
            check=check,
            block=block,
        )
        if outputs.dim() == 4:
            outputs = outputs.permute(0, 2, 3, 1)
        return outputs.cpu().contiguous().numpy()
