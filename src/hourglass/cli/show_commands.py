"""The command that looks inside a network."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from hourglass.cli.app import app, parse_settings, parse_size
from hourglass.cli.shared import Overwrite


@app.command()
def show(
    model: Annotated[
        str,
        typer.Argument(
            metavar="NAME|FOLDER",
            help="Name of an experiment or of a model in the package, or folder of a model or of a run; a folder with "
            "the name of a model is given as ./photo. photo is the model of colour images.",
            show_default=False,
        ),
    ],
    size: Annotated[
        str | None,
        typer.Option(
            metavar="HxW",
            help="Height and width of the image.  [default: those of training, or 28x28]",
            show_default=False,
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a parameter of an experiment; may be repeated."),
    ] = None,
    figure: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Draw the layers as boxes into this file, .png, .svg or .pdf.", show_default=False
        ),
    ] = None,
    overwrite: Overwrite = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON.")] = False,
) -> None:
    """Show a network layer by layer: kernels, sizes, parameters, multiplications, and how small its code is.

    The numbers are measured while the network computes one image. With --figure the outputs of the layers are drawn as
    boxes, whose sides are to scale.
    """
    from hourglass.inspection import layers_of, write_figure

    shape = None if size is None else parse_size(size, "--size")
    table = layers_of(model, shape, parameters=parse_settings(settings or []))
    if figure is not None:
        write_figure(table, figure, overwrite=overwrite)
    if as_json:
        typer.echo(json.dumps(table.to_json()))
        return
    from rich.console import Console

    # A file or a pipe has no width of its own.
    typer.echo(table.text(Console().width if sys.stdout.isatty() else 120))
    if figure is not None:
        typer.echo(f"figure: {figure}")
