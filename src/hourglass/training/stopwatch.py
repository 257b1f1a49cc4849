"""Measurement of the time that training takes, without evaluation."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

# Number of first steps that images_per_second leaves out, while caches, threads and kernels warm up.
WARMUP_STEPS = 20
# A coarse clock may not have moved yet.
_SHORTEST = 1e-9


class Stopwatch:
    """Counts seconds in training, and images per second without the first 20 steps.

    Attributes
    ----------
    images_per_second : float or None
        Speed, set by :meth:`stop`; None before, and where there were no more than 20 steps.
    """

    def __init__(self) -> None:
        self.images_per_second: float | None = None
        self._counted = 0.0
        self._since: float | None = None
        # Step, images and seconds from which the speed is counted.
        self._mark: tuple[int, int, float] | None = None

    @property
    def seconds(self) -> float:
        """Seconds counted so far."""
        running = 0.0 if self._since is None else time.perf_counter() - self._since
        return self._counted + running

    def start(self, step: int, images: int) -> None:
        """Begin to count, or resume.

        Parameters
        ----------
        step : int
            Number of steps done already.
        images : int
            Number of images seen already.
        """
        self._since = time.perf_counter()
        self._mark = None
        self.pass_step(step, images, begins=True)

    def pass_step(self, step: int, images: int, *, begins: bool = False) -> None:
        """Note that a step is done.

        Parameters
        ----------
        step : int
            Number of steps done.
        images : int
            Number of images seen.
        begins : bool, default=False
            Whether counting begins here; the warm-up may then be over already.
        """
        if step == WARMUP_STEPS or (begins and step > WARMUP_STEPS):
            self._mark = step, images, self.seconds

    def stop(self, step: int, images: int) -> None:
        """End counting, and compute the speed.

        Parameters
        ----------
        step : int
            Number of steps done.
        images : int
            Number of images seen.
        """
        self._counted, self._since = self.seconds, None
        if self._mark is not None and step > self._mark[0]:
            _, marked, before = self._mark
            self.images_per_second = (images - marked) / max(self._counted - before, _SHORTEST)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave the time of the block out.

        Yields
        ------
        None
            Nothing.
        """
        self._counted, self._since = self.seconds, None
        yield
        self._since = time.perf_counter()

    def set(self, seconds: float) -> None:
        """Set the seconds counted so far, as an earlier process counted them.

        Parameters
        ----------
        seconds : float
            Seconds, from 0.
        """
        self._counted = seconds
