"""Commands on models: encode, decode, export, info."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from hourglass.cli.app import app, stoppable
from hourglass.cli.shared import (
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
)
from hourglass.cli.worker_options import WHERE, Cluster, Jobs, ShardText, Where

if TYPE_CHECKING:
    from hourglass.estimators import NetworkEstimator


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

    With --shard, the table has the codes of the shard's images, and the shard is added to its name: with --shard 2/8,
    codes.csv becomes codes-2-of-8.csv.
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
