"""The command that trains a model on images."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from hourglass.cli.app import Misuse, app, merge, parse_settings, parse_size, stoppable
from hourglass.cli.choices import network_name
from hourglass.cli.shared import (
    READ,
    CheckpointEvery,
    Device,
    Hidden,
    Overwrite,
    Quiet,
    Tally,
    teller,
)
from hourglass.cli.torchrun import Timeout, together

if TYPE_CHECKING:
    from hourglass.image_training.packed_images import PackedImages
    from hourglass.imagefiles import ImageFolderSource, TrainingImages


@app.command(epilog=READ)
def train(
    context: typer.Context,
    folder: Annotated[
        str,
        typer.Argument(
            metavar="FOLDER|ZARR",
            help="Folder of images, or one image; or path or address of a Zarr of images that `hourglass pack` has "
            "written.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder for the model.", show_default=False)],
    noise: Annotated[
        str | None,
        typer.Option(
            metavar="NOISE",
            help="Train a denoiser for this noise: a level such as 0.1, a range such as 0.05-0.3, or KIND:STRENGTH, "
            "where KIND is poisson, salt-and-pepper, masking or blur. Levels are relative to --range.",
            show_default=False,
        ),
    ] = None,
    targets: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Train a denoiser on pairs. For each image, this folder has one of the same scene, clean or with "
            "other noise, under the same relative path. The suffix may differ, the size may not.",
            show_default=False,
        ),
    ] = None,
    self_supervised: Annotated[
        bool, typer.Option("--self-supervised", help="Train a denoiser on noisy images, without clean ones.")
    ] = False,
    method: Annotated[
        Literal["noise2self", "neighbor2neighbor"] | None,
        typer.Option(
            help="Method of --self-supervised.  [default: neighbor2neighbor for the network denoiser, else noise2self]",
            show_default=False,
        ),
    ] = None,
    begin_from: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="NAME|FOLDER|scratch",
            help="Denoiser whose weights the training starts from, or scratch for random weights. A folder with the "
            "name of a model is given as ./photo.  [default: photo]",
            show_default=False,
        ),
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option(
            "--network",
            parser=network_name,
            metavar="<conv|dense|denoiser>",
            help="Kind of network.  [default: denoiser with --noise, --targets or --self-supervised, else conv]",
            show_default=False,
        ),
    ] = None,
    crop: Annotated[
        int | None,
        typer.Option(
            metavar="PIXELS", help="Side of the random crops to train on.  [default: 64]", show_default=False, min=1
        ),
    ] = None,
    resize: Annotated[
        str | None,
        typer.Option(
            metavar="HxW", help="Train on whole images, resized to this height and width.", show_default=False
        ),
    ] = None,
    n_crops: Annotated[
        int | None,
        typer.Option(
            help="Number of random crops that make an epoch; every step draws fresh ones.  [default: 4096]",
            show_default=False,
            min=1,
        ),
    ] = None,
    colour: Annotated[
        Literal["auto", "grey", "rgb"],
        typer.Option(help="Channels to train on; auto is rgb if any image is in colour."),
    ] = "auto",
    epochs: Annotated[
        float | None, typer.Option(help="Number of passes over the training images.", show_default=False)
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Number of training steps.", show_default=False, min=1)] = None,
    seed: Annotated[int, typer.Option(help="Seed of weights, order, noise and crops.", min=0)] = 0,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a parameter of the estimator; may be repeated."),
    ] = None,
    value_range: Annotated[
        str,
        typer.Option(
            "--range",
            metavar="auto|full|LOW,HIGH",
            help="Numbers of the files that the network sees as 0 and 1. full is the range of the number type. auto is "
            "0,255 for 8-bit files, and for others what the files declare, or the 0.1 and 99.9 percentiles of all of "
            "them; for a Zarr of 16-bit files that declare nothing, the smallest and the largest number.",
        ),
    ] = "auto",
    hidden: Hidden = False,
    device: Device = "auto",
    overwrite: Overwrite = False,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Keep a finished model in --out, or train it longer if --epochs or --steps is larger. An unfinished "
            "training is resumed with or without --resume.",
        ),
    ] = False,
    checkpoint_every: CheckpointEvery = "60s",
    timeout: Timeout = None,
    quiet: Quiet = False,
) -> None:
    """Train a model on a folder of images of any size, or on a Zarr of more images than fit into memory.

    With --noise, --targets or --self-supervised the model is a denoiser. Training starts from the package's denoiser of
    photographs, and a few minutes adapt it to your images. With --noise or --targets, at least four images and neither
    --resize nor another --network, a tenth of the images is held out: the weights that are best on them are kept, and a
    line on standard error compares their PSNR before and after. Without these three options the model is an autoencoder
    that compresses images into codes.

    Several processes, on one machine or many, can train together: `torchrun --nproc-per-node 2 -m hourglass train
    FOLDER --out FOLDER`. Each reads all images and computes a part of every batch, on the CPU or on a GPU of its own.
    """
    from hourglass.image_training import train_on_images

    if method is not None and not self_supervised:
        raise Misuse("--method needs --self-supervised")
    parameters = merge(parse_settings(settings or []), epochs=epochs, n_steps=steps)
    with (
        stoppable("to go on, repeat the command"),
        together(context.obj, out, timeout=timeout, device=device) as job,
        Tally("reading", quiet=quiet) as tally,
    ):
        train_on_images(
            folder,
            out,
            noise=noise,
            targets=targets,
            self_supervised=method or self_supervised,
            network=kind,
            begin_from=begin_from,
            crop=crop,
            resize=None if resize is None else parse_size(resize, "--resize"),
            n_crops=n_crops,
            colour=colour,
            value_range=value_range,
            random_state=seed,
            parameters=parameters,
            hidden=hidden,
            device=device,
            overwrite=overwrite,
            resume=resume or (not overwrite and job.was_begun()),
            checkpoint_every=checkpoint_every,
            verbose=int(not quiet),
            on_found=job.beginning(tally.begin),
            on_outcome=tally.note,
            on_read=lambda taken: _say_ranges(tally, taken),
            say=teller(quiet=quiet),
        )
    if not quiet and job.shows:
        typer.echo(f"model: {out}{'' if tally.begun else ' (finished already)'}")
    tally.exit()


def _say_ranges(tally: Tally, taken: "TrainingImages | ImageFolderSource | PackedImages") -> None:
    """Show how reading went and which numbers the network sees, before the training shows its own progress."""
    tally.end()
    if taken.ranges and not tally.quiet:
        said = ", ".join(f"{low:,.6g} to {high:,.6g}" for low, high in taken.ranges.values())
        typer.echo(f"range: the network sees {said} as 0 to 1", err=True)
