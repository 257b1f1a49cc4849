"""Commands on picture files: denoise, reconstruct, evaluate."""

import csv
import json
import math
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from hourglass.cli.app import Misuse, app
from hourglass.cli.shared import Device, Input, Model, Output, Overlap, Overwrite, Quiet, Resizing, Resume, Tally, Tile

if TYPE_CHECKING:
    from hourglass.estimators import Autoencoder

TILE = 512


@app.command()
def denoise(
    source: Input,
    target: Output,
    model: Annotated[
        Path | None, typer.Option(help="Folder of a model.  [default: the denoiser of digits]", show_default=False)
    ] = None,
    tile: Tile = TILE,
    overlap: Overlap = None,
    undo_clipping: Annotated[
        str | None,
        typer.Option(
            metavar="LEVEL",
            help="Undo the bias of clipped noise of this level, or estimate; for self-supervised models.",
            show_default=False,
        ),
    ] = None,
    overwrite: Overwrite = False,
    resume: Resume = False,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Remove noise from pictures: same names, sizes, depths and modes.

    Without --model, the denoiser of handwritten digits that comes in the package.
    """
    from hourglass.models import load_autoencoder, load_pretrained

    estimator = load_pretrained(device=device) if model is None else load_autoencoder(model, device=device)
    if undo_clipping is not None:
        estimator.set_params(undo_clipping=undo_clipping if undo_clipping == "estimate" else _level(undo_clipping))
    _restore("denoise", estimator, source, target, tile, overlap, overwrite=overwrite, resume=resume, quiet=quiet)


@app.command()
def reconstruct(
    source: Input,
    target: Output,
    model: Model,
    tile: Tile = TILE,
    overlap: Overlap = None,
    overwrite: Overwrite = False,
    resume: Resume = False,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Show what a model keeps of pictures: encode and decode them."""
    from hourglass.models import load_autoencoder

    estimator = load_autoencoder(model, device=device)
    _restore("reconstruct", estimator, source, target, tile, overlap, overwrite=overwrite, resume=resume, quiet=quiet)


@app.command()
def evaluate(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Clean pictures.", show_default=False)],
    model: Annotated[
        Path | None, typer.Option(help="Folder of a model.  [default: the denoiser of digits]", show_default=False)
    ] = None,
    noise: Annotated[
        str | None,
        typer.Option(help="Noise to put on the pictures.  [default: the model's own]", show_default=False),
    ] = None,
    style: Annotated[Literal["table", "csv", "json"], typer.Option("--format", help="Of the output.")] = "table",
    known: Annotated[
        Path | None,
        typer.Option(help="Pictures to fit PCA on, where codes are compared.  [default: FOLDER]", show_default=False),
    ] = None,
    resize: Resizing = False,
    seed: Annotated[int, typer.Option(help="Of the noise.", min=0)] = 0,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Score a model on clean pictures: PSNR, SSIM and MSE, for each and in mean.

    A denoiser stands beside total variation, non-local means, wavelets and the median on the same noise, a model that
    compresses beside PCA with as many numbers.
    """
    from hourglass.data import parse_corruption
    from hourglass.data.corruption import CORRUPTIONS, GaussianNoise
    from hourglass.models import load_autoencoder, load_pretrained
    from hourglass.pictures import find_pictures
    from hourglass.pictures.comparison import compare_codes, compare_denoisers

    estimator = load_pretrained(device=device) if model is None else load_autoencoder(model, device=device)
    corruption: Any = None
    if noise is not None:
        try:
            corruption = parse_corruption(noise)
        except ValueError as error:
            raise Misuse(str(error)) from error
    elif estimator.noise is not None:
        known_kind = type(estimator.noise) in CORRUPTIONS.values()
        corruption = estimator.noise if known_kind else GaussianNoise(estimator.noise)  # type: ignore[arg-type]  # a level or a range
    elif estimator.self_supervised:
        raise Misuse("the model learnt from noisy pictures, of a level that it was not told; name one with --noise")
    if corruption is not None and (resize or known is not None):
        raise Misuse("--resize and --known are for models that compress; leave them out, or --noise")
    paths = find_pictures(folder)
    with Tally("evaluate", len(paths), quiet=quiet) as tally:
        if corruption is None:
            scores = compare_codes(
                estimator,
                paths,
                resizing=resize,
                known=find_pictures(known) if known else (),
                on_outcome=tally.note,
            )
        else:
            unclip = estimator.undo_clipping if isinstance(estimator.undo_clipping, float) else None
            scores = compare_denoisers(estimator, paths, corruption, seed=seed, unclip=unclip, on_outcome=tally.note)
    if corruption is None and scores and len(scores) == 1 and not quiet:
        typer.echo(
            f"evaluate: PCA is left out, since it needs more pictures than a code has numbers "
            f"({estimator.network_.code_size}); name some with --known",
            err=True,
        )
    _print_scores(scores, folder, style)
    tally.exit()


def _restore(
    title: str,
    estimator: "Autoencoder",
    source: Path,
    target: Path,
    tile: int,
    overlap: int | None,
    *,
    overwrite: bool,
    resume: bool,
    quiet: bool,
) -> None:
    from hourglass.pictures import PictureRestorer, plan, process

    if overwrite and resume:
        raise Misuse("--overwrite and --resume contradict each other; give one of them")
    restorer = PictureRestorer(estimator, tile=tile, overlap=overlap)
    pairs = plan(source, target, overwrite=overwrite, resume=resume)
    with Tally(title, len(pairs), quiet=quiet) as tally:
        for outcome in process(pairs, restorer, resume=resume):
            tally.note(outcome)
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
    from hourglass.pictures.comparison import mean_scores

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
        writer = csv.DictWriter(sys.stdout, ["file", "method", "psnr_db", "ssim", "mse"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(_finite(row) for row in rows)
    else:
        _print_table(rows)


def _finite(row: dict[str, Any]) -> dict[str, Any]:
    """A row as JSON holds it: None for NaN and, where a picture is given back exactly, an infinite PSNR."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in row.items()
    }


def _print_table(rows: Iterable[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("file", "method"):
        table.add_column(name)
    for name in ("PSNR (dB)", "SSIM", "MSE"):
        table.add_column(name, justify="right")
    for row in rows:
        style = "bold" if row["file"] == "mean" else None
        ssim = "–" if row["ssim"] != row["ssim"] else f"{row['ssim']:.4f}"
        table.add_row(row["file"], row["method"], f"{row['psnr_db']:.2f}", ssim, f"{row['mse']:.5f}", style=style)
    Console(width=None if sys.stdout.isatty() else 120).print(table)
