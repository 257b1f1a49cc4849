"""Image files of any size, depth and structure through an autoencoder."""

from hourglass.imagefiles.crops import TrainingImages, read_images, training_images
from hourglass.imagefiles.files import open_image
from hourglass.imagefiles.folders import Found, Outcome, OutputFullError, Plan, find_images, plan, process
from hourglass.imagefiles.formats import suffixes
from hourglass.imagefiles.image import ImageFile, Numbers, Plane
from hourglass.imagefiles.ranges import Ranges, ValueRange, parse_range
from hourglass.imagefiles.restorer import ImageRestorer

__all__ = [
    "Found",
    "ImageFile",
    "ImageRestorer",
    "Numbers",
    "Outcome",
    "OutputFullError",
    "Plan",
    "Plane",
    "Ranges",
    "TrainingImages",
    "ValueRange",
    "find_images",
    "open_image",
    "parse_range",
    "plan",
    "process",
    "read_images",
    "suffixes",
    "training_images",
]
