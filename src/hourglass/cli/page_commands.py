"""The commands on the page in the browser."""

import ipaddress
import shlex
import threading
import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from hourglass.cli.app import Misuse, app, complain, was_given
from hourglass.cli.choices import dataset_name, location
from hourglass.cli.shared import DataFolder, Device, Hidden, Overwrite, Quiet, Range, Resizing, Tally, ranges_of


@app.command()
def page(
    folder: Annotated[Path, typer.Argument(metavar="OUT", help="Folder for the page.", show_default=False)],
    overwrite: Overwrite = False,
) -> None:
    """Write the playground, a web page that computes in the browser, into a folder for any web host.

    The web host only has to serve files, and the page sends no data to it.
    """
    from hourglass.playground import write_page

    written = write_page(folder, overwrite=overwrite)
    typer.echo(f"{len(written)} files in {folder}; to see the page: hourglass serve {shlex.quote(str(folder))}")


@app.command()
def serve(
    folder: Annotated[
        Path | None,
        typer.Argument(
            metavar="[FOLDER]",
            help="Folder that page or inspect wrote; by default the package's own.",
            show_default=False,
        ),
    ] = None,
    host: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS",
            help="Address to listen on. At 127.0.0.1 only this machine can reach the page, at 0.0.0.0 others can too.",
        ),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 chooses a free port.", min=0, max=65535)] = 0,
    browser: Annotated[bool, typer.Option(help="Whether to open the page in a browser.")] = True,
) -> None:
    """Serve the playground from this machine, and open it in a browser. Ctrl-C stops it.

    Draw digits and denoise them, change the codes of images, train networks with and without batch normalisation, and
    denoise photographs. Everything is computed in the browser.
    """
    from hourglass.playground import page_server

    with page_server(folder, host=host, port=port) as server:
        address = f"http://{_reached_at(host)}:{server.server_address[1]}/"
        answering = threading.Thread(target=server.serve_forever, daemon=True)
        try:
            answering.start()
            typer.echo(f"{address} (Ctrl-C to stop)")
            if browser:
                webbrowser.open(address)  # a browser of the terminal returns when it is closed
            answering.join()
        except KeyboardInterrupt:
            typer.echo("stopped")
        finally:
            server.shutdown()


def _reached_at(host: str) -> str:
    """The name by which a browser on this machine reaches a server that listens at an address."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host  # a name
    if address.is_unspecified:  # all addresses of this machine
        return "[::1]" if address.version == 6 else "127.0.0.1"
    return f"[{host}]" if address.version == 6 else host


@app.command()
def inspect(
    context: typer.Context,
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="Folder of an autoencoder that train or run wrote.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the page.", show_default=False)],
    sources: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[IMAGES]…", parser=location, help="Images and folders of images.", show_default=False),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            parser=dataset_name,
            help="Test images of a data set, in place of IMAGES.",
            show_default=False,
        ),
    ] = None,
    data_dir: DataFolder = None,
    value_range: Range = "auto",
    hidden: Hidden = False,
    resize: Resizing = False,
    overwrite: Overwrite = False,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Write a page that shows how an autoencoder reconstructs images: a map of codes, the worst images, the scores.

    `hourglass serve DIR` opens the page. DIR also has the scores as a table, scores.csv.
    """
    from hourglass.data import load
    from hourglass.imagefiles.model_inputs import read_for_model
    from hourglass.inspection import write_inspection
    from hourglass.inspection.code_pages import MOST_IMAGES, check_inspection
    from hourglass.models import load_named

    if bool(sources) == bool(dataset):
        raise Misuse("give either IMAGES or --dataset")
    if sources and was_given(context, "data_dir"):
        raise Misuse("--data-dir is for --dataset; leave it out, as IMAGES are given")
    estimator, *_ = load_named(model, device=device)
    check_inspection(estimator, out, overwrite=overwrite)
    labels = None
    with Tally("inspect", quiet=quiet) as tally:
        if dataset:
            test = load(dataset, data_dir).test
            images, labels = test.images, test.labels
            names = [f"{dataset} {i}" for i in range(len(images))]
        else:
            names, images = read_for_model(
                estimator,
                sources or [],
                most=MOST_IMAGES,
                ranges=ranges_of(value_range, estimator),
                resizing=resize,
                hidden=hidden,
                on_found=tally.begin,
                on_outcome=tally.note,
            )
    if tally.failed and len(images) < 2:
        complain(f"the number of images that could be read is {len(images)}, and a page needs 2; nothing was written")
        tally.exit()
    write_inspection(estimator, images, out, names=names, labels=labels, overwrite=overwrite)
    typer.echo(f"{len(images)} images; to see the page: hourglass serve {shlex.quote(str(out))}")
    tally.exit()
