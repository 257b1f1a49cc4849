"""What produced the numbers of a run: versions, processor, device."""

import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

import hourglass
from hourglass.estimators import NetworkEstimator
from hourglass.runtime import ranks


def environment(estimator: NetworkEstimator) -> dict[str, Any]:
    """Describe what produced the numbers of a run.

    Parameters
    ----------
    estimator : NetworkEstimator
        Fitted estimator.

    Returns
    -------
    dict of str to JSON values
        Versions, platform, processor, device, precision, number of threads and, if there are several, of processes, and
        the present date and time in UTC, by name.
    """
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "hourglass": hourglass.__version__,
        "platform": platform.platform(terse=True),
        "processor": _processor(estimator.device_),
        "device": estimator.device_,
        "precision": estimator.precision_,
        "threads": torch.get_num_threads(),
        **({"processes": ranks.count()} if ranks.count() > 1 else {}),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _processor(device: str) -> str:
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
