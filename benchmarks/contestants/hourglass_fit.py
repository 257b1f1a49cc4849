"""This package, through the estimators that its users have; precision from ``HOURGLASS_PRECISION``."""

import os

import numpy as np

from hourglass.experiments import EXPERIMENTS
from protocol import LOSS_OVER, WARMUP, Contestant, serve


class HourglassFit(Contestant):
    """``fit`` for so many steps; its own clock leaves out setting up and the first 20."""

    def train(self, steps, seed):
        self.estimator = EXPERIMENTS[self.workload.name].configure(
            "classic",
            n_steps=steps + WARMUP,
            precision=os.environ.get("HOURGLASS_PRECISION", "float32"),
            device="cpu",
            report_every=1_000_000,
        )
        self.estimator.set_params(random_state=seed)
        labels = self.labels.argmax(1) if self.workload.classifies else None
        self.estimator.fit(self.images, labels)
        seconds = steps * self.workload.batch / self.estimator.images_per_second_
        return seconds, float(np.mean(self.estimator.history_.loss[-LOSS_OVER:]))

    def reconstruct(self, images):
        return self.estimator.reconstruct(images)

    def encode(self, images):
        return self.estimator.transform(images)


serve(HourglassFit)
