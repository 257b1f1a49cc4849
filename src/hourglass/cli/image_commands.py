"""Commands on image files: denoise, reconstruct, evaluate."""

import csv
import json
import math
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from hourglass.cli.app import Misuse, app, stoppable
from hourglass.cli.choices import location
from hourglass.cli.image_job import Job
from hourglass.cli.shared import (
    READ,
    Denoiser,
    Device,
    Format,
    Hidden,
    InPlace,
    Model,
    Out,
    Overwrite,
    Places,
    Quiet,
    Range,
    Resizing,
    Resume,
    Tally,
    noise_of,
    ranges_of,
)
from hourglass.cli.worker_options import WHERE, Cluster, Jobs, ShardText, Where


@app.command(epilog=f"{READ}\n\n{WHERE}")
def denoise(
    context: typer.Context,
    places: Places,
    model: Denoiser = "photo",
    noise_level: Annotated[
        str,
        typer.Option(
            metavar="LEVEL|auto",
            help="Standard deviation of the noise as a fraction of the range, such as 0.1 or 25/255. auto finds it in "
            "each image, and leaves an image without noise as it is.",
        ),
    ] = "auto",
    strength: Annotated[
        float,
        typer.Option(
            help="From 0.5 to 1.5. Below 1 it is the share of the noise that is taken away, so that a little grain is "
            "left; above 1 more is smoothed."
        ),
    ] = 1.0,
    value_range: Range = "auto",
    undo_clipping: Annotated[
        str | None,
        typer.Option(
            metavar="LEVEL|estimate",
            help="For self-supervised models: remove the bias that arises when noise of this level is clipped at "
            "black and white; estimate determines the level from each image.",
            show_default=False,
        ),
    ] = None,
    out: Out = None,
    in_place: InPlace = False,
    overwrite: Overwrite = False,
    resume: Resume = False,
    hidden: Hidden = False,
    style: Format = None,
    jobs: Jobs = 1,
    cluster: Cluster = None,
    shard: ShardText = None,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Remove noise from images and keep their names, sizes, bit depths, structure and metadata.

    The models in the package are for photographs and other images (photo, the default) and for handwritten digits
    (digits). A model of your own images, which `hourglass train` makes, can be better.
    """
    from hourglass.models import load_named

    where, noise = Where.of(context, jobs, cluster, shard), noise_of(noise_level, strength)
    models = load_named(model, device=device)
    if undo_clipping is not None:
        for each in models:
            each.set_params(undo_clipping=undo_clipping if undo_clipping == "estimate" else _level(undo_clipping))
    job = Job("denoise", models, value_range, overwrite, resume, hidden, quiet, where, noise)
    job.run(places, out, in_place=in_place, style=style)


@app.command(epilog=f"{READ}\n\n{WHERE}")
def reconstruct(
    context: typer.Context,
    places: Places,
    model: Model,
    value_range: Range = "auto",
    out: Out = None,
    in_place: InPlace = False,
    overwrite: Overwrite = False,
    resume: Resume = False,
    hidden: Hidden = False,
    style: Format = None,
    jobs: Jobs = 1,
    cluster: Cluster = None,
    shard: ShardText = None,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Encode and decode images, to show what a model keeps of them."""
    from hourglass.models import load_named

    where = Where.of(context, jobs, cluster, shard)
    job = Job("reconstruct", load_named(model, device=device), value_range, overwrite, resume, hidden, quiet, where)
    job.run(places, out, in_place=in_place, style=style)


@app.command(epilog=WHERE)
def evaluate(
    context: typer.Context,
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER", parser=location, help="Folder of clean images, or one image.", show_default=False
        ),
    ],
    model: Denoiser = "photo",
    noise: Annotated[
        str | None,
        typer.Option(
            metavar="NOISE",
            help="Noise to put on the images, as in `hourglass train`.  [default: that of the model's training, or "
            "25/255 if it learnt all levels, as photo did]",
            show_default=False,
        ),
    ] = None,
    style: Annotated[Literal["table", "csv", "json"], typer.Option("--format", help="Format of the scores.")] = "table",
    known: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Folder of images to fit PCA on; only for models that compress.  [default: the images to evaluate]",
            show_default=False,
        ),
    ] = None,
    value_range: Range = "auto",
    hidden: Hidden = False,
    resize: Resizing = False,
    seed: Annotated[int, typer.Option(help="Seed of the noise.", min=0)] = 0,
    jobs: Jobs = 1,
    cluster: Cluster = None,
    shard: ShardText = None,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Score a model on clean images: PSNR, SSIM and MSE of each image, and their means.

    A denoiser is compared with total variation, non-local means, wavelets and the median on the same noise. A model
    that compresses is compared with PCA to codes of the same length. Scores are relative to the range of the numbers.

    With --shard, the scores of the shard's images and their means are printed. The scores of an image are the same as
    in the whole run, except those of PCA, which is fitted on the images of the shard if --known does not name others.

    On other processes (--jobs, --cluster), the files are read and, for a denoiser, scored. The reconstructions of a
    model that compresses, and PCA, are computed in this process.
    """
    from hourglass.imagefiles.comparison import evaluate_images
    from hourglass.models import load_named

    where = Where.of(context, jobs, cluster, shard)
    models = load_named(model, device=device)
    with stoppable("repeat the command"), Tally("evaluate", quiet=quiet) as tally:
        scores = evaluate_images(
            models,
            folder,
            noise=noise,
            known=known,
            ranges=ranges_of(value_range, models[0]),
            resizing=resize,
            hidden=hidden,
            random_state=seed,
            shard=where.shard,
            workers=where.workers,
            on_found=tally.begin,
            on_outcome=tally.note,
            say=tally.say,
        )
    if list(scores) == ["model"] and not quiet:
        typer.echo(
            f"evaluate: PCA is left out, since it needs more images than a code has numbers "
            f"({models[0].network_.code_size}); name some with --known",
            err=True,
        )
    _print_scores(scores, folder, style)
    tally.exit()


def _level(text: str) -> float:
    try:
        level = 0.0 if "_" in text else float(text)
    except ValueError:
        level = 0.0
    if not 0 < level < math.inf:
        raise Misuse(f"--undo-clipping {text!r} is neither a level above 0 nor estimate")
    return level


def _print_scores(scores: dict[str, dict[Path, dict[str, float]]], folder: Path, style: str) -> None:
    from hourglass.imagefiles.image_scores import mean_scores
    from hourglass.imagefiles.remote import place
    from hourglass.metrics import metrics_of_files

    folder = place(folder)
    root = folder if folder.is_dir() else folder.parent
    means = mean_scores(scores)
    paths = next(iter(scores.values()), {})
    rows = [
        {"file": path.relative_to(root).as_posix(), "method": method} | by_file[path]
        for path in paths
        for method, by_file in scores.items()
    ]
    rows += [{"file": "mean", "method": method} | row for method, row in means.items()]
    if style == "json":
        typer.echo(json.dumps([_finite(row) for row in rows]))
    elif style == "csv":
        writer = csv.DictWriter(sys.stdout, ["file", "method", *metrics_of_files()], lineterminator="\n")
        writer.writeheader()
        writer.writerows(_finite(row) for row in rows)
    else:
        _print_table(rows)


def _finite(row: dict[str, Any]) -> dict[str, Any]:
    """A row as JSON holds it: None for NaN and, where an image is given back exactly, an infinite PSNR."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in row.items()
    }


def _print_table(rows: Iterable[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from hourglass.metrics import metrics_of_files

    metrics = metrics_of_files()
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("file", "method"):
        table.add_column(name)
    for metric in metrics.values():
        table.add_column(metric.title, justify="right")
    for row in rows:
        style = "bold" if row["file"] == "mean" else None
        name = escape(row["file"])
        numbers = ["–" if math.isnan(row[key]) else f"{row[key]:.{each.digits}f}" for key, each in metrics.items()]
        table.add_row(name, row["method"], *numbers, style=style)
    Console(width=None if sys.stdout.isatty() else 120).print(table)
