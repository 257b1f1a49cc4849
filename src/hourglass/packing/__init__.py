"""From image files to one Zarr, from which data are read that are larger than memory."""

from hourglass.packing.pack import pack_images

__all__ = [
    "pack_images",
]
