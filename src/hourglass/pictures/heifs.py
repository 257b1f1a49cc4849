"""AVIF and HEIC."""
from typing import ClassVar
from hourglass.pictures.stills import LossyStill


class Avif(LossyStill):
    format: ClassVar[str] = "AVIF"


class Heic(LossyStill):
    format: ClassVar[str] = "HEIC"
