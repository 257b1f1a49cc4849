"""Commands on image files: denoise, reconstruct, evaluate."""

import csv
import json
import math
import sys
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from hourglass.cli.app import Misuse, app, stoppable
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
    levels_in_words,
    noise_of,
    ranges_of,
)

if TYPE_CHECKING:
    from hourglass.denoising.noise_level import NoiseLevel
    from hourglass.estimators import Autoencoder


@app.command(epilog=READ)
def denoise(
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
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Remove noise from images and keep their names, sizes, bit depths, structure and metadata.

    The models in the package are for photographs and other images (photo, the default) and for handwritten digits
    (digits). A model of your own images, which `hourglass train` makes, can be better.
    """
    from hourglass.models import load_named

    noise = noise_of(noise_level, strength)
    models = load_named(model, device=device)
    if undo_clipping is not None:
        for each in models:
            each.set_params(undo_clipping=undo_clipping if undo_clipping == "estimate" else _level(undo_clipping))
    job = Job("denoise", models, value_range, overwrite, resume, hidden, quiet, noise)
    job.run(places, out, in_place=in_place, style=style)


@app.command(epilog=READ)
def reconstruct(
    places: Places,
    model: Model,
    value_range: Range = "auto",
    out: Out = None,
    in_place: InPlace = False,
    overwrite: Overwrite = False,
    resume: Resume = False,
    hidden: Hidden = False,
    style: Format = None,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Encode and decode images, to show what a model keeps of them."""
    from hourglass.models import load_named

    job = Job("reconstruct", load_named(model, device=device), value_range, overwrite, resume, hidden, quiet)
    job.run(places, out, in_place=in_place, style=style)


@app.command()
def evaluate(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Folder of clean images, or one image.", show_default=False)
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
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Score a model on clean images: PSNR, SSIM and MSE of each image, and their means.

    A denoiser is compared with total variation, non-local means, wavelets and the median on the same noise. A model
    that compresses is compared with PCA to codes of the same length. Scores are relative to the range of the numbers.
    """
    from hourglass.imagefiles.comparison import evaluate_images
    from hourglass.models import load_named

    models = load_named(model, device=device)
    with Tally("evaluate", quiet=quiet) as tally:
        scores = evaluate_images(
            models,
            folder,
            noise=noise,
            known=known,
            ranges=ranges_of(value_range, models[0]),
            resizing=resize,
            hidden=hidden,
            random_state=seed,
            on_found=tally.begin,
            on_outcome=tally.note,
        )
    if list(scores) == ["model"] and not quiet:
        typer.echo(
            f"evaluate: PCA is left out, since it needs more images than a code has numbers "
            f"({models[0].network_.code_size}); name some with --known",
            err=True,
        )
    _print_scores(scores, folder, style)
    tally.exit()


@dataclass(frozen=True)
class Job:
    """A command that gives back images of the same form."""

    title: str
    models: "tuple[Autoencoder, ...]"
    value_range: str
    overwrite: bool
    resume: bool
    hidden: bool
    quiet: bool
    noise: "NoiseLevel | None" = None

    def run(self, places: list[Path], out: Path | None, *, in_place: bool, style: str | None) -> None:
        """Find inputs and outputs, check them, and restore the images."""
        from hourglass.imagefiles import ImageRestorer, plan, process
        from hourglass.imagefiles.streams import STREAM, restore_stream

        if self.overwrite and self.resume:
            raise Misuse("--overwrite and --resume contradict each other; give one of them")
        if in_place and self.resume:
            raise Misuse("--resume cannot tell what --in-place has done already; name the inputs that are left")
        sources, target = _inputs_and_output(places, out, in_place=in_place)
        restorer = ImageRestorer(self.models, self.noise)
        ranges = ranges_of(self.value_range, self.models[0])
        streamed = STREAM in (*sources, target)
        if style is not None and target != STREAM:
            raise Misuse("--format is that of standard output; an image in a file keeps its format")
        if streamed:
            if len(sources) > 1 or target is None:
                raise Misuse("- is one image; give one input and one output with it")
            outcome = restore_stream(
                sources[0], target, restorer.restore, ranges, style or "png", overwrite=self.overwrite
            )
            if outcome.noise_levels and not self.quiet:
                typer.echo(f"{self.title}: {levels_in_words(outcome.noise_levels)}", err=True)
            return
        todo = plan(
            sources, target, overwrite=self.overwrite, resume=self.resume, named=out is not None, hidden=self.hidden
        )
        how = "name the inputs that are left" if in_place else "the same command with --resume does the rest"
        with stoppable(how), Tally(self.title, quiet=self.quiet) as tally:
            tally.begin(todo)
            with closing(process(todo.pairs, restorer.restore, ranges=ranges, resume=self.resume)) as outcomes:
                for outcome in outcomes:
                    tally.note(outcome)
        tally.exit()


def _inputs_and_output(places: list[Path], out: Path | None, *, in_place: bool) -> tuple[list[Path], Path | None]:
    if in_place and out is not None:
        raise Misuse("--in-place replaces the inputs; leave --out away")
    if in_place or out is not None:
        return places, out
    if len(places) == 1:
        raise Misuse(f"{places[0]} stands alone; give OUT behind it, or --in-place")
    return places[:-1], places[-1]


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
    from hourglass.metrics import metrics_of_files

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
