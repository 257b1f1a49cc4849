"""Training on a folder of images: from files to a model in a folder that can be resumed and lengthened."""

from hourglass.image_training.on_images import read_images, train_on_images
from hourglass.image_training.settings import NETWORKS, configure

__all__ = [
    "NETWORKS",
    "configure",
    "read_images",
    "train_on_images",
]
