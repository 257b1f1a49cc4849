"""Commands on the lab: explanations; its studies are run by ``hourglass run``."""

from typing import Annotated

import typer

from hourglass.cli.app import Misuse, app


@app.command()
def explain(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="The layer to explain: bn-layer or bn-manual.", show_default=False)
    ],
) -> None:
    """Compute batch normalisation of one small batch number by number: forward, moving statistics, backward."""
    from hourglass.lab import explain as explained

    try:
        text = explained(name)
    except ValueError as error:
        raise Misuse(str(error)) from error
    typer.echo(text)
