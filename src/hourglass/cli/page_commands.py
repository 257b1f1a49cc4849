"""The commands on the page."""

import shlex
import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from hourglass.cli.app import app
from hourglass.cli.shared import Overwrite


@app.command()
def page(
    folder: Annotated[Path, typer.Argument(metavar="OUT", help="Folder for the page.", show_default=False)],
    overwrite: Overwrite = False,
) -> None:
    """Write the playground, a web page that computes in the browser, into a folder for any web host.

    The folder needs no code on the server, and the page sends nothing to it.
    """
    from hourglass.playground import write_page

    written = write_page(folder, overwrite=overwrite)
    typer.echo(f"{len(written)} files in {folder}; to see the page: hourglass serve {shlex.quote(str(folder))}")


@app.command()
def serve(
    folder: Annotated[
        Path | None,
        typer.Argument(metavar="[FOLDER]", help="Folder with a page; by default the package's.", show_default=False),
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen at; other machines reach the page only at another than 127.0.0.1.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen at; 0 is a free one.", min=0, max=65535)] = 0,
    browser: Annotated[bool, typer.Option(help="Whether to open the page in a browser.")] = True,
) -> None:
    """Show the playground in a browser, from this machine, until Ctrl-C.

    Draw digits and denoise them, change the codes of autoencoders, and follow batch normalisation. Everything is
    computed in the browser.
    """
    from hourglass.playground import STATIC, page_server

    with page_server(folder or STATIC, host=host, port=port) as server:
        address = f"http://{host}:{server.server_address[1]}/"
        typer.echo(f"{address} (Ctrl-C to stop)")
        if browser:
            webbrowser.open(address)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            typer.echo("stopped")
