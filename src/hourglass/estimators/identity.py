"""What makes a training this one and no other: checkpoints of another one are refused."""

import re
from typing import Any

from hourglass.estimators.held_out import HeldOut
from hourglass.training import Source

# Parameters of one training on one machine: no part of a model, nor of what a run is compared by.
CHECKPOINT_PARAMETERS = ("checkpoint_dir", "checkpoint_every")


_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def identity_of(estimator: Any, source: Source, validation: HeldOut | None, n_steps: int) -> dict[str, Any]:
    """Collect everything that determines what a training computes.

    Parameters
    ----------
    estimator : NetworkEstimator
        Estimator to train, which knows its device and precision.
    source : Source
        Training data.
    validation : HeldOut or None
        Images that are held out.
    n_steps : int
        Number of training steps.

    Returns
    -------
    dict of str to JSON values
        Kind and parameters of the estimator, and fingerprints of the data, by name.
    """
    identity: dict[str, Any] = {"estimator": type(estimator).__name__, "n_steps": n_steps}
    identity |= {"precision": estimator.precision_, "device": estimator.device_.partition(":")[0]}
    # The parameter ``n_steps`` is in the number of steps already.
    elsewhere = {"n_steps", "precision", "device", "verbose", *CHECKPOINT_PARAMETERS}
    for name in sorted(estimator.get_params().keys() - elsewhere):
        value = getattr(estimator, name)
        # The address of an object, which a function shows, says nothing and differs between processes.
        identity[name] = value if isinstance(value, bool | int | float | str | None) else _ADDRESS.sub("", repr(value))
    identity |= getattr(estimator, "_identity", dict)()  # what the parameters name and do not contain
    # How data are identified: a checkpoint with other fingerprints says so when it is refused.
    identity["fingerprint"] = "SHA-256"
    identity["validation"] = [] if validation is None else list(validation.source.fingerprint.values())
    prints = source.fingerprint
    # A source chooses its own names, and must not replace anything of the training by one of them.
    prefix = "data." if prints.keys() & identity else ""
    identity |= {prefix + name: value for name, value in prints.items()}
    return identity
