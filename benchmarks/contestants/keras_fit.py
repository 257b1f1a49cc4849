"""The networks in Keras 3 with ``model.fit``; the backend is that of ``KERAS_BACKEND``."""

import os
import time

os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="", JAX_PLATFORMS="cpu")

import keras
import numpy as np
from keras import layers

from protocol import LOSS_OVER, NOISE, WARMUP, Contestant, serve


def conv(channels, activation="relu", **more):
    """3×3 'same' convolution."""
    return layers.Conv2D(channels, 3, padding="same", activation=activation, **more)


def autoencoder(workload, size):
    """The autoencoder, its encoder, and for ``denoise`` the noise that training adds."""
    if workload.name == "dense":
        encoder = keras.Sequential([keras.Input((784,)), layers.Dense(32, activation="relu")])
        return keras.Sequential([encoder, layers.Dense(784)]), encoder
    x = given = keras.Input((size, size, 1))
    if workload.name == "denoise":
        x = layers.ReLU(max_value=1.0)(layers.GaussianNoise(NOISE)(x))
    sizes = []
    for channels in workload.channels:
        sizes.append(size)
        x = layers.MaxPooling2D(2, padding="same")(conv(channels)(x))
        size = None if size is None else -(-size // 2)
    encoder = keras.Model(given, x)
    for channels in workload.channels[::-1]:
        x = layers.UpSampling2D(2)(x)
        wanted = sizes.pop()
        if wanted is not None and wanted % 2:
            x = layers.Cropping2D(((0, 1), (0, 1)))(x)
        x = conv(channels)(x)
    return keras.Model(given, conv(1, None)(x)), encoder


def classifier(norm):
    """Nineteen convolutions, two dense layers."""
    bias = norm == "bn-none"
    kernels = keras.initializers.TruncatedNormal(stddev=0.05) if norm == "bn-manual" else "glorot_uniform"
    model = keras.Sequential([keras.Input((28, 28, 1))])
    for depth in range(1, 20):
        stride = 2 if depth % 3 == 0 else 1
        model.add(conv(4 * depth, None, strides=stride, use_bias=bias, kernel_initializer=kernels))
        if not bias:
            model.add(layers.BatchNormalization())
        model.add(layers.ReLU())
    model.add(layers.Flatten())
    model.add(layers.Dense(100, use_bias=bias))
    if not bias:
        model.add(layers.BatchNormalization())
    model.add(layers.ReLU())
    model.add(layers.Dense(10))
    return model


class Clock(keras.callbacks.Callback):
    """Seconds from the end of the warm-up to the end, and each step's own loss."""

    def __init__(self):
        super().__init__()
        self.losses, self.means = [], 0.0

    def on_train_batch_end(self, batch, logs=None):
        # Keras shows the mean over the epoch so far.
        total = float(logs["loss"]) * (batch + 1)
        self.losses.append(total - self.means)
        self.means = total
        if batch + 1 == WARMUP:
            self.started = time.perf_counter()

    def on_train_end(self, logs=None):
        self.seconds = time.perf_counter() - self.started


class KerasFit(Contestant):
    """``compile`` and ``fit``."""

    def __init__(self, workload, data):
        super().__init__(workload, data)
        if workload.classifies:
            self.model = classifier(workload.name)
        else:
            self.model, self.encoder = autoencoder(workload, 28)
            if workload.name != "dense":
                self.any_size, _ = autoencoder(workload, None)
        self.model.compile(
            keras.optimizers.Adam(workload.learning_rate), keras.losses.BinaryCrossentropy(from_logits=True)
        )

    def train(self, steps, seed):
        keras.utils.set_random_seed(seed)
        # Fresh weights without a second compilation.
        fresh = keras.models.clone_model(self.model)
        self.model.set_weights(fresh.get_weights())
        for variable in self.model.optimizer.variables:
            if variable.path.rsplit("/", 1)[-1] != "learning_rate":
                variable.assign(np.zeros(variable.shape, variable.dtype))
        count = (steps + WARMUP) * self.workload.batch
        chosen = np.resize(np.random.default_rng(seed).permutation(len(self.images)), count)
        x = self.shaped(self.images[chosen])
        y = self.labels[chosen] if self.workload.classifies else x
        clock = Clock()
        self.model.fit(x, y, batch_size=self.workload.batch, epochs=1, verbose=0, callbacks=[clock])
        return clock.seconds, float(np.mean(clock.losses[-LOSS_OVER:]))

    def reconstruct(self, images):
        return self.sigmoid(self.model.predict(self.shaped(images), batch_size=1000, verbose=0))

    def encode(self, images):
        return self.encoder.predict(self.shaped(images), batch_size=1000, verbose=0)

    def large(self, image):
        self.any_size.set_weights(self.model.get_weights())
        return self.sigmoid(self.any_size.predict(image[None], verbose=0))[0]

    @staticmethod
    def sigmoid(logits):
        return 1 / (1 + np.exp(-logits))

    def shaped(self, images):
        return images.reshape(len(images), -1) if self.workload.name == "dense" else images


serve(KerasFit)
