"""Commands on models: train, encode, decode, export, info."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from hourglass.cli.app import Misuse, app, merge, parse_settings, parse_size, stoppable
from hourglass.cli.choices import network_name
from hourglass.cli.shared import (
    READ,
    CheckpointEvery,
    Denoiser,
    Device,
    Hidden,
    Input,
    Model,
    Output,
    Overwrite,
    Quiet,
    Range,
    Resizing,
    Tally,
    ranges_of,
    teller,
)
from hourglass.cli.worker_options import WHERE, Cluster, Jobs, ShardText, Where

if TYPE_CHECKING:
    from hourglass.estimators import NetworkEstimator
    from hourglass.image_training.packed_images import PackedImages
    from hourglass.imagefiles import ImageFolderSource, TrainingImages


@app.command(epilog=READ)
def train(
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
        int, typer.Option(help="Number of random crops that make an epoch; every step draws fresh ones.", min=1)
    ] = 4096,
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
            "them.",
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
    quiet: Quiet = False,
) -> None:
    """Train a model on a folder of images of any size, or on a Zarr of more images than fit into memory.

    With --noise, --targets or --self-supervised the model is a denoiser. Training starts from the package's denoiser of
    photographs, and a few minutes adapt it to your images. With --noise or --targets, at least four images and neither
    --resize nor another --network, a tenth of the images is held out: the weights that are best on them are kept, and a
    line on standard error compares their PSNR before and after. Without these three options the model is an autoencoder
    that compresses images into codes.
    """
    from hourglass.image_training import train_on_images

    if method is not None and not self_supervised:
        raise Misuse("--method needs --self-supervised")
    parameters = merge(parse_settings(settings or []), epochs=epochs, n_steps=steps)
    with stoppable("to go on, repeat the command"), Tally("reading", quiet=quiet) as tally:
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
            resume=resume,
            checkpoint_every=checkpoint_every,
            verbose=int(not quiet),
            on_found=tally.begin,
            on_outcome=tally.note,
            on_read=lambda taken: _say_ranges(tally, taken),
            say=teller(quiet=quiet),
        )
    if not quiet:
        typer.echo(f"model: {out}{'' if tally.begun else ' (finished already)'}")
    tally.exit()


def _say_ranges(tally: Tally, taken: "TrainingImages | ImageFolderSource | PackedImages") -> None:
    """Show how reading went and which numbers the network sees, before the training shows its own progress."""
    tally.end()
    if taken.ranges and not tally.quiet:
        said = ", ".join(f"{low:,.6g} to {high:,.6g}" for low, high in taken.ranges.values())
        typer.echo(f"range: the network sees {said} as 0 to 1", err=True)


@app.command(epilog=WHERE)
def encode(
    context: typer.Context,
    source: Input,
    codes: Annotated[
        Path, typer.Argument(metavar="CODES", help="File for the table, .npy or .csv.", show_default=False)
    ],
    model: Model,
    value_range: Range = "auto",
    hidden: Hidden = False,
    resize: Resizing = False,
    overwrite: Overwrite = False,
    jobs: Jobs = 1,
    cluster: Cluster = None,
    shard: ShardText = None,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Write the codes of images to a table with their file names, in the order of the names.

    With --shard, the table holds the codes of the shard's images, and the shard is added to its name: --shard 2/8 of
    codes.csv is codes-2-of-8.csv.
    """
    from hourglass.imagefiles.code_tables import check_codes_file
    from hourglass.imagefiles.codes import encode_images
    from hourglass.models import load_named

    where = Where.of(context, jobs, cluster, shard)
    check_codes_file(where.shard.named(codes), overwrite=overwrite)
    estimator, *_ = load_named(model, device=device)
    with stoppable("repeat the command"), Tally("encode", quiet=quiet) as tally:
        encode_images(
            estimator,
            source,
            codes,
            ranges=ranges_of(value_range, estimator),
            resizing=resize,
            hidden=hidden,
            overwrite=overwrite,
            shard=where.shard,
            workers=where.workers,
            on_found=tally.begin,
            on_outcome=tally.note,
        )
    tally.exit()


@app.command()
def decode(
    codes: Annotated[Path, typer.Argument(metavar="CODES", help="Table that encode wrote.", show_default=False)],
    target: Output,
    model: Model,
    overwrite: Overwrite = False,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Make images (8-bit PNG) from a table of codes."""
    from hourglass.imagefiles.codes import decode_images
    from hourglass.models import load_named

    estimator, *_ = load_named(model, device=device)
    with Tally("decode", quiet=quiet) as tally:
        decode_images(estimator, codes, target, overwrite=overwrite, on_found=tally.begin, on_outcome=tally.note)


@app.command()
def export(
    file: Annotated[Path, typer.Argument(metavar="FILE.onnx", help="File to write.", show_default=False)],
    model: Denoiser = "photo",
    part: Annotated[
        Literal["whole", "encoder", "decoder"], typer.Option(help="Part of the model to export.")
    ] = "whole",
    takes: Annotated[
        Literal["bytes", "float"], typer.Option("--input", help="Type of the pixels that the ONNX file takes.")
    ] = "bytes",
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Write a model as an ONNX file and compare its output with PyTorch's; needs the extra onnx.

    For photo, the model of colour images is written; photo-grey is that of grey images. A model that can be told
    the level of the noise has it as a second input, which may be left out.
    """
    from hourglass.atomic import check_free
    from hourglass.export import export_onnx

    check_free(file, overwrite=overwrite)
    estimator = _first_model(model)
    said = export_onnx(estimator, file, part=part, takes=takes)
    if not quiet:
        for side in ("inputs", "outputs"):
            for name, (shape, type_) in said[side].items():
                typer.echo(f"{side[:-1]}: {name} {type_} ({', '.join(map(str, shape))})")
        typer.echo(f"largest difference from PyTorch: {said['parity']:.1e}")


@app.command()
def info(
    model: Denoiser = "photo",
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON.")] = False,
) -> None:
    """Show a model's network, images and training. For photo, it is the model of colour images."""
    facts = _first_model(model).describe()
    if as_json:
        typer.echo(json.dumps(facts))
    else:
        _print_facts(facts)


@app.command()
def models() -> None:
    """List the models in the package: what each is for, its size and its speed."""
    from hourglass.models import load_pretrained
    from hourglass.pretrained import PRETRAINED

    for name in PRETRAINED:
        model = load_pretrained(name, device="cpu")
        typer.secho(name, bold=True)
        weights = sum(weight.numel() for weight in model.network_.parameters())
        for line in (model.notes_["purpose"], f"{weights:,} weights; {model.notes_['speed']}"):
            typer.echo(f"  {line}")


def _first_model(model: str) -> "NetworkEstimator":
    """The model of a name, of several the first, or any kind of model in a folder."""
    from hourglass.models import load_model, load_named
    from hourglass.pretrained import PRETRAINED

    return load_named(model, device="cpu")[0] if model in PRETRAINED else load_model(model, device="cpu")


def _print_facts(facts: Mapping[str, Any]) -> None:
    inner = [name for value in facts.values() if isinstance(value, dict) for name in value]
    width = max(len(name) for name in (*facts, *(f"  {name}" for name in inner)))
    for name, value in facts.items():
        if not isinstance(value, dict):
            typer.echo(f"{name.replace('_', ' '):<{width}}  {value}")
            continue
        typer.echo(name)
        for key, item in value.items():
            typer.echo(f"{f'  {key}':<{width}}  {item}")
