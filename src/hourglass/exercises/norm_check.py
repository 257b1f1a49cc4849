"""Check of a batch normalisation that somebody has written, part by part, with explanations."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from hourglass.exercises.norm_gradient import check_gradient
from hourglass.exercises.norm_inference import check_inference, check_moving_mean, check_moving_variance
from hourglass.exercises.norm_layer import check_construction, check_output, check_parameters
from hourglass.exercises.norm_moments import check_affine, check_epsilon, check_mean, check_start, check_variance
from hourglass.exercises.norm_state import bfloat16, check_layout, check_other_shape, check_state, large_means
from hourglass.exercises.norm_trial import KINDS, MAPS, Trial
from hourglass.nn.norms import check_known

_PARTS: dict[str, Callable[[Trial], None]] = {
    "construction": check_construction,
    "output": check_output,
    "gamma and beta": check_parameters,
    "mean": check_mean,
    "variance": check_variance,
    "epsilon": check_epsilon,
    "initial values": check_start,
    "scale and shift": check_affine,
    "gradient": check_gradient,
    "inference": check_inference,
    "moving mean": check_moving_mean,
    "moving variance": check_moving_variance,
    "state": check_state,
}
# Parts that are errors only where they are asked for, and what is done there.
_INEXACT = {
    "large means": "A batch with a large mean went through a new layer in float32.",
    "bfloat16": "A batch went through a new layer under torch.autocast to bfloat16.",
}


@dataclass(frozen=True)
class BatchNormReport:
    """What :func:`check_batch_norm` found of a batch normalisation that passes.

    Parameters
    ----------
    name : str
        Name of the class or function.
    passed : tuple of str
        Parts that are right, in the order in which they were tried.
    notes : tuple of str
        Inputs that the class refuses, and remarks on number types.
    eps : float
        Epsilon: the number that the class adds to the variance.
    momentum : float or None
        Share of a new batch in the moving averages; None where it is not the same in every step.
    stored_variance : {"biased", "unbiased"}
        Which variance of the batches is averaged.
    dtype : str
        Number type in which the class was tried.
    """

    name: str
    passed: tuple[str, ...]
    notes: tuple[str, ...]
    eps: float
    momentum: float | None
    stored_variance: str
    dtype: str

    def __repr__(self) -> str:
        share = "not the same in every step" if self.momentum is None else f"{self.momentum:.3g}"
        lines = [
            f"{self.name} is a batch normalisation: {len(self.passed)} parts passed.",
            f"  {', '.join(self.passed)}",
            f"  epsilon {self.eps:.3g}; share of a new batch in the moving averages {share}; they average the "
            f"{self.stored_variance} variance; tried in {self.dtype}",
            *(f"  note: {said}" for said in self.notes),
        ]
        return "\n".join(lines)


def check_batch_norm(norm: Callable[[int], nn.Module], *, precise: bool = False) -> BatchNormReport:
    """Try a batch normalisation of one's own part by part, and explain the first thing that is wrong.

    The layer is known by what it does alone: its parameters and buffers may have any names. It may add any small
    epsilon, have any momentum, and average the biased variance or the unbiased one. Tried are the moments of feature
    maps and of rows, epsilon, gamma and beta, the gradient (against autograd through the formula of Ioffe and Szegedy,
    ICML 2015, algorithm 1), the moving averages, inference, and whether the layer can be saved. The check is
    deterministic and leaves the global states of random numbers as they are.

    Parameters
    ----------
    norm : callable
        Class or function of the number of channels that returns a ``torch.nn.Module``, as a network's ``norm`` takes
        it.
    precise : bool, default=False
        Whether moments that are inexact in bfloat16, or in float32 where means are large, are an error too. By default
        the report notes them.

    Returns
    -------
    BatchNormReport
        Parts that passed, and what was found out on the way.

    Raises
    ------
    BatchNormError
        When something is wrong: what was done, what was expected and why, what came out, and the likely mistake. Its
        attribute ``part`` names the part.
    TypeError, ValueError
        When ``norm`` is no class or function.

    Examples
    --------
    >>> import hourglass as hg
    >>> hg.check_batch_norm(hg.nn.ManualBatchNorm)
    ManualBatchNorm is a batch normalisation: 15 parts passed.
      construction, output, gamma and beta, mean, variance, epsilon, initial values, scale and shift, gradient, \
inference, moving mean, moving variance, state, rows (n, c), channels last
      epsilon 1e-05; share of a new batch in the moving averages 0.1; they average the unbiased variance; tried in \
float64
    """
    if isinstance(norm, str):
        raise TypeError(f"norm={norm!r} is a name; give the class or function itself, as check_batch_norm(MyBatchNorm)")
    check_known(norm)
    trial = Trial(norm)
    with _untouched():
        for trial.part, check in _PARTS.items():
            check(trial)
        passed, notes = list(_PARTS), []
        other = next(kind for shape, kind in KINDS.items() if shape != trial.shape)
        trial.part = other
        if refused := check_other_shape(trial):
            notes.append(f"left out: {refused}")
        else:
            passed.append(other)
        if trial.shape == MAPS or not refused:
            trial.part = "channels last"
            check_layout(trial)
            passed.append(trial.part)
        for trial.part, inexact in (("large means", large_means), ("bfloat16", bfloat16)):
            said = inexact(trial)
            if said and precise:
                raise trial.error(
                    done=_INEXACT[trial.part],
                    expected="the same as in double precision, but for the rounding of the output.",
                    found="a mean or a variance that differs by more than that.",
                    mistake=f"{said}.",
                )
            if said:
                notes.append(said)
            elif precise:
                passed.append(trial.part)
    same = max(trial.shares) - min(trial.shares) < 0.02 * max(trial.shares)
    return BatchNormReport(
        name=trial.name,
        passed=tuple(passed),
        notes=tuple(notes),
        eps=trial.eps,
        momentum=trial.shares[0] if same else None,
        stored_variance=trial.stored,
        dtype=str(trial.dtype).removeprefix("torch."),
    )


@contextmanager
def _untouched() -> Iterator[None]:
    """Gradients enabled, and the global states of random numbers put back afterwards."""
    states = random.getstate(), np.random.get_state()  # noqa: NPY002  # saves the global state, which is restored below
    try:
        with torch.random.fork_rng([]), torch.device("cpu"), torch.inference_mode(mode=False), torch.enable_grad():
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002  # restores the global state
