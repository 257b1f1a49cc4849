"""The command on the lessons."""

import shlex
from pathlib import Path
from typing import Annotated, Literal

import typer

from hourglass.cli.app import app
from hourglass.cli.shared import Overwrite


@app.command()
def lessons(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder for the notebooks.", show_default=False)],
    language: Annotated[
        Literal["en", "zh"], typer.Option(help="Language of the text: en is English, zh is Chinese.")
    ] = "en",
    overwrite: Overwrite = False,
) -> None:
    """Write the four lessons, notebooks with their outputs, into a folder, and say how to open them.

    The lessons are on dense autoencoders, convolutional autoencoders, denoising, and batch normalisation.
    """
    from hourglass.lessons import write_lessons

    for path in write_lessons(folder, language, overwrite=overwrite):
        typer.echo(path)
    typer.echo(f'To open them: pip install "hourglass-lab[lessons]", then jupyter lab {shlex.quote(str(folder))}')
