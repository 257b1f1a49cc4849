"""scikit-learn's ``MLPRegressor`` as a dense autoencoder: it has a linear output and half the squared error as loss."""

import time

import numpy as np
from sklearn.neural_network import MLPRegressor

from protocol import WARMUP, Contestant, serve


class SklearnMlp(Contestant):
    """``partial_fit``: one pass over what it is given."""

    def train(self, steps, seed):
        flat = self.images.reshape(len(self.images), -1)
        order = np.random.default_rng(seed).permutation(len(flat))
        rows = flat[np.resize(order, (steps + WARMUP) * self.workload.batch)]
        first = WARMUP * self.workload.batch
        self.model = MLPRegressor(
            hidden_layer_sizes=(32,),
            batch_size=self.workload.batch,
            learning_rate_init=self.workload.learning_rate,
            random_state=seed,
        )
        self.model.partial_fit(rows[:first], rows[:first])
        started = time.perf_counter()
        self.model.partial_fit(rows[first:], rows[first:])
        return time.perf_counter() - started, float(self.model.loss_)

    def reconstruct(self, images):
        return self.model.predict(images.reshape(len(images), -1))


serve(SklearnMlp)
