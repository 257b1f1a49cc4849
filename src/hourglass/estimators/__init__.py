"""Autoencoders and a classifier with scikit-learn's interface."""

from hourglass.estimators.autoencoder_base import Autoencoder
from hourglass.estimators.autoencoders import ConvAutoencoder, DenseAutoencoder
from hourglass.estimators.base import NetworkEstimator
from hourglass.estimators.classifier import ConvClassifier

__all__ = ["Autoencoder", "ConvAutoencoder", "ConvClassifier", "DenseAutoencoder", "NetworkEstimator"]
