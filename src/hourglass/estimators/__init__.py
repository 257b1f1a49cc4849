"""Autoencoders and a classifier with scikit-learn's interface."""

from hourglass.estimators.autoencoder_base import Autoencoder
from hourglass.estimators.base import NetworkEstimator
from hourglass.estimators.classifier import ConvClassifier
from hourglass.estimators.classifier_base import Classifier
from hourglass.estimators.conv_autoencoder import ConvAutoencoder
from hourglass.estimators.dense_autoencoder import DenseAutoencoder
from hourglass.estimators.image_denoiser import ImageDenoiser

ESTIMATORS: dict[str, type[NetworkEstimator]] = {
    cls.__name__: cls for cls in (ConvAutoencoder, ConvClassifier, DenseAutoencoder, ImageDenoiser)
}
"""Every estimator that can be read from a file, by its class's name; one from elsewhere is added by
``ESTIMATORS["MyAutoencoder"] = MyAutoencoder``."""

__all__ = [
    "ESTIMATORS",
    "Autoencoder",
    "Classifier",
    "ConvAutoencoder",
    "ConvClassifier",
    "DenseAutoencoder",
    "ImageDenoiser",
    "NetworkEstimator",
]
