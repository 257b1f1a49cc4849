"""Image files of every format that is read, by what is in them."""

import os
import stat
from pathlib import Path

from hourglass.imagefiles.image import ImageFile
from hourglass.imagefiles.numpy_arrays import NPY, NPZ, ArrayFile
from hourglass.imagefiles.raster.rasters import open_raster
from hourglass.imagefiles.tiff.tiffs import open_tiff

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# Enough to know a format by.
_HEAD = 4096


def open_image(path: str | os.PathLike[str]) -> ImageFile:
    """Look at an image file.

    Parameters
    ----------
    path : path-like
        Its first bytes say what it is; the name does not matter.

    Returns
    -------
    ImageFile
        To be closed.

    Raises
    ------
    OSError
        When it cannot be read, is damaged or is no image.
    ValueError
        When it is an image of a kind that is not served; the message says which, and what to do.
    """
    path = Path(path)
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):  # a pipe would be waited for
        raise OSError(f"{path} is not a file")
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if not head:
        raise OSError(f"{path} is empty; copy it again from where it came")
    if head.startswith(_TIFF):
        return open_tiff(path)
    if head.startswith((NPY, NPZ)):
        return ArrayFile(path)
    return open_raster(path)
