"""Models that come in the package, each in a folder with its model card."""

from pathlib import Path

PRETRAINED = ("photo", "photo-grey", "digits")
"""Names of the models."""

# Models that are used together, by the name of the first: for colour and for grey images.
_TOGETHER = {"photo": ("photo", "photo-grey")}


def names_of(name: str) -> tuple[str, ...]:
    """Name the models that are used together under a name, such as ``photo`` and ``photo-grey`` under ``photo``."""
    return _TOGETHER.get(name, (name,))


def folder_of(name: str) -> Path:
    """Return the folder of a model of the package."""
    return Path(__file__).parent / name
