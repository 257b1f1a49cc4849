"""The command that packs image files into one Zarr."""

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from hourglass.cli.app import Misuse, app, parse_size, stoppable
from hourglass.cli.shared import READ, Hidden, Quiet, Tally, teller
from hourglass.cli.worker_options import Cluster, Where


@app.command(epilog=READ)
def pack(
    context: typer.Context,
    places: Annotated[
        list[str],
        typer.Argument(
            metavar="IMAGES… OUT.zarr",
            help="Images and folders of images, then the Zarr. Each is a path, or an address such as "
            "s3://bucket/images.zarr, which needs the extra s3.",
            show_default=False,
        ),
    ],
    crop: Annotated[
        str | None,
        typer.Option(
            metavar="HxW",
            help="Divide each image into crops of this height and width.  [default: whole images, of one size]",
            show_default=False,
        ),
    ] = None,
    jobs: Annotated[
        int,
        typer.Option(
            "--jobs", help="Number of processes of this machine that decode and write, each on one core.", min=1
        ),
    ] = 1,
    cluster: Cluster = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing Zarr of images.")] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Keep the blocks that an interrupted packing has written, and do the rest.")
    ] = False,
    hidden: Hidden = False,
    quiet: Quiet = False,
) -> None:
    """Pack images into one Zarr, to train on more images than fit into memory.

    `hourglass train` and `hourglass run --dataset` read it, block by block. The images keep their numbers, of 8 or 16
    bits. If all lie in subfolders, the names of these become labels. The extra zarr is needed. The command runs on
    this machine, in one process or in several (--jobs), or on a Dask or Ray cluster (--cluster), whose workers need the
    same files under the same paths.
    """
    from hourglass.imagefiles import Found, Outcome
    from hourglass.packing import pack_images

    if len(places) == 1:
        raise Misuse(f"{places[0]} stands alone; give OUT.zarr behind it")
    out = places[-1]
    where = Where.of(context, jobs, cluster, None)
    reading = Tally("reading", quiet=quiet)
    packing = Tally("blocks", quiet=quiet, unit="blocks")
    with stoppable(lambda: _how_to_go_on(where, begun=packing.begun, overwrite=overwrite)), reading, packing:

        def begin(blocks: int) -> None:
            if reading.begun:
                reading.end()
            packing.begin(Found([Path(out)] * blocks))

        def note(blocks: int) -> None:
            for _ in range(blocks):
                packing.note(Outcome(Path(out)))

        source = pack_images(
            places[:-1],
            out,
            crop=None if crop is None else parse_size(crop, "--crop"),
            jobs=jobs,
            cluster=cluster,
            resume=resume,
            overwrite=overwrite,
            hidden=hidden,
            on_found=reading.begin,
            on_outcome=reading.note,
            on_begin=begin,
            on_blocks=note,
            say=teller(quiet=quiet),
        )
    if not quiet:
        height, width, channels = source.image_shape
        typer.echo(f"packed: {len(source):,} images of {height} × {width} × {channels} in {out}")


def _how_to_go_on(where: Where, *, begun: bool, overwrite: bool) -> str:
    """What a person is told whose command has stopped; ``begun`` says whether blocks were to be written."""
    if overwrite and not begun:  # what --resume would find is the Zarr that was to be replaced
        return f"to begin again: {where.command}"
    words = [word for word in shlex.split(where.command) if word != "--overwrite"]
    return replace(where, command=shlex.join(words)).resuming(overwrite=False)
