"""The Zarr group that ``hourglass pack`` writes: where it is, what is in it, and whether it is complete.

Attributes of the group, under ``hourglass``:

``format``
    Version of this layout.
``complete``
    True after the last block was written.
``white``
    Number that is white in the images; 0 is black.
``label_names``
    Names of the labels 0, 1, 2, …, or an empty list.
``prepared``
    How the images were made of the files, in words.
``request``
    SHA-256 of the list of files and the options, by which an interrupted pack is recognised; empty until the group has
    all its arrays.

Its arrays, for n images of F files in B blocks:

``images`` (n, h, w, c), uint8 or uint16
    One block is one shard.
``files`` (n,), int32, ``planes`` (n,), int32, ``corners`` (n, 2), int32, ``sizes`` (n, 2), int32
    File of each image, number of the image in the file, first row and column, and height and width of the image there.
``labels`` (n,), int32
    Only where there are labels.
``names`` (F, length), uint8
    Path of each file in UTF-8, filled up with zeros.
``checksums`` (B, 32), uint8, ``extremes`` (B, 2), uint16
    SHA-256 of the numbers of each block (uint16 in little-endian order), and their smallest and largest number.
``sums`` (B, h, w, c), uint64
    Sum of the images of each block; only where a block has 32 images or more.
``unfinished`` (B, length), uint8
    Only until the store is complete: for each block that is written, 1, its checksum, its extremes and its sum.
"""

import importlib.util
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FORMAT = 1
KEY = "hourglass"
# What the attributes of every version of this format have, and their types.
_ATTRIBUTES = {"complete": bool, "white": int, "label_names": list, "prepared": str, "request": str}
_REPEAT = "repeat the command `hourglass pack` with --resume"


def is_url(location: str | os.PathLike[str]) -> bool:
    """Whether a place is an address such as ``s3://bucket/images.zarr``, and not a path."""
    return isinstance(location, str) and "://" in location


def is_zarr(location: str | os.PathLike[str]) -> bool:
    """Whether a place is an address, or a path that ends in ``.zarr`` or is that of a Zarr group."""
    if is_url(location):
        return True
    path = Path(location)
    return path.suffix.lower() == ".zarr" or (path / "zarr.json").is_file()


def unfinished_place(location: str | os.PathLike[str]) -> Path:
    """Folder beside the path of a Zarr, in which it is packed until it is complete."""
    path = Path(location)
    return path.with_name(f".{path.name}.unfinished")


def import_zarr(location: str | os.PathLike[str]) -> Any:
    """Import zarr, or raise ImportError with the extra that has what a place needs."""
    try:
        import zarr
    except ImportError as error:
        raise ImportError(f"{location} needs the extra 'zarr' ({error}); pip install 'hourglass-lab[zarr]'") from error
    if is_url(location):
        protocol = str(location).partition("://")[0]
        if importlib.util.find_spec("fsspec") is None or (
            protocol in ("s3", "s3a") and importlib.util.find_spec("s3fs") is None
        ):
            raise ImportError(f"{location} needs the extra 's3'; pip install 'hourglass-lab[s3]'")
    return zarr


def open_group(
    location: str | os.PathLike[str],
    *,
    mode: str,
    options: Mapping[str, Any] | None = None,
    attributes: Mapping[str, Any] | None = None,
) -> Any:
    """Open or create a Zarr group at a path or an address.

    Parameters
    ----------
    location : path-like or str
        Path, or address that fsspec knows.
    mode : {"r", "r+", "a", "w-", "w"}
        Read, change, create unless a group is there, create where nothing is, or create after everything that is there
        was deleted.
    options : mapping of str to object, optional
        Options of the file system of an address.
    attributes : mapping of str to JSON values, optional
        Attributes of a group that is created, under ``hourglass``; they are written together with the group.

    Returns
    -------
    zarr.Group
        The group.

    Raises
    ------
    FileNotFoundError
        When nothing is there.
    ImportError
        When an extra is missing.
    OSError
        When the file system refuses.
    """
    zarr = import_zarr(location)
    where: dict[str, Any] = {"store": os.fspath(location)}
    if is_url(location):
        where["storage_options"] = dict(options or {})
    if attributes is not None:
        where["attributes"] = {KEY: dict(attributes)}
    try:
        return zarr.open_group(**where, mode=mode, zarr_format=3)
    except FileNotFoundError as error:
        if not is_url(location) and unfinished_place(location).exists():
            raise FileNotFoundError(f"{location} is not complete, since packing was interrupted; {_REPEAT}") from error
        raise FileNotFoundError(
            f"{location} is not a Zarr of images; name one that `hourglass pack` has written"
        ) from error
    except OSError:
        raise
    except ImportError as error:
        raise ImportError(f"{location} needs a package of its file system: {error}") from error
    except Exception as error:  # each file system has errors of its own
        raise OSError(f"{location} cannot be opened ({type(error).__name__}: {error})") from error


def read_attributes(group: Any, location: object) -> dict[str, Any]:
    """Read what ``hourglass pack`` noted of a group.

    Parameters
    ----------
    group : zarr.Group
        The group.
    location : object
        Its place, for messages.

    Returns
    -------
    dict of str to JSON values
        The attributes that this module describes.

    Raises
    ------
    ValueError
        When the group is of another program, or of another version of this one.
    """
    found = dict(group.attrs).get(KEY)
    if not isinstance(found, dict):
        raise ValueError(f"{location} is a Zarr that `hourglass pack` has not written; pack its images first")
    if found.get("format") != FORMAT:
        raise ValueError(
            f"{location} has format {found.get('format')!r}, and this version of hourglass reads {FORMAT}; "
            "pack the images again, or install the version that wrote it"
        )
    wrong = [name for name, kind in _ATTRIBUTES.items() if not isinstance(found.get(name), kind)]
    if wrong:
        raise ValueError(f"{location} is damaged: it lacks {wrong[0]} among its attributes; pack the images again")
    return found


def open_complete(location: str | os.PathLike[str], options: Mapping[str, Any] | None) -> tuple[Any, dict[str, Any]]:
    """Open a group for reading, and check that it is complete.

    Parameters
    ----------
    location : path-like or str
        Path or address.
    options : mapping of str to object or None
        Options of the file system of an address.

    Returns
    -------
    group : zarr.Group
        The group.
    attributes : dict of str to JSON values
        Its attributes.

    Raises
    ------
    FileNotFoundError
        When nothing is there.
    ValueError
        When the group is not one of images, is not complete or is damaged.
    """
    group = open_group(location, mode="r", options=options)
    attributes = read_attributes(group, location)
    if not attributes["complete"]:
        raise ValueError(f"{location} is not complete, since packing was interrupted; {_REPEAT}")
    return group, attributes


def array_of(group: Any, name: str, location: object, *, axes: int) -> Any:
    """Get an array of a group.

    Parameters
    ----------
    group : zarr.Group
        The group.
    name : str
        Name of the array.
    location : object
        Place of the group, for messages.
    axes : int
        Number of axes that the array must have.

    Returns
    -------
    zarr.Array
        The array, whose numbers have not been read.

    Raises
    ------
    ValueError
        When it is missing or has another number of axes.
    """
    try:
        array = group[name]
    except KeyError as error:
        raise ValueError(f"{location} is damaged: it lacks the array {name}; pack the images again") from error
    if getattr(array, "ndim", None) != axes:
        raise ValueError(f"{location} is damaged: {name} is no array of {axes} axes; pack the images again")
    return array
