"""Picture files of any size, depth and mode through an autoencoder."""

from hourglass.pictures.crops import training_images
from hourglass.pictures.files import SUFFIXES, Picture, read_picture, write_picture
from hourglass.pictures.folders import Outcome, find_pictures, plan, process
from hourglass.pictures.restorer import PictureRestorer
from hourglass.pictures.tiling import apply_in_tiles

__all__ = [
    "SUFFIXES",
    "Outcome",
    "Picture",
    "PictureRestorer",
    "apply_in_tiles",
    "find_pictures",
    "plan",
    "process",
    "read_picture",
    "training_images",
    "write_picture",
]
