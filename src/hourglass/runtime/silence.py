"""Silence of other packages' warnings, on any number of threads."""

import threading
import warnings
from typing import Any


class _Silence:
    """Context in which the warnings of other packages are not shown, on any number of threads at once.

    All threads share Python's filters of warnings. The first thread that enters changes them, and the last one that
    leaves restores them.
    """

    def __init__(self) -> None:
        self._lock, self._inside = threading.Lock(), 0

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._before: Any = warnings.catch_warnings()
                self._before.__enter__()
                warnings.filterwarnings("ignore", module=r"(?!hourglass)")
            self._inside += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._before.__exit__(*error)


libraries_silenced = _Silence()
"""Context in which the warnings of other packages are not shown; it may be entered on several threads."""
