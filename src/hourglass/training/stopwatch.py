"""Time that training takes, without what is no part of it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

# Steps that images_per_second leaves out: caches, threads and kernels settle in them.
WARMUP_STEPS = 20
# A coarse clock may not have moved yet.
_SHORTEST = 1e-9


class Stopwatch:
    """Seconds in training, and images per second without the first steps.

    Attributes
    ----------
    images_per_second : float or None
        As of :meth:`stop`; None before, and where there were no more than the first 20 steps.
    """

    def __init__(self) -> None:
        self.images_per_second: float | None = None
        self._counted = 0.0
        self._since: float | None = None
        # Step, images and seconds from which the speed is counted.
        self._mark: tuple[int, int, float] | None = None

    @property
    def seconds(self) -> float:
        """Counted until now."""
        running = 0.0 if self._since is None else time.perf_counter() - self._since
        return self._counted + running

    def start(self, step: int, images: int) -> None:
        """Begin or resume after a step, with so many images seen."""
        self._since = time.perf_counter()
        self._mark = None
        self.pass_step(step, images, begins=True)

    def pass_step(self, step: int, images: int, *, begins: bool = False) -> None:
        """Note that a step is done, with so many images seen."""
        if step == WARMUP_STEPS or (begins and step > WARMUP_STEPS):
            self._mark = step, images, self.seconds

    def stop(self, step: int, images: int) -> None:
        """End after a step, with so many images seen."""
        self._counted, self._since = self.seconds, None
        if self._mark is not None and step > self._mark[0]:
            _, marked, before = self._mark
            self.images_per_second = (images - marked) / max(self._counted - before, _SHORTEST)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave out what the block takes."""
        self._counted, self._since = self.seconds, None
        yield
        self._since = time.perf_counter()

    def set(self, seconds: float) -> None:
        """Take over the seconds of an earlier process."""
        self._counted = seconds
