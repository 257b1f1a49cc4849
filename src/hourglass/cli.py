"""The command line: parse, call one library function, show."""

import ast
import json
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.exceptions import TyperException

if TYPE_CHECKING:
    from hourglass.experiments import Result, Run

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Image autoencoders, and a batch-normalisation lab.",
)

MISUSE, FAILURE, INTERRUPTED = 2, 1, 130


class Misuse(TyperException):
    """Options that do not fit together, or name something that is not there."""

    exit_code = MISUSE


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; returns its exit code.

    0 when all is well, 2 for misuse, 1 for failure, 130 when interrupted. An error is one line on standard
    error; ``--debug`` shows its traceback.
    """
    words = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    debug = "--debug" in words
    try:
        code = app(args=[word for word in words if word != "--debug"], prog_name="hourglass", standalone_mode=False)
    except KeyboardInterrupt:
        _complain("interrupted")
        return INTERRUPTED
    except Exception as error:
        if debug:
            raise
        _complain(_one_line(error))
        return getattr(error, "exit_code", FAILURE)
    return code if isinstance(code, int) else 0


def _complain(message: str) -> None:
    print(f"hourglass: {message}", file=sys.stderr)  # noqa: T201  # the command line's voice


def _one_line(error: Exception) -> str:
    text = error.format_message() if isinstance(error, TyperException) else str(error)
    message = " ".join(text.split())
    if isinstance(error, (ValueError, TyperException, OSError, FloatingPointError)):
        return message
    return f"{type(error).__name__}: {message} (--debug shows where)"


def _show_version(wanted: bool) -> None:
    if wanted:
        from hourglass import __version__

        typer.echo(f"hourglass {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_show_version, is_eager=True)
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    pass


@app.command("list")
def list_experiments() -> None:
    """Show the experiments: name, title, question."""
    from rich.console import Console
    from rich.table import Table

    from hourglass.experiments import EXPERIMENTS

    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(no_wrap=True, style="bold")
    table.add_column()
    for experiment in EXPERIMENTS.values():
        table.add_row(experiment.name, f"{experiment.title}\n[dim]{experiment.question}[/dim]")
    Console().print(table)


@app.command()
def run(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Experiments, or all.", show_default=False)],
    dataset: Annotated[
        Literal["sample", "mnist", "fashion-mnist"],
        typer.Option(help="5,000 MNIST digits that need no download, or a full data set."),
    ] = "sample",
    data_dir: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the data set's IDX files, or of a subfolder of its name.",
            envvar="HOURGLASS_DATA",
            show_default=False,
        ),
    ] = None,
    recipe: Annotated[
        Literal["classic", "fast"],
        typer.Option(help="The notebooks' schedule, or one that reaches its quality sooner."),
    ] = "classic",
    seed: Annotated[
        int | None, typer.Option(help="The one seed to run.  [default: 0]", show_default=False, min=0)
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(metavar="N", help="Run the seeds 0 … N-1.", show_default=False, min=1)
    ] = None,
    epochs: Annotated[
        float | None, typer.Option(help="Passes over the data, in place of the recipe's.", show_default=False)
    ] = None,
    batches: Annotated[
        int | None, typer.Option(help="Updates, in place of the recipe's.", show_default=False, min=1)
    ] = None,
    device: Annotated[Literal["auto", "cpu", "cuda"], typer.Option(help="Where to compute.")] = "auto",
    precision: Annotated[
        Literal["float32", "bfloat16", "auto"],
        typer.Option(help="Of the forward pass; auto is bfloat16 where it is faster."),
    ] = "float32",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a parameter of the estimator; may be repeated."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the results.  [default: runs/<time>]", show_default=False)
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show nothing but errors.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print each finished run's result as one line of JSON, and nothing else.")
    ] = False,
) -> None:
    """Run experiments and write their figures and numbers to a page.

    `hourglass list` shows the experiments; `all` runs the six.
    """
    from hourglass import experiments
    from hourglass.data import load
    from hourglass.report import write_report

    chosen = list(
        dict.fromkeys(name for word in names for name in (experiments.EXPERIMENTS if word == "all" else [word]))
    )
    parameters = _parameters(settings or [], epochs=epochs, batches=batches)
    parameters |= {"device": device, "precision": precision}
    if seed is not None and seeds is not None:
        raise Misuse("--seed runs one seed and --seeds several; give one of them")
    try:
        for name in chosen:
            experiments.find(name).configure(recipe, **parameters)
    except ValueError as error:
        raise Misuse(str(error)) from error

    data = load(dataset, data_dir)
    folder = out or Path("runs") / datetime.now().strftime("%Y-%m-%d-%H%M%S")
    results = []
    page = None
    try:
        for name in chosen:
            result = experiments.run(
                name,
                dataset=data,
                recipe=recipe,
                seeds=range(seeds) if seeds else (seed or 0,),
                out=folder,
                verbose=int(not quiet),
                on_run=_print_json if as_json else None,
                say=_silent if quiet else lambda message: typer.echo(message, err=True),
                **parameters,
            )
            results.append(result)
            page = write_report(folder)
    finally:
        if results and not quiet and not as_json:
            _print_table(results)
        if page and not quiet:
            typer.echo(f"report: {page}", err=as_json)


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(help="As `hourglass run --out` left it.", show_default=False)],
) -> None:
    """Write the page of a folder of runs anew."""
    from hourglass.report import write_report

    typer.echo(f"report: {write_report(folder)}")


def _silent(message: str) -> None:
    pass


def _parameters(settings: Sequence[str], *, epochs: float | None, batches: int | None) -> dict[str, Any]:
    if epochs is not None and batches is not None:
        raise Misuse("--epochs and --batches both say how long to train; give one of them")
    parameters: dict[str, Any] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals or not key:
            raise Misuse(f"--set {setting!r} is not KEY=VALUE; for example --set learning_rate=0.01")
        try:
            parameters[key] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            parameters[key] = value
    given = {"epochs": epochs, "batches": batches}
    return parameters | {name: value for name, value in given.items() if value is not None}


def _print_json(run: "Run") -> None:
    sys.stdout.write(json.dumps(run.to_json(), allow_nan=False) + "\n")
    sys.stdout.flush()


_AUTOENCODER_COLUMNS = {"test_bce": "BCE", "test_mse": "MSE", "test_psnr_db": "PSNR (dB)", "test_ssim": "SSIM"}
_CLASSIFIER_COLUMNS = {
    "validation_accuracy": "validation accuracy",
    "test_accuracy": "test accuracy",
    "single_image_accuracy": "100 one by one",
}


def _print_table(results: Sequence["Result"]) -> None:
    from rich.console import Console
    from rich.table import Table

    from hourglass.report import DIGITS, mean_and_deviation

    for autoencoders in (True, False):
        chosen = [result for result in results if ("test_bce" in result.scores) == autoencoders]
        if not chosen:
            continue
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
        table.add_column("autoencoder" if autoencoders else "classifier", no_wrap=True)
        columns = _AUTOENCODER_COLUMNS if autoencoders else _CLASSIFIER_COLUMNS
        for title in (*columns.values(), "training"):
            table.add_column(title, justify="right")
        for result in chosen:
            seconds = [run.timing["train_seconds"] or 0.0 for run in result.runs]
            table.add_row(
                result.experiment,
                *(mean_and_deviation(result.scores[name], DIGITS[name]) for name in columns),
                mean_and_deviation(seconds, 1) + " s",
            )
        # A file or a pipe has no width of its own.
        Console(width=None if sys.stdout.isatty() else 120).print(table)
