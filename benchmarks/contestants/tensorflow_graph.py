"""The lessons' graphs on TensorFlow's v1 API: placeholders, a session, feeds of NumPy arrays."""

import os

os.environ.update(TF_USE_LEGACY_KERAS="1", TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="")

import numpy as np
import tensorflow.compat.v1 as tf

from protocol import NOISE, Batches, Contestant, serve

tf.disable_v2_behavior()
tf.logging.set_verbosity(tf.logging.ERROR)


def conv(x, channels, activation=tf.nn.relu, **more):
    """3×3 'same' convolution."""
    return tf.layers.conv2d(x, channels, 3, padding="same", activation=activation, **more)


class TensorFlowGraph(Contestant):
    """A session on one graph."""

    def __init__(self, workload, data):
        super().__init__(workload, data)
        self.build_classifier() if workload.classifies else self.build_autoencoder()
        with tf.control_dependencies(tf.get_collection(tf.GraphKeys.UPDATE_OPS)):
            self.update = tf.train.AdamOptimizer(workload.learning_rate).minimize(self.loss)
        self.init = tf.global_variables_initializer()
        self.session = tf.Session()

    def build_autoencoder(self):
        dense = self.workload.name == "dense"
        self.input = tf.placeholder(tf.float32, (None, 784) if dense else (None, None, None, 1))
        self.target = tf.placeholder(tf.float32, (None, 784) if dense else (None, None, None, 1))
        if dense:
            self.code = tf.layers.dense(self.input, 32, activation=tf.nn.relu)
            logits = tf.layers.dense(self.code, 784)
        else:
            x, sizes = self.input, []
            for channels in self.workload.channels:
                sizes.append(tf.shape(x)[1:3])
                x = tf.layers.max_pooling2d(conv(x, channels), 2, 2, padding="same")
            self.code = x
            for channels in self.workload.channels[::-1]:
                x = conv(tf.image.resize_nearest_neighbor(x, sizes.pop()), channels)
            logits = conv(x, 1, None)
        self.output = tf.sigmoid(logits)
        self.loss = tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels=self.target, logits=logits))

    def build_classifier(self):
        self.input = tf.placeholder(tf.float32, (None, 28, 28, 1))
        self.target = tf.placeholder(tf.float32, (None, 10))
        self.training = tf.placeholder(tf.bool)
        x, bias = self.input, self.workload.name == "bn-none"
        for depth in range(1, 20):
            truncated = tf.truncated_normal_initializer(stddev=0.05) if self.workload.name == "bn-manual" else None
            stride = 2 if depth % 3 == 0 else 1
            x = conv(x, 4 * depth, None, strides=stride, use_bias=bias, kernel_initializer=truncated)
            x = tf.nn.relu(self.normalise(x, [0, 1, 2]))
        x = tf.layers.dense(tf.layers.flatten(x), 100, use_bias=bias)
        logits = tf.layers.dense(tf.nn.relu(self.normalise(x, [0])), 10)
        self.loss = tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels=self.target, logits=logits))

    def normalise(self, x, axes):
        """Nothing, the framework's layer, or the moments and moving statistics written out."""
        if self.workload.name == "bn-none":
            return x
        if self.workload.name == "bn-layer":
            return tf.layers.batch_normalization(x, training=self.training)
        channels = int(x.shape[-1])
        gamma, beta = tf.Variable(tf.ones([channels])), tf.Variable(tf.zeros([channels]))
        moving = [tf.Variable(start([channels]), trainable=False) for start in (tf.zeros, tf.ones)]

        def in_training():
            moments = tf.nn.moments(x, axes)
            updates = [tf.assign(old, old * 0.99 + new * 0.01) for old, new in zip(moving, moments, strict=True)]
            with tf.control_dependencies(updates):
                return tf.nn.batch_normalization(x, *moments, beta, gamma, 1e-3)

        def in_inference():
            return tf.nn.batch_normalization(x, *moving, beta, gamma, 1e-3)

        return tf.cond(self.training, in_training, in_inference)

    def reset(self, seed):
        self.session.run(self.init)
        self.batches = Batches(len(self.images), self.workload.batch, seed)
        self.random = np.random.RandomState(seed)

    def step(self):
        index = self.batches.next()
        images = self.shaped(self.images[index])
        if self.workload.classifies:
            feed = {self.input: images, self.target: self.labels[index], self.training: True}
        else:
            noisy = images
            if self.workload.name == "denoise":
                noisy = np.clip(images + NOISE * self.random.randn(*images.shape), 0, 1)
            feed = {self.input: noisy, self.target: images}
        return self.session.run([self.loss, self.update], feed)[0]

    def reconstruct(self, images):
        return self.in_pieces(self.output, images)

    def encode(self, images):
        return self.in_pieces(self.code, images)

    def in_pieces(self, tensor, images):
        pieces = [images[i : i + 1000] for i in range(0, len(images), 1000)]
        return np.concatenate([self.session.run(tensor, {self.input: self.shaped(piece)}) for piece in pieces])

    def shaped(self, images):
        return images.reshape(len(images), -1) if self.workload.name == "dense" else images


serve(TensorFlowGraph)
