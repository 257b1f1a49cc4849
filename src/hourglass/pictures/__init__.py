"""Image files of any size, depth and structure through an autoencoder."""

from hourglass.pictures.crops import TrainingImages, read_images, training_images
from hourglass.pictures.files import open_image
from hourglass.pictures.folders import Found, Outcome, OutputFullError, Plan, find_images, plan, process
from hourglass.pictures.formats import suffixes
from hourglass.pictures.image import ImageFile, Numbers, Plane
from hourglass.pictures.ranges import Ranges, ValueRange, parse_range
from hourglass.pictures.restorer import PictureRestorer
from hourglass.pictures.tiling import apply_in_tiles

__all__ = [
    "Found",
    "ImageFile",
    "Numbers",
    "Outcome",
    "OutputFullError",
    "PictureRestorer",
    "Plan",
    "Plane",
    "Ranges",
    "TrainingImages",
    "ValueRange",
    "apply_in_tiles",
    "find_images",
    "open_image",
    "parse_range",
    "plan",
    "process",
    "read_images",
    "suffixes",
    "training_images",
]
