"""Opening of an image file in any supported format, which its first bytes identify."""

import os
import stat
from pathlib import Path

from hourglass.imagefiles.image import ImageFile
from hourglass.imagefiles.numpy_arrays import NPY, NPZ, ArrayFile
from hourglass.imagefiles.raster.rasters import open_raster
from hourglass.imagefiles.tiff.tiffs import open_tiff

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# Number of bytes that identify a format.
_HEAD = 4096


def open_image(path: str | os.PathLike[str]) -> ImageFile:
    """Open an image file of any supported format.

    Parameters
    ----------
    path : path-like
        Path of the file. Its first bytes identify the format; its name does not matter.

    Returns
    -------
    ImageFile
        The open file, which the caller has to close.

    Raises
    ------
    OSError
        When the file cannot be read, is damaged or is not an image.
    ValueError
        When the file is an image of a kind that is not supported; the message names the kind and the remedy.
    """
    path = Path(path)
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):  # opening a pipe would block
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
