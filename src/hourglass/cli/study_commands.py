"""Commands on the lab: explanations; its studies are run by ``hourglass run``."""

from typing import Annotated

import typer

from hourglass.cli.app import app


@app.command()
def explain(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="What to explain: bn-layer, bn-manual, or an experiment with an autoencoder, such as dense or conv.",
            show_default=False,
        ),
    ],
) -> None:
    """Compute batch normalisation of a small batch, or an autoencoder's output of one image, number by number.

    For bn-layer and bn-manual: forward, moving statistics, backward, and feature maps. For an autoencoder: a piece of
    every layer's output for one test digit, the code, the output, and the loss from its definition.
    """
    from hourglass.lab import explain as explained

    typer.echo(explained(name))
