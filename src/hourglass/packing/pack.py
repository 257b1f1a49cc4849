"""Packing of image files into one Zarr."""

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from hourglass.errors import OptionError
from hourglass.imagefiles import Found, Outcome
from hourglass.imagefiles.remote import RemotePath
from hourglass.packing.block_writer import Packing, runs_of, write_run
from hourglass.packing.file_list import list_files
from hourglass.packing.store_arrays import rows_of, unwritten
from hourglass.packing.store_writer import StoreWriter
from hourglass.packing.survey import look
from hourglass.runtime.workers import Workers, on_workers
from hourglass.training import ZarrSource
from hourglass.training.zarr_chunks import BLOCK_BYTES, BlockSize
from hourglass.training.zarr_store import import_zarr


def _ignore(_: object) -> None:
    pass


def pack_images(
    images: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    crop: tuple[int, int] | None = None,
    jobs: int = 1,
    cluster: str | None = None,
    resume: bool = False,
    overwrite: bool = False,
    hidden: bool = False,
    block_bytes: int = BLOCK_BYTES,
    storage_options: Mapping[str, Any] | None = None,
    on_found: Callable[[Found], None] = _ignore,
    on_outcome: Callable[[Outcome], None] | None = None,
    on_begin: Callable[[int], None] = _ignore,
    on_blocks: Callable[[int], None] = _ignore,
    say: Callable[[str], None] = _ignore,
) -> ZarrSource:
    """Pack image files into one Zarr, from which training data are read that are larger than memory.

    All files are decoded once before anything is written, so that those that do not fit are found, and a second time
    when they are packed. The images keep their numbers, of 8 or 16 bits. If some are grey and some in colour, all
    become RGB. Alpha is left out, and pixels without data are filled from their neighbours. If all files lie in
    subfolders, and there are at least two subfolders, their names become the labels of the images. Files with labels
    are packed in a random order, always the same, so that every block has images of many labels. Other files are packed
    in the order of their paths.

    Packing takes about 90 bytes of memory for each image, and 0.8 kB for each file.

    The Zarr (version 3, sharded) also has the name and the original size of each image, and a SHA-256 of each block.
    On this machine, the Zarr appears under its name when it is complete. At an address it is there from the beginning,
    and every reader refuses it until it is complete.

    Parameters
    ----------
    images : path-like or sequence of path-like
        Image files, and folders, which are searched with their subfolders: paths, or addresses that fsspec knows.
    out : path-like or str
        Path of the Zarr, such as ``images.zarr``, or an address that fsspec knows, such as ``s3://bucket/images.zarr``.
    crop : tuple of (int, int), optional
        Height and width in pixels of the crops into which each image is divided: side by side, and centred where they
        do not fill the image. By default whole images are packed, which must have one size.
    jobs : int, default=1
        Number of processes that decode and write, each on one core.
    cluster : str, optional
        Address of a Dask scheduler or a Ray head node whose workers do this, in place of ``jobs``. They need the same
        files under the same paths.
    resume : bool, default=False
        Whether an interrupted packing is resumed: its blocks that are complete are kept. The files and options must be
        the same. A complete Zarr is left as it is.
    overwrite : bool, default=False
        Whether a Zarr of images that exists is replaced, and an interrupted packing begins again.
    hidden : bool, default=False
        Whether hidden files and folders are included.
    block_bytes : int, default=4194304
        Bytes of a block at most, unless one image has more. A block is a shard: one file or object. It is what a
        training reads at once.
    storage_options : mapping of str to object, optional
        Options of the file system of ``out``, as fsspec takes them. Image files at addresses are read with the options
        that the environment gives.
    on_found : callable, optional
        Function that is called with the :class:`hourglass.imagefiles.Found` files before they are read.
    on_outcome : callable, optional
        Function that is called with the :class:`hourglass.imagefiles.Outcome` of each file when it is first decoded.
        With it, all files that cannot be packed are reported before the call fails; without, the first one's error is
        raised.
    on_begin : callable, optional
        Function that is called with the number of blocks that have to be written.
    on_blocks : callable, optional
        Function that is called with the number of blocks each time that some were written.
    say : callable, optional
        Function that is called with lines of text: the labels, and how much is left to do.

    Returns
    -------
    ZarrSource
        The packed images.

    Raises
    ------
    OptionError
        When options contradict each other or are out of range; a ValueError, raised before any file is read.
    FileNotFoundError
        When a source does not exist, or is a folder without image files.
    FileExistsError
        When ``out`` exists, and neither ``overwrite`` nor ``resume`` is given, or it is not a Zarr of images.
    ValueError
        When files cannot be packed or do not fit together, or ``resume`` finds another packing.
    OSError
        When a file cannot be read, or the Zarr cannot be written.
    BlockingIOError
        When another process packs the same Zarr on this machine.
    ImportError
        When an extra is missing: ``zarr``, ``s3`` for an address, ``dask`` or ``ray`` for a cluster.

    See Also
    --------
    hourglass.training.ZarrSource : Reads the images in a training.

    Examples
    --------
    >>> import hourglass as hg
    >>> source = hg.pack_images("photos", "photos.zarr", crop=(64, 64))  # doctest: +SKIP
    >>> hg.ImageDenoiser(noise="0.05-0.2").fit(source)  # doctest: +SKIP
    """
    if resume and overwrite:
        raise OptionError("resume keeps what overwrite replaces; give one of them")
    if crop is not None and (len(crop) != 2 or min(crop) < 1):
        raise OptionError(f"crop={crop!r}; expected height and width in pixels, such as (64, 64)")
    if block_bytes < 1:
        raise OptionError(f"block_bytes={block_bytes}; expected a whole number above 0")
    if not os.fspath(out).lower().endswith(".zarr"):
        raise OptionError(f"{out} does not end in .zarr; name the Zarr to write, such as images.zarr")
    try:
        workers = Workers(jobs, cluster)
    except ValueError as error:
        raise OptionError(str(error)) from error
    import_zarr(out)
    writer = StoreWriter(out, storage_options)
    sources = [images] if isinstance(images, str | os.PathLike) else list(images)
    there = writer.check(resume=resume, overwrite=overwrite)
    files = list_files(sources, writer.local, hidden=hidden)
    location = writer.place
    if workers.folder is not None:  # workers have another working folder
        files = replace(
            files, paths=[path if isinstance(path, RemotePath) else path.absolute() for path in files.paths]
        )
        location = location if writer.local is None else str(Path(location).absolute())
    request = files.identity(crop, block_bytes)
    if there is not None:
        if there != request:
            raise ValueError(
                f"{out} was packed from other files or with other options; choose another name, or "
                "replace it (--overwrite)"
            )
        writer.tidy()
        say(f"{out} is complete already, and left as it is")
        return ZarrSource(out, storage_options=storage_options)
    with writer.opened(request, overwrite=overwrite) as group:
        if group is None:
            on_found(Found(files.paths, files.left_out))
            found = look(files, crop, workers, on_outcome)
            height, width, channels = found.image_shape
            image_bytes = height * width * channels * np.dtype(found.kind[0]).itemsize
            size = BlockSize.of(image_bytes, len(found.rows), block_bytes)
            prepared = "whole images" if crop is None else f"crops of {crop[0]}×{crop[1]}"
            group = writer.create(files, found, size, prepared, request)
        shape, shards, chunks = group["images"].shape, group["images"].shards, group["images"].chunks
        size = BlockSize(shards[0], chunks[0])
        left = unwritten(group)
        if labels := files.label_names:
            counts = Counter(files.labels)
            say("labels: " + ", ".join(f"{name} ({counts[i]:,} files)" for i, name in enumerate(labels)))
        if len(left) < size.blocks(shape[0]):
            say(f"{size.blocks(shape[0]) - len(left)} of {size.blocks(shape[0])} blocks are there already")
        rows = rows_of(group, out)
        packing = Packing(
            location, storage_options, [str(path) for path in files.paths], rows, shape[1:],
            group["images"].dtype.name, size,
        )  # fmt: skip
        on_begin(len(left))
        with closing(on_workers(write_run, runs_of(left, rows.files, size), workers, packing)) as written:
            for _, numbers in written:
                on_blocks(len(numbers))
        writer.complete(group)
    return ZarrSource(out, storage_options=storage_options)
