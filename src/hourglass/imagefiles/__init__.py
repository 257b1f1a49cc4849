"""Image files of any size, depth and structure through an autoencoder."""

from hourglass.imagefiles.crop_source import ImageFolderSource
from hourglass.imagefiles.crops import TrainingImages, read_images, training_images
from hourglass.imagefiles.files import open_image
from hourglass.imagefiles.folders import Found, Plan, find_images, plan
from hourglass.imagefiles.formats import suffixes
from hourglass.imagefiles.image import ImageFile, Numbers, Plane
from hourglass.imagefiles.processing import Outcome, OutputFullError, process
from hourglass.imagefiles.ranges import Ranges, parse_range
from hourglass.imagefiles.restorer import ImageRestorer
from hourglass.imagefiles.shards import Shard
from hourglass.imagefiles.value_ranges import ValueRange
from hourglass.runtime.workers import Workers

__all__ = [
    "Found",
    "ImageFile",
    "ImageFolderSource",
    "ImageRestorer",
    "Numbers",
    "Outcome",
    "OutputFullError",
    "Plan",
    "Plane",
    "Ranges",
    "Shard",
    "TrainingImages",
    "ValueRange",
    "Workers",
    "find_images",
    "open_image",
    "parse_range",
    "plan",
    "process",
    "read_images",
    "suffixes",
    "training_images",
]
